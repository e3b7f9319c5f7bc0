"""Graphs, opsets and domains that break rules."""

import itertools

import numpy as np
from onnx import AttributeProto, helper
from onnx.numpy_helper import from_array

from hostile_cases.kit import BOOL, INT64, case, changed, model, node, value, weight


@case("refuse", "two operators that need each other's output")
def cycle():
    return model([node("Add", "x b", "a"), node("Relu", "a", "b"), node("MatMul", "b w", "y")], [weight("w")])


@case("refuse", "an operator that reads its own output")
def self_loop():
    return model([node("Add", "a x", "a"), node("MatMul", "a w", "y")], [weight("w")])


@case("either", "operators out of order, which ONNX forbids; the graph is sound")
def unsorted():
    return model([node("MatMul", "a w", "y"), node("Relu", "x", "a")], [weight("w")])


@case("refuse", "an operator reads w, which nothing gives")
def missing_weight():
    return changed(lambda m: m.graph.ClearField("initializer"))


@case("refuse", "the graph output y is given by nothing")
def missing_output():
    return model([node("MatMul", "x w", "z")], [weight("w")])


@case("refuse", "two operators give the same name")
def duplicate_value():
    return model([node("Relu", "x", "a"), node("Neg", "x", "a"), node("MatMul", "a w", "y")], [weight("w")])


@case("refuse", "two weights of one name")
def duplicate_weight():
    return changed(lambda m: m.graph.initializer.append(weight("w", (4, 3))))


@case("refuse", "two graph inputs of one name")
def duplicate_input():
    return changed(lambda m: m.graph.input.append(value("x", [2, 4])))


@case("refuse", "an operator gives the name of a weight")
def weight_overwritten():
    return model([node("Relu", "x", "w"), node("MatMul", "x w", "y")], [weight("w")])


@case("refuse", "an operator gives the name of the graph input")
def input_overwritten():
    return model([node("Relu", "x", "x"), node("MatMul", "x w", "y")], [weight("w")])


@case("legal", "the weight is listed as a graph input too (a default, as before IR version 4)")
def weight_listed_as_input():
    return changed(lambda m: m.graph.input.append(value("w", [4, 3])))


@case("legal", "outputs that are the input, a weight and another output's Identity")
def outputs_are_aliases():
    return model(
        [node("MatMul", "x w", "y"), node("Identity", "y", "y2")],
        [weight("w")],
        None,
        [value("x", [2, 4]), value("w", [4, 3]), value("y", [2, 3]), value("y2", [2, 3])],
    )


@case("either", "one output listed twice")
def output_listed_twice():
    return changed(lambda m: m.graph.output.append(value("y", [2, 3])))


@case("refuse", "declared output shape [3, 2] against [2, 3]")
def output_shape_lies():
    return changed(lambda m: m.graph.output[0].CopyFrom(value("y", [3, 2])))


@case("refuse", "declared output type int64 against float32")
def output_dtype_lies():
    return changed(lambda m: m.graph.output[0].CopyFrom(value("y", [2, 3], INT64)))


@case("legal", "a chain of 500 operators")
def long_chain():
    names = ["x", *(f"v{i}" for i in range(500))]
    nodes = [helper.make_node("Relu", [a], [b]) for a, b in itertools.pairwise(names)]
    return model([*nodes, node("MatMul", f"{names[-1]} w", "y")], [weight("w")])


@case("refuse", "opset 6: Add still has its broadcast attribute")
def opset_too_old():
    return model(
        [node("MatMul", "x w", "z"), node("Add", "z b", "y", broadcast=1, axis=1)],
        [weight("w"), weight("b", (3,))],
        opset=6,
    )


@case("refuse", "opset 99")
def opset_too_new():
    return model([node("MatMul", "x w", "y")], [weight("w")], opset=99)


@case("refuse", "opset -1")
def opset_negative():
    return model([node("MatMul", "x w", "y")], [weight("w")], opset=-1)


@case("refuse", "no opset at all")
def opset_missing():
    return model([node("MatMul", "x w", "y")], [weight("w")], opset=None)


@case("refuse", "the default domain is imported twice, opsets 13 and 17")
def opset_twice():
    return changed(lambda m: m.opset_import.append(helper.make_opsetid("", 13)))


@case("refuse", "LayerNormalization under opset 14, which does not have it")
def operator_newer_than_opset():
    return model(
        [node("LayerNormalization", "x s", "z"), node("MatMul", "z w", "y")], [weight("s", (4,)), weight("w")], opset=14
    )


@case("refuse", "two unknown operators, at different places; the error lists both")
def unknown_operators():
    return model(
        [
            node("Frobnicate", "x", "a"),
            node("Relu", "a", "b"),
            node("MatMul", "b w", "c"),
            node("Quuxify", "c", "y", depth=3),
        ],
        [weight("w")],
    )


@case("refuse", "MatMul of the domain com.example, which is not ai.onnx's")
def unknown_domain():
    def change(proto):
        proto.graph.node[0].domain = "com.example"
        proto.opset_import.append(helper.make_opsetid("com.example", 1))

    return changed(change)


@case("refuse", "an operator of a domain that is not imported")
def domain_not_imported():
    return changed(lambda m: setattr(m.graph.node[0], "domain", "com.example"))


@case("legal", "the default domain spelled out: ai.onnx")
def domain_spelled_out():
    def change(proto):
        proto.graph.node[0].domain = "ai.onnx"
        proto.opset_import[0].domain = "ai.onnx"

    return changed(change)


@case("refuse", "an operator with an empty type")
def operator_without_type():
    return changed(lambda m: setattr(m.graph.node[0], "op_type", ""))


@case("refuse", "a local function that calls itself")
def function_recursive():
    def change(proto):
        body = [helper.make_node("Again", ["a", "b"], ["c"], domain="local")]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
        proto.functions.append(helper.make_function("local", "Again", ["a", "b"], ["c"], body, opsets))
        proto.opset_import.append(helper.make_opsetid("local", 1))
        proto.graph.node[0].domain = "local"
        proto.graph.node[0].op_type = "Again"

    return changed(change)


def nested_if(depth: int) -> bytes:
    """A model whose graph is an If in an If, written byte by byte: protobuf's own libraries stop at 100 levels."""

    def field(number: int, data: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(data)) + data

    def branch(name: bytes, graph: bytes) -> bytes:
        return field(5, field(1, name) + field(6, graph) + varint(20 << 3) + varint(AttributeProto.GRAPH))

    names = field(2, b"r")
    tail = field(2, b"g") + field(12, field(1, b"r"))
    leaf = field(1, field(1, b"x") + names + field(4, b"Relu")) + tail
    graph = leaf
    for _ in range(depth):
        both = branch(b"then_branch", graph) + branch(b"else_branch", leaf)
        graph = field(1, field(1, b"c") + names + field(4, b"If") + both) + tail
    outer = model([node("MatMul", "r w", "y")], [weight("w")])
    outer.graph.input.append(value("c", [], BOOL))
    rest = outer.graph.SerializeToString(deterministic=True)
    outer.ClearField("graph")
    # The If comes first in the graph, its declared output r is not one of the outer graph's.
    inner = graph[: -len(tail)]
    return outer.SerializeToString(deterministic=True) + field(7, inner + rest)


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


@case("refuse", "If within If, 3 deep: operators with graphs inside are not supported")
def subgraphs():
    return nested_if(3)


@case("refuse", "If within If, 120 deep: deeper than protobuf libraries decode")
def subgraphs_deep():
    return nested_if(120)


@case("refuse", "a Loop of 2^62 rounds")
def loop():
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["still"]), helper.make_node("Relu", ["a"], ["b"])],
        "body",
        [value("i", [], INT64), value("go", [], BOOL), value("a", [2, 4])],
        [value("still", [], BOOL), value("b", [2, 4])],
    )
    weights = [weight("w"), from_array(np.array(2**62, np.int64), "rounds"), from_array(np.array(True), "yes")]
    return model([node("Loop", "rounds yes x", "z", body=body), node("MatMul", "z w", "y")], weights)
