"""Parts of results.json that are put together from what the experiment found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from faceswap_hq.errors import UserError
from stress.data.frames import content_hash
from stress.data.layouts import REAL, reals_of
from stress.data.splits import DisjointSets, Split
from stress.evaluation.comparison import LEVELS, Bootstrap, People, base_tables, both_labels, figures, keys_of
from stress.evaluation.exchange import exchange_test
from stress.evaluation.metrics import METRICS, align, auc, curve, to_videos
from stress.evaluation.out_of_fold import FoldScores, key_of
from stress.strategies import Strategy

if TYPE_CHECKING:
    from stress.data.crops import Crops
    from stress.data.layouts import Clip


def strategies(
    tuned: Mapping[Strategy, FoldScores],
    main: Strategy,
    found: Mapping[str, Any],
    scores: pd.DataFrame,
    people: People,
    bootstrap: Bootstrap,
) -> list[dict[str, Any]]:
    """Every way of fine-tuning: what it reached, won back and cost, with p-values and each seed's figures.

    Args:
        tuned: What each strategy gave.
        main: The one whose figures are at the top level of the results.
        found: Those figures.
        scores: All scores.
        people: Who is in each clip.
        bootstrap: How intervals are made.
    """
    rows = []
    for strategy, outcome in tuned.items():
        if not outcome.scores:
            continue
        mine = scores[(scores.phase == "before") | (scores.strategy == strategy.name)]
        part = found if strategy == main else figures(mine, people, bootstrap)
        if "after" not in part["conditions"]:
            continue
        names = [name for name in ("after", "base_after") if name in part["conditions"]]
        changes = [name for name in ("recovery", "recovery_share", "forgetting") if name in part["changes"]]
        rows.append(
            {
                "name": strategy.name,
                "label": strategy.label,
                "layers": strategy.layers,
                "replay": strategy.replay,
                "main": strategy == main,
                "seeds": sorted({int(report["seed"]) for report in outcome.reports}),
                "conditions": {name: part["conditions"][name] for name in names},
                "changes": {name: part["changes"][name] for name in changes},
                "p": _p_values(mine, people, bootstrap),
                "by_seed": _by_seed(mine, bootstrap.video_score),
            }
        )
    return rows


def _p_values(scores: pd.DataFrame, people: People, bootstrap: Bootstrap) -> dict[str, Any]:
    """Exchange tests of before against after, by video AUC: recovery on the stress clips, forgetting on the base."""
    return {
        name: {"video": {"auc": _exchange(scores[scores.group == group], people, bootstrap)}}
        for name, group in (("recovery", "stress"), ("forgetting", "base"))
    }


def _exchange(scores: pd.DataFrame, people: People, bootstrap: Bootstrap) -> float | None:
    before = to_videos(scores[scores.phase == "before"], bootstrap.video_score)
    after = to_videos(scores[scores.phase == "after"], bootstrap.video_score)
    if not len(after):
        return None
    after = pd.concat([align(part) for _, part in after.groupby("seed")])
    # Each clip's score by each detector where all were asked about the same clips, otherwise by each seed (the mean
    # over the folds asked about it)
    table = after.assign(key=pd.Series(keys_of(after), after.index, dtype=object))
    detectors = table.pivot_table(index="key", columns=["seed", "fold"], values="score").dropna()
    seeds = table.pivot_table(index="key", columns="seed", values="score").dropna()
    table = detectors if len(detectors) == len(seeds) else seeds
    known = dict(zip(keys_of(before), before.score, strict=True))
    keys = [key for key in table.index if key in known]
    labels = np.array([key[2] for key in keys])
    if set(labels.tolist()) != {0, 1}:
        return None
    units = independent([people[key] for key in keys])
    second = table.loc[keys].to_numpy().T
    return exchange_test([known[key] for key in keys], second, labels, units, seed=bootstrap.seed)


def independent(clips: Sequence[tuple[str, ...]]) -> list[str]:
    """A name for each clip, such that clips of different names share nobody, where the people allow that.

    Couples swapped both ways are one unit each. Where all are linked (everybody swapped with everybody), the person
    filmed is the best there is.
    """
    linked = DisjointSets()
    for people in clips:
        linked.join(people)
    units = [linked.find(people[0]) for people in clips]
    return units if len(set(units)) > 1 else [people[-1] for people in clips]


def _by_seed(scores: pd.DataFrame, video_score: str) -> list[dict[str, Any]]:
    """Video AUC of each seed, on the stress clips and on the base clips."""
    rows = []
    after = scores[scores.phase == "after"]
    for seed, part in after.groupby("seed"):
        row: dict[str, Any] = {"seed": int(seed)}
        for name, group in (("after_auc", "stress"), ("base_after_auc", "base")):
            table = part[part.group == group]
            tables = base_tables(table) if group == "base" else (table,)
            videos = [align(to_videos(each, video_score)) for each in tables if both_labels(each)]
            areas = [float(auc(curve(each.score, each.label))[0]) for each in videos]
            row[name] = round(float(np.mean(areas)), 6) if areas else None
        rows.append(row)
    return rows


def finetuning(
    folds: Split, tuned: FoldScores, clips: Sequence[Clip], main: Strategy | None, *, tried: bool
) -> dict[str, Any]:
    """What was done to fine-tune by the main strategy, fold by fold, and what was left out."""
    done = main is not None
    reason = folds.reason
    if not reason and not done:
        reason = "every fine-tuning failed or scored no fake beside a real" if tried else "replay needs base data"
    by_fold: dict[int, list[dict[str, Any]]] = {}
    for report in tuned.reports:
        by_fold.setdefault(report["fold"], []).append(report)
    return {
        "done": done,
        "reason": reason or None,
        "scheme": folds.scheme or None,
        "strategy": main.name if main else None,
        "seeds": len({report["seed"] for report in tuned.reports}),
        "folds": [
            {**reports[0], "thresholds": [report["threshold"] for report in reports]}
            for _, reports in sorted(by_fold.items())
        ],
        "left_out": [clips[i].id for i in folds.left_out],
    }


def claims(card: Any, conditions: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the card claims (``video_auc`` ...), beside what was found on base and stress data."""
    found = []
    for name, value in (getattr(card, "base_metrics", None) or {}).items():
        level, _, metric = name.partition("_")
        if level not in LEVELS or metric not in METRICS:
            continue
        row: dict[str, Any] = {"level": level, "metric": metric, "claimed": float(value)}
        for condition in ("reference", "before"):
            if condition in conditions:
                row[condition] = conditions[condition][level][metric]["value"]
        found.append(row)
    return found


def hashes(card: Any, clips: Sequence[Clip]) -> dict[str, Any]:
    """SHA-256 of the detector and of every clip, by data set, label and id; clips that are gone are left out."""
    found: dict[str, Any] = {"detector": getattr(card, "sha256", None), "clips": {}}
    for clip in clips:
        try:
            found["clips"][f"{clip.dataset}: {'fake' if clip.label else 'real'} {clip.id}"] = content_hash(clip)
        except (UserError, OSError):
            continue
    return found


def clip_table(crops: Sequence[Crops], scores: pd.DataFrame, video_score: str) -> list[dict[str, Any]]:
    """One row a stress clip: score and call before and after (by most of the seeds), and the real beside a fake."""
    stress = scores[scores.group == "stress"]
    before, after = (to_videos(stress[stress.phase == phase], video_score) for phase in ("before", "after"))
    first = dict(zip(keys_of(before), before.to_dict("records"), strict=True))
    later: dict[Any, list[dict[str, Any]]] = {}
    for key, row in zip(keys_of(after), after.to_dict("records"), strict=True):
        later.setdefault(key, []).append({str(name): value for name, value in row.items()})
    reals: dict[str, list[Clip]] = {}
    for item in crops:
        if item.clip.label == REAL:
            reals.setdefault(item.clip.source_clip, []).append(item.clip)
    rows = []
    for item in crops:
        clip, old, new = item.clip, first[key_of(item, "stress")], later.get(key_of(item, "stress"), [])
        beside = reals_of(clip, reals.get(clip.source_clip, [])) if clip.label else []
        real = beside[0] if beside else None
        called = [row["score"] >= row["threshold"] for row in new]
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
                "matched_real": real.id if real else None,
                "matched_real_dataset": real.dataset if real else None,
                "before": float(old["score"]),
                "called_fake_before": bool(old["score"] >= old["threshold"]),
                "fold": int(new[0]["fold"]) if new else None,
                "after": float(np.mean([row["score"] for row in new])) if new else None,
                "after_by_seed": [float(row["score"]) for row in new],
                "called_fake_after": sum(called) * 2 > len(called) if new else None,
            }
        )
    return rows
