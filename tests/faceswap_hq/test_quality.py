"""What quality.py measures, against scipy, scikit-image and cases whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from scipy import stats
from scipy.spatial.transform import Rotation
from skimage import metrics

from faceswap_hq import quality
from faceswap_hq.errors import UserError
from faceswap_hq.faces import alignment
from faceswap_hq.quality import compare


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def face_landmarks(center: tuple[float, float] = (64, 64), radius: float = 40.0) -> np.ndarray:
    """478 points of which only the outline means anything: a circle."""
    from faceswap_hq.faces.regions import FACE_OVAL

    landmarks = np.tile(np.array([*center, 0.0], np.float32), (478, 1))
    angles = np.linspace(0, 2 * np.pi, len(FACE_OVAL), endpoint=False)
    landmarks[list(FACE_OVAL), 0] += radius * np.sin(angles)
    landmarks[list(FACE_OVAL), 1] -= radius * np.cos(angles)
    return landmarks.astype(np.float32)


def rigid_landmarks(rotation: np.ndarray, scale: float = 20.0) -> np.ndarray:
    """478 points whose rigid ones are the canonical face turned by ``rotation`` (image axes: y down, z away)."""
    indices, canonical = alignment._rigid(478)
    landmarks = np.zeros((478, 3))
    landmarks[indices] = (canonical * (1, -1, -1)) @ rotation.T * scale + (300, 200, 0)
    return landmarks.astype(np.float32)


def texture(size: int = 128, seed: int = 1) -> np.ndarray:
    noise = rng(seed).normal(0, 1, (size, size, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 3) * 120 + cv2.GaussianBlur(noise, (0, 0), 0.8) * 20
    return np.clip(128 + smooth, 0, 255).astype(np.uint8)


class TestMotion:
    def test_spread(self):
        values = rng().normal(3, 2, 101)
        found = quality.spread(values)
        assert found.mean == pytest.approx(values.mean())
        assert found.std == pytest.approx(stats.tstd(values))
        assert found.median == pytest.approx(np.median(values))
        assert found.n == 101
        assert quality.spread([]) is None

    @pytest.mark.parametrize("noise", [0.1, 1.0, 5.0])
    def test_correlation_is_pearsons(self, noise):
        x = rng(2).normal(size=400)
        y = 3 - 2 * x + noise * rng(3).normal(size=400)
        found, oracle = quality.correlation(x, y), stats.pearsonr(x, y)
        assert found.r == pytest.approx(oracle.statistic)
        low, high = oracle.confidence_interval(0.95)
        assert found.low == pytest.approx(low, abs=0.01)
        assert found.high == pytest.approx(high, abs=0.01)

    def test_interval_of_slow_series_covers_zero(self):
        """Two unrelated slow series correlate by chance; the naive interval excludes 0 most of the time."""
        random = rng(4)
        ours = naive = 0
        trials = 200
        for _ in range(trials):
            x, y = (np.convolve(random.normal(size=340), np.ones(40), mode="valid") for _ in range(2))
            found = quality.correlation(x, y)
            low, high = stats.pearsonr(x, y).confidence_interval(0.95)
            ours += found.low <= 0 <= found.high
            naive += low <= 0 <= high
        assert ours / trials > 0.85
        assert naive / trials < 0.5

    def test_correlation_undefined(self):
        assert quality.correlation([1, 1, 1, 1], [1, 2, 3, 4]) is None
        assert quality.correlation([1, 2], [1, 2]) is None
        with pytest.raises(ValueError, match="4 and 3"):
            quality.correlation([1, 2, 3, 4], [1, 2, 3])

    @pytest.mark.parametrize("angles", [(0, 0, 0), (25, 0, 0), (0, -14, 0), (0, 0, 40), (-30, 12, 8), (11, -7, -50)])
    def test_rotation_matrix_is_that_of_pose(self, angles):
        rotation = quality.rotation_matrix(*angles)
        assert rotation @ rotation.T == pytest.approx(np.eye(3), abs=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1)
        assert alignment.pose(rigid_landmarks(rotation)) == pytest.approx(angles, abs=0.01)

    def test_pose_difference_is_the_angle_between(self):
        random = rng(5)
        for _ in range(50):
            first, second = random.uniform(-60, 60, (2, 3))
            turned = [Rotation.from_matrix(quality.rotation_matrix(*pose)) for pose in (first, second)]
            expected = np.degrees((turned[0].inv() * turned[1]).magnitude())
            assert quality.pose_difference(first, second) == pytest.approx(expected, abs=1e-6)
        assert quality.pose_difference((10, 5, -3), (10, 5, -3)) == pytest.approx(0, abs=1e-9)
        assert quality.pose_difference((10, 0, 0), (13, 0, 0)) == pytest.approx(3)

    def test_jitter(self):
        face = face_landmarks(radius=50).astype(np.float64)
        step = np.array([3.0, -1.0, 0.0])
        assert quality.jitter(face, face + step, face + 2 * step) == pytest.approx(0, abs=1e-6)
        shaken = quality.jitter(face, face + (1, 0, 0), face)  # second difference 2 px, height 100 px
        assert shaken == pytest.approx(0.02, rel=1e-3)
        twice = quality.jitter(2 * face, 2 * (face + (1, 0, 0)), 2 * face)
        assert twice == pytest.approx(shaken)  # free of scale

    def test_flicker(self):
        picture = texture(64)
        mask = np.zeros((64, 64), np.float32)
        mask[16:48, 16:48] = 1
        assert quality.flicker(picture, picture, mask) == 0
        assert quality.flicker(np.full((64, 64, 3), 100, np.uint8), np.full((64, 64, 3), 93, np.uint8), mask) == 7
        other = picture.copy()
        other[:16] = 0
        assert quality.flicker(picture, other, mask) == 0  # outside the mask nothing counts
        assert quality.flicker(picture, other, np.zeros((64, 64))) == 0


class TestPicture:
    def test_mask_is_the_outline_scaled(self):
        mask = quality.face_mask(face_landmarks(radius=50), (128, 128), shrink=0.8)
        assert set(np.unique(mask)) == {0, 1}
        assert mask.sum() == pytest.approx(np.pi * 40**2, rel=0.04)
        assert not quality.face_mask(face_landmarks(center=(900, 900)), (128, 128)).any()

    def test_sharpness_falls_with_blur(self):
        picture, mask = texture(), quality.face_mask(face_landmarks(), (128, 128))
        values = [quality.sharpness(cv2.GaussianBlur(picture, (0, 0), sigma), mask) for sigma in (0.5, 1, 2, 4)]
        values = [quality.sharpness(picture, mask), *values]
        assert values == sorted(values, reverse=True)
        assert values[-1] < 0.2 * values[0]
        ramp = np.repeat(np.arange(128, dtype=np.uint8)[None, :, None], 128, 0).repeat(3, 2)
        assert quality.sharpness(ramp, mask) == 0
        assert quality.sharpness(picture, np.zeros((128, 128))) == 0

    def test_sharpness_looks_inside_only(self):
        picture, mask = texture(), quality.face_mask(face_landmarks(), (128, 128))
        far = cv2.dilate(mask, np.ones((5, 5))) < 0.5
        changed = picture.copy()
        changed[far] = 0
        assert quality.sharpness(changed, mask) == pytest.approx(quality.sharpness(picture, mask))

    def test_seam_hard_soft_none(self):
        real, landmarks = texture(256), face_landmarks((128, 128), 80)
        oval = quality.face_mask(landmarks, real.shape, shrink=0.95)[..., None]
        found = []
        for softness in (0, 4, 16):
            mask = oval if not softness else cv2.GaussianBlur(oval, (0, 0), softness)[..., None]
            fake = np.clip(real + 25 * mask, 0, 255).astype(np.uint8)
            found.append(quality.seam(fake, real, landmarks))
        assert found == sorted(found, reverse=True)
        assert found[0] > 4 * found[2]
        assert quality.seam(real, real, landmarks) == 0
        assert quality.seam(np.clip(real.astype(int) + 25, 0, 255).astype(np.uint8), real, landmarks) < 0.2 * found[0]

    def test_seam_beyond_the_frame(self):
        real = texture(128)
        assert quality.seam(real, real, face_landmarks((400, 400), 20)) == 0
        fake = real.copy()
        fake[:40, :40] = 0
        assert np.isfinite(quality.seam(fake, real, face_landmarks((5, 5), 40)))

    def test_ssim_and_psnr_are_scikit_images(self):
        truth = texture()
        fake = np.clip(truth.astype(int) + rng(6).integers(-20, 20, truth.shape), 0, 255).astype(np.uint8)
        mask = quality.face_mask(face_landmarks(), truth.shape)
        _, full = metrics.structural_similarity(
            truth, fake, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )
        assert quality.ssim(fake, truth, mask) == pytest.approx(full[mask > 0.5].mean(), abs=1e-4)
        inside = mask > 0.5
        expected = metrics.peak_signal_noise_ratio(truth[inside], fake[inside])
        assert quality.psnr(fake, truth, mask) == pytest.approx(expected, abs=1e-6)
        assert quality.ssim(truth, truth, mask) == pytest.approx(1)
        assert quality.psnr(truth, truth, mask) == 100
        with pytest.raises(ValueError, match="empty"):
            quality.psnr(truth, truth, np.zeros((128, 128)))


class TestIdentityScores:
    def test_known_vectors(self):
        source, target = np.array([[1.0, 0, 0], [0.8, 0.6, 0]]), np.array([[0, 0, 1.0]])
        swap = np.array([[1.0, 0, 0], [0, 0, 1.0], [0.6, 0, 0.8]])
        scores = quality.identity_scores(swap, source, target)
        own = np.array([1.8, 0.6, 0]) / np.hypot(1.8, 0.6)
        assert scores.source.mean == pytest.approx((swap @ own).mean())
        assert scores.ceiling.mean == pytest.approx((source @ own).mean())
        assert scores.ratio == pytest.approx((swap @ own).mean() / (source @ own).mean())
        assert scores.closer_to_source == pytest.approx(1 / 3)
        assert scores.target_to_source == pytest.approx(0)
        assert quality.identity_scores(np.zeros((0, 3)), source, target) is None

    def test_missing_and_damaged_network(self, tmp_path: Path):
        with pytest.raises(UserError, match="missing"):
            quality.IdentityModel(tmp_path / "none.onnx")
        (tmp_path / "bad.onnx").write_bytes(b"not a network")
        with pytest.raises(UserError, match="not an ONNX"):
            quality.IdentityModel(tmp_path / "bad.onnx")


class TestFaces:
    def test_the_changed_face_is_the_swapped_one(self):
        left, right = face_landmarks((40, 40), 20), face_landmarks((100, 90), 25)
        target = texture()
        assert compare.pick_face([left, right], target, target) is right  # nothing changed: the larger one
        swap = target.copy()
        swap[30:50, 30:50] = 255 - swap[30:50, 30:50]
        assert compare.pick_face([left, right], target, swap) is left
        assert compare.pick_face([], target, swap) is None

    def test_the_same_face_lies_in_the_same_place(self):
        face = face_landmarks((60, 60), 30)
        near, far = face + np.float32([3, 2, 0]), face + np.float32([60, 0, 0])
        assert compare.match_face(face, [far, near]) is near
        assert compare.match_face(face, [far]) is None
        assert compare.match_face(face, []) is None


def write_clip(path: Path, frames: int, size: tuple[int, int] = (96, 64)) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for i in range(frames):
            picture = np.full((size[1], size[0], 3), 40 + 5 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


class TestCompareClips:
    def test_clips_without_a_face(self, tmp_path: Path):
        target, swap = write_clip(tmp_path / "b.mp4", 9), write_clip(tmp_path / "swap.mp4", 7)
        found = quality.compare_clips(target, swap)
        assert (found.frames, found.frames_missing, found.faces_target, found.faces_both) == (7, 2, 0, 0)
        assert found.mouth is found.pose is found.identity is found.flicker is None
        assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["frames"] == 7
        assert quality.compare_clips(target, swap, first=2).frames_missing == 0
        assert quality.compare_clips(target, swap, every=3).frames == 3

    def test_other_size_is_refused(self, tmp_path: Path):
        target, swap = write_clip(tmp_path / "b.mp4", 3), write_clip(tmp_path / "swap.mp4", 3, (64, 64))
        with pytest.raises(UserError, match="96x64 and 64x64"):
            quality.compare_clips(target, swap)

    @pytest.mark.footage
    def test_real_clip_against_itself(self, shared: Path):
        """Nothing was swapped: perfect motion, nothing of A."""
        model = quality.IdentityModel(shared / "weights/mobilefacenet/MobileFaceNet.onnx")
        target, source = shared / "footage/cast/p08.mp4", shared / "footage/cast/p04.mp4"
        found = quality.compare_clips(
            target, target, source, identity_model=model, truth=target, every=40, source_frames=6
        )
        assert found.faces_both == found.faces_target == found.frames == 7
        assert found.mouth.r == pytest.approx(1)
        assert found.eyes.r == pytest.approx(1)
        assert found.pose.mean == pytest.approx(0, abs=1e-6)
        assert found.sharpness.mean == found.flicker == found.jitter == pytest.approx(1)
        assert found.seam.mean == found.changed.mean == 0
        assert found.ssim.mean == pytest.approx(1)
        assert found.identity.closer_to_source == 0
        assert abs(found.identity.source.mean) < 0.3
        assert found.identity.ceiling.mean > 0.8
        assert found.identity.target.mean > 0.8
        assert found.identity.ratio == pytest.approx(found.identity.source.mean / found.identity.ceiling.mean)
