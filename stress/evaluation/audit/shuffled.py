"""Shuffled labels: fine-tuned on labels that mean nothing, a detector must be at 0.5 on people it has not seen.

What is above 0.5 then comes from somewhere else than the labels: clips on both sides of a fold, people under two names,
scores that were pooled wrongly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from stress.data.crops import Crops
from stress.data.splits import Fold
from stress.evaluation.comparison import keys_of
from stress.evaluation.metrics import auc, curve, to_videos
from stress.evaluation.out_of_fold import FineTune, Material, Progress, Scorer, fine_tune, key_of
from stress.evaluation.statistics import intervals
from stress.evaluation.store import FoldStore


def shuffled_crops(crops: Sequence[Crops], rng: np.random.Generator) -> list[Crops]:
    """The same clips in the same order with labels shuffled within source clips; people stay with their clips.

    Clips of source clips that have one label only (fakes without their real, reals without a fake) are shuffled among
    each other.

    Ids are made to differ, for a fake and its real may share one.
    """
    blocks: dict[str, list[int]] = defaultdict(list)
    for i, item in enumerate(crops):
        blocks[item.clip.source_clip].append(i)
    labels = np.array([item.clip.label for item in crops])
    alone = [i for inside in blocks.values() if len(set(labels[inside])) == 1 for i in inside]
    for inside in [*(inside for inside in blocks.values() if len(set(labels[inside])) > 1), alone]:
        if not inside:
            continue
        labels[inside] = labels[rng.permutation(inside)]
    return [
        replace(item, clip=replace(item.clip, label=int(label), id=f"{item.clip.label}:{item.clip.id}"))
        for item, label in zip(crops, labels, strict=True)
    ]


def shuffled_labels(
    detector: Scorer,
    crops: Sequence[Crops],
    folds: Sequence[Fold],
    training: Any,
    *,
    finetune: FineTune,
    failures: list[dict[str, str]],
    progress: Progress,
    store: FoldStore | None = None,
    runs: int = 1,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Fine-tune in folds as the experiment does, with labels shuffled anew in every run, and test on held-out people.

    The tested clips carry shuffled labels too, so whatever the detector knows already of fakes helps no label.

    Args:
        detector: The untouched detector.
        crops: Stress clips, in the order that was split.
        folds: From :func:`stress.data.splits.split`.
        training: Passed on to ``finetune``.
        finetune: Makes the fine-tuned copy.
        failures: Gets ``what`` and ``reason`` of each failure.
        progress: Shows progress.
        store: Keeps what every fold gave.
        runs: How often all folds are fine-tuned.
        resamples: Of the people, behind the interval.
        seed: Of the shuffling and the resamples.

    Returns:
        JSON-able: ``auc`` (mean of the runs; None if nothing could be tested), ``low``, ``high`` (95 %, over people),
        ``runs``, ``by_run``, and ``flag``: whether the interval lies above 0.5.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for run in range(runs):
        mixed = _trainable(crops, folds, rng)
        with progress("fine-tuning on shuffled labels", len(folds), unit="fine-tunings") as advance:
            tuned = fine_tune(
                detector, Material(stress=mixed), folds, training, seed=run,
                finetune=finetune, failures=failures, advance=advance, store=store,
            )  # fmt: skip
        tables = [table for table in tuned.scores if len(table)]
        if not tables:
            continue
        people = {key_of(item, "stress"): item.clip.people for item in mixed}
        parts.append(_ranked(to_videos(pd.concat(tables, ignore_index=True)), people, run))
    return _summary(parts, resamples, seed)


def _trainable(crops: Sequence[Crops], folds: Sequence[Fold], rng: np.random.Generator) -> list[Crops]:
    """Shuffled crops of which every fold has fakes and reals to train on, as it has before.

    Where a source clip has several fakes, its one real label may fall to a clip that a fold does not train on.
    """
    for _ in range(100):
        mixed = shuffled_crops(crops, rng)
        if all({mixed[i].clip.label for i in fold.train} == {0, 1} for fold in folds):
            break
    return mixed


def _ranked(videos: pd.DataFrame, people: dict[Any, tuple[str, ...]], run: int) -> pd.DataFrame:
    """Scores as ranks within the fold: each fold's detector has a scale of its own, which shuffling moves at random."""
    ranks = videos.groupby("fold")["score"].rank(pct=True)
    who = pd.Series([people[key] for key in keys_of(videos)], index=videos.index, dtype=object)
    return videos.assign(rank=ranks, who=who, run=run)


def _summary(parts: Sequence[pd.DataFrame], resamples: int, seed: int) -> dict[str, Any]:
    nothing: dict[str, Any] = {"auc": None, "low": None, "high": None, "runs": 0, "by_run": [], "flag": False}
    parts = [part for part in parts if part.label.nunique() == 2]
    if not parts:
        return nothing
    clips = [who for part in parts for who in part.who]
    sizes = np.cumsum([0, *(len(part) for part in parts)])
    spans = [slice(a, b) for a, b in zip(sizes, sizes[1:], strict=False)]
    labels = [part.label.to_numpy() for part in parts]
    scores = [part["rank"].to_numpy() for part in parts]

    def mean_area(weights: np.ndarray) -> dict[str, np.ndarray]:
        areas = [auc(curve(s, y, weights[:, span])) for s, y, span in zip(scores, labels, spans, strict=True)]
        return {"auc": np.mean(areas, axis=0)}

    def usable(weights: np.ndarray) -> np.ndarray:
        good = np.ones(len(weights), bool)
        for y, span in zip(labels, spans, strict=True):
            good &= (weights[:, span][:, y == 1].sum(1) > 0) & (weights[:, span][:, y == 0].sum(1) > 0)
        return good

    found = intervals(mean_area, clips, usable=usable, limit_share=lambda _: 0.5, resamples=resamples, seed=seed)[0]
    estimate = found["auc"]
    by_run = [float(auc(curve(s, y))[0]) for s, y in zip(scores, labels, strict=True)]
    return {
        "auc": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "runs": len(parts),
        "by_run": by_run,
        "flag": bool(estimate.low is not None and estimate.low > 0.5),
    }
