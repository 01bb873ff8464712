"""Scores before and after fine-tuning, every clip by a detector that never saw its people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from faceswap_hq.console import Advance
from faceswap_hq.errors import UserError
from stress.data.crops import Crops
from stress.data.footage import Faces
from stress.data.splits import Fold, split
from stress.evaluation.comparison import Key
from stress.evaluation.metrics import to_videos, youden_threshold
from stress.evaluation.store import FoldStore
from stress.strategies import Strategy

Progress = Callable[..., AbstractContextManager[Advance]]

#: ``finetune(detector, reals, fakes, settings, progress=...)`` gives a fine-tuned copy of the detector; a strategy with
#: replay adds ``replay=clips``.
FineTune = Callable[..., Any]


class Scorer(Protocol):
    """What the experiment needs of a detector."""

    @property
    def card(self) -> Any:
        """Has at least ``threshold``."""

    def fake_probability(self, images: np.ndarray) -> np.ndarray:
        """From (n, S, S, 3) uint8 RGB to (n,) probabilities."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """What detectors are fine-tuned on and asked about.

    Args:
        stress: The stress clips, in the order that was split.
        base: Clips of the detector's own kind.
        others: Further clips of the same people, name of the group -> clips; a fold's detector is asked about those
            whose people and label are those of a stress clip that it tests.
    """

    stress: Sequence[Crops]
    base: Sequence[Crops] = ()
    others: Mapping[str, Sequence[Crops]] = field(default_factory=dict)


def key_of(item: Crops, group: str) -> Key:
    """Name of a clip among all that are scored; ``group`` is ``"stress"``, ``"base"`` or another group's name."""
    return group, item.clip.dataset, item.clip.label, item.clip.id


def score_clips(
    detector: Scorer,
    crops: Faces,
    *,
    group: str,
    fold: int = -1,
    failures: list[dict[str, str]],
    advance: Advance = lambda *_, **__: None,
) -> pd.DataFrame:
    """Scores of clips, one row a frame; a clip the detector fails on is left out and named in ``failures``.

    Args:
        detector: Gives the scores and, in its card, the threshold that is noted beside them.
        crops: Faces; footage is cut while it is scored.
        group: ``"stress"``, ``"base"``, or another group's name.
        fold: Number of the fold whose detector it is, or -1 for the untouched one.
        failures: Gets ``what`` and ``reason`` of each failure.
        advance: Called after every clip.

    Returns:
        The columns of :func:`stress.evaluation.scoring.score` with ``group``, ``phase`` (before or after),
        ``strategy`` and ``seed`` (empty and -1 before), ``fold``, ``threshold``, and ``calibrated`` (the untouched
        detector's threshold chosen on what the fold was fine-tuned on; NaN before).
    """
    from stress.evaluation.scoring import COLUMNS, score

    parts = []
    left = len(crops)
    for item in crops:
        try:
            parts.append(score(detector.fake_probability, [item]))
        except ValueError as error:
            when = "untouched detector" if fold < 0 else f"detector of fold {fold}"
            failures.append({"what": f"scoring {item.clip.id} by the {when}", "reason": str(error)})
        advance()
        left -= 1
    advance(left)  # clips without a face
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
    phase = "before" if fold < 0 else "after"
    threshold = float(detector.card.threshold)
    return table.assign(
        group=group, phase=phase, strategy="", seed=-1, fold=fold, threshold=threshold, calibrated=np.nan
    )


@dataclass(kw_only=True)
class FoldScores:
    """What fine-tuning in folds gave.

    Attributes:
        scores: Out-of-fold scores of the stress clips and the others, and of the base clips by every fold's detector.
        reports: JSON-able facts of every fold that worked.
        detectors: Where the detectors of the folds lie, by fold, as far as they were kept.
    """

    scores: list[pd.DataFrame] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    detectors: dict[int, Path] = field(default_factory=dict)


def fine_tune(
    detector: Scorer,
    material: Material,
    folds: Sequence[Fold],
    training: Any,
    *,
    strategy: Strategy | None = None,
    seed: int = 0,
    before: pd.DataFrame | None = None,
    video_score: str = "mean",
    finetune: FineTune,
    failures: list[dict[str, str]],
    advance: Advance = lambda *_, **__: None,
    store: FoldStore | None = None,
    keep: bool = False,
) -> FoldScores:
    """Fine-tune a copy of the detector for every fold, and score the fold's clips and the base clips with it.

    Base clips of people or source clips that the fold was fine-tuned on are left out of that fold's base scores. With
    replay, the base data are divided likewise, and a fold's detector replays those of the people it does not test.
    A fold whose fine-tuning fails is named in ``failures`` and tests nothing.

    Args:
        detector: The untouched detector.
        material: Clips.
        folds: From :func:`stress.data.splits.split`.
        training: Settings with ``layers`` and ``seed``, passed on to ``finetune``.
        strategy: Which layers, and whether to replay; all layers by default.
        seed: Added to the seed in ``training``.
        before: The untouched detector's scores of the stress clips, for its calibrated threshold.
        video_score: How a video's score is made of its frames', for that threshold.
        finetune: Makes the fine-tuned copy.
        failures: Gets ``what`` and ``reason`` of each failure.
        advance: Called once after every fold, and with 0 and a ``note`` after steps.
        store: Keeps what every fold gave, so that an experiment that was cut off goes on.
        keep: Whether the store keeps the detectors too.
    """
    strategy = strategy or Strategy()
    training = replace(training, layers=strategy.layers, seed=training.seed + seed)
    parts = divide_base(material, folds, replay=strategy.replay)
    videos = None if before is None else to_videos(before, video_score)
    found = FoldScores()
    for number, (fold, part) in enumerate(zip(folds, parts, strict=True)):
        job = _Job(fold=fold, number=number, strategy=strategy, seed=seed, training=training, base=part, keep=keep)
        try:
            scores, report, path = _kept(store, detector, material, job, finetune, failures, advance)
        except (UserError, ValueError, RuntimeError) as error:
            what = f"fine-tuning of fold {number} ({strategy.label}, seed {seed})"
            failures.append({"what": what, "reason": str(error)})
            advance()
            continue
        advance()
        if not scores.empty:
            calibrated = _calibrated(videos, [material.stress[i] for i in fold.train])
            found.scores.append(scores.assign(calibrated=calibrated))
            found.reports.append(report | {"calibrated_before": None if np.isnan(calibrated) else calibrated})
            if path is not None:
                found.detectors[number] = path
    return found


# ---------------------------------------------------------------------------------------------------------- base data


@dataclass(frozen=True, kw_only=True)
class BasePart:
    """What of the base data a fold replays and is asked about."""

    tested: Sequence[Crops] = ()
    replayed: Sequence[Crops] = ()


def divide_base(material: Material, folds: Sequence[Fold], *, replay: bool) -> list[BasePart]:
    """The base clips that each fold may replay and those it may be asked about, with nobody in both.

    Without replay a fold is asked about all base clips of people and source clips that it was not fine-tuned on.
    With it, base clips of people in the stress data follow the stress folds, and the others are split among the folds.
    """
    stress, base = material.stress, material.base
    if not base:
        return [BasePart() for _ in folds]
    seen = [[stress[i] for i in fold.train] for fold in folds]
    apart = [_apart(base, items) for items in seen]
    if not replay:
        return [BasePart(tested=items) for items in apart]
    known = {person for item in stress for person in item.clip.people}
    strangers = [item for item in base if known.isdisjoint(item.clip.people)]
    own = split([item.clip for item in strangers], folds=max(2, len(folds))).folds if strangers else ()
    found = []
    for number, (fold, may) in enumerate(zip(folds, apart, strict=True)):
        mine = own[number % len(own)] if own else None
        held = fold.people | (mine.people if mine else frozenset())
        tests = {stress[i].clip.source_clip for i in fold.test}
        asked = {id(strangers[i]) for i in mine.test} if mine and number < len(own) else set()
        tested = [item for item in may if id(item) in asked or fold.people.issuperset(item.clip.people)]
        tests |= {item.clip.source_clip for item in tested}
        replayed = [
            item for item in base if held.isdisjoint(item.clip.people) and item.clip.source_clip not in tests
        ]
        found.append(BasePart(tested=tested, replayed=replayed))
    return found


def _apart(base: Sequence[Crops], seen: Sequence[Crops]) -> list[Crops]:
    """Base clips of people and source clips that were not trained on."""
    people = {person for item in seen for person in item.clip.people}
    footage = {item.clip.source_clip for item in seen}
    return [item for item in base if people.isdisjoint(item.clip.people) and item.clip.source_clip not in footage]


# --------------------------------------------------------------------------------------------------------- one fold


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One fine-tuning."""

    fold: Fold
    number: int
    strategy: Strategy
    seed: int
    training: Any
    base: BasePart
    keep: bool


def _kept(
    store: FoldStore | None,
    detector: Scorer,
    material: Material,
    job: _Job,
    finetune: FineTune,
    failures: list[dict[str, str]],
    advance: Advance,
) -> tuple[pd.DataFrame, dict[str, Any], Path | None]:
    """What a fold gives, from the store if it has been there before, and where its detector is kept.

    What follows from the untouched detector's scores is not in it: those depend on more than a fold does.
    """
    seen, tested = ([material.stress[i] for i in part] for part in (job.fold.train, job.fold.test))
    people = {(item.clip.label, item.clip.people) for item in tested}
    others = {
        name: [item for item in items if (item.clip.label, item.clip.people) in people]
        for name, items in material.others.items()
    }
    asked = {"stress": tested, "base": job.base.tested, **others}
    key = path = None
    if store is not None:
        key = store.key(detector, job.training, job.strategy.name, job.number, [*seen, *job.base.replayed], asked)
        known = store.get(key, detector=job.keep)
        path = store.detector(key) if job.keep else None
        if known is not None:
            return *known, path
    reals, fakes = ([item for item in seen if item.clip.label == label] for label in (0, 1))
    if job.strategy.replay and {item.clip.label for item in job.base.replayed} != {0, 1}:
        raise UserError("too few people in the base data to replay some and test others")
    more = {"replay": job.base.replayed} if job.strategy.replay else {}
    failed = len(failures)
    where = f"{job.strategy.name}, seed {job.seed}, fold {job.number + 1}"

    def step(n: int = 1, note: str = "") -> None:
        advance(0, note=f"{where}: {note}" if note else where)

    tuned = finetune(detector, reals, fakes, job.training, progress=step, **more)
    tables = [
        score_clips(tuned, items, group=group, fold=job.number, failures=failures) for group, items in asked.items()
    ]
    scores = pd.concat([table for table in tables if len(table)], ignore_index=True)
    scores = scores.assign(strategy=job.strategy.name, seed=job.seed)
    report = {
        "fold": job.number,
        "strategy": job.strategy.name,
        "seed": job.seed,
        "people": sorted(job.fold.people),
        "test": {
            "fakes": sum(item.clip.label for item in tested),
            "reals": sum(1 - item.clip.label for item in tested),
        },
        "train": {
            "fakes": len(fakes),
            "reals": len(reals),
            "people": len({person for item in seen for person in item.clip.people}),
            "replayed": len(job.base.replayed) if job.strategy.replay else 0,
        },
        "barred": [material.stress[i].clip.id for i in job.fold.barred],
        "base_left_out": len(material.base) - len(job.base.tested),
        "threshold": float(tuned.card.threshold),
        "threshold_source": str(getattr(tuned.card, "threshold_source", "")),
    }
    if store is not None and len(failures) == failed:
        store.put(key, scores, report, tuned if job.keep else None)
    return scores, report, path if path is not None and path.is_file() else None


def _calibrated(before: pd.DataFrame | None, seen: Sequence[Crops]) -> float:
    """The threshold with the highest Youden index of the untouched detector's videos that a fold was fine-tuned on."""
    if before is None:
        return float("nan")
    keys = {key_of(item, "stress")[1:] for item in seen}
    mine = [key in keys for key in zip(before["dataset"], before["label"], before["clip"], strict=True)]
    part = before[mine]
    if set(part.label) != {0, 1}:
        return float("nan")
    return youden_threshold(part.score.to_numpy(), part.label.to_numpy())
