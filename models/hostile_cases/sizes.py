"""Small files that ask for a lot, or for numbers beyond 64 bits."""

from onnx import TensorProto, helper

from hostile_cases.kit import INT64, case, ints, model, node, one, value, weight

U8 = TensorProto.UINT8
MOST = 2**31 - 1


@case("refuse", "Pad by 2^31-1 before three axes whose strides are 2^31: offsets beyond 64 bits")
def pad_offsets():
    return model(
        [node("Pad", "x p", "y")],
        [ints("p", MOST, MOST, MOST, 0, 0, 0, 0, 0)],
        [value("x", [1, 1, 1, 2**31], U8)],
        [value("y", ["a", "b", "c", "d"], U8)],
    )


@case("refuse", "Pad by 2^31-1 on both sides of one element: more than a tensor")
def pad_bomb():
    return one("Pad", [ints("p", MOST, MOST, MOST, MOST)], "x p", x=[1, 1])


@case("refuse", "Pad by 2^62")
def pad_overflow():
    return one("Pad", [ints("p", 2**62, 0, 0, 0)], "x p")


@case("either", "Conv padded by 2^31-1 on axes whose strides are 2^29: offsets near 2^61")
def conv_offsets():
    return model(
        [node("Slice", "x a b c", "z"), node("Conv", "z w", "y", pads=[MOST, MOST, 0, 0], strides=[MOST, MOST])],
        [weight("w", (1, 1, 1, 1)), ints("a", 0), ints("b", 1), ints("c", 3)],
        [value("x", [1, 1, 1, 2**29])],
        [value("y", ["a", "b", "c", "d"])],
    )


@case("refuse", "MaxPool of windows of 2^31-1 by 2^31-1 elements over one")
def pool_kernel_bomb():
    return one("MaxPool", x=[1, 1, 1, 1], kernel_shape=[MOST, MOST], pads=[2**30, 2**30, 2**30, 2**30])


@case("refuse", "AveragePool dilated by 2^31-1 with SAME_UPPER")
def pool_same_overflow():
    return one(
        "AveragePool", x=[1, 1, 8, 8], kernel_shape=[MOST, MOST], dilations=[MOST, MOST], auto_pad="SAME_UPPER"
    )


@case("either", "Gather from rows of one element by 2^31 computed indices")
def gather_stride():
    return model(
        [node("Transpose", "x", "t", perm=[1, 0]), node("Gather", "t i", "y", axis=0)],
        [],
        [value("x", [1, 2**31], U8), value("i", [2**31], INT64)],
        [value("y", ["a", "b"], U8)],
    )


@case("refuse", "51 times Tanh of a value of 2 GiB: 102 GiB of values in a kilobyte")
def run_bytes_bomb():
    nodes = [node("Expand", "x s", "v0")]
    nodes += [node("Tanh", f"v{i}", f"v{i + 1}") for i in range(51)]
    nodes += [node("Slice", "v51 a b", "y")]
    weights = [ints("s", 16384, 32768), ints("a", 0, 0), ints("b", 1, 1)]
    return model(nodes, weights, [value("x", [1, 1])], [value("y", [1, 1])])


@case("refuse", "3 products of [16384, 4096] by [4096, 16384]: 2^40 terms each")
def run_terms_bomb():
    nodes = [node("Expand", "x s", "v0")]
    nodes += [node("Expand", "x r", "w")]
    for i in range(3):
        nodes += [node("MatMul", f"v{i} w", f"m{i}"), node("Slice", f"m{i} a b c", f"v{i + 1}")]
    nodes += [node("Slice", "v3 a d", "y")]
    weights = [
        ints("s", 16384, 4096),
        ints("r", 4096, 16384),
        ints("a", 0, 0),
        ints("b", 16384, 4096),
        ints("c", 0, 1),
        ints("d", 1, 1),
    ]
    return model(nodes, weights, [value("x", [1, 1])], [value("y", [1, 1])])


@case("refuse", "100 Ranges of 2^20 elements, of which one each is used: 800 MiB of constants")
def range_bomb():
    nodes = [node("Range", "a b c", f"r{i}") for i in range(100)]
    nodes += [node("Slice", f"r{i} s t", f"p{i}") for i in range(100)]
    nodes += [node("Concat", " ".join(f"p{i}" for i in range(100)), "y", axis=0)]
    scalars = [helper.make_tensor(name, INT64, [], [k]) for name, k in (("a", 0), ("b", 2**20), ("c", 1))]
    return model(nodes, [*scalars, ints("s", 0), ints("t", 1)], [value("x", [1])], [value("y", [100], INT64)])


@case("refuse", "a graph without inputs: nobody could ask it anything")
def no_inputs():
    proto = model([node("Relu", "w", "y")], [weight("w")], None, [value("y", [4, 3])])
    proto.graph.ClearField("input")
    return proto


def many(inputs: int, outputs: int):
    return model(
        [node("Relu", "x0", f"y{i}") for i in range(outputs)],
        [],
        [value(f"x{i}", [1]) for i in range(inputs)],
        [value(f"y{i}", [1]) for i in range(outputs)],
    )


@case("refuse", "33 graph inputs: models have at most 32")
def inputs_33():
    return many(33, 1)


@case("refuse", "33 graph outputs: models have at most 32")
def outputs_33():
    return many(1, 33)


@case("legal", "32 graph inputs and 32 outputs")
def values_32():
    return many(32, 32)


@case("refuse", "two inputs of 2^31 bytes each: more than all inputs may have together")
def inputs_of_4_gib():
    inputs = [value(name, [2**31], U8) for name in ("x", "z")]
    weights = [ints("a", 0), ints("b", 1)]
    nodes = [node("Slice", "x a b", "p"), node("Slice", "z a b", "q"), node("Equal", "p q", "y")]
    return model(nodes, weights, inputs, [value("y", [1], TensorProto.BOOL)])


@case("legal", "inputs of 16,388 bytes: compiles and runs, but no request could carry them")
def inputs_beyond_inline():
    weights = [ints("a", 0), ints("b", 1)]
    return model([node("Slice", "x a b", "y")], weights, [value("x", [4097])], [value("y", [1])])


@case("legal", "outputs of 16,388 bytes: compiles and runs, but no claim could carry them")
def outputs_beyond_inline():
    nodes = [node("Relu", "x", "y"), node("Slice", "x a b", "z")]
    weights = [ints("a", 0), ints("b", 1)]
    return model(nodes, weights, [value("x", [4096])], [value("y", [4096]), value("z", [1])])
