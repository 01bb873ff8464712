"""Decoders that are not in the product, for ``ingredients.py``: cheaper, or drawing coarsely at first.

Each function changes an untrained model in place.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from faceswap_hq.model import SwapAutoencoder
from faceswap_hq.model.autoencoder import Decoder

GROUPS = 4
SLOPE = 0.1  # of the model's leaky ReLUs


def cheapen(model: SwapAutoencoder, kind: str) -> None:
    """Replace the 3 × 3 convolutions of the decoders' stages.

    Args:
        model: Of the design ``compact``.
        kind: ``separable``: a 3 × 3 filter a channel, then a 1 × 1 convolution (Howard et al. 2017, MobileNets).
            ``grouped``: channels in 4 groups that do not see each other within a layer (Xie et al. 2017, ResNeXt).
    """
    make = {"separable": _separable, "grouped": _grouped}[kind]
    for decoder in model.decoders:
        for stage in decoder.stages:
            for name, layer in list(stage.named_children()):
                if isinstance(layer, nn.Conv2d):
                    setattr(stage, name, make(layer, zero=not bool(layer.weight.any())))


def _separable(like: nn.Conv2d, zero: bool) -> nn.Module:
    deep = nn.Conv2d(like.in_channels, like.in_channels, 3, padding=1, groups=like.in_channels, bias=False)
    nn.init.kaiming_normal_(deep.weight, nonlinearity="linear")
    return nn.Sequential(deep, _begun(nn.Conv2d(like.in_channels, like.out_channels, 1), zero))


def _grouped(like: nn.Conv2d, zero: bool) -> nn.Module:
    return _begun(nn.Conv2d(like.in_channels, like.out_channels, 3, padding=1, groups=GROUPS), zero)


def _begun(layer: nn.Conv2d, zero: bool) -> nn.Conv2d:
    """With weights as the model begins with them; zero where a residual block begins as identity."""
    if zero:
        nn.init.zeros_(layer.weight)
    else:
        nn.init.kaiming_normal_(layer.weight, a=SLOPE, nonlinearity="leaky_relu")
    nn.init.zeros_(layer.bias)
    return layer


class CoarseFirst(nn.Module):
    """A decoder that, while ``coarse``, leaves out its last doubling and draws at half the size.

    Coarse faces come from a head of their own and are shown with each pixel doubled, so that shapes stay as they are;
    averaging two by two gives back what was drawn. This is the growing of Karras et al. 2018 (Progressive Growing of
    GANs, ICLR) without the blending over.
    """

    def __init__(self, decoder: Decoder, channels: int) -> None:
        super().__init__()
        self.stages, self.head, self.views = decoder.stages, decoder.head, decoder.views
        self.early = nn.Conv2d(channels, 16, 3, padding=1)
        nn.init.xavier_normal_(self.early.weight, gain=0.1)
        nn.init.zeros_(self.early.bias)
        self.coarse = False

    def forward(self, x: Tensor) -> Tensor:
        """(B, base_channels, 8, 8) ► (B, 4, S, S), see :class:`Decoder`."""
        if not self.coarse:
            return Decoder.forward(self, x)  # type: ignore[arg-type]
        for stage in self.stages[: self.before_last]:
            x = stage(x)
        return F.interpolate(F.pixel_shuffle(self.early(x), 2), scale_factor=2.0, mode="nearest")

    @property
    def before_last(self) -> int:
        """Layers up to the last doubling."""
        doublings = [i for i, stage in enumerate(self.stages) if hasattr(stage, "convolution")]
        return doublings[-1]


def draw_coarsely_first(model: SwapAutoencoder) -> None:
    """Give every decoder a coarse head (:class:`CoarseFirst`)."""
    channels = model.settings.decoder_channels[-2]
    model.decoders = nn.ModuleList(CoarseFirst(decoder, channels) for decoder in model.decoders)


def set_coarse(model: SwapAutoencoder, coarse: bool) -> None:
    """Let the decoders that can draw at half the size, or in full."""
    for decoder in model.decoders:
        if isinstance(decoder, CoarseFirst):
            decoder.coarse = coarse


def halved(*pictures: Tensor) -> list[Tensor]:
    """Pictures at half the size."""
    return [F.avg_pool2d(picture, 2) for picture in pictures]
