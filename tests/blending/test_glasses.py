from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from blending import BEST, BlendState, FaceShape, compose, wears_glasses
from blending.glasses import arm, without
from tests.blending.scenes import smooth_noise

SIDE, CROP = 320, 256
MATRIX = np.array([[1.0, 0, -32], [0, 1, -32]])
TURN = np.linspace(0, 2 * np.pi, 60, endpoint=False)
OUTLINE = np.array([160.0, 165]) + np.array([85.0, 110]) * np.stack([np.cos(TURN), np.sin(TURN)], axis=1)
BROWS = [np.array([[x, 124], [x + 40, 122], [x + 40, 126], [x, 128]], np.float64) for x in (100, 180)]
EYES = [np.array([[x - 15, 150], [x, 145], [x + 15, 150], [x, 155]], np.float64) for x in (120, 200)]
DARK, BRIGHT = (0.15, 0.14, 0.14), (0.95, 0.95, 0.93)


def skin() -> np.ndarray:
    """Skin with a slope of light, everywhere."""
    image = np.float32([0.72, 0.55, 0.46]) + np.linspace(-0.08, 0.08, SIDE, dtype=np.float32)[:, None, None]
    return image + 0.01 * smooth_noise(3, (SIDE, SIDE), low=-1, high=1)


def glasses(color=DARK, tilt: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Skin with glasses on it, and where their arms are outside of the face."""
    image, arms = skin(), np.zeros((SIDE, SIDE), np.uint8)
    for x in (120, 200):
        cv2.ellipse(image, (x, 152), (35, 28), 0, 0, 360, color, 2)
    cv2.line(image, (152, 147), (168, 147), color, 2)
    for ends in (((86, 150), (64, 150 + tilt)), ((234, 150), (256, 150 + tilt))):
        cv2.line(image, *ends, color, 5)
        cv2.line(arms, *ends, (1,), 5)
    arms[:, 80:240] = 0
    return image, arms > 0


def removed(image, **options):
    return without(image, MATRIX, CROP, OUTLINE, BROWS, (0, 0), **options)


def swapped(image, *, worn=True, settings=BEST, **options):
    face = np.full((CROP, CROP, 3), (0.7, 0.5, 0.4), np.float32)
    return compose(image, face, None, MATRIX, polygon=OUTLINE, cover=BROWS, glasses=worn, settings=settings, **options)


OFF = replace(BEST, mask=replace(BEST.mask, glasses=0))


class TestWithout:
    @pytest.mark.parametrize("color", [DARK, BRIGHT], ids=["dark", "bright"])
    @pytest.mark.parametrize("tilt", [-4, 0, 4])
    def test_an_arm_becomes_skin(self, color, tilt):
        image, arms = glasses(color, tilt)
        found = removed(image)
        before, after = (np.abs(picture - skin())[arms].mean() for picture in (image, found.target))
        assert after < 0.15 * before

    def test_away_from_it_the_frame_is_the_same_to_the_bit(self):
        image, arms = glasses()
        found = removed(image)
        assert np.array_equal(found.target[found.weight == 0], image[found.weight == 0])
        outside = np.ones(arms.shape, bool)
        outside[:, 80:240] = False
        far = cv2.dilate(arms.astype(np.uint8), np.ones((25, 25), np.uint8)) == 0
        assert found.weight[outside & far].max() == 0

    def test_where_there_is_no_arm_nothing_is_found(self):
        assert removed(skin()) is None

    @pytest.mark.parametrize("x", [64, 70, 78, 88, 100])
    def test_a_spot_is_no_arm(self, x):
        image = skin()
        cv2.circle(image, (x, 150), 2, DARK, -1)
        assert removed(image) is None

    def test_an_upright_line_is_no_arm(self):
        image = skin()
        for x in (72, 248):
            cv2.line(image, (x, 60), (x, 280), DARK, 4)
        assert removed(image) is None

    def test_a_broad_stripe_is_no_arm(self):
        image = skin()
        image[135:175] *= 0.4
        assert removed(image) is None

    def test_an_arm_that_hair_hides_before_the_outline_is_found(self):
        image, seen = skin(), np.zeros((SIDE, SIDE), bool)
        image[:, 230:] = (0.1, 0.09, 0.09)
        seen[148:153, 216:229] = True
        image[seen] = skin()[seen] + 0.13
        found = removed(image)
        assert found.weight[seen].mean() > 0.9
        assert np.abs(found.target - skin())[seen].mean() < 0.5 * np.abs(image - skin())[seen].mean()

    def test_the_far_side_of_a_turned_head_is_left_alone(self):
        image, arms = glasses()
        left = np.zeros(arms.shape, bool)
        left[:, :160] = True
        weights = []
        for turn in (0, 10, 20, 40):
            outline = OUTLINE.copy()
            outline[OUTLINE[:, 0] > 160, 0] += turn * (OUTLINE[OUTLINE[:, 0] > 160, 0] - 160) / 85
            found = without(image, MATRIX, CROP, outline, BROWS, (0, 0))
            weights.append(0.0 if found is None else found.weight[arms & left].mean())
        assert weights[0] > 0.9
        assert sorted(weights, reverse=True) == weights
        assert weights[-1] == 0

    def test_a_smaller_frame_is_mended_alike(self):
        image, arms = glasses()
        half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        matrix = np.array([[2.0, 0, -31.5], [0, 2, -31.5]])
        found = without(half, matrix, CROP, OUTLINE / 2 - 0.25, [part / 2 - 0.25 for part in BROWS], (0, 0))
        large = cv2.resize(found.target, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        assert np.abs(large - skin())[arms].mean() < 0.2 * np.abs(image - skin())[arms].mean()

    def test_without_brows_nothing_is_known_of_its_height(self):
        assert without(glasses()[0], MATRIX, CROP, OUTLINE, [], (0, 0)) is None

    def test_it_stays_painted_over_in_a_frame_that_does_not_show_it_clearly(self):
        image, arms = glasses()
        state = BlendState(BEST.temporal)
        first = removed(image, state=state)
        second = removed(0.8 * skin() + 0.2 * image, state=state)
        assert second.weight[arms].mean() > 0.5 * first.weight[arms].mean() > 0.3
        state.reset()
        assert removed(skin(), state=state) is None
        unremembering = BlendState(replace(BEST.temporal, hair=0))
        assert removed(image, state=unremembering) is not None
        weak = 0.85 * skin() + 0.15 * image
        remembering = BlendState(BEST.temporal)
        removed(image, state=remembering)
        assert removed(weak, state=unremembering) is None
        assert removed(weak, state=remembering) is not None

    def test_a_faint_arm_is_seen_where_one_was(self):
        strip = np.full((72, 55, 3), 0.6, np.float32)
        faint, clear = strip.copy(), strip.copy()
        clear[28:32, 12:45] -= 0.3
        faint[28:32, 12:45] -= 0.04
        assert arm(faint).max() == 0
        assert arm(faint, arm(clear))[28:32, 16:40].mean() > 0.5
        assert arm(faint, np.roll(arm(clear), -15, axis=0)).max() == 0

    def test_landmarks_that_shake_do_not_make_it_flicker(self):
        image, arms = glasses()
        outline = OUTLINE.copy()
        outline[OUTLINE[:, 0] > 160, 0] += 18 * (OUTLINE[OUTLINE[:, 0] > 160, 0] - 160) / 85
        random, state = np.random.default_rng(0), BlendState(BEST.temporal)
        left = arms.copy()
        left[:, 160:] = False
        steady, alone = ([], [])
        for _ in range(12):
            shaken = outline + random.normal(0, 1, 2) * (OUTLINE[:, :1] > 160)
            for known, weights in ((state, steady), (None, alone)):
                found = without(image, MATRIX, CROP, shaken, BROWS, (0, 0), state=known)
                weights.append(0.0 if found is None else found.weight[left].mean())
        assert np.abs(np.diff(steady)).mean() < 0.5 * np.abs(np.diff(alone)).mean()

    def test_steady_under_noise(self):
        image, arms = glasses()
        state, random = BlendState(BEST.temporal), np.random.default_rng(0)
        weights = [
            removed(image + random.normal(0, 0.01, image.shape).astype(np.float32), state=state).weight
            for _ in range(6)
        ]
        assert np.abs(np.diff(weights, axis=0))[:, arms].mean() < 0.01


class TestCompose:
    def test_the_arm_is_gone_and_counts_as_changed(self):
        image, arms = glasses()
        result = swapped(image)
        assert np.abs(result.image - skin())[arms].mean() < 0.25 * np.abs(image - skin())[arms].mean()
        assert result.full_alpha()[arms].mean() > 0.9
        untouched = result.full_alpha() == 0
        assert np.array_equal(result.image[untouched], image[untouched])

    def test_without_glasses_nothing_changes(self):
        assert np.array_equal(swapped(skin(), worn=False).image, swapped(skin(), worn=False, settings=OFF).image)

    def test_it_can_be_switched_off(self):
        image, arms = glasses()
        assert np.array_equal(swapped(image, settings=OFF).image, swapped(image, worn=False).image)
        assert np.abs(swapped(image, settings=OFF).image - skin())[arms].mean() > 0.2

    def test_a_new_face_with_glasses_keeps_them(self):
        image, _ = glasses()
        shape = FaceShape(OUTLINE - 32, glasses=True)
        assert np.array_equal(swapped(image, shape=shape).image, swapped(image, shape=shape, worn=False).image)


class TestWorn:
    def test_bright_rims_are_glasses(self):
        assert wears_glasses([glasses(BRIGHT)[0]] * 3, [EYES] * 3)

    def test_a_bare_face_has_none(self):
        assert not wears_glasses([skin()] * 3, [EYES] * 3)

    def test_a_frown_is_none(self):
        image = skin()
        cv2.line(image, (145, 145), (175, 145), DARK, 2)
        assert not wears_glasses([image], [EYES])

    def test_a_bright_line_across_the_nose_alone_is_none(self):
        image = skin()
        cv2.line(image, (140, 147), (180, 147), BRIGHT, 2)
        assert not wears_glasses([image], [EYES])

    def test_no_picture_no_glasses(self):
        assert not wears_glasses([], [])


def test_a_strip_of_one_color_shows_no_arm():
    assert arm(np.full((72, 55, 3), 0.5, np.float32)).max() == 0
