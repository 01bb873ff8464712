"""What the tests of the toolkit's core share: faces with known landmarks, clips of them, a backend that knows them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from faceswap_hq import files
from faceswap_hq.faceset import FaceRow, Faceset, write_table
from faceswap_hq.media import Frame
from faceswap_hq.model import ModelSettings
from faceswap_hq.training.settings import TrainSettings
from tests.faceswap_hq.clips import CELL, number_of, numbered, synthetic_clip

NOSE_TIP, CHIN = 1, 152  # of MediaPipe's points
MODEL = ModelSettings(
    resolution=32, encoder_channels=(8, 16), bottleneck=16, base_channels=8, decoder_channels=(8,), residual=(1,),
    views=2,
)  # fmt: skip
SETTINGS = TrainSettings(
    preset="test", batch=2, shared=1, precision="float32", warmup=2, learning_rate=2e-3, model=MODEL
)
SETTINGS_YAML = """
preset: test
batch: 2
shared: 1
precision: float32
warmup: 2
learning_rate: 0.002
model:
  resolution: 32
  encoder_channels: [8, 16]
  bottleneck: 16
  base_channels: 8
  decoder_channels: [8]
  residual: [1]
  views: 2
"""


# -- faces whose landmarks are known ----------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def generic_face(points: int = 478) -> np.ndarray:
    """A frontal, upright face: float64 (points, 3), centered, 1 high, x to the picture's right, y down, z away."""
    if points == 68:
        face = np.zeros((68, 3))
        turn = np.linspace(0.15, np.pi - 0.15, 17)
        face[:17] = np.stack([-0.36 * np.cos(turn), 0.02 + 0.5 * np.sin(turn) - 0.1, 0 * turn], 1)
        for first, x in ((17, -0.18), (22, 0.18)):
            face[first : first + 5, 0] = x + np.linspace(-0.09, 0.09, 5)
            face[first : first + 5, 1] = -0.25
        face[27:31] = [(0, y, 0) for y in np.linspace(-0.16, 0.02, 4)]
        face[31:36] = [(x, 0.06, 0) for x in np.linspace(-0.07, 0.07, 5)]
        lids = [(-0.07, 0), (-0.025, -0.02), (0.025, -0.02), (0.07, 0), (0.025, 0.02), (-0.025, 0.02)]
        for first, x in ((36, -0.17), (42, 0.17)):
            face[first : first + 6, :2] = np.add(lids, (x, -0.15))
        around = np.linspace(np.pi, 3 * np.pi, 13)[:-1]
        face[48:60, :2] = np.stack([0.13 * np.cos(around), 0.2 + 0.05 * np.sin(around)], 1)
        around = np.linspace(np.pi, 3 * np.pi, 9)[:-1]
        face[60:68, :2] = np.stack([0.1 * np.cos(around), 0.2 + 0.02 * np.sin(around)], 1)
    else:
        from faceswap_hq.actors.geometry import EYE_RADIUS, FACE_POINTS, generic_head

        mesh = generic_head()
        face = np.zeros((478, 3))
        face[:FACE_POINTS] = mesh.points[:FACE_POINTS]
        for first, center in zip((468, 473), mesh.eyes, strict=True):
            face[first] = center - (0, 0, EYE_RADIUS)
            face[first + 1 : first + 5] = face[first] + 0.06 * np.array([(1, 0, 0), (0, -1, 0), (-1, 0, 0), (0, 1, 0)])
    low, high = face.min(0), face.max(0)
    return (face - (low + high) / 2) / (high[1] - low[1])


def turned(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Rotation (3, 3) in picture axes: degrees, positive to the person's left, up, and towards the right shoulder."""
    from scipy.spatial.transform import Rotation

    # In the person's axes (x to their left, y up, z forward): a nod up turns z into y, a turn to the left z into x,
    # a tilt towards the right shoulder y into -x. The picture's axes are the person's with y and z turned around.
    own = Rotation.from_euler("YXZ", [yaw, -pitch, roll], degrees=True).as_matrix()
    flip = np.diag([1.0, -1.0, -1.0])
    return flip @ own @ flip


def face_at(
    x: float = 112.0, y: float = 112.0, height: float = 100.0, angle: float = 0.0, points: int = 478
) -> np.ndarray:
    """Landmarks float32 (points, 3) of the generic face, ``height`` pixels high around (x, y), rolled."""
    return (generic_face(points) * height @ turned(roll=angle).T + (x, y, 0)).astype(np.float32)


def paint(image: np.ndarray, landmarks: np.ndarray, who: int) -> np.ndarray:
    """Draw a face's stand-in in place: a patchwork that belongs to person ``who`` and moves with the landmarks."""
    import cv2

    from faceswap_hq.faces import alignment

    patches = np.random.default_rng(who).integers(30, 226, (6, 6, 3)).astype(np.uint8)
    crop = cv2.resize(patches, (128, 128), interpolation=cv2.INTER_CUBIC)
    matrix = alignment.crop_matrix(landmarks, 128)
    size = (image.shape[1], image.shape[0])
    warped = cv2.warpAffine(crop, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    inside = cv2.warpAffine(np.full((128, 128), 255, np.uint8), matrix, size, flags=cv2.WARP_INVERSE_MAP) > 128
    image[inside] = warped[inside]
    return image


def frames_of(images: Sequence[np.ndarray], indices: Sequence[int] | None = None) -> Iterator[Frame]:
    """Frames as :func:`faceswap_hq.media.read_frames` yields them, 25 a second."""
    for number, image in zip(indices or range(len(images)), images, strict=True):
        yield Frame(number, number / 25, number * 512, image)


class Known:
    """A landmark backend that is told the answers.

    Args:
        answers: Landmarks of the faces in each frame, in the order of the calls; with ``marked`` the frame's number is
            read from the cells in its upper left corner instead, so that seeking and ranges work.
        marked: See above.
    """

    name = "known"

    def __init__(self, answers: Sequence[list[np.ndarray]], *, marked: bool = False) -> None:
        self.answers, self.marked = answers, marked
        self.calls = self.resets = self.closed = 0
        self.points = next((len(face) for faces in answers for face in faces), 478)

    def detect(self, image: np.ndarray) -> list[np.ndarray]:
        number = number_of(image) if self.marked else self.calls
        self.calls += 1
        return [face.copy() for face in self.answers[number]]

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        self.closed += 1


# -- actors and clips of them -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shot:
    """An actor's performance: pictures uint8 (H, W, 3), numbered in the upper left corner, and the true landmarks."""

    images: tuple[np.ndarray, ...]
    landmarks: tuple[np.ndarray, ...]

    def knowing(self) -> Known:
        """A backend that knows where the face is in each frame of a clip of this shot."""
        return Known([[face] for face in self.landmarks], marked=True)


def shoot(seed: int, count: int = 24, size: int = 192) -> Shot:
    """Let a virtual actor perform for ``count`` frames (1 s of them at 24 frames a second)."""
    from faceswap_hq import actors

    member = actors.plan_cast(1, seconds=count / 25, seed=seed, size=size)[0]
    images, landmarks = [], []
    for number in range(count):
        seen = actors.render(member.identity, member.performance, member.scene, number)
        images.append(mark(seen.image, number))
        landmarks.append(seen.landmarks)
    return Shot(tuple(images), tuple(landmarks))


def shoot_once(seed: int, folder: Path) -> Shot:
    """:func:`shoot`, which takes seconds, by the first of several processes that share ``folder``."""
    path = folder / f"shot-{seed}.npz"
    folder.mkdir(parents=True, exist_ok=True)
    with files.lock_beside(path):
        if not path.exists():
            shot = shoot(seed)
            with files.atomic_path(path) as part:
                np.savez(part, images=np.stack(shot.images), landmarks=np.stack(shot.landmarks))
    with np.load(path) as kept:
        return Shot(tuple(kept["images"]), tuple(kept["landmarks"]))


def mark(image: np.ndarray, number: int) -> np.ndarray:
    """A copy of the picture with ``number`` in its upper left corner, for :func:`clips.number_of`."""
    image = image.copy()
    image[:CELL, : 8 * CELL] = numbered(number, 8 * CELL, CELL)
    return image


def side_by_side(left: Shot, right: Shot) -> tuple[list[np.ndarray], Known]:
    """Two actors in one frame, and the backend that knows both."""
    images = [np.concatenate(pair, axis=1) for pair in zip(left.images, right.images, strict=True)]
    width = left.images[0].shape[1]
    answers = [
        [a, b + np.array([width, 0, 0], np.float32)] for a, b in zip(left.landmarks, right.landmarks, strict=True)
    ]
    return images, Known(answers, marked=True)


def write_clip(path: Path, images: Sequence[np.ndarray], **options: Any) -> Path:
    """A clip of these pictures, see :func:`clips.synthetic_clip`."""
    height, width = images[0].shape[:2]
    path.parent.mkdir(parents=True, exist_ok=True)
    return synthetic_clip(path, count=len(images), images=list(images), width=width, height=height, **options)


def use_backend(patch: pytest.MonkeyPatch, backend: Known) -> Known:
    """Let extraction and rendering find faces with ``backend``."""
    for module in ("extract", "planning"):
        patch.setattr(f"faceswap_hq.{module}.open_backend", lambda *args, **kwargs: backend)
    return backend


# -- facesets ---------------------------------------------------------------------------------------------------------


def write_faceset(path: Path, count: int = 6, size: int = 128, seed: int = 0, points: int = 478) -> Faceset:
    """A small faceset of painted faces, written without extraction."""
    import cv2

    from faceswap_hq import faceset
    from faceswap_hq.faces import alignment

    (path / "faces").mkdir(parents=True)
    rows = []
    for i in range(count):
        landmarks = face_at(100 + 5 * i, 120 + 2 * i, 90 + i, angle=3.0 * i - 6, points=points)
        matrix = alignment.crop_matrix(landmarks, size)
        frame = paint(np.full((256, 256, 3), 90, np.uint8), landmarks, seed)
        name = f"faces/{i:06d}.jpg"
        cv2.imwrite(str(path / name), alignment.warp(frame, matrix, size)[..., ::-1])
        rows.append(
            FaceRow(
                file=name, source="clip.mp4", frame=i, time=i / 25, landmarks=landmarks, matrix=matrix,
                landmarks_crop=alignment.transform(landmarks, matrix), yaw=float(i), pitch=0.0, roll=3.0 * i - 6,
                sharpness=10.0 + i, size=90.0 + i,
            )
        )  # fmt: skip
    write_table(path, rows)
    value = {"format": faceset.FORMAT, "version": faceset.VERSION, "size": size, "points": points}
    files.write_yaml(path / "faceset.yaml", value)
    return faceset.read_faceset(path)


def leftovers(folder: Path) -> list[str]:
    """Hidden or temporary things under a folder: what an interrupted write must not leave."""
    found = (path for path in folder.rglob("*") if ".part" in path.name or path.name.endswith(".old"))
    return sorted(str(path.relative_to(folder)) for path in found)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file under a folder with its content (locks left out)."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")
    }


# -- processes that are killed ----------------------------------------------------------------------------------------


def killed(work: Callable[[Callable[[int], None]], None], until: int, delay: float = 0.0) -> int:
    """Run ``work`` in a child process and kill it without warning.

    Args:
        work: Is given a function to tell its progress with, in ascending numbers.
        until: The child is killed once it has told this number,
        delay: and so many seconds have passed.

    Returns:
        The last number told.
    """
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(1)  # the parent's other threads do not exist here
            work(lambda number: os.write(write, number.to_bytes(4, "little")) and None)
        finally:
            os._exit(1)
    os.close(write)
    told = b""
    while len(told) < 4 or int.from_bytes(told[-4:], "little") < until:
        block = os.read(read, 4)
        assert block, "the child ended by itself"
        told += block
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while block := os.read(read, 4096):
        told += block
    os.close(read)
    return int.from_bytes(told[-4:], "little")
