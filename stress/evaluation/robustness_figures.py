"""From scores of untouched and perturbed clips to rows of figures with intervals."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from stress.data.layouts import Clip
from stress.evaluation.comparison import Bootstrap, Condition, People, both_labels, counts, keys_of, measure
from stress.evaluation.panel import clip_key
from stress.evaluation.perturbations import Perturbation
from stress.evaluation.robustness_settings import RobustnessSettings

METRICS = ("auc", "detection_rate", "false_alarm_rate")


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a detector said of a clip at one level.

    Args:
        clip: Which one.
        phase: ``"before"`` or ``"after"`` fine-tuning.
        fold: Number of the detector, -1 for the untouched one.
        threshold: Of that detector.
        perturbation: None for the untouched clip.
        looked: How many frames were looked at.
        frames: Those with a face.
        scores: Fake probability of each.
    """

    clip: Clip
    phase: str
    fold: int
    threshold: float
    perturbation: Perturbation | None
    looked: int
    frames: Sequence[int]
    scores: Sequence[float]


def robustness_rows(
    scored: Sequence[Scored],
    jobs: Sequence[Perturbation | None],
    people: People,
    settings: RobustnessSettings,
    *,
    advance: Callable[..., None] = lambda *_, **__: None,
) -> list[dict[str, Any]]:
    """A row for every perturbation, level and phase; level 0, the untouched clips, is repeated for every name.

    Args:
        scored: What the detectors said.
        jobs: None for the untouched clips, and the perturbations in the order of the rows.
        people: Who is in each clip.
        settings: Of the bootstrap.
        advance: Called after every row that takes time.

    Returns:
        ``family``, ``name``, ``label``, ``level``, ``setting``, ``phase``, ``n`` (fakes, reals, all: clips, frames,
        people), ``missed`` (frames and clips in which no face was found), ``video`` (metric -> estimate) and from
        level 1 ``drop``: untouched minus perturbed on the same clips, positive where the perturbation does harm,
        whatever the metric. Where one label has nothing left, ``video`` is empty and ``note`` says so.
    """
    bootstrap = Bootstrap(
        resamples=settings.resamples, confidence=settings.confidence, seed=settings.seed,
        video_score=settings.video_score,
    )  # fmt: skip
    scored = _in_all_phases(scored)
    tables: dict[tuple[str, int], list[Scored]] = {}
    for item in scored:
        number = next(i for i, job in enumerate(jobs) if job is item.perturbation)
        tables.setdefault((item.phase, number), []).append(item)
    phases = list(dict.fromkeys(phase for phase, _ in tables))
    rows = []
    done: dict[str, dict[str, Any]] = {}
    names: set[tuple[str, str]] = set()
    for number, job in enumerate(jobs):
        if job is None:
            continue
        for phase in phases:
            if phase not in done:
                done[phase] = _row(tables.get((phase, 0), []), None, people, bootstrap)
                advance()
            facts = {"family": job.family, "name": job.name, "label": job.label}
            if (job.name, phase) not in names:
                names.add((job.name, phase))
                rows.append({**facts, "level": 0, "setting": "untouched", "phase": phase, **done[phase]})
            figures = _row(tables.get((phase, number), []), tables.get((phase, 0), []), people, bootstrap)
            rows.append({**facts, "level": job.level, "setting": job.setting, "phase": phase, **figures})
            advance()
    return rows


def _in_all_phases(scored: Sequence[Scored]) -> list[Scored]:
    """Clips that every phase scored: before and after fine-tuning rest on the same ones."""
    asked: dict[str, set[Any]] = {}
    for item in scored:
        asked.setdefault(item.phase, set()).add(clip_key(item.clip))
    common = set.intersection(*asked.values()) if asked else set()
    return [item for item in scored if clip_key(item.clip) in common]


def _row(
    items: Sequence[Scored], untouched: Sequence[Scored] | None, people: People, bootstrap: Bootstrap
) -> dict[str, Any]:
    table = _table(items)
    missed = {
        "frames": sum(item.looked - len(item.frames) for item in items),
        "clips": sum(not item.frames for item in items),
    }
    row: dict[str, Any] = {"n": counts(table, people), "missed": missed, "video": {}}
    if not both_labels(table):
        return row | {"note": "not given: no fake or no real is left"}
    conditions = {"here": Condition(tables=(table,))}
    changes = {}
    if untouched is not None:
        known = set(keys_of(table))
        before = _table([item for item in untouched if _key(item) in known])
        conditions["untouched"] = Condition(tables=(before,))
        changes["drop"] = ("untouched", "here", 1)
    mine = {key: people[key] for key in dict.fromkeys(keys_of(table))}
    found, _ = measure(conditions, [mine], bootstrap, level="video", changes=changes)
    row["video"] = {metric: found["here"][metric].as_dict() for metric in METRICS}
    if untouched is not None:
        row["drop"] = {metric: found["drop"][metric].as_dict() for metric in METRICS}
    return row


def _key(item: Scored) -> tuple[str, str, int, str]:
    return "stress", item.clip.dataset, item.clip.label, item.clip.id


def _table(items: Sequence[Scored]) -> pd.DataFrame:
    """One row a frame, as :func:`stress.evaluation.comparison.measure` wants it."""
    columns: dict[str, list[Any]] = {
        name: [] for name in ("group", "dataset", "label", "clip", "fold", "frame", "score", "threshold")
    }
    for item in items:
        for frame, score in zip(item.frames, item.scores, strict=True):
            values = (*_key(item), item.fold, frame, score, item.threshold)
            for name, value in zip(columns, values, strict=True):
                columns[name].append(value)
    return pd.DataFrame(columns)


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table: a line a row, three columns (value, low, high) a figure."""
    figures = [(part, metric) for part in ("video", "drop") for metric in METRICS]
    header = ["family", "name", "label", "level", "setting", "phase", "fakes", "reals", "people"]
    header += ["frames", "frames_missed", "clips_missed"]
    for part, metric in figures:
        name = metric if part == "video" else f"drop_{metric}"
        header += [name, f"{name}_low", f"{name}_high"]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        n, missed = row["n"], row["missed"]
        values = [row[name] for name in header[:6]]
        values += [n["fakes"]["clips"], n["reals"]["clips"], n["all"]["people"], n["all"]["frames"]]
        values += [missed["frames"], missed["clips"]]
        for part, metric in figures:
            estimate = row.get(part, {}).get(metric, {})
            values += [estimate.get(end) for end in ("value", "low", "high")]
        writer.writerow(values)
    return stream.getvalue()
