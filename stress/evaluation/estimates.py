"""A figure with its interval, and the rules that make an interval out of resamples.

:mod:`stress.evaluation.statistics` has the reasons and the sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri, stdtrit

from stress.evaluation.metrics import Array

AT_LIMIT = "at its limit: exact binomial end"
UNCHANGED = "nothing changed: exact binomial ends"
UNVARIED = "the same in every resample: exact binomial ends"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its interval.

    Attributes:
        value: The figure on all data, or None where it is undefined.
        low: Lower end, or None without an interval.
        high: Upper end, or None without an interval.
        note: Why there is no interval, or that an end is an exact limit; empty for the usual case.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON: value, low, high, and the note where there is one."""
        figures = {"value": self.value, "low": self.low, "high": self.high}
        plain = {name: None if figure is None else round(figure, 9) for name, figure in figures.items()}
        return plain | ({"note": self.note} if self.note else {})


def small_sample(people: int, confidence: float) -> float:
    """sqrt(P / (P - 1)) x t / z at P - 1 degrees of freedom."""
    upper = (1 + confidence) / 2
    return float(np.sqrt(people / (people - 1)) * stdtrit(people - 1, upper) / ndtri(upper))


def as_wide_as(whole: Estimate, parts: Sequence[tuple[Estimate, float]]) -> Estimate:
    """An average of figures, one of which is at its limit, is at least as wide as the parts (with factors) make it."""
    if not any(part.note for part, _ in parts):
        return whole
    down = up = 0.0
    for part, factor in parts:
        value, low, high = _numbers(part)
        ends = sorted((factor * (low - value), factor * (high - value)))
        down, up = float(np.hypot(down, ends[0])), float(np.hypot(up, ends[1]))
    value, low, high = _numbers(whole)
    note = whole.note or next(part.note for part, _ in parts if part.note)
    return Estimate(value=value, low=min(low, value - down), high=max(high, value + up), note=note)


def _numbers(estimate: Estimate) -> tuple[float, float, float]:
    assert estimate.value is not None
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.value, estimate.low, estimate.high


@dataclass(frozen=True, kw_only=True)
class Rule:
    """From a figure, its resamples (B,) and its clips' influences (C,) to an estimate.

    Attributes:
        shares: (C, C) 1 where two clips share a person.
        floor: Least factor by which the resamples' spread may be reduced.
        units: People (or clips, where fewer) the figure rests on.
        confidence: Nominal coverage.
    """

    shares: Array
    floor: float
    units: int
    confidence: float

    @property
    def tail(self) -> float:
        """Chance left out at each end."""
        return (1 - self.confidence) / 2

    @property
    def limit(self) -> float:
        """Highest chance of a failure that still shows none in all units with probability 1 - confidence."""
        return float(1 - (1 - self.confidence) ** (1 / self.units))

    def _ends(self, value: float, drawn: Array, influence: Array) -> tuple[float, float]:
        spread = float(drawn.var())
        scale = 1.0
        if spread > 0 and np.isfinite(influence).all():
            wanted = max(0.0, float(influence @ self.shares @ influence))
            scale = float(np.clip(np.sqrt(wanted / spread), self.floor, 1))
        low, high = np.quantile(drawn, [self.tail, 1 - self.tail])
        # An estimate outside its own percentiles (a biased figure such as a maximum) still belongs to its interval.
        low, high = min(low, value), max(high, value)
        scale *= small_sample(self.units, self.confidence)
        return value + (low - value) * scale, value + (high - value) * scale

    def share(self, value: float, drawn: Array, influence: Array, limit_share: float) -> Estimate:
        """A figure in [0, 1]; at 0 or 1 its far end is ``limit_share`` of the exact limit away."""
        low, high = self._ends(value, drawn, influence)
        note, limit = "", self.limit * limit_share
        if value >= 1 - 1e-12 and low > 1 - limit:
            low, note = 1 - limit, AT_LIMIT
        elif value <= 1e-12 and high < limit:
            high, note = limit, AT_LIMIT
        elif drawn.std() < 1e-12:  # e.g. half right because both clips of everybody are called alike
            return Estimate(value=value, low=max(0.0, value - limit), high=min(1.0, value + limit), note=UNVARIED)
        # Resamples that reach 0 or 1 are not pulled back from it.
        low = 0.0 if np.quantile(drawn, self.tail) <= 0 else max(0.0, low)
        high = 1.0 if np.quantile(drawn, 1 - self.tail) >= 1 else min(1.0, high)
        return Estimate(value=value, low=low, high=high, note=note)

    def difference(self, a: Estimate, b: Estimate, drawn: Array, influence: Array) -> Estimate:
        """``a`` minus ``b``, from resampled and influence differences."""
        (a_value, a_low, a_high), (b_value, b_low, b_high) = _numbers(a), _numbers(b)
        value = a_value - b_value
        low, high = self._ends(value, drawn, influence)
        note = a.note or b.note
        if note:
            low = min(low, value - float(np.hypot(a_value - a_low, b_high - b_value)))
            high = max(high, value + float(np.hypot(a_high - a_value, b_value - b_low)))
        elif drawn.std() < 1e-12:
            low, high, note = value - self.limit, value + self.limit, UNCHANGED
        return Estimate(value=value, low=max(-1.0, low), high=min(1.0, high), note=note)

    def ratio(
        self, a: Estimate, b: Estimate, drawn: tuple[Array, Array], influence: tuple[Array, Array]
    ) -> Estimate:
        """``a`` over ``b``, where ``b`` is surely above 0."""
        a_value, _, _ = _numbers(a)
        b_value, b_low, _ = _numbers(b)
        if b_low <= 0:
            return Estimate(value=None, note="not given: what it is a share of may be nothing")
        value = a_value / b_value
        if a.note or b.note:
            return Estimate(value=value, note="no interval: a figure it rests on is at its limit")
        shares = drawn[0] / np.where(np.abs(drawn[1]) < 1e-12, 1e-12, drawn[1])
        low, high = self._ends(value, shares, (influence[0] - value * influence[1]) / b_value)
        return Estimate(value=value, low=low, high=high)
