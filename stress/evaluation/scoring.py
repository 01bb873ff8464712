"""Scores of faces: one row a frame, from a detector or from any Python function."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from stress.data.crops import Crops
from stress.detectors.detector import Detector

ScoreFunction = Callable[[np.ndarray], np.ndarray]
"""(n, S, S, 3) uint8 RGB to (n,) fake probabilities in [0, 1]."""

COLUMNS = ("clip", "frame", "label", "score", "people", "source_clip", "method", "dataset")


def score(
    detector: Detector | ScoreFunction, crops: Sequence[Crops], progress: Callable[..., None] | None = None
) -> pd.DataFrame:
    """Score every face.

    Args:
        detector: A detector, or a function from (n, S, S, 3) uint8 RGB to (n,) fake probabilities; it is called once a
            clip.
        crops: Faces.
        progress: Called once after every clip.

    Returns:
        One row a frame, in the order given: ``clip`` (id), ``frame`` (number), ``label`` (1 = fake), ``score`` (fake
        probability), ``people`` (joined by ``|``), ``source_clip``, ``method``, ``dataset``.

    Raises:
        ValueError: The function gives something other than one probability a face.
    """
    ask = detector.fake_probability if isinstance(detector, Detector) else detector
    parts = []
    for item in crops:
        clip = item.clip
        parts.append(
            pd.DataFrame(
                {
                    "clip": clip.id,
                    "frame": item.frames,
                    "label": clip.label,
                    "score": _checked(ask(item.images), len(item.frames)),
                    "people": "|".join(clip.people),
                    "source_clip": clip.source_clip,
                    "method": clip.method,
                    "dataset": clip.dataset,
                }
            )
        )
        if progress is not None:
            progress()
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def _checked(values: object, count: int) -> np.ndarray:
    scores = np.asarray(values, np.float64)
    if scores.shape != (count,):
        raise ValueError(f"a score function gives one probability a face: ({count},), not {scores.shape}")
    if not (np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1):
        raise ValueError("fake probabilities are finite and between 0 and 1")
    return scores
