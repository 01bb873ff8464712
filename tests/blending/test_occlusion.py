from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from blending import BEST, BlendState, OcclusionSettings, compose, usual_disagreement, visibility
from tests.blending.scenes import disc, portrait, scene, smooth_noise

SIDE = 128
FACE = disc((SIDE, SIDE), (64, 64), 45).astype(np.float32) / 255
BARE = portrait((SIDE, SIDE), (64, 64), 80)


def covered(alpha: np.ndarray, color: tuple[float, float, float] = (0.1, 0.12, 0.15)) -> np.ndarray:
    return (BARE * (1 - alpha[..., None]) + np.float32(color) * alpha[..., None]).astype(np.float32)


def found(seen: np.ndarray, expected: np.ndarray = BARE, **changes: float) -> np.ndarray:
    return visibility(seen, expected, FACE, OcclusionSettings(**changes))


def overlap(visible: np.ndarray, alpha: np.ndarray) -> float:
    ours, truth = (visible < 0.5) & (FACE > 0.5), (alpha > 0.5) & (FACE > 0.5)
    return float((ours & truth).sum() / (ours | truth).sum())


BALL = disc((SIDE, SIDE), (70, 85), 16).astype(np.float32) / 255


def fingers() -> np.ndarray:
    out = np.zeros((SIDE, SIDE), np.uint8)
    for i in range(4):
        cv2.line(out, (30, 60 + 12 * i), (95, 62 + 12 * i), 255, 6)
    return out.astype(np.float32) / 255


class TestUsualDisagreement:
    """What a decoder always draws wrong is nothing in front of the face."""

    EYE = disc((SIDE, SIDE), (52, 55), 7).astype(np.float32) / 255

    def usual(self, drawn: np.ndarray, count: int = 20) -> np.ndarray:
        return usual_disagreement(
            np.stack([BARE] * count), np.stack([drawn] * count), np.stack([FACE] * count), OcclusionSettings()
        )

    def test_a_decoder_that_draws_well_has_none(self):
        assert self.usual(BARE).max() < 0.001

    def test_an_eye_that_it_cannot_draw_is_no_cover(self):
        missing = (BARE * (1 - self.EYE[..., None]) + np.float32([0.05, 0.05, 0.05]) * self.EYE[..., None])
        usual = self.usual(missing)
        assert visibility(BARE, missing, FACE, OcclusionSettings())[55, 52] == 0
        assert visibility(BARE, missing, FACE, OcclusionSettings(), usual).min() == 1

    def test_what_lies_elsewhere_is_found_all_the_same(self):
        missing = (BARE * (1 - self.EYE[..., None]) + np.float32([0.05, 0.05, 0.05]) * self.EYE[..., None])
        visible = visibility(covered(BALL), missing, FACE, OcclusionSettings(), self.usual(missing))
        assert overlap(visible, BALL) > 0.8

    def test_what_happens_in_one_frame_of_many_is_not_usual(self):
        seen = np.stack([BARE] * 40)
        seen[7] = covered(BALL)
        usual = usual_disagreement(seen, np.stack([BARE] * 40), np.stack([FACE] * 40), OcclusionSettings())
        assert usual.max() < 0.001


class TestVisibility:
    @pytest.mark.parametrize(
        "drawn",
        [
            BARE,
            np.roll(BARE, 1, axis=1),
            cv2.GaussianBlur(BARE, (0, 0), 1.0),
            np.clip(BARE * 1.0 + np.float32([0.12, 0.08, -0.05]), 0, 1),
            np.clip(BARE + 0.02 * smooth_noise(3, (SIDE, SIDE), low=-1, high=1), 0, 1),
        ],
        ids=["exact", "a pixel aside", "soft", "other light", "textured"],
    )
    def test_a_bare_face_drawn_a_little_wrong_is_all_seen(self, drawn):
        assert found(BARE, drawn.astype(np.float32)).min() == 1

    def test_something_solid_is_found(self):
        assert overlap(found(covered(BALL)), BALL) > 0.85

    def test_in_another_light_too(self):
        seen = np.clip(covered(BALL) + np.float32([0.1, 0.05, 0.0]), 0, 1)
        assert overlap(found(seen), BALL) > 0.8

    def test_nearly_half_of_the_face(self):
        half = np.zeros((SIDE, SIDE), np.float32)
        half[72:] = 1
        assert overlap(found(covered(half)), half) > 0.85

    def test_gaps_between_fingers_are_filled(self):
        hand = fingers()
        closed = cv2.morphologyEx(hand, cv2.MORPH_CLOSE, np.ones((9, 9)))
        assert overlap(found(covered(hand, (0.5, 0.25, 0.2))), closed) > 0.8
        assert overlap(found(covered(hand, (0.5, 0.25, 0.2)), gap=0), closed) < 0.8

    def test_what_a_rim_encloses_is_still_face(self):
        rim = disc((SIDE, SIDE), (64, 60), 16).astype(np.float32) / 255 - disc((SIDE, SIDE), (64, 60), 12) / 255
        visible = found(covered(rim.astype(np.float32), (0.0, 0.0, 0.0)), gap=0)
        assert overlap(visible, rim) > 0.6
        assert visible[60, 64] == 1

    def test_specks_are_not_looked_at(self):
        speck = disc((SIDE, SIDE), (70, 85), 1.5).astype(np.float32) / 255
        assert found(covered(speck)).min() == 1
        assert found(covered(speck), area=0.0).min() < 0.5

    def test_nothing_is_looked_for_outside_the_face(self):
        aside = disc((SIDE, SIDE), (8, 8), 7).astype(np.float32) / 255
        assert found(covered(aside)).min() == 1

    def test_somebody_else_is_not_covered(self):
        other = smooth_noise(9, (SIDE, SIDE), scale=4, low=0.0, high=1.0)
        assert found(other).min() == 1
        assert found(other, most=1.0).min() < 0.5

    def test_strength(self):
        assert found(covered(BALL), strength=0).min() == 1
        assert found(covered(BALL), strength=0.5).min() == pytest.approx(0.5)

    def test_no_face_no_cover(self):
        assert visibility(covered(BALL), BARE, np.zeros_like(FACE), OcclusionSettings()).min() == 1


class TestCompose:
    SCENE = scene()

    def swap(self, frame, visible, options=BEST, state=None):
        it = self.SCENE
        return compose(
            frame, np.clip(it.face + np.float32([0.05, -0.04, 0.0]), 0, 1), it.mask, it.matrix,
            polygon=it.polygon, visible=visible, settings=options, state=state,
        )  # fmt: skip

    def in_frame(self, crop):
        shape = self.SCENE.frame.shape[:2]
        return cv2.warpAffine(crop, self.SCENE.matrix, shape[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)

    def test_what_covers_the_face_stays_and_nothing_else_changes(self):
        """A green ball across the chin: it is bit-identical, and no green bleeds into the face beside it."""
        ball = disc((128, 128), (64, 108), 16).astype(np.float32) / 255
        alpha = self.in_frame(ball)[..., None]
        frame = np.round(self.SCENE.frame * (1 - alpha) + np.array([20, 200, 40]) * alpha).astype(np.uint8)
        visible = 1 - cv2.GaussianBlur(ball, (3, 3), 0)
        with_it = self.swap(frame, visible)
        inside = cv2.erode((alpha[..., 0] > 0.99).astype(np.uint8), np.ones((9, 9))) > 0
        np.testing.assert_array_equal(with_it.image[inside], frame[inside])
        beside = (self.in_frame(self.SCENE.mask) > 0.9) & (cv2.dilate(alpha[..., 0], np.ones((15, 15))) == 0)
        clean = self.swap(self.SCENE.frame, None).image.astype(np.float64)
        bled = np.abs(with_it.image - clean)[beside].mean()
        blind = np.abs(self.swap(frame, None).image - clean)[beside].mean()
        assert bled < 1.5
        assert bled < blind

    def test_all_visible_is_as_without(self):
        every = self.swap(self.SCENE.frame, np.ones((128, 128), np.float32))
        np.testing.assert_array_equal(every.image, self.swap(self.SCENE.frame, None).image)

    def test_none_visible_leaves_the_frame(self):
        none = self.swap(self.SCENE.frame, np.zeros((128, 128), np.float32))
        np.testing.assert_array_equal(none.image, self.SCENE.frame)

    def test_wrong_shape_is_refused(self):
        with pytest.raises(ValueError, match="visible"):
            self.swap(self.SCENE.frame, np.zeros((64, 64), np.float32))

    def test_what_appears_covers_at_once_and_fades_when_gone(self):
        state = BlendState(dataclasses.replace(BEST.temporal, mask=2.0))
        clear, closed = np.ones((8, 8), np.float32), np.zeros((8, 8), np.float32)
        assert state.visible(clear).min() == 1
        assert state.visible(closed).max() == 0
        back = [float(state.visible(clear).max()) for _ in range(6)]
        assert back == sorted(back)
        assert 0 < back[0] < 0.9 < back[-1]


class TestSides:
    @pytest.mark.parametrize(("side", "moved"), [(0, "top"), (1, "right"), (2, "bottom"), (3, "left")])
    def test_only_that_side_is_drawn_in(self, side, moved):
        it = scene(angle=0.0)
        none = dataclasses.replace(BEST, mask=dataclasses.replace(BEST.mask, shape="hull", feather=0, cover=0))
        sides = [0.0, 0.0, 0.0, 0.0]
        sides[side] = 0.1
        some = dataclasses.replace(none, mask=dataclasses.replace(none.mask, sides=tuple(sides)))
        edges = []
        for options in (none, some):
            result = compose(it.frame, it.face, it.mask, it.matrix, polygon=it.polygon, settings=options)
            rows, columns = np.nonzero(result.full_alpha() > 0.5)
            edges.append({"top": rows.min(), "right": columns.max(), "bottom": rows.max(), "left": columns.min()})
        area = np.sqrt((result.full_alpha() > 0.5).sum())
        for name in edges[0]:
            gap = abs(int(edges[1][name]) - int(edges[0][name]))
            assert (0.06 * area < gap < 0.14 * area) if name == moved else gap <= 3
