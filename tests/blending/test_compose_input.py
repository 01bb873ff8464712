"""What compose takes, and what it refuses."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blending import BEST, PRESETS, BlendState, compose
from tests.blending.composing import RUNGS, SCENE, changed, run
from tests.blending.scenes import disc


def test_float_frames_give_the_same_as_bytes() -> None:
    quiet = changed(BEST, detail={"noise": 0})
    as_bytes = run(SCENE, quiet)
    as_floats = run(dataclasses.replace(SCENE, frame=SCENE.frame.astype(np.float32) / 255), quiet)
    assert as_floats.image.dtype == np.float32
    assert np.abs(as_floats.image * 255 - as_bytes.image).max() <= 1.01
    outside = as_floats.full_alpha() == 0
    np.testing.assert_array_equal(as_floats.image[outside], (SCENE.frame.astype(np.float32) / 255)[outside])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(sorted(RUNGS)))
def test_a_float_frame_stays_within_its_range(seed: int, name: str) -> None:
    """However far apart face and frame are: sharpening, contrast, noise and gradients all overshoot."""
    random = np.random.default_rng(seed)
    frame = (random.random((80, 90, 3), dtype=np.float32) ** random.choice([0.1, 1, 8])).astype(np.float32)
    face = (random.random((64, 64, 3), dtype=np.float32) ** random.choice([0.1, 1, 8])).astype(np.float32)
    matrix = np.array([[1.1, 0.1, -15], [-0.1, 1.1, -8]])
    polygon = np.array([[20, 10], [70, 12], [72, 60], [45, 75], [18, 58]], np.float32)
    mask = disc((64, 64), (32, 32), 28).astype(np.float32) / 255
    result = compose(frame, face, mask, matrix, polygon=polygon, settings=RUNGS[name])
    assert np.isfinite(result.image).all()
    assert 0 <= result.image.min() <= result.image.max() <= 1


def test_what_is_missing_may_be_missing() -> None:
    for options in PRESETS.values():
        alone = compose(SCENE.frame, SCENE.face, None, SCENE.matrix, settings=options)
        assert alone.full_alpha().max() == 1
    masked = compose(SCENE.frame, SCENE.face, SCENE.mask, SCENE.matrix)
    assert masked.full_alpha().max() == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(sorted(PRESETS)))
def test_never_fails_on_odd_but_legal_input(seed: int, name: str) -> None:
    random = np.random.default_rng(seed)
    shape = (int(random.integers(1, 90)), int(random.integers(1, 90)), 3)
    size = int(random.integers(8, 70))
    frame = random.integers(0, 256, shape, dtype=np.uint8)
    face, face_mask = random.random((size, size, 3), dtype=np.float32), random.random((size, size), dtype=np.float32)
    angle, zoom = random.uniform(0, 2 * np.pi), 10 ** random.uniform(-1, 1)
    linear = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    center = random.uniform(-10, 100, 2)
    matrix = np.hstack([linear, (size / 2 - linear @ center)[:, None]])
    polygon = random.uniform(-20, 110, (int(random.integers(3, 12)), 2))
    options = PRESETS[name]
    state = BlendState(options.temporal)
    result = compose(frame, face, face_mask, matrix, polygon=polygon, settings=options, state=state)
    alpha = result.full_alpha()
    assert 0 <= alpha.min() <= alpha.max() <= 1
    np.testing.assert_array_equal(result.image[alpha == 0], frame[alpha == 0])


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, np.zeros((10, 10), np.uint8), "frame"),
        (0, np.zeros((10, 10, 3), np.float64), "frame"),
        (1, np.zeros((64, 60, 3), np.float32), "face"),
        (1, np.zeros((64, 64, 3), np.uint8), "face"),
        (2, np.zeros((32, 32), np.float32), "mask"),
        (3, np.zeros((2, 3), np.float32), "matrix"),
        (3, np.full((2, 3), np.nan, np.float32), "matrix"),
        (4, np.zeros((2, 2), np.float32), "polygon"),
        (4, np.full((5, 2), np.inf, np.float32), "polygon"),
    ],
)
def test_wrong_arrays_are_refused(place: int, value: np.ndarray, message: str) -> None:
    arguments: list[Any] = [SCENE.frame, SCENE.face, SCENE.mask, SCENE.matrix, SCENE.polygon]
    arguments[place] = value
    with pytest.raises(ValueError, match=message):
        compose(*arguments[:4], polygon=arguments[4])
