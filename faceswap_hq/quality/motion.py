"""Does the swapped face move as the target does: correlations over time, head pose, jitter, flicker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A quantity over frames: mean, standard deviation (n - 1), median, and the number of frames."""

    mean: float
    std: float
    median: float
    n: int


def spread(values: Sequence[float] | np.ndarray) -> Spread | None:
    """Summarize values; None where there are none."""
    array = np.asarray(values, np.float64)
    if not array.size:
        return None
    std = float(array.std(ddof=1)) if array.size > 1 else 0.0
    return Spread(mean=float(array.mean()), std=std, median=float(np.median(array)), n=int(array.size))


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Pearson's r with a 95 % interval that knows that neighboring frames are alike."""

    r: float
    low: float
    high: float
    n: int
    """Pairs of frames."""
    effective: float
    """Independent pairs that these are worth."""


def correlation(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> Correlation | None:
    """Pearson correlation of two series over the same frames.

    The interval is Fisher's z with the effective number of samples of two autocorrelated series,
    n / (1 + 2 sum of r_x(k) r_y(k)) (Bartlett 1946), the sum ending where either autocorrelation first falls below 0.

    Args:
        x: (N,) values.
        y: (N,) values of the same frames.

    Returns:
        None for fewer than 3 frames or where a series does not change.

    Raises:
        ValueError: The series are not of one length.
    """
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    n = len(a)
    if n != len(b):
        raise ValueError(f"Series of {n} and {len(b)} frames cannot be correlated.")
    if n < 3:
        return None
    a, b = a - a.mean(), b - b.mean()
    power = float(np.sqrt((a @ a) * (b @ b)))
    if power <= 1e-12 * n:
        return None
    r = float(np.clip(a @ b / power, -1, 1))
    total = 0.0
    for lag in range(1, n // 2):
        own_a, own_b = float(a[lag:] @ a[:-lag] / (a @ a)), float(b[lag:] @ b[:-lag] / (b @ b))
        if own_a <= 0 or own_b <= 0:
            break
        total += own_a * own_b
    effective = min(n / (1 + 2 * total), float(n))
    z = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12))
    half = 1.96 / np.sqrt(max(effective - 3, 1e-6))
    return Correlation(
        r=r, low=float(np.tanh(z - half)), high=float(np.tanh(z + half)), n=n, effective=round(effective, 1)
    )


def rotation_matrix(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The (3, 3) rotation behind :func:`faceswap_hq.faces.alignment.pose`'s angles (degrees), in image axes."""
    sy, sp, sr = np.sin(np.radians([yaw, pitch, roll]))
    cy, cp, cr = np.cos(np.radians([yaw, pitch, roll]))
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def pose_difference(first: Sequence[float], second: Sequence[float]) -> float:
    """Angle in degrees, 0 to 180, of the rotation between two head poses (yaw, pitch, roll in degrees)."""
    between = rotation_matrix(*first).T @ rotation_matrix(*second)
    axis = np.array([between[2, 1] - between[1, 2], between[0, 2] - between[2, 0], between[1, 0] - between[0, 1]])
    return float(np.degrees(np.arctan2(np.linalg.norm(axis), np.trace(between) - 1)))


def jitter(before: np.ndarray, now: np.ndarray, after: np.ndarray) -> float:
    """How far landmarks are from moving evenly over three frames.

    Args:
        before: (points, 2 or 3) landmarks, pixels; ``now`` and ``after`` are those of the next two frames.
        now: See ``before``.
        after: See ``before``.

    Returns:
        Root mean square of the second difference in x and y, as a share of the face's height in ``now``.
    """
    second = before[:, :2].astype(np.float64) - 2 * now[:, :2] + after[:, :2]
    height = max(float(np.ptp(now[:, 1])), 1e-6)
    return float(np.sqrt((second**2).sum(axis=1).mean()) / height)


def flicker(before: np.ndarray, now: np.ndarray, mask: np.ndarray) -> float:
    """Change between two aligned pictures of a face.

    Args:
        before: (H, W) or (H, W, 3) picture in any range.
        now: The next one, same shape and range.
        mask: float (H, W) in [0, 1], what counts.

    Returns:
        Root mean square difference inside the mask, in units of the pictures; 0 for an empty mask.
    """
    difference = (now.astype(np.float64) - before.astype(np.float64)) ** 2
    if difference.ndim == 3:
        difference = difference.mean(axis=2)
    weight = float(mask.sum())
    return float(np.sqrt((difference * mask).sum() / weight)) if weight > 0 else 0.0
