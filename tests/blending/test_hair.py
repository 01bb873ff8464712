from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from blending import BEST, BlendState, compose
from blending.hair import SIDE, bared, hair
from tests.blending.scenes import smooth_noise

SKIN, DARK = np.float32([0.78, 0.6, 0.5]), np.float32([0.12, 0.09, 0.08])
TURN = np.linspace(0, 2 * np.pi, 40, endpoint=False)
CENTER, AXES = np.array([32.0, 34.0]), np.array([21.0, 27.0])
OUTLINE = CENTER + AXES * np.stack([np.cos(TURN), np.sin(TURN)], axis=1)
BROWS = [np.array([[16, 25], [28, 24], [28, 26], [16, 27]]), np.array([[36, 24], [48, 25], [48, 27], [36, 26]])]

LOCK = np.array([[28, 0], [56, 0], [42, 22]])


def drawn(paint=lambda image: None, skin=SKIN, around=DARK) -> np.ndarray:
    """A face on a dark head of hair, eyes and mouth included, and what ``paint`` does to it."""
    image = np.empty((SIDE, SIDE, 3), np.float32)
    image[:] = around
    center, axes = tuple(map(int, CENTER)), (22, 28)
    cv2.ellipse(image, center, axes, 0, 0, 360, tuple(map(float, skin)), -1)
    for x in (22, 42):
        cv2.ellipse(image, (x, 30), (4, 2), 0, 0, 360, (0.1, 0.1, 0.1), -1)
    cv2.ellipse(image, (32, 48), (8, 3), 0, 0, 360, (0.5, 0.2, 0.2), -1)
    for brow in BROWS:
        cv2.fillConvexPoly(image, brow.astype(np.int32), (0.15, 0.1, 0.08))
    paint(image)
    return image + 0.02 * smooth_noise(3, (SIDE, SIDE), low=-1, high=1)


def lock(image, color=DARK):
    cv2.fillConvexPoly(image, LOCK, tuple(map(float, color)))


def truth() -> np.ndarray:
    blank = np.zeros((SIDE, SIDE), np.float32)
    cv2.fillConvexPoly(blank, LOCK, (1.0,))
    inside = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillConvexPoly(inside, OUTLINE.round().astype(np.int32), (1,))
    return (blank > 0) & (inside > 0)


class TestHair:
    def test_a_lock_over_the_forehead_is_found(self):
        found, true = hair(drawn(lock), OUTLINE, BROWS) > 0.5, truth()
        assert (found & true).sum() / (found | true).sum() > 0.7

    def test_without_brows_too(self):
        assert (hair(drawn(lock), OUTLINE) > 0.5)[truth()].mean() > 0.7

    @pytest.mark.parametrize("skin", [SKIN, 0.5 * SKIN, np.float32([0.9, 0.78, 0.7])], ids=["fair", "dark", "pale"])
    def test_a_bare_forehead_has_none(self, skin):
        inside = np.zeros((SIDE, SIDE), np.uint8)
        cv2.fillConvexPoly(inside, (CENTER + 0.9 * (OUTLINE - CENTER)).round().astype(np.int32), (1,))
        assert hair(drawn(skin=skin), OUTLINE, BROWS)[inside > 0].max() == 0

    def test_a_shine_on_the_forehead_is_none(self):
        def shine(image):
            cv2.ellipse(image, (40, 8), (10, 9), 0, 0, 360, (0.97, 0.93, 0.9), -1)

        assert hair(drawn(shine), OUTLINE, BROWS)[10:].max() == 0

    def test_a_dark_spot_that_does_not_reach_in_from_outside_is_none(self):
        def spot(image):
            cv2.circle(image, (34, 17), 3, tuple(map(float, DARK)), -1)

        assert hair(drawn(spot), OUTLINE, BROWS)[12:].max() == 0

    def test_a_beard_is_none(self):
        def beard(image):
            cv2.ellipse(image, (32, 56), (20, 10), 0, 0, 180, tuple(map(float, DARK)), -1)

        assert hair(drawn(beard), OUTLINE, BROWS)[34:].max() == 0
        assert hair(drawn(beard), OUTLINE, BROWS, cheeks=True)[52:].max() == 0

    @pytest.mark.parametrize("points", [OUTLINE * 0.1, np.full((5, 2), 500.0)], ids=["tiny", "elsewhere"])
    def test_no_face_has_none(self, points):
        assert hair(drawn(lock), points).max() == 0

    def test_one_color_everywhere_is_no_hair(self):
        assert hair(np.full((SIDE, SIDE, 3), 0.5, np.float32), OUTLINE, BROWS).max() == 0


class TestBared:
    def test_hair_is_painted_over_with_the_skin_beside(self):
        covered, bare = drawn(lock), drawn()
        face = bared(cv2.resize(covered, (128, 128)), hair(covered, OUTLINE, BROWS), OUTLINE)
        where = cv2.resize((truth()).astype(np.uint8), (128, 128), interpolation=cv2.INTER_NEAREST) > 0
        before = np.abs(cv2.resize(covered, (128, 128)) - cv2.resize(bare, (128, 128)))[where].mean()
        after = np.abs(face - cv2.resize(bare, (128, 128)))[where].mean()
        assert after < 0.25 * before

    def test_a_face_without_hair_is_the_same_picture(self):
        face = drawn()
        assert bared(face, np.zeros((SIDE, SIDE), np.float32), OUTLINE) is face


class TestCompose:
    ZOOM = 4

    def blended(self, strength: float = 1.0, state: BlendState | None = None, face: np.ndarray | None = None):
        size = SIDE * self.ZOOM
        frame = (np.clip(cv2.resize(drawn(lock), (size, size)), 0, 1) * 255).astype(np.uint8)
        face = cv2.resize(drawn(skin=np.float32([0.7, 0.5, 0.45])), (128, 128)) if face is None else face
        matrix = np.array([[128 / size, 0, 0], [0, 128 / size, 0]])
        settings = dataclasses.replace(BEST, mask=dataclasses.replace(BEST.mask, hair=strength))
        result = compose(
            frame, face, None, matrix, polygon=OUTLINE * self.ZOOM, cover=[part * self.ZOOM for part in BROWS],
            settings=settings, state=state,
        )  # fmt: skip
        deep = cv2.erode(truth().astype(np.uint8), np.ones((5, 5), np.uint8))
        deep = cv2.resize(deep, (size, size), interpolation=cv2.INTER_NEAREST) > 0
        return frame, result, deep

    def test_hair_stays_in_front_to_the_bit(self):
        frame, result, deep = self.blended()
        assert deep.sum() > 200
        np.testing.assert_array_equal(result.image[deep], frame[deep])
        assert np.abs(self.blended(0.0)[1].image[deep].astype(int) - frame[deep]).mean() > 20

    def test_the_new_faces_own_hair_does_not_come_along(self):
        def beside(image):
            cv2.rectangle(image, (8, 10), (14, 36), tuple(map(float, DARK)), -1)

        face = cv2.resize(drawn(beside), (128, 128))
        around = np.s_[30 * self.ZOOM : 36 * self.ZOOM, 13 * self.ZOOM + 2 : 15 * self.ZOOM]
        kept, painted = (self.blended(strength, face=face)[1].image[around].mean() for strength in (0.0, 1.0))
        assert painted > kept + 15

    def test_hair_that_both_have_stays_as_it_is_drawn(self):
        """A sideburn of both is no hair that came along."""
        size = SIDE * self.ZOOM

        def beside(image):
            cv2.rectangle(image, (8, 10), (14, 36), tuple(map(float, DARK)), -1)

        face = cv2.resize(drawn(beside), (128, 128))
        frame = (np.clip(cv2.resize(drawn(beside), (size, size)), 0, 1) * 255).astype(np.uint8)
        matrix = np.array([[128 / size, 0, 0], [0, 128 / size, 0]])
        out = compose(frame, face, None, matrix, polygon=OUTLINE * self.ZOOM, settings=BEST).image
        around = np.s_[30 * self.ZOOM : 36 * self.ZOOM, 13 * self.ZOOM : 14 * self.ZOOM]
        assert out[around].mean() < 90

    def test_filtered_along_the_track(self):
        state = BlendState(BEST.temporal)
        for _ in range(3):
            frame, result, deep = self.blended(state=state)
        np.testing.assert_array_equal(result.image[deep], frame[deep])
