"""Can a classifier tell a blended face by its boundary? AUC for each preset, on people it has not seen.

    python benchmarks/seam.py [--work DIR] [--people 12] [--quick] [-o FILE]            virtual actors
    python benchmarks/seam.py --clips A.mp4 B.mp4 ... [--models RUN.model ...] [-o FILE]   real footage, 8 people up

From each blended frame the ring around the boundary is unrolled (rings.py), and the same ring of the same frame before;
both also after the toolkit's own encoder. People are divided into four groups that share nobody, as source or target;
a classifier is trained on three and scores the fourth. The AUC is the chance that a random blended ring outranks a
random untouched one of the same group. Its interval comes from people resampled with replacement
(stress.evaluation.statistics); training is not repeated in it. Of the three classifiers the best counts, which flatters
the classifier. ``--settings`` and ``--variant "NAME: mask.feather=0.1 ..."`` (changes of `best`) join the presets;
``--explain NAME`` says which kinds of numbers give it away. Faces to blend: swap_material.py. Numbers only are written;
``--sheet DIR`` draws strips and frames, outside the repository.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import common
import cv2
import numpy as np
import ring_classifiers
import rings
import swap_material
import yaml
from swap_material import Faces, Footage

import blending
from blending.settings import BlendSettings, settings_from_dict, settings_to_dict
from stress.evaluation import statistics

FOLDS = 4
COLUMNS = ("frames", "after H.264")
CNN = "network"
KINDS = ("drawn", "warped", "own", "model")
GOALS = {"none": (0.95, 1.0), "best": (0.0, 0.6)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rings:
    """All rings of one ladder step and column; row 2i is blended, row 2i + 1 the same place untouched."""

    strips: np.ndarray
    numbers: np.ndarray
    groups: dict[str, slice]
    clip: np.ndarray
    """Number of the pair's maker, for both of its rows."""

    @property
    def labels(self) -> np.ndarray:
        """1 for blended."""
        return 1 - np.arange(len(self.clip)) % 2


def folds_of(names: list[str], links: Sequence[tuple[str, str]] = ()) -> dict[str, int]:
    """A group for each person; people linked by a face of one on the other share one."""
    together = {name: {name} for name in names}
    for a, b in links:
        if a in together and b in together and together[a] is not together[b]:
            together[a] |= together[b]
            for name in together[b]:
                together[name] = together[a]
    sizes, fold = [0] * FOLDS, {}
    linked = {frozenset(group) for group in together.values()}
    for group in sorted(linked, key=lambda g: (-len(g), min(map(names.index, g)))):
        place = int(np.argmin(sizes))
        sizes[place] += len(group)
        fold |= dict.fromkeys(group, place)
    return fold


def rings_of(
    footage: dict[str, Footage], made: list[Faces], settings: BlendSettings, coded: dict[str, list[np.ndarray]]
) -> dict[str, Rings]:
    """Blend everything and unroll the boundary, in both columns."""
    strips: dict[str, list[np.ndarray]] = {column: [] for column in COLUMNS}
    clips: list[int] = []
    for number, faces in enumerate(made):
        target = footage[faces.target]
        results = swap_material.blended(target, faces, settings)
        fakes = {COLUMNS[0]: [r.image for r in results]}
        fakes[COLUMNS[1]] = swap_material.encoded(fakes[COLUMNS[0]], target.fps)
        if target.name not in coded:
            coded[target.name] = swap_material.encoded(list(target.images), target.fps)
        reals = {COLUMNS[0]: list(target.images), COLUMNS[1]: coded[target.name]}
        for k, result in enumerate(results):
            where = rings.places(result)
            if where is None:
                continue
            clips += [number, number]
            for column in COLUMNS:
                strips[column] += [rings.strip(side[column][k], where).astype(np.float16) for side in (fakes, reals)]
    out = {}
    for column, found in strips.items():
        named = [rings.features(one.astype(np.float32)) for one in found]
        ends = np.cumsum([len(part) for part in named[0].values()])
        groups = {
            name: slice(int(end) - len(part), int(end))
            for (name, part), end in zip(named[0].items(), ends, strict=True)
        }
        numbers = np.stack([np.concatenate(list(one.values())) for one in named])
        out[column] = Rings(strips=np.stack(found), numbers=numbers, groups=groups, clip=np.array(clips))
    return out


def scores(data: Rings, made: list[Faces], fold: dict[str, int], classify: Callable[..., np.ndarray]) -> np.ndarray:
    """Score every ring by a classifier that has seen none of its people.

    Args:
        data: The rings.
        made: Their makers.
        fold: Group of each person.
        classify: Called with the training rows and the test rows.
    """
    place = np.array([fold[made[c].target] for c in data.clip])
    out = np.zeros(len(data.clip))
    for test in np.unique(place):
        train, held = np.flatnonzero(place != test), np.flatnonzero(place == test)
        out[held] = classify(train, held)
    return out


def aucs(
    found: dict[str, np.ndarray], data: Rings, made: list[Faces], fold: dict[str, int], resamples: int
) -> dict[str, dict[str, Any]]:
    """AUC with its interval for each set of scores, over all kinds of faces and for each."""
    kinds = {"all": list(range(len(made)))}
    for kind in sorted({faces.kind for faces in made}):
        kinds[kind] = [c for c, faces in enumerate(made) if faces.kind == kind]
    # what is drawn: 2c, the fakes of maker c, with both people, and 2c + 1, their untouched frames, with one
    people = [who for faces in made for who in ([faces.source, faces.target], [faces.target])]
    tables = {name: _wins(score, data, made, fold) for name, score in found.items()}

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {
            f"{name}|{kind}": _auc(table, members, weights) for name, table in tables.items()
            for kind, members in kinds.items()
        }  # fmt: skip

    def usable(weights: np.ndarray) -> np.ndarray:
        return np.all([np.isfinite(value) for value in statistic(weights).values()], axis=0)

    estimates, _ = statistics.intervals(statistic, people, usable=usable, resamples=resamples)
    out: dict[str, dict[str, Any]] = {}
    for key, estimate in estimates.items():
        name, kind = key.split("|")
        out.setdefault(kind, {"rings": int(np.isin(data.clip, kinds[kind]).sum()), "makers": len(kinds[kind])})
        out[kind][name] = {k: round(v, 3) if isinstance(v, float) else v for k, v in estimate.as_dict().items()}
    return out


def _wins(score: np.ndarray, data: Rings, made: list[Faces], fold: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """How often a ring of maker i outranks an untouched one of maker j's target, and of how many pairs of rings.

    Both (M, M), and 0 where the two are of different groups.
    """
    sides = [[np.sort(score[(data.clip == c) & (data.labels == side)]) for c in range(len(made))] for side in (0, 1)]
    wins, pairs = np.zeros((len(made),) * 2), np.zeros((len(made),) * 2)
    for i, j in itertools.product(range(len(made)), repeat=2):
        if fold[made[i].target] == fold[made[j].target]:
            below, upto = (np.searchsorted(sides[0][j], sides[1][i], side) for side in ("left", "right"))
            wins[i, j] = (below.sum() + upto.sum()) / 2
            pairs[i, j] = len(sides[0][j]) * len(sides[1][i])
    return wins, pairs


def _auc(table: tuple[np.ndarray, np.ndarray], members: list[int], weights: np.ndarray) -> np.ndarray:
    """Chance that a blended ring outranks an untouched one of its group, for weightings (B, 2M), or nan."""
    fakes, reals = (np.zeros((len(weights), len(table[0]))) for _ in range(2))
    fakes[:, members], reals[:, members] = weights[:, ::2][:, members], weights[:, 1::2][:, members]
    won, pairs = (((fakes @ part) * reals).sum(1) for part in table)
    return np.divide(won, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def measured(
    data: Rings, made: list[Faces], fold: dict[str, int], options: argparse.Namespace
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """AUC of each classifier, and the best one's; with the scores."""
    x, y = data.numbers, data.labels
    found = {
        way.__name__: scores(data, made, fold, lambda a, b, way=way: way(x[a], y[a], x[b]))
        for way in (ring_classifiers.linear, ring_classifiers.boosted)
    }
    if options.epochs:
        import torch
        from ring_network import convolutional

        torch.set_num_threads(options.threads)
        epochs, strips = options.epochs, data.strips
        found[CNN] = scores(data, made, fold, lambda a, b: convolutional(strips[a], strips[b], epochs=epochs))
    table = aucs(found, data, made, fold, options.resamples)
    best = max(found, key=lambda name: table["all"][name]["value"])
    return {"auc": table["all"][best], "by": best, "kinds": table}, found


def explained(data: Rings, made: list[Faces], fold: dict[str, int]) -> dict[str, dict[str, float]]:
    """AUC of the boosted trees on each group of numbers alone, and on all but it."""
    def auc(columns: np.ndarray) -> float:
        x, y = data.numbers[:, columns], data.labels
        score = scores(data, made, fold, lambda a, b: ring_classifiers.boosted(x[a], y[a], x[b]))
        table = _wins(score, data, made, fold)
        return round(float(_auc(table, list(range(len(made))), np.ones((1, 2 * len(made))))[0]), 3)

    order = np.arange(data.numbers.shape[1])
    return {
        name: {"alone": auc(order[part]), "without": auc(np.delete(order, order[part]))}
        for name, part in data.groups.items()
    } | {"all": {"alone": auc(order)}}


def changed(text: str) -> tuple[str, BlendSettings]:
    """A name and `best` with ``section.key=value`` changes, from ``NAME: CHANGES``."""
    name, _, changes = text.partition(":")
    values = settings_to_dict(blending.BEST)
    for change in changes.split():
        path, _, value = change.partition("=")
        section, _, key = path.partition(".")
        if key not in values.get(section, {}):
            raise SystemExit(f"There is no blending setting {path}.")
        values[section][key] = value if value == "off" else yaml.safe_load(value)
    return name.strip(), settings_from_dict(values)


def ladder_of(options: argparse.Namespace) -> dict[str, BlendSettings]:
    """Every step to be measured, by name."""
    out = {name: blending.PRESETS[name] for name in options.presets}
    for path in options.settings:
        out[path.stem] = settings_from_dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    return out | dict(changed(text) for text in options.variant)


def material(options: argparse.Namespace) -> tuple[dict[str, Footage], list[Faces], dict[str, int]]:
    """Footage by name, makers, and each person's group."""
    made: list[Faces] = []
    if options.clips:
        footage = [swap_material.clip(path, options.runs, options.length, options.work) for path in options.clips]
        made += [faces for run in options.models for faces in swap_material.by_model(run, footage)]
    else:
        footage, made = swap_material.cast(
            options.people, options.runs, options.length, size=options.size, side=options.side, seed=options.seed,
            work=options.work, apart=FOLDS,
        )
    names = [one.name for one in footage]
    fold = folds_of(names, [(faces.source, faces.target) for faces in made])
    made = [faces for faces in made if faces.source in fold]
    rng = np.random.default_rng(options.seed)
    for a, b in itertools.permutations(footage, 2):
        if fold[a.name] == fold[b.name]:
            made.append(swap_material.warped(a, b, options.side))
    made += [swap_material.own(target, options.side, rng) for target in footage for _ in range(2)]
    if "same" in options.kinds:
        made += [swap_material.own(target, options.side) for target in footage]
    return {one.name: one for one in footage}, [faces for faces in made if faces.kind in options.kinds], fold


def sheet(path: Path, data: dict[str, Rings], made: list[Faces], score: np.ndarray) -> None:
    """Some strips as a picture, blended above untouched, with their scores."""
    shown = []
    rings_here = data[COLUMNS[0]]
    for clip in np.unique(rings_here.clip)[:: max(1, len(made) // 12)]:
        rows = np.flatnonzero(rings_here.clip == clip)[:2]
        for row in rows:
            view = rings.picture(rings_here.strips[row].astype(np.float32))
            view = cv2.resize(view, None, fx=5, fy=5, interpolation=cv2.INTER_NEAREST)
            label = f"{made[clip].kind} {made[clip].source}>{made[clip].target} {score[row]:+.1f}"
            shown.append(cv2.putText(view.copy(), label, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 0), 1))
        shown.append(np.full((6, shown[-1].shape[1], 3), 255, np.uint8))
    cv2.imwrite(str(path), np.concatenate(shown)[..., ::-1])


def main() -> None:
    """Measure every step of the ladder and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, nargs="+", default=[])
    parser.add_argument("--models", type=Path, nargs="+", default=[], help="trained on people named as the clips are")
    parser.add_argument("--people", type=int, default=12, help="virtual actors")
    parser.add_argument("--size", type=int, default=320, help="side of the actors' pictures")
    parser.add_argument("--side", type=int, default=128, help="resolution of the faces to blend")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=[*KINDS, "same"])
    parser.add_argument("--runs", type=int, default=3, help="of consecutive frames, a person")
    parser.add_argument("--length", type=int, default=4, help="of a run")
    parser.add_argument("--presets", nargs="*", default=list(blending.PRESETS), choices=list(blending.PRESETS))
    parser.add_argument("--settings", type=Path, nargs="+", default=[], help="blending settings, YAML")
    parser.add_argument("--variant", action="append", default=[], metavar="NAME: KEY=VALUE ...")
    parser.add_argument("--epochs", type=int, default=16, help="of the network; 0 leaves it out")
    parser.add_argument("--explain", nargs="*", default=["best"])
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="8 people, 6 frames each, no network")
    parser.add_argument("--work", type=Path, default=Path("seam-work"), help="rendered actors are kept here")
    parser.add_argument("--sheet", type=Path, help="folder for pictures of strips")
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.people, options.runs, options.length, options.epochs, options.resamples = 8, 3, 2, 0, 300
    for folder in (options.work, options.sheet):
        if folder is not None:
            if folder.resolve().is_relative_to(common.REPOSITORY):
                parser.error(f"{folder} must lie outside this repository")
            folder.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    started = time.perf_counter()
    footage, made, fold = material(options)
    print(f"  {len(footage)} people, {len(made)} makers: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    rows, coded = [], {}
    for name, settings in ladder_of(options).items():
        began = time.perf_counter()
        data = rings_of(footage, made, settings, coded)
        row: dict[str, Any] = {"name": name, "settings": settings_to_dict(settings)}
        for column in COLUMNS:
            row[column], found = measured(data[column], made, fold, options)
            if name in options.explain:
                row[column]["by_group_of_numbers"] = explained(data[column], made, fold)
            if column == COLUMNS[0] and options.sheet:
                sheet(options.sheet / f"{name.replace(' ', '_')}.png", data, made, found["boosted"])
            print(f"  {name}, {column}: {row[column]['auc']} ({row[column]['by']})", file=sys.stderr, flush=True)
        row["seconds"] = round(time.perf_counter() - began, 1)
        rows.append(row)
    result = {
        "benchmark": "seam", "footage": "real clips" if options.clips else "virtual actors", "people": len(footage),
        "frames_each": len(next(iter(footage.values())).images), "folds": FOLDS, "goals": GOALS, "rows": rows,
        "seconds": round(time.perf_counter() - started, 1), "machine": common.machine(),
    }  # fmt: skip
    common.finish(result, options.out)


if __name__ == "__main__":
    main()
