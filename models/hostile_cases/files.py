"""Files that are no model."""

import random

from hostile_cases.kit import case, changed, good, model, node, weight


@case("refuse", "no bytes: protobuf reads it as a model with no graph and no opset")
def empty():
    return b""


@case("refuse", "the second half of the file is missing")
def truncated():
    data = good().SerializeToString(deterministic=True)
    return data[: len(data) // 2]


@case("refuse", "the last byte is missing")
def truncated_by_one():
    return good().SerializeToString(deterministic=True)[:-1]


@case("refuse", "2,000 seeded random bytes")
def garbage():
    return random.Random(7).randbytes(2000)


@case("refuse", "a length field says 2^63 bytes follow")
def length_overflow():
    return b"\x3a" + b"\xff" * 8 + b"\x7f" + b"\x00" * 16


@case("refuse", "a value name that is not UTF-8")
def name_not_utf8():
    return (
        model([node("Relu", "x", "middle"), node("MatMul", "middle w", "y")], [weight("w")])
        .SerializeToString(deterministic=True)
        .replace(b"\x06middle", b"\x06mid\xff\xfee")
    )


@case("refuse", "a model with an opset and no graph")
def no_graph():
    return changed(lambda m: m.ClearField("graph"))


@case("refuse", "a graph with no outputs")
def no_outputs():
    return changed(lambda m: m.graph.ClearField("output"))


@case("refuse", "a group, which protobuf decoders skip and ONNX does not have, before the graph")
def group_first():
    return b"\xa3\x06\xa4\x06" + good().SerializeToString(deterministic=True)


@case("refuse", "a group among the nodes")
def group_in_graph():
    graph = good().graph.SerializeToString(deterministic=True) + b"\x0b\x0c"
    length = bytes([len(graph) % 128 + 128, len(graph) // 128])
    return b"\x08\x08\x42\x04\x0a\x00\x10\x11\x3a" + length + graph


@case("refuse", "a node that says it has more bytes than the graph around it, which the file has")
def node_longer_than_graph():
    return b"\x08\x08\x42\x04\x0a\x00\x10\x11\x3a\x03\x0a\xe8\x07" + b"\x0a\x00" * 500
