from __future__ import annotations

import cv2
import numpy as np
import pytest

from blending import compression
from blending.compression import Grid
from tests.blending.scenes import disc, portrait

SHAPE = (296, 296)
INSIDE = disc(SHAPE, (150, 150), 115)


def picture(seed: int = 0) -> np.ndarray:
    """A face with some noise, as bytes."""
    noise = np.random.default_rng(seed).normal(0, 1.5 / 255, SHAPE)[..., None]
    return np.clip(np.round(255 * (portrait(SHAPE, (150, 150), 210, seed) + noise)), 0, 255).astype(np.uint8)


def grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2GRAY)


def stored(image: np.ndarray, quality: int, x: int = 0, y: int = 0) -> np.ndarray:
    """Through JPEG, with blocks that begin at column x and row y."""
    padded = cv2.copyMakeBorder(image, -y % 8, 0, -x % 8, 0, cv2.BORDER_REPLICATE)
    coded = cv2.imencode(".jpg", padded, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(coded, cv2.IMREAD_COLOR)[-y % 8 :, -x % 8 :]


def soft(image: np.ndarray) -> np.ndarray:
    """What a generator would draw: no blocks, little noise."""
    return cv2.GaussianBlur(grey(image), (0, 0), 1.2)


@pytest.mark.parametrize("quality", [20, 40, 60, 75, 85])
@pytest.mark.parametrize(("x", "y"), [(0, 0), (3, 5), (7, 1)])
def test_the_grid_is_found_wherever_it_lies(quality: int, x: int, y: int) -> None:
    found = compression.profile(grey(stored(picture(), quality, x, y)), INSIDE)
    assert compression.excess(found) > compression.VISIBLE
    assert compression.step_height(found)[0] == (x, y)


def test_the_grid_is_the_frames_not_the_crops() -> None:
    image = grey(stored(picture(), 40))[13:, 6:]
    found = compression.profile(image, INSIDE[13:, 6:], (6, 13))
    assert compression.step_height(found)[0] == (0, 0)


@pytest.mark.parametrize("seed", range(6))
def test_clean_pictures_have_no_grid(seed: int) -> None:
    clean = picture(seed)
    for image in (clean, cv2.GaussianBlur(clean, (0, 0), 1), cv2.resize(cv2.resize(clean, (220, 220)), SHAPE)):
        assert compression.excess(compression.profile(grey(image), INSIDE)) < compression.VISIBLE
    assert compression.matching(soft(clean), INSIDE, compression.profile(grey(clean), INSIDE)) is None


def test_a_stored_picture_made_smaller_has_no_grid_of_eight() -> None:
    small = cv2.resize(stored(picture(), 30), None, fx=0.73, fy=0.73, interpolation=cv2.INTER_AREA)
    inside = cv2.resize(INSIDE, small.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    assert compression.excess(compression.profile(grey(small), inside)) < compression.VISIBLE


@pytest.mark.parametrize("where", [np.zeros(SHAPE, np.uint8), INSIDE])
def test_nothing_to_see(where: np.ndarray) -> None:
    flat = np.full(SHAPE, 0.5, np.float32)
    assert compression.excess(compression.profile(flat, where)) == 0
    assert compression.excess(compression.profile(flat[:9, :9], where[:9, :9])) == 0


@pytest.mark.parametrize(("quality", "steps"), [(85, 0.3), (75, 0.5), (50, 1.0)])
def test_strength_is_about_jpegs(quality: int, steps: float) -> None:
    target = stored(picture(), quality, 3, 5)
    found = compression.matching(soft(picture()), INSIDE, compression.profile(grey(target), INSIDE))
    assert found is not None
    assert (found.x, found.y) == (3, 5)
    assert found.strength == pytest.approx(steps, rel=0.5)


@pytest.mark.parametrize("quality", [75, 50, 25])
def test_afterwards_the_face_is_as_blocky_as_the_target(quality: int) -> None:
    target = compression.profile(grey(stored(picture(), quality, 6, 2)), INSIDE)
    found = compression.matching(soft(picture()), INSIDE, target)
    assert found is not None
    result = compression.profile(compression.quantize(soft(picture()), found), INSIDE, typical=target[:, 8])
    assert compression.step_height(result)[0] == (6, 2)
    ours, theirs = (compression.step_height(side)[1].sum() for side in (result, target))
    assert ours == pytest.approx(theirs, rel=0.15)


def test_what_is_blocky_already_is_left_alone() -> None:
    target = grey(stored(picture(), 50))
    found = compression.matching(target, INSIDE, compression.profile(target, INSIDE))
    assert found is not None
    assert found.strength == 0


def test_quantization_is_that_of_the_cosine_transform() -> None:
    """Block by block with OpenCV's transform, and with a picture that is no whole number of blocks."""
    image, grid, corner = soft(picture())[:45, :61], Grid(x=2, y=7, strength=0.8), (4, 9)
    result = compression.quantize(image, grid, corner)
    assert result.shape == image.shape
    top, left = (7 - 9) % 8, (2 - 4) % 8
    steps = compression._TABLE * np.float32(0.8 / 255)
    for y in range(top, 45 - 8, 8):
        for x in range(left, 61 - 8, 8):
            coefficients = cv2.dct(image[y : y + 8, x : x + 8])
            expected = cv2.idct(np.round(coefficients / steps) * steps)
            close = np.abs(result[y : y + 8, x : x + 8] - expected) < 1e-5
            assert close.all() or np.abs(coefficients / steps % 1 - 0.5).min() < 1e-3  # a tie may go either way
    fine = compression.quantize(image, Grid(x=2, y=7, strength=1e-4), corner)
    np.testing.assert_allclose(fine, image, atol=1e-3)
