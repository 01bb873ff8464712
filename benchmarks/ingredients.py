"""Which ingredients of training are worth having: each changed alone, several seeds, measured on held-out swaps.

    python benchmarks/ingredients.py --work DIR --identity ONNX [--rows NAME ...] [--steps 400 | --minutes 6]

Four virtual actors are trained together by ``fast`` with one ingredient changed at a time (``ingredient_rows.py``: the
rows, the most promising first, and the settings that all have), and all ordered pairs are swapped in performances that
training has not seen, as ``swap_quality.py actors`` does. Ingredients that the product has not are in
``ingredient_losses.py`` and ``ingredient_layers.py``.

The budget is ``--steps`` for every row, or ``--minutes`` of base's time: a row whose step costs twice as much processor
time as base's then takes half the steps. What a step costs is measured before, row and base in turn, in three parts of
the budget (a discriminator works in the last third only). The learning rate's schedule follows the budget.

Every training's result is a file under ``--work``: the same command goes on where it was ended, and ``table.md`` there
holds what is known so far; ``--kept`` trains nothing and tells what calls with other rows and seeds have left.
Differences are to the base row of the same seed: mean [smallest, largest].
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
import swap_quality
from ingredient_losses import Perceptual
from ingredient_rows import BASE, ROWS, Row
from ingredient_swaps import Measurer, cases_of
from ingredient_table import COLUMNS, Results, differences, table
from ingredient_trainer import IngredientTrainer, train

from faceswap_hq import files, quality
from faceswap_hq.training.data import PersonData, load_person
from faceswap_hq.training.settings import TrainSettings, to_dict

PHASES = (1 / 6, 1 / 2, 5 / 6)
"""Shares of the budget at which steps are timed: one in each third."""


def settings_of(row: Row, preset: str, seed: int, every: Sequence[str] = ()) -> TrainSettings:
    """A row's settings: the preset's, those that every row has, the row's own."""
    return swap_quality.changed(preset, [*BASE, *every, *row.changes], seed)


def kept(path: Path, asked: dict[str, Any]) -> dict[str, Any] | None:
    """What an earlier call kept, or None; other settings than today's are refused."""
    if not path.exists():
        return None
    found: dict[str, Any] = files.read_json(path)
    other = [key for key in asked if found["asked"].get(key) != asked[key]]
    if other:
        raise SystemExit(f"{path} was made with another {', '.join(other)}: choose another --work, or delete it")
    return found


def step_cost(base: IngredientTrainer, other: IngredientTrainer | None, rounds: int) -> dict[str, Any]:
    """Time of a step, mean over the phases, in ms; and processor time over base's, round by round.

    Args:
        base: The base row's trainer.
        other: The row's; None for base itself.
        rounds: How often; one more comes before, to warm up.
    """
    trainers = [base] if other is None else [base, other]
    taken: list[list[tuple[float, float]]] = [[] for _ in trainers]
    for turn in range(rounds + 1):
        for number in range(len(trainers))[:: 1 if turn % 2 else -1]:
            wall, processor = time.perf_counter(), time.process_time()
            for share in PHASES:
                trainers[number].step(share)
            spent = time.perf_counter() - wall, time.process_time() - processor
            if turn:
                taken[number].append((1000 * spent[0] / len(PHASES), 1000 * spent[1] / len(PHASES)))
    walls, processors = zip(*taken[-1], strict=True)
    ratios = [own[1] / beside[1] for own, beside in zip(taken[-1], taken[0], strict=True)]
    return {
        "wall": common.summary("step", "ms", walls),
        "processor": common.summary("step", "ms", processors),
        "ratio": common.summary("processor time over base's", "ratio", ratios),
    }


@dataclasses.dataclass
class Bench:
    """What all trainings of a call share."""

    options: argparse.Namespace
    people: list[PersonData]
    measurer: Measurer
    perceptual: Perceptual | None
    base: IngredientTrainer | None = None

    def trainer(self, row: Row, seed: int) -> IngredientTrainer:
        """A row's trainer before its first step."""
        settings = settings_of(row, self.options.preset, seed, self.options.set)
        return IngredientTrainer(settings, self.people, row.extras, self.perceptual)

    def asked(self, row: Row, seed: int) -> dict[str, Any]:
        """What a result depends on."""
        same = ("actors", "cast_seed", "seconds", "held_out_seconds", "side")
        extras: dict[str, Any] = dataclasses.asdict(row.extras)
        if row.extras.perceptual:
            extras["network"] = [self.options.perceptual_network, files.sha256_file(self.options.perceptual)]
        settings = to_dict(settings_of(row, self.options.preset, seed, self.options.set))
        return {"settings": settings, "extras": extras} | {key: getattr(self.options, key) for key in same}

    def cost(self, row: Row) -> dict[str, Any] | None:
        """What the row's steps cost; kept."""
        if not self.options.cost_rounds:
            return None
        path = self.options.work / "costs" / f"{_file(row)}.json"
        asked = self.asked(row, 0)
        found = kept(path, asked)
        if found is None:
            if self.base is None:
                self.base = self.trainer(ROWS[0], 0)
            other = None if row.name == "base" else self.trainer(row, 0)
            found = {"asked": asked, **step_cost(self.base, other, self.options.cost_rounds)}
            path.parent.mkdir(exist_ok=True)
            files.write_json(path, found)
        return found

    def steps(self, cost: dict[str, Any] | None) -> int:
        """The row's budget in steps."""
        if self.options.minutes is None or cost is None:
            return int(self.options.steps)
        known = self.cost(ROWS[0])
        if known is None:
            raise ValueError("A budget in minutes needs what steps cost.")
        of_base = 60_000 * self.options.minutes / known["wall"]["median"]
        return max(1, round(of_base / cost["ratio"]["median"]))

    def result(self, row: Row, seed: int, cost: dict[str, Any] | None) -> dict[str, Any] | None:
        """Train and measure; kept. None where only what is kept is asked for, and nothing is."""
        steps = self.steps(cost)
        minutes = self.options.minutes
        budget = f"{self.options.steps}steps" if minutes is None else f"{minutes:g}min"
        path = self.options.work / "results" / budget / f"{_file(row)}-{seed}.json"
        asked = self.asked(row, seed) | {
            "steps": steps, "every": self.options.every, "identity": self.options.identity is not None,
        }  # fmt: skip
        found = kept(path, asked)
        if found is None and self.options.kept:
            return None
        if found is None:
            trainer = self.trainer(row, seed)
            trained = train(trainer, steps)
            wall, processor = time.perf_counter(), time.process_time()
            rows = [] if trained.diverged else self.measurer.rows(trainer.shown)
            found = {
                "asked": asked,
                "training": dataclasses.asdict(trained),
                "measuring": {
                    "wall_seconds": time.perf_counter() - wall, "processor_seconds": time.process_time() - processor
                },
                "summary": swap_quality.summarized(rows) if rows else None,
                "rows": rows,
            }  # fmt: skip
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_json(path, found)
        return found


def _file(row: Row) -> str:
    return "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in row.name)


def summary_of(
    results: Results, costs: dict[str, Any], notes: dict[str, str], exact: list[Any], options: argparse.Namespace
) -> dict[str, Any]:
    """What is committed of it all."""
    base = results.get("base", {})
    rows = [
        {
            "row": name,
            "cost": {key: part for key, part in (costs.get(name) or {}).items() if key != "asked"},
            "seeds": {str(seed): {key: one[key] for key in ("training", "measuring", "summary")}
                      for seed, one in found.items()},
            "minus_base": {measure: differences(found, base, measure) for measure in COLUMNS},
        }
        for name, found in results.items()
    ]  # fmt: skip
    return {"benchmark": "ingredients", "base": [*BASE, *options.set], "every": options.every,
            "exact": swap_quality.summarized(exact), "rows": rows, "left_out": notes,
            "machine": common.machine()}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="outside the repository; kept, so that it resumes")
    parser.add_argument("--rows", nargs="+", choices=[row.name for row in ROWS], metavar="NAME", help="default: all")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings changed in every row")
    parser.add_argument("--steps", type=int, default=400, help="of every row")
    parser.add_argument("--minutes", type=float, help="instead: steps that cost as much as base's in so many minutes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--identity", type=Path, help="face-recognition network, ONNX")
    parser.add_argument("--perceptual", type=Path, help="weights for the perceptual loss: a state dict")
    parser.add_argument("--perceptual-network", default="resnet18", help="the timm network that they are of")
    parser.add_argument("--kept", action="store_true", help="train nothing, tell what is kept (budgets in steps)")
    parser.add_argument("--every", type=int, default=3, help="measure every so many frames")
    parser.add_argument("--cost-rounds", type=int, default=3, help="of timing steps beside base's; 0 leaves it out")
    parser.add_argument("--actors", type=int, default=4)
    parser.add_argument("--cast-seed", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=16.0, help="length of an actor's training clip")
    parser.add_argument("--held-out-seconds", type=float, default=4.0)
    parser.add_argument("--side", type=int, default=320, help="of the actors' pictures")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.work.resolve().is_relative_to(common.REPOSITORY):
        parser.error("--work must lie outside this repository")
    if options.minutes is not None and not options.cost_rounds:
        parser.error("--minutes needs --cost-rounds")
    options.work.mkdir(parents=True, exist_ok=True)
    identity = quality.IdentityModel(options.identity) if options.identity else None
    perceptual = Perceptual(options.perceptual, options.perceptual_network) if options.perceptual else None
    sets, found = swap_quality.actor_cases(options)
    settings = settings_of(ROWS[0], options.preset, 0, options.set)
    side, coverage = settings.model.resolution, settings.coverage
    measurer = Measurer(cases_of(found, identity), side, coverage, identity, options.every)
    bench = Bench(options, [load_person(faceset, side, coverage) for faceset in sets], measurer, perceptual)
    results: Results = {}
    costs: dict[str, Any] = {}
    notes: dict[str, str] = {}
    exact = measurer.exact()
    for row in ROWS:
        if options.rows and row.name not in ("base", *options.rows):
            continue
        if row.extras.perceptual and perceptual is None:
            notes[row.name] = "left out: it needs a network's weights (--perceptual FILE)"
            print(f"{row.name}: {notes[row.name]}", flush=True)
            continue
        if options.kept and not bench.result(row, options.seeds[0], None):
            continue
        costs[row.name] = bench.cost(row)
        results[row.name] = {}
        for seed in options.seeds:
            one = bench.result(row, seed, costs[row.name])
            if one is None:
                continue
            results[row.name][seed] = one
            print(row.name, seed, _line(one), flush=True)
            files.write_bytes(options.work / "table.md", table(results, costs, notes).encode())
            if options.out is not None:  # hours of work: what is there is kept
                files.write_json(options.out, summary_of(results, costs, notes, exact, options))
    common.finish(summary_of(results, costs, notes, exact, options), options.out)
    print(table(results, costs, notes))


def _line(one: dict[str, Any]) -> dict[str, Any]:
    means = {key: part["mean"] for key, part in (one["summary"] or {}).items() if isinstance(part, dict)}
    seconds = {name: round(one[name]["wall_seconds"], 1) for name in ("training", "measuring")}
    return {"seconds": seconds, **means}


if __name__ == "__main__":
    main()
