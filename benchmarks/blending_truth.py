"""How much of a spoiled face's error does blending take out? Virtual actors, whose exact swaps are known.

    python benchmarks/blending_truth.py --work DIR [--quick] [--workers 2] [--pictures DIR] [-o FILE]

The exactly swapped face, cut out as a model would see it and spoiled as a generator spoils it (`truth_scenes.py`), is
blended into the untouched frame with many settings (`truth_settings.py`), and what comes out is compared with the exact
swap. Errors are the mean CIEDE2000 difference and 1 - SSIM of the luma, each inside the face and in a ring along its
outline. What is reported is the share of the plain paste's error (preset ``none``) that is gone, and ``score``, the
mean of the four shares. Intervals are a bootstrap over people: a pair counts as often as its two people were drawn
together. ``grain`` is the logarithm of fine contrast over the truth's, 0 where it is right; it stands beside the others
because noise of the right strength is still not the same noise, which the other four hold against it.

Every option of ``best`` is changed alone on all frames of all pairs. All combinations of the main settings are tried on
the first frame of every second pair in the smaller size, and the best of them again on all other frames. Raw
measurements stay in ``--work``, from which an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import common
import cv2
import numpy as np
import pandas as pd
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

sys.path.insert(0, str(common.REPOSITORY))

import truth_flicker  # noqa: E402
import truth_pictures  # noqa: E402
import truth_scenes  # noqa: E402
import truth_settings  # noqa: E402

from blending import PRESETS, BlendSettings, compose, settings_to_dict  # noqa: E402

SHARES = ("color inside", "color ring", "structure inside", "structure ring")
MEASURES = (*SHARES, "grain")
SAMPLES = 2500
"""Pixels of each area whose color is compared."""
FINALISTS = 8
PARTS = ["together", "combinations", "flicker"]
VERSION = 1
"""Of what is measured: another number makes old measurements in ``--work`` useless."""


class Ruler:
    """Compares pictures with one truth.

    Args:
        truth: (H, W, 3) uint8.
        inside: (H, W) bool.
        ring: (H, W) bool.
    """

    def __init__(self, truth: np.ndarray, inside: np.ndarray, ring: np.ndarray) -> None:
        rows, columns = (np.flatnonzero((inside | ring).any(axis=axis)) for axis in (1, 0))
        self.window = np.s_[max(rows[0] - 4, 0) : rows[-1] + 5, max(columns[0] - 4, 0) : columns[-1] + 5]
        self.areas = [area[self.window] for area in (inside, ring)]
        every = [max(1, int(area.sum()) // SAMPLES) for area in self.areas]
        self.picks = [np.flatnonzero(area)[::step] for area, step in zip(self.areas, every, strict=True)]
        part = truth[self.window]
        self.colors = [self._lab(part, pick) for pick in self.picks]
        self.luma = self._luma(part)
        self.fine = self._fine(self.luma)

    @staticmethod
    def _lab(part: np.ndarray, pick: np.ndarray) -> np.ndarray:
        return rgb2lab(part.reshape(-1, 3)[pick] / 255.0)

    @staticmethod
    def _luma(part: np.ndarray) -> np.ndarray:
        return cv2.cvtColor(part, cv2.COLOR_RGB2GRAY).astype(np.float32)

    def _fine(self, luma: np.ndarray) -> float:
        return float((luma - cv2.GaussianBlur(luma, (0, 0), 1.2))[self.areas[0]].std())

    def __call__(self, image: np.ndarray) -> list[float]:
        """The five measures of a uint8 picture, in the order of :data:`MEASURES`."""
        part = np.ascontiguousarray(image[self.window])
        luma = self._luma(part)
        colors = [
            float(deltaE_ciede2000(own, self._lab(part, pick)).mean())
            for own, pick in zip(self.colors, self.picks, strict=True)
        ]
        similar = structural_similarity(luma, self.luma, data_range=255, full=True)[1]
        structure = [1 - float(similar[area].mean()) for area in self.areas]
        return [*colors, *structure, float(np.log(self._fine(luma) / self.fine))]


def blended(cell: truth_scenes.Cell, case: str, settings: BlendSettings) -> np.ndarray:
    """The cell's frame with the case's face in it."""
    face, mask, matrix = cell.faces[case]
    return compose(
        cell.frame, face, mask, matrix, polygon=cell.polygon, cover=cell.brows, settings=settings
    ).image


def measured(cell: truth_scenes.Cell, plan: Sequence[tuple[str, Sequence[str]]]) -> pd.DataFrame:
    """One row for each name of settings, case and truth."""
    known = truth_settings.everything()
    rulers = {name: Ruler(truth, cell.inside, cell.ring) for name, truth in cell.truths.items()}
    rows = []
    for name, cases in plan:
        for case in cases:
            image = blended(cell, case, known[name])
            for truth, ruler in rulers.items():
                if truth == "matched" or case in ("own skin", *truth_scenes.HEADLINE):
                    row = dict(zip(MEASURES, ruler(image), strict=True))
                    rows.append({"settings": name, "case": case, "truth": truth, **row})
    who = {"source": cell.source, "target": cell.target, "side": cell.side, "height": cell.height}
    return pd.DataFrame(rows).assign(**who)


class Summary:
    """Shares of the plain paste's error, with intervals, of one table of measurements.

    Args:
        table: From :func:`measure`.
        people: How many there are.
        draws: Of the bootstrap.
    """

    def __init__(self, table: pd.DataFrame, people: int, draws: int = 2000) -> None:
        self.pairs = sorted(set(zip(table["source"], table["target"], strict=True)))
        keys = ["settings", "case", "truth", "source", "target"]
        self.means = table.assign(grain=table["grain"].abs()).groupby(keys)[list(MEASURES)].mean()
        rng = np.random.default_rng(0)
        drawn = np.stack([np.bincount(rng.integers(0, people, people), minlength=people) for _ in range(draws)])
        source, target = np.array(self.pairs).T
        weights = (drawn[:, source] * drawn[:, target]).astype(float)
        weights = weights[weights.sum(axis=1) > 0]
        # The first row is the data itself, the others are draws.
        self.weights = np.vstack([np.ones(len(self.pairs)), weights])
        self.weights /= self.weights.sum(axis=1, keepdims=True)

    def errors(self, settings: str, case: str, truth: str) -> np.ndarray:
        """(1 + draws, 5) mean errors."""
        values = self.means.loc[(settings, case, truth)].reindex(self.pairs).to_numpy()
        return self.weights @ values

    def absolute(self, settings: str, case: str) -> dict[str, list[float]]:
        """The errors themselves, each [value, low, high]."""
        return dict(zip(MEASURES, map(interval, self.errors(settings, case, "matched").T), strict=True))

    def shares(self, settings: str, cases: Sequence[str], truth: str = "matched") -> np.ndarray:
        """(1 + draws, 6) score, the four shares and the grain, averaged over cases."""
        found = []
        for case in cases:
            mine, plain = self.errors(settings, case, truth), self.errors("none", case, truth)
            gone = 1 - mine[:, :4] / plain[:, :4]
            found.append(np.hstack([gone.mean(axis=1, keepdims=True), gone, mine[:, 4:]]))
        return np.mean(found, axis=0)

    def row(self, settings: str, cases: Sequence[str], truth: str = "matched") -> dict[str, Any]:
        """What the tables show: [value, low, high], and the difference of the score to ``best``'s."""
        mine, best = (self.shares(name, cases, truth) for name in (settings, "best"))
        columns = dict(zip(("score", *MEASURES), map(interval, mine.T), strict=True))
        return {"settings": settings, **columns, "score minus best's": interval((mine - best)[:, 0])}

    def ranked(self, names: Sequence[str], cases: Sequence[str], truth: str = "matched") -> list[dict[str, Any]]:
        """Rows from the highest score to the lowest."""
        return sorted((self.row(name, cases, truth) for name in names), key=lambda row: -row["score"][0])


def interval(values: np.ndarray) -> list[float]:
    """The data's own value and the middle 95 % of the draws."""
    low, high = np.percentile(values[1:], [2.5, 97.5])
    return [round(float(value), 4) for value in (values[0], low, high)]


Plan = list[tuple[str, list[str]]]
"""Names of settings, each with the cases it is tried on."""


def measure_pair(task: tuple[tuple[int, int], int], options: argparse.Namespace, part: str, plan: Plan) -> pd.DataFrame:
    """The frames of one pair in one size that belong to a part, each measured once and kept."""
    cv2.setNumThreads(1)
    pair, side = task
    members = truth_scenes.cast(options.people, options.seconds, side)
    tried = {name: settings_to_dict(truth_settings.everything()[name]) for name, _ in plan}
    digest = hashlib.sha256(json.dumps([VERSION, plan, tried]).encode()).hexdigest()[:10]
    found = []
    for k, frame in enumerate(truth_scenes.picks(members[pair[1]], options.frames)):
        chosen_on = k == 0 and side == options.sides[0]
        if (part == "combinations" and not chosen_on) or (part == "finalists" and chosen_on):
            continue
        name = f"{part}_{options.people}_{pair[0]}_{pair[1]}_{frame}of{options.seconds}_{side}_{digest}.parquet"
        if not (options.work / name).exists():
            table = measured(truth_scenes.cell(members, *pair, frame, side), plan)
            table.assign(frame=frame).to_parquet(options.work / name)
            print(f"  {part}: pair {pair}, frame {frame}, {side} px", file=sys.stderr, flush=True)
        found.append(pd.read_parquet(options.work / name))
    return pd.concat(found) if found else pd.DataFrame()


def measure(chosen: list[tuple[int, int]], options: argparse.Namespace, part: str, plan: Plan) -> Summary:
    """:func:`measure_pair` for all pairs and sizes."""
    tasks = [(pair, side) for side in options.sides for pair in chosen]
    call = partial(measure_pair, options=options, part=part, plan=plan)
    if options.workers <= 1:
        tables = [call(task) for task in tasks]
    else:
        with ProcessPoolExecutor(options.workers) as pool:
            tables = list(pool.map(call, tasks))
    return Summary(pd.concat(tables, ignore_index=True), options.people)


def effects(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Each value of each option ► mean score and measures of all combinations that have it."""
    values = dict.fromkeys(value for row in rows for value in row["settings"].split(", "))
    return {
        value: {
            name: round(float(np.mean([r[name][0] for r in rows if value in r["settings"].split(", ")])), 4)
            for name in ("score", *MEASURES)
        }
        for value in values
    }


def show(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """A Markdown table on standard error."""
    print(f"\n{title}\n\n| settings | score | minus best's | ΔE inside | ΔE ring | SSIM inside | SSIM ring | grain |\n"
          "|---|---|---|---|---|---|---|---|", file=sys.stderr)  # fmt: skip
    for row in rows:
        cells = ["{:.2f} [{:.2f}, {:.2f}]".format(*row["score"])]
        cells.append("{:+.3f} [{:+.3f}, {:+.3f}]".format(*row["score minus best's"]))
        cells += [f"{row[name][0]:.2f}" for name in MEASURES]
        print(f"| {row['settings']} | {' | '.join(cells)} |", file=sys.stderr)


def main() -> None:
    """Measure everything and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="raw measurements; outside the repository")
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--partners", type=int, default=1, help="sources for each target")
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--sides", type=int, nargs="+", default=[240, 480], help="of the frame; a face has about half")
    parser.add_argument("--seconds", type=float, default=4.0, help="of the performances that frames are taken from")
    parser.add_argument(
        "--parts", nargs="*", choices=PARTS, default=PARTS, help="what to measure besides single changes"
    )
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="three people, few settings: does it run?")
    parser.add_argument("--pictures", type=Path, help="write strips of the best and worst combinations here")
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.work.resolve().is_relative_to(common.REPOSITORY):
        parser.error("--work must lie outside this repository")
    options.work.mkdir(parents=True, exist_ok=True)
    if options.quick:
        options.people, options.frames, options.sides, options.seconds = 3, 2, [160], 1.0
    chosen, headline = truth_scenes.pairs(options.people, options.partners), list(truth_scenes.HEADLINE)
    combined = list(truth_settings.combinations())[:: 97 if options.quick else 1]
    single = list(truth_settings.one_at_a_time())[:: 9 if options.quick else 1]

    others = [case for case in truth_scenes.CASES if case not in headline]
    short = [*PRESETS, *truth_settings.colors()]
    names = [*PRESETS, *single]
    plan = [(name, headline + (others if name in short else [])) for name in names]
    each = measure(chosen, options, "single", plan)
    table, by_own = (each.ranked(names, headline, truth) for truth in ("matched", "own"))
    places = [[[row["settings"] for row in rows].index(name) for name in names] for rows in (table, by_own)]
    shown = [name for name in short if name in names]
    show("Every option of `best` changed alone", table)
    result: dict[str, Any] = {
        "benchmark": "blending_truth",
        "machine": common.machine(),
        "options": {name: value for name, value in vars(options).items() if not isinstance(value, Path)},
        "pairs": chosen,
        "cases": truth_scenes.CASES,
        "ranked_by": headline,
        "settings": {name: settings_to_dict(truth_settings.everything()[name]) for name in names},
        "table": table,
        "own_tone_as_truth": by_own,
        "rank_correlation_of_both_truths": round(float(np.corrcoef(*places)[0, 1]), 3),
        "by_case": {case: each.ranked(shown, [case]) for case in truth_scenes.CASES if case != "exact"},
        "absolute": {case: {name: each.absolute(name, case) for name in shown} for case in truth_scenes.CASES},
    }
    for case, rows in result["by_case"].items():
        show(f"{case}: {truth_scenes.CASES[case]}", rows)
    if "together" in options.parts:
        names = [*PRESETS, *truth_settings.together()]
        plan = [(name, headline) for name in names]
        result["together"] = measure(chosen, options, "together", plan).ranked(names, headline)
        show("What gained alone, together", result["together"])
    if "combinations" in options.parts:
        plan = [(name, headline) for name in [*PRESETS, *combined]]
        tried = measure(chosen[:: 1 if options.quick else 2], options, "combinations", plan)
        ranking = tried.ranked([*PRESETS, *combined], headline)
        result["combinations"] = {
            "tried": len(combined),
            "place of best": [row["settings"] for row in ranking].index("best") + 1,
            "first": ranking[:20],
            "last": ranking[-5:],
            "mean of all with": effects([row for row in ranking if row["settings"] in combined]),
        }
        finalists = [row["settings"] for row in ranking if row["settings"] in combined][:FINALISTS]
        names = [*PRESETS, *finalists]
        plan = [(name, headline) for name in names]
        result["finalists"] = measure(chosen, options, "finalists", plan).ranked(names, headline)
        show("The best combinations, on frames they were not chosen on", result["finalists"])
    if "flicker" in options.parts:
        result["flicker"] = truth_flicker.measured(options, chosen)
    if options.pictures is not None:
        truth_pictures.write(options, chosen, [table[0]["settings"], table[-1]["settings"]])
    common.finish(result, options.out)


if __name__ == "__main__":
    main()
