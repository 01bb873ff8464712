"""Faces of the fakes, each beside its real, as film strips, within a budget of bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stress.data.crops import evenly_spaced
from stress.report.strips import data_uri, strip
from stress.report.words import Results

if TYPE_CHECKING:
    from stress.data.crops import Crops

FRAMES = 12
BUDGET = 12_000_000  # bytes of the pictures as they stand in the page
_PROBED = 6


def gallery(
    results: Results, scores: pd.DataFrame, crops: Sequence[Crops], *, frames: int = FRAMES, budget: int = BUDGET
) -> dict[str, Any]:
    """Cards of all fakes with faces; where they do not fit, of fewer frames, and then of fewer fakes.

    Args:
        results: Results of the experiment.
        scores: Scores by frame.
        crops: Faces; clips without any are not shown.
        frames: Most faces a clip.
        budget: Most bytes that all pictures may take together, as base64.

    Returns:
        ``items``, the most missed first: the clip's row of ``results["clips"]`` with ``pair``, ``difference``,
        ``who`` (numbers into ``people``), ``real_before`` and ``real_after`` (scores of its real), ``fake`` and
        ``real`` (data URIs; real may be None), ``frame_numbers``, ``frame_scores`` (before; None where a frame was
        not scored), ``at`` (the frame that is scored like the clip); ``people``; ``frames`` (most faces a clip that
        fitted); ``without`` (how many fakes are left out for lack of room or of faces).
    """
    faces = {(item.clip.dataset, item.clip.label, item.clip.id): item for item in crops}
    rows = [row for row in results["clips"] if row["label"] == 1]
    shown = sorted((row for row in rows if (row["dataset"], 1, row["clip"]) in faces), key=lambda row: row["before"])
    before = scores[(scores.group == "stress") & (scores.phase == "before") & (scores.label == 1)]
    by_clip = {
        key: dict(zip(part.frame, part.score, strict=True)) for key, part in before.groupby(["dataset", "clip"])
    }

    real_row = {(row["dataset"], row["clip"]): row for row in results["clips"] if row["label"] == 0}

    def picture(row: Mapping[str, Any], count: int) -> dict[str, Any]:
        real = faces.get((_real_set(row), 0, row["matched_real"]))
        beside = real_row.get((_real_set(row), row["matched_real"]), {"before": None, "after": None})
        about = {**row, "real_before": beside["before"], "real_after": beside["after"]}
        return _item(about, faces[row["dataset"], 1, row["clip"]], real, by_clip[row["dataset"], row["clip"]], count)

    first = _from_both_ends(shown)
    frames = _fitting(first, picture, frames, budget)
    items: list[dict[str, Any]] = []
    spent = 0
    for row in first:
        item = picture(row, frames)
        spent += _bytes(item)
        if spent > budget:
            break
        items.append(item)
    items.sort(key=lambda item: item["before"])
    people = sorted({person for item in items for person in item["people"]})
    for item in items:
        item["who"] = [people.index(person) for person in dict.fromkeys(item["people"])]
    return {"items": items, "people": people, "frames": frames, "without": len(rows) - len(items)}


def _real_set(row: Mapping[str, Any]) -> str:
    """The data set of a fake's matched real; older results do not name it."""
    return str(row.get("matched_real_dataset") or row["dataset"])


def _from_both_ends(rows: Sequence[Any]) -> list[Any]:
    """The first, the last, the second, the last but one ...: what is told first where there is not room for all."""
    half = (len(rows) + 1) // 2
    front, back = list(rows[:half]), list(rows[half:][::-1])
    return [row for pair in zip(front, [*back, None], strict=False) for row in pair if row is not None]


def _fitting(rows: Sequence[Any], picture: Any, frames: int, budget: int) -> int:
    """How many faces a clip fit, judged by a few clips."""
    probed = [picture(row, frames) for row in rows[:_PROBED]]
    if not probed:
        return frames
    a_face = sum(map(_bytes, probed)) / sum(len(item["frame_numbers"]) for item in probed)
    held = max(len(item["frame_numbers"]) for item in probed)
    return max(1, min(frames, held, int(budget / (a_face * len(rows)))))


def _bytes(item: Mapping[str, Any]) -> int:
    return len(item["fake"]) + len(item["real"] or "")


def _item(
    row: Mapping[str, Any], fake: Crops, real: Crops | None, by_frame: Mapping[int, float], count: int
) -> dict[str, Any]:
    chosen, at = _choose([by_frame.get(int(frame), np.inf) for frame in fake.frames], row["before"], count)
    numbers = fake.frames[chosen]
    beside = None
    if real is not None:  # the same moment, as nearly as there is one
        near = np.abs(real.frames[None] - numbers[:, None]).argmin(axis=1)
        beside = data_uri(strip(real.images[near], fake=False))
    frame_scores = [by_frame.get(int(frame)) for frame in numbers]
    return {
        **row,
        "pair": " → ".join(row["people"]),
        "difference": None if row["after"] is None else row["after"] - row["before"],
        "fake": data_uri(strip(fake.images[chosen], fake=True)),
        "real": beside,
        "frame_numbers": [int(frame) for frame in numbers],
        "frame_scores": [None if score is None else float(score) for score in frame_scores],
        "at": at,
    }


def _choose(by_frame: Sequence[float], clip: float, count: int) -> tuple[list[int], int]:
    """Places of up to ``count`` frames spread over the clip, one of them scored like the clip, and which that is."""
    usual = int(np.argmin(np.abs(np.asarray(by_frame, np.float64) - clip)))
    chosen = evenly_spaced(len(by_frame), count)
    if usual not in chosen:
        chosen[int(np.argmin(np.abs(np.asarray(chosen) - usual)))] = usual
    return chosen, chosen.index(usual)
