"""Compare a finished fake with its target clip, its source clip and, for virtual actors, the exact swap."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from faceswap_hq import media
from faceswap_hq.errors import UserError
from faceswap_hq.faces import alignment, regions
from faceswap_hq.faces.landmarks import LandmarkBackend, open_backend
from faceswap_hq.faces.tracking import CutDetector
from faceswap_hq.quality import motion, picture
from faceswap_hq.quality.identity import IdentityModel, IdentityScores, identity_scores
from faceswap_hq.quality.motion import Correlation, Spread, correlation, spread
from faceswap_hq.sampling import evenly

_ALIGNED = 64  # side of the aligned crops in which flicker is measured: coarse, so that noise does not count
_SAME_FACE = 0.35  # mean distance of the landmarks, in face heights, up to which fake and target show the same face
_CHANGED = 4.0  # mean difference of a face's box, gray levels, from which its person counts as the swapped one


@dataclass(frozen=True, kw_only=True)
class FakeQuality:
    """What was measured of one fake. Ratios are fake over target: 1 means like the real clip. None: not measurable."""

    frames: int
    """Pairs of frames compared."""
    frames_missing: int
    """How many frames the longer of the two clips has beyond the other (0 where the fake keeps the frame count)."""
    faces_target: int
    """Compared frames in which the target clip shows a face."""
    faces_both: int
    """Of these, frames in which the fake shows it too."""
    changed: Spread | None
    """Mean absolute difference between fake and target inside the face, gray levels: frames near 0 were not swapped."""
    identity: IdentityScores | None
    mouth: Correlation | None
    """Opening of the mouth over time, target against fake."""
    eyes: Correlation | None
    """Opening of the eyes over time, target against fake."""
    pose: Spread | None
    """Angle between the two head poses, degrees."""
    yaw: Spread | None
    """Absolute difference in degrees; likewise ``pitch`` and ``roll``."""
    pitch: Spread | None
    roll: Spread | None
    sharpness: Spread | None
    """Standard deviation of the Laplacian inside the face, ratio."""
    flicker: float | None
    """Frame-to-frame change inside the aligned face, ratio of the means over the frames."""
    jitter: float | None
    """Second difference of the landmarks over time, ratio of the means over the frames."""
    seam: Spread | None
    """Contrast across the outline that the target does not have, gray levels per 1 % of the face's radius."""
    ssim: Spread | None
    """Against the exact swap, inside the face."""
    psnr: Spread | None
    """Against the exact swap, inside the face, dB."""

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and dicts for JSON."""
        return asdict(self)


@dataclass(kw_only=True)
class _Series:
    """Numbers of the frames seen so far; no pictures but the last aligned pair."""

    faces_target: int = 0
    changed: list[float] = field(default_factory=list)
    mouth: list[tuple[float, float]] = field(default_factory=list)
    eyes: list[tuple[float, float]] = field(default_factory=list)
    poses: list[tuple[float, float, float, float]] = field(default_factory=list)
    sharpness: list[float] = field(default_factory=list)
    flicker: list[tuple[float, float]] = field(default_factory=list)
    jitter: list[tuple[float, float]] = field(default_factory=list)
    seam: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)
    embeddings_swap: list[np.ndarray] = field(default_factory=list)
    embeddings_target: list[np.ndarray] = field(default_factory=list)
    last_landmarks: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    last_crops: tuple[np.ndarray, np.ndarray] | None = None

    def break_off(self) -> None:
        """Forget the last frames: the next one does not follow them."""
        self.last_landmarks.clear()
        self.last_crops = None


def pick_face(faces: list[np.ndarray], target: np.ndarray, swap: np.ndarray) -> np.ndarray | None:
    """The face that was swapped: the one whose surroundings changed most, or the largest where nothing changed.

    Args:
        faces: Landmarks found in the target frame.
        target: The target frame, uint8 (H, W, 3).
        swap: The fake frame, same shape.

    Returns:
        One of ``faces``, or None without any.
    """

    def rank(face: np.ndarray) -> tuple[float, float]:
        left, top, right, bottom = np.clip(alignment.box(face), 0, None).astype(int)
        a, b = (image[top : bottom + 1 : 2, left : right + 1 : 2].astype(np.float32) for image in (target, swap))
        change = float(np.abs(a - b).mean()) if a.size else 0.0
        return (change if change > _CHANGED else 0.0, float((right - left) * (bottom - top)))

    return max(faces, key=rank, default=None)


def match_face(face: np.ndarray, candidates: list[np.ndarray]) -> np.ndarray | None:
    """The candidate that lies where ``face`` does, or None."""
    height = max(float(np.ptp(face[:, 1])), 1e-6)
    distances = [float(np.linalg.norm(other[:, :2] - face[:, :2], axis=1).mean()) / height for other in candidates]
    best = int(np.argmin(distances)) if distances else -1
    return candidates[best] if distances and distances[best] < _SAME_FACE else None


def _measure(
    series: _Series, target: np.ndarray, swap: np.ndarray, truth: np.ndarray | None, face: np.ndarray, fake: np.ndarray
) -> None:
    """Add one pair of frames in which both show the face."""
    mask = picture.face_mask(face, target.shape)
    if not mask.any():
        series.break_off()
        return
    series.changed.append(float(np.mean(cv2.mean(cv2.absdiff(target, swap), mask.astype(np.uint8))[:3])))
    series.mouth.append((regions.mouth_opening(face), regions.mouth_opening(fake)))
    series.eyes.append((regions.eye_opening(face), regions.eye_opening(fake)))
    poses = alignment.pose(face), alignment.pose(fake)
    yaw, pitch, roll = (abs((a - b + 180) % 360 - 180) for a, b in zip(*poses, strict=True))
    series.poses.append((motion.pose_difference(*poses), yaw, pitch, roll))
    own = picture.sharpness(target, mask)
    if own > 0:
        series.sharpness.append(picture.sharpness(swap, mask) / own)
    series.seam.append(picture.seam(swap, target, face))
    if truth is not None:
        series.ssim.append(picture.ssim(swap, truth, mask))
        series.psnr.append(picture.psnr(swap, truth, mask))

    series.last_landmarks = [*series.last_landmarks[-2:], (face, fake)]
    if len(series.last_landmarks) == 3:
        a, b, c = series.last_landmarks
        series.jitter.append((motion.jitter(a[0], b[0], c[0]), motion.jitter(a[1], b[1], c[1])))
    matrix = alignment.crop_matrix(face, _ALIGNED)
    crops = alignment.warp(target, matrix, _ALIGNED), alignment.warp(swap, matrix, _ALIGNED)
    if series.last_crops is not None:
        small = picture.face_mask(alignment.transform(face, matrix), crops[0].shape)
        before = series.last_crops
        series.flicker.append((motion.flicker(before[0], crops[0], small), motion.flicker(before[1], crops[1], small)))
    series.last_crops = crops


def _ratio(pairs: list[tuple[float, float]]) -> float | None:
    if not pairs:
        return None
    real, fake = np.array(pairs).mean(axis=0)
    return float(fake / real) if real > 1e-9 else None


@contextlib.contextmanager
def _reading(path: str | Path, **selection: Any) -> Iterator[Iterator[media.Frame]]:
    """Frames of a clip; its decoder stops at the end of the block, however that is left."""
    frames = media.read_frames(path, **selection)
    try:
        yield frames
    finally:
        frames.close()  # type: ignore[attr-defined]


def embed_clip(path: str | Path, model: IdentityModel, *, most: int = 200) -> np.ndarray:
    """Embeddings of the largest face in at most ``most`` frames spread over a clip.

    A clip that does not say how many frames it has is looked at frame by frame.

    Returns:
        float32 (N, D) unit vectors; N may be 0.
    """
    declared = media.probe(path).frames
    indices = None if declared is None else np.unique(evenly(declared, most))
    found: list[np.ndarray] = []
    chosen = None if indices is None else indices.tolist()
    with contextlib.closing(open_backend(static=True)) as backend, _reading(path, indices=chosen) as frames:
        for frame in frames:
            faces = backend.detect(frame.image)
            if faces:
                largest = max(faces, key=lambda face: float(np.prod(np.ptp(face[:, :2], axis=0))))
                found.append(model.embed(frame.image, largest))
    return np.array(found, np.float32)


Triple = tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]
"""A frame of the target, of the fake and of the exact swap, uint8 (H, W, 3) RGB; None where a clip has ended."""


def read_triples(
    target: Path,
    swap: Path,
    truth: Path | None = None,
    first: int = 0,
    advance: Callable[[int], None] = lambda n: None,
) -> Generator[Triple, None, None]:
    """The frames of clips in step, for :func:`compare_frames`; close it to stop the decoders.

    Args:
        target: The clip the fake was made from.
        swap: The fake.
        truth: The exact swap, where there is one.
        first: The target's frame that the fake's first frame shows.
        advance: Called for every triple.
    """
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(_reading(target, start=first))]
        readers += [stack.enter_context(_reading(path)) for path in (swap, truth) if path]
        for frames in itertools.zip_longest(*readers):
            images = [frame.image if frame is not None else None for frame in frames]
            yield images[0], images[1], images[2] if truth else None
            advance(1)


def compare_clips(
    target: str | Path,
    swap: str | Path,
    source: str | Path | None = None,
    *,
    identity_model: IdentityModel | None = None,
    truth: str | Path | None = None,
    every: int = 1,
    first: int = 0,
    source_frames: int = 200,
) -> FakeQuality:
    """Measure a fake. The clips are read frame by frame, so their length does not matter.

    Args:
        target: The clip the fake was made from (person B); its frames pair with the fake's in order.
        swap: The fake.
        source: A real clip of person A; needed for identity.
        identity_model: The recognition network; None leaves identity out.
        truth: The exact swap as a clip of the same frames (virtual actors).
        every: Measure every so many frames; flicker and jitter then compare frames that far apart.
        first: The target's frame that the fake's first frame shows.
        source_frames: Person A is known from at most so many frames, spread over the source.

    Raises:
        UserError: If a clip cannot be read or the fake has another picture size.
        ValueError: If ``every`` is below 1 or ``first`` below 0.
    """
    if every < 1 or first < 0:
        raise ValueError("every must be at least 1 and first at least 0.")
    target, swap, truth = Path(target), Path(swap), Path(truth) if truth else None
    looks = None
    if identity_model is not None and source is not None:
        looks = embed_clip(source, identity_model, most=source_frames)
    with contextlib.closing(read_triples(target, swap, truth, first)) as frames:
        return compare_frames(
            frames, identity_model=identity_model, source=looks, every=every, name=f"{swap} and {target}"
        )


def compare_frames(
    frames: Iterable[Triple],
    *,
    identity_model: IdentityModel | None = None,
    source: np.ndarray | None = None,
    every: int = 1,
    name: str = "fake and target",
    finder: LandmarkBackend | None = None,
) -> FakeQuality:
    """Measure a fake that need not be a file; only the last few frames are held.

    Args:
        frames: Target, fake and exact swap (or None), frame by frame.
        identity_model: The recognition network; None leaves identity out.
        source: Embeddings of person A, (N, D), as :func:`embed_clip` makes them; needed for identity.
        every: Measure every so many frames; flicker and jitter then compare frames that far apart.
        name: What is compared, for the error.
        finder: Finds the target's faces, and is left open; None opens MediaPipe for it.

    Raises:
        UserError: If target and fake have different sizes.
        ValueError: If ``every`` is below 1.
    """
    if every < 1:
        raise ValueError("every must be at least 1.")
    series = _Series()
    counts = [0, 0]
    compared = 0
    cut = CutDetector()
    with contextlib.ExitStack() as stack:
        if finder is None:
            finder = stack.enter_context(contextlib.closing(open_backend()))
        fake_finder = stack.enter_context(contextlib.closing(open_backend()))
        for real, fake, exact in frames:
            counts = [counts[0] + (real is not None), counts[1] + (fake is not None)]
            if real is None or fake is None:
                continue
            if real.shape != fake.shape:
                sizes = " and ".join(f"{image.shape[1]}x{image.shape[0]}" for image in (real, fake))
                raise UserError(f"{name} cannot be compared: their pictures are {sizes}.")
            if cut(real):
                finder.reset()
                fake_finder.reset()
                series.break_off()
            if (counts[0] - 1) % every:
                continue
            compared += 1
            _compare(series, (finder, fake_finder), real, fake, exact, identity_model)
    return _summary(series, compared, abs(counts[0] - counts[1]), source)


def _compare(
    series: _Series,
    finders: tuple[LandmarkBackend, LandmarkBackend],
    real: np.ndarray,
    fake: np.ndarray,
    exact: np.ndarray | None,
    identity_model: IdentityModel | None,
) -> None:
    face = pick_face(finders[0].detect(real), real, fake)
    candidates = finders[1].detect(fake)
    if face is None:
        series.break_off()
        return
    series.faces_target += 1
    if identity_model is not None:
        series.embeddings_target.append(identity_model.embed(real, face))
    swapped = match_face(face, candidates)
    if swapped is None:
        series.break_off()
        return
    if identity_model is not None:
        series.embeddings_swap.append(identity_model.embed(fake, swapped))
    _measure(series, real, fake, exact, face, swapped)


def _summary(series: _Series, compared: int, missing: int, source: np.ndarray | None) -> FakeQuality:
    identity = None
    if series.embeddings_target and source is not None:
        identity = identity_scores(
            np.array(series.embeddings_swap, np.float32), source, np.array(series.embeddings_target, np.float32)
        )
    poses = np.array(series.poses, np.float64).reshape(-1, 4)
    mouth, eyes = (np.array(pairs, np.float64).reshape(-1, 2) for pairs in (series.mouth, series.eyes))
    return FakeQuality(
        frames=compared,
        frames_missing=missing,
        faces_target=series.faces_target,
        faces_both=len(series.mouth),
        changed=spread(series.changed),
        identity=identity,
        mouth=correlation(mouth[:, 0], mouth[:, 1]),
        eyes=correlation(eyes[:, 0], eyes[:, 1]),
        pose=spread(poses[:, 0]),
        yaw=spread(poses[:, 1]),
        pitch=spread(poses[:, 2]),
        roll=spread(poses[:, 3]),
        sharpness=spread(series.sharpness),
        flicker=_ratio(series.flicker),
        jitter=_ratio(series.jitter),
        seam=spread(series.seam),
        ssim=spread(series.ssim),
        psnr=spread(series.psnr),
    )
