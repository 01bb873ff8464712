"""What a step of each recipe costs on this machine, beside plain training's: time and memory.

    python benchmarks/recipe_cost.py [--recipes plain self-blended ...] [--arch small_cnn] [--out FILE]

Drawn faces of virtual actors, batch of 32 unless told otherwise. Every recipe runs in a process of its own, in turn, so
that a busy spell of the machine hits all alike; peak memory is what the kernel says of the process (``VmHWM``). Linux
only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import common
import numpy as np
from recipes import ARMS


def one(recipe: str, arch: str, steps: int, batch: int, work: Path) -> dict[str, Any]:
    """Train for some steps; ms a step without the first five, and peak memory in MiB."""
    from stress.data.crops import crop_clips
    from stress.data.layouts import FAKE, REAL, Clip
    from stress.detectors import new_detector
    from stress.training import TrainSettings, train
    from stress.training.config import load_config

    arm = ARMS[recipe]
    way = load_config(arm.recipe).make_recipe()
    detector = new_detector(arm.arch or arch)
    clips = [
        Clip(id=who, path=work / f"{who}.mp4", label=label, people=(who,), source_clip=who, method="drawn", dataset="")
        for who in sorted(path.stem for path in work.glob("*.mp4"))
        for label in (REAL, FAKE)
    ]
    crops, _ = crop_clips(clips, way.crop_settings(detector.card), 16)
    reals, fakes = ([item for item in crops if item.clip.label == label] for label in (REAL, FAKE))
    fakes = [replace(item, masks=np.full(item.images.shape[:3], 255, np.uint8)) for item in fakes]
    reals, fakes = (16 * group for group in (reals, fakes))  # an epoch is longer than what is timed
    settings = TrainSettings(epochs=1, batch=batch, validation=0.0)
    taken: list[float] = []

    def after_step(**_: object) -> None:
        taken.append(time.perf_counter())
        if len(taken) > steps + 5:
            raise StopIteration

    with contextlib.suppress(StopIteration):
        train(detector, reals, fakes if way.needs_fakes else [], settings, recipe=way, progress=after_step)
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 2**10
    return {"ms": 1000 * (taken[-1] - taken[5]) / (len(taken) - 6), "peak_mib": peak}


def summarised(found: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """What every recipe costs; over plain training of the same network round by round, where that was measured too.

    Args:
        found: Recipe -> its rounds, as :func:`one` gives them.
    """
    times = {recipe: [row["ms"] for row in rows] for recipe, rows in found.items()}
    costs: dict[str, Any] = {}
    for recipe, rows in found.items():
        costs[recipe] = {
            "step": common.summary("step", "ms", times[recipe]),
            "peak": common.summary("peak resident memory", "MiB", [row["peak_mib"] for row in rows]),
        }
        against = ARMS[recipe].against
        if against in times and against != recipe:
            costs[recipe][f"over {against}"] = common.ratios(times[recipe], times[against], recipe)
    return costs


def main() -> None:
    """Take turns, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--arch", default="small_cnn")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("recipe-cost"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.arch, options.steps, options.batch, options.work)))
        return
    from faceswap_hq import actors

    options.work.mkdir(parents=True, exist_ok=True)
    for member in actors.plan_cast(4, seconds=2, seed=7, size=320):
        clip = options.work / f"{member.name}.mp4"
        if not clip.exists():
            actors.render_clip(clip, member.identity, member.performance, member.scene)
    found: dict[str, list[dict[str, Any]]] = {recipe: [] for recipe in options.recipes}
    told = ["--arch", options.arch, "--steps", options.steps, "--batch", options.batch, "--work", options.work]
    for turn in range(options.rounds):
        for recipe in list(found)[:: 1 if turn % 2 == 0 else -1]:
            asked = [sys.executable, __file__, "--one", recipe, *map(str, told)]
            done = subprocess.run(asked, capture_output=True, text=True, check=True)
            found[recipe].append(json.loads(done.stdout.splitlines()[-1]))
            print(recipe, found[recipe][-1], file=sys.stderr, flush=True)
    result = {
        "benchmark": "recipe_cost",
        "arch": options.arch,
        "batch": options.batch,
        "recipes": summarised(found),
        "machine": common.machine(),
    }
    common.finish(result, options.out)


if __name__ == "__main__":
    main()
