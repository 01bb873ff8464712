"""The report's drawings of scores and of figures side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stress.evaluation.metrics import align, curve, to_videos
from stress.report.svg import COLORS, new_figure, to_svg
from stress.report.words import Results, percent

Estimate = Mapping[str, Any]
#: One row of a drawing: its name, and for every panel the marks in it as (estimate, colour).
Row = tuple[str, Sequence[Sequence[tuple[Estimate | None, str]]]]

_RATES = ("detection_rate", "false_alarm_rate")


def overview(results: Results) -> str:
    """Detection rate, false alarms and AUC of every condition, each with its interval."""
    names = {"reference": ("own data", "own"), "before": ("before", "before"), "after": ("after fine-tuning", "after")}
    panels = {"detection_rate": "Fakes detected", "false_alarm_rate": "Reals called fake", "auc": "AUC"}
    rows: list[Row] = []
    for name, (label, color) in names.items():
        if name in results["conditions"]:
            video = results["conditions"][name]["video"]
            rows.append((label, [[(video[metric], color)] for metric in panels]))
    return _panels(panels, rows, "Detection rate, false alarms and AUC with intervals")


def ladder(results: Results) -> str:
    """AUC and rates at every stage of the ladder, before and after."""
    panels = {"auc": "AUC", "detection_rate": "Fakes detected"}
    rows: list[Row] = []
    for step in results["ladder"]:
        sides = [(step["before"], "before"), (step.get("after"), "after")]
        there = [(side["video"], color) for side, color in sides if side]
        rows.append((step["stage"], [[(video.get(metric), color) for video, color in there] for metric in panels]))
    return _panels(panels, rows, "AUC and detection rate at every stage of the quality ladder", numbers=False)


def strategies(results: Results) -> str:
    """What each strategy of fine-tuning wins back, and what it forgets, in AUC by video."""
    panels = {"recovery": "Recovery (AUC)", "forgetting": "Forgetting (AUC)"}
    colors = {"recovery": "after", "forgetting": "before"}
    rows: list[Row] = []
    for item in results["strategies"]:
        found = {change: item["changes"].get(change, {}).get("video", {}).get("auc") for change in panels}
        rows.append((item["name"], [[(found[change], colors[change])] for change in panels]))
    return _panels(panels, rows, "Recovery and forgetting of every strategy of fine-tuning")


def _panels(panels: Mapping[str, str], rows: Sequence[Row], label: str, *, numbers: bool = True) -> str:
    """Panels beside each other, a row a condition: dots with their intervals, and the number above each dot."""
    figure, axes = new_figure(0.75 + 0.34 * len(rows), len(panels), sharey=True)
    for k, (axis, (metric, title)) in enumerate(zip(axes, panels.items(), strict=True)):
        axis.set_title(title, loc="left", fontsize=10.5, color=COLORS["ink"], pad=8)
        low, high = _range(metric, [mark for _, cells in rows for mark, _ in cells[k] if mark])
        axis.set_xlim(low, high)
        ticks = [low, 0.0, high] if low < 0 else np.linspace(low, high, 3).tolist()
        names = [percent(tick) if metric in _RATES else f"{tick:.3g}".replace("-", "−") for tick in ticks]
        axis.set_xticks(ticks, names)
        axis.grid(axis="x", color=COLORS["rule"], linewidth=0.6)
        axis.set_axisbelow(True)
        for y, (_, cells) in enumerate(rows):
            marks = [(mark, color) for mark, color in cells[k] if mark and mark["value"] is not None]
            for i, (mark, color) in enumerate(marks):
                place = y + (0.24 * (i - (len(marks) - 1) / 2) if len(marks) > 1 else 0)
                if mark["low"] is not None:
                    ends = (max(low, mark["low"]), min(high, mark["high"]))
                    axis.plot(
                        ends, [place] * 2, color=COLORS[color], linewidth=5, alpha=0.35, solid_capstyle="round",
                        clip_on=False,
                    )  # fmt: skip
                axis.plot([mark["value"]], [place], "o", color=COLORS[color], markersize=8, clip_on=False)
                if numbers:
                    text = percent(mark["value"]) if metric in _RATES else f"{mark['value']:.2f}".replace("-", "−")
                    axis.annotate(
                        text, (mark["value"], place), (0, 7), textcoords="offset points", ha="center", fontsize=8.5,
                        color=COLORS["ink"], annotation_clip=False,
                    )  # fmt: skip
        axis.set_ylim(len(rows) - 0.5, -0.75)
    axes[0].set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=10, color=COLORS["ink"])
    for tick in axes[0].get_yticklabels():
        tick.set_parse_math(False)  # a name may hold a dollar sign
    for axis in axes:
        axis.tick_params(axis="y", length=0, pad=14)
        axis.get_xticklabels()[0].set_horizontalalignment("left")
        axis.get_xticklabels()[-1].set_horizontalalignment("right")
    figure.get_layout_engine().set(wspace=0.12)  # type: ignore[union-attr,call-arg]
    return to_svg(figure, label)


def _range(metric: str, marks: Sequence[Estimate]) -> tuple[float, float]:
    """Where a panel begins and ends: shares from 0 to 1, an AUC from 0.5 or below, changes as far as they go."""
    if metric in _RATES:
        return 0.0, 1.0
    ends = [mark[end] for mark in marks for end in ("low", "value", "high") if mark[end] is not None]
    low = float(np.floor(10 * min(ends, default=0.0)) / 10)
    if metric == "auc":
        return min(0.5, low), 1.0
    return min(0.0, low), max(0.1, float(np.ceil(10 * max(ends, default=0.0)) / 10))


def of_main(results: Results, scores: pd.DataFrame) -> pd.DataFrame:
    """Scores before, and after fine-tuning by the main strategy alone."""
    main = results["finetune"].get("strategy")
    if main is None or "strategy" not in scores.columns:
        return scores
    return scores[(scores.phase == "before") | (scores.strategy == main)]


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


def distributions(scores: pd.DataFrame, video_score: str = "mean") -> str:
    """Scores of reals and fakes under every condition: frames as a histogram, videos as dots, thresholds as lines."""
    groups = list(_groups(scores))
    figure, (axis,) = new_figure(0.6 + 1.1 * len(groups))
    rng = np.random.default_rng(0)
    bins = np.linspace(0, 1, 41)
    ticks, names = [], []
    for i, (label, color, part) in enumerate(groups):
        for j, (kind, name) in enumerate(((0, "reals"), (1, "fakes"))):
            y = -(2 * i + j) - 0.35 * i
            rows, videos = part[part.label == kind], to_videos(part[part.label == kind], video_score)
            ticks.append(y)
            names.append(f"{label}: {name}")
            tone = COLORS[color] if kind else COLORS["real"]
            height = np.histogram(rows.score, bins)[0].astype(float)
            if height.max() > 0:
                axis.stairs(0.55 * height / height.max() + y, bins, baseline=y, fill=True, color=tone, alpha=0.22, lw=0)
            jitter = rng.uniform(-0.30, -0.1, len(videos))
            axis.scatter(videos.score, y + jitter, s=16, color=tone, alpha=0.85, linewidths=0, clip_on=False, zorder=3)
            axis.plot([0, 1], [y, y], color=COLORS["rule"], linewidth=0.6, zorder=0)
            for threshold in sorted(set(part.threshold)):
                axis.plot([threshold] * 2, [y - 0.36, y + 0.6], color=COLORS["ink"], linewidth=1.1, zorder=4)
    axis.set_xlim(-0.01, 1.01)
    axis.set_ylim(min(ticks) - 0.5, 0.75)
    axis.set_yticks(ticks, names, fontsize=10, color=COLORS["ink"])
    axis.tick_params(axis="y", length=0)
    axis.set_xticks(np.linspace(0, 1, 6))
    axis.set_xlabel("score: probability of being fake", fontsize=9, color=COLORS["muted"])
    return to_svg(figure, "Distribution of the scores of reals and fakes")


def roc(scores: pd.DataFrame, video_score: str = "mean") -> str:
    """ROC curves by video and by frame, with the point at which each detector works."""
    figure, axes = new_figure(4.3, 2)
    for axis, level in zip(axes, ("video", "frame"), strict=True):
        axis.plot([0, 1], [0, 1], color=COLORS["rule"], linewidth=0.8, linestyle=(0, (4, 4)))
        for label, color, part in _groups(scores):
            rows = align(to_videos(part, video_score) if level == "video" else part)
            if set(rows.label) != {0, 1}:
                continue
            c = curve(rows.score, rows.label)
            axis.plot(c.fpr[0], c.tpr[0], color=COLORS[color], linewidth=1.9, label=label, clip_on=False)
            called = rows.score >= rows.threshold
            x, y = called[rows.label == 0].mean(), called[rows.label == 1].mean()
            axis.plot([x], [y], "o", color=COLORS[color], markersize=7, clip_on=False, zorder=4)
        axis.set_title(f"by {level}", loc="left", fontsize=10.5, color=COLORS["ink"])
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1)
        axis.set_aspect("equal")
        axis.spines["left"].set_visible(True)
        axis.spines["left"].set_color(COLORS["rule"])
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
        axis.set_yticks([0.25, 0.5, 0.75, 1], ["25 %", "50 %", "75 %", "100 %"])
        axis.set_xlabel("reals called fake", fontsize=9, color=COLORS["muted"])
        axis.set_ylabel("fakes detected", fontsize=9, color=COLORS["muted"])
        axis.legend(loc="lower right", frameon=False, fontsize=9, labelcolor=COLORS["ink"])
    return to_svg(figure, "ROC curves by video and by frame")
