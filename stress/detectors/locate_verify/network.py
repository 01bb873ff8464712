"""The network of Locate and Verify: streams, map, verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from stress.detectors.locate_verify.blocks import (
    SRM,
    BilinearFusion,
    ForgeryAttention,
    cross_modality,
    patch_agreement,
    pooled,
)
from stress.detectors.locate_verify.streams import SMALL, XCEPTION, small_stages, xception_stages

MODES = ("faithful", "corrected")
_WINDOWS = (8, 4, 2, 1, 1)
_VERIFIED = (0, 1, 2, 3, 5)  # stages of the classification stream that are fused with its last


@dataclass(frozen=True, kw_only=True)
class Widths:
    """Channels inside the heads.

    Args:
        agreed: In which the scales of the map are compared.
        hidden: Of the bilinear fusion.
        fused: After it.
        embedded: In which patches are compared without masks.
    """

    agreed: int = 512
    hidden: int = 2048
    fused: int = 4096
    embedded: int = 256


@dataclass(frozen=True, kw_only=True)
class Found:
    """All that the network says of a batch.

    Args:
        verdict: (B, outputs) logits.
        cells: (B, 2, g, g) logits of every cell: untouched, forged.
        patches: (B, embedded, g, g), of length 1 at every place.
    """

    verdict: torch.Tensor
    cells: torch.Tensor
    patches: torch.Tensor


class LocateVerify(nn.Module):
    """Two streams: the picture says where, its noise residuals say whether.

    The first three stages of both are exchanged where they agree, the next three of the residuals' stream look where
    the picture's stream does. The map is made of the picture's stream, the verdict of the residuals'. The last stage
    of the picture's stream, which the authors' code computes and does not use, is left out.

    Args:
        picture: Seven stages (the last is not used) from (B, 3, S, S), see
            :mod:`stress.detectors.locate_verify.streams`.
        residual: Seven stages of the same shapes, with parameters of their own.
        channels: Of the seven stages.
        widths: Inside the heads.
        outputs: Values per image.
        mode: Of :func:`stress.detectors.locate_verify.blocks.cross_modality`. It is not in the weights: the
            architectures of the zoo are faithful.
    """

    def __init__(
        self,
        picture: Sequence[nn.Module],
        residual: Sequence[nn.Module],
        channels: Sequence[int],
        *,
        widths: Widths | None = None,
        outputs: int = 1,
        mode: str = "faithful",
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"mode is one of {', '.join(MODES)}, not {mode!r}")
        widths = widths or Widths()
        self.mode = mode
        self.srm = SRM()
        self.picture = nn.ModuleList(picture[:6])
        self.residual = nn.ModuleList(residual)
        self.attention = nn.ModuleList(ForgeryAttention(width) for width in channels[3:6])
        self.agree = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, widths.agreed, 1, bias=False), nn.BatchNorm2d(widths.agreed), nn.ReLU(inplace=True)
            )
            for width in channels[:6]
        )
        seen = channels[5] + sum(window**2 for window in _WINDOWS)
        self.embed = _normed(channels[5], nn.Conv2d(channels[5], widths.embedded, 1, bias=False))
        self.cells = _normed(seen, nn.Conv2d(seen, 2, 1, bias=False))
        gathered = sum(channels[stage] for stage in _VERIFIED)
        self.fusion = BilinearFusion(gathered, channels[6], widths.hidden, widths.fused)
        self.verdict = _normed(
            widths.fused,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(widths.fused, outputs),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised (B, 3, S, S) to (B, outputs) logits.

        While training, the map is computed too: whoever measures batch-norm statistics by calling the network measures
        those of all of it.
        """
        if self.training:
            return self.both(x).verdict
        return self._verify(self._streams(x)[1])

    def both(self, x: torch.Tensor) -> Found:
        """Verdict, map and patches of normalised (B, 3, S, S)."""
        xs, ys = self._streams(x)
        return Found(verdict=self._verify(ys), cells=self._map(xs), patches=F.normalize(self.embed(xs[5]), dim=1))

    def locate(self, x: torch.Tensor) -> torch.Tensor:
        """Probability that each cell of normalised (B, 3, S, S) is forged: (B, g, g), g = ceil(S / 16)."""
        return torch.softmax(self._map(self._streams(x)[0]).float(), dim=1)[:, 1]

    def _streams(self, x: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Features of the picture's stream after 6 stages, and of the residual's after 7."""
        y, xs, ys = self.srm(x), [], []
        for stage in range(3):
            x, y = self.picture[stage](x), self.residual[stage](y)
            x, y = cross_modality(x, y, self.mode)
            xs.append(x)
            ys.append(y)
        x = y = x + y
        for stage in range(3, 6):
            x = self.picture[stage](x)
            y = self.attention[stage - 3](self.residual[stage](y), x)
            xs.append(x)
            ys.append(y)
        return xs, [*ys, self.residual[6](y)]

    def _map(self, xs: Sequence[torch.Tensor]) -> torch.Tensor:
        agreed = [part(x) for part, x in zip(self.agree, xs, strict=True)]
        scales = [patch_agreement(scale, agreed[5]) for scale in agreed[:5]]
        return self.cells(torch.cat([*scales, xs[5]], dim=1))

    def _verify(self, ys: Sequence[torch.Tensor]) -> torch.Tensor:
        last = ys[6]
        gathered = torch.cat([pooled(ys[stage], last.shape[-1]) for stage in _VERIFIED], dim=1)
        return self.verdict(self.fusion(gathered, last))


def _normed(channels: int, *parts: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True), *parts)


def locate_verify(outputs: int = 1, *, pretrained: bool = False, mode: str = "faithful") -> LocateVerify:
    """The published network: two Xceptions, faces of 299 px, a map of 19 x 19 cells.

    Args:
        outputs: Values per image; the published one has 2.
        pretrained: Start both streams from timm's ImageNet weights, which are downloaded.
        mode: See :class:`LocateVerify`.
    """
    picture, residual = (xception_stages(pretrained=pretrained) for _ in range(2))
    return LocateVerify(picture, residual, XCEPTION, outputs=outputs, mode=mode)


def locate_verify_small(outputs: int = 1, *, mode: str = "faithful") -> LocateVerify:
    """The same with small streams and heads, faces of 128 px and a map of 8 x 8 cells: for two cores.

    Args:
        outputs: Values per image.
        mode: See :class:`LocateVerify`.
    """
    widths = Widths(agreed=48, hidden=96, fused=128, embedded=32)
    return LocateVerify(small_stages(), small_stages(), SMALL, widths=widths, outputs=outputs, mode=mode)
