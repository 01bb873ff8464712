"""Scores before and after fine-tuning, every clip by a detector that never saw its people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd

from faceswap_hq.console import Advance
from faceswap_hq.errors import UserError
from stress.data.crops import Crops
from stress.data.splits import Fold
from stress.evaluation.comparison import Key

Progress = Callable[..., AbstractContextManager[Advance]]

#: ``finetune(detector, reals, fakes, settings, progress=...)`` gives a fine-tuned copy of the detector.
FineTune = Callable[..., Any]


class Scorer(Protocol):
    """What the experiment needs of a detector."""

    @property
    def card(self) -> Any:
        """Has at least ``threshold``."""

    def fake_probability(self, images: np.ndarray) -> np.ndarray:
        """From (n, S, S, 3) uint8 RGB to (n,) probabilities."""


def key_of(item: Crops, group: str) -> Key:
    """Name of a clip among all that are scored; ``group`` is ``"stress"`` or ``"base"``."""
    return group, item.clip.dataset, item.clip.label, item.clip.id


def score_clips(
    detector: Scorer,
    crops: Sequence[Crops],
    *,
    group: str,
    fold: int = -1,
    failures: list[dict[str, str]],
    advance: Advance = lambda *_, **__: None,
) -> pd.DataFrame:
    """Scores of clips, one row a frame; a clip the detector fails on is left out and named in ``failures``.

    Args:
        detector: Gives the scores and, in its card, the threshold that is noted beside them.
        crops: Faces.
        group: ``"stress"`` or ``"base"``.
        fold: Number of the fold whose detector it is, or -1 for the untouched one.
        failures: Gets ``what`` and ``reason`` of each failure.
        advance: Called after every clip.

    Returns:
        The columns of :func:`stress.evaluation.scoring.score` with ``group``, ``phase`` (before or after), ``fold`` and
        ``threshold``.
    """
    from stress.evaluation.scoring import COLUMNS, score

    try:
        table = score(detector.fake_probability, crops, advance)
    except ValueError:  # one by one, to find out which
        parts = [pd.DataFrame(columns=list(COLUMNS))]
        for item in crops:
            try:
                parts.append(score(detector.fake_probability, [item]))
            except ValueError as error:
                when = "untouched detector" if fold < 0 else f"detector of fold {fold}"
                failures.append({"what": f"scoring {item.clip.id} by the {when}", "reason": str(error)})
        table = pd.concat(parts[1:] or parts, ignore_index=True)
    phase = "before" if fold < 0 else "after"
    return table.assign(group=group, phase=phase, fold=fold, threshold=float(detector.card.threshold))


@dataclass(kw_only=True)
class FoldScores:
    """What fine-tuning in folds gave.

    Attributes:
        scores: Out-of-fold scores of the stress clips, and scores of the base clips by every fold's detector.
        reports: JSON-able facts of every fold that worked.
    """

    scores: list[pd.DataFrame] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)


def fine_tune(
    detector: Scorer,
    crops: Sequence[Crops],
    base: Sequence[Crops],
    folds: Sequence[Fold],
    training: Any,
    *,
    finetune: FineTune,
    failures: list[dict[str, str]],
    progress: Progress,
) -> FoldScores:
    """Fine-tune a copy of the detector for every fold, and score the fold's clips and the base clips with it.

    Base clips of people or source clips that the fold was fine-tuned on are left out of that fold's base scores.
    A fold whose fine-tuning fails is named in ``failures`` and tests nothing.

    Args:
        detector: The untouched detector.
        crops: Stress clips, in the order that was split.
        base: Clips of the detector's own kind.
        folds: From :func:`stress.data.splits.split`.
        training: Passed on to ``finetune``.
        finetune: Makes the fine-tuned copy.
        failures: Gets ``what`` and ``reason`` of each failure.
        progress: Shows progress.
    """
    found = FoldScores()
    for number, fold in enumerate(folds):
        seen = [crops[i] for i in fold.train]
        tested = [crops[i] for i in fold.test]
        reals, fakes = ([item for item in seen if item.clip.label == label] for label in (0, 1))
        people = {person for item in seen for person in item.clip.people}
        try:
            with progress(f"fine-tuning {number + 1}/{len(folds)}", None, unit="steps") as advance:
                tuned = finetune(detector, reals, fakes, training, progress=advance)
        except (UserError, ValueError, RuntimeError) as error:
            failures.append({"what": f"fine-tuning of fold {number}", "reason": str(error)})
            continue
        scores = score_clips(tuned, tested, group="stress", fold=number, failures=failures)
        if scores.empty:
            continue
        footage = {item.clip.source_clip for item in seen}
        apart = [item for item in base if people.isdisjoint(item.clip.people) and item.clip.source_clip not in footage]
        base_scores = score_clips(tuned, apart, group="base", fold=number, failures=failures)
        found.scores += [scores, base_scores]
        found.reports.append(
            {
                "fold": number,
                "people": sorted(fold.people),
                "test": {
                    "fakes": sum(item.clip.label for item in tested),
                    "reals": sum(1 - item.clip.label for item in tested),
                },
                "train": {"fakes": len(fakes), "reals": len(reals), "people": len(people)},
                "barred": [crops[i].clip.id for i in fold.barred],
                "base_left_out": len(base) - len(apart),
                "threshold": float(tuned.card.threshold),
                "threshold_source": str(getattr(tuned.card, "threshold_source", "")),
            }
        )
    return found
