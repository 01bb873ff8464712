from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy import ndimage

from blending import mask
from tests.blending.scenes import disc, smooth_noise


def test_hull_covers_its_points_with_sub_pixel_area() -> None:
    corners = np.array([[10.25, 12.5], [60.75, 14.0], [55.5, 50.25], [12.0, 45.5], [30.0, 30.0]], np.float32)
    hull = mask.hull_mask(corners, (64, 80))
    x, y = cv2.convexHull(corners).reshape(-1, 2).T
    area = 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    perimeter = np.hypot(x - np.roll(x, 1), y - np.roll(y, 1)).sum()
    assert area <= hull.sum() <= area + perimeter  # OpenCV draws the edge pixels too
    assert hull[30, 30] == 1
    assert hull[0, 0] == 0


def test_hull_follows_its_offset() -> None:
    points = np.array([[10, 10], [50, 12], [30, 40]], np.float32)
    whole = mask.hull_mask(points, (60, 70))
    np.testing.assert_array_equal(mask.hull_mask(points, (40, 50), offset=(7, 5)), whole[5:45, 7:57])


@pytest.mark.parametrize("points", [np.zeros((0, 2)), np.ones((2, 2)), np.full((5, 2), np.nan)])
def test_hull_of_nothing_is_empty(points: np.ndarray) -> None:
    assert mask.hull_mask(points, (10, 12)).sum() == 0


def test_hull_may_lie_partly_or_wholly_outside() -> None:
    square = np.array([[0, 0], [20, 0], [20, 20], [0, 20]], np.float32)
    assert mask.hull_mask(square - 10, (30, 30))[:9, :9].min() == 1
    assert mask.hull_mask(square + 5000, (30, 30)).sum() == 0


def test_forehead_moves_up_and_nothing_else_moves() -> None:
    points = np.array([[0, 0], [10, 5], [10, 60], [0, 100]], np.float32)
    raised = mask.extend_forehead(points, 0.25)
    np.testing.assert_allclose(raised[0], [0, -25])
    np.testing.assert_array_equal(raised[2:], points[2:])
    assert raised[1, 1] < points[1, 1]
    # The same in a picture that lies on its side.
    turned = points[:, ::-1]
    np.testing.assert_allclose(mask.extend_forehead(turned, 0.25, up=np.array([-2.0, 0])), raised[:, ::-1], atol=1e-5)


def test_combinations() -> None:
    a, b = np.float32([[0.2, 0.9]]), np.float32([[0.5, 0.5]])
    np.testing.assert_allclose(mask.combine([a, b], "product"), [[0.1, 0.45]])
    np.testing.assert_allclose(mask.combine([a, b], "minimum"), [[0.2, 0.5]])
    np.testing.assert_allclose(mask.combine([a, b], "union"), [[0.5, 0.9]])
    with pytest.raises(ValueError, match="known"):
        mask.combine([a, b], "difference")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nothing"):
        mask.combine([])


def test_softened_disc_has_the_widths_asked_for() -> None:
    inside = disc((200, 220), (110, 100), 80).astype(np.float32) / 255
    size = mask.face_size(inside)
    assert size == pytest.approx(np.sqrt(np.pi) * 80, rel=0.01)
    soft = mask.soften(inside, erosion=0.05, feather=0.15)
    depth = ndimage.distance_transform_edt(inside > 0)
    assert soft[depth < 0.05 * size - 1].max() == 0
    assert soft[depth > 0.20 * size + 1.5].min() == 1
    middle = np.abs(depth - 0.5 - 0.125 * size) < 0.6
    np.testing.assert_allclose(soft[middle], 0.5, atol=0.06)


def test_soften_is_the_same_at_twice_the_resolution() -> None:
    small = disc((100, 100), (49.5, 49.5), 40).astype(np.float32) / 255
    large = disc((200, 200), (99.5, 99.5), 80).astype(np.float32) / 255
    a = mask.soften(small, erosion=0.03, feather=0.2)
    b = cv2.resize(mask.soften(large, erosion=0.03, feather=0.2), (100, 100), interpolation=cv2.INTER_AREA)
    assert np.abs(a - b).max() < 0.08
    assert np.abs(a - b).mean() < 0.01


def test_soften_never_reaches_outside_and_spares_the_frames_border() -> None:
    inside = disc((100, 100), (0, 50), 40).astype(np.float32) / 255
    soft = mask.soften(inside, erosion=0.02, feather=0.1)
    assert soft[inside <= 0.5].max() == 0
    assert soft[50, 0] == 1  # cut off by the frame: not an edge of the face
    np.testing.assert_array_equal(mask.soften(np.ones((9, 9), np.float32), erosion=0.1, feather=0.1), 1)
    np.testing.assert_array_equal(mask.soften(np.zeros((9, 9), np.float32), erosion=0.1, feather=0.1), 0)


def test_guided_filter_agrees_with_opencv_contrib() -> None:
    ximgproc = pytest.importorskip("cv2.ximgproc")
    guide = smooth_noise(3, (80, 90))[..., 0].copy()
    rough = disc((80, 90), (45, 40), 25, wobble=0.2).astype(np.float32) / 255
    expected = ximgproc.guidedFilter(guide, rough, 6, 1e-2)
    np.testing.assert_allclose(mask.guided_filter(guide, rough, radius=6, epsilon=1e-2), expected, atol=2e-4)


def test_guided_filter_on_a_grid_is_nearly_the_same() -> None:
    guide = smooth_noise(1, (120, 150))[..., 0]
    rough = (smooth_noise(2, (120, 150))[..., 1] > 0.5).astype(np.float32)
    fine, coarse = (mask.guided_filter(guide, rough, radius=6, epsilon=1e-2, grid=grid) for grid in (1, 2))
    assert 0 < np.abs(fine - coarse).mean() < 0.02


def test_guided_filter_agrees_with_its_definition() -> None:
    """Every window by itself: the best line through its pixels, then the mean of all lines a pixel lies under."""
    guide = smooth_noise(3, (14, 17), scale=1.5)[..., 0].astype(np.float64)
    rough = disc((14, 17), (8, 7), 4, wobble=0.2).astype(np.float64) / 255
    radius, epsilon = 2, 1e-2
    padded = [np.pad(picture, radius, mode="symmetric") for picture in (guide, rough)]
    lines = np.zeros((2, *guide.shape))
    for y, x in np.ndindex(guide.shape):
        g, m = (picture[y : y + 2 * radius + 1, x : x + 2 * radius + 1].ravel() for picture in padded)
        slope = np.cov(g, m, bias=True)[0, 1] / (g.var() + epsilon)
        lines[:, y, x] = slope, m.mean() - slope * g.mean()
    around = np.pad(lines, [(0, 0), (radius, radius), (radius, radius)], mode="symmetric")
    expected = np.zeros_like(guide)
    for y, x in np.ndindex(guide.shape):
        slope, level = around[:, y : y + 2 * radius + 1, x : x + 2 * radius + 1].mean(axis=(1, 2))
        expected[y, x] = slope * guide[y, x] + level
    found = mask.guided_filter(guide.astype(np.float32), rough.astype(np.float32), radius=radius, epsilon=epsilon)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_refined_edge_moves_to_the_pictures_edge() -> None:
    """A mask that overlaps dark hair by a few pixels lets go of it."""
    image = np.full((120, 120, 3), 0.7, np.float32)
    image[:30] = 0.1
    truth = np.zeros((120, 120), np.float32)
    truth[30:100, 20:100] = 1
    rough = np.zeros((120, 120), np.float32)
    rough[24:100, 20:100] = 1
    rough = mask.soften(rough, erosion=0, feather=0.02)
    refined = mask.refine(rough, image, radius=0.1, epsilon=1e-3)
    band = (slice(22, 38), slice(40, 80))
    assert np.abs(refined - truth)[band].mean() < 0.7 * np.abs(rough - truth)[band].mean()
    assert refined[rough == 0].max() == 0
    assert refined.min() >= 0
    assert refined.max() <= 1


def test_covered_parts_are_full_with_their_margin() -> None:
    brow = np.array([[30, 40], [60, 36], [60, 42]], np.float32)
    covered = mask.cover([brow, brow + [40, 0]], (90, 130), margin=4, offset=(0, 0))
    part = mask.hull_mask(brow, (90, 130)) > 0
    distance = ndimage.distance_transform_edt(~part)
    near = distance[:, :75] <= 4
    assert covered[:, :75][near].min() > 0.97  # an anti-aliased hull
    assert covered[38, 95] == 1  # the other part
    assert covered[:, :45][distance[:, :45] > 16].max() == 0
    assert mask.cover([], (9, 9), margin=2, offset=(0, 0)).max() == 0
