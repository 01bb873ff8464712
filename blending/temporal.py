"""Filters along time: steady where the face is still, without lag where it moves, and new at every cut."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from blending.color import ColorStatistics

Array = NDArray[Any]


class OneEuroFilter:
    """The One-Euro filter for arrays (Casiez, Roussel and Vogel, 2012), each number on its own.

    A low-pass filter whose cut-off frequency rises with speed: heavy smoothing at rest, hardly any in fast motion.

    Args:
        min_cutoff: Cut-off at rest, in Hz; lower is steadier.
        beta: How much the cut-off rises with speed, in Hz per (unit / second).
        derivative_cutoff: Cut-off of the speed estimate, in Hz.
    """

    def __init__(self, *, min_cutoff: float = 1.0, beta: float = 0.0, derivative_cutoff: float = 1.0) -> None:
        if min_cutoff <= 0 or derivative_cutoff <= 0 or beta < 0:
            raise ValueError("cut-offs must be positive and beta not negative")
        self.min_cutoff = min_cutoff
        self.beta = beta
        self.derivative_cutoff = derivative_cutoff
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next value passes unchanged."""
        self._time: float | None = None
        self._value: Array | None = None
        self._speed: Array | None = None

    def __call__(self, value: Array, time: float) -> Array:
        """Filter one value.

        Args:
            value: Array of any shape, the same at every call (another shape starts anew).
            time: Seconds; must grow (a time that does not returns the last value).

        Returns:
            The filtered array, float64.
        """
        value = np.asarray(value, np.float64)
        if self._value is None or self._speed is None or self._time is None or value.shape != self._value.shape:
            self._time, self._value, self._speed = time, value.copy(), np.zeros_like(value)
            return value.copy()
        step = time - self._time
        if step <= 0:
            return self._value.copy()
        share = _share(self.derivative_cutoff, step)
        self._speed = self._speed + share * ((value - self._value) / step - self._speed)
        share = _share(self.min_cutoff + self.beta * np.abs(self._speed), step)
        self._value = self._value + share * (value - self._value)
        self._time = time
        return self._value.copy()


def _share(cutoff: Any, step: float) -> Any:
    """Weight of the new value in a first-order low-pass filter with this cut-off (Hz) and time step (s)."""
    ratio = 2 * np.pi * cutoff * step
    return ratio / (ratio + 1)


class ExponentialFilter:
    """Exponential moving average of arrays.

    Args:
        frames: Time constant in frames; 0 passes everything through.
    """

    def __init__(self, frames: float) -> None:
        if frames < 0:
            raise ValueError("a time constant cannot be negative")
        self.frames = frames
        self._value: Array | None = None

    def reset(self) -> None:
        """Forget the past: the next value passes unchanged."""
        self._value = None

    def __call__(self, value: Array) -> Array:
        """Filter one value; a value of another shape starts anew."""
        if self.frames == 0:
            return value
        if self._value is None or self._value.shape != np.shape(value):
            self._value = np.array(value, copy=True)
        else:
            share = 1 - np.exp(-1 / self.frames)
            self._value = self._value + np.asarray(share, self._value.dtype) * (value - self._value)
        return self._value.copy()


class StatisticsFilter:
    """Exponential filter of colour statistics that starts anew at cuts and sudden changes of light.

    Means and spreads have time constants of their own. A transfer that matches the means of each frame also takes out
    the generator's own flicker, so means are best hardly filtered; spreads change slowly and gain from it.

    Args:
        spread: Time constant of the covariance, in frames; 0 passes it through.
        mean: Time constant of the mean, in frames; 0 passes it through.
        cut: A mean that jumps by more than this between frames (Euclidean, as a share of the space's range) is a cut.

    Attributes:
        fresh: Whether the last measurement was the first after the start, a reset or a cut.
    """

    def __init__(self, spread: float, *, mean: float = 0.0, cut: float = 0.12) -> None:
        self._spread = ExponentialFilter(spread)
        self._mean = ExponentialFilter(mean)
        self._last: ColorStatistics | None = None
        self._result: ColorStatistics | None = None
        self.cut = cut
        self.fresh = True

    def reset(self) -> None:
        """Forget the past."""
        self._spread.reset()
        self._mean.reset()
        self._last = self._result = None

    def __call__(self, statistics: ColorStatistics) -> ColorStatistics:
        """Filter one measurement; an empty one (weight 0) is replaced by the past where there is one."""
        if statistics.weight <= 0:
            return statistics if self._result is None else self._result
        reach = self.cut * (100.0 if statistics.space == "lab" else 1.0)
        if self._last is not None and np.linalg.norm(statistics.mean - self._last.mean) > reach:
            self.reset()
        self.fresh = self._last is None
        self._last = statistics
        self._result = ColorStatistics(
            space=statistics.space,
            mean=self._mean(statistics.mean),
            covariance=self._spread(statistics.covariance),
            weight=statistics.weight,
            sample=statistics.sample,
        )
        return self._result
