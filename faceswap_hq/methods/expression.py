"""Another's expression on one's own face: the target's own pixels, bent by what a driver's landmarks do.

The class of fakes that Face2Face (Thies et al. 2016) began, with none of its machinery: no 3-D model, no light, and no
mouth of the person's own put in from other frames. Where a mouth opens that was closed there is nothing to be seen, and
the stretched line between the lips is darkened.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from faceswap_hq import media, planning, provenance
from faceswap_hq.drawing import Painter
from faceswap_hq.faces import alignment, expression, mesh, regions
from faceswap_hq.faces.parsing import FaceParser
from faceswap_hq.faces.smoothing import steadied
from faceswap_hq.files import sha256_file
from faceswap_hq.methods.method import Method, Progress, check_landmarks, silent
from faceswap_hq.methods.warping import COVERAGE, landmarks_of, starts_of, warp_painter
from faceswap_hq.planning import Advance, Plan, RenderSettings

NOTE = "The person's own face, its expression moved by another's."
_LONGEST = 60.0  # s of the driving clip that are used
_SIZES = (192, 640)
_FINER = 1.25  # the painted crop's pixels for each of the frame's, along a side
_FADE = 0.09  # crop sides over which the movement rises from what stands still
_DARK = np.array([0.30, 0.14, 0.12], np.float32)  # of the light in a mouth that opens
_LIPS = mesh.opposite(regions.LIPS_INNER)


@dataclass(frozen=True, kw_only=True)
class ExpressionSettings:
    """How much of the driver's expression is taken."""

    strength: float = 1.0
    """1: the driver's movement, in centimetres of the generic face."""
    limit: float = 1.2
    """No point moves further, cm; approached smoothly."""
    opening: float = 0.7
    """The mouth opens no further than this beyond what the frame shows, cm; approached smoothly."""
    stiffness: float = 1.0
    """How far the face resists being bent; see :func:`faceswap_hq.faces.mesh.relaxed`."""

    def __post_init__(self) -> None:
        if not (0 <= self.strength <= 2 and self.limit > 0 and self.opening > 0 and self.stiffness >= 0):
            raise ValueError("strength lies between 0 and 2, limit and opening above 0, stiffness is at least 0")


@dataclass(frozen=True, kw_only=True)
class Driving:
    """What a driver's face does through a clip."""

    times: np.ndarray
    """float64 (N,): seconds, ascending from 0."""
    offsets: np.ndarray
    """float64 (N, 468, 2): from the face at rest, turned to the front; centimetres, x right, y down."""
    clip: str
    sha256: str

    def at(self, time: float) -> np.ndarray:
        """Offsets (468, 2) at a time (s), between two frames mixed; the clip runs forwards and backwards in turn."""
        last = float(self.times[-1])
        if last <= 0:
            return self.offsets[0]
        time = time % (2 * last)
        time = min(time, 2 * last - time)
        after = int(np.clip(np.searchsorted(self.times, time), 1, len(self.times) - 1))
        start, stop = self.times[after - 1 : after + 1]
        share = (time - start) / (stop - start)
        return (1 - share) * self.offsets[after - 1] + share * self.offsets[after]


def offsets(landmarks: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """What a face does through a clip: where its points are, turned to the front, less where they are at rest.

    At rest the mouth is as closed as it ever is, and the eyes are open.

    Args:
        landmarks: (N, 478, 3) in frame pixels.
        starts: bool (N,), where something new begins.

    Returns:
        float64 (N, 468, 2), centimetres of the generic face, x to the picture's right, y down; steadied in time.
    """
    front = np.stack([alignment.frontal(face)[: mesh.FACE_POINTS] for face in landmarks])
    gap = np.array([regions.mouth_opening(face) for face in landmarks])
    open_eyes = np.array([regions.eye_opening(face) for face in landmarks])
    closed = gap <= np.quantile(gap, 0.15)
    rest = closed & (open_eyes >= np.median(open_eyes[closed]))
    moved = front - np.median(front[rest], axis=0)
    return steadied(moved.reshape(len(moved), -1), starts).reshape(moved.shape)


@lru_cache(maxsize=1)
def shares() -> np.ndarray:
    """How far each of the net's vertices follows, float32 (504,): not at all around the face and at its upper outline.

    The jaw's outline follows, and the neck gives way between it and the anchors.
    """
    points = mesh.resting()
    oval = np.array(regions.FACE_OVAL)
    still = np.concatenate([oval[points[oval, 1] < points[2, 1]], np.arange(mesh.FACE_POINTS, len(points))])
    away = np.linalg.norm(points[:, None] - points[None, still], axis=-1).min(1)
    ramp = np.clip(away / _FADE, 0, 1)
    return (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)


def moved(points: np.ndarray, change: np.ndarray, pose: np.ndarray, settings: ExpressionSettings) -> np.ndarray:
    """A face's points after a change of expression.

    Args:
        points: (468, 2) in the aligned crop, its side being 1.
        change: (468, 2): by how much they are to move on the frontal face, cm.
        pose: (2,) the head's yaw and pitch, degrees: a turned face is seen foreshortened.
        settings: How far.

    Returns:
        float32 (468, 2). Lids and lips do not pass through each other.
    """
    step = settings.strength * change
    length = np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-9)
    step = step / length * settings.limit * np.tanh(length / settings.limit)
    upper, lower = _LIPS
    wider = float(np.mean(step[lower, 1] - step[upper, 1]))
    if wider > 0:
        step = step * (settings.opening * np.tanh(wider / settings.opening) / wider)
    step = step * np.cos(np.radians(pose)) / alignment.CROP_CM
    step = mesh.relaxed(points, points + step, settings.stiffness) - points
    out = (points + step * shares()[: mesh.FACE_POINTS, None]).astype(np.float32)
    for loop in (regions.RIGHT_EYE, regions.LEFT_EYE, regions.LIPS_INNER):
        upper, lower = mesh.opposite(loop)
        crossed = np.maximum(out[upper, 1] - out[lower, 1], 0) / 2
        out[upper, 1] -= crossed
        out[lower, 1] += crossed
    return out


def darkened(face: np.ndarray, before: np.ndarray, after: np.ndarray, unit: float) -> np.ndarray:
    """A face whose mouth opened has no pixels between the lips: what was stretched there is darkened.

    Args:
        face: (S, S, 3) float32.
        before: (468, 2) points in pixels, as the frame shows the face.
        after: (468, 2), as it is painted.
        unit: Pixels of a centimetre.

    Returns:
        (S, S, 3) float32; ``face`` itself where the mouth did not open.
    """
    upper, lower = _LIPS
    gap, new = (float(np.mean(points[lower, 1] - points[upper, 1])) / unit for points in (before, after))
    amount = np.clip((new - max(gap, 0.0) - 0.05) / 0.3, 0, 1) * np.clip(1 - max(gap, 0.0) / max(new, 1e-6), 0, 1)
    if amount <= 0:
        return face
    canvas = np.zeros(face.shape[:2], np.uint8)
    loop = after[list(regions.LIPS_INNER)]
    cv2.fillPoly(canvas, [np.round(loop * 16).astype(np.int32)], (255,), cv2.LINE_AA, 4)
    inside = cv2.GaussianBlur(canvas, (0, 0), max(0.06 * unit, 0.5)).astype(np.float32) * np.float32(amount / 255)
    return face * (1 - inside[..., None] * (1 - _DARK))


@dataclass(frozen=True, kw_only=True)
class ExpressionSwap(Method):
    """An expression warp made ready: see :func:`open_expression`."""

    driving: Driving
    expression_settings: ExpressionSettings

    joint = "moves"

    def watch(self, video: Path, advance: Advance) -> Plan:
        """See :class:`Method`; crops as fine as the frames, and the painted region reaches down to the still neck."""
        found = planning.watch(video, self.settings, _SIZES[0], COVERAGE, advance)
        scale = float(np.median([np.hypot(*matrix[:, 0]) for matrix in found.matrices.values()]))
        size = int(np.clip(round(_FINER * _SIZES[0] / scale), *_SIZES))
        matrices = {frame: alignment.scaled(matrix, _SIZES[0], size) for frame, matrix in found.matrices.items()}
        polygons = {frame: _region(outline, matrices[frame], size) for frame, outline in found.polygons.items()}
        return replace(found, size=size, matrices=matrices, polygons=polygons)

    def made_with(self) -> dict[str, Any]:
        """See :class:`Method`."""
        driver = {"clip": self.driving.clip, "sha256": self.driving.sha256}
        return {"method": "expression", "driver": driver, "expression": asdict(self.expression_settings), "note": NOTE}

    def painter(self, plan: Plan) -> Painter:
        """See :class:`Method`."""
        frames, faces = landmarks_of(plan)
        seen = np.isin(plan.person.frames, frames)
        own = offsets(plan.person.landmarks[seen], starts_of(plan, frames))
        times = plan.faces.times[np.searchsorted(plan.faces.frames, frames)]
        size, unit = plan.size, plan.size / (COVERAGE * alignment.CROP_CM)
        rows = {frame: i for i, frame in enumerate(frames)}
        poses = plan.measured[seen][:, : expression.POSE]

        def bend(frame: media.Frame) -> np.ndarray:
            i = rows[frame.index]
            points = faces[i, : mesh.FACE_POINTS, :2]
            change = self.driving.at(float(times[i] - times[0])) - own[i]
            pair = points, moved(points, change, poses[i], self.expression_settings)
            before, after = (mesh.to_pixels(mesh.vertices(part), size, COVERAGE) for part in pair)
            where = mesh.warp_map(before, after, mesh.depths(faces[i]), size, np.eye(2, 3, dtype=np.float32))
            back = cv2.invertAffineTransform(plan.matrices[frame.index])
            face = mesh.bent(frame.image, cv2.transform(where, back)) * np.float32(1 / 255)
            return darkened(face, before, after, unit)

        return warp_painter(plan, bend, own=self.settings.own, parser=self.parser)


def _region(outline: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """The face's outline in frame pixels, (K, 2), and below it as far as the picture is bent."""
    following = shares()[list(regions.FACE_OVAL)] > 0
    anchors = mesh.to_pixels(mesh.resting()[mesh.FACE_POINTS :][following], size, COVERAGE)
    return np.concatenate([outline, alignment.transform(anchors, cv2.invertAffineTransform(matrix))])


def watch_driver(clip: Path, settings: RenderSettings, progress: Progress = silent) -> Driving:
    """What the person seen longest in the driving clip does, in its first minute.

    Raises:
        UserError: If the clip can't be used or shows no face.
    """
    info = media.probe(clip)
    last = max(1, round(_LONGEST * float(info.rate)))
    whole = replace(settings, person=1, frames=(0, last))
    with progress(f"finding faces in {clip.name}", min(info.frames or last, last)) as advance:
        found = planning.watch(clip, whole, _SIZES[0], COVERAGE, advance)
    check_landmarks(found.person.landmarks.shape[1], "expression")
    times = found.faces.times[np.searchsorted(found.faces.frames, found.person.frames)]
    return Driving(
        times=times - times[0],
        offsets=offsets(found.person.landmarks, starts_of(found, [int(frame) for frame in found.person.frames])),
        clip=clip.name, sha256=sha256_file(clip),
    )  # fmt: skip


def open_expression(
    driver: Path | Driving,
    settings: RenderSettings,
    *,
    target: str,
    source: str,
    expression_settings: ExpressionSettings | None = None,
    key: provenance.SigningKey | None = None,
    parser: Path | None = None,
    progress: Progress = silent,
) -> ExpressionSwap:
    """Read what the driver does.

    Args:
        driver: The driving clip, or what :func:`watch_driver` found in it.
        settings: How to render.
        target: Name of the person in the video, whose face it stays.
        source: Name of the driver.
        expression_settings: How far the face moves.
        key: Signing key; default the user's own.
        parser: A face-parsing network, see :mod:`faceswap_hq.faces.parsing`.
        progress: Opens progress displays.

    Raises:
        UserError: For a driving clip that can't be used, a backend without the 478 points, or a damaged parser.
    """
    if settings.backend != "mediapipe":
        check_landmarks(0, "expression")
    driving = driver if isinstance(driver, Driving) else watch_driver(driver, settings, progress)
    return ExpressionSwap(
        driving=driving, expression_settings=expression_settings or ExpressionSettings(), settings=settings,
        source=source, target=target, key=key, parser=None if parser is None else FaceParser(parser), progress=progress,
    )  # fmt: skip
