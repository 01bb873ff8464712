"""The blocks of Locate and Verify, each by itself."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional as F


def srm_kernels() -> torch.Tensor:
    """Three of the rich model's residual filters (Fridrich and Kodovsky, IEEE TIFS 7, 2012): (3, 5, 5).

    The square 3x3 (KB) over 4, the square 5x5 (KV) over 12, and the horizontal second difference over 2.
    """
    kernels = torch.zeros(3, 5, 5)
    side, ridge = torch.tensor([-1.0, 2, -1]), torch.tensor([1.0, -2, 1])
    kernels[0, 1:4, 1:4] = torch.outer(side, -side) / 4
    quarter = torch.tensor([[-1.0, 2, -2], [2, -6, 8], [-2, 8, -12]])
    half = torch.cat([quarter, quarter[:, :2].flip(1)], dim=1)
    kernels[1] = torch.cat([half, half[:2].flip(0)]) / 12
    kernels[2, 2, 1:4] = ridge / 2
    return kernels


class SRM(nn.Module):
    """Noise residuals: each kernel over the sum of the three channels, then cut to [-3, 3].

    The kernels are fixed and in no state dict.
    """

    kernel: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", srm_kernels()[:, None].repeat(1, 3, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised (B, 3, H, W) to (B, 3, H, W)."""
        return F.hardtanh(F.conv2d(x, self.kernel, padding=2), -3.0, 3.0)


def cross_modality(
    fa: torch.Tensor, fb: torch.Tensor, mode: str = "faithful"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-modality consistency enhancement: each stream takes from the other where the two agree.

    With c the cosine of the two at every place (over channels), fa becomes ReLU(fa + c fb) and fb ReLU(fb + c fa). The
    authors' code adds to fb the fa that has just been changed (before its ReLU): ``faithful``. ``corrected`` treats
    both alike. Their block also has convolutions that nothing uses; here it has no parameters.

    Args:
        fa: (B, C, H, W) of the picture's stream.
        fb: (B, C, H, W) of the residual's stream.
        mode: ``"faithful"`` or ``"corrected"``.
    """
    cosine = F.cosine_similarity(fa, fb, dim=1).unsqueeze(1)
    changed = fa + cosine * fb
    return F.relu(changed), F.relu(fb + cosine * (changed if mode == "faithful" else fa))


class ForgeryAttention(nn.Module):
    """Local forgery guided attention: where to look in one stream is decided by the other.

    With q and k from the localisation feature x (C / 4 channels each) and v from the classification feature y, y
    becomes ReLU(gamma v A^T + y), A = softmax(q^T k) over the places looked at; gamma is learned from 0.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 4, 1)
        self.key = nn.Conv2d(channels, channels // 4, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def attention(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to A, (B, HW, HW); every row sums to 1."""
        query, key = self.query(x).flatten(2), self.key(x).flatten(2)
        return torch.softmax(query.transpose(1, 2) @ key, dim=-1)

    def forward(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Classification and localisation feature, (B, C, H, W) each, to the new classification feature."""
        seen = self.value(y).flatten(2) @ self.attention(x).transpose(1, 2)
        return F.relu(self.gamma * seen.view_as(y) + y)


def padded(x: torch.Tensor, cells: int) -> torch.Tensor:
    """Repeat the edges until the side is a multiple of ``cells``; what is odd goes right and below.

    Args:
        x: (B, C, S, S).
        cells: Of the grid.
    """
    missing = -x.shape[-1] % cells
    before, after = missing // 2, (missing + 1) // 2
    return F.pad(x, (before, after, before, after), mode="replicate") if missing else x


def pooled(x: torch.Tensor, cells: int) -> torch.Tensor:
    """Largest value in every cell of a grid: (B, C, S, S), S >= cells, to (B, C, cells, cells)."""
    x = padded(x, cells)
    return F.max_pool2d(x, x.shape[-1] // cells)


def patch_agreement(x: torch.Tensor, anchor: torch.Tensor) -> torch.Tensor:
    """One scale of multi-scale patch feature fusion: how each place agrees with its cell of the coarsest scale.

    The agreement is the sum over channels of tanh(x * anchor), the anchor being repeated over the w x w places of its
    cell; these become w * w channels.

    Args:
        x: (B, C, S, S).
        anchor: (B, C, g, g).

    Returns:
        (B, w * w, g, g), the places of a cell row by row; w = ceil(S / g).
    """
    cells = anchor.shape[-1]
    x = padded(x, cells)
    window = x.shape[-1] // cells
    repeated = anchor.repeat_interleave(window, dim=2).repeat_interleave(window, dim=3)
    return cast(torch.Tensor, F.pixel_unshuffle(torch.tanh(x * repeated).sum(1, keepdim=True), window))


class BilinearFusion(nn.Module):
    """Two features of the same places as one: W3 dropout(tanh(W1 a * W2 b)).

    Args:
        first: Channels of a.
        second: Channels of b.
        hidden: Rows of W1 and W2.
        fused: Rows of W3.
    """

    def __init__(self, first: int, second: int, hidden: int, fused: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(first, hidden, 1)
        self.second = nn.Conv2d(second, hidden, 1)
        self.dropout = nn.Dropout(0.5)
        self.fused = nn.Conv2d(hidden, fused, 1)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """(B, first, H, W) and (B, second, H, W) to (B, fused, H, W)."""
        return self.fused(self.dropout(torch.tanh(self.first(a) * self.second(b))))
