"""Contributions of units under many weightings of the clips at once, for intervals over people.

A unit's range is part of its contribution, and behind a weighted sum nearly all that differs between samples. So it is
taken anew in every resample, from the clips that are in it. Mean outputs at the values of that range are read off
curves over the whole range, linearly between points.

The curves are what takes memory: one for each clip and unit, of a float32 a point. Those of all groups that are held at
once are to be :data:`MOST` numbers at most (1 GiB); :func:`room` says how many clips that is, and
:func:`stress.study.neurons.sample` thins clips to it. Making one group's curves takes three times their own memory for
a while, since they are summed in float64. Only differences along a curve count, so each is stored from where it begins:
float32 then costs a share of about 1e-7 of a contribution, however small that is.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from stress.evaluation.metrics import Array
from stress.study.contributions import Head, mean_outputs, settings_of, value_range

#: Most numbers in the curves of all groups together.
MOST = 1 << 28
_STEPS = 6  # points of a curve between two of the values, which are themselves points of it


def room(units: int, values: int) -> int:
    """How many clips' curves are :data:`MOST` numbers, a clip counted once for each group it is in."""
    return MOST // (units * _points(values))


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
        grid = settings_of(hidden, _points(values), mode)
        self._least, self._most = (grid[:, end].double().cpu().numpy() for end in (0, -1))
        curves = mean_outputs(head, hidden, grid, clip)
        curves -= curves[:, :, :1].copy()
        self._curves = curves.astype(np.float32)
        self._frames = np.bincount(clip)
        ends = [value_range(hidden[clip == i], mode) for i in range(len(self._frames))]
        self._low, self._high = (torch.stack(side).cpu().numpy() for side in zip(*ends, strict=True))
        self._share = np.linspace(0, 1, values)

    def amounts(self, weights: Array) -> Array:
        """Contributions, (B, units), for weights of the clips, (B, clips), some of each above 0."""
        shares = weights * self._frames
        shares = shares / shares.sum(1, keepdims=True)
        clips, units, points = self._curves.shape
        curves = (shares.astype(np.float32) @ self._curves.reshape(clips, -1)).reshape(-1, units, points)
        low = np.stack([self._low[there].min(0) for there in weights > 0]).astype(np.float64)
        high = np.stack([self._high[there].max(0) for there in weights > 0]).astype(np.float64)
        width = np.maximum(self._most - self._least, 1e-30)
        values = low[:, :, None] + self._share * (high - low)[:, :, None]
        place = np.clip((values - self._least[:, None]) / width[:, None], 0, 1) * (points - 1)
        before = np.minimum(place.astype(np.int64), points - 2)
        left, right = (np.take_along_axis(curves, before + step, axis=2) for step in (0, 1))
        return np.ptp(left + (place - before) * (right - left), axis=2)


def _points(values: int) -> int:
    return _STEPS * (values - 1) + 1
