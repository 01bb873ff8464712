from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

import blending.hair as module
from blending import BEST, BlendState, compose
from blending.hair import SIDE, bared, hair, widened
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
        inside = np.zeros((SIDE, SIDE), np.uint8)
        cv2.fillConvexPoly(inside, OUTLINE.round().astype(np.int32), (1,))
        found, true = (hair(drawn(lock), OUTLINE, BROWS) > 0.5) & (inside > 0), truth()
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


NARROW = CENTER + 0.8 * AXES * np.stack([np.cos(TURN), np.sin(TURN)], axis=1)
HIGH = [np.array([[17, 15], [28, 13], [28, 16], [17, 18]]), np.array([[36, 13], [47, 15], [47, 18], [36, 16]])]


class TestBrought:
    """A face narrower than the target's outline, whose brows lie higher and run into the hair beside them."""

    def face(self) -> np.ndarray:
        def narrow(image):
            image[:] = DARK
            cv2.fillConvexPoly(image, NARROW.round().astype(np.int32), tuple(map(float, SKIN)))
            for brow in HIGH:
                cv2.fillConvexPoly(image, brow.astype(np.int32), (0.15, 0.1, 0.08))
            for x in (24, 40):
                cv2.ellipse(image, (x, 30), (3, 2), 0, 0, 360, (0.1, 0.1, 0.1), -1)

        return drawn(narrow)

    def regions(self) -> tuple[np.ndarray, np.ndarray]:
        """Hair between both outlines, from below the brows to the cheeks, and the inner halves of the brows."""
        wide, own, brows = (np.zeros((SIDE, SIDE), np.uint8) for _ in range(3))
        cv2.fillConvexPoly(wide, (CENTER + 0.97 * (OUTLINE - CENTER)).round().astype(np.int32), (1,))
        cv2.fillConvexPoly(own, NARROW.round().astype(np.int32), (1,))
        for brow in HIGH:
            cv2.fillConvexPoly(brows, brow.astype(np.int32), (1,))
        brows[:, :23] = brows[:, 42:] = 0
        beside = (wide > 0) & (cv2.dilate(own, np.ones((3, 3), np.uint8)) == 0)
        beside[:21] = beside[31:] = False
        return beside, brows > 0

    def test_hair_beside_it_is_found_and_its_brows_are_not(self):
        beside, brows = self.regions()
        found = module.brought(self.face(), module.FaceShape(NARROW, HIGH))
        assert found[beside].mean() > 0.9
        assert found[brows].max() == 0

    def test_the_targets_brows_would_not_have_saved_them(self):
        assert hair(self.face(), OUTLINE, BROWS, cheeks=True)[self.regions()[1]].mean() > 0.3

    def test_a_face_of_the_targets_shape_brings_nothing(self):
        inside = np.zeros((SIDE, SIDE), np.uint8)
        cv2.fillConvexPoly(inside, (CENTER + 0.85 * (OUTLINE - CENTER)).round().astype(np.int32), (1,))
        assert module.brought(drawn(), module.FaceShape(OUTLINE, BROWS))[inside > 0].max() < 0.05

    @pytest.mark.parametrize("chin", [SKIN, DARK], ids=["shaven", "bearded"])
    def test_hair_beside_the_lower_cheeks_is_found_and_a_beard_there_is_not(self, chin):
        def draw(image):
            image[:] = DARK if chin is SKIN else 0.9
            cv2.fillConvexPoly(image, OUTLINE.round().astype(np.int32), tuple(map(float, DARK)))
            cv2.fillConvexPoly(image, NARROW.round().astype(np.int32), tuple(map(float, SKIN)))
            cv2.fillConvexPoly(image, np.array([[12, 46], [52, 46], [32, 60]]), tuple(map(float, chin)))

        wide, own = (np.zeros((SIDE, SIDE), np.uint8) for _ in range(2))
        cv2.fillConvexPoly(wide, (CENTER + 0.97 * (OUTLINE - CENTER)).round().astype(np.int32), (1,))
        cv2.fillConvexPoly(own, NARROW.round().astype(np.int32), (1,))
        beside = (wide > 0) & (cv2.dilate(own, np.ones((3, 3), np.uint8)) == 0)
        beside[:44] = beside[50:] = False
        found = module.brought(drawn(draw), module.FaceShape(NARROW, HIGH))[beside].mean()
        assert found > 0.9 if chin is SKIN else found < 0.05

    @pytest.mark.parametrize("wall", [True, False], ids=["wall", "shine"])
    def test_a_bright_wall_that_comes_along_is_found_and_a_shine_on_the_cheek_is_not(self, wall):
        shrunk = CENTER + 0.94 * (NARROW - CENTER)

        def draw(image):
            image[:] = (0.98, 0.94, 0.9) if wall else SKIN
            cv2.fillConvexPoly(image, shrunk.round().astype(np.int32), tuple(map(float, SKIN)))
            if not wall:
                for x in (NARROW[:, 0].min() + 4, NARROW[:, 0].max() - 4):
                    cv2.ellipse(image, (round(x), 38), (2, 4), 0, 0, 360, (0.98, 0.94, 0.9), -1)

        own, drawn_there = (np.zeros((SIDE, SIDE), np.uint8) for _ in range(2))
        cv2.fillConvexPoly(own, NARROW.round().astype(np.int32), (1,))
        cv2.fillConvexPoly(drawn_there, shrunk.round().astype(np.int32), (1,))
        between = (own > 0) & (drawn_there == 0)
        between[:28] = between[46:] = False
        found = module.brought(drawn(draw), module.FaceShape(NARROW, HIGH))
        assert found[between].mean() > 0.9 if wall else found[own > 0].max() < 0.05
        middle = cv2.erode(own, np.ones((15, 15), np.uint8)) > 0
        assert found[middle].max() == 0

    def test_a_shape_in_the_pixels_of_a_larger_crop(self):
        double = module.FaceShape(NARROW, HIGH).scaled(2).scaled(0.5)
        np.testing.assert_allclose(double.outline, NARROW)
        np.testing.assert_allclose(double.brows[0], HIGH[0])

    @pytest.mark.parametrize("known", [True, False], ids=["own", "targets"])
    def test_composed(self, known):
        size = SIDE * 4
        frame = (np.clip(cv2.resize(drawn(), (size, size)), 0, 1) * 255).astype(np.uint8)
        face = cv2.resize(self.face(), (128, 128))
        shape = module.FaceShape(NARROW, HIGH).scaled(2) if known else None
        result = compose(
            frame, face, None, np.array([[0.5, 0, 0], [0, 0.5, 0]]), polygon=OUTLINE * 4,
            cover=[part * 4 for part in BROWS], shape=shape,
        )  # fmt: skip
        small = cv2.resize(result.image, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).mean(axis=2)
        brows = self.regions()[1]
        darker = np.median(small[20:24, 24:40]) - small[brows].mean()
        assert (darker > 40) == known


class TestBared:
    def test_hair_is_painted_over_with_the_skin_beside(self):
        covered, bare = drawn(lock), drawn()
        face = bared(cv2.resize(covered, (128, 128)), widened(hair(covered, OUTLINE, BROWS)), OUTLINE)
        where = cv2.resize((truth()).astype(np.uint8), (128, 128), interpolation=cv2.INTER_NEAREST) > 0
        before = np.abs(cv2.resize(covered, (128, 128)) - cv2.resize(bare, (128, 128)))[where].mean()
        after = np.abs(face - cv2.resize(bare, (128, 128)))[where].mean()
        assert after < 0.25 * before

    def test_what_is_painted_is_skin_beside_a_brow_too(self):
        face = drawn()
        found = np.zeros((SIDE, SIDE), np.float32)
        found[18:32, 48:53] = 1  # right behind the end of a brow, which is dark but no hair
        painted = bared(face, found, OUTLINE)[19:31, 49:52]
        assert np.abs(painted - SKIN).mean() < 0.06

    def test_a_face_without_hair_is_the_same_picture(self):
        face = drawn()
        assert bared(face, np.zeros((SIDE, SIDE), np.float32), OUTLINE) is face


class TestCompose:
    ZOOM = 4

    def blended(self, strength: float = 1.0, face: np.ndarray | None = None, enhance=None):
        size = SIDE * self.ZOOM
        frame = (np.clip(cv2.resize(drawn(lock), (size, size)), 0, 1) * 255).astype(np.uint8)
        face = cv2.resize(drawn(skin=np.float32([0.7, 0.5, 0.45])), (128, 128)) if face is None else face
        matrix = np.array([[128 / size, 0, 0], [0, 128 / size, 0]])
        settings = dataclasses.replace(BEST, mask=dataclasses.replace(BEST.mask, hair=strength))
        result = compose(
            frame, face, None, matrix, polygon=OUTLINE * self.ZOOM, cover=[part * self.ZOOM for part in BROWS],
            settings=settings, enhance=enhance,
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

    @pytest.mark.parametrize(("column", "theirs"), [(10, True), (14, False)], ids=["where both", "right beside"])
    def test_where_both_have_hair_the_targets_is_seen_and_none_of_the_new_faces_beside_it(self, column, theirs):
        size = SIDE * self.ZOOM
        brown = np.float32([0.3, 0.2, 0.12])

        def beside(image, right, color):
            cv2.rectangle(image, (6, 8), (right, 38), tuple(map(float, color)), -1)

        face = cv2.resize(drawn(lambda image: beside(image, 15, DARK)), (128, 128))
        picture = drawn(lambda image: beside(image, 12, brown), around=brown)
        frame = (np.clip(cv2.resize(picture, (size, size)), 0, 1) * 255).astype(np.uint8)
        matrix = np.array([[128 / size, 0, 0], [0, 128 / size, 0]])
        brows = [part * self.ZOOM for part in BROWS]
        out = compose(frame, face, None, matrix, polygon=OUTLINE * self.ZOOM, cover=brows, settings=BEST).image
        around = np.s_[29 * self.ZOOM : 35 * self.ZOOM, column * self.ZOOM : (column + 2) * self.ZOOM]
        wanted = frame[around].mean() if theirs else 255 * SKIN.mean()
        assert abs(out[around].mean() - wanted) < 20

    def test_between_the_outline_and_where_the_swap_ends_too(self):
        """The swap reaches a little beyond the outline; a lock must not be cut there."""
        frame, result, _ = self.blended()
        size = SIDE * self.ZOOM
        blank = np.zeros((size, size), np.uint8)
        rims = [cv2.fillPoly(blank.copy(), [(self.ZOOM * (CENTER + grown * (OUTLINE - CENTER))).astype(np.int32)], 1)
                for grown in (1.0, 1.06)]  # fmt: skip
        middle = np.zeros((size, size), bool)
        middle[:, 38 * self.ZOOM : 47 * self.ZOOM] = True
        rim = (rims[1] > rims[0]) & middle & (np.mgrid[:size, :size][0] < 20 * self.ZOOM)
        assert rim.sum() > 50
        assert np.abs(result.image[rim].astype(int) - frame[rim]).max() <= 2

    def test_half_the_strength_is_between(self):
        def beside(image):
            cv2.rectangle(image, (8, 10), (14, 36), tuple(map(float, DARK)), -1)

        face = cv2.resize(drawn(beside), (128, 128))
        found = widened(hair(drawn(beside), OUTLINE, BROWS, cheeks=True))
        none, half, full = (bared(face, found, OUTLINE, strength) for strength in (0.0, 0.5, 1.0))
        np.testing.assert_allclose(none, face, atol=1e-4)
        np.testing.assert_allclose(half, (none + full) / 2, atol=1e-4)
        assert np.abs(full - face).max() > 0.2

    def test_with_an_upscaler(self):
        def twice(face):
            return cv2.resize(face, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)

        frame, result, deep = self.blended(enhance=twice)
        np.testing.assert_array_equal(result.image[deep], frame[deep])


class TestTrack:
    """Hair is looked for in every third frame and filtered in between."""

    def run(self, frames: int, hair_until: int, every: int, monkeypatch, reset_at: int = -1):
        looks, seen = [], []
        real = module.hair
        monkeypatch.setattr(module, "hair", lambda *a, **k: looks.append(len(seen)) or real(*a, **k))
        state = BlendState(dataclasses.replace(BEST.temporal, hair=every))
        size = SIDE * 4
        face = cv2.resize(drawn(), (128, 128))
        matrix = np.array([[128 / size, 0, 0], [0, 128 / size, 0]])
        for k in range(frames):
            if k == reset_at:
                state.reset()
            picture = drawn(lock) if k < hair_until else drawn()
            frame = (np.clip(cv2.resize(picture, (size, size)), 0, 1) * 255).astype(np.uint8)
            brows = [part * 4 for part in BROWS]
            result = compose(frame, face, None, matrix, polygon=OUTLINE * 4, cover=brows, state=state)
            inside = cv2.resize(truth().astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST) > 0
            seen.append(float(result.full_alpha()[inside].mean()))
        return sorted(set(looks)), seen

    def test_every_third_frame(self, monkeypatch):
        assert self.run(8, 8, 3, monkeypatch)[0] == [0, 3, 6]

    def test_without_a_filter_every_frame(self, monkeypatch):
        looks, seen = self.run(4, 2, 0, monkeypatch)
        assert looks == [0, 1, 2, 3]
        assert seen[2] > seen[1] + 0.2

    def test_it_goes_slowly(self, monkeypatch):
        seen = self.run(12, 3, 3, monkeypatch)[1]
        assert seen[0] == pytest.approx(seen[2], abs=0.02)
        assert seen[0] < seen[4] < seen[11]

    def test_a_cut_looks_at_once(self, monkeypatch):
        looks, seen = self.run(6, 4, 3, monkeypatch, reset_at=4)
        assert 4 in looks
        assert seen[4] > seen[3] + 0.2
