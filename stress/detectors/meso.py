"""MesoNet: Afchar et al., "MesoNet: a compact facial video forgery detection network", WIFS 2018, arXiv 1809.00888."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Meso4(nn.Module):
    """Meso-4: four convolutions and two dense layers, 27,977 parameters with one output, for faces of 256 px.

    The paper's sigmoid is left to the card (``output: logit`` and a sigmoid are the same function). Batch norm has
    Keras' epsilon of 1e-3. The flattened order is (C, H, W).

    Args:
        outputs: Values per image, 1 or 2.
    """

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8, eps=1e-3)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 5, padding=2), nn.BatchNorm2d(8, eps=1e-3)
        self.conv3, self.bn3 = nn.Conv2d(8, 16, 5, padding=2), nn.BatchNorm2d(16, eps=1e-3)
        self.conv4, self.bn4 = nn.Conv2d(16, 16, 5, padding=2), nn.BatchNorm2d(16, eps=1e-3)
        self.dropout = nn.Dropout(0.5)
        self.fc1 = nn.Linear(16 * 8 * 8, 16)
        self.fc2 = nn.Linear(16, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 256, 256) in [0, 1] to (B, outputs) logits."""
        convolutions = (self.conv1, self.conv2, self.conv3, self.conv4)
        norms = (self.bn1, self.bn2, self.bn3, self.bn4)
        for conv, norm, pool in zip(convolutions, norms, (2, 2, 2, 4), strict=True):
            x = functional.max_pool2d(norm(functional.relu(conv(x))), pool)
        x = functional.leaky_relu(self.fc1(self.dropout(x.flatten(1))), 0.1)
        return self.fc2(self.dropout(x))
