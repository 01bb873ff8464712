"""Which way of training generalises? Every recipe with the same faces, steps and optimizer, on methods it never saw.

    python benchmarks/recipes.py --data DIR [--external DIR] --work DIR --out FILE

``DIR`` is what ``methods_data.py`` makes: two groups of people without a person in common, for each method an ``out/``
folder of both. Every recipe is trained on the crude fakes (``--train``) of one group, or its reals alone, and
tested on every method's fakes of the other group, and on another team's; then the groups change places. Nobody is held
out, so that all arms take the same number of steps and keep their last weights. AUC by video, mean over groups and
seeds; intervals by a bootstrap over the people tested, and of each recipe minus plain training of the same network in
the same draws; they hold no variation between trainings, which ``by_seed`` shows. Detectors are kept in ``--work``.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import common
import numpy as np
import pandas as pd

from stress.data.frames import content_hash
from stress.data.layouts import Clip, read_dataset
from stress.gather import cut

TWO_STREAMS = "locate_verify_small"


@dataclasses.dataclass(frozen=True)
class Arm:
    """A recipe on a network, and what it is compared with: plain training of the same network."""

    recipe: str
    arch: str | None = None
    against: str = "plain"


ARMS = {
    "plain": Arm("plain"),
    "self-blended": Arm("self-blended"),
    "adversarial-blur": Arm("adversarial-blur"),
    "frequency-mask": Arm("frequency-mask"),
    "plain, two streams": Arm("plain", TWO_STREAMS),
    "locate-and-verify": Arm("locate-and-verify", TWO_STREAMS, "plain, two streams"),
}
LEARNED = {"self-blended": "self-blended"}
"""Tests made in the very way that an arm makes its own fakes: they say nothing about how it generalises."""


@dataclasses.dataclass(frozen=True)
class Fold:
    """Trained on some people, tested on others."""

    name: str
    train: list[Clip]
    tests: Mapping[str, list[Clip]]


def within(clips: list[Clip], people: set[str]) -> list[Clip]:
    """The clips that show nobody else."""
    return [clip for clip in clips if people.issuperset(clip.people)]


def folds(data: Path, train: str, external: Path | None) -> list[Fold]:
    """Both ways round."""
    made = json.loads((data / "groups.json").read_text())
    groups = {name: set(people) for name, people in made["groups"].items()}
    clips = {method: read_dataset(data / method) for method in made["methods"]}
    found = []
    for name, other in zip(groups, reversed(groups), strict=True):
        tests = {method: within(found_here, groups[other]) for method, found_here in clips.items()}
        if external is not None:
            tests["external"] = read_dataset(external)
        found.append(Fold(name=name, train=within(clips[train], groups[name]), tests=tests))
    return found


_FACES: dict[tuple[Any, ...], tuple[list[Any], list[Any]]] = {}


def faces(clips: list[Clip], card: Any, frames: int, what: str) -> tuple[list[Any], list[Any]]:
    """The clips' faces as a card asks for them and the clips without any; those of three seeds are cut out once."""
    key = (what, card.input_size, card.crop_margin, card.alignment, frames)
    if key not in _FACES:
        _FACES[key] = cut(clips, card, frames, what, print)
    return _FACES[key]


def trained(fold: Fold, name: str, seed: int, options: argparse.Namespace) -> Path:
    """A detector, trained if the same one is not there."""
    from stress.detectors import new_detector, save_detector
    from stress.training import TrainSettings, train
    from stress.training.config import load_config

    arm = ARMS[name]
    way = load_config(arm.recipe).make_recipe()
    settings = TrainSettings(epochs=options.epochs, batch=options.batch, lr=options.lr, validation=0.0, seed=seed)
    detector = new_detector(arm.arch or options.arch, seed=seed, input_size=options.size)
    told = {"arm": name, "recipe": way.describe(), "arch": detector.card.architecture, "settings": repr(settings)}
    contents = {clip.path.name: content_hash(clip) for clip in fold.train}
    digest = hashlib.sha256(json.dumps([told, contents, options.frames, options.size]).encode()).hexdigest()[:12]
    path = Path(options.work) / f"{name.replace(', ', '-').replace(' ', '-')}-{fold.name}-{seed}-{digest}.safetensors"
    if path.exists():
        return path
    crops, left_out = faces(fold.train, way.crop_settings(detector.card), options.frames, f"faces of {fold.name}")
    reals, fakes = ([item for item in crops if item.clip.label == label] for label in (0, 1))
    steps = 0

    def count(**_: object) -> None:
        nonlocal steps
        steps += 1

    started = time.monotonic()
    done = train(detector, reals, fakes if way.needs_fakes else [], settings, recipe=way, progress=count)
    save_detector(done, path)
    taken = {
        **told, "seconds": round(time.monotonic() - started, 1), "steps": steps, "reals": len(reals),
        "fakes": len(fakes) if way.needs_fakes else 0, "left_out": [item.clip.id for item in left_out],
    }  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps(taken))
    print(path.name, taken["seconds"], "s", flush=True)
    return path


def scores(path: Path, fold: Fold, frames: int) -> dict[str, Any]:
    """Test -> one score a video that shows a face."""
    from stress.detectors import load_detector
    from stress.evaluation.scoring import score

    detector = load_detector(path)
    found = {}
    for name, clips in fold.tests.items():
        crops, _ = faces(clips, detector.card, frames, f"faces of {name}, test of {fold.name}")
        videos = score(detector, crops).groupby(["dataset", "label", "clip"], sort=True)
        found[name] = videos.agg(score=("score", "mean"), people=("people", "first")).reset_index()
    return found


def figures(tables: Mapping[str, list[list[Any]]], resamples: int) -> dict[str, Any]:
    """AUC of every arm on one test: arm -> folds -> seeds -> videos, all with the same videos a fold.

    Where both folds are tested on the same videos (another team's) these are counted once.
    """
    from stress.evaluation.metrics import auc, curve
    from stress.evaluation.statistics import intervals

    first = next(iter(tables.values()))
    clips = [tuple(who.split("|")) for fold in first for who in fold[0].people]
    starts = np.cumsum([0, *(len(fold[0]) for fold in first)])
    labels = [fold[0].label.to_numpy() for fold in first]

    def area(table: Any, fold: int, weights: np.ndarray | None = None) -> np.ndarray:
        return auc(curve(table.score.to_numpy(), labels[fold], weights))

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        parts = [weights[:, starts[i] : starts[i + 1]] for i in range(len(first))]
        return {
            recipe: np.mean([area(table, i, parts[i]) for i, fold in enumerate(per) for table in fold], axis=0)
            for recipe, per in tables.items()
        }

    def usable(weights: np.ndarray) -> np.ndarray:
        good = np.ones(len(weights), bool)
        for i, label in enumerate(labels):
            part = weights[:, starts[i] : starts[i + 1]]
            good &= (part[:, label == 1].sum(1) > 0) & (part[:, label == 0].sum(1) > 0)
        return good

    minus = {
        f"{name} - {ARMS[name].against}": (name, ARMS[name].against)
        for name in tables
        if ARMS[name].against in tables and name not in ("plain", "plain, two streams")
    }
    found, counts = intervals(
        statistic, clips, usable=usable, differences=minus, resamples=resamples, limit_share=lambda name: 0.5
    )
    videos = pd.concat([fold[0] for fold in first]).drop_duplicates(["dataset", "label", "clip"])
    by_seed = {
        recipe: [
            round(float(np.mean([area(fold[seed], i)[0] for i, fold in enumerate(per)])), 4)
            for seed in range(len(per[0]))
        ]
        for recipe, per in tables.items()
    }
    return {
        "n": {**counts, "videos": len(videos), "fakes": int(sum(videos.label))},
        "auc": {name: estimate.as_dict() for name, estimate in found.items()},
        "by_seed": by_seed,
    }


def main() -> None:
    """Train, score, compare and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--external", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--train", default="autoencoder-none", help="method whose fakes are trained on")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--arch", default="small_cnn")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--frames", type=int, default=16, help="of each clip")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    both = folds(options.data, options.train, options.external)
    tables: dict[str, dict[str, list[list[Any]]]] = {}
    costs: dict[str, list[dict[str, Any]]] = {}
    for seed in range(options.seeds):
        for recipe in options.arms:
            for number, fold in enumerate(both):
                path = trained(fold, recipe, seed, options)
                costs.setdefault(recipe, []).append(json.loads(path.with_suffix(".json").read_text()))
                for test, table in scores(path, fold, options.frames).items():
                    per = tables.setdefault(test, {}).setdefault(recipe, [[] for _ in both])
                    per[number].append(table)
    result = {
        "benchmark": "recipes",
        "settings": {key: value for key, value in vars(options).items() if not isinstance(value, Path)},
        "tests": {test: figures(per, options.resamples) for test, per in tables.items()},
        "learned": LEARNED,
        "trainings": costs,
        "machine": common.machine(),
    }
    common.finish(result, options.out)


if __name__ == "__main__":
    main()
