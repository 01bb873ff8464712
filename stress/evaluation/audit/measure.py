"""From clips to the numbers that probes look at, none of which sees a face."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from faceswap_hq.errors import UserError
from stress.data.crops import evenly_spaced, sample_frames
from stress.data.layouts import Clip
from stress.evaluation.audit import container, pixels
from stress.evaluation.audit.container import FileFacts
from stress.evaluation.metrics import Array

FindFaces = Callable[[np.ndarray], list[np.ndarray]]
"""From uint8 RGB (H, W, 3) to the landmarks (points, 2 or 3) of each face, in pixels."""

GROWN = 0.35  # by how much of its longer side the hull of a face's landmarks is grown: hair, chin, the edge of a swap
_LEAST = 0.05  # share of a picture that must lie outside


@dataclass(frozen=True, kw_only=True)
class Table:
    """Numbers of clips for one probe.

    Attributes:
        name: Of the probe.
        label: What the probe looks at, for a sentence.
        labels: (d,) what each column is called.
        logs: (d,) whether the logarithm of a column is used.
        raw: (n, d) as measured; NaN where it cannot be had.
    """

    name: str
    label: str
    labels: list[str]
    logs: list[bool]
    raw: Array

    @property
    def values(self) -> Array:
        """(n, d) what the test is done on."""
        found = self.raw.copy()
        logs = np.array(self.logs, bool)
        found[:, logs] = np.log(np.maximum(found[:, logs], 1e-6))
        return found


def codec_table(facts: Sequence[FileFacts | None]) -> Table:
    """Container and codec: numbers, and for every word that occurs whether a clip has it."""
    columns = {name: container.NUMBERS[name] for name in container.CODEC}
    raw = _rows([fact.numbers if fact else None for fact in facts], columns)
    labels, logs, parts = [label for label, _ in columns.values()], [log for _, log in columns.values()], [raw]
    for word, label in container.WORDS.items():
        found = [fact.words.get(word, "none") if fact else None for fact in facts]
        for value in sorted({text for text in found if text is not None}):
            parts.append(np.array([[np.nan if text is None else float(text == value)] for text in found]))
            labels.append(f"share with {label} {value}")
            logs.append(False)
    whole = np.concatenate(parts, axis=1) if len(facts) else np.zeros((0, len(labels)))
    label = "what the container says (codec, clock, length, tags)"
    return Table(name="codec", label=label, labels=labels, logs=logs, raw=whole)


def rate_table(facts: Sequence[FileFacts | None]) -> Table:
    """Bit rate, of keyframes and others, and how even it is."""
    columns = {name: container.NUMBERS[name] for name in container.BITRATE}
    raw = _rows([fact.numbers if fact else None for fact in facts], columns)
    labels, logs = zip(*columns.values(), strict=True)
    return Table(name="bit_rate", label="the bit rate", labels=list(labels), logs=list(logs), raw=raw)


_PIXELS = {
    "frame": ("the look of what is outside the face (colour, noise, sharpness)", pixels.FRAME),
    "outside": ("the texture of what is outside the face (borders, patterns, frequencies)", pixels.OUTSIDE),
    "blocks": ("the block grid outside the face", pixels.BLOCKS),
}


def pixel_tables(
    clips: Sequence[Clip], *, frames: int = 3, find_faces: FindFaces | None = None, advance: Callable[..., None]
) -> list[Table]:
    """Measure pictures outside their faces.

    All clips of one source clip are measured with the same mask in each of the frames: the hulls of the faces found in
    any of them, grown by :data:`GROWN`. So the mask tells nothing, and a face that only one side shows is in no number.

    Args:
        clips: Fakes and reals.
        frames: Frames of each clip, spread over it.
        find_faces: Finds landmarks; by default MediaPipe's, opened once the first picture could be read.
        advance: Called after every clip.

    Returns:
        Tables ``frame``, ``outside`` and ``blocks``, a row a clip.
    """
    measured: list[dict[str, float]] = [{} for _ in clips]
    blocks: dict[str, list[int]] = defaultdict(list)
    for i, clip in enumerate(clips):
        blocks[clip.source_clip].append(i)
    with contextlib.ExitStack() as stack:
        for inside in blocks.values():
            pictures = {i: _pictures(clips[i], frames) for i in inside}
            if find_faces is None and any(pictures.values()):
                from faceswap_hq.faces.landmarks import open_backend

                backend = open_backend(static=True)
                stack.callback(backend.close)
                find_faces = backend.detect
            hulls = [
                _hulls([found[slot] for found in pictures.values() if slot < len(found)], find_faces)
                for slot in range(frames)
            ]
            for i in inside:
                measured[i] = _clip_numbers(pictures[i], hulls)
                advance()
    return [
        Table(
            name=name, label=label, labels=[text for text, _ in columns.values()],
            logs=[log for _, log in columns.values()], raw=_rows(measured, columns),
        )
        for name, (label, columns) in _PIXELS.items()
    ]  # fmt: skip


def _rows(numbers: Sequence[dict[str, float] | None], columns: dict[str, tuple[str, bool]]) -> Array:
    rows = [[(row or {}).get(name, np.nan) for name in columns] for row in numbers]
    return np.array(rows, np.float64).reshape(len(numbers), len(columns))


def _pictures(clip: Clip, frames: int) -> list[np.ndarray]:
    try:
        found = [picture for _, picture in sample_frames(clip, frames)]
    except (UserError, OSError):
        return []
    return [found[i] for i in evenly_spaced(len(found), frames)] if found else []


def _hulls(pictures: Sequence[np.ndarray], find_faces: FindFaces | None) -> list[np.ndarray]:
    """Grown hulls (points, 2) of all faces in pictures of one moment, in shares of width and height."""
    found = []
    for picture in pictures:
        size = np.array([picture.shape[1], picture.shape[0]], np.float64)
        for landmarks in (find_faces(picture) if find_faces else []):
            points = cv2.convexHull(np.array(landmarks[:, :2], np.float32, order="C"))[:, 0].astype(np.float64)
            centre = points.mean(axis=0)
            reach = np.linalg.norm(points - centre, axis=1, keepdims=True)
            grown = reach + GROWN * np.ptp(points, axis=0).max()
            found.append((centre + (points - centre) / np.maximum(reach, 1e-6) * grown) / size)
    return found


def _clip_numbers(pictures: Sequence[np.ndarray], hulls: Sequence[Sequence[np.ndarray]]) -> dict[str, float]:
    """Means over the frames in which a face was found and enough lies outside it."""
    rows = []
    for picture, faces in zip(pictures, hulls, strict=False):
        if not faces or min(picture.shape[:2]) < 32:
            continue
        covered = np.zeros(picture.shape[:2], np.uint8)
        for hull in faces:
            points = hull * np.array([picture.shape[1], picture.shape[0]])
            cv2.fillConvexPoly(covered, np.round(points).astype(np.int32), (1,))
        outside = covered == 0
        if outside.mean() < _LEAST:
            continue
        rows.append(
            pixels.frame_numbers(picture, outside)
            | pixels.border_numbers(picture)
            | pixels.texture_numbers(picture, outside)
            | pixels.block_numbers(picture, outside)
        )
    if not rows:
        return {}
    found = {name: [row[name] for row in rows if np.isfinite(row.get(name, np.nan))] for name in rows[0]}
    return {name: float(np.mean(values)) for name, values in found.items() if values}
