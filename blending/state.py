"""What blending remembers along one track."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blending.detail import Detail, Grain
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
        self._curves = ExponentialFilter(settings.contrast)
        self._mask, self._visible = (ExponentialFilter(settings.mask) for _ in range(2))
        self._detail_every = max(1, min(4, int(settings.detail / 3)))
        self._detail = ExponentialFilter(settings.detail / self._detail_every)
        self._details: tuple[Detail, Detail] | None = None
        self._frames = 0
        self.grain = Grain(np.random.default_rng(seed))

    def reset(self) -> None:
        """Forget the past, at a cut."""
        self.source_color.reset()
        self.target_color.reset()
        self._curves.reset()
        self._mask.reset()
        self._visible.reset()
        self._detail.reset()
        self._details = None

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

    def detail(self, measure: Callable[[], tuple[Detail, Detail]]) -> tuple[Detail, Detail]:
        """Filtered sharpness and noise of source and target.

        Args:
            measure: Called when a new measurement is due: at the start, and then a few times per time constant, since
                what is filtered this heavily need not be measured in each frame.
        """
        self._frames += 1
        if self._details is None or self._frames >= self._detail_every:
            self._frames = 0
            source, target = measure()
            values = self._detail(np.array([source.blur, source.noise, target.blur, target.noise]))
            self._details = (
                Detail(blur=float(values[0]), noise=float(values[1])),
                Detail(blur=float(values[2]), noise=float(values[3])),
            )
        return self._details
