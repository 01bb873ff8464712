"""Could the change between two scorings of the same clips be chance? An exchange test over people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

_EXACT = 12  # up to this many units all exchanges are tried
_CHUNK = 2_000_000


def exchange_test(
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike,
    units: Sequence[str],
    *,
    draws: int = 4000,
    seed: int = 0,
) -> float | None:
    """Two-sided p-value of the difference between the AUCs of two scorings of the same clips.

    Were both scorings as good, it would make no difference which is which. So scores are made comparable by ranking
    (E. S. Venkatraman and C. B. Begg, Biometrika 83, 1996), and for every unit - all clips that show one filmed
    person, or one group of people who share fakes, whose scores are not independent - the two are exchanged or not, by
    a coin. Up to 12 units all exchanges are tried, beyond that ``draws`` random ones; p is (1 + those at least as far
    apart) / (1 + draws) (B. Phipson and G. K. Smyth, 2010) or the exact share.

    A source person whose face lies on several people's clips links units, which the test cannot honour; the intervals
    can.

    Args:
        first: (n,) scores.
        second: (n,) scores, or (S, n) of S detectors, whose AUCs are averaged.
        labels: (n,) 1 = fake, 0 = real; both present.
        units: (n,) name of the unit of each clip.
        draws: Random exchanges where there are too many for all.
        seed: Of the draws.

    Returns:
        p in (0, 1], or None with fewer than 6 units, of which no outcome could reach 0.05.
    """
    y = np.asarray(labels).astype(bool)
    names, unit = np.unique(np.asarray(units), return_inverse=True)
    if len(names) < 6:
        return None
    a = rankdata(np.asarray(first, np.float64))
    b = rankdata(np.atleast_2d(np.asarray(second, np.float64)), axis=1)
    exact = len(names) <= _EXACT
    if exact:
        swaps = ((np.arange(2 ** len(names))[:, None] >> np.arange(len(names))) & 1).astype(bool)
    else:
        swaps = np.random.default_rng(seed).random((draws, len(names))) < 0.5
    found = abs(_difference(a, b, y, np.zeros((1, len(a)), bool))[0])
    step = max(1, _CHUNK // len(a))
    chance = np.concatenate([_difference(a, b, y, swaps[i : i + step][:, unit]) for i in range(0, len(swaps), step)])
    as_far = int((np.abs(chance) >= found - 1e-12).sum())
    return as_far / len(swaps) if exact else (1 + as_far) / (1 + len(swaps))


def _difference(
    a: NDArray[np.float64], b: NDArray[np.float64], fake: NDArray[np.bool_], swap: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(B,) mean over b's rows of AUC(second) - AUC(first), with some clips exchanged, (B, n)."""
    total = np.zeros(len(swap))
    for row in b:
        total += _auc(np.where(swap, a, row), fake) - _auc(np.where(swap, row, a), fake)
    return total / len(b)


def _auc(scores: NDArray[np.float64], fake: NDArray[np.bool_]) -> NDArray[np.float64]:
    """AUC of each row of scores (B, n), by the rank sum of the fakes (Mann and Whitney 1947)."""
    fakes, reals = int(fake.sum()), int((~fake).sum())
    ranks = rankdata(scores, axis=1)
    return (ranks[:, fake].sum(1) - fakes * (fakes + 1) / 2) / (fakes * reals)
