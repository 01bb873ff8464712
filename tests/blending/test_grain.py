from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy import ndimage

from blending import grain
from tests.blending.scenes import disc, portrait

SHAPE = (220, 220)
FACE = cv2.cvtColor(cv2.GaussianBlur(portrait(SHAPE, (110, 110), 180), (0, 0), 2), cv2.COLOR_RGB2GRAY)
INSIDE = disc(SHAPE, (110, 110), 85)


def noise_of(sigma: float, size: float, seed: int = 0, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Gaussian noise of this deviation, smoothed by scipy rather than by us."""
    white = np.random.default_rng(seed).standard_normal(shape)
    smooth = ndimage.gaussian_filter(white, size) if size else white
    return (sigma * smooth / smooth.std()).astype(np.float32)


def bands(image: np.ndarray) -> tuple[float, float]:
    fine, coarse = (grain.noise_sigma(image, INSIDE, spacing) for spacing in (grain.FINE, grain.COARSE))
    return fine, coarse


def neighbours(noise: np.ndarray) -> float:
    """Correlation of direct neighbours."""
    return float(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1])


@pytest.mark.parametrize("levels", [2.0, 6.0])
@pytest.mark.parametrize("size", [0.0, 0.5, 0.7, 1.0])
def test_level_and_size_are_recovered(levels: float, size: float) -> None:
    level, found = grain.level_and_size(*bands(FACE + noise_of(levels / 255, size)))
    assert level * 255 == pytest.approx(levels, rel=0.15)
    assert found == pytest.approx(size, abs=0.12 if size else 0.35)  # a Gaussian of 0.3 px is white but for 1 %


@pytest.mark.parametrize("size", [0.0, 0.6, 1.0])
def test_added_grain_looks_like_the_targets(size: float) -> None:
    target = FACE + noise_of(4 / 255, size)
    level, found = grain.missing(bands(FACE), bands(target))
    added = level * grain.Grain(np.random.default_rng(5))(SHAPE, size=found)
    np.testing.assert_allclose(bands(FACE + added), bands(target), rtol=0.12)
    assert neighbours(added) == pytest.approx(neighbours(noise_of(1, size)), abs=0.08)


def test_what_is_there_already_is_not_added_again() -> None:
    noisy, noisier = bands(FACE + noise_of(3 / 255, 0.6)), bands(FACE + noise_of(5 / 255, 0.6, seed=1))
    assert grain.missing(noisier, noisy) == (0.0, 0.0)
    assert grain.missing(noisy, noisy) == (0.0, 0.0)
    level, _ = grain.missing(noisy, noisier)
    assert level * 255 == pytest.approx(4, rel=0.2)  # 3-4-5
    assert grain.level_and_size(0.01, 0.0) == (0.0, 0.0)


def test_rounding_makes_some_of_the_noise_itself() -> None:
    """Grey of a picture rounded to bytes, whose channels' errors are independent."""
    random = np.random.default_rng(0)
    smooth = FACE[..., None] + random.uniform(0, 0.2, 3).astype(np.float32) + noise_of(2 / 255, 0)[..., None]
    rounded = np.round(smooth * 255).astype(np.float32) / 255
    before, after = (bands(cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY)) for image in (smooth, rounded))
    level, _ = grain.missing((0.0, 0.0), after, rounding=1 / 255)
    assert level == pytest.approx(before[0], rel=0.02)


def test_edges_and_empty_regions_are_no_noise() -> None:
    assert max(bands(FACE)) * 255 < 0.5
    nothing = np.zeros(SHAPE, np.uint8)
    assert grain.noise_sigma(FACE, nothing) == 0
    assert grain.persistence(FACE, FACE, nothing) == 0
    assert grain.persistence(0 * FACE, 0 * FACE, INSIDE) == 0


@pytest.mark.parametrize("share", [0.0, 0.4, 0.9])
def test_persistence_is_the_share_that_stays(share: float) -> None:
    still = noise_of(3 / 255, 0.6)
    frames = [FACE + share**0.5 * still + (1 - share) ** 0.5 * noise_of(3 / 255, 0.6, seed) for seed in (1, 2)]
    before, now = (grain.residue(frame) for frame in frames)
    # The face's own texture stays, too
    assert grain.persistence(before, now, INSIDE) == pytest.approx(share, abs=0.13)


def test_grain_is_new_each_time_and_can_be_repeated() -> None:
    maker = grain.Grain(np.random.default_rng(5))
    first, second = (maker(SHAPE).copy() for _ in range(2))
    assert first.shape == SHAPE
    assert first.std() == pytest.approx(1, rel=0.03)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.03
    np.testing.assert_array_equal(first, grain.Grain(np.random.default_rng(5))(SHAPE))
    assert maker((700, 300)).shape == (700, 300)
    assert maker((700, 300), size=0.8).std() == pytest.approx(1, rel=0.03)


def test_held_grain_moves_with_the_face() -> None:
    maker = grain.Grain(np.random.default_rng(5))
    first, second = (maker(SHAPE, size=0.6, hold=0.7, origin=(-90 + x, -80 + y)) for x, y in ((0, 0), (3, -2)))
    assert second.std() == pytest.approx(1, rel=0.05)
    stayed = np.corrcoef(first[:-2, 3:].ravel(), second[2:, :-3].ravel())[0, 1]
    assert stayed == pytest.approx(0.7, abs=0.05)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.1
