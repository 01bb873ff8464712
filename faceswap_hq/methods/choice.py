"""Which of the source's faces is shown when: near in what it does, and seldom changed, so that nothing flickers."""

from __future__ import annotations

import numpy as np

from faceswap_hq.faces import expression

_BEYOND_BENDING = {"yaw": 4.0, "pitch": 4.0, "lips apart": 6.0, "mouth height": 2.0, "gaze": 2.5, "eye": 4.0}
_WEIGHTS = np.array(
    [next((w for part, w in _BEYOND_BENDING.items() if part in name), 1.0) for name in expression.NAMES]
)
"""What cannot be bent counts most: what is seen of a turned head, inside the mouth, and of the eyes."""


def distances(wanted: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Squared distances between what faces do; what bending one onto the other cannot mend counts most.

    Args:
        wanted: (T, F) calibrated measures, see :mod:`faceswap_hq.faces.expression`.
        known: (M, F) calibrated measures.

    Returns:
        float64 (T, M).
    """
    a, b = (np.asarray(x, np.float64) * _WEIGHTS for x in (wanted, known))
    return np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0)


def cheapest_path(costs: np.ndarray, starts: np.ndarray, change: float) -> np.ndarray:
    """The choice for every moment whose costs and changes together are least (Viterbi 1967).

    Since each change costs the same, a moment takes O(M) steps, not O(M²).

    Args:
        costs: (T, M): of each choice at each moment.
        starts: bool (T,): where something new begins and a change is free.
        change: Cost of a change.

    Returns:
        int (T,).
    """
    count, choices = costs.shape
    came_from = np.empty((count, choices), np.int64)
    total = np.zeros(choices)
    every = np.arange(choices)
    for t in range(count):
        best = int(total.argmin())
        toll = 0.0 if starts[t] else change
        stays = total <= total[best] + toll
        came_from[t] = np.where(stays, every, best)
        total = np.where(stays, total, total[best] + toll) + costs[t]
    path = np.empty(count, np.int64)
    path[-1] = total.argmin()
    for t in range(count - 1, 0, -1):
        path[t - 1] = came_from[t, path[t]]
    return path


def faded(path: np.ndarray, starts: np.ndarray, reach: int) -> list[dict[int, float]]:
    """Shares of the choices at every moment: a change takes ``2 * reach`` moments, one choice fading into the other.

    Args:
        path: int (T,), from :func:`cheapest_path`.
        starts: bool (T,): what lies before is not faded into what begins here.
        reach: Half the width of the triangular window over which choices are averaged; 0 for hard changes.

    Returns:
        For every moment choice ► share; the shares sum to 1.
    """
    shot = np.cumsum(starts)
    out = []
    for t in range(len(path)):
        around = range(max(0, t - reach), min(len(path), t + reach + 1))
        weights = {k: reach + 1 - abs(k - t) for k in around if shot[k] == shot[t]}
        shares: dict[int, float] = {}
        for k, weight in weights.items():
            shares[int(path[k])] = shares.get(int(path[k]), 0.0) + weight / sum(weights.values())
        out.append(shares)
    return out
