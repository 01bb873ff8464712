"""What each hidden unit contributes to a network's answer, by intervention (Li et al., arXiv 2308.04177).

A unit is set to a few equally spaced values of its range, all others left as they are; its contribution is how far that
moves the mean fake probability:

    C_i = max over v of E[y | do(h_i = v)] - min over v of E[y | do(h_i = v)]

Labels play no part in it. Where the head is a weighted sum behind a sigmoid, C_i is about |w_i| x range_i x the mean
slope of the sigmoid, so that the order of the units is mostly a matter of weights and ranges, whatever the data:
:mod:`stress.study.overlap` has what follows from that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

_VALUES_AT_ONCE = 1 << 24


@dataclass(frozen=True, kw_only=True)
class Head:
    """The part of a network behind its units.

    Args:
        logit: From the units' values (n, units) to log odds of "fake" (n,).
        affine: Weights and offset, where that is a weighted sum; makes it cheap.
    """

    logit: Callable[[torch.Tensor], torch.Tensor]
    affine: tuple[torch.Tensor, torch.Tensor] | None = None


def value_range(hidden: torch.Tensor, mode: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Least and greatest value of every unit, each (units,).

    Args:
        hidden: (n, units), n >= 1.
        mode: ``"faithful"``: as published, the least value is 1 at most and the greatest 0 at least, whatever the unit
            does; ``"corrected"``: as they are.
    """
    low, high = hidden.amin(0), hidden.amax(0)
    return (low.clamp_max(1), high.clamp_min(0)) if mode == "faithful" else (low, high)


def settings_of(hidden: torch.Tensor, values: int, mode: str) -> torch.Tensor:
    """Equally spaced values over each unit's range, (units, values)."""
    low, high = value_range(hidden, mode)
    share = torch.linspace(0, 1, values, device=hidden.device)
    return low[:, None] + share * (high - low)[:, None]


@torch.inference_mode()
def mean_outputs(head: Head, hidden: torch.Tensor, settings: torch.Tensor, groups: np.ndarray) -> np.ndarray:
    """Mean fake probability of each group of samples, while one unit is set to one value.

    Args:
        head: Behind the units.
        hidden: (n, units).
        settings: (units, values).
        groups: (n,) group (a clip, say) of each sample, counted from 0, none empty.

    Returns:
        (groups, units, values) float64.
    """
    count = int(groups.max()) + 1
    member = torch.zeros(count, len(hidden), dtype=torch.float64, device=hidden.device)
    member[torch.from_numpy(groups), torch.arange(len(hidden))] = 1
    member /= member.sum(1, keepdim=True)
    outputs = _affine_outputs if head.affine is not None else _any_outputs
    units, values = settings.shape
    found = torch.empty(count, units, values, dtype=torch.float64, device=hidden.device)
    step = max(1, _VALUES_AT_ONCE // (len(hidden) * values * (1 if head.affine is not None else units)))
    for i in range(0, units, step):
        chosen = torch.arange(i, min(i + step, units), device=hidden.device)
        y = outputs(head, hidden, chosen, settings[chosen])
        found[:, chosen] = (member @ y.flatten(1)).view(count, len(chosen), values)
    return found.cpu().numpy()


def contributions(
    head: Head, hidden: torch.Tensor, *, values: int = 4, mode: str = "corrected"
) -> np.ndarray:
    """C_i of every unit over samples of equal weight, (units,), each over its range on these samples.

    Args:
        head: Behind the units.
        hidden: (n, units).
        values: That each unit is set to.
        mode: See :func:`value_range`.
    """
    means = mean_outputs(head, hidden, settings_of(hidden, values, mode), np.zeros(len(hidden), np.int64))
    return np.ptp(means[0], axis=1)


def _affine_outputs(head: Head, hidden: torch.Tensor, chosen: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """(n, chosen, values) float64: setting a unit moves the log odds by its weight times how far it is moved."""
    assert head.affine is not None
    weights, offset = head.affine
    logit = hidden.double() @ weights + offset
    without = logit[:, None] - hidden[:, chosen] * weights[chosen]
    return torch.sigmoid(without[:, :, None] + weights[chosen][:, None] * values)


def _any_outputs(head: Head, hidden: torch.Tensor, chosen: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """(n, chosen, values) float64: the head is asked about every sample with every value of every unit chosen."""
    n, units = hidden.shape
    changed = hidden[:, None, None].repeat(1, len(chosen), values.shape[1], 1)
    index = chosen[None, :, None, None].expand(n, len(chosen), values.shape[1], 1)
    changed.scatter_(3, index, values[None, :, :, None].expand(n, -1, -1, 1))
    logit = head.logit(changed.view(-1, units))
    return torch.sigmoid(logit.double()).view(n, len(chosen), values.shape[1])
