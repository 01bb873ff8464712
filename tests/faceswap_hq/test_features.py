"""Likeness of eyes and brows: what it must not see, and what it must."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from faceswap_hq import quality
from faceswap_hq.quality import features

CORNERS = {33: (80, 100), 133: (120, 100), 362: (160, 100), 263: (200, 100)}


def landmarks(matrix: np.ndarray | None = None) -> np.ndarray:
    """478 points of which the corners of the eyes mean something."""
    points = np.zeros((478, 3), np.float32)
    for i, at in CORNERS.items():
        points[i, :2] = at if matrix is None else matrix[:, :2] @ at + matrix[:, 2]
    return points


def face(brow: int = 78, *, lid: int = 12) -> np.ndarray:
    """A drawn pair of eyes with brows at a height."""
    image = np.full((240, 280, 3), 180, np.uint8)
    for x in (100, 180):
        cv2.ellipse(image, (x, 100), (20, lid), 0, 0, 360, (240, 240, 240), -1)
        cv2.circle(image, (x, 100), 8, (30, 20, 10), -1)
        cv2.line(image, (x - 24, brow), (x + 20, brow - 6), (40, 30, 20), 6)
    return image


def patches(image: np.ndarray, points: np.ndarray | None = None) -> np.ndarray:
    return quality.feature_patches(image, landmarks() if points is None else points)[None]


def test_the_same_picture_is_as_like_as_can_be():
    assert quality.feature_likeness(patches(face()), patches(face())) == pytest.approx(1, abs=1e-5)


def test_light_and_contrast_do_not_count():
    darker = (face() * 0.5 + 20).astype(np.uint8)
    assert quality.feature_likeness(patches(darker), patches(face())) > 0.999


def test_neither_do_place_size_and_turn():
    matrix = cv2.getRotationMatrix2D((140, 100), 20, 1.3)
    matrix[:, 2] += (30, 60)
    turned = cv2.warpAffine(face(), matrix, (420, 360), borderValue=(180, 180, 180), flags=cv2.INTER_CUBIC)
    assert quality.feature_likeness(patches(turned, landmarks(matrix)), patches(face())) > 0.98


def test_a_smeared_brow_and_another_face_are_less_like():
    smeared = face()
    smeared[60:86] = 180
    own = patches(face())
    gone, other = (quality.feature_likeness(patches(image), own) for image in (smeared, face(66, lid=5)))
    assert gone < 0.85
    assert other < 0.85


def test_of_several_real_frames_the_nearest_counts():
    own = np.concatenate([patches(face(66, lid=5)), patches(face())])
    assert quality.feature_likeness(patches(face()), own) == pytest.approx(1, abs=1e-5)


def test_every_frame_and_both_eyes_count_alike():
    seen = np.concatenate([patches(face()), patches(face(66, lid=5))])
    single = [quality.feature_likeness(part[None], patches(face())) for part in seen]
    assert quality.feature_likeness(seen, patches(face())) == pytest.approx(np.mean(single), abs=1e-6)


def test_68_points_give_the_same_patches():
    few = np.zeros((68, 2), np.float32)
    few[[36, 39, 42, 45]] = list(CORNERS.values())
    np.testing.assert_array_equal(quality.feature_patches(face(), few), quality.feature_patches(face(), landmarks()))


def test_without_faces_there_is_no_likeness():
    nothing = np.zeros((0, 2, features.HEIGHT * features.WIDTH), np.float32)
    assert quality.feature_likeness(nothing, patches(face())) is None
    assert quality.feature_likeness(patches(face()), nothing) is None


def test_a_plain_picture_gives_numbers():
    assert np.isfinite(patches(np.full((240, 280, 3), 90, np.uint8))).all()


def test_clips_and_facesets_agree(actor_clips, tmp_path):
    from faceswap_hq.extract import ExtractSettings, extract
    from faceswap_hq.faceset import read_faceset

    extract(actor_clips[0], tmp_path / "a.faceset", ExtractSettings(every=4))
    faceset = read_faceset(tmp_path / "a.faceset")
    own, seen = quality.faceset_patches(faceset, most=5), quality.clip_patches(actor_clips[0], count=4)
    assert own.shape == (min(5, len(faceset.rows)), 2, features.HEIGHT * features.WIDTH)
    assert len(seen) == 4
    assert quality.feature_likeness(seen, quality.faceset_patches(faceset)) > 0.9
