"""A compact detector of our own that trains on a CPU in minutes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def _unit(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(True))


class _Residual(nn.Module):
    """Two 3x3 convolutions with batch norm around a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _unit(channels, channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same shape."""
        return functional.relu(x + self.norm(self.conv(self.first(x))))


class SmallCNN(nn.Module):
    """Residual network of about 0.26 million parameters for faces of 128 px.

    Swapped faces give themselves away in fine texture and along the blending edge, so the picture's fine residual
    (itself minus its 3x3 mean) is fed in beside the picture and the first layer works at full resolution.

    Args:
        outputs: Values per image, 1 or 2.
        dropout: Before the last layer.
    """

    def __init__(self, outputs: int = 1, dropout: float = 0.2) -> None:
        super().__init__()
        self.stem = _unit(6, 16)
        self.stages = nn.Sequential(
            _unit(16, 24, stride=2), _unit(24, 48, stride=2), _Residual(48), _unit(48, 96, stride=2), _Residual(96)
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * 96, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised (B, 3, H, W) to (B, outputs) logits."""
        residual = x - functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        x = self.stages(self.stem(torch.cat([x, residual], 1)))
        pooled = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        return self.head(self.dropout(pooled))
