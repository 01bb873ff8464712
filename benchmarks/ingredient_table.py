"""The table of ``ingredients.py``: what each ingredient changes, seed by seed, and what it costs."""

from __future__ import annotations

import statistics
from typing import Any

COLUMNS = {"ratio": "identity ÷ ceiling", "mouth": "mouth r", "eyes": "eyes r", "sharpness": "sharpness ÷ real",
           "ssim": "SSIM to the exact swap", "flicker": "flicker ÷ target"}  # fmt: skip

Results = dict[str, dict[int, dict[str, Any]]]
"""Row ► seed ► what was kept of that training."""


def value(result: dict[str, Any] | None, measure: str) -> float | None:
    """Mean over pairs, or None where it was not measured."""
    found = ((result or {}).get("summary") or {}).get(measure)
    return None if found is None else float(found["mean"])


def differences(
    row: dict[int, dict[str, Any]], base: dict[int, dict[str, Any]], measure: str
) -> dict[str, float | int] | None:
    """Row minus base, seed by seed: mean, smallest and largest, over the seeds that both were measured with."""
    pairs = [(value(row[seed], measure), value(base[seed], measure)) for seed in sorted(row.keys() & base.keys())]
    apart = [a - b for a, b in pairs if a is not None and b is not None]
    if not apart:
        return None
    return {"mean": statistics.fmean(apart), "min": min(apart), "max": max(apart), "seeds": len(apart)}


def table(results: Results, costs: dict[str, dict[str, Any]], notes: dict[str, str]) -> str:
    """Markdown: one line a row.

    Args:
        results: What there is; ``base`` is what the others are compared with.
        costs: Row ► what a step costs, measured beside base's.
        notes: Row ► why it was left out.
    """
    head = ["ingredient", *COLUMNS.values(), "ms a step: processor", "wall", "processor ÷ base's", "steps", "steps/s"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    base = results.get("base", {})
    for name, row in results.items():
        cells = [_cell(row, base if name != "base" else {}, measure) for measure in COLUMNS]
        lines.append("| " + " | ".join([name, *cells, *_cost(row, costs.get(name))]) + " |")
    lines += [f"\n{name}: {note}" for name, note in notes.items()]
    return "\n".join(lines) + "\n"


def _cell(row: dict[int, dict[str, Any]], base: dict[int, dict[str, Any]], measure: str) -> str:
    seen = [_shown(row[seed], measure) for seed in sorted(row)]
    apart = differences(row, base, measure)
    if apart is None:
        return " / ".join(seen)
    return " / ".join(seen) + f"; {apart['mean']:+.3f} [{apart['min']:+.3f}, {apart['max']:+.3f}]"


def _shown(result: dict[str, Any], measure: str) -> str:
    if result["training"]["diverged"]:
        return "diverged"
    found = value(result, measure)
    return "–" if found is None else f"{found:.3f}"


def _cost(row: dict[int, dict[str, Any]], cost: dict[str, Any] | None) -> list[str]:
    trained = [result["training"] for result in row.values()]
    processor = statistics.fmean(1000 * one["processor_seconds"] / one["steps"] for one in trained)
    wall = statistics.fmean(1000 * one["wall_seconds"] / one["steps"] for one in trained)
    ratio = None if cost is None else cost["ratio"]
    beside = "–" if ratio is None else f"{ratio['median']:.2f} [{ratio['min']:.2f}, {ratio['max']:.2f}]"
    return [f"{processor:.0f}", f"{wall:.0f}", beside, str(trained[0]["steps"]), f"{1000 / wall:.2f}"]
