"""The similarity transform, crop matrices and pose, against scikit-image, scipy and closed forms."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation
from skimage.transform import SimilarityTransform

from faceswap_hq.faces import alignment
from tests.faceswap_hq.helpers import face_at, generic_face, turned

SHIFT = st.floats(-500, 500)


def similarity_matrix(scale: float, degrees: float, x: float, y: float) -> np.ndarray:
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[c, -s, x], [s, c, y]])


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return (np.c_[points[:, :2], np.ones(len(points))] @ np.vstack([matrix, [0, 0, 1]]).T)[:, :2]


class TestSimilarity:
    @given(st.floats(0.05, 20), st.floats(-180, 180), SHIFT, SHIFT, st.integers(2, 30))
    @settings(max_examples=40, deadline=None)
    def test_recovers_the_transform(self, scale, degrees, x, y, count):
        points = np.random.default_rng(count).normal(0, 50, (count, 2)) + (300, 200)
        wanted = similarity_matrix(scale, degrees, x, y)
        found = alignment.similarity(points, apply(wanted, points))
        assert found.dtype == np.float32
        np.testing.assert_allclose(apply(found.astype(float), points), apply(wanted, points), atol=2e-3 * scale + 1e-3)

    @pytest.mark.parametrize("seed", range(8))
    def test_noisy_points_as_scikit_image(self, seed):
        rng = np.random.default_rng(seed)
        source = rng.uniform(0, 400, (12, 2))
        target = apply(similarity_matrix(0.6, 140 * seed, 30, -10), source) + rng.normal(0, 25, (12, 2))
        if hasattr(SimilarityTransform, "from_estimate"):
            found = SimilarityTransform.from_estimate(source, target)
        else:  # scikit-image before 0.26, the last for Python 3.10
            found = SimilarityTransform()
            assert found.estimate(source, target)
        oracle = found.params[:2]
        np.testing.assert_allclose(alignment.similarity(source, target), oracle, rtol=1e-4, atol=1e-3)

    def test_a_mirrored_target_is_not_mirrored(self):
        source = np.random.default_rng(0).normal(0, 1, (20, 2))
        found = alignment.similarity(source, source * (-1, 1))
        assert np.linalg.det(found[:, :2]) >= 0

    def test_coinciding_points_are_refused(self):
        with pytest.raises(ValueError, match="coincide"):
            alignment.similarity(np.full((5, 2), 7.0), np.zeros((5, 2)))


class TestCropMatrix:
    @pytest.mark.parametrize("points", [478, 68])
    @pytest.mark.parametrize(("height", "angle"), [(40, 0), (300, 25), (120, -170)])
    def test_rigid_points_come_to_their_canonical_place(self, points, height, angle):
        """Whatever similarity took the canonical face into the frame, the crop shows it upright where it belongs."""
        indices, canonical = alignment._rigid(points)
        wanted = (canonical[:, :2] - alignment.CENTER_CM) * (1, -1) * (256 / alignment.CROP_CM) + 128
        landmarks = np.zeros((points, 3), np.float32)
        landmarks[indices, :2] = apply(similarity_matrix(height / 256, angle, 400, 300), wanted)
        matrix = alignment.crop_matrix(landmarks, 256)
        assert matrix.shape == (2, 3)
        assert matrix.dtype == np.float32
        np.testing.assert_allclose(alignment.transform(landmarks, matrix)[indices], wanted, atol=0.05)

    @pytest.mark.parametrize("points", [478, 68])
    def test_a_whole_face_lies_upright_inside_the_crop(self, points):
        face = alignment.transform(*(lambda f: (f, alignment.crop_matrix(f, 256)))(face_at(90, 70, 60, 33, points)))
        assert face.min() > 20
        assert face.max() < 236
        eyes = (33, 263) if points == 478 else (36, 45)
        assert abs(face[eyes[0], 1] - face[eyes[1], 1]) < 1.0
        assert face[eyes[0], 0] < 128 < face[eyes[1], 0]  # the person's right eye is on the picture's left
        assert face[list(eyes), 1].mean() < 128

    def test_follows_the_frame(self):
        """Moving, turning and enlarging the frame changes nothing in the crop."""
        face = face_at(200, 150, 90, 10)
        crop = alignment.transform(face, alignment.crop_matrix(face, 200))
        moved = apply(similarity_matrix(2.5, 77, -30, 400), face).astype(np.float32)
        np.testing.assert_allclose(alignment.transform(moved, alignment.crop_matrix(moved, 200)), crop, atol=0.02)

    def test_size_scales_the_crop(self):
        face = face_at(200, 150, 90, 10)
        small, large = alignment.crop_matrix(face, 100), alignment.crop_matrix(face, 300)
        np.testing.assert_allclose(large, small * 3, rtol=1e-5)
        np.testing.assert_allclose(alignment.scaled(small, 100, 300), large, rtol=1e-5)

    @given(st.integers(64, 512), st.integers(32, 512), st.floats(0.3, 1.0))
    @settings(max_examples=40, deadline=None)
    def test_coverage_keeps_the_middle(self, size, new, coverage):
        matrix = alignment.crop_matrix(face_at(200, 150, 90, 10), size)
        inner = alignment.scaled(matrix, size, new, coverage).astype(float)
        inverse = np.linalg.inv(np.vstack([matrix.astype(float), [0, 0, 1]]))[:2]
        half = size * coverage / 2
        corners = size / 2 + half * np.array([[0, 0], [-1, -1], [1, -1]])
        expected = [[new / 2, new / 2], [0, 0], [new, 0]]
        np.testing.assert_allclose(apply(inner, apply(inverse, corners)), expected, atol=0.02)


class TestWarp:
    def smooth(self, size: int, seed: int = 0) -> np.ndarray:
        noise = np.random.default_rng(seed).uniform(0, 255, (size, size, 3))
        return np.clip(128 + 6 * (ndimage.gaussian_filter(noise, (4, 4, 0)) - 128), 0, 255).astype(np.uint8)

    def test_bilinear_as_scipy(self):
        image = self.smooth(160)
        matrix = alignment.crop_matrix(face_at(80, 80, 70, 15), 96)
        inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
        y, x = np.mgrid[:96, :96]
        at = apply(inverse, np.stack([x.ravel(), y.ravel()], 1))
        found = alignment.warp(image, matrix, 96)
        assert found.dtype == np.uint8
        for channel in range(3):
            oracle = ndimage.map_coordinates(image[..., channel].astype(float), at.T[::-1], order=1, mode="nearest")
            # OpenCV interpolates in steps of 1/32 pixel
            assert np.abs(found[..., channel].ravel() - oracle).max() < 3

    def test_large_faces_do_not_alias(self):
        """A pattern finer than the crop's pixels becomes grey instead of beating."""
        fine = np.zeros((600, 600, 3), np.uint8)
        fine[::2, ::2] = fine[1::2, 1::2] = 255
        crop = alignment.warp(fine, alignment.crop_matrix(face_at(300, 300, 420, 7), 64), 64)
        assert abs(float(crop.mean()) - 127.5) < 4
        assert crop.std() < 16
        assert cv2.warpAffine(fine, alignment.crop_matrix(face_at(300, 300, 420, 7), 64), (64, 64)).std() > 40

    @pytest.mark.parametrize("scale", [0.51, 0.49, 0.3, 0.12])
    def test_shrinking_does_not_shift(self, scale):
        """The crop lies in the same place whichever way it is made: a spot's center goes where the matrix says."""
        y, x = np.mgrid[:500, :500]
        spot = np.exp(-((x - 260.0) ** 2 + (y - 230.0) ** 2) / (2 * (3 / scale) ** 2))
        matrix = similarity_matrix(scale, 20, 0, 0)
        matrix[:, 2] = (32, 32) - matrix[:, :2] @ (255, 235)
        image = (spot * 255).astype(np.uint8)[..., None].repeat(3, 2)
        crop = alignment.warp(image, matrix.astype(np.float32), 64)[..., 0]
        row, column = ndimage.center_of_mass(crop.astype(float))
        np.testing.assert_allclose((column, row), matrix @ (260, 230, 1), atol=0.06)

    def test_outside_the_frame_its_border_is_repeated(self):
        image = np.full((50, 50, 3), 200, np.uint8)
        assert (alignment.warp(image, alignment.crop_matrix(face_at(0, 0, 60), 64), 64) == 200).all()
        assert (alignment.warp(image, alignment.crop_matrix(face_at(0, 0, 400), 64), 64) == 200).all()


class TestPose:
    AXES = ("yaw", "pitch", "roll")

    @pytest.mark.parametrize("axis", range(3))
    @pytest.mark.parametrize("degrees", [-40, -12, 0, 7, 35])
    @pytest.mark.parametrize(("points", "tolerance"), [(478, 0.1), (68, 0.1)])
    def test_signs_and_sizes(self, axis, degrees, points, tolerance):
        """Yaw to the person's left, pitch up, roll towards the person's right shoulder are positive."""
        indices, canonical = alignment._rigid(points)
        landmarks = np.zeros((points, 3))
        landmarks[indices] = canonical * (1, -1, -1) @ turned(**{self.AXES[axis]: degrees}).T * 20 + (300, 200, 50)
        if points == 68:
            landmarks[:, 2] = 0
        expected = np.zeros(3)
        expected[axis] = degrees
        np.testing.assert_allclose(alignment.pose(landmarks.astype(np.float32)), expected, atol=tolerance)

    def test_turned_left_means_the_nose_points_left(self):
        """The test's own axes: the nose of a face turned to its left moves to the picture's right, and so on."""
        nose, brow = np.array([0, 0, -1.0]), np.array([0, -1.0, 0])
        assert (turned(yaw=30) @ nose)[0] > 0.4
        assert (turned(pitch=30) @ nose)[1] < -0.4
        assert (turned(roll=30) @ brow)[0] < -0.4

    @pytest.mark.parametrize("seed", range(6))
    def test_noisy_points_as_scipys_best_rotation(self, seed):
        rng = np.random.default_rng(seed)
        indices, canonical = alignment._rigid(478)
        model = canonical * (1, -1, -1)
        angles = rng.uniform(-35, 35, 3)
        landmarks = np.zeros((478, 3))
        landmarks[indices] = (model @ turned(*angles).T + rng.normal(0, 0.15, model.shape)) * 15 + (200, 100, 0)
        points = landmarks[indices]
        best, _ = Rotation.align_vectors(points - points.mean(0), model - model.mean(0))
        own = np.diag([1.0, -1, -1]) @ best.as_matrix() @ np.diag([1.0, -1, -1])
        pitch, yaw, roll = Rotation.from_matrix(own).as_euler("XYZ", degrees=True)
        found = alignment.pose(landmarks.astype(np.float32))
        np.testing.assert_allclose(found, (yaw, -pitch, roll), atol=0.05)
        again = alignment.pose((landmarks * 3.7 + 50).astype(np.float32))
        np.testing.assert_allclose(again, found, atol=0.01)  # neither place nor size matters


def test_box_as_numpy():
    face = face_at(50, 60, 40, 20)
    np.testing.assert_allclose(alignment.box(face), [*face[:, :2].min(0), *face[:, :2].max(0)])


def test_the_generic_face_of_these_tests_is_a_face():
    """Symmetric, eyes above the mouth: otherwise the tests above would say little."""
    face = generic_face()
    assert abs(face[33, 0] + face[263, 0]) < 0.01
    assert face[33, 1] < face[2, 1] < face[13, 1] < face[152, 1]
    assert np.abs(alignment.pose(face.astype(np.float32))).max() < 8
