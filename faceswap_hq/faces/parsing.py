"""Face parsing with a network that the user brings: which pixels are face, which are hair, glasses, hands.

No weights come with the toolkit: those in circulation carry licences of their own. Any network in ONNX does that takes
a square RGB picture, normalised as for ImageNet, and gives scores of the 19 classes of CelebAMask-HQ (Lee et al. 2020)
in their usual order, as the BiSeNet parsers trained on it do.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from faceswap_hq.errors import UserError
from faceswap_hq.faces import alignment

FACE = (1, 2, 3, 4, 5, 6, 10, 11, 12, 13)
"""Skin, brows, eyes, glasses, nose, mouth and lips: what Beckmann et al. 2023 swap."""
CLASSES = 19
_VIEW = 1.5  # side of what the network sees, in sides of the crop
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)


class FaceParser:
    """A parsing network, run by OpenCV.

    Args:
        path: The ONNX file.
        side: Side of its input, pixels.
        face: Classes that count as face. Without glasses (6) the target's own stay in front of the new face.

    Raises:
        UserError: If the file is missing, OpenCV cannot read it, or it is no such network.
    """

    def __init__(self, path: str | Path, *, side: int = 512, face: tuple[int, ...] = FACE) -> None:
        self.path, self.side, self.face = Path(path), side, face
        if not self.path.is_file():
            raise UserError(f"The face parser {self.path} is missing.")
        try:
            self._net = cv2.dnn.readNetFromONNX(str(self.path))
            scores = self._scores(np.zeros((side, side, 3), np.uint8))
        except cv2.error as error:
            raise UserError(f"{self.path} is not an ONNX network that OpenCV can run: {error.err}.") from error
        if scores.ndim != 3 or len(scores) != CLASSES:
            raise UserError(
                f"{self.path} is no face parser: it gives {scores.shape}, not scores of {CLASSES} classes a pixel."
            )

    def _scores(self, image: np.ndarray) -> np.ndarray:
        normalised = (image.astype(np.float32) / 255 - _MEAN) / _STD
        self._net.setInput(np.ascontiguousarray(normalised.transpose(2, 0, 1)[None]))
        scores = np.asarray(self._net.forward(), np.float32)
        return scores[0] if scores.ndim == 4 else scores

    def inside(self, frame: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
        """Where the face is in a model's crop; the network sees more of the head, as it is used to.

        Args:
            frame: uint8 (H, W, 3) RGB.
            matrix: (2, 3), frame pixels to crop pixels.
            size: Side of the crop, pixels.

        Returns:
            float32 (size, size) in [0, 1]: the share of pixels of the classes ``face``.
        """
        zoom = self.side / (size * _VIEW)
        wide = matrix.astype(np.float64) * zoom
        wide[:, 2] += (self.side - 1) / 2 - zoom * (size - 1) / 2
        labels = self._scores(alignment.warp(frame, wide.astype(np.float32), self.side)).argmax(axis=0)
        found: np.ndarray = np.isin(labels, self.face).astype(np.float32)
        if found.shape != (self.side, self.side):
            found = cv2.resize(found, (self.side, self.side), interpolation=cv2.INTER_LINEAR)
        shift = (self.side - 1) / 2 - zoom * (size - 1) / 2
        back = np.array([[1 / zoom, 0, -shift / zoom], [0, 1 / zoom, -shift / zoom]], np.float32)
        return alignment.warp(found, back, size)
