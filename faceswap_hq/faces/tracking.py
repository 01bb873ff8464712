"""Follow people through a clip: landmarks frame by frame, joined to tracks, tracks joined to people."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from faceswap_hq.faces import alignment
from faceswap_hq.faces.landmarks import LandmarkBackend
from faceswap_hq.media import Frame
from faceswap_hq.media.background import in_background

MAX_GAP = 8
"""Frames for which a face may be lost (a blink of the detector, a passing hand) and still be the same track."""

_NEAR = 0.35  # mean landmark distance between frames, in face heights, up to which it is the same face
_SAME_PERSON = 0.75  # similarity of two tracks' looks from which they are the same person
_SAMPLES = 8  # pictures of a track that its look is computed from


@dataclass(kw_only=True)
class Track:
    """One face followed without a break."""

    frames: list[int] = field(default_factory=list)
    """Frame indices, ascending."""
    landmarks: list[np.ndarray] = field(default_factory=list)
    """One float32 (points, 3) array a frame, in frame pixels."""
    looks: list[np.ndarray] = field(default_factory=list)
    """A few aligned thumbnails as descriptors, for telling people apart across cuts."""
    last: int = -1
    """Position of its latest frame among those looked at (frames may be taken in steps)."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """All tracks of one person in a clip."""

    number: int
    """1 for the person seen longest, then 2, ..."""
    frames: np.ndarray
    """int32 (N,) frame indices in which the person is seen, ascending."""
    landmarks: np.ndarray
    """float32 (N, points, 3) in frame pixels."""
    track_starts: np.ndarray
    """int32 (T,) positions in ``frames`` where the track changes: smoothing must not cross them."""
    track_numbers: tuple[int, ...]
    """The numbers of the person's tracks, as passed to ``on_face``."""


@dataclass(frozen=True, kw_only=True)
class ClipFaces:
    """Everybody found in a clip."""

    people: tuple[Person, ...]
    """Ordered by the number of frames they are seen in."""
    times: np.ndarray
    """float64 (frames,) presentation time of each frame, s."""
    frames: np.ndarray
    """int64 (frames,) index of each frame; ascending, with gaps where frames were left out or lost."""
    cuts: tuple[int, ...]
    """Indices of the first frame after each cut."""
    frames_with_face: int
    """Frames in which anybody was found."""


OnFace = Callable[[Frame, int, np.ndarray], None]


def follow(frames: Iterable[Frame], backend: LandmarkBackend, on_face: OnFace | None = None) -> ClipFaces:
    """Follow every face through a clip, holding a few frames at a time; the frames are drawn and searched in a thread.

    Args:
        frames: The clip's frames in display order.
        backend: Finds the landmarks; is reset at cuts.
        on_face: Called with the frame, the number of the track and the landmarks for every face found.
    """
    tracks: list[Track] = []
    times: list[float] = []
    indices: list[int] = []
    cuts: list[int] = []
    seen = shot = 0
    with _detected(frames, backend, CutDetector()) as found:
        for position, (frame, cut, faces) in enumerate(found):
            times.append(frame.time)
            indices.append(frame.index)
            if cut:
                cuts.append(frame.index)
                shot = position
            seen += bool(faces)
            for number, landmarks in _associate(tracks, faces, max(shot, position - MAX_GAP - 1)):
                track = tracks[number]
                track.last = position
                track.frames.append(frame.index)
                track.landmarks.append(landmarks)
                _sample_look(track, frame.image, landmarks)
                if on_face is not None:
                    on_face(frame, number, landmarks)
    return ClipFaces(
        people=tuple(_people(tracks)),
        times=np.array(times, np.float64),
        frames=np.array(indices, np.int64),
        cuts=tuple(cuts),
        frames_with_face=seen,
    )


def _detected(
    frames: Iterable[Frame], backend: LandmarkBackend, begins_shot: Callable[[np.ndarray], bool] = lambda image: False
) -> contextlib.closing[Generator[tuple[Frame, bool, list[np.ndarray]], None, None]]:
    """Each frame, whether it begins a new shot, and its faces: from a thread, since all else can be done meanwhile."""

    def work(stop: threading.Event) -> Generator[tuple[Frame, bool, list[np.ndarray]], None, None]:
        for frame in frames:
            cut = begins_shot(frame.image)
            if cut:
                backend.reset()
            yield frame, cut, backend.detect(frame.image)

    return contextlib.closing(in_background(work, size=4, name="faceswap-hq landmarks", urgent=True))


def by_size(pictures: Iterable[Frame], backend: LandmarkBackend, on_face: OnFace) -> ClipFaces:
    """Find everybody in unrelated pictures, where nothing can be followed: person N is each one's N-th largest face."""
    tracks: list[Track] = []
    times: list[float] = []
    indices: list[int] = []
    seen = 0
    with _detected(pictures, backend) as found:
        for picture, _, faces in found:
            times.append(picture.time)
            indices.append(picture.index)
            faces.sort(key=lambda face: -float(np.ptp(face[:, 1])))
            seen += bool(faces)
            for number, landmarks in enumerate(faces):
                if number == len(tracks):
                    tracks.append(Track())
                tracks[number].frames.append(picture.index)
                tracks[number].landmarks.append(landmarks)
                on_face(picture, number, landmarks)
    return ClipFaces(
        people=tuple(_person(number + 1, [number], tracks) for number in range(len(tracks))),
        times=np.array(times, np.float64),
        frames=np.array(indices, np.int64),
        cuts=(),
        frames_with_face=seen,
    )


def _associate(tracks: list[Track], faces: list[np.ndarray], since: int) -> list[tuple[int, np.ndarray]]:
    """Give each face a track: the nearest one seen at ``since`` or later, or a new one (appended to ``tracks``)."""
    pairs = []
    for i, track in enumerate(tracks):
        if track.last >= since:
            last = track.landmarks[-1][:, :2]
            height = float(np.ptp(last[:, 1])) + 1e-6
            pairs += [
                (float(np.linalg.norm(face[:, :2] - last, axis=1).mean()) / height, i, j)
                for j, face in enumerate(faces)
            ]
    taken_tracks: set[int] = set()
    assigned: dict[int, int] = {}
    for distance, i, j in sorted(pairs):
        if distance < _NEAR and i not in taken_tracks and j not in assigned:
            assigned[j] = i
            taken_tracks.add(i)
    for j in range(len(faces)):
        if j not in assigned:
            tracks.append(Track())
            assigned[j] = len(tracks) - 1
    return [(i, faces[j]) for j, i in sorted(assigned.items())]


class CutDetector:
    """Tells whether a frame begins a new shot: its thumbnail differs far more than frames lately differed."""

    def __init__(self) -> None:
        self._previous: np.ndarray | None = None
        self._usual = 1.0

    def __call__(self, image: np.ndarray) -> bool:
        """Look at the next frame, uint8 (H, W, 3)."""
        # (By NumPy: OpenCV gives up the interpreter's lock even for this little, and where other threads decode and
        # write, getting it back takes longer than the work.)
        rows, columns = (np.linspace(0, side - 1, 72).astype(int) for side in image.shape[:2])
        picked = image[rows][:, columns].astype(np.float32)
        strips = picked[::3] + picked[1::3] + picked[2::3]
        thumbnail = (strips[:, ::3] + strips[:, 1::3] + strips[:, 2::3]) / 9
        previous, self._previous = self._previous, thumbnail
        if previous is None:
            return False
        difference = float(np.abs(thumbnail - previous).mean())
        cut = difference > 18 and difference > 6 * self._usual
        # A cut counts for what is usual too, but not in full: a fast pan must not be a cut in each of its frames.
        self._usual = max(self._usual + 0.1 * (min(difference, 30.0) - self._usual), 0.5)
        return cut


def _sample_look(track: Track, image: np.ndarray, landmarks: np.ndarray) -> None:
    """Keep a look at frames 0, 1, 3, 7, 15, ... of the track: a few pictures, spread, without knowing its length."""
    n = len(track.frames)
    if n & (n - 1) or len(track.looks) >= _SAMPLES:
        return
    crop = alignment.warp(image, alignment.crop_matrix(landmarks, 64), 64)
    lab = cv2.cvtColor(cv2.resize(crop, (16, 16), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2LAB).astype(np.float32)
    lab -= lab.mean(axis=(0, 1))  # the light's level and color cast should not count
    track.looks.append((lab / (np.linalg.norm(lab) + 1e-6)).ravel())


def _people(tracks: list[Track]) -> list[Person]:
    """Join tracks to people: greedily, longest first, by the best match of their looks, never two at the same time."""
    order = sorted((i for i, track in enumerate(tracks) if track.frames), key=lambda i: -len(tracks[i].frames))
    groups: list[list[int]] = []
    for i in order:
        best, best_similarity = None, _SAME_PERSON
        frames = set(tracks[i].frames)
        for group in groups:
            if any(frames & set(tracks[k].frames) for k in group):
                continue
            similarity = max(float((np.array(tracks[k].looks) @ np.array(tracks[i].looks).T).max()) for k in group)
            if similarity > best_similarity:
                best, best_similarity = group, similarity
        if best is None:
            groups.append([i])
        else:
            best.append(i)
    groups.sort(key=lambda group: -sum(len(tracks[i].frames) for i in group))
    for group in groups:
        group.sort(key=lambda i: tracks[i].frames[0])
    return [_person(number, group, tracks) for number, group in enumerate(groups, 1)]


def _person(number: int, group: list[int], tracks: list[Track]) -> Person:
    frames = np.concatenate([np.array(tracks[i].frames, np.int32) for i in group])
    landmarks = np.concatenate([np.stack(tracks[i].landmarks) for i in group])
    order = np.argsort(frames, kind="stable")
    owner = np.repeat(group, [len(tracks[i].frames) for i in group])[order]
    return Person(
        number=number,
        frames=frames[order],
        landmarks=landmarks[order],
        track_starts=np.concatenate([[0], np.flatnonzero(np.diff(owner)) + 1]).astype(np.int32),
        track_numbers=tuple(group),
    )
