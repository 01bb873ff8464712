"""The making of self-blended pictures, step by step."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest

from blending.hulls import KINDS, face_hull
from stress.training.recipes import colour_changes as colour
from stress.training.recipes.self_blending import (
    MODES,
    RATIOS,
    Surroundings,
    blend,
    blend_mask,
    common_changes,
    elastic,
    jitter,
    placed,
    self_blend,
    source_changes,
)
from tests.blending.scenes import schematic_face
from tests.stress.synthetic import crops

SIZE = 96
FACE = schematic_face(SIZE)
IMAGE = crops(1, artefact=0, size=SIZE)[0].images[0]


def _draws(count: int, mode: str = "corrected"):
    return [self_blend(IMAGE, FACE, np.random.default_rng(seed), mode) for seed in range(count)]


@pytest.mark.parametrize("mode", MODES)
def test_the_blend_is_the_mask_times_the_source_and_the_rest_of_the_target(mode):
    for made in _draws(20, mode):
        share = made.mask[..., None].astype(np.float64)
        exact = share * made.source + (1 - share) * made.target
        off = made.fake - exact
        if mode == "corrected":
            assert np.abs(off).max() <= 0.5 + 1e-4
        else:  # cut off to whole levels
            assert off.max() <= 1e-4
            assert off.min() > -1 - 1e-4
        assert made.fake.dtype == made.target.dtype == made.source.dtype == np.uint8


@pytest.mark.parametrize("mode", MODES)
def test_masks_lie_in_0_to_1_and_outside_them_nothing_changes(mode):
    for made in _draws(40, mode):
        assert made.mask.shape == (SIZE, SIZE)
        assert made.mask.dtype == np.float32
        assert made.mask.min() == 0
        assert 0.2 < made.mask.max() <= 1
        untouched = made.mask == 0
        assert untouched.mean() > 0.2
        np.testing.assert_array_equal(made.fake[untouched], made.target[untouched])


def test_one_of_the_two_copies_is_the_picture_itself_and_each_has_its_turn():
    changed_source = []
    for made in _draws(60):
        if np.array_equal(made.target, IMAGE):
            changed_source.append(True)
            assert not np.array_equal(made.source, IMAGE)
        else:
            changed_source.append(False)
    assert 0.3 < np.mean(changed_source) < 0.7


def test_blending_ratios_are_those_published_in_their_shares(monkeypatch):
    monkeypatch.setattr("stress.training.recipes.self_blending.blend_mask", lambda hull, generator: np.ones_like(hull))
    found = Counter(float(made.mask.max()) for made in _draws(300))
    expected = Counter(RATIOS)
    assert found.keys() == expected.keys() == {0.25, 0.5, 0.75, 1.0}
    for ratio, times in expected.items():
        share = times / len(RATIOS)
        assert found[ratio] / 300 == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 300))


def test_the_same_seed_makes_the_same_picture_and_another_another():
    first, again = (self_blend(IMAGE, FACE, np.random.default_rng(3), "corrected") for _ in range(2))
    np.testing.assert_array_equal(first.fake, again.fake)
    np.testing.assert_array_equal(first.mask, again.mask)
    assert not np.array_equal(first.fake, self_blend(IMAGE, FACE, np.random.default_rng(4), "corrected").fake)


def test_all_four_hulls_are_used_alike_and_three_in_four_have_a_forehead(monkeypatch):
    asked = Counter()

    def note(landmarks, shape, kind, *, forehead, offset):
        asked[kind] += 1
        asked[forehead] += 1
        return face_hull(landmarks, shape, kind, forehead=forehead, offset=offset)

    monkeypatch.setattr("stress.training.recipes.self_blending.face_hull", note)
    _draws(300)
    assert all(45 < asked[kind] < 105 for kind in KINDS)
    assert 0.65 < asked[True] / 300 < 0.85


def test_surroundings_are_those_that_are_cut_out_before_blending():
    square = np.tile([[100, 50], [180, 50], [180, 150], [100, 150]], (17, 1)).astype(np.float32)  # 80 x 100
    found = Surroundings.of(square)
    assert (found.left, found.top, found.width, found.height) == (60, -50, 160, 240)


def test_jitter_stays_within_its_bounds_about_the_middle():
    around = Surroundings(left=-10, top=20, width=201, height=101)
    middle = np.array([90, 70])
    matrices = np.stack([jitter(around, np.random.default_rng(seed)) for seed in range(400)])
    scales = matrices[:, [0, 1], [0, 1]]
    shifts = matrices @ (*middle, 1) - middle
    assert (matrices[:, [0, 1], [1, 0]] == 0).all()
    for values, low, high in (
        (scales[:, 0], 0.95, 1 / 0.95),
        (scales[:, 1], 0.95, 1 / 0.95),
        (shifts[:, 0], -0.03 * 201, 0.03 * 201),
        (shifts[:, 1], -0.015 * 101, 0.015 * 101),
    ):
        assert low <= values.min() < low + 0.03 * (high - low)
        assert high >= values.max() > high - 0.03 * (high - low)


def test_source_and_hull_move_together(monkeypatch):
    """A picture that is bright in the hull and nowhere else stays so: the mask is the source's brightness."""
    monkeypatch.setattr("stress.training.recipes.self_blending.source_changes", lambda generator, mode: [])
    monkeypatch.setattr("stress.training.recipes.self_blending.elastic", lambda mask, generator: mask)
    monkeypatch.setattr("stress.training.recipes.self_blending.blend_mask", lambda hull, generator: hull)
    monkeypatch.setattr("stress.training.recipes.self_blending.RATIOS", (1.0,))
    for seed, kind in enumerate(KINDS):
        monkeypatch.setattr("stress.training.recipes.self_blending.KINDS", (kind,))
        hull = face_hull(FACE, (SIZE, SIZE), kind)
        image = np.repeat((255 * hull).astype(np.uint8)[..., None], 3, axis=2)
        made = self_blend(image, FACE, np.random.default_rng(seed), "corrected")
        assert not np.array_equal(made.source, image)
        assert np.abs(made.source[..., 0] / 255 - made.mask).mean() < 0.002


def test_the_elastic_field_has_the_published_strength():
    """A ramp shows the displacement: 50 times uniform noise (variance 1/3), blurred with a sigma of 7 px."""
    ramp = np.tile(np.arange(400, dtype=np.float32), (400, 1))
    moved = np.stack([elastic(ramp, np.random.default_rng(seed)) - ramp for seed in range(5)])[:, 40:-40, 40:-40]
    expected = 50 / np.sqrt(3) / (2 * np.sqrt(np.pi) * 7)
    assert moved.std() == pytest.approx(expected, rel=0.1)
    assert abs(moved.mean()) < 0.3


def test_a_blend_mask_is_soft_lies_in_the_middle_and_is_drawn_in_before_it_is_blurred():
    hull = np.zeros((300, 240), np.float32)
    hull[100:200, 80:160] = 1
    for seed in range(30):
        mask = blend_mask(hull, np.random.default_rng(seed))
        assert mask.shape == hull.shape
        assert mask.min() == 0
        assert mask.max() == pytest.approx(1, abs=1e-5)
        assert mask[149, 119] == pytest.approx(1, abs=0.01)
        # Drawn in by half the first window and blurred by half the second: at most 12 px of 192 outside
        assert mask[: 100 - 19].max() < 1e-6
        assert ((mask > 0.01) & (mask < 0.99)).mean() > 0.01
        np.testing.assert_allclose(mask, mask[:, ::-1], atol=0.05)


def test_erosion_takes_half_the_first_window(monkeypatch):
    """With a sharp second blur, what is left of a wide step is the step less 12 px of a window of 25."""

    class Fixed:
        def __init__(self):
            self.answers = [np.array([256, 256]), np.array([12, 2]), 5]

        def integers(self, *_):
            return self.answers.pop(0)

    hull = np.zeros((256, 256), np.float32)
    hull[:, 100:] = 1
    mask = blend_mask(hull, Fixed())
    edge = float(np.interp(0.5, mask[128, 100:130], np.arange(100, 130)))
    assert edge == pytest.approx(99.5 + 12, abs=0.2)


def test_no_hull_gives_no_mask():
    assert blend_mask(np.zeros((40, 50), np.float32), np.random.default_rng(0)).max() == 0


@pytest.mark.parametrize(("left", "top"), [(-5, 7), (4, -3), (-50, 0), (30, 30), (100, 2)])
def test_a_mask_is_placed_where_its_surroundings_lie(left, top):
    mask = np.random.default_rng(0).random((25, 20)).astype(np.float32)
    found = placed(mask, Surroundings(left=left, top=top, width=20, height=25), (40, 32))
    expected = np.zeros((40, 32), np.float32)
    for row in range(25):
        for column in range(20):
            if 0 <= row + top < 40 and 0 <= column + left < 32:
                expected[row + top, column + left] = mask[row, column]
    np.testing.assert_array_equal(found, expected)


def test_cutting_off_darkens_a_blend_by_half_a_level_and_rounding_does_not():
    rng = np.random.default_rng(0)
    source, target = rng.integers(0, 256, (2, 64, 64, 3), np.uint8)
    mask = rng.uniform(0.1, 0.9, (64, 64)).astype(np.float32)
    exact = mask[..., None].astype(np.float64) * source + (1 - mask[..., None].astype(np.float64)) * target
    assert (blend(source, target, mask, "faithful") - exact).mean() == pytest.approx(-0.5, abs=0.02)
    assert (blend(source, target, mask, "corrected") - exact).mean() == pytest.approx(0, abs=0.02)


def test_colour_changes_against_their_formulas():
    levels = IMAGE.astype(np.float64)
    shifted = np.clip(levels + (10.5, -20, 0), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(colour.shift_rgb(IMAGE, np.array([10.5, -20, 0])), shifted)
    brighter = np.clip(levels * 1.1 - 0.2 * 255, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(colour.brightness_contrast(IMAGE, -0.2, 0.1), brighter)
    grey = np.full((9, 9, 3), 100, np.uint8)
    np.testing.assert_array_equal(colour.sharpen(grey, 0.4, 0.5), np.full((9, 9, 3), 80))  # 1 - 0.4 + 0.4 * 0.5
    coarse = colour.coarsen(IMAGE, 4)
    np.testing.assert_array_equal(
        coarse, cv2.resize(np.ascontiguousarray(IMAGE[::4, ::4]), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    )
    red = np.full((2, 2, 3), (200, 0, 0), np.uint8)
    np.testing.assert_array_equal(colour.shift_hsv(red, 60, 0, -50), np.full((2, 2, 3), (0, 150, 0)))  # 120 degrees
    np.testing.assert_array_equal(colour.shift_hsv(red, -120, 0, 0), np.full((2, 2, 3), (0, 200, 0)))
    np.testing.assert_array_equal(colour.shift_hsv(red, 0, -255, 0), np.full((2, 2, 3), 200))


def test_the_published_shift_of_hue_saturation_and_value_moves_by_one_step_at_most():
    bare = colour.shift_hsv(IMAGE, 0, 0, 0)
    for seed in range(8):
        hue, saturation, value = np.random.default_rng(seed).uniform(-0.3, 0.3, 3)
        moved = colour.shift_hsv(IMAGE, hue, saturation, value)
        lower = colour.shift_hsv(IMAGE, *(-1.0 if shift < 0 else 0.0 for shift in (hue, saturation, value)))
        np.testing.assert_array_equal(moved, lower)
        assert np.abs(moved.astype(int) - bare).mean() < 3


@pytest.mark.parametrize("mode", MODES)
def test_changes_come_with_their_probabilities(mode):
    generator = np.random.default_rng(0)
    source = [source_changes(generator, mode) for _ in range(400)]
    both = [common_changes(generator, mode) for _ in range(400)]
    names = [Counter(change.func.__name__ for change in changes) for changes in (sum(source, []), sum(both, []))]
    assert names[0]["shift_hsv"] == names[0]["brightness_contrast"] == 400
    assert names[0]["coarsen"] + names[0]["sharpen"] == 400
    jpeg = names[1]["jpeg"] + names[1]["_jpeg_of_blue"]
    common = [(names[1][name], 0.3) for name in ("shift_rgb", "shift_hsv", "brightness_contrast")]
    for count, share in ((names[0]["shift_rgb"], 0.3), (names[0]["sharpen"], 0.5), *common, (jpeg, 0.5)):
        assert count / 400 == pytest.approx(share, abs=0.1)
    changed = colour.apply(both[0] + both[1] + both[2], IMAGE)
    assert changed.shape == IMAGE.shape
    assert changed.dtype == np.uint8
