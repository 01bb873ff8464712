"""The audit of one experiment: shortcuts, shuffled labels and the processed-real control, in one record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from stress.data.splits import Fold
from stress.evaluation.audit import audit
from stress.evaluation.audit.processed_real import from_videos
from stress.evaluation.audit.shuffled import shuffled_labels
from stress.evaluation.metrics import CLIP_KEY, to_videos
from stress.evaluation.out_of_fold import FineTune, Progress, Scorer
from stress.evaluation.store import FoldStore

if TYPE_CHECKING:
    from stress.data.crops import Crops
    from stress.experiment import ExperimentSettings

#: Name of the processed-real controls among all that are scored.
CONTROLS = "controls"


def leakage(
    crops: Sequence[Crops],
    base: Sequence[Crops],
    scores: pd.DataFrame,
    settings: ExperimentSettings,
    progress: Progress,
) -> dict[str, Any]:
    """What the audit finds, with the processed-real control before and, where there is an after, after fine-tuning.

    Args:
        crops: The stress clips.
        base: The detector's own kind of data.
        scores: After fine-tuning by the main strategy only; controls are the group :data:`CONTROLS`.
        settings: Limit, seed, resamples.
        progress: Shows progress.

    Returns:
        As :func:`stress.evaluation.audit.audit`, with ``processed_real`` (the last phase that could be judged) and
        ``processed_real_before``, each None without controls.
    """
    fakes, reals = ([item for item in crops if item.clip.label == label] for label in (1, 0))
    with progress("auditing", None, unit="clips") as advance:
        found = audit(fakes, reals, base, limit=settings.audit_limit, advance=advance, seed=settings.seed)
    judged = {phase: _controls(scores[scores.phase == phase], settings) for phase in ("before", "after")}
    found["processed_real_before"] = judged["before"]
    found["processed_real"] = judged["after"] or judged["before"]
    if found["processed_real"] is not None:
        _note(found, found["processed_real"]["flag"], found["processed_real"]["sentence"])
    return found


def add_shuffled(
    found: dict[str, Any],
    detector: Scorer,
    crops: Sequence[Crops],
    folds: Sequence[Fold],
    training: Any,
    settings: ExperimentSettings,
    *,
    finetune: FineTune,
    failures: list[dict[str, str]],
    progress: Progress,
    store: FoldStore | None = None,
) -> None:
    """Fine-tune on shuffled labels and put into the audit what comes of it."""
    shuffled = shuffled_labels(
        detector, crops, folds, training, finetune=finetune, failures=failures, progress=progress,
        store=store, runs=settings.shuffles, resamples=settings.resamples, seed=settings.seed,
    )  # fmt: skip
    found["shuffled"] = shuffled
    if shuffled["auc"] is not None:
        sentence = (
            f"Fine-tuned on labels that mean nothing, the detector reaches an AUC of {shuffled['auc']:.2f} on people "
            "it never saw: something else than the labels tells clips apart."
        )
        _note(found, shuffled["flag"], sentence)


def _controls(scores: pd.DataFrame, settings: ExperimentSettings) -> dict[str, Any] | None:
    """The control judged by the video scores of one phase, each clip's the mean over seeds."""
    videos = to_videos(scores, settings.video_score)
    if not len(videos):
        return None
    keys = [*CLIP_KEY, "people"]
    videos = videos.groupby(keys, sort=False, as_index=False)[["score", "threshold"]].mean()
    controls, stress = videos[videos.group == CONTROLS], videos[videos.group == "stress"]
    if not len(controls) or set(stress.label) != {0, 1}:
        return None
    phase = str(scores.phase.iloc[0])
    return {"phase": phase} | from_videos(controls, stress, resamples=settings.resamples, seed=settings.seed)


def _note(found: dict[str, Any], flag: bool, sentence: str) -> None:
    """A finding that makes the recovery suspect."""
    if flag:
        found["suspect"] = True
        found["warnings"] = [*found["warnings"], sentence]
