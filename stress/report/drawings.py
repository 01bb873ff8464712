"""The report's drawings: matplotlib's SVG, stripped to what a page needs and coloured by the page's own colours."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stress.evaluation.metrics import curve, to_videos
from stress.report.words import Results, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Stand-ins that become CSS variables, so that one drawing serves light, dark and paper.
_COLORS = {
    "ink": "#010101",
    "muted": "#020202",
    "rule": "#030303",
    "own": "#040404",
    "before": "#050505",
    "after": "#060606",
    "paper": "#070707",
    "real": "#080808",
}
_WIDTH = 9.6  # inches at 100 units each: the page's measure


def _figure(height: float, columns: int = 1, **kwargs: Any) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False, **kwargs)[0]
    for axis in axes:
        axis.set_facecolor("none")
        for side in ("top", "right", "left"):
            axis.spines[side].set_visible(False)
        axis.spines["bottom"].set_color(_COLORS["rule"])
        axis.tick_params(colors=_COLORS["muted"], labelsize=9, length=3, color=_COLORS["rule"])
    return figure, list(axes)


def _svg(figure: Figure, label: str) -> str:
    """The figure as an inline SVG element without document type, metadata or addresses."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.S)
    for name, color in _COLORS.items():
        text = text.replace(color, f"var(--{name})")
    text = re.sub(r"font: (\w+ )?([\d.]+)px [^;\"]*", r"font: \1\2px var(--sans)", text)
    text = re.sub(r'^<svg[^>]*viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" role="img" aria-label="{label}">', text)
    return re.sub(r'\bid="(?!m|p|c)[\w]+"\s?', "", text)


def overview(results: Results) -> str:
    """Detection rate, false alarms and AUC of every condition, each with its interval."""
    names = {"reference": ("own data", "own"), "before": ("before", "before"), "after": ("after fine-tuning", "after")}
    shown = [name for name in names if name in results["conditions"]]
    panels = {"detection_rate": "Fakes detected", "false_alarm_rate": "Reals called fake", "auc": "AUC"}
    figure, axes = _figure(0.75 + 0.34 * len(shown), len(panels), sharey=True)
    for axis, (metric, title) in zip(axes, panels.items(), strict=True):
        axis.set_title(title, loc="left", fontsize=10.5, color=_COLORS["ink"], pad=8)
        low = 0.0 if metric != "auc" else min([0.5, *_lows(results, shown)])
        axis.set_xlim(low, 1)
        ticks = np.linspace(low, 1, 3)
        axis.set_xticks(ticks, [f"{tick:.3g}" if metric == "auc" else percent(tick) for tick in ticks])
        axis.grid(axis="x", color=_COLORS["rule"], linewidth=0.6)
        axis.set_axisbelow(True)
        for y, name in enumerate(shown):
            cell = results["conditions"][name]["video"][metric]
            if cell["value"] is None:
                continue
            color = _COLORS[names[name][1]]
            if cell["low"] is not None:
                ends = (max(low, cell["low"]), cell["high"])
                axis.plot(ends, [y, y], color=color, linewidth=5, alpha=0.35, solid_capstyle="round", clip_on=False)
            axis.plot([cell["value"]], [y], "o", color=color, markersize=8, clip_on=False)
            text = f"{cell['value']:.2f}" if metric == "auc" else percent(cell["value"])
            axis.annotate(
                text, (cell["value"], y), (0, 7), textcoords="offset points", ha="center", fontsize=8.5,
                color=_COLORS["ink"], annotation_clip=False,
            )  # fmt: skip
        axis.set_ylim(len(shown) - 0.5, -0.75)
    axes[0].set_yticks(range(len(shown)), [names[name][0] for name in shown], fontsize=10, color=_COLORS["ink"])
    for axis in axes:
        axis.tick_params(axis="y", length=0, pad=14)
        axis.get_xticklabels()[0].set_horizontalalignment("left")
        axis.get_xticklabels()[-1].set_horizontalalignment("right")
    figure.get_layout_engine().set(wspace=0.12)  # type: ignore[union-attr,call-arg]
    return _svg(figure, "Detection rate, false alarms and AUC with intervals")


def _lows(results: Results, shown: list[str]) -> list[float]:
    cells = [results["conditions"][name]["video"]["auc"] for name in shown]
    return [float(np.floor(10 * cell["low"]) / 10) for cell in cells if cell["low"] is not None]


def _groups(scores: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Label, colour and rows of own data, before and after, where there are any."""
    for group, phase, label, color in (
        ("base", "before", "own data", "own"),
        ("stress", "before", "before", "before"),
        ("stress", "after", "after", "after"),
    ):
        part = scores[(scores.group == group) & (scores.phase == phase)]
        if len(part):
            yield label, color, part


def distributions(scores: pd.DataFrame) -> str:
    """Scores of reals and fakes under every condition: frames as a histogram, videos as dots, thresholds as lines."""
    groups = list(_groups(scores))
    figure, (axis,) = _figure(0.6 + 1.1 * len(groups))
    rng = np.random.default_rng(0)
    bins = np.linspace(0, 1, 41)
    ticks, names = [], []
    for i, (label, color, part) in enumerate(groups):
        for j, (kind, name) in enumerate(((0, "reals"), (1, "fakes"))):
            y = -(2 * i + j) - 0.35 * i
            rows, videos = part[part.label == kind], to_videos(part[part.label == kind])
            ticks.append(y)
            names.append(f"{label}: {name}")
            tone = _COLORS[color] if kind else _COLORS["real"]
            height = np.histogram(rows.score, bins)[0].astype(float)
            if height.max() > 0:
                axis.stairs(0.55 * height / height.max() + y, bins, baseline=y, fill=True, color=tone, alpha=0.22, lw=0)
            jitter = rng.uniform(-0.30, -0.1, len(videos))
            axis.scatter(videos.score, y + jitter, s=16, color=tone, alpha=0.85, linewidths=0, clip_on=False, zorder=3)
            axis.plot([0, 1], [y, y], color=_COLORS["rule"], linewidth=0.6, zorder=0)
            for threshold in sorted(set(part.threshold)):
                axis.plot([threshold] * 2, [y - 0.36, y + 0.6], color=_COLORS["ink"], linewidth=1.1, zorder=4)
    axis.set_xlim(-0.01, 1.01)
    axis.set_ylim(min(ticks) - 0.5, 0.75)
    axis.set_yticks(ticks, names, fontsize=10, color=_COLORS["ink"])
    axis.tick_params(axis="y", length=0)
    axis.set_xticks(np.linspace(0, 1, 6))
    axis.set_xlabel("score: probability of being fake", fontsize=9, color=_COLORS["muted"])
    return _svg(figure, "Distribution of the scores of reals and fakes")


def roc(scores: pd.DataFrame) -> str:
    """ROC curves by video and by frame, with the point at which each detector works."""
    figure, axes = _figure(4.3, 2)
    for axis, level in zip(axes, ("video", "frame"), strict=True):
        axis.plot([0, 1], [0, 1], color=_COLORS["rule"], linewidth=0.8, linestyle=(0, (4, 4)))
        for label, color, part in _groups(scores):
            rows = to_videos(part) if level == "video" else part
            if set(rows.label) != {0, 1}:
                continue
            c = curve(rows.score, rows.label)
            axis.plot(c.fpr[0], c.tpr[0], color=_COLORS[color], linewidth=1.9, label=label, clip_on=False)
            called = rows.score >= rows.threshold
            x, y = called[rows.label == 0].mean(), called[rows.label == 1].mean()
            axis.plot([x], [y], "o", color=_COLORS[color], markersize=7, clip_on=False, zorder=4)
        axis.set_title(f"by {level}", loc="left", fontsize=10.5, color=_COLORS["ink"])
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1)
        axis.set_aspect("equal")
        axis.spines["left"].set_visible(True)
        axis.spines["left"].set_color(_COLORS["rule"])
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
        axis.set_yticks([0.25, 0.5, 0.75, 1], ["25 %", "50 %", "75 %", "100 %"])
        axis.set_xlabel("reals called fake", fontsize=9, color=_COLORS["muted"])
        axis.set_ylabel("fakes detected", fontsize=9, color=_COLORS["muted"])
        axis.legend(loc="lower right", frameon=False, fontsize=9, labelcolor=_COLORS["ink"])
    return _svg(figure, "ROC curves by video and by frame")
