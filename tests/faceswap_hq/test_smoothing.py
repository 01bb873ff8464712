"""Steadied crop matrices: no lag, less trembling, nothing across breaks."""

from __future__ import annotations

import numpy as np
import pytest

from faceswap_hq.faces import alignment
from faceswap_hq.faces.smoothing import smooth_matrices, steadied
from faceswap_hq.faces.tracking import MAX_GAP
from tests.faceswap_hq.helpers import face_at

SIZE = 256


def smooth(faces: list[np.ndarray], frames: list[int] | None = None, breaks: frozenset[int] = frozenset()):
    index = np.array(range(len(faces)) if frames is None else frames)
    return smooth_matrices(np.stack(faces), index, index / 25, set(breaks), SIZE)


def raw(faces: list[np.ndarray]) -> np.ndarray:
    return np.stack([alignment.crop_matrix(face, SIZE) for face in faces])


def centers(matrices: np.ndarray) -> np.ndarray:
    """Where the middle of the crop lies in the frame."""
    return np.stack([np.linalg.solve(m[:, :2].astype(float), SIZE / 2 - m[:, 2]) for m in matrices])


def angles(matrices: np.ndarray) -> np.ndarray:
    return np.degrees(np.arctan2(-matrices[:, 1, 0], matrices[:, 0, 0]))


def test_a_still_face_stays_where_it_is():
    faces = [face_at(120, 90, 100, 12)] * 10
    found = smooth(faces)
    assert found.shape == (10, 2, 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, raw(faces), rtol=1e-4, atol=1e-3)


def test_one_face():
    np.testing.assert_allclose(smooth([face_at()]), raw([face_at()]), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("speed", [0.5, 3.0, 12.0])
def test_linear_motion_passes_without_lag(speed):
    """Away from the ends a face in steady motion is where it was seen; a causal filter would trail behind."""
    faces = [face_at(50 + speed * i, 100 - 0.5 * speed * i, 100) for i in range(50)]
    error = (centers(smooth(faces)) - centers(raw(faces)))[8:-8]
    assert np.abs(error).max() < 0.15
    ends = centers(smooth(faces)) - centers(raw(faces))
    side = SIZE / raw(faces)[0, 0, 0]
    assert np.abs(ends).max() < 0.01 * side  # of the crop's side


def test_size_and_angle_pass_without_lag():
    faces = [face_at(150, 150, 80 * 1.01**i, angle=0.8 * i - 20) for i in range(50)]
    found, seen = smooth(faces), raw(faces)
    assert np.abs(angles(found) - angles(seen))[8:-8].max() < 0.3
    ratio = np.hypot(found[:, 0, 0], found[:, 1, 0]) / np.hypot(seen[:, 0, 0], seen[:, 1, 0])
    assert np.abs(ratio - 1)[8:-8].max() < 0.01


def test_trembling_is_reduced():
    rng = np.random.default_rng(0)
    faces = [face_at(120, 90, 100) + rng.normal(0, 0.6, (478, 3)).astype(np.float32) for _ in range(80)]
    before, after = centers(raw(faces)), centers(smooth(faces))
    trembling = [np.diff(c, axis=0).std() for c in (before, after)]
    assert trembling[1] < 0.5 * trembling[0]
    np.testing.assert_allclose(after.mean(0), before.mean(0), atol=0.1)


@pytest.mark.parametrize("kind", ["break", "gap", "jump"])
def test_nothing_is_smoothed_across(kind):
    """Both sides come out as if the other were not there."""
    rng = np.random.default_rng(1)

    def trembling(x: float) -> list[np.ndarray]:
        return [face_at(x, 100, 100) + rng.normal(0, 0.6, (478, 3)).astype(np.float32) for _ in range(12)]

    left, right = trembling(100), trembling(300 if kind == "jump" else 110)
    gap = MAX_GAP + 1 if kind == "gap" else 1
    frames = [*range(12), *range(11 + gap, 23 + gap)]
    together = smooth(left + right, frames, frozenset({12} if kind == "break" else ()))
    apart = np.concatenate([smooth(left), smooth(right)])
    np.testing.assert_allclose(together, apart, rtol=1e-5, atol=1e-4)


def test_a_short_gap_is_smoothed_across():
    rng = np.random.default_rng(1)
    faces = [face_at(100, 100, 100) + rng.normal(0, 0.6, (478, 3)).astype(np.float32) for _ in range(24)]
    frames = [*range(12), *range(12 + MAX_GAP - 1, 24 + MAX_GAP - 1)]
    apart = np.concatenate([smooth(faces[:12]), smooth(faces[12:])])
    assert np.abs(smooth(faces, frames) - apart).max() > 1e-3


def test_a_head_over_heels_turns_smoothly():
    """Where the angle jumps from 180° to -180° nothing happens to the face."""
    faces = [face_at(150, 150, 90, angle=170 + 1.0 * i) for i in range(20)]
    difference = np.abs(angles(smooth(faces)) - angles(raw(faces))) % 360
    assert np.minimum(difference, 360 - difference).max() < 2.0


def test_neighbours_are_averaged_but_not_across_starts():
    values = np.array([[0.0], [4.0], [0.0], [8.0], [8.0]])
    starts = np.array([False, False, False, True, False])
    np.testing.assert_allclose(steadied(values, starts)[:, 0], [1, 2, 1, 8, 8])
    np.testing.assert_array_equal(steadied(values[:1], starts[:1]), values[:1])
    assert values[1, 0] == 4
