"""ShallowNet V3: Tariq et al., "Detecting both machine and human created fake face images in the wild", MPS 2018."""

from __future__ import annotations

import torch
from torch import nn


def _stage(inputs: int, widths: tuple[int, ...], kernel: int) -> list[nn.Module]:
    """Convolutions with a ReLU, the first ``kernel`` wide and unpadded, the others 1x1; a dropout between each two."""
    parts: list[nn.Module] = []
    for number, width in enumerate(widths):
        parts += [nn.Dropout(0.25)] if number else []
        parts += [nn.Conv2d(inputs, width, 1 if number else kernel), nn.ReLU()]
        inputs = width
    return parts


class ShallowNet(nn.Module):
    """ShallowNet V3 for faces of 256 px: eight convolutions and two dense layers, 118,078,241 parameters at 256 px.

    The paper itself could not be read. Layers, widths, dropout and the side of 256 px are those of the copy of
    ShallowNet V3 that Li et al. (arXiv 2308.04177) published and ran; that this copy is the network of the paper is
    inferred from its name. The copy's L2 penalty of 1e-4 on the weights is left to the training. The sigmoid is left to
    the card, and the batch norm has Keras' epsilon of 1e-3 and keeps 0.99 of its running averages. Almost all
    parameters are in the first dense layer, which fixes the side.

    Args:
        outputs: Values per image, 1 or 2.
        side: Of the input in pixels, at least 16.
    """

    def __init__(self, outputs: int = 1, side: int = 256) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_stage(3, (32, 32, 32), 5), nn.MaxPool2d(2), nn.Dropout(0.25),
            *_stage(32, (64, 64, 64), 3), nn.MaxPool2d(2), nn.Dropout(0.25),
            *_stage(64, (128, 32), 3), nn.Dropout(0.25),
        )  # fmt: skip
        left = ((side - 4) // 2 - 2) // 2 - 2
        self.fc1 = nn.Linear(32 * left * left, 1024)
        self.bn = nn.BatchNorm1d(1024, eps=1e-3, momentum=0.01)
        self.dropout = nn.Dropout(0.25)
        self.fc2 = nn.Linear(1024, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, side, side) in [0, 1] to (B, outputs) logits."""
        x = torch.relu(self.fc1(self.features(x).flatten(1)))
        return self.fc2(self.dropout(self.bn(x)))
