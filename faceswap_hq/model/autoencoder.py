"""One shared encoder, one decoder a person.

Every face, whoever's it is, goes through the same encoder into the same bottleneck; each person has a decoder that has
only ever learned to draw that person. Trained to reconstruct, the bottleneck comes to hold what the people share
(expression, pose, light) and the decoder what they don't (identity); a face of B sent through A's decoder is A with B's
expression. The scheme is that of the original shared-encoder face swap, the one Beckmann et al. 2023 (arXiv 2305.05282)
use; the layers here are our own, sized so that two CPU cores train them in minutes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceswap_hq.errors import UserError
from faceswap_hq.faces import expression
from faceswap_hq.model import beckmann
from faceswap_hq.model.blocks import Residual, stages
from faceswap_hq.model.views import Views


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Shape of the autoencoder.

    Raises:
        UserError: If the resolution is not what the number of stages makes it.
    """

    design: str = "compact"
    """``compact`` (ours), or ``beckmann2023``: the published layers (:mod:`faceswap_hq.model.beckmann`)."""
    resolution: int = 128
    """Side of input and output, pixels: 8 × 2 ** len(decoder_channels)."""
    encoder_channels: tuple[int, ...] = (32, 64, 128, 256, 384)
    """Channels after each halving of the encoder (``compact`` only: the other's is EfficientNet-B4)."""
    bottleneck: int = 384
    """Numbers that describe a face between encoder and decoders."""
    expression_width: int = 128
    """Numbers that the expression's measures are widened to before they join the bottleneck."""
    base_channels: int = 192
    """Channels of the 8 × 8 map that the bottleneck is opened to (shared by all people)."""
    decoder_channels: tuple[int, ...] = (128, 64, 32)
    """Channels after each doubling of a decoder; the last doubling, to pixels, comes on top."""
    residual: tuple[int, ...] = (1, 0, 0)
    """Residual blocks after each doubling of a decoder."""
    views: int = 0
    """Pictures of its person that a decoder bends and mixes (``compact`` only; :mod:`faceswap_hq.model.views`)."""

    def __post_init__(self) -> None:
        if self.design not in ("compact", "beckmann2023"):
            raise UserError(f"There is no design {self.design!r} of the model.", "Known: compact, beckmann2023.")
        for name in ("encoder_channels", "decoder_channels", "residual"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, least in (("encoder_channels", 1), ("decoder_channels", 1), ("residual", 0)):
            if min(getattr(self, name), default=least) < least:
                raise UserError(f"`{name}` holds a number below {least}.")
        if self.bottleneck < 1 or self.base_channels < 1:
            raise UserError("`bottleneck` and `base_channels` must be positive.")
        if self.views < 0 or (self.views and self.design != "compact"):
            raise UserError("`views` must not be negative, and the design beckmann2023 has none.")
        expected = 8 * 2 ** (len(self.decoder_channels) + 1)
        if self.resolution != expected:
            raise UserError(
                f"{len(self.decoder_channels)} decoder stages make {expected} pixels, not {self.resolution}."
            )
        if len(self.residual) != len(self.decoder_channels):
            raise UserError("`residual` needs one number for each of `decoder_channels`.")
        if self.design == "compact" and self.resolution % 2 ** len(self.encoder_channels):
            raise UserError(f"{self.resolution} pixels cannot be halved {len(self.encoder_channels)} times.")


MEMORIES = 256
"""Faces of each person that the model remembers."""
UNKNOWN = 2.0
"""By how much a decoder is said to be off where that was not measured: more than colors can be."""


def _activation() -> nn.Module:
    return nn.LeakyReLU(0.1, inplace=True)


class Encoder(nn.Module):
    """(B, 3, S, S) in [0, 1] ► (B, bottleneck): strided convolutions and one dense layer."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        previous = 3
        for i, channels in enumerate(settings.encoder_channels):
            kernel = 5 if i == 0 else 3
            layers += [nn.Conv2d(previous, channels, kernel, stride=2, padding=kernel // 2), _activation()]
            previous = channels
        self.convolutions = nn.Sequential(*layers)
        side = settings.resolution // 2 ** len(settings.encoder_channels)
        self.dense = nn.Linear(previous * side * side, settings.bottleneck)

    def forward(self, image: Tensor) -> Tensor:
        """Encode a batch of faces."""
        return self.dense(self.convolutions(image * 2 - 1).flatten(1))


class Opening(nn.Module):
    """Code (B, bottleneck) and expression (B, F) ► (B, base_channels, 8, 8), shared by all people."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.channels = settings.base_channels
        self.expression = nn.Linear(expression.COUNT, settings.expression_width)
        self.dense = nn.Linear(settings.bottleneck + settings.expression_width, settings.base_channels * 64)

    def forward(self, code: Tensor, measures: Tensor) -> Tensor:
        """Open a batch of codes to 8 × 8 maps."""
        known = F.leaky_relu(self.expression(measures), 0.1)
        return F.leaky_relu(self.dense(torch.cat([code, known], 1)).view(-1, self.channels, 8, 8), 0.1)


class Decoder(nn.Module):
    """One person: (B, base_channels, 8, 8) ► (B, 4, S, S), face in RGB and mask, as logits."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.stages = stages(settings.base_channels, settings.decoder_channels, settings.residual, slope=0.1)
        self.head = nn.Conv2d(settings.decoder_channels[-1], 16, 3, padding=1)
        self.views = (
            Views(settings.decoder_channels[-1], settings.views, settings.resolution) if settings.views else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Draw a batch of faces."""
        x = self.stages(x)
        drawn = F.pixel_shuffle(self.head(x), 2)
        if self.views is None:
            return drawn
        return torch.cat([drawn[:, :3] + self.views(x), drawn[:, 3:]], 1)


def initialize(model: nn.Module) -> None:
    """Weights that keep the signal's size from layer to layer (He et al. 2015), residual blocks that begin as identity.

    PyTorch's default shrinks the signal at every layer of a net without normalisation; through a dozen of them hardly
    anything of the face reaches the decoder, and the first minutes of training go into undoing that.
    """
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, a=0.1, nonlinearity="leaky_relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, Residual):
            nn.init.zeros_(module.second.weight)
        elif isinstance(module, Decoder):
            nn.init.xavier_normal_(module.head.weight, gain=0.1)
            if module.views is not None:
                nn.init.xavier_normal_(module.views.use.weight, gain=0.1)


class SwapAutoencoder(nn.Module):
    """Shared encoder and opening, one decoder a person.

    Args:
        settings: The model's shape.
        people: Names, one decoder each, in the decoders' order.
    """

    def __init__(self, settings: ModelSettings, people: Sequence[str]) -> None:
        super().__init__()
        if len(set(people)) != len(people) or not people:
            raise UserError(f"People need distinct names, not {', '.join(people) or 'none'}.")
        self.settings = settings
        self.people = tuple(people)
        self.encoder: nn.Module
        self.opening: nn.Module
        if settings.design == "beckmann2023":
            self.encoder, self.opening, self.decoders = beckmann.parts(settings, people)
        else:
            self.encoder, self.opening = Encoder(settings), Opening(settings)
            self.decoders = nn.ModuleList(Decoder(settings) for _ in people)
        self.rest: Tensor
        self.spread: Tensor
        self.seen: Tensor
        self.codes: Tensor
        self.usual: Tensor
        self.register_buffer("rest", torch.zeros(len(people), expression.COUNT))
        self.register_buffer("spread", torch.ones(len(people), expression.COUNT))
        self.register_buffer("seen", torch.zeros(len(people), MEMORIES, expression.COUNT))
        self.register_buffer("codes", torch.zeros(len(people), MEMORIES, settings.bottleneck))
        # By how much each decoder's drawing of its person is off, place by place
        self.register_buffer(
            "usual", torch.full((len(people), settings.resolution, settings.resolution), UNKNOWN)
        )
        if settings.design == "compact":
            initialize(self)

    def grow_from(self, base: SwapAutoencoder) -> None:
        """Take over a trained model with fewer people, frozen; decoders beyond it begin as a copy of its first.

        Args:
            base: A model of the same settings, whose people are the first of this one's.

        Raises:
            ValueError: If it is another kind of model.
        """
        known = len(base.people)
        if base.settings != self.settings or base.people != self.people[:known]:
            raise ValueError("The model to grow from has other settings or people.")
        with torch.no_grad():
            own = self.state_dict()
            for key, value in base.state_dict().items():
                part = own[key] if own[key].shape == value.shape else own[key][:known]
                part.copy_(value)
        self.requires_grad_(False)
        for decoder in self.decoders[known:]:
            decoder.load_state_dict(base.decoders[0].state_dict())
            decoder.requires_grad_(True)

    def begin_from(self, trained: SwapAutoencoder) -> None:
        """Take over a trained model's weights, to be trained further.

        Args:
            trained: A model of the same settings. Decoders of people that both know are taken over, those of others
                begin as a copy of its first.

        Raises:
            ValueError: If it has other settings.
        """
        if trained.settings != self.settings:
            raise ValueError("The model to begin from has other settings.")
        self.encoder.load_state_dict(trained.encoder.state_dict())
        self.opening.load_state_dict(trained.opening.state_dict())
        for name, decoder in zip(self.people, self.decoders, strict=True):
            known = trained.people.index(name) if name in trained.people else 0
            decoder.load_state_dict(trained.decoders[known].state_dict())

    def share(self, count: int) -> None:
        """Make everybody's first ``count`` doublings, with their residual blocks, one and the same: the first person's.

        They then learn from everybody. In :meth:`state_dict` everybody still has them, so that whoever loads it finds
        decoders that are whole, each a person's own.
        """
        for decoder in self.decoders[1:]:
            for i, layer in enumerate(self._first_layers(count)[0]):
                cast(nn.Sequential, decoder.stages)[i] = layer

    def alike(self, count: int) -> bool:
        """Whether everybody's first ``count`` doublings hold the same weights, as after training them shared."""
        first, *others = (nn.Sequential(*layers).state_dict() for layers in self._first_layers(count))
        return all(torch.equal(value, other[key]) for other in others for key, value in first.items())

    def _first_layers(self, count: int) -> list[list[nn.Module]]:
        """Everybody's first ``count`` doublings, with their residual blocks."""
        layers = sum(1 + blocks for blocks in self.settings.residual[:count])
        return [list(cast(nn.Sequential, decoder.stages))[:layers] for decoder in self.decoders]

    @property
    def retargets(self) -> float:
        """Default of ``retarget`` in :meth:`swap`: the published scheme draws from the target's own code."""
        return 1.0 if self.settings.design == "compact" else 0.0

    def show(self, person: int, images: Tensor) -> None:
        """Let a person's learned pictures begin with real faces: (settings.views, 3, S, S) in [0, 1]."""
        views = cast(Decoder, self.decoders[person]).views
        if views is None:
            raise ValueError("This model has no views.")
        views.begin_with(images)

    def learn_habits(self, person: int, calibration: expression.Calibration, seen: Tensor) -> None:
        """Keep how a person's landmarks are to be read, and a sample of what the person was seen doing.

        Args:
            person: The person's number.
            calibration: From the person's faces.
            seen: (MEMORIES, F) calibrated measures of faces that the decoder learns from.
        """
        self.rest[person] = torch.from_numpy(calibration.rest)
        self.spread[person] = torch.from_numpy(calibration.spread)
        self.seen[person] = seen

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Every part in evaluation mode, and back in its own afterwards: a frozen encoder stays in evaluation."""
        modes = {module: module.training for module in self.modules()}
        self.eval()
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training

    @torch.no_grad()
    def learn_codes(self, person: int, pieces: Iterable[Tensor], places: Tensor | None = None) -> None:
        """Keep the codes of the faces of :meth:`learn_habits`.

        Args:
            person: The person's number.
            pieces: The faces, (B, 3, S, S) in [0, 1] each.
            places: int64 (MEMORIES,): which of them each memory is; None where they are MEMORIES in all, in order.
        """
        with self.evaluating():
            codes = torch.cat([self.encoder(piece).float() for piece in pieces])
        self.codes[person] = codes if places is None else codes[places]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.setdefault(prefix + "usual", self.usual)  # models of before there was such a thing
        super()._load_from_state_dict(state_dict, prefix, *args)

    def calibration(self, person: int) -> expression.Calibration:
        """How a person's landmarks are read."""
        return expression.Calibration(rest=self.rest[person].cpu().numpy(), spread=self.spread[person].cpu().numpy())

    def adapted(self, measures: np.ndarray, habit: np.ndarray, source: int) -> np.ndarray:
        """Calibrated measures of somebody else, brought to where ``source`` was seen.

        Args:
            measures: (N, F).
            habit: (M, F) measures of the same person, of as much as is known of them.
            source: Whose decoder will draw.

        Returns:
            float32 (N, F), see :func:`faceswap_hq.faces.expression.adapted`.
        """
        return expression.adapted(measures, habit, self.seen[source].cpu().numpy())

    def encode(self, image: Tensor, measures: Tensor) -> Tensor:
        """What the decoders draw from.

        Args:
            image: (B, 3, S, S) in [0, 1].
            measures: (B, F) calibrated measures of pose and expression.

        Returns:
            (B, base_channels, 8, 8).
        """
        return self.opening(self.encoder(image), measures)

    def retarget(self, measures: Tensor, source: int) -> tuple[Tensor, Tensor]:
        """The nearest to given measures that ``source`` was seen doing, as a mixture of the faces remembered.

        Codes and measures alike stay within what the decoder has learned to draw from, whatever the target does; see
        :func:`faceswap_hq.faces.expression.mixture`.

        Args:
            measures: (B, F) calibrated measures of the target.
            source: Whose decoder will draw.

        Returns:
            code (B, bottleneck) and measures (B, F).
        """
        shares = expression.mixture(measures.cpu().numpy(), self.seen[source].cpu().numpy())
        weights = torch.from_numpy(shares).to(self.seen.device)
        return weights @ self.codes[source], weights @ self.seen[source]

    def swap(
        self, image: Tensor | None, measures: Tensor, source: int, retarget: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw the target's faces as ``source``: face (B, 3, S, S) and mask (B, 1, S, S), both in [0, 1].

        Args:
            image: (B, 3, S, S) in [0, 1]; not looked at when ``retarget`` is 1, and may be None then.
            measures: (B, F) calibrated measures of the target, brought to where the source was seen (:meth:`adapted`).
            source: Whose decoder draws.
            retarget: 1 draws from what the source was seen doing (:meth:`retarget`), 0 from the target's own code, as
                the shared-encoder scheme has it; None is :attr:`retargets`.
        """
        retarget = self.retargets if retarget is None else retarget
        code, known = self.retarget(measures, source)
        if retarget < 1:
            if image is None:
                raise ValueError("Below retarget 1 the target's picture is needed.")
            code = torch.lerp(self.encoder(image), code, retarget)
            known = torch.lerp(measures, known, retarget)
        face, mask = self.decode(self.opening(code, known), source)
        return face, torch.sigmoid(mask)

    def decode(self, code: Tensor, person: int) -> tuple[Tensor, Tensor]:
        """(B, base_channels, 8, 8) ► face (B, 3, S, S) in [0, 1] and mask logits (B, 1, S, S), both float32."""
        drawn = self.decoders[person](code).float()
        return torch.sigmoid(drawn[:, :3]), drawn[:, 3:]

    def forward(self, image: Tensor, measures: Tensor, person: int) -> tuple[Tensor, Tensor]:
        """Draw ``person``'s own faces: face (B, 3, S, S) and mask (B, 1, S, S), both in [0, 1]; see :meth:`encode`."""
        face, mask = self.decode(self.encode(image, measures), person)
        return face, torch.sigmoid(mask)
