"""The camera's traces through the whole of compose."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from blending import BEST, BlendSettings, BlendState, DetailSettings, compose, compression, grain, motion
from blending.compose import prepare
from tests.blending.scenes import Scene, scene

SCENE = scene(height=170, size=160)
BASE = dataclasses.replace(BEST, mask=dataclasses.replace(BEST.mask, refine=0))  # an edge that blur does not move
MOTION = dataclasses.replace(BASE, detail=DetailSettings(sharpness=0, motion=1, noise=0, compression=0))
BLOCKS = dataclasses.replace(BASE, detail=DetailSettings(sharpness=0, motion=0, noise=0, compression=1))
NO_BLOCKS = dataclasses.replace(BLOCKS, detail=dataclasses.replace(BLOCKS.detail, compression=0))
NOISE = dataclasses.replace(BEST, detail=DetailSettings(sharpness=0, motion=0, noise=1, hold=1, compression=0))


def blend(it: Scene, settings: BlendSettings, state: BlendState | None = None) -> np.ndarray:
    return compose(it.frame, it.face, it.mask, it.matrix, polygon=it.polygon, settings=settings, state=state).image


def core_of(it: Scene) -> np.ndarray:
    result = compose(it.frame, it.face, it.mask, it.matrix, polygon=it.polygon)
    return cv2.erode((result.full_alpha() > 0.99).view(np.uint8), np.ones((5, 5), np.uint8))


def grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2GRAY)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def moved(it: Scene, x: float, y: float) -> Scene:
    """The face somewhere else; the frame stays."""
    matrix = it.matrix.astype(np.float64)
    matrix[:, 2] -= matrix[:, :2] @ (x, y)
    return dataclasses.replace(it, matrix=matrix, polygon=it.polygon + np.float32([x, y]))


@pytest.mark.parametrize("quality", [60, 30])
def test_blocks_inside_are_as_high_as_outside(quality: int) -> None:
    it = dataclasses.replace(SCENE, frame=jpeg(SCENE.frame, quality))
    core = core_of(it)
    theirs, with_them, without = (
        compression.profile(grey(image), core) for image in (it.frame, blend(it, BLOCKS), blend(it, NO_BLOCKS))
    )
    assert compression.step_height(with_them)[0] == compression.step_height(theirs)[0] == (0, 0)
    height = compression.step_height(theirs)[1].sum()
    assert compression.step_height(with_them)[1].sum() == pytest.approx(height, rel=0.35)
    assert compression.step_height(without)[1].sum() < 0.5 * height


def test_a_clean_frame_gets_no_blocks() -> None:
    np.testing.assert_array_equal(blend(SCENE, BLOCKS), blend(SCENE, NO_BLOCKS))


@pytest.mark.parametrize("center", [(5.0, 120.0), (315.0, 235.0)])
def test_blocks_at_the_frames_border(center: tuple[float, float]) -> None:
    it = scene(center=center, height=170, size=160)
    it = dataclasses.replace(it, frame=jpeg(it.frame, 30))
    result = compose(it.frame, it.face, it.mask, it.matrix, polygon=it.polygon, settings=BLOCKS)
    alpha = result.full_alpha()
    np.testing.assert_array_equal(result.image[alpha == 0], it.frame[alpha == 0])
    assert np.abs(result.image.astype(int) - it.frame)[alpha > 0].mean() < 6


def test_float_frames_get_the_same_blocks_as_bytes() -> None:
    it = dataclasses.replace(SCENE, frame=jpeg(SCENE.frame, 40))
    floats = blend(dataclasses.replace(it, frame=it.frame.astype(np.float32) / 255), BLOCKS)
    assert 0 <= floats.min() <= floats.max() <= 1
    assert np.abs(floats * 255 - blend(it, BLOCKS)).mean() < 0.5


def test_blocks_hold_still_over_time_and_end_at_a_cut() -> None:
    blocky, state = dataclasses.replace(SCENE, frame=jpeg(SCENE.frame, 40)), BlendState()
    arguments = {"polygon": SCENE.polygon, "settings": BLOCKS, "state": state}
    grids = [prepare(blocky.frame, SCENE.face, SCENE.mask, SCENE.matrix, **arguments).grid for _ in range(6)]
    assert grids[0] is not None
    assert all(found == grids[0] for found in grids)
    state.reset()
    assert prepare(SCENE.frame, SCENE.face, SCENE.mask, SCENE.matrix, **arguments).grid is None


def test_a_moving_face_is_blurred_along_its_way_and_a_still_one_is_not() -> None:
    """The frame as an open shutter leaves it; the generated face is sharp."""
    kernel = motion.line_kernel(6.0, 0.0)
    it = dataclasses.replace(SCENE, frame=cv2.filter2D(SCENE.frame, -1, kernel))
    core = core_of(it) > 0
    state = BlendState()
    for turn in range(3):
        state.step(np.array([-8.0 + 8 * turn, 0]))  # the track so far: eight pixels a frame
    center = np.linalg.solve(it.matrix[:, :2].astype(float), 79.5 - it.matrix[:, 2])
    state.step(center - (8, 0))
    still = BlendState()
    still.step(center)

    def change(image: np.ndarray) -> tuple[float, float]:
        parts = np.abs(np.diff(grey(image), axis=1))[:-1], np.abs(np.diff(grey(image), axis=0))[:, :-1]
        return float(parts[0][core[:-1, :-1]].mean()), float(parts[1][core[:-1, :-1]].mean())

    target, running, resting, alone = (
        change(image) for image in (it.frame, blend(it, MOTION, state), blend(it, MOTION, still), blend(it, MOTION))
    )
    sharp = change(blend(SCENE, MOTION))
    assert target[0] < 0.85 * sharp[0]
    for blurred in (running, alone):
        assert blurred[0] == pytest.approx(target[0], rel=0.1)
        assert blurred[1] == pytest.approx(target[1], rel=0.1)
    assert resting[0] > 0.95 * sharp[0]
    np.testing.assert_array_equal(blend(SCENE, MOTION), blend(SCENE, NO_BLOCKS))  # nothing blurred, nothing done


def test_a_face_that_jumps_is_not_blurred() -> None:
    states = BlendState(), BlendState()
    first, second = (
        [blend(it, settings, state) for it in (SCENE, moved(SCENE, 70, 0))]
        for settings, state in zip((MOTION, NO_BLOCKS), states, strict=True)
    )
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.parametrize("size", [0.0, 0.8])
def test_noise_inside_is_as_fine_as_the_targets(size: float) -> None:
    random = np.random.default_rng(0)
    noise = random.normal(0, 1, SCENE.frame.shape[:2])
    noise = cv2.GaussianBlur(noise, (0, 0), size) if size else noise
    noisy = np.clip(np.round(SCENE.frame + 5 * (noise / noise.std())[..., None]), 0, 255).astype(np.uint8)
    it, core = dataclasses.replace(SCENE, frame=noisy), core_of(SCENE)
    for spacing in (grain.FINE, grain.COARSE):
        ours, theirs = (grain.noise_sigma(grey(image), core, spacing) for image in (blend(it, NOISE), noisy))
        assert ours == pytest.approx(theirs, rel=0.15)


@pytest.mark.parametrize("still", [True, False])
def test_noise_is_as_still_as_the_targets(still: bool) -> None:
    random = np.random.default_rng(0)
    frames = [random.normal(0, 5, SCENE.frame.shape[:2])[..., None] for _ in range(3)]
    frames = [np.clip(SCENE.frame + frames[0 if still else i], 0, 255).astype(np.uint8) for i in range(3)]
    state = BlendState()
    first, second = [blend(dataclasses.replace(SCENE, frame=frame), NOISE, state) for frame in frames][1:]
    inside = core_of(SCENE) > 0
    difference = float(np.std(first[inside].astype(float) - second[inside]))
    expected = float(np.std(frames[1][inside].astype(float) - frames[2][inside]))
    assert difference == pytest.approx(expected, abs=1.5)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_an_upscaler_of_ones_own(times: int) -> None:
    """A face of half the size, given back its pixels, lands where the whole one does."""
    small = cv2.resize(SCENE.face, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    mask = cv2.resize(SCENE.mask, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    matrix = SCENE.matrix.astype(np.float64) * 0.5
    matrix[:, 2] -= 0.25
    plain = dataclasses.replace(NO_BLOCKS, detail=dataclasses.replace(NO_BLOCKS.detail, oversampling=0))

    def enhance(face: np.ndarray) -> np.ndarray:
        return cv2.resize(face, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)

    arguments = {"polygon": SCENE.polygon, "settings": plain}
    result = compose(SCENE.frame, small, mask, matrix, enhance=enhance, **arguments)
    without = compose(SCENE.frame, small, mask, matrix, **arguments)
    np.testing.assert_array_equal(result.alpha, without.alpha)
    assert np.abs(result.image.astype(int) - without.image).mean() < 0.5
    exact = compose(SCENE.frame, small, mask, matrix, enhance=lambda _: SCENE.face, **arguments)
    whole = compose(SCENE.frame, SCENE.face, SCENE.mask, SCENE.matrix, **arguments)
    inside = exact.full_alpha() > 0.99
    assert np.abs(exact.image.astype(int) - whole.image)[inside].mean() < 0.5


def test_an_upscaler_must_return_a_face() -> None:
    with pytest.raises(ValueError, match="enhance"):
        compose(SCENE.frame, SCENE.face, SCENE.mask, SCENE.matrix, enhance=lambda face: face[:, :20])


def test_more_pixels_of_the_face_are_worked_with_at_a_finer_resolution() -> None:
    it = scene(shape=(760, 640), center=(320, 380), height=500, size=96)
    arguments = {"polygon": it.polygon, "settings": NO_BLOCKS}
    fine = prepare(it.frame, it.face, it.mask, it.matrix, enhance=lambda f: cv2.resize(f, (384, 384)), **arguments)
    plain = prepare(it.frame, it.face, it.mask, it.matrix, **arguments)
    assert fine.source.shape[0] > 1.5 * plain.source.shape[0]


def test_every_stage_can_be_switched_off_alone() -> None:
    off = DetailSettings(sharpness=0, motion=0, noise=0, grain=0, hold=0, compression=0, oversampling=0)
    for name, value in dataclasses.asdict(off).items():
        assert value == 0, name
    for name in ("sharpness", "motion", "noise", "grain", "hold", "compression"):
        alone = dataclasses.replace(BEST, detail=dataclasses.replace(off, **{name: 1.0}))
        assert blend(SCENE, alone, BlendState()).shape == SCENE.frame.shape
        with pytest.raises(ValueError, match=name):
            DetailSettings(**{name: 1.5})
    assert (blend(SCENE, dataclasses.replace(BEST, detail=dataclasses.replace(off, unsharp=2.0))) != blend(
        SCENE, dataclasses.replace(BEST, detail=off)
    )).any()  # fmt: skip
