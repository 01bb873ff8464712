"""Footage to blend into and faces to blend, without days of training: what seam.py and flicker.py have in common.

A face to blend comes from one of four kinds of makers:

* ``drawn`` (virtual actors): another actor giving the target's performance, filmed in his own place, without noise;
* ``warped``: another person's picture in the nearest pose, bent by a thin-plate spline onto the target's landmarks;
* ``own``: the target's own face with colours, sharpness, place and size spoiled (after Shiohara and Yamasaki,
  "Detecting Deepfakes with Self-Blended Images", 2022, who train detectors on such);
* ``same``: the target's own face unspoiled, a check of what resolution and blending leave behind by themselves;
* ``model``: a trained model of ours.

All are brought to a model's resolution first: a face 330 pixels high in the frame has 128 of its own with the preset
``fast``.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import common  # noqa: F401 -- puts the repository on the path
import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator

import blending
from faceswap_hq import actors, media
from faceswap_hq.faces import alignment, expression, regions
from faceswap_hq.faces.landmarks import open_backend
from faceswap_hq.faces.smoothing import smooth_matrices, steadied

COVERAGE = 0.74
"""Share of the aligned crop's side that a model draws, that of the presets."""
_WIDE = 256
ANCHORS = sorted({
    *regions.FACE_OVAL, *regions.RIGHT_EYE, *regions.LEFT_EYE, *regions.RIGHT_BROW, *regions.LEFT_BROW,
    *regions.LIPS_OUTER, *regions.LIPS_INNER, 1, 4, 5, 6, 168, 195, 197, 98, 327, 2,
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Footage:
    """Runs of consecutive frames of one person."""

    name: str
    images: np.ndarray
    """uint8 (N, H, W, 3) RGB."""
    landmarks: np.ndarray
    """float32 (N, 478, 3), pixels."""
    matrices: np.ndarray
    """float32 (N, 2, 3), pixels to a crop of 256."""
    runs: tuple[tuple[int, int], ...]
    """(first, stop) of each run."""
    fps: float
    numbers: np.ndarray
    """int (N,) frame indices in the clip."""
    corner: tuple[int, int] = (0, 0)
    """x, y of the pictures' first pixel in the clip's."""

    @property
    def starts(self) -> np.ndarray:
        """Where a run begins, bool (N,)."""
        out = np.zeros(len(self.images), bool)
        out[[first for first, _ in self.runs]] = True
        return out


@dataclass(frozen=True, kw_only=True)
class Faces:
    """Faces of one maker for all frames of a target."""

    source: str
    target: str
    kind: str
    faces: np.ndarray
    """uint8 (N, S, S, 3)."""
    masks: np.ndarray
    """uint8 (N, S, S), 255 inside."""
    matrices: np.ndarray
    """float32 (N, 2, 3), frame pixels to crop."""


def _footage(
    name: str, images: np.ndarray, landmarks: np.ndarray, run: int, fps: float, numbers: Sequence[int],
    corner: tuple[int, int] = (0, 0),
) -> Footage:  # fmt: skip
    runs = tuple((first, min(first + run, len(images))) for first in range(0, len(images), run))
    frames = np.arange(len(images))
    breaks = {first for first, _ in runs}
    return Footage(
        name=name, images=images, landmarks=landmarks, runs=runs, fps=fps, numbers=np.array(numbers), corner=corner,
        matrices=smooth_matrices(landmarks, frames, frames / fps, breaks, _WIDE),
    )  # fmt: skip


def cast(
    count: int, runs: int, length: int, *, size: int, side: int, seed: int, work: Path, apart: int = 1
) -> tuple[list[Footage], list[Faces]]:
    """Virtual actors, and each one's ``drawn`` faces by the one ``apart`` places on; kept in ``work``.

    Args:
        count: How many actors.
        runs: Of consecutive frames, each actor.
        length: Frames of a run.
        size: Side of the pictures, pixels.
        side: Resolution of the faces to blend, pixels.
        seed: Of the cast.
        work: Folder of what was rendered before.
        apart: Distance of a target and its source in the cast.
    """
    members = actors.plan_cast(count, seconds=runs * 2.0, seed=seed, size=size)
    footage, drawn = [], []
    for k, member in enumerate(members):
        at = [int((run + 0.5) * 50) + i for run in range(runs) for i in range(length)]
        images, landmarks, _ = _rendered(member, member, at, size, seed, work)
        footage.append(_footage(member.name, images, landmarks, length, member.performance.fps, at))
        other = members[k + apart if k + apart < count else k % apart]
        pictures, points, masks = _rendered(other, member, at, size, seed, work)
        crops, covers = [], []
        steady = _footage(other.name, pictures, points, length, member.performance.fps, at).matrices
        for picture, mask, matrix in zip(pictures, masks, steady, strict=True):
            matrix = alignment.scaled(matrix, _WIDE, side, COVERAGE)
            crops.append(alignment.warp(picture, matrix, side))
            covers.append(cv2.GaussianBlur(alignment.warp(mask, matrix, side), (0, 0), 1.0))
        drawn.append(_faces(other.name, footage[-1], "drawn", crops, covers))
    return footage, drawn


def _rendered(
    who: actors.Member, where: actors.Member, at: Sequence[int], size: int, seed: int, work: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``who`` giving ``where``'s performance: pictures, landmarks, masks (uint8). Another's face has no noise."""
    path = work / f"{who.name}-as-{where.name}-{seed}-{size}-{len(at)}-{at[-1]}.npz"
    if not path.exists():
        scene = who.scene if who is where else replace(who.scene, noise=0.0)
        found = [actors.render(who.identity, where.performance, scene, frame) for frame in at]
        np.savez_compressed(
            path,
            images=np.stack([one.image for one in found]),
            landmarks=np.stack([one.landmarks for one in found]),
            masks=np.stack([np.round(255 * one.face_mask).astype(np.uint8) for one in found]),
        )
    with np.load(path) as kept:
        return kept["images"], kept["landmarks"], kept["masks"]


def clip(path: Path, runs: int, length: int, work: Path) -> Footage:
    """Runs of frames spread over a real clip, cut to the head's surroundings; only landmarks stay in ``work``."""
    info = media.probe(path)
    total = info.frames or 300
    firsts = np.linspace(0.05 * total, 0.9 * total - length, runs).astype(int)
    wanted = [int(first) + i for first in firsts for i in range(length)]
    images = [frame.image for frame in media.read_frames(info, indices=wanted)]
    if len(images) != len(wanted):
        raise SystemExit(f"{path.name} has too few frames, or damaged ones.")
    kept_at = work / f"{path.stem}-{runs}-{length}-landmarks.npy"
    if not kept_at.exists():
        np.save(kept_at, _landmarks(images, length))
    points = np.load(kept_at)
    found = np.isfinite(points).all((1, 2))
    kept = [k + i for k in range(0, len(images), length) if found[k : k + length].all() for i in range(length)]
    if not kept:
        raise SystemExit(f"{path.name}: no run of {length} frames shows a face throughout.")
    landmarks = points[kept]
    low, high = landmarks[..., :2].min((0, 1)), landmarks[..., :2].max((0, 1))
    margin = 0.6 * (high - low)
    left, top = (np.maximum(low - margin, 0) // 16 * 16).astype(int)
    right, bottom = np.minimum(high + margin, images[0].shape[1::-1]).astype(int)
    right, bottom = left + (right - left) // 2 * 2, top + (bottom - top) // 2 * 2
    landmarks[..., :2] -= (left, top)
    cut = np.stack([images[k][top:bottom, left:right] for k in kept])
    numbers = [wanted[k] for k in kept]
    return _footage(path.stem, cut, landmarks, length, float(info.rate), numbers, (int(left), int(top)))


def _landmarks(images: list[np.ndarray], length: int) -> np.ndarray:
    """The largest face's landmarks, (N, 478, 3) float32; nan where there is no face."""
    out = np.full((len(images), 478, 3), np.nan, np.float32)
    with contextlib.closing(open_backend("mediapipe")) as backend:
        for k, image in enumerate(images):
            if k % length == 0:
                backend.reset()
            faces = backend.detect(image)
            if faces:
                out[k] = max(faces, key=lambda face: float(np.ptp(face[:, 1])))
    return out


def own(target: Footage, side: int, rng: np.random.Generator | None = None) -> Faces:
    """The target's own faces, spoiled the same way throughout; unspoiled without a source of randomness."""
    crops, masks = [], []
    if rng is None:
        for image, points, matrix in zip(target.images, target.landmarks, target.matrices, strict=True):
            matrix = alignment.scaled(matrix, _WIDE, side, COVERAGE)
            crops.append(alignment.warp(image, matrix, side))
            masks.append(_oval(alignment.transform(points, matrix), side))
        return _faces(target.name, target, "same", crops, masks)
    gain, level, gamma = rng.uniform(0.85, 1.15, 3), rng.uniform(-0.04, 0.04), rng.uniform(0.85, 1.2)
    sigma = rng.uniform(0.3, 1.2)
    turn, zoom, shift = rng.normal(0, 0.02), rng.normal(1, 0.02), rng.normal(0, 0.012 * side, 2)
    linear = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    move = np.hstack([linear, (side / 2 - linear @ np.full(2, side / 2) + shift)[:, None]])
    for image, points, matrix in zip(target.images, target.landmarks, target.matrices, strict=True):
        matrix = alignment.scaled(matrix, _WIDE, side, COVERAGE)
        moved = move @ np.vstack([matrix, [0, 0, 1]])
        crop = cv2.GaussianBlur(alignment.warp(image, moved.astype(np.float32), side), (0, 0), sigma) / 255.0
        crops.append(_bytes(gain * crop**gamma + level))
        masks.append(_oval(alignment.transform(points, matrix), side))
    return _faces(target.name, target, "own", crops, masks)


def warped(source: Footage, target: Footage, side: int) -> Faces:
    """The source's picture nearest in pose to each run, bent onto the target's landmarks frame by frame."""
    poses = [
        np.stack([[*alignment.pose(points), 60 * regions.mouth_opening(points)] for points in one.landmarks])
        for one in (source, target)
    ]
    crops, masks = [], []
    for first, stop in target.runs:
        best = int(np.argmin(np.linalg.norm(poses[0] - poses[1][first:stop].mean(0), axis=1)))
        wide = alignment.scaled(source.matrices[best], _WIDE, 2 * side, 1.0)
        picture = alignment.warp(source.images[best], wide, 2 * side)
        theirs = alignment.transform(source.landmarks[best], wide)
        for points, matrix in zip(target.landmarks[first:stop], target.matrices[first:stop], strict=True):
            ours = alignment.transform(points, alignment.scaled(matrix, _WIDE, side, COVERAGE))
            lookup = bend(ours[ANCHORS], theirs[ANCHORS], side)
            smooth = cv2.GaussianBlur(picture, (0, 0), 0.7)
            crops.append(cv2.remap(smooth, lookup, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
            masks.append(_oval(ours, side))
    return _faces(source.name, target, "warped", crops, masks)


def bend(place: np.ndarray, origin: np.ndarray, side: int, *, smoothing: float = 0.5) -> np.ndarray:
    """Thin-plate spline that says where each pixel comes from, float32 (side, side, 2) for ``cv2.remap``.

    Args:
        place: (K, 2) points in the result, pixels.
        origin: (K, 2) the same points in the picture to be bent, pixels.
        side: Of the result, pixels.
        smoothing: How far points may be missed for a smoother spline.
    """
    grid = np.linspace(0, side - 1, 25)
    nodes = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    spline = RBFInterpolator(place.astype(float), origin.astype(float), smoothing=smoothing, degree=1)
    coarse = spline(nodes).reshape(25, 25, 2).astype(np.float32)
    # cv2.remap and cv2.resize round places to 1/32 of a node or move the corners
    between = np.stack([np.interp(np.arange(side), grid, row) for row in np.eye(25)], 1).astype(np.float32)
    return np.einsum("yi,ijc,xj->yxc", between, coarse, between, optimize=True)


def by_model(run: Path, targets: Iterable[Footage]) -> list[Faces]:
    """What a trained model draws, for every ordered pair of its people whose target is among the footage."""
    import torch

    from faceswap_hq.training.run import load_model

    model, card = load_model(run)
    out = []
    for target in targets:
        if target.name not in model.people:
            continue
        number = model.people.index(target.name)
        measured = steadied(np.stack([expression.measured(points) for points in target.landmarks]), target.starts)
        calibrated = model.calibration(number)(measured)
        side = model.settings.resolution
        matrices = [alignment.scaled(matrix, _WIDE, side, card.coverage) for matrix in target.matrices]
        crops = np.stack([alignment.warp(i, m, side) for i, m in zip(target.images, matrices, strict=True)])
        x = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
        for source in range(len(model.people)):
            if source == number:
                continue
            known = model.adapted(calibrated, model.seen[number].numpy(), source)
            with torch.inference_mode():
                faces, masks = model.swap(x, torch.from_numpy(known), source)
            drawn = Faces(
                source=model.people[source], target=target.name, kind="model", matrices=np.stack(matrices),
                faces=np.stack([_bytes(face) for face in faces.permute(0, 2, 3, 1).numpy()]),
                masks=np.stack([_bytes(mask) for mask in masks[:, 0].numpy()]),
            )  # fmt: skip
            out.append(drawn)
    return out


def blended(target: Footage, faces: Faces, settings: blending.BlendSettings) -> list[blending.ComposeResult]:
    """Every frame with the face in it, one state a run."""
    out = []
    state = blending.BlendState(settings.temporal)
    for k, image in enumerate(target.images):
        if target.starts[k]:
            state.reset()
        out.append(blending.compose(
            image, faces.faces[k] * np.float32(1 / 255), faces.masks[k] * np.float32(1 / 255), faces.matrices[k],
            polygon=regions.oval_polygon(target.landmarks[k]), cover=regions.brow_polygons(target.landmarks[k]),
            settings=settings, state=state,
        ))  # fmt: skip
    return out


def encoded(images: Sequence[np.ndarray], fps: float) -> list[np.ndarray]:
    """The frames after the toolkit's own encoder."""
    height, width = images[0].shape[:2]
    base = Fraction(1, 90000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        like = media.VideoInfo(
            path=path, width=width, height=height, rotation=0, rate=Fraction(fps).limit_denominator(1001),
            time_base=base, frames=len(images), duration=None, has_audio=False, codec="h264", pixel_format="yuv420p",
        )  # fmt: skip
        with media.VideoWriter(path, like=like, threads=1) as out:
            for k, image in enumerate(images):
                out.write(image, round(k / fps / base))
        return [frame.image for frame in media.read_frames(path)]


def _faces(source: str, target: Footage, kind: str, crops: list[np.ndarray], masks: list[np.ndarray]) -> Faces:
    side = crops[0].shape[0]
    matrices = np.stack([alignment.scaled(matrix, _WIDE, side, COVERAGE) for matrix in target.matrices])
    return Faces(
        source=source, target=target.name, kind=kind, faces=np.stack(crops), masks=np.stack(masks), matrices=matrices
    )


def _oval(points: np.ndarray, side: int) -> np.ndarray:
    """Mask as a model learns it: the face's oval, a little soft."""
    return cv2.GaussianBlur(regions.fill([regions.oval_polygon(points)], side), (0, 0), side / 128)


def _bytes(image: np.ndarray) -> np.ndarray:
    return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
