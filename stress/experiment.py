"""The experiment: score, fine-tune on people who are not tested, score again, and say what changed and how surely."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from faceswap_hq import __version__ as toolkit_version
from faceswap_hq.console import progress as show_progress
from faceswap_hq.errors import UserError
from stress import leakage, records
from stress.checks import require
from stress.data.footage import Faces, Footage, excluded_of
from stress.data.splits import Split, split
from stress.detectors.detector import require_trainable
from stress.detectors.maps import locates, map_trained, maps
from stress.evaluation import gate, ladder, localisation
from stress.evaluation.comparison import (
    DEFINITIONS,
    Bootstrap,
    Condition,
    both_labels,
    figures,
    keys_of,
    measure,
)
from stress.evaluation.metrics import MEANING, METRICS, VIDEO_SCORES
from stress.evaluation.out_of_fold import (
    FineTune,
    FoldScores,
    Material,
    Progress,
    Scorer,
    fine_tune,
    key_of,
    score_clips,
)
from stress.evaluation.store import FoldStore
from stress.results import FORMAT, VERSION, Outcome, as_record, environment, json_safe, save
from stress.strategies import STRATEGIES, Strategy

if TYPE_CHECKING:
    from stress.data.crops import Crops, Excluded

__all__ = ["ExperimentSettings", "Outcome", "run", "save"]


@dataclass(frozen=True, kw_only=True)
class ExperimentSettings:
    """How the experiment is run.

    Args:
        folds: Highest number of folds, at least 2; the people decide how many are possible and needed.
        finetune: Whether to fine-tune at all.
        strategies: Ways to fine-tune; the first that can be done is the main one. Those with replay are left out where
            there are no base data.
        seeds: Fine-tunings of each strategy and fold, with seeds of their own, at least 1.
        training: :class:`stress.training.TrainSettings` of the fine-tuning, or None for 20 epochs at 3e-4.
        video_score: How a video's score is made of its frames', see :data:`stress.evaluation.metrics.VIDEO_SCORES`.
        gate: Whether to stop where the detector misses its card's claims on the base data.
        gate_tolerance: By how much it may, in [0, 1].
        shuffles: How often all folds are fine-tuned on shuffled labels, for the audit; 0 for never.
        resamples: Resamples of the people behind every interval, at least 100.
        confidence: Nominal coverage of the intervals, in (0, 1).
        audit_limit: One-feature AUC from which a shortcut is reported, in (0.5, 1].
        seed: Of folds, fine-tuning and resamples, at least 0.
    """

    folds: int = 6
    finetune: bool = True
    strategies: tuple[Strategy, ...] = STRATEGIES
    seeds: int = 3
    training: Any = None
    video_score: str = "mean"
    gate: bool = True
    gate_tolerance: float = 0.05
    shuffles: int = 1
    resamples: int = 1000
    confidence: float = 0.95
    audit_limit: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "folds": self.folds >= 2,
            "strategies": len(self.strategies) > 0 and len(set(self.strategies)) == len(self.strategies),
            "seeds": self.seeds >= 1,
            "video_score": self.video_score in VIDEO_SCORES,
            "gate_tolerance": 0 <= self.gate_tolerance <= 1,
            "shuffles": self.shuffles >= 0,
            "resamples": self.resamples >= 100,
            "confidence": 0 < self.confidence < 1,
            "audit_limit": 0.5 < self.audit_limit <= 1,
            "seed": self.seed >= 0,
        }
        require(self, checks, otherwise="is out of range", known={"video_score": VIDEO_SCORES})

    @property
    def bootstrap(self) -> Bootstrap:
        """How intervals are made."""
        return Bootstrap(
            resamples=self.resamples, confidence=self.confidence, seed=self.seed, video_score=self.video_score
        )


def run(
    detector: Scorer,
    fake_crops: Faces,
    real_crops: Faces,
    base_crops: Faces | None = None,
    settings: ExperimentSettings | None = None,
    excluded: Sequence[Excluded] = (),
    progress: Progress = show_progress,
    finetune: FineTune | None = None,
    *,
    rungs: Mapping[str, Faces] | None = None,
    controls: Faces = (),
    store: FoldStore | None = None,
    keep_detectors: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Stress a detector: before, and where the people allow it fine-tuning and after.

    Args:
        detector: Has ``card`` (with ``threshold``) and ``fake_probability(images uint8 NHWC) -> (n,)``.
        fake_crops: Faces of the stress fakes, here as below cut out already or :class:`stress.data.footage.Footage`, of
            which the untouched detector scores a clip while the next ones are cut out.
        real_crops: Faces of their reals.
        base_crops: The detector's own kind of data, reals and fakes; without it there is no drop and no forgetting.
        settings: How to run; defaults if None.
        excluded: Clips that could not be used, for the record; footage knows its own.
        progress: Shows progress (:func:`faceswap_hq.console.progress` or one with its signature).
        finetune: ``finetune(detector, reals, fakes, training, progress=...) -> detector``; by default
            :func:`stress.training.loop.train`.
        rungs: The quality ladder: name of a blending stage -> faces of the same swaps with the stages up to it, from
            crude to best. The detectors that were fine-tuned on ``fake_crops`` are asked about them.
        controls: Processed-real controls (:mod:`stress.evaluation.audit.processed_real`).
        store: Keeps what every fine-tuning gave, so that a run that was cut off goes on.
        keep_detectors: Whether the store also keeps the detectors of the first strategy's first seed.
        say: Told what the person should know while it runs.

    Returns:
        Results and scores. A clip the detector fails on, and a fold whose fine-tuning fails, are named under
        ``failures`` and take no part.

    Raises:
        UserError: There is no fake or no real to score, or the detector misses its own claim (the gate).
        ValueError: Detectors are to be fine-tuned on footage that does not keep its faces.
    """
    settings = settings or ExperimentSettings()
    if settings.finetune and finetune is None:
        require_trainable(detector)
    failures: list[dict[str, str]] = []
    own = base_crops or ()
    footage = [each for each in (fake_crops, real_crops, own) if isinstance(each, Footage)]
    if settings.finetune and not all(each.keep for each in footage):
        raise ValueError("footage that is trained on keeps its faces: make it with keep=True")
    more = {ladder.group(name): items for name, items in (rungs or {}).items()}
    if controls:
        more[leakage.CONTROLS] = controls
    warnings = []
    with progress("scoring", sum(map(len, (own, fake_crops, real_crops, *more.values()))), unit="clips") as step:
        ask = partial(score_clips, detector, failures=failures, advance=step)
        base_before = ask(own, group="base")
        base = _scored(own, "base", base_before)
        if len(base_before) and not both_labels(base_before):
            base, base_before = [], base_before.iloc[:0]
            warnings.append("The base data has only one kind of clip: no drop and no forgetting can be given.")
        passed = _gate(detector, base, base_before, settings)
        before = _joined([ask(items, group="stress") for items in (fake_crops, real_crops)])
        later = [ask(items, group=name) for name, items in more.items()]
    excluded = [*excluded, *excluded_of(fake_crops, real_crops, *more.values(), own)]
    others = {name: list(items) for name, items in more.items()}
    crops = _scored([*fake_crops, *real_crops], "stress", before)
    if not both_labels(before):
        fakes, reals = (sum(item.clip.label == label for item in crops) for label in (1, 0))
        raise UserError(
            f"There is nothing to compare: {fakes} fakes and {reals} reals could be scored.",
            f"{len(excluded)} clips were excluded, {len(failures)} failed; both kinds are needed.",
        )

    clips = [item.clip for item in crops]
    folds, training = Split(reason="not asked for"), settings.training
    if settings.finetune:
        folds = split(clips, folds=settings.folds, seed=settings.seed)
    tuned: dict[Strategy, FoldScores] = {}
    finetune = finetune or _train
    if folds.folds:
        training = training or _training(settings.seed)
        material = Material(stress=crops, base=base, others=others)
        tuned = _tuned(
            detector, material, folds, before, training, settings, finetune, failures, progress, store, keep_detectors
        )
    elif settings.finetune:
        say(f"No fine-tuning: {folds.reason}.")
    scores = _joined([before, base_before, *later, *(part for each in tuned.values() for part in each.scores)])
    people = {key_of(item, name): item.clip.people for name, items in _groups(crops, base, others) for item in items}
    main = next((strategy for strategy, found in tuned.items() if _tested(found)), None)
    first = scores[(scores.phase == "before") | (scores.strategy == (main.name if main else ""))]
    bootstrap = settings.bootstrap  # one for all: it knows what it has measured
    found = figures(first, people, bootstrap)
    strategies = records.strategies(tuned, main, found, scores, people, bootstrap) if main else []
    audit = leakage.leakage(crops, base, first, settings, progress)
    if main is not None and settings.shuffles:
        leakage.add_shuffled(
            audit, detector, crops, folds.folds, training, settings,
            finetune=finetune, failures=failures, progress=progress, store=store,
        )  # fmt: skip
    drawn = locates(detector)
    if drawn and map_trained(detector) is None:
        warnings.append(
            "The detector's network draws a map of the forgery, but its card does not say whether that was trained "
            "(map_trained): the map is neither measured nor shown."
        )
    results = {
        "format": FORMAT,
        "version": VERSION,
        "toolkit": toolkit_version,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "detector": {**as_record(detector.card), "name": str(getattr(detector, "name", "detector"))},
        "settings": {
            **as_record(settings),
            "strategies": [each.name for each in settings.strategies],
            "training": as_record(training),
        },
        "environment": environment(),
        "definitions": DEFINITIONS,
        "metrics": {name: {"name": m[0], "meaning": m[1], "better": METRICS[name]} for name, m in MEANING.items()},
        "gate": passed,
        **found,
        "strategies": strategies,
        "ladder": ladder.figures(list(rungs or {}), first, people, bootstrap),
        "localisation": localisation.figures(
            partial(maps, detector) if drawn and map_trained(detector) else None, crops, bootstrap
        ),
        "claims": records.claims(detector.card, found["conditions"]),
        "finetune": records.finetuning(
            folds, tuned[main] if main else FoldScores(), clips, main, tried=bool(tuned)
        ),
        "clips": records.clip_table(crops, first, settings.video_score),
        "audit": audit,
        "hashes": records.hashes(detector.card, [*clips, *(item.clip for item in base)]),
        "warnings": warnings + ([passed["reason"]] if passed["passed"] is False else []),
        "excluded": [
            {"clip": item.clip.id, "label": item.clip.label, "path": str(item.clip.path), "reason": item.reason}
            for item in excluded
        ],
        "failures": failures,
    }
    return Outcome(results=json_safe(results), scores=scores, detectors=tuned[main].detectors if main else {})


def _gate(
    detector: Scorer, base: Sequence[Crops], scores: pd.DataFrame, settings: ExperimentSettings
) -> dict[str, Any]:
    """What the card claims against what the base data show; stops the run where it falls short."""
    reference = None
    claims = getattr(detector.card, "base_metrics", None)
    if claims and len(scores):
        people = {key_of(item, "base"): item.clip.people for item in base}
        tables = {"reference": Condition(tables=(scores,))}
        reference = {
            level: {
                metric: estimate.as_dict()
                for metric, estimate in measure(tables, [people], settings.bootstrap, level=level)[0][
                    "reference"
                ].items()
            }
            for level in ("video", "frame")
        }
    found = gate.judge(claims, reference, settings.gate_tolerance)
    if settings.gate and found["passed"] is False:
        raise gate.stop(found)
    return found


def _tuned(
    detector: Scorer,
    material: Material,
    folds: Split,
    before: pd.DataFrame,
    training: Any,
    settings: ExperimentSettings,
    finetune: FineTune,
    failures: list[dict[str, str]],
    progress: Progress,
    store: FoldStore | None,
    keep: bool,
) -> dict[Strategy, FoldScores]:
    """Every strategy, with every seed, in every fold."""
    strategies = [each for each in settings.strategies if material.base or not each.replay]
    found = {each: FoldScores() for each in strategies}
    total = len(strategies) * settings.seeds * len(folds.folds)
    with progress("fine-tuning", total, unit="fine-tunings") as advance:
        for strategy in strategies:
            for seed in range(settings.seeds):
                one = fine_tune(
                    detector,
                    material,
                    folds.folds,
                    training,
                    strategy=strategy,
                    seed=seed,
                    before=before,
                    video_score=settings.video_score,
                    finetune=finetune,
                    failures=failures,
                    advance=advance,
                    store=store,
                    keep=keep and seed == 0 and strategy == strategies[0],
                )
                found[strategy].detectors |= one.detectors
                found[strategy].scores += one.scores
                found[strategy].reports += one.reports
    return found


def _train(*arguments: Any, **options: Any) -> Any:
    from stress.training.loop import train  # torch is heavy

    return train(*arguments, **options)


def _training(seed: int) -> Any:
    from stress.training.settings import TrainSettings

    return TrainSettings(epochs=20, lr=3e-4, seed=seed)


def _tested(found: FoldScores) -> bool:
    return bool(found.scores) and both_labels(pd.concat(found.scores).query("group == 'stress'"))


def _groups(
    crops: Sequence[Crops], base: Sequence[Crops], others: Mapping[str, Sequence[Crops]]
) -> list[tuple[str, Sequence[Crops]]]:
    return [("stress", crops), ("base", base), *others.items()]


def _joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def _scored(crops: Faces, group: str, scores: pd.DataFrame) -> list[Crops]:
    known = set(keys_of(scores))
    return [item for item in crops if key_of(item, group) in known]


