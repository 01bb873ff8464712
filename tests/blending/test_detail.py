from __future__ import annotations

import cv2
import numpy as np
import pytest

from blending import detail
from tests.blending.scenes import disc, portrait

SHAPE = (200, 200)
PORTRAIT = portrait(SHAPE, (100, 100), 170)
MASK = disc(SHAPE, (100, 100), 75).astype(np.float32) / 255


def noisy(image: np.ndarray, levels: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, levels / 255, image.shape[:2])
    return (image + noise[..., None]).astype(np.float32)


@pytest.mark.parametrize("levels", [1.0, 2.0, 5.0, 10.0])
def test_noise_is_measured(levels: float) -> None:
    smooth = cv2.GaussianBlur(PORTRAIT, (0, 0), 2)
    assert detail.measure(noisy(smooth, levels), MASK).noise * 255 == pytest.approx(levels, rel=0.12)


@pytest.mark.parametrize("sigma", [0.8, 1.2, 2.0])
def test_blurs_add_in_squares(sigma: float) -> None:
    before = detail.measure(PORTRAIT, MASK).blur
    after = detail.measure(cv2.GaussianBlur(PORTRAIT, (0, 0), sigma), MASK).blur
    assert after == pytest.approx(np.hypot(before, sigma), rel=0.2)


def test_noise_hardly_disturbs_the_blur() -> None:
    blurred = cv2.GaussianBlur(PORTRAIT, (0, 0), 1.5)
    assert detail.measure(noisy(blurred, 3), MASK).blur == pytest.approx(detail.measure(blurred, MASK).blur, rel=0.25)


def test_nothing_to_measure() -> None:
    assert detail.measure(PORTRAIT, np.zeros(SHAPE, np.float32)) == detail.Detail(blur=0.0, noise=0.0, coarse=0.0)
    flat = detail.measure(np.full((*SHAPE, 3), 0.5, np.float32), MASK)
    assert flat.noise == pytest.approx(0, abs=1e-6)
    assert detail.measure(PORTRAIT[:2, :2], MASK[:2, :2]).noise == 0


def test_a_sharp_face_is_blurred_to_match() -> None:
    target = cv2.GaussianBlur(PORTRAIT, (0, 0), 1.5)
    ours, theirs = detail.measure(PORTRAIT, MASK), detail.measure(target, MASK)
    matched = detail.match_sharpness(PORTRAIT, ours, theirs)
    assert np.abs(matched - target)[20:-20, 20:-20].mean() < 0.25 * np.abs(PORTRAIT - target)[20:-20, 20:-20].mean()
    assert detail.measure(matched, MASK).blur == pytest.approx(theirs.blur, rel=0.1)


def test_a_soft_face_is_sharpened_a_little() -> None:
    soft = cv2.GaussianBlur(PORTRAIT, (0, 0), 0.8)
    ours, theirs = detail.measure(soft, MASK), detail.measure(PORTRAIT, MASK)
    matched = detail.match_sharpness(soft, ours, theirs)
    assert detail.measure(matched, MASK).blur < 0.97 * ours.blur
    assert np.abs(matched - PORTRAIT).mean() < np.abs(soft - PORTRAIT).mean()
    assert matched.min() >= 0
    assert matched.max() <= 1


def test_equal_sharpness_and_strength_zero_change_nothing() -> None:
    ours = detail.measure(PORTRAIT, MASK)
    assert detail.match_sharpness(PORTRAIT, ours, ours) is PORTRAIT
    blurry = detail.Detail(blur=3.0, noise=0.0, coarse=0.0)
    assert detail.match_sharpness(PORTRAIT, ours, blurry, strength=0) is PORTRAIT
    assert detail.match_sharpness(PORTRAIT, ours, detail.Detail(blur=0.0, noise=0.0, coarse=0.0)) is PORTRAIT


def test_unsharp_mask_adds_what_a_blur_takes_away() -> None:
    by_hand = PORTRAIT + 0.5 * (PORTRAIT - cv2.GaussianBlur(PORTRAIT, (7, 7), 1.0, borderType=cv2.BORDER_REFLECT_101))
    np.testing.assert_allclose(detail.unsharp(PORTRAIT, 0.5), np.clip(by_hand, 0, 1), atol=1e-6)
    assert detail.unsharp(PORTRAIT, 0) is PORTRAIT
