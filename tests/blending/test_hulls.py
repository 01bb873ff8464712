from __future__ import annotations

import cv2
import numpy as np
import pytest

from blending.hulls import KINDS, face_hull, parts, polygons
from tests.blending.scenes import schematic_face

FACE = schematic_face(200)
SHAPE = (200, 200)


def _area(kind: str, *, forehead: bool = True) -> float:
    return float(face_hull(FACE, SHAPE, kind, forehead=forehead).sum())


def test_both_annotations_give_the_same_parts() -> None:
    """The 478 points carry the 68 points' schematic face at the places that stand for them."""
    many = schematic_face(200, points=478)
    for name, points in parts(FACE).items():
        if name not in ("forehead", "mouth", "jaw"):
            np.testing.assert_array_equal(parts(many)[name], points)
    assert len(parts(many)["forehead"]) == 13
    assert len(parts(FACE)["forehead"]) == 0
    for kind in KINDS:
        ours, theirs = (face_hull(points, SHAPE, kind, forehead=False) for points in (many, FACE))
        assert np.abs(ours - theirs).sum() < 0.03 * theirs.sum()


_HALVES = [
    [*range(9), 17], [*range(8, 17), 26], [17, 18, 19, 8], [24, 25, 26, 8], [*range(19, 25), 8],
    [*range(17, 22), 27, *range(31, 36), 8], [*range(22, 27), 27, *range(31, 36), 8], [*range(27, 36)],
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "groups"),
    [
        ("facehull", [range(68)]),
        ("components", _HALVES),
        ("dfl_full", [[*range(17), *range(48, 68)], [*range(27, 31), 33], [*range(17, 27), 0, 27, 16, 33]]),
    ],
)
def test_kinds_join_the_points_that_the_68_point_masks_join(kind: str, groups: list[list[int]]) -> None:
    numbered = np.column_stack([np.arange(68), np.zeros(68)])
    found = [sorted(int(x) for x in polygon[:, 0]) for polygon in polygons(numbered, kind)]
    assert sorted(found) == sorted(sorted(group) for group in groups)


def test_extended_raises_each_brow_point_by_half_its_height_over_the_lid() -> None:
    """Below the brows' outer ends lies a point a quarter of the way from the eye's corner to the jaw's end."""
    points = FACE.astype(np.float64)
    lids = [0.75 * points[36] + 0.25 * points[0], *points[36:40], *points[42:46], 0.75 * points[45] + 0.25 * points[16]]
    raised = FACE.copy()
    raised[17:27] = points[17:27] + (points[17:27] - lids) / 2
    for found, expected in zip(polygons(FACE, "extended"), polygons(raised, "components"), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_is_the_union_of_its_polygons_hulls(kind: str) -> None:
    expected = np.zeros(SHAPE, bool)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for polygon in polygons(FACE, kind):
        outline = cv2.convexHull(polygon.astype(np.float32))
        inside = [cv2.pointPolygonTest(outline, (float(x), float(y)), True) for x, y in zip(columns.ravel(),
                  rows.ravel(), strict=True)]  # fmt: skip
        expected |= np.reshape(inside, SHAPE) > 1
    mask = face_hull(FACE, SHAPE, kind)
    assert mask.dtype == np.float32
    assert mask.min() == 0
    assert mask.max() == 1
    assert (mask[expected] == 1).all()
    assert mask.sum() < expected.sum() * 1.15  # nothing but the edge besides


def test_extended_reaches_higher_than_components_and_lies_no_lower() -> None:
    brow = int(parts(FACE)["right_brow"][:, 1].min())
    eye = float(parts(FACE)["right_eye"][1, 1])
    top = {kind: np.flatnonzero(face_hull(FACE, SHAPE, kind).max(1) > 0.5)[0] for kind in ("components", "extended")}
    assert abs(top["components"] - brow) <= 1
    assert top["components"] - top["extended"] == pytest.approx((eye - brow) / 2, abs=2)
    lower = slice(int(eye), None)
    np.testing.assert_array_equal(
        face_hull(FACE, SHAPE, "extended")[lower] >= face_hull(FACE, SHAPE, "components")[lower] - 0.1, True
    )


def test_facehull_holds_every_other_kind_and_the_forehead_is_its_alone() -> None:
    many = schematic_face(200, points=478)
    whole = face_hull(many, SHAPE, "facehull")
    for kind in ("dfl_full", "components"):
        mask = face_hull(many, SHAPE, kind)
        assert (whole >= mask - 0.5).all()
        np.testing.assert_array_equal(mask, face_hull(many, SHAPE, kind, forehead=False))
    assert whole.sum() > 1.1 * face_hull(many, SHAPE, "facehull", forehead=False).sum()
    assert _area("facehull") == _area("facehull", forehead=False)  # 68 points have none


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("points", [68, 478])
def test_a_mirrored_face_has_the_mirrored_mask(kind: str, points: int) -> None:
    face = schematic_face(200, points=points)
    face[:, 0] += 0.1 * face[:, 1]  # not symmetric itself
    mirrored = face * (-1, 1) + (199, 0)
    ours, theirs = face_hull(face, SHAPE, kind), face_hull(mirrored, SHAPE, kind)[:, ::-1]
    assert np.abs(ours - theirs).max() < 0.2  # the anti-aliased edge leans a little


def test_a_mask_follows_its_offset_and_depth_is_not_looked_at() -> None:
    deep = np.column_stack([FACE, np.arange(len(FACE))])
    whole = face_hull(deep, SHAPE, "dfl_full")
    moved = face_hull(FACE, (120, 100), "dfl_full", offset=(30, 20))
    np.testing.assert_allclose(moved, whole[20:140, 30:130], atol=0.2)  # OpenCV's edge where the picture cuts it off
    assert np.count_nonzero(moved != whole[20:140, 30:130]) < 10


def test_unknown_kinds_and_other_landmarks_are_refused() -> None:
    with pytest.raises(ValueError, match="known"):
        polygons(FACE, "oval")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="70"):
        face_hull(np.zeros((70, 2)), SHAPE, "facehull")
