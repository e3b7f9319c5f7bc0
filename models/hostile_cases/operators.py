"""Operators with wrong operands or attributes."""

import numpy as np
from onnx import helper
from onnx.numpy_helper import from_array

from hostile_cases.kit import INT64, INT64_MAX, INT64_MIN, case, changed, good, ints, model, node, one, value, weight


@case("refuse", "MatMul of float32 and int64")
def matmul_dtypes():
    return changed(lambda m: m.graph.initializer[0].CopyFrom(from_array(np.ones((4, 3), np.int64), "w")))


@case("refuse", "MatMul of [2, 4] and [5, 3]")
def matmul_shapes():
    return changed(lambda m: m.graph.initializer[0].CopyFrom(weight("w", (5, 3))))


@case("refuse", "MatMul with a scalar")
def matmul_scalar():
    return changed(lambda m: m.graph.initializer[0].CopyFrom(weight("w", ())))


@case("refuse", "MatMul of [2, 3, 4] and [5, 4, 3]: batches that do not broadcast")
def matmul_batches():
    return one("MatMul", [weight("w", (5, 4, 3))], "x w", x=[2, 3, 4])


@case("refuse", "MatMul with one operand")
def too_few_operands():
    return one("MatMul")


@case("refuse", "MatMul with three operands")
def too_many_operands():
    return one("MatMul", [weight("w")], "x w w", y=[2, 3])


@case("refuse", "Relu with two outputs")
def too_many_outputs():
    return model([node("Relu", "x", "y z")], [], None, [value("y", [2, 4])])


@case("refuse", "a required operand with an empty name")
def operand_left_out():
    proto = good()
    proto.graph.node[0].input[1] = ""
    return proto


@case("refuse", "Add of [2, 4] and [3]: no broadcast")
def add_shapes():
    return one("Add", [weight("w", (3,))], "x w")


@case("refuse", "Reshape of 8 elements to [3, 3]")
def reshape_impossible():
    return one("Reshape", [ints("s", 3, 3)], "x s")


@case("refuse", "Reshape with two -1")
def reshape_two_unknown():
    return one("Reshape", [ints("s", -1, -1)], "x s")


@case("refuse", "Reshape of 8 elements to [3, -1]")
def reshape_not_divisible():
    return one("Reshape", [ints("s", 3, -1)], "x s")


@case("refuse", "Reshape to [2^32, 2^32, 8]: the product wraps to zero")
def reshape_wraps():
    return one("Reshape", [ints("s", 2**32, 2**32, 8)], "x s", y=["a", "b", "c"])


@case("refuse", "Reshape to a shape that is a graph input")
def reshape_by_input():
    return model([node("Reshape", "x s", "y")], [], [value("x", [2, 4]), value("s", [2], INT64)], [value("y", [4, 2])])


@case("refuse", "Expand to 2^62 elements")
def expand_bomb():
    return one("Expand", [ints("s", 2**30, 2**30, 2, 4)], "x s", y=["a", "b", "c", "d"])


@case("refuse", "ConstantOfShape of 2^40 elements")
def constant_bomb():
    return model(
        [
            node("ConstantOfShape", "s", "c"),
            node("ReduceMean", "c", "m", axes=[0], keepdims=0),
            node("Add", "x m", "y"),
        ],
        [ints("s", 2**40)],
        None,
        [value("y", [2, 4])],
    )


@case("refuse", "twelve Concats of a constant with itself, eight times each: 2^40 elements when folded")
def folding_bomb():
    nodes = [node("Constant", "", "c0", value=from_array(np.ones(16, np.float32)))]
    nodes += [node("Concat", " ".join([f"c{i}"] * 8), f"c{i + 1}", axis=0) for i in range(12)]
    nodes += [node("ReduceMean", "c12", "m", axes=[0], keepdims=0), node("Add", "x m", "y")]
    return model(nodes, [], None, [value("y", [2, 4])])


@case("refuse", "Transpose by [0, 0]")
def transpose_perm():
    return one("Transpose", perm=[0, 0])


@case("refuse", "Transpose by [0, -1]")
def transpose_perm_negative():
    return one("Transpose", perm=[0, -1])


@case("refuse", "Concat of [2, 4] and [4, 3] along axis 0")
def concat_shapes():
    return one("Concat", [weight("w")], "x w", axis=0)


@case("refuse", "Concat without its axis")
def concat_without_axis():
    return one("Concat", [], "x x")


@case("refuse", "Concat along axis 1.0, a float")
def attribute_type():
    return one("Concat", [], "x x", axis=1.0)


@case("refuse", "Softmax along axis 9")
def axis_out_of_range():
    return one("Softmax", axis=9)


@case("refuse", "Softmax along axis -2^63")
def axis_minimum():
    return one("Softmax", axis=INT64_MIN)


@case("refuse", "one attribute given twice")
def attribute_twice():
    proto = one("Softmax", axis=0)
    proto.graph.node[0].attribute.append(helper.make_attribute("axis", 1))
    return proto


@case("either", "an attribute that Relu does not have")
def attribute_unknown():
    return one("Relu", y=[2, 4], sharpness=3)


@case("refuse", "Slice with step 0")
def slice_step_zero():
    return one("Slice", [ints("a", 0), ints("b", 2), ints("c", 0), ints("d", 0)], "x a b c d")


@case("legal", "Slice from -2^63 to 2^63-1: all of it")
def slice_limits():
    return one("Slice", [ints("a", INT64_MIN), ints("b", INT64_MAX), ints("c", 0)], "x a b c", y=[2, 4])


@case("either", "Slice backwards with step -2^63: one row")
def slice_step_minimum():
    return one(
        "Slice", [ints("a", -1), ints("b", INT64_MIN), ints("c", 0), ints("d", INT64_MIN)], "x a b c d", y=[1, 4]
    )


@case("either", "Slice that leaves nothing: [0, 4]")
def slice_nothing():
    return one("Slice", [ints("a", 1), ints("b", 1), ints("c", 0)], "x a b c", y=[0, 4])


@case("refuse", "Gather of row 2 out of two, by a constant")
def gather_out_of_range():
    return one("Gather", [ints("i", 2)], "x i", axis=0)


@case("refuse", "Gather by float indices")
def gather_float_index():
    return one("Gather", [weight("i", (1,))], "x i", axis=0)


@case("refuse", "Cast to element type 999")
def cast_unknown():
    return one("Cast", to=999)


@case("refuse", "Conv of 3 channels by a kernel of 2")
def conv_channels():
    return one("Conv", [weight("w", (4, 2, 3, 3))], "x w", x=[1, 3, 8, 8])


@case("refuse", "Conv in 0 groups")
def conv_group_zero():
    return one("Conv", [weight("w", (4, 2, 3, 3))], "x w", x=[1, 2, 8, 8], group=0)


@case("refuse", "Conv with stride 0")
def conv_stride_zero():
    return one("Conv", [weight("w", (4, 2, 3, 3))], "x w", x=[1, 2, 8, 8], strides=[0, 1])


@case("refuse", "Conv whose kernel is larger than its input")
def conv_kernel_too_large():
    return one("Conv", [weight("w", (1, 1, 9, 9))], "x w", x=[1, 1, 8, 8])


@case("refuse", "Conv with kernel_shape [5, 5] and a weight of [3, 3]")
def conv_kernel_lies():
    return one("Conv", [weight("w", (4, 2, 3, 3))], "x w", x=[1, 2, 8, 8], kernel_shape=[5, 5])


@case("refuse", "Conv padded by 2^63-1")
def conv_pads_overflow():
    return one("Conv", [weight("w", (1, 1, 3, 3))], "x w", x=[1, 1, 8, 8], pads=[INT64_MAX] * 4)


@case("refuse", "Conv padded by 2^20: an output of 2^42 elements")
def conv_pads_bomb():
    return one("Conv", [weight("w", (1, 1, 3, 3))], "x w", x=[1, 1, 8, 8], pads=[2**20] * 4)


@case("refuse", "Conv padded by -1")
def conv_pads_negative():
    return one("Conv", [weight("w", (1, 1, 3, 3))], "x w", x=[1, 1, 8, 8], pads=[-1] * 4)


@case("refuse", "Conv dilated by 2^62")
def conv_dilation_overflow():
    return one("Conv", [weight("w", (1, 1, 3, 3))], "x w", x=[1, 1, 8, 8], dilations=[2**62, 2**62])


@case("refuse", "MaxPool of rank 2 by a kernel of rank 3")
def pool_kernel_rank():
    return one("MaxPool", x=[1, 1, 8, 8], kernel_shape=[2, 2, 2])


@case("refuse", "MaxPool without its kernel_shape")
def pool_without_kernel():
    return one("MaxPool", x=[1, 1, 8, 8])


@case("refuse", "AveragePool with kernel 0")
def pool_kernel_zero():
    return one("AveragePool", x=[1, 1, 8, 8], kernel_shape=[0, 0])


@case("refuse", "MaxPool padded wider than its kernel: windows without an element")
def pool_pads_too_wide():
    return one("MaxPool", x=[1, 1, 8, 8], kernel_shape=[2, 2], pads=[3, 3, 3, 3])


@case("refuse", "BatchNormalization in training mode")
def batchnorm_training():
    names = ["s", "b", "m", "v"]
    return one("BatchNormalization", [weight(n, (3,)) for n in names], "x s b m v", x=[1, 3, 2, 2], training_mode=1)


@case("refuse", "BatchNormalization of 3 channels with 4 scales")
def batchnorm_channels():
    return one("BatchNormalization", [weight(n, (4,)) for n in "sbmv"], "x s b m v", x=[1, 3, 2, 2])


@case("refuse", "LayerNormalization with a NaN epsilon")
def layernorm_epsilon():
    return one("LayerNormalization", [weight("s", (4,))], "x s", y=[2, 4], epsilon=float("nan"))


@case("refuse", "LayerNormalization without an epsilon: 0/0 has no value to judge")
def layernorm_epsilon_zero():
    return one("LayerNormalization", [weight("s", (4,))], "x s", y=[2, 4], epsilon=0.0)


@case("refuse", "Gemm of a rank-3 value")
def gemm_rank():
    return one("Gemm", [weight("w")], "x w", x=[1, 2, 4])
