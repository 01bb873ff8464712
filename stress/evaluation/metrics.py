"""What the metrics mean, the ROC and its area, thresholds, and the scores of frames and of folds brought together.

A score is a probability of being fake; a label is 1 for fake and 0 for real. Weights are of shape (B, n): B weightings
of the same n observations give B values. :class:`stress.evaluation.sample.Sample` gives all metrics for the thousands
of weightings of a bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

#: Metric name -> +1 where more is better, -1 where less is better.
METRICS: dict[str, int] = {
    "auc": 1,
    "ap": 1,
    "eer": -1,
    "tpr_at_1pct_fpr": 1,
    "tpr_at_5pct_fpr": 1,
    "accuracy": 1,
    "balanced_accuracy": 1,
    "detection_rate": 1,
    "false_alarm_rate": -1,
    "ece": -1,
}

#: What each metric is called in a sentence, and what it means.
MEANING: dict[str, tuple[str, str]] = {
    "auc": ("AUC", "Chance that a random fake scores above a random real (ties count half)."),
    "ap": ("AP", "Average precision: mean precision over the recalls reached. It depends on the share of fakes."),
    "eer": ("EER", "Error rate where fakes missed and reals accused are equally many, interpolated along the ROC."),
    "tpr_at_1pct_fpr": ("TPR at 1 % FPR", "Fakes found while at most 1 % of the reals are accused (no interpolation)."),
    "tpr_at_5pct_fpr": ("TPR at 5 % FPR", "Fakes found while at most 5 % of the reals are accused (no interpolation)."),
    "accuracy": ("Accuracy", "Share of all that is called rightly at the detector's own threshold."),
    "balanced_accuracy": ("Balanced accuracy", "Mean of the shares of fakes and of reals called rightly."),
    "detection_rate": ("Detection rate", "Share of the fakes called fake at the detector's own threshold."),
    "false_alarm_rate": ("False alarms", "Share of the reals called fake at the detector's own threshold."),
    "ece": ("Calibration error", "Mean gap between score and share of fakes, over ten equal bins of the score."),
}


#: Thresholds beyond these say that a fold found none worth having; its scale is not moved further than they do.
_ANCHORS = (0.02, 0.98)

#: What names a clip in a table of scores: a fake and its real may share an id, two data sets a name.
CLIP_KEY = ["group", "dataset", "label", "clip"]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """ROC points from the strictest threshold to the loosest, for B weightings.

    Attributes:
        thresholds: (T + 1,) ``inf`` and then the distinct scores, falling; "score >= threshold" means fake.
        true: (B, T + 1) weight of the fakes called fake at each threshold.
        false: (B, T + 1) weight of the reals called fake.
    """

    thresholds: Array
    true: Array
    false: Array

    @property
    def tpr(self) -> Array:
        """(B, T + 1) share of the fakes called fake."""
        return self.true / self.true[:, -1:]

    @property
    def fpr(self) -> Array:
        """(B, T + 1) share of the reals called fake."""
        return self.false / self.false[:, -1:]


def _checked(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None) -> tuple[Array, NDArray[np.bool_], Array]:
    s = np.asarray(scores, np.float64)
    y = np.asarray(labels)
    if s.ndim != 1 or y.shape != s.shape:
        raise ValueError(f"scores and labels must be vectors of one length, not {s.shape} and {y.shape}")
    if not np.isfinite(s).all():
        raise ValueError("scores must be finite; a failed observation is to be left out and counted")
    if not np.isin(y, (0, 1)).all():
        raise ValueError("labels must be 0 (real) or 1 (fake)")
    w = np.ones((1, len(s))) if weights is None else np.atleast_2d(np.asarray(weights, np.float64))
    if w.shape[1] != len(s) or (w < 0).any():
        raise ValueError(f"weights must be non-negative and of shape (B, {len(s)}), not {w.shape}")
    return s, y.astype(bool), w


def curve(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> Curve:
    """The ROC of scores (n,) with labels (n,), for weights (B, n).

    Both classes need weight in every weighting, otherwise the rates are undefined.

    Raises:
        ValueError: On shapes that do not fit, scores that are not finite, labels neither 0 nor 1, or a weighting that
            is negative or has one class only.
    """
    s, y, w = _checked(scores, labels, weights)
    if not (w[:, y].sum(1) > 0).all() or not (w[:, ~y].sum(1) > 0).all():
        raise ValueError("every weighting needs at least one fake and one real")
    order = np.argsort(-s, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(s[order]) != 0, True))
    w, y = w[:, order], y[order]
    zero = np.zeros((len(w), 1))
    true = np.hstack([zero, np.cumsum(w * y, 1)[:, ends]])
    false = np.hstack([zero, np.cumsum(w * ~y, 1)[:, ends]])
    return Curve(thresholds=np.append(np.inf, s[order][ends]), true=true, false=false)


def auc(c: Curve) -> Array:
    """Area under the ROC by trapezoids, (B,): the Mann-Whitney chance with ties counting half."""
    return (np.diff(c.fpr) * (c.tpr[:, 1:] + c.tpr[:, :-1])).sum(1) / 2


def youden_threshold(scores: ArrayLike, labels: ArrayLike) -> float:
    """The threshold with the highest TPR - FPR (Youden 1950), half-way to the next score below it.

    Args:
        scores: (n,) fake probabilities.
        labels: (n,) 1 = fake, 0 = real; both present.

    Returns:
        Threshold in [0, 1]; "score >= threshold" means fake.
    """
    roc = curve(scores, labels)
    best = int(np.argmax((roc.tpr - roc.fpr)[0]))
    if best == 0:  # nothing beats calling everything real
        return 1.0
    below = roc.thresholds[best + 1] if best + 1 < len(roc.thresholds) else 0.0
    return float((roc.thresholds[best] + below) / 2)


def align(table: pd.DataFrame) -> pd.DataFrame:
    """Scores of several folds' detectors on one scale: each by how far its log odds lie above its detector's threshold.

    Every fold has a detector of its own, with a scale of its own; pooled as they are, a fold that scores everything
    higher would spoil AUC, AP and EER though each detector orders its clips well. What they have in common is their
    threshold, chosen on people held out from the fold's training. Rates at the threshold do not change.

    Args:
        table: ``score``, ``threshold`` and ``fold``.

    Returns:
        The table with moved scores, thresholds of 0.5 and the scores as they were under ``probability``; with one fold
        or one threshold the table itself with ``probability``.
    """
    table = table.assign(probability=table.score)
    if table.fold.nunique() < 2 or table.threshold.nunique() < 2:
        return table
    score = np.clip(table.score.to_numpy(np.float64), 1e-9, 1 - 1e-9)
    threshold = np.clip(table.threshold.to_numpy(np.float64), *_ANCHORS)
    odds = np.log(score / (1 - score)) - np.log(threshold / (1 - threshold))
    called = table.score.to_numpy() >= table.threshold.to_numpy()
    moved = 1 / (1 + np.exp(-odds))
    moved = np.where(called, np.maximum(moved, 0.5), np.minimum(moved, np.nextafter(0.5, 0)))  # rates stay, to the bit
    return table.assign(score=moved, threshold=0.5)


#: How a video's score is made of its frames' scores.
VIDEO_SCORES: dict[str, Callable[[Any], float]] = {
    "mean": lambda scores: float(np.mean(scores)),
    "median": lambda scores: float(np.median(scores)),
    "max": lambda scores: float(np.max(scores)),
    "top-quarter": lambda scores: float(np.mean(np.sort(scores)[-max(1, round(len(scores) / 4)) :])),
}


def to_videos(frames: pd.DataFrame, how: str = "mean") -> pd.DataFrame:
    """One row a clip and detector from one row a frame.

    Args:
        frames: The columns of :data:`CLIP_KEY`, ``fold`` and, where there are several, ``strategy`` and ``seed`` (which
            detector), ``frame``, ``score``, and what is constant within a clip (threshold, people, source_clip, ...).
        how: How a video's score is made of its frames' scores, a key of :data:`VIDEO_SCORES`.

    Returns:
        The same columns without ``frame``, plus ``frames``, how many there were; in the order of first appearance.
    """
    key = [*CLIP_KEY, "fold", *(name for name in ("strategy", "seed") if name in frames.columns)]
    constant = [name for name in frames.columns if name not in (*key, "frame", "score")]
    grouped = frames.groupby(key, sort=False)
    table = grouped[constant].first()
    table["score"] = grouped["score"].mean() if how == "mean" else grouped["score"].agg(VIDEO_SCORES[how])
    table["frames"] = grouped.size()
    return table.reset_index()
