"""The harness in three lines of Python, for any function that scores faces."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from stress.experiment import Outcome


@dataclass(frozen=True, kw_only=True)
class FaceCrop:
    """How faces are cut out for a function that has no card.

    Args:
        input_size: Side of the crop in pixels.
        crop_margin: Side of the crop over the longer side of the box around all landmarks.
        alignment: ``"box"`` (upright) or ``"aligned"`` (turned so that the face stands upright).
    """

    input_size: int = 256
    crop_margin: float = 1.3
    alignment: str = "box"

    def __post_init__(self) -> None:
        if self.input_size < 8 or self.crop_margin <= 0 or self.alignment not in ("box", "aligned"):
            raise ValueError(f"{self} is not possible")


@dataclass(frozen=True, kw_only=True)
class _FunctionCard(FaceCrop):
    """What the experiment asks of a card, for a function."""

    threshold: float = 0.5
    threshold_source: str = "given by the caller"


def evaluate(
    score_fn: Callable[[np.ndarray], np.ndarray],
    *,
    fakes: str | Path,
    reals: str | Path | None = None,
    crop: FaceCrop | None = None,
    threshold: float = 0.5,
    frames_per_clip: int = 16,
    seed: int = 0,
    output: str | Path | None = None,
) -> Outcome:
    """Score fakes and reals with any Python function and say how well it tells them apart, with intervals.

    Args:
        score_fn: From (n, S, S, 3) uint8 RGB faces to (n,) fake probabilities in [0, 1].
        fakes: Folder of fakes, in a layout that :func:`stress.data.layouts.read_dataset` knows.
        reals: Folder of reals; None takes those that come with the fakes.
        crop: How faces are cut out; by default 256 px with a margin of 1.3.
        threshold: Fake probability from which a frame is called fake.
        frames_per_clip: Frames looked at, spread over each clip.
        seed: Of the intervals.
        output: Folder for results.json, scores.parquet and report.html; None writes nothing.

    Returns:
        Results (a dictionary as in results.json) and scores (a table, one row a frame).

    Raises:
        UserError: The folders cannot be used.
        ValueError: The function gives something other than one probability a face.
    """
    import types

    from stress.data.footage import Footage
    from stress.data.layouts import read_dataset
    from stress.experiment import ExperimentSettings, run, save

    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is between 0 and 1, not {threshold}")
    shape = crop or FaceCrop()
    card = _FunctionCard(**dataclasses.asdict(shape), threshold=threshold)
    name = getattr(score_fn, "__name__", type(score_fn).__name__)
    detector = types.SimpleNamespace(card=card, fake_probability=score_fn, name=name)
    clips = read_dataset(fakes, reals)
    faces = {
        label: Footage([clip for clip in clips if clip.label == label], card, frames_per_clip) for label in (1, 0)
    }
    outcome = run(detector, faces[1], faces[0], settings=ExperimentSettings(finetune=False, seed=seed))
    if output is not None:
        save(outcome, output, crops=[*faces[1], *faces[0]])
    return outcome
