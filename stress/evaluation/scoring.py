"""Scores of faces: one row a frame, from a detector or from any Python function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from faceswap_hq.errors import UserError
from stress.data.crops import DEFAULT_FRAMES, Crops, CropSettings, Excluded
from stress.data.footage import Footage
from stress.data.layouts import Clip
from stress.detectors.detector import Detector

ScoreFunction = Callable[[np.ndarray], np.ndarray]
"""(n, S, S, 3) uint8 RGB to (n,) fake probabilities in [0, 1]."""

COLUMNS = ("clip", "frame", "label", "score", "people", "source_clip", "method", "dataset")


def score(
    detector: Detector | ScoreFunction, crops: Iterable[Crops], progress: Callable[..., None] | None = None
) -> pd.DataFrame:
    """Score every frame; where several of its faces were cut out, by the highest of their scores.

    Args:
        detector: A detector, or a function from (n, S, S, 3) uint8 RGB to (n,) fake probabilities; it is called once a
            clip.
        crops: Faces; an iterator is taken from clip by clip.
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
        frames, first = np.unique(item.frames, return_index=True)
        scores = np.maximum.reduceat(_checked(ask(item.images), len(item.frames)), first)
        parts.append(
            pd.DataFrame(
                {
                    "clip": clip.id,
                    "frame": frames,
                    "label": clip.label,
                    "score": scores,
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


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Clips scored straight from their files.

    Args:
        scores: As from :func:`score`.
        crops: The faces; where they were not to be kept, they are read from the cache each time they are asked for.
        excluded: Clips without a score, and why. They are never given one, such as 0.5.
    """

    scores: pd.DataFrame
    crops: list[Crops]
    excluded: list[Excluded]


def score_videos(
    detector: Detector | ScoreFunction,
    clips: Sequence[Clip],
    *,
    card: CropSettings | None = None,
    frames_per_clip: int = DEFAULT_FRAMES,
    keep: bool = False,
    workers: int | None = None,
    faces: str = "followed",
    progress: Callable[..., None] | None = None,
) -> Scored:
    """Score clips while the next ones are decoded and cropped in the background.

    With 32 frames a clip, ``faces="large"`` and a video's score the mean of its frames' this is the inference published
    for Self-Blended Images (arXiv 2204.08376), but that a clip without a face is excluded, not given 0.5.

    Args:
        detector: As for :func:`score`.
        clips: Clips to read.
        card: How faces are cut out; None takes the detector's card.
        frames_per_clip: Frames to take from each clip, spread over its whole length.
        keep: Keep all faces in memory; otherwise a few clips' are there at a time, and the cache has the rest.
        workers: Clips cropped at a time, see :func:`stress.data.crops.stream_crops`.
        faces: Whose faces, see there; of several in a frame the highest score counts.
        progress: Called once after every clip.

    Raises:
        UserError: There is no card; or as the detector raises.
        ValueError: The function gives something other than one probability a face, or ``faces`` is unknown.
    """
    if card is None:
        if not isinstance(detector, Detector):
            raise UserError("A function has no card that says how faces are cut out for it.", "Give one: card=...")
        card = detector.card
    footage = Footage(clips, card, frames_per_clip, keep=keep, workers=workers, faces=faces)
    scores = score(detector, footage, progress)
    if progress is not None:
        for _ in footage.excluded:
            progress()
    return Scored(scores=scores, crops=list(footage), excluded=footage.excluded)


def _checked(values: object, count: int) -> np.ndarray:
    scores = np.asarray(values, np.float64)
    if scores.shape != (count,):
        raise ValueError(f"a score function gives one probability a face: ({count},), not {scores.shape}")
    if not (np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1):
        raise ValueError("fake probabilities are finite and between 0 and 1")
    return scores
