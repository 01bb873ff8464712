"""What blending remembers along one track."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from blending.grain import Grain
from blending.settings import TemporalSettings
from blending.temporal import ExponentialFilter, StatisticsFilter

_SLOWER = 3  # glasses leave more slowly than hair


class BlendState:
    """The filters of one person's track; not to be shared between tracks.

    Args:
        settings: Time constants.
        seed: Of the noise generator, so that a render can be repeated to the bit.
    """

    def __init__(self, settings: TemporalSettings | None = None, *, seed: int = 0) -> None:
        settings = settings or TemporalSettings()
        self.source_color, self.target_color = (
            StatisticsFilter(settings.contrast, mean=settings.color, cut=settings.cut) for _ in range(2)
        )
        self._curves = ExponentialFilter(settings.contrast)
        self._mask, self._visible = (ExponentialFilter(settings.mask) for _ in range(2))
        self._glasses = ExponentialFilter(_SLOWER * settings.hair)
        self._sides = ExponentialFilter(settings.hair)
        self._remembers = settings.hair > 0
        self.last_glasses: NDArray[Any] | None = None
        """What :meth:`glasses` returned last; None where nothing is to be remembered."""
        self._hair_every = max(1, min(3, int(settings.hair)))
        self._hair_age = 0
        self._hairs = [ExponentialFilter(settings.hair / self._hair_every) for _ in range(2)]
        self._known_hairs: list[NDArray[Any]] | None = None
        self._detail_every = max(1, min(6, int(settings.detail / 2)))
        self._detail_share = 1.0
        if settings.detail > 0:
            self._detail_share = 1 - float(np.exp(-self._detail_every / settings.detail))
        self.known: NDArray[Any] | None = None
        """The last of what :meth:`watch` returned."""
        self._age = 0
        self.looks = 0
        """Measurements of the camera so far."""
        self._center: NDArray[Any] | None = None
        self._hold = ExponentialFilter(settings.detail / self._detail_every)
        self.hold = 0.0
        """Share of the target's noise that moves with the face."""
        self.noise_before: tuple[NDArray[Any], tuple[int, int]] | None = None
        """What the frame before showed of noise, (H, W) with its first pixel's x, y; where it is to be compared."""
        self.grain = Grain(np.random.default_rng(seed))

    def reset(self) -> None:
        """Forget the past, at a cut."""
        self.source_color.reset()
        self.target_color.reset()
        self._curves.reset()
        self._mask.reset()
        self._visible.reset()
        self._glasses.reset()
        self._sides.reset()
        self.last_glasses = None
        for hair in self._hairs:
            hair.reset()
        self._known_hairs = None
        self._hold.reset()
        self.hold = 0.0
        self.known = self._center = self.noise_before = None
        self.looks = 0

    def color_curves(self, values: NDArray[Any]) -> NDArray[Any]:
        """Filter the curves of a nonlinear colour transfer; anew where the statistics they were made of began anew."""
        if self.source_color.fresh or self.target_color.fresh:
            self._curves.reset()
        return self._curves(values)

    def mask(self, mask: NDArray[Any]) -> NDArray[Any]:
        """Filter the learned mask, in crop pixels."""
        return self._mask(mask)

    def visible(self, visible: NDArray[Any] | None) -> NDArray[Any] | None:
        """Filter what can be seen of the face, in crop pixels; None is all of it. What covers it does so at once."""
        if visible is None:
            self._visible.reset()
            return None
        return np.minimum(visible, self._visible(visible))

    def glasses(self, found: NDArray[Any]) -> NDArray[Any]:
        """Filter where glasses are painted over, in crop pixels. What is seen of them now is painted over at once."""
        kept = np.maximum(found, self._glasses(found))
        self.last_glasses = kept if self._remembers else None
        return kept

    def sides(self, shares: NDArray[Any]) -> NDArray[Any]:
        """Filter how far each side of the head is turned to the camera."""
        return self._sides(shares)

    @property
    def hairs(self) -> list[NDArray[Any]] | None:
        """What :meth:`hair` returned last; None where another look is due, which is not in every frame."""
        self._hair_age += 1
        return None if self._hair_age >= self._hair_every else self._known_hairs

    def hair(self, own: NDArray[Any], drawn: NDArray[Any]) -> list[NDArray[Any]]:
        """Filter where hair hangs into the face, the target's and the new face's, in crop pixels."""
        self._hair_age = 0
        self._known_hairs = [keep(found) for keep, found in zip(self._hairs, (own, drawn), strict=True)]
        return self._known_hairs

    def step(self, center: NDArray[Any]) -> NDArray[Any] | None:
        """The face's way since the frame before, (2,) in pixels; None for the first frame.

        Args:
            center: (2,) of the face, in frame pixels.
        """
        before, self._center = self._center, center
        self._age += 1
        return None if before is None else center - before

    @property
    def look(self) -> NDArray[Any] | None:
        """The filtered estimates of the camera; None where a new measurement is due.

        That is at the start, and then a few times per time constant, since what is filtered this heavily need not be
        measured in each frame.
        """
        return None if self._age >= self._detail_every else self.known

    def watch(self, measured: NDArray[Any]) -> NDArray[Any]:
        """Take a new measurement of the camera and return the filtered one; NaN: could not be seen (so far)."""
        self._age = 0
        self.looks += 1
        if self.known is None:
            self.known = measured
        else:
            start = np.where(np.isnan(self.known), measured, self.known)
            self.known = np.where(np.isnan(measured), self.known, start + self._detail_share * (measured - start))
        return self.known

    def watch_hold(self, share: float) -> None:
        """Take a new measurement of the share of the noise that moves with the face."""
        self.hold = float(self._hold(np.array(share)))
