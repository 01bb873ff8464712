"""What decoders are built of."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class Upscale(nn.Module):
    """Doubles the side: 3 × 3 convolution to four times the channels, then sub-pixel shuffle (Shi et al. 2016)."""

    def __init__(self, channels_in: int, channels_out: int, slope: float) -> None:
        super().__init__()
        self.slope = slope
        self.convolution = nn.Conv2d(channels_in, channels_out * 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) ► (B, C', 2H, 2W)."""
        return F.leaky_relu(F.pixel_shuffle(self.convolution(x), 2), self.slope)


class Residual(nn.Module):
    """Two 3 × 3 convolutions around which the input is carried."""

    def __init__(self, channels: int, slope: float) -> None:
        super().__init__()
        self.slope = slope
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape."""
        return F.leaky_relu(x + self.second(F.leaky_relu(self.first(x), self.slope)), self.slope)


def stages(before: int, channels: Sequence[int], residual: Sequence[int], slope: float) -> nn.Sequential:
    """A decoder's doublings, each followed by its residual blocks.

    Args:
        before: Channels of the map that is begun with.
        channels: Channels after each doubling.
        residual: Residual blocks after each doubling.
        slope: Of the leaky ReLUs.
    """
    layers: list[nn.Module] = []
    for after, blocks in zip(channels, residual, strict=True):
        layers += [Upscale(before, after, slope), *(Residual(after, slope) for _ in range(blocks))]
        before = after
    return nn.Sequential(*layers)
