"""How long a curation will take: from what this output directory has seen, else from what one machine took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceswap_hq import files
from faceswap_hq.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Seconds that one unit takes. The defaults are of two CPU cores, preset ``fast``: see ``docs/results.md``."""

    face: float = 1 / 40
    """Training, a face."""
    frame: float = 2 / 23
    """Rendering, a frame: the fake and its control."""
    score: float = 1 / 20
    """Scoring, a frame."""


def observed(work: Path, batch: int) -> Costs:
    """Costs of what was already done here; the defaults where nothing was.

    Args:
        work: The work directory.
        batch: Faces of each person in a training step.
    """
    renders = [(r["seconds"], _frames(r.get("entry"))) for r in _results(work.glob("round-*/renders/*.json"))]
    scores = [(r["seconds"], r["quality"]["frames"]) for r in _results(work.glob("round-*/scores/*.json"))]
    trained = [(r["seconds"], r["step"] * r["people"] * batch) for r in _results(work.glob("models/*.json"))]
    known = {"frame": _rate(renders), "score": _rate(scores), "face": _rate(trained)}
    return Costs(**{name: value for name, value in known.items() if value is not None})


def _results(paths: Iterable[Path]) -> list[dict[str, Any]]:
    found = []
    for path in paths:
        try:
            found.append(files.read_json(path)["result"])
        except (UserError, KeyError, TypeError):
            continue
    return found


def _frames(entry: dict[str, Any] | None) -> int:
    return 0 if entry is None else int(entry["counts"]["frames"])


def _rate(done: Sequence[tuple[float, float]]) -> float | None:
    units = sum(count for _, count in done)
    return sum(seconds for seconds, _ in done) / units if units else None


def seconds(
    costs: Costs, *, frames: int, people: int, batch: int, steps: int | None, minutes: float | None
) -> dict[str, float]:
    """Seconds by stage of one round.

    Args:
        costs: Of a unit.
        frames: To be rendered, of all pairs together.
        people: In training.
        batch: Faces of each person in a step.
        steps: Of training; with ``minutes`` None too, nothing is trained.
        minutes: Of training.
    """
    training = 60 * minutes if minutes is not None else (steps or 0) * people * batch * costs.face
    return {"training": training, "rendering": frames * costs.frame, "scoring": frames * costs.score}


def spoken(value: float) -> str:
    """A time in words, as exact as an estimate is: ``40 s``, ``12 minutes``, ``3.5 hours``."""
    if value < 90:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} minutes" if value < 90 * 60 else f"{value / 3600:.1f} hours"
