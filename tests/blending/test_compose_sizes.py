"""Faces cut off by the frame, tiny, and larger than their crop."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

import blending
from blending import PRESETS, compose
from tests.blending.composing import RUNGS, changed, recolored, run
from tests.blending.scenes import scene


@pytest.mark.parametrize("center", [(5.0, 120.0), (315.0, 235.0), (160.0, 4.0), (-40.0, 120.0), (900.0, 900.0)])
@pytest.mark.parametrize("name", ["none", "classic", "best"])
def test_faces_cut_off_by_the_frame(center: tuple[float, float], name: str) -> None:
    it = scene(center=center)
    it = dataclasses.replace(it, face=recolored(it))
    result = run(it, PRESETS[name])
    alpha = result.full_alpha()
    np.testing.assert_array_equal(result.image[alpha == 0], it.frame[alpha == 0])
    if 0 <= center[0] < 320 and 0 <= center[1] < 240:
        assert alpha[int(center[1]), int(center[0])] == 1  # the frame's border is not an edge of the face
    if center[0] > 400:
        assert alpha.max(initial=0) == 0


@pytest.mark.parametrize("height", [6.0, 20.0, 60.0, 220.0])
def test_faces_of_any_size(height: float) -> None:
    it = scene(height=height)
    result = run(dataclasses.replace(it, face=recolored(it)))
    assert np.isfinite(result.alpha).all()
    np.testing.assert_array_equal(result.image[result.full_alpha() == 0], it.frame[result.full_alpha() == 0])
    if height >= 60:  # smaller ones lose too much to the crop's resampling for a fair comparison
        inside = result.full_alpha() > 0.5
        assert np.abs(result.image.astype(int) - it.frame)[inside].mean() < 6


@pytest.mark.parametrize("name", ["best", "best, union", "best, refined", "best without Poisson"])
def test_a_bounded_resolution_looks_the_same(name: str) -> None:
    """A face shown with four pixels for each of its own: worked out at half of that, the frame is the same."""
    it = scene(shape=(760, 640), center=(320, 380), height=500, size=128)
    it = dataclasses.replace(it, face=recolored(it))
    quiet = changed(RUNGS[name], detail={"noise": 0, "sharpness": 0})
    bounded, whole = run(it, quiet), run(it, changed(quiet, detail={"oversampling": 0}))
    assert np.abs(bounded.full_alpha() - whole.full_alpha()).max() < 0.25
    assert np.abs(bounded.full_alpha() - whole.full_alpha()).mean() < 0.01
    middle = [np.argwhere(result.full_alpha() > 0.5).mean(axis=0) for result in (bounded, whole)]
    np.testing.assert_allclose(*middle, atol=0.25)
    difference = np.abs(bounded.image.astype(int) - whole.image)
    assert difference.mean() < 0.3
    assert difference.max() < 32


@pytest.mark.parametrize("height", [500, 900, 1500])
def test_far_enlarged_faces_fade_in_on_all_sides(height: int) -> None:
    """Where the hull is what limits the swap, the box leaves room around it in the small picture's pixels too."""
    it = scene(shape=(1700, 1400), center=(700, 850), height=height, size=64, enlarged=4)
    result = run(it, RUNGS["best, hull"])
    for edge in (result.alpha[0], result.alpha[-1], result.alpha[:, 0], result.alpha[:, -1]):
        assert edge.max() == 0


def test_enlarged_faces_get_the_frames_noise() -> None:
    it = scene(shape=(760, 640), center=(320, 380), height=500, size=128)
    rng = np.random.default_rng(0)
    noisy = np.clip(it.frame + rng.normal(0, 5, it.frame.shape[:2])[..., None], 0, 255).astype(np.uint8)
    it = dataclasses.replace(it, frame=noisy)
    result = run(it)
    inside = (result.full_alpha() > 0.99).astype(np.uint8)
    grey = cv2.cvtColor(result.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    assert blending.grain.noise_sigma(grey, inside) == pytest.approx(5, rel=0.25)


def test_a_shrunken_crop_does_not_alias() -> None:
    """A 256-px checkerboard in a 40-px face averages out instead of beating."""
    checker = np.indices((256, 256)).sum(axis=0) % 2
    face = np.repeat(checker[..., None], 3, axis=2).astype(np.float32)
    it = scene(height=40, size=256)
    result = compose(it.frame, face, None, it.matrix, settings=blending.NONE)
    assert np.abs(result.image[result.full_alpha() == 1].astype(int) - 128).max() < 20
