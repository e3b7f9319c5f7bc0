"""Weights and inputs that lie about their size, type or place."""

import numpy as np
from onnx import ModelProto, StringStringEntryProto, TensorProto, helper
from onnx.numpy_helper import from_array, to_array

from hostile_cases.kit import DOUBLE, FLOAT, case, changed, ints, model, node, value, weight


@case("refuse", "weight of 12 floats with 44 bytes")
def weight_bytes_short():
    return changed(lambda m: setattr(m.graph.initializer[0], "raw_data", bytes(44)))


@case("refuse", "weight of 12 floats with 52 bytes")
def weight_bytes_long():
    return changed(lambda m: setattr(m.graph.initializer[0], "raw_data", bytes(52)))


@case("refuse", "weight of 12 floats with 11 in float_data")
def weight_floats_short():
    def change(proto):
        proto.graph.initializer[0].ClearField("raw_data")
        proto.graph.initializer[0].float_data.extend([1.0] * 11)

    return changed(change)


@case("refuse", "weight with both raw_data and float_data")
def weight_twice_filled():
    return changed(lambda m: m.graph.initializer[0].float_data.extend([1.0] * 12))


@case("refuse", "weight of 12 floats whose values stand in int64_data")
def weight_in_wrong_field():
    def change(proto):
        proto.graph.initializer[0].ClearField("raw_data")
        proto.graph.initializer[0].int64_data.extend([1] * 12)

    return changed(change)


def with_dims(*dims: int) -> ModelProto:
    def change(proto):
        del proto.graph.initializer[0].dims[:]
        proto.graph.initializer[0].dims.extend(dims)

    return changed(change)


@case("refuse", "weight of shape [-4, -3], the product is right")
def weight_dim_negative():
    return with_dims(-4, -3)


@case("refuse", "weight of shape [2^62, 2^62], the product overflows 64 bits to zero")
def weight_dim_overflow():
    return with_dims(2**62, 2**62)


@case("refuse", "weight of shape [2^32, 2^32, 12], the product wraps to zero; 48 bytes follow")
def weight_dim_wraps():
    return with_dims(2**32, 2**32, 12)


@case("either", "weight of shape [0, 2^62, 2^62]: no elements, the partial products overflow")
def weight_dim_zero_huge():
    proto = with_dims(0, 2**62, 2**62)
    proto.graph.initializer[0].raw_data = b""
    proto.graph.node[0].CopyFrom(node("Relu", "x", "y"))
    proto.graph.output[0].CopyFrom(value("y", [2, 4]))
    return proto


@case("refuse", "weight of rank 64")
def weight_rank_64():
    return with_dims(*([1] * 62), 4, 3)


@case("refuse", "weight of element type 77, which does not exist")
def weight_dtype_unknown():
    return changed(lambda m: setattr(m.graph.initializer[0], "data_type", 77))


@case("refuse", "weight of strings")
def weight_strings():
    return changed(
        lambda m: m.graph.initializer[0].CopyFrom(helper.make_tensor("w", TensorProto.STRING, [4, 3], [b"a"] * 12))
    )


@case("refuse", "everything is float64")
def float64():
    return model(
        [node("MatMul", "x w", "y")],
        [weight("w", dtype=np.float64)],
        [value("x", [2, 4], DOUBLE)],
        [value("y", [2, 3], DOUBLE)],
    )


@case("refuse", "float64 weight against a float32 input")
def float64_weight():
    return changed(lambda m: m.graph.initializer[0].CopyFrom(weight("w", dtype=np.float64)))


def with_external(location: str, offset: str = "0", length: str = "48") -> ModelProto:
    def change(proto):
        tensor = proto.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, text in (("location", location), ("offset", offset), ("length", length)):
            tensor.external_data.append(StringStringEntryProto(key=key, value=text))

    return changed(change)


@case("refuse", "weight data in ../../etc/passwd")
def external_data_parent():
    return with_external("../../etc/passwd")


@case("refuse", "weight data in /etc/passwd")
def external_data_absolute():
    return with_external("/etc/passwd")


@case("refuse", "weight data in this very file at a negative offset")
def external_data_offset():
    return with_external("external_data_offset.onnx", offset="-48")


@case("refuse", "a sparse initializer")
def sparse_weight():
    def change(proto):
        del proto.graph.initializer[:]
        values = from_array(np.array([1, 2], np.float32), "w")
        proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, ints("", 0, 5), [4, 3]))

    return changed(change)


@case("legal", "NaN, both infinities, a subnormal and minus zero among the weights")
def weight_not_finite():
    numbers = weight("w")
    array = to_array(numbers).copy()
    array.ravel()[:5] = [np.nan, np.inf, -np.inf, 1e-45, -0.0]
    return model([node("MatMul", "x w", "y")], [from_array(array, "w")])


@case("either", "a weight and a value without elements: [2, 4] times [4, 0]")
def zero_size():
    return model([node("MatMul", "x w", "y")], [weight("w", (4, 0))], None, [value("y", [2, 0])])


@case("either", "a contraction over no terms: [2, 0] times [0, 3] is zeros")
def zero_terms():
    return model([node("MatMul", "x w", "y")], [weight("w", (0, 3))], [value("x", [2, 0])])


def with_input(shape: list | None, dtype: int = FLOAT) -> ModelProto:
    return changed(lambda m: m.graph.input[0].CopyFrom(value("x", shape, dtype)))


@case("refuse", "input of shape [-2, 4]")
def input_dim_negative():
    return with_input([-2, 4])


@case("refuse", "input of shape [2^62, 4]")
def input_dim_huge():
    return with_input([2**62, 4])


@case("refuse", "input of shape [batch, 4] and no shape given at compile")
def dynamic_axis():
    return with_input(["batch", 4])


@case("refuse", "input without any shape")
def input_without_shape():
    return with_input(None)


@case("refuse", "input without a type")
def input_without_type():
    return changed(lambda m: m.graph.input[0].ClearField("type"))


@case("refuse", "input that is a sequence of tensors")
def input_sequence():
    return changed(lambda m: m.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("x", FLOAT, [2, 4])))
