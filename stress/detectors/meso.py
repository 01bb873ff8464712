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


class _Inception(nn.Module):
    """Four branches side by side: 1x1; 1x1 then 3x3 with dilations of 1, 2 and 3. A ReLU follows each convolution."""

    def __init__(self, inputs: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        first, *others = widths
        self.point = nn.Conv2d(inputs, first, 1)
        self.reduce = nn.ModuleList(nn.Conv2d(inputs, width, 1) for width in others)
        self.spread = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
            for dilation, width in enumerate(others, start=1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) to (B, sum of widths, H, W)."""
        branches = [self.point(x)]
        for reduce, spread in zip(self.reduce, self.spread, strict=True):
            branches.append(spread(functional.relu(reduce(x))))
        return functional.relu(torch.cat(branches, 1))


class MesoInception4(nn.Module):
    """MesoInception-4: two inception blocks, two convolutions and two dense layers, 28,615 parameters with one output.

    Widths (1, 4, 4, 2) and (2, 4, 4, 2), dilations of 2 and 3 and the ReLU after each convolution are those of the
    authors' code. Otherwise as :class:`Meso4`.

    Args:
        outputs: Values per image, 1 or 2.
    """

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.inception1, self.bn1 = _Inception(3, (1, 4, 4, 2)), nn.BatchNorm2d(11, eps=1e-3)
        self.inception2, self.bn2 = _Inception(11, (2, 4, 4, 2)), nn.BatchNorm2d(12, eps=1e-3)
        self.conv3, self.bn3 = nn.Conv2d(12, 16, 5, padding=2), nn.BatchNorm2d(16, eps=1e-3)
        self.conv4, self.bn4 = nn.Conv2d(16, 16, 5, padding=2), nn.BatchNorm2d(16, eps=1e-3)
        self.dropout = nn.Dropout(0.5)
        self.fc1 = nn.Linear(16 * 8 * 8, 16)
        self.fc2 = nn.Linear(16, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 256, 256) in [0, 1] to (B, outputs) logits."""
        x = functional.max_pool2d(self.bn1(self.inception1(x)), 2)
        x = functional.max_pool2d(self.bn2(self.inception2(x)), 2)
        x = functional.max_pool2d(self.bn3(functional.relu(self.conv3(x))), 2)
        x = functional.max_pool2d(self.bn4(functional.relu(self.conv4(x))), 4)
        x = functional.leaky_relu(self.fc1(self.dropout(x.flatten(1))), 0.1)
        return self.fc2(self.dropout(x))
