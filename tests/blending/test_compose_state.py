"""What compose remembers from frame to frame."""

from __future__ import annotations

import dataclasses

import numpy as np

import blending
from blending import BEST, BlendSettings, BlendState
from tests.blending.composing import SCENE, changed, run
from tests.blending.scenes import scene


def test_color_flicker_of_the_generator_is_taken_out() -> None:
    """A generator whose exposure jumps from frame to frame, on a target that stands still."""
    quiet = changed(BEST, detail={"noise": 0})
    random = np.random.default_rng(0)
    faces = [np.clip(SCENE.face + np.float32(random.normal(0, 0.02)), 0, 1) for _ in range(10)]
    inside = run(SCENE, quiet).full_alpha() == 1

    def flicker(options: BlendSettings) -> float:
        state = BlendState(options.temporal)
        images = [run(dataclasses.replace(SCENE, face=face), options, state=state).image for face in faces]
        return float(np.std([image[inside].mean() for image in images]))

    crude = flicker(blending.NONE)
    assert crude > 3
    assert flicker(quiet) < 0.1 * crude
    assert flicker(changed(quiet, temporal={"color": 8.0})) > flicker(quiet)  # why means are not filtered


def test_state_is_reproducible_and_noise_is_new_in_each_frame() -> None:
    grainy = scene()
    noise = np.random.default_rng(0).normal(0, 5, grainy.frame.shape[:2])[..., None]
    grainy.frame = np.clip(grainy.frame + noise, 0, 255).astype(np.uint8)
    first, second = BlendState(seed=3), BlendState(seed=3)
    a, b = run(grainy, state=first).image, run(grainy, state=first).image
    assert (a != b).any()
    np.testing.assert_array_equal(run(grainy, state=second).image, a)
    inside = run(grainy).full_alpha() == 1
    assert np.std(a[inside].astype(float) - b[inside]) > 3  # independent noise of some 4 levels in each


def test_learned_mask_is_filtered_until_a_reset() -> None:
    options = changed(BEST, mask={"shape": "learned"}, temporal={"mask": 3.0})
    state = BlendState(options.temporal)
    run(SCENE, options, state=state)
    nothing = dataclasses.replace(SCENE, mask=np.zeros_like(SCENE.mask))
    assert run(nothing, options, state=state).full_alpha().max() > 0
    state.reset()
    assert run(nothing, options, state=state).full_alpha().max() == 0
