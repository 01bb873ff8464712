"""Faces of the fakes that fooled the detector most and least, each beside its real."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stress.report.words import Results

if TYPE_CHECKING:
    from stress.data.crops import Crops

_SIDE = 144
_EACH = 6


def gallery(results: Results, scores: pd.DataFrame, crops: Sequence[Crops]) -> list[dict[str, Any]]:
    """Rows of pictures: fakes scored most real, then those scored most fake (all in one row where they are few).

    Args:
        results: Results of the experiment.
        scores: Scores by frame.
        crops: Faces; clips without any are not shown.

    Returns:
        Rows with ``title`` and ``items`` (clip, people, before, after, ``fake`` and ``real`` as data URIs).
    """
    faces = {(item.clip.dataset, item.clip.label, item.clip.id): item for item in crops}
    fakes = [
        row for row in results["clips"] if row["label"] == 1 and (row["dataset"], 1, row["clip"]) in faces
    ]
    fakes.sort(key=lambda row: row["before"])
    if not fakes:
        return []
    before = scores[(scores.group == "stress") & (scores.phase == "before")]
    if len(fakes) <= 2 * _EACH:
        rows = [("From most real to most fake, by the score before", fakes)]
    else:
        rows = [("Scored most real before", fakes[:_EACH]), ("Scored most fake before", fakes[: -_EACH - 1 : -1])]
    return [{"title": title, "items": [_item(row, faces, before) for row in part]} for title, part in rows]


def _item(row: Mapping[str, Any], faces: Mapping[Any, Crops], before: pd.DataFrame) -> dict[str, Any]:
    fake = faces[row["dataset"], 1, row["clip"]]
    mine = before[(before["dataset"] == row["dataset"]) & (before["label"] == 1) & (before["clip"] == row["clip"])]
    by_frame = dict(zip(mine.frame, mine.score, strict=True))
    usual = int(np.argmin([abs(by_frame.get(frame, 2.0) - row["before"]) for frame in fake.frames]))
    real = faces.get((row["dataset"], 0, row["matched_real"]))
    near = None
    if real is not None:
        near = _jpeg(real.images[int(np.argmin(np.abs(real.frames - fake.frames[usual])))])
    return {**row, "fake": _jpeg(fake.images[usual]), "real": near, "pair": " → ".join(row["people"])}


def _jpeg(image: np.ndarray) -> str:
    """A data URI of an uint8 RGB picture, at most 144 pixels a side."""
    from PIL import Image

    picture = Image.fromarray(image)
    if picture.width > _SIDE:
        picture = picture.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
