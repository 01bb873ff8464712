"""Where a detector sees the forgery, for detectors that say so."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def locates(detector: object) -> bool:
    """Whether a detector says where a face is forged: its network has ``locate``."""
    return callable(getattr(getattr(detector, "module", None), "locate", None))


def map_trained(detector: Any) -> bool | None:
    """Whether the map of a detector that :func:`locates` was trained, as its card says; None where that is not known.

    Weights do not tell: a network with a map that was trained plainly has one that nothing was ever asked of.
    """
    trained: bool | None = detector.card.map_trained
    return trained


@torch.inference_mode()
def maps(detector: Any, images: np.ndarray, batch: int = 32) -> np.ndarray:
    """Probability that each cell of each face is forged, by the network in evaluation mode.

    Args:
        detector: One that :func:`locates`.
        images: (n, S, S, 3) uint8 RGB, n >= 1.
        batch: Images at a time.

    Returns:
        (n, g, g) float32 in [0, 1]; the cells divide the picture evenly.
    """
    module = detector.module
    was_training = module.training
    module.eval()
    parts = [module.locate(detector.inputs(images[i : i + batch])).cpu() for i in range(0, len(images), batch)]
    module.train(was_training)
    return torch.cat(parts).float().numpy()
