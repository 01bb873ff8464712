"""The experiment: score, fine-tune on people who are not tested, score again, and say what changed and how surely."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from faceswap_hq import __version__ as toolkit_version
from faceswap_hq.console import progress as show_progress
from faceswap_hq.errors import UserError
from stress.data.splits import Split, split
from stress.evaluation.audit import audit
from stress.evaluation.comparison import DEFINITIONS, LEVELS, Bootstrap, both_labels, figures, keys_of
from stress.evaluation.metrics import MEANING, METRICS, to_videos
from stress.evaluation.out_of_fold import FineTune, FoldScores, Progress, Scorer, fine_tune, key_of, score_clips
from stress.results import FORMAT, VERSION, Outcome, as_record, environment, json_safe, save

if TYPE_CHECKING:
    from stress.data.crops import Crops, Excluded

__all__ = ["ExperimentSettings", "Outcome", "run", "save"]


@dataclass(frozen=True, kw_only=True)
class ExperimentSettings:
    """How the experiment is run.

    Args:
        folds: Highest number of fine-tunings, at least 2; the people decide how many are possible and needed.
        finetune: Whether to fine-tune at all.
        training: :class:`stress.training.TrainSettings` of the fine-tuning, or None for 20 epochs at 3e-4.
        resamples: Resamples of the people behind every interval, at least 100.
        confidence: Nominal coverage of the intervals, in (0, 1).
        audit_limit: One-feature AUC from which a shortcut is reported, in (0.5, 1].
        seed: Of folds, fine-tuning and resamples, at least 0.
    """

    folds: int = 6
    finetune: bool = True
    training: Any = None
    resamples: int = 1000
    confidence: float = 0.95
    audit_limit: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "folds": self.folds >= 2,
            "resamples": self.resamples >= 100,
            "confidence": 0 < self.confidence < 1,
            "audit_limit": 0.5 < self.audit_limit <= 1,
            "seed": self.seed >= 0,
        }
        for name, fine in checks.items():
            if not fine:
                raise ValueError(f"{name} = {getattr(self, name)!r} is out of range")


def run(
    detector: Scorer,
    fake_crops: Sequence[Crops],
    real_crops: Sequence[Crops],
    base_crops: Sequence[Crops] | None = None,
    settings: ExperimentSettings | None = None,
    excluded: Sequence[Excluded] = (),
    progress: Progress = show_progress,
    finetune: FineTune | None = None,
) -> Outcome:
    """Stress a detector: before, and where the people allow it fine-tuning and after.

    Args:
        detector: Has ``card`` (with ``threshold``) and ``fake_probability(images uint8 NHWC) -> (n,)``.
        fake_crops: Faces of the stress fakes.
        real_crops: Faces of their reals.
        base_crops: The detector's own kind of data, reals and fakes; without it there is no drop and no forgetting.
        settings: How to run; defaults if None.
        excluded: Clips that could not be used, for the record.
        progress: Shows progress (:func:`faceswap_hq.console.progress` or one with its signature).
        finetune: ``finetune(detector, reals, fakes, training, progress=...) -> detector``; by default
            :func:`stress.training.supervised.train`.

    Returns:
        Results and scores. A clip the detector fails on, and a fold whose fine-tuning fails, are named under
        ``failures`` and take no part.

    Raises:
        UserError: There is no fake or no real to score.
    """
    settings = settings or ExperimentSettings()
    failures: list[dict[str, str]] = []
    given = [*fake_crops, *real_crops]
    with progress("scoring", len(given) + len(base_crops or ()), unit="clips") as advance:
        before = score_clips(detector, given, group="stress", failures=failures, advance=advance)
        base_before = score_clips(detector, base_crops or (), group="base", failures=failures, advance=advance)
    crops, base = _scored(given, "stress", before), _scored(base_crops or (), "base", base_before)
    if not both_labels(before):
        fakes, reals = len(_of(crops, 1)), len(_of(crops, 0))
        raise UserError(
            f"There is nothing to compare: {fakes} fakes and {reals} reals could be scored.",
            f"{len(excluded)} clips were excluded, {len(failures)} failed; both kinds are needed.",
        )
    warnings = []
    if len(base_before) and not both_labels(base_before):
        base, base_before = [], base_before.iloc[:0]
        warnings.append("The base data has only one kind of clip: no drop and no forgetting can be given.")

    clips = [item.clip for item in crops]
    folds, training = Split(reason="not asked for"), None
    if settings.finetune:
        folds = split(clips, folds=settings.folds, seed=settings.seed)
    tuned = FoldScores()
    if folds.folds:
        finetune, training = finetune or _train(), settings.training or _training(settings.seed)
        tuned = fine_tune(
            detector, crops, base, folds.folds, training, finetune=finetune, failures=failures, progress=progress
        )
    scores = pd.concat([part for part in (before, base_before, *tuned.scores) if len(part)], ignore_index=True)
    people = {key_of(item, "stress"): item.clip.people for item in crops}
    people |= {key_of(item, "base"): item.clip.people for item in base}
    bootstrap = Bootstrap(resamples=settings.resamples, confidence=settings.confidence, seed=settings.seed)
    found = figures(scores, people, bootstrap)
    claims = _claims(detector.card, found["conditions"])
    results = {
        "format": FORMAT,
        "version": VERSION,
        "toolkit": toolkit_version,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "detector": {**as_record(detector.card), "name": str(getattr(detector, "name", "detector"))},
        "settings": {**as_record(settings), "training": as_record(training)},
        "environment": environment(),
        "definitions": DEFINITIONS,
        "metrics": {name: {"name": m[0], "meaning": m[1], "better": METRICS[name]} for name, m in MEANING.items()},
        **found,
        "claims": claims,
        "finetune": _finetune_record(folds, tuned, clips, "after" in found["conditions"]),
        "clips": _clip_table(crops, scores),
        "audit": audit(_of(crops, 1), _of(crops, 0), base, limit=settings.audit_limit),
        "warnings": warnings + _below_claim(claims),
        "excluded": [
            {"clip": item.clip.id, "label": item.clip.label, "path": str(item.clip.path), "reason": item.reason}
            for item in excluded
        ],
        "failures": failures,
    }
    return Outcome(results=json_safe(results), scores=scores)


def _of(crops: Sequence[Crops], label: int) -> list[Crops]:
    return [item for item in crops if item.clip.label == label]


def _train() -> FineTune:
    from stress.training.supervised import train

    return train


def _training(seed: int) -> Any:
    from stress.training.supervised import TrainSettings

    return TrainSettings(epochs=20, lr=3e-4, seed=seed)


def _scored(crops: Sequence[Crops], group: str, scores: pd.DataFrame) -> list[Crops]:
    known = set(keys_of(scores))
    return [item for item in crops if key_of(item, group) in known]


def _finetune_record(folds: Split, tuned: FoldScores, clips: Sequence[Any], done: bool) -> dict[str, Any]:
    reason = folds.reason or ("" if done else "no fold gave fakes and reals to test (see failures)")
    return {
        "done": done,
        "reason": reason or None,
        "scheme": folds.scheme or None,
        "folds": tuned.reports,
        "left_out": [clips[i].id for i in folds.left_out],
    }


def _claims(card: Any, conditions: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the card claims (``video_auc`` ...), beside what was found on base and stress data."""
    claims = []
    for name, value in (getattr(card, "base_metrics", None) or {}).items():
        level, _, metric = name.partition("_")
        if level not in LEVELS or metric not in METRICS:
            continue
        row: dict[str, Any] = {"level": level, "metric": metric, "claimed": float(value)}
        for condition in ("reference", "before"):
            if condition in conditions:
                row[condition] = conditions[condition][level][metric]["value"]
        claims.append(row)
    return claims


def _below_claim(claims: Sequence[Mapping[str, Any]], tolerance: float = 0.05) -> list[str]:
    """A detector that misses its own claim on its own data is being asked wrongly: its drop may mean nothing."""
    found = []
    for claim in claims:
        reached, better = claim.get("reference"), METRICS[claim["metric"]]
        if reached is not None and better * (claim["claimed"] - reached) > tolerance:
            found.append(
                f"On its own kind of data the detector reaches a {claim['level']} {MEANING[claim['metric']][0]} of "
                f"{reached:.3f}, its card claims {claim['claimed']:.3f}: look for a mistake in how it is asked (crop, "
                "colours, polarity) before believing the drop."
            )
    return found


def _clip_table(crops: Sequence[Crops], scores: pd.DataFrame) -> list[dict[str, Any]]:
    """One row a stress clip: mean score and call before and after, and the real beside a fake."""
    stress = scores[scores.group == "stress"]
    before, after = (to_videos(stress[stress.phase == phase]) for phase in ("before", "after"))
    first = dict(zip(keys_of(before), before.to_dict("records"), strict=True))
    later = dict(zip(keys_of(after), after.to_dict("records"), strict=True))
    real_of = {item.clip.source_clip: item.clip.id for item in crops if item.clip.label == 0}
    rows = []
    for item in crops:
        clip, old, new = item.clip, first[key_of(item, "stress")], later.get(key_of(item, "stress"))
        rows.append(
            {
                "clip": clip.id,
                "dataset": clip.dataset,
                "label": clip.label,
                "people": list(clip.people),
                "source_clip": clip.source_clip,
                "method": clip.method,
                "frames": int(old["frames"]),
                "frames_missed": item.missed,
                "frames_several_faces": item.several,
                "compression": clip.compression,
                "matched_real": real_of.get(clip.source_clip) if clip.label else None,
                "before": float(old["score"]),
                "called_fake_before": bool(old["score"] >= old["threshold"]),
                "fold": int(new["fold"]) if new else None,
                "after": float(new["score"]) if new else None,
                "called_fake_after": bool(new["score"] >= new["threshold"]) if new else None,
            }
        )
    return rows
