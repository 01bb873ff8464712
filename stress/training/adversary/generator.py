"""The network that predicts how wide the blur is at every pixel."""

from __future__ import annotations

import torch
from torch import nn

CONSTRAINTS = ("clamp", "norm", "none")


def constrained(o: torch.Tensor, constraint: str, norm: torch.Tensor | float) -> torch.Tensor:
    """Inverse variances from a network's plain output.

    Args:
        o: (B, C, H, W); it is squared.
        constraint: ``"clamp"`` to [1, 1e12] (no width above 1 pixel); ``"norm"``: scaled so that each picture's map has
            this Euclidean norm (at n pixels of equal width, norm / sqrt(n) is one over its square); ``"none"``.
        norm: Of the second.

    Returns:
        (B, C, H, W) float32, not negative.
    """
    s = o.float().square()
    if constraint == "clamp":
        return s.clamp(1, 1e12)
    if constraint == "norm":
        return norm * s / s.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
    return s


class WidthGenerator(nn.Module):
    """A small residual network with the outline of CycleGAN's (Zhu et al. 2017), as Wang, Guo and Zuo's code has it.

    Reflected 7 x 7 convolution to ``width`` channels; two halvings that double the channels; ``blocks`` residual
    blocks; two doublings by transposed convolutions; reflected 7 x 7 convolution to one channel. Batch norm and ReLU
    after all but the last. Kaiming's initial weights; those of the norms are drawn from N(1, 0.02).

    Args:
        width: Channels at full resolution; published: 64.
        blocks: Residual blocks.
        constraint: See :func:`constrained`.
        norm: Norm of the maps with the constraint ``"norm"``, at the start where it is learned.
        learn_norm: Whether it is learned.
    """

    def __init__(
        self, width: int = 64, blocks: int = 3, constraint: str = "clamp", norm: float = 100.0, learn_norm: bool = False
    ) -> None:
        super().__init__()
        self.constraint = constraint
        self.norm = nn.Parameter(torch.tensor(norm), requires_grad=learn_norm)
        down = [
            unit
            for inputs in (width, 2 * width)
            for unit in _unit(nn.Conv2d(inputs, 2 * inputs, 3, 2, padding=1, bias=False))
        ]
        up = [
            unit
            for inputs in (4 * width, 2 * width)
            for unit in _unit(nn.ConvTranspose2d(inputs, inputs // 2, 3, 2, 1, output_padding=1, bias=False))
        ]
        self.layers = nn.Sequential(
            *_unit(_reflected(3, width, 7)),
            *down,
            *(_Residual(4 * width) for _ in range(blocks)),
            *up,
            _reflected(width, 1, 7, bias=True),
        )
        for part in self.modules():
            if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(part.weight)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
            elif isinstance(part, nn.BatchNorm2d):
                nn.init.normal_(part.weight, 1.0, 0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W), H and W at least 8, to (B, 1, H, W) inverse variances in 1/pixels^2."""
        return constrained(self.layers(x)[..., : x.shape[-2], : x.shape[-1]], self.constraint, self.norm)


def _reflected(inputs: int, outputs: int, side: int, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, side, padding=side // 2, padding_mode="reflect", bias=bias)


def _unit(convolution: nn.Module) -> list[nn.Module]:
    channels: int = convolution.out_channels  # type: ignore[assignment]
    return [convolution, nn.BatchNorm2d(channels), nn.ReLU(True)]


class _Residual(nn.Module):
    """Two reflected 3 x 3 convolutions with batch norm beside a skip; nothing after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_unit(_reflected(channels, channels, 3)), _reflected(channels, channels, 3), nn.BatchNorm2d(channels)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same shape."""
        out: torch.Tensor = x + self.layers(x)
        return out
