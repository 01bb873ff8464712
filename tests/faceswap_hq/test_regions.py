"""Parts of the face: MediaPipe's own lists as oracle, and shapes whose opening is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from mediapipe.python.solutions import face_mesh_connections as mesh
from skimage.draw import polygon2mask

from faceswap_hq.faces import regions
from tests.faceswap_hq.helpers import face_at, turned


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (regions.FACE_OVAL, mesh.FACEMESH_FACE_OVAL),
        (regions.RIGHT_EYE, mesh.FACEMESH_RIGHT_EYE),
        (regions.LEFT_EYE, mesh.FACEMESH_LEFT_EYE),
        (regions.RIGHT_BROW, mesh.FACEMESH_RIGHT_EYEBROW),
        (regions.LEFT_BROW, mesh.FACEMESH_LEFT_EYEBROW),
        (regions.LIPS_OUTER + regions.LIPS_INNER, mesh.FACEMESH_LIPS),
    ],
)
def test_indices_are_mediapipes(ours, theirs):
    assert len(set(ours)) == len(ours)
    assert set(ours) == {index for edge in theirs for index in edge}


@pytest.mark.parametrize("name", ["FACE_OVAL", "RIGHT_EYE", "LEFT_EYE", "LIPS_OUTER", "LIPS_INNER"])
def test_outlines_run_around(name):
    """Neighbours in the list are neighbours in MediaPipe's mesh, so the polygon does not cross itself."""
    outline = getattr(regions, name)
    edges = {frozenset(edge) for edge in mesh.FACEMESH_TESSELATION | mesh.FACEMESH_CONTOURS}
    assert all(frozenset(pair) in edges for pair in zip(outline, (*outline[1:], outline[0]), strict=True))


@pytest.mark.parametrize("points", [478, 68])
def test_polygons_of_a_face(points):
    face = face_at(100, 100, 120, 15, points)
    polygons = regions.region_polygons(face)
    assert set(polygons) == {"face", "eyes", "mouth"}
    outline = polygons["face"][0]
    for part in polygons["eyes"] + polygons["mouth"]:
        assert part.dtype == np.float32
        assert all(cv2.pointPolygonTest(outline, tuple(map(float, p)), False) > 0 for p in part)
    right, left = polygons["eyes"]
    assert right[:, 0].mean() < left[:, 0].mean()  # the person's own right is on the picture's left
    hull = cv2.contourArea(cv2.convexHull(outline))
    assert cv2.contourArea(outline) > 0.9 * hull
    np.testing.assert_array_equal(regions.oval_polygon(face), outline)


@pytest.mark.parametrize("points", [478, 68])
def test_openings_are_ratios(points):
    """They grow with the gap, are 0 when it is closed, and neither size, place nor turning matters."""
    face = face_at(0, 0, 100, 0, points)
    lids = ((159, 145, 33, 133), (386, 374, 362, 263)) if points == 478 else ((37, 41, 36, 39), (43, 47, 42, 45))
    lips = (13, 14, 78, 308) if points == 478 else (62, 66, 60, 64)
    for group, measure in ((lids, regions.eye_opening), ((lips,), regions.mouth_opening)):
        for share in (0.0, 0.25, 0.8):
            shaped = face.copy()
            for top, bottom, first, second in group:
                width = np.linalg.norm(shaped[first] - shaped[second])
                middle = (shaped[first] + shaped[second]) / 2
                shaped[top], shaped[bottom] = middle - [0, share * width / 2, 0], middle + [0, share * width / 2, 0]
            assert measure(shaped) == pytest.approx(share, abs=1e-5)
            moved = (shaped @ turned(30, 10, 50).T * 2.5 + 40).astype(np.float32)
            assert measure(moved) == pytest.approx(share, abs=1e-4)


def test_a_collapsed_face_has_no_opening_rather_than_a_division_by_zero():
    assert regions.mouth_opening(np.zeros((478, 3), np.float32)) == 0
    assert regions.eye_opening(np.zeros((68, 2), np.float32)) == 0


class TestFill:
    def hexagon(self, radius: float) -> np.ndarray:
        turn = np.linspace(0, 2 * np.pi, 6, endpoint=False) + 0.3
        return (np.stack([np.cos(turn), np.sin(turn)], 1) * radius + 50).astype(np.float32)

    def test_inside_as_scikit_image(self):
        mask = regions.fill([self.hexagon(30)], 100)
        oracle = polygon2mask((100, 100), self.hexagon(30)[:, ::-1])
        assert mask.shape == (100, 100)
        assert mask.dtype == np.uint8
        assert np.mean((mask > 127) != oracle) < 0.012  # a pixel along the border at most
        assert (mask[cv2.erode(oracle.astype(np.uint8), np.ones((3, 3))) > 0] == 255).all()

    def test_growing_moves_corners_away_from_the_center(self):
        grown = regions.fill([self.hexagon(30)], 100, grow=6)
        assert np.mean((grown > 127) != polygon2mask((100, 100), self.hexagon(36)[:, ::-1])) < 0.015

    def test_several_polygons_and_none(self):
        both = regions.fill([self.hexagon(10) - 30, self.hexagon(10) + 30], 100)
        assert both[20, 20] == both[80, 80] == 255
        assert both[50, 50] == 0
        assert regions.fill([], 16).max() == 0

    def test_outside_the_picture(self):
        assert regions.fill([self.hexagon(10) + 500], 64).max() == 0
