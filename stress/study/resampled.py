"""Contributions of units under many weightings of the clips at once, for intervals over people.

A unit's range is part of its contribution, and behind a weighted sum nearly all that differs between samples. So it is
taken anew in every resample, from the clips that are in it. Mean outputs at the values of that range are read off
curves over the whole range, linearly between points.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from stress.evaluation.metrics import Array
from stress.study.contributions import Head, mean_outputs, settings_of, value_range

_STEPS = 6  # points of a curve between two of the values, which are themselves points of it


class Resampled:
    """One group of clips.

    Args:
        head: Behind the units.
        hidden: (n, units).
        clip: (n,) number of each sample's clip, counted from 0, none empty.
        values: That each unit is set to.
        mode: See :func:`stress.study.contributions.value_range`.
    """

    def __init__(
        self, head: Head, hidden: torch.Tensor, clip: NDArray[np.int64], *, values: int, mode: str
    ) -> None:
        grid = settings_of(hidden, _STEPS * (values - 1) + 1, mode)
        self._least, self._most = (grid[:, end].double().cpu().numpy() for end in (0, -1))
        self._curves = mean_outputs(head, hidden, grid, clip)
        self._frames = np.bincount(clip)
        ends = [value_range(hidden[clip == i], mode) for i in range(len(self._frames))]
        self._low, self._high = (torch.stack(side).double().cpu().numpy() for side in zip(*ends, strict=True))
        self._share = np.linspace(0, 1, values)

    def amounts(self, weights: Array) -> Array:
        """Contributions, (B, units), for weights of the clips, (B, clips), some of each above 0."""
        shares = weights * self._frames
        shares = shares / shares.sum(1, keepdims=True)
        clips, units, points = self._curves.shape
        curves = (shares @ self._curves.reshape(clips, -1)).reshape(-1, units, points)
        there = weights[:, :, None] > 0
        low = np.where(there, self._low, np.inf).min(1)
        high = np.where(there, self._high, -np.inf).max(1)
        width = np.maximum(self._most - self._least, 1e-30)
        values = low[:, :, None] + self._share * (high - low)[:, :, None]
        place = np.clip((values - self._least[:, None]) / width[:, None], 0, 1) * (points - 1)
        before = np.minimum(place.astype(np.int64), points - 2)
        left, right = (np.take_along_axis(curves, before + step, axis=2) for step in (0, 1))
        return np.ptp(left + (place - before) * (right - left), axis=2)
