"""Steady alignment: landmarks tremble by a fraction of a pixel, and a face drawn in a trembling crop flickers."""

from __future__ import annotations

import cv2
import numpy as np

from blending.temporal import OneEuroFilter
from faceswap_hq.faces import alignment
from faceswap_hq.faces.tracking import MAX_GAP

# In face units (the crop's side = 1): at rest 2 Hz, and fully open from about half a crop a second.
_MIN_CUTOFF = 2.0
_BETA = 40.0


def smooth_matrices(
    landmarks: np.ndarray, frames: np.ndarray, times: np.ndarray, breaks: set[int], size: int
) -> np.ndarray:
    """Crop matrices of one person through a clip, steadied without lag.

    The similarity's four numbers (center, size, angle) are One-Euro filtered (Casiez et al. 2012) forwards and
    backwards and averaged, so that the lag of one direction cancels that of the other. Nothing is smoothed across cuts,
    lost faces longer than the tracker's gap, or jumps.

    Args:
        landmarks: (N, points, 3) in frame pixels.
        frames: (N,) frame indices, ascending.
        times: (N,) seconds.
        breaks: Frame indices at which something new begins (cuts, new tracks).
        size: Side of the crop, pixels.

    Returns:
        float32 (N, 2, 3), frame pixels to crop pixels.
    """
    raw = np.stack([_parameters(alignment.crop_matrix(face, size), size) for face in landmarks])
    smooth = raw.copy()
    starts = [0]
    for i in range(1, len(frames)):
        jump = np.linalg.norm(raw[i, :2] - raw[i - 1, :2]) / np.exp(raw[i - 1, 2])
        if frames[i] in breaks or frames[i] - frames[i - 1] > MAX_GAP or jump > 0.5:
            starts.append(i)
    for start, stop in zip(starts, [*starts[1:], len(frames)], strict=True):
        smooth[start:stop] = _smooth(raw[start:stop], times[start:stop])
    return np.stack([_matrix(parameters, size) for parameters in smooth])


def steadied(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Average each row with its neighbours in time (1, 2, 1), not across starts.

    Args:
        values: (N, F).
        starts: bool (N,), true where something new begins.

    Returns:
        Same shape and type.
    """
    linked = ~starts[1:, None]
    step = np.where(linked, np.diff(values, axis=0), 0) / 4  # a quarter of the way to either neighbour
    out = values.copy()
    out[:-1] += step
    out[1:] -= step
    return out


def _smooth(parameters: np.ndarray, times: np.ndarray) -> np.ndarray:
    unit = np.array([np.exp(-parameters[0, 2])] * 2 + [1.0, 1.0])  # center in face units
    angle = np.unwrap(parameters[:, 3])
    values = np.concatenate([parameters[:, :3], angle[:, None]], 1) * unit
    forward = _filtered(values, times)
    backward = _filtered(values[::-1], times[-1] - times[::-1])[::-1]
    return (forward + backward) / 2 / unit


def _filtered(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    one_euro = OneEuroFilter(min_cutoff=_MIN_CUTOFF, beta=_BETA, derivative_cutoff=2.0)
    return np.stack([one_euro(value, float(time)) for value, time in zip(values, times, strict=True)])


def _parameters(matrix: np.ndarray, size: int) -> np.ndarray:
    """Center of the crop in the frame (x, y), log of its side in frame pixels, angle in radians."""
    inverse = cv2.invertAffineTransform(matrix.astype(np.float64))
    center = inverse[:, :2] @ np.full(2, size / 2) + inverse[:, 2]
    return np.array([*center, np.log(size * np.hypot(*inverse[:, 0])), np.arctan2(inverse[1, 0], inverse[0, 0])])


def _matrix(parameters: np.ndarray, size: int) -> np.ndarray:
    x, y, log_side, angle = parameters
    scale = np.exp(log_side) / size
    inverse = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = inverse.T / scale**2
    return np.concatenate([linear, (np.full(2, size / 2) - linear @ [x, y])[:, None]], 1).astype(np.float32)
