"""Pictures that a training leaves behind, with content credentials: some show swapped faces."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np

from faceswap_hq import provenance
from stress.detectors.card import DetectorCard


def save_picture(picture: np.ndarray, path: Path, card: DetectorCard) -> Path:
    """Write and sign a picture.

    Args:
        picture: (H, W, 3) uint8 RGB.
        path: PNG to write.
        card: Of the detector whose training it shows.

    Returns:
        ``path``.
    """
    facts = {"shows": "faces that a detector was trained on", "detector": card.architecture, "sha256": card.sha256}
    claim = provenance.Claim(
        action="c2pa.created",
        source_type="compositeWithTrainedAlgorithmicMedia",
        parent=None,
        title=path.name,
        facts=facts,
    )
    with tempfile.TemporaryDirectory() as folder:
        unsigned = Path(folder) / path.name
        cv2.imwrite(str(unsigned), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        provenance.sign_image(unsigned, path, claim=claim)
    return path
