"""Who does a face look like: cosines between embeddings of a face-recognition network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from faceswap_hq.errors import UserError
from faceswap_hq.faces import alignment
from faceswap_hq.quality.motion import Spread, spread

INPUT = 112
"""Side of the network's input, pixels."""

# Where ArcFace (Deng et al. 2019, arXiv 1801.07698) expects the eyes, the tip of the nose and the corners of the mouth
# in its 112 x 112 input; networks trained in its manner (MobileFaceNet, Chen et al. 2018) share these five points.
_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
# Means of these MediaPipe points are the five points, left to right in the picture. The eyes are taken from their
# corners, not from the irises: those wander with the gaze.
_FIVE = ((33, 133), (362, 263), (4,), (61,), (291,))
_FIVE_68 = (tuple(range(36, 42)), tuple(range(42, 48)), (30,), (48,), (54,))


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Eyes, tip of the nose and corners of the mouth, (5, 2) float32, from (478 or 68, 2 or 3) landmarks."""
    groups = _FIVE_68 if len(landmarks) == 68 else _FIVE
    return np.array([landmarks[list(group), :2].mean(axis=0) for group in groups], np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale the last axis to length 1; zero vectors stay zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


class IdentityModel:
    """A face-recognition network in ONNX, run by OpenCV: 112 x 112 RGB, (x - 127.5) / 127.5, to 128 numbers.

    A measuring instrument: nothing may be trained against it that is then measured with it.

    Args:
        path: The ONNX file (MobileFaceNet or another network with ArcFace's alignment and normalization).

    Raises:
        UserError: If the file is missing or OpenCV cannot read it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise UserError(f"The identity network {self.path} is missing.")
        try:
            self._net = cv2.dnn.readNetFromONNX(str(self.path))
        except cv2.error as error:
            raise UserError(f"{self.path} is not an ONNX network that OpenCV can read: {error.err}.") from error

    def align(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """The network's view of a face: uint8 (112, 112, 3) RGB.

        Args:
            image: uint8 (H, W, 3), RGB.
            landmarks: (478 or 68, 2 or 3), pixels of ``image``.
        """
        return alignment.warp(image, alignment.similarity(five_points(landmarks), _TEMPLATE), INPUT)

    def embed_aligned(self, faces: Sequence[np.ndarray]) -> np.ndarray:
        """Embed aligned faces.

        Args:
            faces: N arrays from :meth:`align`.

        Returns:
            float32 (N, D), each of length 1.
        """
        if not len(faces):
            return np.zeros((0, 0), np.float32)
        self._net.setInput(cv2.dnn.blobFromImages(list(faces), 1 / 127.5, (INPUT, INPUT), (127.5,) * 3))
        return unit(np.array(self._net.forward(), np.float32).reshape(len(faces), -1))

    def embed(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Embed one face of a picture; see :meth:`align`. Returns float32 (D,) of length 1."""
        return self.embed_aligned([self.align(image, landmarks)])[0]


@dataclass(frozen=True, kw_only=True)
class IdentityScores:
    """How much a swapped clip's face looks like the source person (A) and still like the target person (B)."""

    source: Spread
    """Cosine of each swapped frame to the mean embedding of A's real clip."""
    target: Spread
    """Cosine of each swapped frame to the mean embedding of B's real clip."""
    ceiling: Spread
    """Cosine of A's real frames to their own mean (each frame is part of that mean: not leave-one-out)."""
    target_to_source: float
    """Cosine of the two means: where a swap that changes nothing would stand."""
    ratio: float
    """Mean of ``source`` over mean of ``ceiling``."""
    closer_to_source: float
    """Share of swapped frames that are closer to A than to B."""


def mean_identity(embeddings: np.ndarray) -> np.ndarray:
    """The direction of the mean of (N, D) unit embeddings: (D,), length 1."""
    return unit(embeddings.mean(axis=0))


def identity_scores(swap: np.ndarray, source: np.ndarray, target: np.ndarray) -> IdentityScores | None:
    """Score a swap's embeddings against those of the two real clips.

    Args:
        swap: (N, D) unit embeddings of the swapped clip's frames.
        source: (M, D) of A's real clip.
        target: (K, D) of B's real clip.

    Returns:
        The scores, or None where one of the three has no face.
    """
    if not (len(swap) and len(source) and len(target)):
        return None  # before the means are taken
    a, b = mean_identity(source), mean_identity(target)
    to_a, to_b, own = swap @ a, swap @ b, source @ a
    source_spread, target_spread, ceiling = spread(to_a), spread(to_b), spread(own)
    if source_spread is None or target_spread is None or ceiling is None:
        return None
    return IdentityScores(
        source=source_spread,
        target=target_spread,
        ceiling=ceiling,
        target_to_source=float(a @ b),
        ratio=float(to_a.mean() / own.mean()),
        closer_to_source=float((to_a > to_b).mean()),
    )
