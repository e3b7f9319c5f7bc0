"""Writes node_cases.zip: the ONNX project's own node tests (Apache-2.0) of the operators that plans have.

    python crates/model/tests/node_cases.py

Members are stored, not compressed: `<case>/model.onnx`, `<case>/input_<k>.pb`, `<case>/output_<k>.pb`. Left out are cases of
element types or operators that plans do not have, of more than 12 KiB, and training. The opset of a newer case is
lowered to 23: the versions since only add element types."""

import zipfile
from pathlib import Path

import onnx
from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases

OPERATORS = set(
    """Abs Add And ArgMax AveragePool BatchNormalization Cast CastLike Celu Clip Concat Constant ConstantOfShape
    Conv Cos Div Dropout Elu Equal Erf Exp Expand Flatten Gather GatherND Gelu Gemm GlobalAveragePool
    GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization
    LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul Max MaxPool Min Mish Mul Neg Not Or
    PRelu Pad Pow RMSNormalization Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
    ReduceMean ReduceMin ReduceSum ReduceSumSquare Relu Reshape Selu Shape Sigmoid Sin Size Slice Softmax
    Softplus Softsign Split Sqrt Squeeze Sub Sum Tanh ThresholdedRelu Transpose Unsqueeze Where""".split()
)
TYPES = {
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.UINT8,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.BOOL,
}
LARGEST = 12 << 10
NEWEST = 23
EPOCH = (1980, 1, 1, 0, 0, 0)


def usable(model: onnx.ModelProto) -> bool:
    values = [*model.graph.input, *model.graph.output]
    return (
        not model.functions
        and all(node.op_type in OPERATORS and node.domain in ("", "ai.onnx") for node in model.graph.node)
        and all(value.type.tensor_type.elem_type in TYPES for value in values)
        and all(entry.version >= 11 for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    )


def drop_side_outputs(model: onnx.ModelProto) -> None:
    """Leaves the first output of operators whose others plans do not have."""
    if len(model.graph.node) == 1 and model.graph.node[0].op_type in ("LayerNormalization", "MaxPool"):
        del model.graph.node[0].output[1:]
        del model.graph.output[1:]


def tensors(arrays: list) -> list[bytes]:
    # Cases of types that NumPy lacks give tensors themselves.
    made = [array if isinstance(array, TensorProto) else numpy_helper.from_array(array) for array in arrays]
    return [tensor.SerializeToString(deterministic=True) for tensor in made]


def main() -> None:
    count = 0
    with zipfile.ZipFile(Path(__file__).with_suffix(".zip"), "w", zipfile.ZIP_STORED) as archive:
        for case in sorted(collect_testcases(None), key=lambda case: case.name):
            if case.kind != "node" or case.model is None or not usable(case.model):
                continue
            for entry in case.model.opset_import:
                entry.version = min(entry.version, NEWEST)
            drop_side_outputs(case.model)
            inputs, outputs = case.data_sets[0]
            outputs = outputs[: len(case.model.graph.output)]
            if any(isinstance(array, (list, dict)) or array is None for array in [*inputs, *outputs]):
                continue
            files = {"model.onnx": case.model.SerializeToString(deterministic=True)}
            files |= {f"input_{k}.pb": data for k, data in enumerate(tensors(inputs))}
            files |= {f"output_{k}.pb": data for k, data in enumerate(tensors(outputs))}
            if sum(map(len, files.values())) > LARGEST:
                continue
            for name, data in files.items():
                archive.writestr(zipfile.ZipInfo(f"{case.name}/{name}", EPOCH), data)
            count += 1
    print(f"{count} cases")


if __name__ == "__main__":
    main()
