"""One small chart a perturbation: AUC against its level, before and after, the intervals as bands.

Written by hand and not by matplotlib: there are a dozen and more of them, each has to be readable at a phone's width,
and a dozen figures would take longer than the rest of the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

_WIDTH, _HEIGHT = 200, 120
_LEFT, _RIGHT, _TOP, _BOTTOM = 32, 6, 8, 18


def small_chart(
    lines: Mapping[str, Sequence[tuple[int, Mapping[str, Any]]]], *, low: float, levels: int, label: str
) -> Markup:
    """A chart as inline SVG.

    Args:
        lines: Colour (a CSS variable's name: "before", "after") -> (level, estimate) in order of the level; levels
            without a value leave a gap.
        low: Where the AUC's axis begins; it ends at 1.
        levels: Highest level on the axis, at least 1.
        label: What a screen reader says; may come from data.
    """

    def x(level: int) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * level / levels

    def y(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - (min(max(value, low), 1) - low) / (1 - low))

    parts = []
    for tick in (low, (low + 1) / 2, 1.0):
        parts.append(f'<path d="M{_LEFT} {y(tick):.1f}H{_WIDTH - _RIGHT}" stroke="var(--rule)" fill="none"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{y(tick) + 3:.1f}" text-anchor="end">{tick:.3g}</text>')
    for level in range(levels + 1):
        parts.append(f'<text x="{x(level):.1f}" y="{_HEIGHT - 4}" text-anchor="middle">{level}</text>')
    for color, points in lines.items():
        for run in _runs([point for point in points if point[1]["low"] is not None]):
            up = [f"{x(level):.1f} {y(mark['high']):.1f}" for level, mark in run]
            down = [f"{x(level):.1f} {y(mark['low']):.1f}" for level, mark in reversed(run)]
            parts.append(f'<path d="M{"L".join([*up, *down])}Z" fill="var(--{color})" opacity=".2"/>')
        known = [point for point in points if point[1]["value"] is not None]
        for run in _runs(known):
            path = "L".join(f"{x(level):.1f} {y(mark['value']):.1f}" for level, mark in run)
            dash = ' stroke-dasharray="5 2"' if color == "before" else ""  # apart without colour, too
            parts.append(f'<path d="M{path}" stroke="var(--{color})" stroke-width="1.8" fill="none"{dash}/>')
        for level, mark in known:
            parts.append(f'<circle cx="{x(level):.1f}" cy="{y(mark["value"]):.1f}" r="2.4" fill="var(--{color})"/>')
    body = Markup("").join(Markup(part) for part in parts)  # noqa: S704 - numbers and our own words alone
    return Markup('<svg class="small-chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, _HEIGHT, label, body
    )


def _runs(points: Sequence[tuple[int, Mapping[str, Any]]]) -> list[list[tuple[int, Mapping[str, Any]]]]:
    """Stretches of neighbouring levels: a gap is not bridged."""
    runs: list[list[tuple[int, Mapping[str, Any]]]] = []
    for point in points:
        if runs and point[0] == runs[-1][-1][0] + 1:
            runs[-1].append(point)
        else:
            runs.append([point])
    return runs
