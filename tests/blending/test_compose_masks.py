"""How far the swap reaches."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from blending import BEST, PRESETS, compose
from tests.blending.composing import SCENE, changed, run
from tests.blending.scenes import scene


def test_a_jaw_wider_than_the_targets_is_not_cut_off() -> None:
    """The learned mask reaches beyond the hull: by ``reach`` at most, and not at all without it."""
    middle = SCENE.polygon.mean(axis=0)
    narrow = dataclasses.replace(SCENE, polygon=middle + (SCENE.polygon - middle) * (0.7, 1))
    areas = [
        (run(narrow, changed(BEST, mask={"reach": reach, "feather": 0.02})).full_alpha() > 0.5).sum()
        for reach in (0.0, 0.05, 0.1)
    ]
    assert areas[0] < areas[1] < areas[2]
    whole = (run(narrow, changed(BEST, mask={"shape": "learned", "feather": 0.02})).full_alpha() > 0.5).sum()
    assert areas[2] < whole


def test_what_lies_behind_the_generated_face_stays_away() -> None:
    """A black rim just inside the learned mask's edge, as hair leaves it, is cut off with it."""
    it = scene(size=128, height=150)
    wide = changed(BEST, mask={"shape": "learned", "inset": 0})
    inner = cv2.erode(it.mask, np.ones((5, 5), np.uint8))
    it = dataclasses.replace(it, face=np.where(inner[..., None] > 0.5, it.face, 0).astype(np.float32))
    darkened = [
        float((it.frame.astype(float) - run(it, options).image).clip(0).mean())
        for options in (wide, changed(wide, mask={"inset": 0.03}))
    ]
    assert darkened[1] < 0.5 * darkened[0]


def test_a_union_is_not_cut_off_by_the_hull() -> None:
    middle = SCENE.polygon.mean(axis=0)
    small = dataclasses.replace(SCENE, polygon=middle + (SCENE.polygon - middle) * 0.5)
    both = run(small, changed(BEST, mask={"shape": "union", "hair": 0.0})).full_alpha()
    learned = run(SCENE, changed(BEST, mask={"shape": "learned", "hair": 0.0})).full_alpha()
    np.testing.assert_allclose(both, learned, atol=0.05)


def test_brows_near_the_edge_do_not_show_through() -> None:
    """Parts named in ``cover`` are covered where the feather would leave half of them."""
    top = SCENE.polygon[:, 1].min()
    brow = np.array([[140, top + 7], [180, top + 7], [180, top + 11], [140, top + 11]], np.float32)
    rows, columns = slice(int(top) + 7, int(top) + 11), slice(152, 168)
    narrow = changed(BEST, mask={"reach": 0.0, "erosion": 0.02, "feather": 0.12})
    bare = run(SCENE, narrow).full_alpha()
    covered = run(SCENE, narrow, cover=[brow]).full_alpha()
    assert bare[rows, columns].mean() < 0.7
    assert covered[rows, columns].min() > 0.9
    assert (covered >= bare).all()
    region = run(SCENE, changed(narrow, mask={"erosion": 0.0, "feather": 0.0})).full_alpha()
    assert covered[region == 0].max() == 0
    np.testing.assert_array_equal(run(SCENE, changed(narrow, mask={"cover": 0.0}), cover=[brow]).full_alpha(), bare)


@pytest.mark.parametrize("name", ["none", "classic", "best"])
def test_an_empty_mask_leaves_the_frame_alone(name: str) -> None:
    result = compose(
        SCENE.frame, SCENE.face, np.zeros_like(SCENE.mask), SCENE.matrix, polygon=SCENE.polygon, settings=PRESETS[name]
    )
    np.testing.assert_array_equal(result.image, SCENE.frame)
    assert result.full_alpha().max() == 0
