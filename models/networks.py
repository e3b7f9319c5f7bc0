"""The networks of this folder, in plain PyTorch. All take one image, float32 [1, 1, 8, 8] in 0..1, and give
float32 [1, 10] logits; `Reading` turns them into three outputs."""

import torch
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head self-attention out of MatMul, Transpose and Softmax, so that no exporter sees a fused kernel."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        scores = torch.matmul(q, k.transpose(-2, -1)) * self.scale
        mixed = torch.matmul(scores.softmax(dim=-1), v)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, dim))


class Block(nn.Module):
    """Pre-norm transformer block with an erf GELU."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.fc2(self.act(self.fc1(self.norm2(x))))


class DigitsViT(nn.Module):
    """Vision transformer: 2x2 patches give 16 tokens, a class token makes 17.

    Width 64: every linear layer sums at least 64 products, which is where a layer of the protocol may end."""

    def __init__(self, dim: int = 64, heads: int = 4, hidden: int = 160, depth: int = 4) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, dim, kernel_size=2, stride=2)
        self.cls = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.pos = nn.Parameter(torch.randn(1, 17, dim) * 0.02)
        self.blocks = nn.Sequential(*[Block(dim, heads, hidden) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 10)

    def forward(self, image: Tensor) -> Tensor:
        patches = self.patch(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(patches.shape[0], -1, -1), patches], dim=1) + self.pos
        x = self.norm(self.blocks(x))
        return self.head(x[:, 0])


class Mlp(nn.Module):
    """64 -> 128 -> 96 -> 10, a ReLU, then a Tanh gated by a Sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(64, 128)
        self.fc2 = nn.Linear(128, 96)
        self.gate = nn.Linear(128, 96)
        self.fc3 = nn.Linear(96, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = torch.relu(self.fc1(image.flatten(1)))
        return self.fc3(torch.tanh(self.fc2(x)) * torch.sigmoid(self.gate(x)))


class Cnn(nn.Module):
    """Residual CNN. Convolution and batch norm in pairs (exporters may fold those), and a batch norm after an
    addition (which nobody can fold)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.body1 = nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)
        )
        self.norm1 = nn.BatchNorm2d(16)
        self.pool1 = nn.MaxPool2d(3, stride=2, padding=1)
        self.body2 = nn.Sequential(
            nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1)
        )
        self.skip2 = nn.Conv2d(16, 32, 1)
        self.norm2 = nn.BatchNorm2d(32)
        self.pool2 = nn.AvgPool2d(2)
        self.pool3 = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(32, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        x = self.pool1(torch.relu(self.norm1(x + self.body1(x))))
        x = self.pool2(torch.relu(self.norm2(self.skip2(x) + self.body2(x))))
        return self.head(self.pool3(x).flatten(1))


class Reader(nn.Module):
    """The operators that the other networks lack: a crop, a normalization written by hand, a depthwise convolution,
    an average pool that leaves the padding out of its count."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, stride=(1, 2), padding=(1, 0), groups=8)
        self.pool = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)
        self.head = nn.Linear(8 * 4 * 2, 10)

    def forward(self, image: Tensor) -> Tensor:
        crop = image[:, :, 1:, :7]
        centred = crop - crop.mean(dim=(2, 3), keepdim=True)
        x = centred / torch.sqrt((centred * centred).mean(dim=(2, 3), keepdim=True) + 1e-5)
        x = torch.sigmoid(self.depthwise(torch.relu(self.conv(x))))
        return self.head(self.pool(x).flatten(1))


class Reading(nn.Module):
    """Probabilities float32 [1, 10], the label int64 [1] and the label as float32 [1]."""

    outputs = ("probabilities", "label", "label_as_float")

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = self.model(image)
        label = logits.argmax(dim=1)
        return logits.softmax(dim=1), label, label.to(torch.float32)
