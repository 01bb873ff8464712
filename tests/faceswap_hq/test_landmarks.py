"""Landmark backends: MediaPipe on actors whose landmarks are known, face-alignment against a stand-in package."""

from __future__ import annotations

import importlib.abc
import sys
import types
import urllib.error
from enum import IntEnum

import numpy as np
import pytest

from faceswap_hq.errors import UserError
from faceswap_hq.faces import alignment
from faceswap_hq.faces.landmarks import _points, open_backend
from tests.faceswap_hq.helpers import Shot, face_at


def test_unknown_backend():
    with pytest.raises(UserError, match="'dlib'") as caught:
        open_backend("dlib")
    assert "mediapipe" in str(caught.value)


def distance(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of the landmarks in face heights."""
    return float(np.linalg.norm(found[:468, :2] - truth[:468, :2], axis=1).mean() / np.ptp(truth[:, 1]))


class TestMediaPipe:
    def test_finds_an_actor_where_the_actor_is(self, shots: tuple[Shot, Shot]):
        backend = open_backend("mediapipe")
        assert (backend.name, backend.points) == ("mediapipe", 478)
        for image, truth in zip(shots[0].images[:8], shots[0].landmarks, strict=False):
            faces = backend.detect(image)
            assert len(faces) == 1
            assert faces[0].shape == (478, 3)
            assert faces[0].dtype == np.float32
            assert distance(faces[0], truth) < 0.06
            found, known = alignment.pose(faces[0]), alignment.pose(truth)
            np.testing.assert_allclose(found, known, atol=12)
            assert (
                faces[0][1, 2] < faces[0][[234, 454], 2].mean() - 20
            )  # z grows away from the camera: nose before ears
        backend.close()

    def test_several_faces_unrelated_pictures_and_nothing(self, shots: tuple[Shot, Shot]):
        anna, ben = shots
        pair = np.concatenate([anna.images[0], ben.images[0]], axis=1)
        backend = open_backend("mediapipe", static=True)
        for image, truths in ((anna.images[3], [anna.landmarks[3]]), (ben.images[5], [ben.landmarks[5]])):
            assert distance(backend.detect(image)[0], truths[0]) < 0.08
        assert backend.detect(np.zeros((100, 160, 3), np.uint8)) == []
        found = sorted(backend.detect(pair), key=lambda face: face[:, 0].mean())
        assert len(found) == 2
        assert distance(found[0], anna.landmarks[0]) < 0.08
        assert distance(found[1], ben.landmarks[0] + np.float32([192, 0, 0])) < 0.08
        backend.close()

    def test_a_second_person_who_comes_in_is_seen(self, shots: tuple[Shot, Shot]):
        """The cheap one-face graph runs until the detector's next look; then both are followed."""
        anna, ben = shots
        alone = np.concatenate([anna.images[0], np.zeros_like(anna.images[0])], axis=1)
        together = np.concatenate([anna.images[0], ben.images[0]], axis=1)
        backend = open_backend("mediapipe")
        assert [len(backend.detect(alone)) for _ in range(3)] == [1, 1, 1]
        counts = [len(backend.detect(together)) for _ in range(backend.pauses[0] + 1)]
        assert counts[-1] == 2
        assert [len(backend.detect(together)) for _ in range(30)] == [2] * 30
        assert len(backend.detect(alone)) == 1
        backend.reset()
        assert len(backend.detect(together)) == 2
        backend.close()
        backend.close()

    def test_a_machine_without_libgl_is_told_what_to_install(self, monkeypatch):
        class NoScreen(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path, target=None):
                if name == "mediapipe":
                    raise ImportError("libGL.so.1: cannot open shared object file")

        monkeypatch.delitem(sys.modules, "mediapipe", raising=False)
        monkeypatch.setattr(sys, "meta_path", [NoScreen(), *sys.meta_path])
        with pytest.raises(UserError, match="libGL") as caught:
            open_backend("mediapipe")
        assert "opencv-contrib-python-headless" in str(caught.value)


@pytest.mark.parametrize("extra", [{}, {"visibility": 0.5}], ids=["three numbers", "more than three"])
def test_landmarks_are_read_as_mediapipe_means_them(extra):
    """Zeros too, and points that carry more than x, y, z."""
    from mediapipe.framework.formats.landmark_pb2 import NormalizedLandmark, NormalizedLandmarkList

    points = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    points[2] = 0
    face = NormalizedLandmarkList(landmark=[NormalizedLandmark(x=x, y=y, z=z, **extra) for x, y, z in points.tolist()])
    np.testing.assert_array_equal(_points(face), points)


def test_the_picture_stays_writable_and_unchanged(shots: tuple[Shot, Shot]):
    """MediaPipe reads it in place."""
    image = shots[0].images[0].copy()
    backend = open_backend("mediapipe", static=True)
    assert backend.detect(image)
    backend.close()
    assert image.flags.writeable
    np.testing.assert_array_equal(image, shots[0].images[0])


class TestFaceAlignment:
    """Its weights are downloaded at first use, so the package is replaced by one with the same calls."""

    @pytest.fixture
    def package(self, monkeypatch):
        module = types.ModuleType("face_alignment")
        module.LandmarksType = IntEnum("LandmarksType", {"TWO_D": 1, "TWO_HALF_D": 2})
        module.opened = []
        module.answer = []

        class FaceAlignment:
            def __init__(self, kind, *, device, flip_input):
                module.opened.append((kind, device, flip_input))

            def get_landmarks_from_image(self, image):
                assert image.dtype == np.uint8
                assert image.shape[2] == 3
                return module.answer

        module.FaceAlignment = FaceAlignment
        monkeypatch.setitem(sys.modules, "face_alignment", module)
        return module

    @pytest.mark.parametrize("name", ["TWO_D", "_2D"])
    def test_old_and_new_names(self, package, name):
        package.LandmarksType = IntEnum("LandmarksType", {name: 1, "other": 2})
        backend = open_backend("face-alignment")
        assert package.opened[0][0] is getattr(package.LandmarksType, name)
        assert (backend.name, backend.points) == ("face-alignment", 68)

    def test_faces_largest_first_without_depth(self, package):
        sizes = [30, 90, 60]
        package.answer = [face_at(100, 100, size, points=68)[:, :2].astype(np.float64) for size in sizes]
        backend = open_backend("face-alignment", max_faces=2)
        faces = backend.detect(np.zeros((200, 200, 3), np.uint8))
        assert [round(float(np.ptp(face[:, 1]))) for face in faces] == [90, 60]
        for face in faces:
            assert face.shape == (68, 3)
            assert face.dtype == np.float32
            assert (face[:, 2] == 0).all()
        np.testing.assert_allclose(faces[0][:, :2], package.answer[1], rtol=1e-6)
        backend.reset()
        backend.close()

    @pytest.mark.parametrize("nothing", [None, []])
    def test_no_face(self, package, nothing):
        package.answer = nothing
        assert open_backend("face-alignment").detect(np.zeros((64, 64, 3), np.uint8)) == []

    def test_weights_that_cannot_be_downloaded(self, package):
        def fail(*args, **kwargs):
            raise urllib.error.URLError("Name or service not known")

        package.FaceAlignment = fail
        with pytest.raises(UserError, match="Name or service not known") as caught:
            open_backend("face-alignment")
        assert "--backend mediapipe" in str(caught.value)

    def test_not_installed(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "face_alignment", None)
        with pytest.raises(UserError, match="not installed") as caught:
            open_backend("face-alignment")
        assert "pip install 'faceswap-hq[face-alignment]'" in str(caught.value)
