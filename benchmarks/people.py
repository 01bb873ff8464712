"""Memory and time of training as the number of people grows, every person with a decoder of their own.

    python benchmarks/people.py --work DIR [--preset fast] [--people 2 4 6 8 10]

Virtual actors, two seconds each. Every number of people is trained in a process of its own, whose peak memory is what
the kernel says of it (``VmHWM``: the interpreter and PyTorch are part of it); numbers of people take turns in rounds.
Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import common


def facesets(work: Path, count: int) -> list[Path]:
    """Facesets of so many actors, made once."""
    from faceswap_hq import actors
    from faceswap_hq.extract import extract
    from faceswap_hq.faceset import is_faceset

    out = []
    for member in actors.plan_cast(count, seconds=2, seed=7, size=320):
        clip, faceset = work / f"{member.name}.mp4", work / f"{member.name}.faceset"
        if not is_faceset(faceset):
            actors.render_clip(clip, member.identity, member.performance, member.scene)
            extract(clip, faceset)
        out.append(faceset)
    return out


def one(sets: list[Path], preset: str, steps: int, precision: str) -> dict[str, Any]:
    """Train these people for a few steps: ms a step, faces/s, peak memory in MiB; for ``auto``, the precision alone."""
    import torch

    from faceswap_hq.faceset import read_faceset
    from faceswap_hq.training.data import load_person
    from faceswap_hq.training.devices import choose_device, open_fabric
    from faceswap_hq.training.settings import load_preset
    from faceswap_hq.training.trainer import Trainer, resolve_precision

    settings, device = replace(load_preset(preset), precision=precision), choose_device()
    people = [load_person(read_faceset(path), settings.model.resolution, settings.coverage) for path in sets]
    if precision == "auto":
        return {"precision": resolve_precision(settings, people, device).precision}
    trainer = Trainer(settings, people, open_fabric(device, settings.precision))
    taken = []
    for _ in range(steps + 2):
        started = time.perf_counter()
        trainer.step(0.0)  # returns numbers, so the device has finished
        taken.append(time.perf_counter() - started)
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 2**10
    step = sorted(taken[2:])[steps // 2]
    return {
        "step_ms": 1000 * step,
        "faces_per_second": settings.batch * len(sets) / step,
        "peak_mib": peak,
        "gpu_mib": torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else None,
        "parameters_million": sum(p.numel() for p in trainer.model.parameters()) / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="outside the repository; actors are kept there")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--people", type=int, nargs="+", default=[2, 4, 6, 8, 10])
    parser.add_argument("--steps", type=int, default=10, help="a round")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.work.resolve().is_relative_to(common.REPOSITORY):
        parser.error("--work must lie outside this repository")
    options.work.mkdir(parents=True, exist_ok=True)
    sets = facesets(options.work, max(options.people))
    if options.worker:
        print(json.dumps(one(sets[: options.worker], options.preset, options.steps, options.precision)))
        return

    def worker(count: int, precision: str) -> dict[str, Any]:
        line = [sys.executable, __file__, "--work", str(options.work), "--preset", options.preset,
                "--people", str(max(options.people)), "--steps", str(options.steps),
                "--worker", str(count), "--precision", precision]  # fmt: skip
        answer = subprocess.run(line, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        print(f"  {count} people: {answer}", file=sys.stderr, flush=True)
        return dict(json.loads(answer))

    precision = worker(2, "auto")["precision"] if options.precision == "auto" else options.precision
    found: dict[int, list[dict[str, Any]]] = {count: [] for count in options.people}
    for turn in range(options.repeats):
        for count in options.people[:: 1 if turn % 2 == 0 else -1]:
            found[count].append(worker(count, precision))
    rows = [
        {
            "people": count,
            "parameters_million": round(seen[0]["parameters_million"], 2),
            "step": common.summary("step", "ms", [one["step_ms"] for one in seen]),
            "rate": common.summary("training", "faces/s", [one["faces_per_second"] for one in seen]),
            "peak": common.summary("peak memory", "MiB", [one["peak_mib"] for one in seen]),
            "gpu_mib": [one["gpu_mib"] for one in seen] if seen[0]["gpu_mib"] else None,
        }
        for count, seen in found.items()
    ]
    result = {"benchmark": "people", "preset": options.preset, "precision": precision, "rows": rows}
    common.finish({**result, "machine": common.machine()}, options.out)


if __name__ == "__main__":
    main()
