"""What blending remembers along one track."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from blending.detail import Detail
from blending.settings import TemporalSettings
from blending.temporal import ExponentialFilter, StatisticsFilter


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
        self._mask = ExponentialFilter(settings.mask)
        self._detail = ExponentialFilter(settings.detail)
        self.generator = np.random.default_rng(seed)

    def reset(self) -> None:
        """Forget the past, at a cut."""
        self.source_color.reset()
        self.target_color.reset()
        self._mask.reset()
        self._detail.reset()

    def mask(self, mask: NDArray[Any]) -> NDArray[Any]:
        """Filter the learned mask, in crop pixels."""
        return self._mask(mask)

    def detail(self, source: Detail, target: Detail) -> tuple[Detail, Detail]:
        """Filter the estimates of sharpness and noise."""
        values = self._detail(np.array([source.blur, source.noise, target.blur, target.noise]))
        return (
            Detail(blur=float(values[0]), noise=float(values[1])),
            Detail(blur=float(values[2]), noise=float(values[3])),
        )
