from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

import blending
from blending import BEST, PRESETS, BlendSettings, compose
from tests.blending.composing import RUNGS, SCENE, changed, recolored, run
from tests.blending.scenes import disc


@pytest.mark.parametrize("name", RUNGS)
def test_outside_alpha_the_frame_is_bit_identical(name: str) -> None:
    it = dataclasses.replace(SCENE, face=recolored(SCENE))
    result = run(it, RUNGS[name])
    alpha = result.full_alpha()
    assert result.image.dtype == np.uint8
    assert alpha.max() == 1
    assert 0 < (alpha > 0).mean() < 0.6
    np.testing.assert_array_equal(result.image[alpha == 0], it.frame[alpha == 0])
    assert (result.image != it.frame).any()


@pytest.mark.parametrize("name", RUNGS)
def test_the_targets_own_face_changes_nothing_visible(name: str) -> None:
    """Limits: the resampling there and back, half a level of noise, and rounding."""
    quiet = changed(RUNGS[name], detail={"noise": 0})
    difference = np.abs(run(SCENE, quiet).image.astype(int) - SCENE.frame)
    inside = run(SCENE, quiet).full_alpha() > 0.5
    assert difference[inside].mean() < 1.5


@pytest.mark.parametrize("name", RUNGS)
def test_the_frames_own_pixels_come_back_as_they_were(name: str) -> None:
    """A crop that lies on the frame's grid needs no resampling, and then nothing has any reason to change."""
    grainy = SCENE.frame + np.random.default_rng(0).normal(0, 3, SCENE.frame.shape[:2])[..., None]
    frame = np.clip(np.round(grainy), 0, 255).astype(np.uint8)
    left, top = np.round(SCENE.polygon.mean(axis=0)).astype(int) - 64
    face = np.ascontiguousarray(frame[top : top + 128, left : left + 128]).astype(np.float32) / 255
    mask = cv2.GaussianBlur(disc((128, 128), (64, 64), 54).astype(np.float32) / 255, (0, 0), 2)
    matrix = np.array([[1, 0, -left], [0, 1, -top]], np.float64)
    options = changed(RUNGS[name], detail={"oversampling": 0})
    result = compose(frame, face, mask, matrix, polygon=SCENE.polygon, settings=options)
    assert result.full_alpha().max() == 1
    assert np.abs(result.image.astype(int) - frame).max() <= 2


def test_every_stage_earns_its_place() -> None:
    """The recoloured face of the target itself must come out as the target: the ladder has to go up."""
    it = dataclasses.replace(SCENE, face=recolored(SCENE))

    def error(options: BlendSettings) -> float:
        result = run(it, changed(options, detail={"noise": 0}))
        inside = run(it, blending.NONE).full_alpha() > 0
        return float(np.abs(result.image.astype(float) - it.frame)[inside].mean())

    crude, classic, best = (error(PRESETS[name]) for name in ("none", "classic", "best"))
    assert crude > 5
    assert classic < 0.6 * crude
    assert best < classic
    assert error(RUNGS["best without colour"]) > best
    assert error(changed(blending.NONE, poisson={"gradients": "import"})) < crude


def test_no_seam_at_the_boundary() -> None:
    it = dataclasses.replace(SCENE, face=recolored(SCENE))
    hard = run(it, blending.NONE)
    soft = run(it, changed(BEST, detail={"noise": 0}))

    def step(result: blending.ComposeResult) -> float:
        """Mean jump of (result - frame) between neighbours, across the edge of alpha."""
        alpha = result.full_alpha() > 0
        change = result.image.astype(float) - it.frame
        edge = alpha[:, 1:] != alpha[:, :-1]
        return float(np.abs(np.diff(change, axis=1))[edge].mean())

    assert step(hard) > 8
    assert step(soft) < 1


@pytest.mark.parametrize("name", RUNGS)
@pytest.mark.parametrize("shift", [(7, -5), (-30, 13)])
def test_shifting_everything_shifts_the_result(name: str, shift: tuple[int, int]) -> None:
    x, y = shift
    padded = cv2.copyMakeBorder(SCENE.frame, 40, 40, 40, 40, cv2.BORDER_REPLICATE)
    matrix = SCENE.matrix.astype(np.float64)
    matrix[:, 2] -= matrix[:, :2] @ (40, 40)
    moved = matrix.copy()
    moved[:, 2] -= matrix[:, :2] @ (x, y)
    polygon = SCENE.polygon + 40
    still = compose(padded, SCENE.face, SCENE.mask, matrix, polygon=polygon, settings=RUNGS[name])
    frame = np.roll(padded, (y, x), (0, 1))
    shifted = compose(frame, SCENE.face, SCENE.mask, moved, polygon=polygon + (x, y), settings=RUNGS[name])
    difference = np.abs(np.roll(shifted.image, (-y, -x), (0, 1)).astype(int) - still.image)
    assert difference.max() <= 2
    assert difference.mean() < 0.01


def test_moving_the_mask_by_a_pixel_does_not_drift() -> None:
    it = dataclasses.replace(SCENE, face=recolored(SCENE))
    quiet = changed(BEST, detail={"noise": 0})
    first = run(it, quiet)
    second = run(dataclasses.replace(it, polygon=it.polygon + np.float32([1, 0])), quiet)
    both = (first.full_alpha() == 1) & (second.full_alpha() == 1)
    assert np.abs(first.image.astype(int) - second.image)[both].mean() < 1


def test_writes_where_it_is_told() -> None:
    frame, elsewhere = SCENE.frame.copy(), np.empty_like(SCENE.frame)
    expected = run(SCENE).image
    np.testing.assert_array_equal(SCENE.frame, frame)  # the input was left alone
    result = compose(frame, SCENE.face, SCENE.mask, SCENE.matrix, polygon=SCENE.polygon, out=elsewhere)
    assert result.image is elsewhere
    np.testing.assert_array_equal(elsewhere, expected)
    assert compose(frame, SCENE.face, SCENE.mask, SCENE.matrix, polygon=SCENE.polygon, out=frame).image is frame
    np.testing.assert_array_equal(frame, expected)
