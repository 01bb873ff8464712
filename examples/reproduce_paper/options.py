"""The command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from faceswap_hq.errors import UserError
from reproduce_paper.plan import COUNTS, Settings
from stress.strategies import parse as strategy

QUICK: dict[str, Any] = {
    "actors": 4, "actor_seconds": 4.0, "actor_size": 160, "preset": "tiny", "steps": 150, "seconds": 0.8,
    "retrain_rounds": 0, "include_rejected": True, "folds": 2, "archs": "small_cnn", "size": 64, "frames": 6,
    "epochs": 20, "tune_steps": 30, "counts": "0,1,2", "seeds": 1, "ladder_pairs": 2, "resamples": 200,
}  # fmt: skip
"""What ``--quick`` means; a small show of every part, whose figures say nothing."""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line; --quick changes defaults, not what was given."""
    parser = _parser()
    if parser.parse_args(arguments).quick:
        parser.set_defaults(**QUICK)
    return parser.parse_args(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reproduce.py", description="See README.md beside this file.")
    parser.add_argument("cast", type=Path, metavar="CAST_DIR", help="clips and consent.yaml; or the word: actors")
    parser.add_argument("-o", "--out", type=Path, required=True, help="directory for everything; resumed if there")
    parser.add_argument("--quick", action="store_true", help="a few people, steps and frames, to see it run")

    fakes = parser.add_argument_group("good fakes")
    fakes.add_argument("--good", type=Path, help="an existing curation of CAST_DIR, used as it is")
    fakes.add_argument("--model", type=Path, help="the model that made them, where it is not in --good")
    fakes.add_argument("--include-rejected", action="store_true", help="use what curation rejected too")
    for name, kind in (
        ("preset", str), ("steps", int), ("minutes", float), ("seconds", float), ("identity-model", Path),
        ("retrain-rounds", int), ("held-out", float),
    ):  # fmt: skip
        fakes.add_argument(f"--{name}", type=kind, help="as for faceswap-hq curate")
    fakes.add_argument("--actors", type=int, default=10, help="how many, for CAST_DIR actors")
    fakes.add_argument("--actor-seconds", type=float, default=14.0, help="length of their clips")
    fakes.add_argument("--actor-size", type=int, default=320, help="side of their clips, pixels")

    tests = parser.add_argument_group("tests")
    tests.add_argument("--folds", type=int, default=3, help="groups of people that are tested in turn")
    tests.add_argument("--ladder-pairs", type=int, help="tested pairs made stage by stage; default all, 0 none")
    tests.add_argument("--transfer", default="mesh,expression", help="methods without learning; empty for none")
    tests.add_argument("--external", type=Path, help="another team's fakes and reals")

    learn = parser.add_argument_group("detectors")
    learn.add_argument("--archs", default="small_cnn,mesoinception4", help="trained here on crude fakes")
    learn.add_argument("--detectors", default="", help="published checkpoints with cards, by comma")
    learn.add_argument("--counts", default=",".join(map(str, COUNTS)), help="good fakes seen in fine-tuning")
    learn.add_argument("--strategy", default="all+replay", help="all, last or last-K, with +replay of crude fakes")
    learn.add_argument("--seeds", type=int, default=3)
    learn.add_argument("--size", type=int, help="side of the faces, pixels; default what is customary with each")
    for name, kind, value in (
        ("seed", int, 0), ("frames", int, 16), ("epochs", int, 15), ("batch", int, 32),
        ("lr", float, 1e-3), ("tune-steps", int, 200), ("tune-lr", float, 3e-4), ("resamples", int, 1000),
    ):  # fmt: skip
        learn.add_argument(f"--{name}", type=kind, default=value, help="default %(default)s")
    return parser


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings asked for.

    Raises:
        UserError: If one is not possible.
    """
    plain = (
        "folds", "include_rejected", "size", "frames", "epochs", "batch", "lr", "tune_steps", "tune_lr", "seeds",
        "seed", "ladder_pairs", "resamples",
    )  # fmt: skip
    try:
        return Settings(
            archs=_names(options.archs), detectors=tuple(Path(name) for name in _names(options.detectors)),
            counts=tuple(int(count) for count in _names(options.counts)), transfer=_names(options.transfer),
            strategy=strategy(options.strategy), **{name: getattr(options, name) for name in plain},
        )  # fmt: skip
    except ValueError as error:
        raise UserError(f"{error}.", "reproduce.py --help names the options.") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def curate_options(options: argparse.Namespace) -> dict[str, Any]:
    """What is passed on to ``faceswap-hq curate``."""
    names = ("preset", "steps", "minutes", "seconds", "seed", "identity_model", "retrain_rounds", "held_out")
    found = {name.replace("_", "-"): getattr(options, name) for name in names}
    if found["minutes"] is not None and options.quick and found["steps"] == QUICK["steps"]:
        found["steps"] = None
    return found
