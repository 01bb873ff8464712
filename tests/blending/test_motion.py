from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy import ndimage

from blending import motion
from tests.blending.scenes import disc, portrait

SHAPE = (260, 260)
FACE = portrait(SHAPE, (130, 130), 200)
GREY = cv2.cvtColor(FACE, cv2.COLOR_RGB2GRAY)
INSIDE = disc(SHAPE, (130, 130), 105)


def moved(image: np.ndarray, length: float, angle: float) -> np.ndarray:
    """The mean of many shifted copies: what an open shutter sees, without any kernel of ours."""
    steps = (np.arange(33) - 16) / 33 * length
    shifts = [(s * np.sin(angle), s * np.cos(angle)) for s in steps]
    return np.mean([ndimage.shift(image, s, order=1, mode="nearest") for s in shifts], axis=0).astype(np.float32)


def difference(a: float, b: float) -> float:
    """Between two directions without a sense, degrees."""
    return abs(np.rad2deg((a - b + np.pi / 2) % np.pi - np.pi / 2))


@pytest.mark.parametrize(("length", "angle"), [(6.0, 0.0), (8.0, 0.6), (6.0, 1.5), (8.0, 2.5)])
def test_length_and_direction_are_recovered(length: float, angle: float) -> None:
    sharp, blurred = motion.widths(GREY, INSIDE), motion.widths(moved(GREY, length, angle), INSIDE)
    alone = motion.path(sharp, blurred)
    assert alone[0] == pytest.approx(length, rel=0.3)
    assert difference(alone[1], angle) < 15
    assert motion.path(sharp, blurred, angle)[0] == pytest.approx(length, rel=0.3)


@pytest.mark.parametrize("sigma", [0.0, 0.8, 1.5])
def test_no_motion_is_seen_where_there_is_none(sigma: float) -> None:
    """Defocus blurs all directions alike, and another face's brows are no motion."""
    defocused = cv2.GaussianBlur(GREY, (0, 0), sigma) if sigma else GREY
    assert motion.path(motion.widths(GREY, INSIDE), motion.widths(defocused, INSIDE))[0] == 0
    other = cv2.cvtColor(portrait(SHAPE, (133, 126), 185, seed=7), cv2.COLOR_RGB2GRAY)
    assert motion.path(motion.widths(other, INSIDE), motion.widths(defocused, INSIDE))[0] == 0
    flat = np.full(SHAPE, 0.5, np.float32)
    assert motion.path(motion.widths(flat, INSIDE), motion.widths(flat, INSIDE))[0] == 0
    np.testing.assert_array_equal(motion.widths(GREY[:2], INSIDE[:2]), 0)


@pytest.mark.parametrize("angle", [0.0, 0.8, 2.0])
@pytest.mark.parametrize("length", [1.5, 7.0, 15.0])
def test_a_line_kernel_is_the_mean_along_the_line(length: float, angle: float) -> None:
    kernel = motion.line_kernel(length, angle)
    assert kernel.sum() == pytest.approx(1)
    reach = kernel.shape[0] // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    assert (kernel * along).sum() == pytest.approx(0, abs=1e-5)
    assert (kernel * along**2).sum() == pytest.approx(length**2 / 12, abs=0.35)  # linear splatting widens a little
    assert (kernel * across**2).sum() < 0.35
    part = GREY[60:160, 60:160]
    error = motion.blur(part, length, angle) - moved(part, length, angle)
    assert np.abs(error[20:-20, 20:-20]).max() < 0.02


def test_a_still_face_is_not_touched() -> None:
    assert motion.blur(FACE, 0.4, 1.0) is FACE
    np.testing.assert_allclose(motion.blur(np.full_like(FACE, 0.3), 9, 1.0), 0.3, atol=1e-6)
