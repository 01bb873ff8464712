"""The autoencoder of Beckmann, Hilsmann, Eisert 2023 (arXiv 2305.05282), by their published configuration.

EfficientNet-B4 encoder, a dense layer to the code, one shared inter network, sub-pixel decoders with residual blocks.
What differs from the published code is said in ``docs/methods.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceswap_hq.errors import UserError
from faceswap_hq.model.blocks import stages

if TYPE_CHECKING:
    from faceswap_hq.model.autoencoder import ModelSettings

_OPAQUE = 12.0  # logit of a mask that leaves the choice to the target's outline

# What EfficientNet's weights were trained to see (ImageNet's means and standard deviations)
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class EfficientEncoder(nn.Module):
    """(B, 3, S, S) in [0, 1] ► (B, bottleneck): EfficientNet-B4 without its head, flattened, one dense layer."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        from torchvision.models import efficientnet_b4

        self.features = efficientnet_b4(weights=None).features
        side = settings.resolution // 32
        self.dense = nn.Linear(1792 * side * side, settings.bottleneck)
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("spread", torch.tensor(_SPREAD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Encode a batch of faces."""
        return self.dense(self.features((image - self.mean) / self.spread).flatten(1))

    def load_imagenet(self) -> None:
        """Take the weights that were trained on ImageNet; they are downloaded at first use.

        Raises:
            UserError: If they cannot be had.
        """
        from torchvision.models import EfficientNet_B4_Weights, efficientnet_b4

        try:
            self.features.load_state_dict(efficientnet_b4(weights=EfficientNet_B4_Weights.DEFAULT).features.state_dict())
        except (OSError, RuntimeError) as error:  # urllib's errors are OSErrors, a damaged file is a RuntimeError
            raise UserError(
                f"The ImageNet weights of EfficientNet-B4 could not be loaded: {error}.",
                "They are downloaded at first use. To train from nothing instead: a YAML with `pretrained: false`.",
            ) from error


class Inter(nn.Module):
    """Code (B, bottleneck) ► (B, base_channels, 16, 16), shared by all people; expression is not looked at."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.channels = settings.base_channels
        self.dense = nn.Linear(settings.bottleneck, settings.base_channels * 64)

    def forward(self, code: Tensor, measures: Tensor) -> Tensor:
        """Open a batch of codes."""
        opened = self.dense(code).view(-1, self.channels, 8, 8)
        return F.leaky_relu(F.interpolate(opened, scale_factor=2.0, mode="nearest"), 0.01)


class SubpixelDecoder(nn.Module):
    """One person: (B, base_channels, 16, 16) ► (B, 4, S, S): face as logits, and a mask that is opaque everywhere."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.stages = stages(settings.base_channels, settings.decoder_channels, settings.residual, slope=0.2)
        self.head = nn.Conv2d(settings.decoder_channels[-1], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Draw a batch of faces."""
        face = self.head(self.stages(x))
        return torch.cat([face, torch.full_like(face[:, :1], _OPAQUE)], 1)


def parts(settings: ModelSettings, people: Sequence[str]) -> tuple[nn.Module, nn.Module, nn.ModuleList]:
    """Encoder, shared opening, and one decoder a person."""
    return EfficientEncoder(settings), Inter(settings), nn.ModuleList(SubpixelDecoder(settings) for _ in people)
