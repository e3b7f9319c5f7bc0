"""ONNX Runtime, as an engine that gives away its inner values: they are made outputs of the graph."""

import copy

import numpy as np
import onnx
import onnxruntime


class InOnnxRuntime:
    """With `rewriting` off every node runs as the file has it. On, the runtime fuses nodes where nobody looks between them: the
    plan's values stay visible, so what it fuses is inside one operator of the plan."""

    wide = False

    def __init__(self, threads: int, rewriting: bool) -> None:
        self.threads, self.rewriting = threads, rewriting
        more = "rewriting on" if rewriting else f"{threads} thread{'s' if threads > 1 else ''}"
        self.name = f"ONNX Runtime, {more}"
        self.sessions: dict = {}

    def run(self, graph, inputs: dict, profile: str) -> dict:
        if graph.path not in self.sessions:
            self.sessions = {graph.path: self.session(graph)}
        session, names = self.sessions[graph.path]
        return dict(zip(names, session.run(names, inputs)))

    def session(self, graph) -> tuple[onnxruntime.InferenceSession, list[str]]:
        proto = copy.deepcopy(graph.proto)
        names = [name for node in proto.graph.node for name in node.output if name in graph.plan and graph.is_computed(name)]
        known = {output.name for output in proto.graph.output}
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
        levels = onnxruntime.GraphOptimizationLevel
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if self.rewriting else levels.ORT_DISABLE_ALL
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"]), names
