"""Do the eyes and brows of a fake look like its source's? What is smeared, doubled or missing there resembles nothing.

A recogniser forgives a missing brow, and correlations of movement say nothing of how an eye looks. Here each eye with
its brow is cut out and compared, as normalised correlation, with the same of many real frames of the source; the
nearest counts, so that no expression is asked for that the source never made, and light and contrast do not count.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np

from faceswap_hq import media
from faceswap_hq.faces.landmarks import open_backend
from faceswap_hq.faceset import Faceset
from faceswap_hq.sampling import evenly

WIDTH, HEIGHT = 48, 40
"""Pixels of a patch."""
_WIDE = 1.7  # eye widths across a patch: wider ones hold hair at the temples against a fake
_UP = 0.35  # eye widths from the eye's middle up to the patch's
_CORNERS = {478: ((33, 133), (362, 263)), 68: ((36, 39), (42, 45))}


def feature_patches(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Both eyes with their brows, upright and of one size.

    Args:
        image: uint8 (H, W, 3), RGB.
        landmarks: (478 or 68, 2 or more) in pixels of ``image``.

    Returns:
        float32 (2, HEIGHT * WIDTH), each of mean 0 and length 1: the eye on the left of the picture, then the other.
    """
    found = []
    for corners in _CORNERS[len(landmarks)]:
        left, right = (np.asarray(landmarks[i, :2], np.float64) for i in corners)
        across = right - left
        length = max(float(np.hypot(*across)), 1e-3)
        cosine, sine = across / length * WIDTH / (_WIDE * length)
        turn = np.array([[cosine, sine], [-sine, cosine]])
        middle = (left + right) / 2 + _UP * np.array([across[1], -across[0]])
        matrix = np.column_stack([turn, np.array([WIDTH / 2, HEIGHT / 2]) - turn @ middle])
        patch = cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
        blurred = cv2.GaussianBlur(cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.0)
        gray = blurred.ravel() - blurred.mean()
        found.append(gray / max(float(np.linalg.norm(gray)), 1e-3))
    return np.stack(found).astype(np.float32)


def feature_likeness(seen: np.ndarray, own: np.ndarray) -> float | None:
    """How like the source's own the eyes and brows are.

    Args:
        seen: (n, 2, d) patches of the fake, see :func:`feature_patches`.
        own: (m, 2, d) of real frames of the source.

    Returns:
        Mean over frames and eyes of the highest correlation with any of ``own``: at most 1; None without patches.
    """
    if not len(seen) or not len(own):
        return None
    return float(np.einsum("ned,med->nem", seen, own).max(axis=2).mean())


def clip_patches(path: str | Path, count: int = 12) -> np.ndarray:
    """Patches of frames spread over a clip, (n, 2, d); frames without a face are left out.

    Of a clip that does not say how many frames it has only the first is looked at.

    Args:
        path: The clip.
        count: Frames looked at.
    """
    info = media.probe(path)
    picks = np.unique(np.linspace(0, (info.frames or 1) - 1, count + 2).astype(int)[1:-1]).tolist()
    found = []
    with (
        contextlib.closing(open_backend(static=True, max_faces=1)) as backend,
        contextlib.closing(media.read_frames(info, indices=picks)) as frames,
    ):
        for frame in frames:
            faces = backend.detect(frame.image)
            if faces:
                found.append(feature_patches(frame.image, faces[0]))
    return np.array(found, np.float32).reshape(-1, 2, HEIGHT * WIDTH)


def faceset_patches(faceset: Faceset, most: int = 100) -> np.ndarray:
    """Patches of at most ``most`` faces spread over a faceset, (n, 2, d)."""
    rows = [faceset.rows[i] for i in np.unique(evenly(len(faceset.rows), most))]
    return np.array([feature_patches(faceset.image(row), row.landmarks_crop) for row in rows], np.float32)
