"""ResNet-18 and 34 up to their last feature map, by torchvision's names of the weights.

Its batch norms are frozen: ACT learns with their first statistics.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPSILON = 1e-5  # torchvision's, of a frozen batch norm
BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
WIDTHS = (64, 128, 256, 512)
STRIDE = 32  # pixels a cell of the last feature map
FEATURES = WIDTHS[-1]


class FrozenBatchNorm(nn.Module):
    """B x C x H x W -> the same, scaled and moved for each channel by what was once measured."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + EPSILON).rsqrt()
        offset = self.bias - self.running_mean * scale
        return x * scale[:, None, None] + offset[:, None, None]


class BasicBlock(nn.Module):
    """Two convolutions with a way around them."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        self.bn1 = FrozenBatchNorm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = FrozenBatchNorm(width)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or before != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, width, 1, stride, bias=False), FrozenBatchNorm(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(out)) + self.downsample(x))


class ResNetFeatures(nn.Module):
    """Pixels B x 3 x H x W -> B x FEATURES x H / 32 x W / 32, each rounded up.

    Args:
        name: One of BLOCKS.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 7, 2, padding=3, bias=False)
        self.bn1 = FrozenBatchNorm(WIDTHS[0])
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        before = WIDTHS[0]
        for count, (blocks, width) in enumerate(zip(BLOCKS[name], WIDTHS), 1):
            layers = [BasicBlock(before, width, 1 if count == 1 else 2)]
            layers += [BasicBlock(width, width, 1) for _ in range(blocks - 1)]
            setattr(self, f"layer{count}", nn.Sequential(*layers))
            before = width

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(pixels))))
        for count in range(1, len(WIDTHS) + 1):
            x = getattr(self, f"layer{count}")(x)
        return x
