"""Pictures of a person that a decoder learns, bends and mixes.

Convolutions draw a face anew in every frame, and it takes them long to draw sharply what hardly changes: brows,
stubble, irises, teeth. Here that is held as pictures, learned like any other weight; what a decoder draws of a face is,
pixel by pixel, from where in the pictures to take it, in which shares, and what to add. Bending a picture is the
appearance flow of Zhou et al. 2016 (View Synthesis by Appearance Flow, ECCV); a picture as a weight is the neural
texture of Thies, Zollhöfer, Nießner 2019 (Deferred Neural Rendering, SIGGRAPH); here in the decoders of an autoencoder.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_REACH = 0.1  # of half the side: what a flow of 1 moves by
_NEVER_QUITE = 0.01  # pictures begin between this and 1 - this: logits of black and white are infinite


class Views(nn.Module):
    """A few pictures of one person.

    Args:
        channels: Channels of the decoder's last map, half as wide as the pictures.
        count: Pictures.
        side: Their side, pixels.
    """

    def __init__(self, channels: int, count: int, side: int) -> None:
        super().__init__()
        self.use = nn.Conv2d(channels, 2 + count, 3, padding=1)
        self.count = count
        self.pictures = nn.Parameter(torch.zeros(count * 3, side, side))
        """Logits of color, one picture after the other."""

    @torch.no_grad()
    def begin_with(self, images: Tensor) -> None:
        """Begin with real faces: (count, 3, S, S) in [0, 1]."""
        self.pictures.copy_(torch.logit(images.clamp(_NEVER_QUITE, 1 - _NEVER_QUITE)).flatten(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        """What the pictures give to the faces drawn: (B, channels, S / 2, S / 2) ► logits of color (B, 3, S, S)."""
        side = self.pictures.shape[-1]
        use = self.use(x)
        exact = torch.promote_types(use.dtype, torch.float32)
        use = F.interpolate(use.to(exact), scale_factor=2, mode="bilinear", align_corners=False)
        steps = (torch.arange(side, device=x.device, dtype=exact) * 2 + 1) / side - 1
        straight = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)
        grid = straight + _REACH * use[:, :2].permute(0, 2, 3, 1)
        taken = F.grid_sample(
            self.pictures.to(exact).expand(len(x), -1, -1, -1), grid,
            mode="bilinear", padding_mode="border", align_corners=False,
        ).unflatten(1, (self.count, 3))  # fmt: skip
        shares = torch.softmax(use[:, 2:], 1)
        return (taken * shares[:, :, None]).sum(1)
