"""Recovery and forgetting by the number of good fakes seen, as one drawing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stress.report.svg import COLORS, new_figure, to_svg

_PANELS = {"auc": "AUC", "detection_rate": "Fakes detected"}
_SHADES = ("after", "before", "own", "real")


def recovery(found: Mapping[str, Any]) -> str:
    """An SVG: for every detector a line over the good fakes and a dashed one over the crude ones, with intervals."""
    counts = list(found["counts"])
    figure, axes = new_figure(3.2, len(_PANELS))
    for axis, (metric, title) in zip(axes, _PANELS.items(), strict=True):
        axis.set_title(title, loc="left", fontsize=10.5, color=COLORS["ink"])
        axis.set_ylim(0, 1.02)
        axis.set_xticks(range(len(counts)), counts)
        axis.set_xlabel("good fakes seen in fine-tuning", fontsize=9, color=COLORS["muted"])
        axis.grid(axis="y", color=COLORS["rule"], linewidth=0.6)
        for place, (name, each) in enumerate(found["detectors"].items()):
            for test, style in (("good", "-"), ("crude", "--")):
                points = [each["tests"].get(test, {}).get(count, {}).get(metric) for count in counts]
                there = [(i, point) for i, point in enumerate(points) if point and point["value"] is not None]
                if not there:
                    continue
                color = COLORS[_SHADES[place % len(_SHADES)]]
                shift = 0.06 * (2 * place + (test == "crude"))
                x = [i + shift for i, _ in there]
                axis.plot(x, [point["value"] for _, point in there], style, color=color, marker="o", markersize=4,
                          label=f"{name}, {test}")  # fmt: skip
                for at, (_, point) in zip(x, there, strict=True):
                    if point["low"] is not None:
                        axis.plot([at, at], [point["low"], point["high"]], color=color, alpha=0.35, linewidth=2)
    legend = axes[0].legend(fontsize=8, frameon=False, loc="lower right")
    for text in legend.get_texts():
        text.set_color(COLORS["ink"])
        text.set_parse_math(False)
    return to_svg(figure, "AUC and detection rate by the number of good fakes seen")
