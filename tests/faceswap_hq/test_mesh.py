"""Bending a face triangle by triangle, and choosing whose picture is bent."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from faceswap_hq.faces import mesh, regions
from faceswap_hq.faces.expression import COUNT, NAMES
from faceswap_hq.methods.choice import cheapest_path, distances, faded
from tests.faceswap_hq.helpers import NOSE_TIP

SIZE = 160
IDENTITY = np.eye(2, 3, dtype=np.float32)
DEPTH = mesh.depths(mesh.generic_face().points)


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    """The generic face's vertices in pixels."""
    return mesh.to_pixels(mesh.resting(), SIZE)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    coarse = np.random.default_rng(0).uniform(40, 210, (9, 9, 3)).astype(np.float32)
    return cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC).round().astype(np.uint8)


class TestTheNet:
    def test_it_covers_the_hull_of_face_and_anchors_once_and_without_holes(self, face):
        """The areas of the triangles sum to that of the anchors' outline, so none overlap and none are missing."""
        a, b, c = face[mesh.triangles()].astype(np.float64).transpose(1, 0, 2)
        areas = np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
        outline = face[mesh.FACE_POINTS :]
        assert areas.sum() == pytest.approx(cv2.contourArea(outline), rel=2e-3)
        assert set(mesh.triangles().ravel()) == set(range(len(face)))

    def test_every_pixel_of_the_face_comes_from_a_triangle(self, face):
        """Where there is none the map says where: far away."""
        away = np.float32([[0, 0, -1000], [0, 0, -1000]])
        where = mesh.warp_map(face, face, DEPTH, SIZE, away)
        inside = regions.fill([face[list(regions.FACE_OVAL)]], SIZE) == 255
        assert inside.sum() > 5000
        assert (where[inside] > 0).all()

    def test_every_edge_inside_is_shared_by_two_triangles(self):
        edges = np.concatenate([mesh.triangles()[:, [i, j]] for i, j in ((0, 1), (1, 2), (2, 0))])
        _, uses = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
        assert uses.max() == 2
        assert (uses == 1).sum() == len(regions.FACE_OVAL)  # the anchors' outline

    def test_lids_and_lips_lie_opposite_each_other(self):
        for loop in (regions.RIGHT_EYE, regions.LEFT_EYE, regions.LIPS_INNER):
            upper, lower = mesh.opposite(loop)
            points = mesh.resting()
            assert len(upper) == len(lower) == len(loop) // 2 - 1
            assert np.abs(points[upper, 0] - points[lower, 0]).max() < 0.02
            assert (points[lower, 1] - points[upper, 1]).min() > -1e-3  # the generic mouth is closed


class TestWarp:
    @pytest.mark.parametrize("affine", [[[1.1, 0.2, -9], [-0.1, 0.9, 12]], [[0.8, 0, 20], [0, 1.2, -14]]])
    def test_points_moved_by_an_affine_map_bend_the_picture_by_it(self, face, picture, affine):
        matrix = np.float32(affine)
        back = cv2.invertAffineTransform(matrix)
        where = mesh.warp_map(face, cv2.transform(face[None], matrix)[0], DEPTH, SIZE, back)
        y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
        expected = cv2.transform(np.stack([x, y], -1), back)
        np.testing.assert_allclose(where, expected, atol=2e-3)
        straight = cv2.warpAffine(picture, matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        assert np.abs(mesh.bent(picture, where).astype(int) - straight).max() <= 3

    def test_points_that_stay_leave_the_picture_as_it_is(self, face, picture):
        where = mesh.warp_map(face, face, DEPTH, SIZE, IDENTITY)
        assert np.abs(mesh.bent(picture, where).astype(int) - picture).max() <= 1

    def test_one_moved_point_bends_only_the_triangles_around_it(self, face):
        target = face.copy()
        target[NOSE_TIP] += (4, 0)
        where = mesh.warp_map(face, target, DEPTH, SIZE, IDENTITY)
        y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
        changed = np.abs(where - np.stack([x, y], -1)).max(-1) > 1e-2
        around = mesh.triangles()[(mesh.triangles() == NOSE_TIP).any(1)]
        allowed = cv2.dilate(regions.fill([target[np.unique(around)], face[np.unique(around)]], SIZE), np.ones((5, 5)))
        assert changed.any()
        assert not (changed & (allowed == 0)).any()

    def test_where_triangles_overlap_the_nearest_is_seen(self, face):
        """The nose, pushed far across the cheek, hides it, and not the other way round."""
        target = face.copy()
        nose = np.flatnonzero(np.linalg.norm(face[: mesh.FACE_POINTS] - face[NOSE_TIP], axis=1) < 8)
        target[nose] += (28, 0)
        where = mesh.warp_map(face, target, DEPTH, SIZE, IDENTITY)
        x, y = np.round(target[NOSE_TIP]).astype(int)
        np.testing.assert_allclose(where[y, x], face[NOSE_TIP], atol=1.5)

    def test_the_crop_and_its_centre_are_laid_on_each_other(self):
        points = np.random.default_rng(1).uniform(0.2, 0.8, (9, 2))
        inner, whole = mesh.to_pixels(points, 288, 0.9), mesh.to_pixels(points, 256)
        np.testing.assert_allclose(cv2.transform(inner[None], mesh.between(256, 288, 0.9))[0], whole, atol=1e-3)


class TestRelaxed:
    def points(self) -> tuple[np.ndarray, np.ndarray]:
        return mesh.resting()[: mesh.FACE_POINTS], np.random.default_rng(2).normal(0, 0.01, (mesh.FACE_POINTS, 2))

    def test_no_stiffness_keeps_the_target(self):
        face, noise = self.points()
        np.testing.assert_allclose(mesh.relaxed(face, face + noise, 0), face + noise, atol=1e-6)

    def test_an_affine_change_is_kept_whatever_the_stiffness(self):
        face, _ = self.points()
        target = face @ np.array([[1.2, 0.1], [-0.2, 0.9]]) + (0.1, -0.2)
        np.testing.assert_allclose(mesh.relaxed(face, target, 5.0), target, atol=1e-5)

    def test_it_solves_the_stated_problem(self):
        """The gradient of the stated sum, computed edge by edge, vanishes."""
        face, noise = self.points()
        design = np.column_stack([face, np.ones(len(face))]).astype(np.float64)
        plain = design @ np.linalg.lstsq(design, face + noise, rcond=None)[0]
        r, stiffness = face + noise - plain, 2.0
        found = mesh.relaxed(face, face + noise, stiffness) - plain
        net = mesh.generic_face().triangles
        edges = {tuple(sorted(pair)) for t in net.tolist() for pair in itertools.combinations(t, 2)}
        squares = {edge: float(((face[edge[0]] - face[edge[1]]) ** 2).sum()) for edge in edges}
        unit = np.median([1 / max(square, 1e-6) for square in squares.values()])
        faith = np.ones(len(face))
        faith[list(regions.FACE_OVAL)] = 20
        gradient = faith[:, None] * (found - r)
        for (i, j), square in squares.items():
            pull = stiffness / max(square, 1e-6) / unit * (found[i] - found[j])
            gradient[i] += pull
            gradient[j] -= pull
        assert np.abs(gradient).max() < 1e-3 * np.abs(faith[:, None] * r).max()


def brute_force(costs: np.ndarray, starts: np.ndarray, change: float) -> float:
    paths = itertools.product(range(costs.shape[1]), repeat=len(costs))
    return min(total(costs, starts, change, np.array(path)) for path in paths)


def total(costs: np.ndarray, starts: np.ndarray, change: float, path: np.ndarray) -> float:
    changes = (np.diff(path) != 0) & ~starts[1:]
    return float(costs[np.arange(len(path)), path].sum() + change * changes.sum())


class TestChoice:
    @pytest.mark.parametrize("change", [0.0, 0.3, 1.0, 9.0])
    def test_the_path_is_the_cheapest_of_all(self, change):
        random = np.random.default_rng(3)
        for _ in range(5):
            costs, starts = random.uniform(0, 1, (6, 4)), random.uniform(0, 1, 6) < 0.3
            found = cheapest_path(costs, starts, change)
            assert total(costs, starts, change, found) == pytest.approx(brute_force(costs, starts, change))

    def test_dear_changes_are_made_at_cuts_only(self):
        costs = np.random.default_rng(4).uniform(0, 1, (60, 10))
        starts = np.zeros(60, bool)
        starts[[0, 20]] = True
        path = cheapest_path(costs, starts, 1000.0)
        assert set(np.flatnonzero(np.diff(path)) + 1) <= {20}
        assert (np.diff(cheapest_path(costs, starts, 0.0)) != 0).sum() > 30

    def test_a_change_fades_and_a_cut_does_not(self):
        path, starts = np.array([1, 1, 1, 2, 2, 2, 7, 7]), np.array([1, 0, 0, 0, 0, 0, 1, 0], bool)
        shares = faded(path, starts, 1)
        assert [sum(part.values()) for part in shares] == pytest.approx([1] * 8)
        assert shares[0] == {1: 1.0}
        assert shares[2] == pytest.approx({1: 0.75, 2: 0.25})
        assert shares[3] == pytest.approx({1: 0.25, 2: 0.75})
        assert shares[5] == {2: 1.0}
        assert shares[6] == {7: 1.0}
        assert faded(path, starts, 0) == [{int(k): 1.0} for k in path]

    def test_distances_are_those_of_pairs_and_the_open_mouth_counts_more_than_a_brow(self):
        random = np.random.default_rng(5)
        a, b = random.normal(0, 1, (4, COUNT)), random.normal(0, 1, (3, COUNT))
        found = distances(a, b)
        single = np.array([[distances(x[None], y[None])[0, 0] for y in b] for x in a])
        np.testing.assert_allclose(found, single, rtol=1e-6)
        assert distances(a, a).diagonal().max() < 1e-6
        step = np.zeros((2, COUNT))
        step[0, NAMES.index("lips apart")] = step[1, NAMES.index("left inner brow")] = 1
        mouth, brow = distances(step, np.zeros((1, COUNT)))[:, 0]
        assert mouth > 5 * brow
