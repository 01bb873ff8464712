"""The whole of ``faceswap-hq curate``, disturbed: killed again and again, on a cluster, on a full disk.

    python benchmarks/curate_trials.py --work DIR [--trials killed ray full-out full-home] [--seed 0] [-o FILE]

Three virtual actors, all six ordered pairs, preset ``tiny`` for a few steps and a few more for what fails (that is
nearly everything, so a second round is part of it). Every trial gives the command as a user types it, in processes of
its own, and its data set is compared with that of a run that nobody disturbed: the same files, and in each the same
content but for signatures and times (:func:`tests.faceswap_hq.same.facts`: every frame of every video, all numbers).

``killed``: SIGKILL to everything that the command has started, a random while after extraction, training, the first
pair, a later pair, further training and publishing have begun; the same command each time, at last to its end.
``ray``: two nodes of one core each on this machine. ``full-out`` and ``full-home``: the output, or
``FACESWAP_HQ_HOME``, on a small file system in memory that is enlarged whenever the command has ended; Linux, as root.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import common

PRESET = "tiny.yaml"
SETTINGS = ("--steps", "30", "--retrain-steps", "10", "--seconds", "1", "--device", "cpu")
STAGES = (
    ("extraction", "home/cache/facesets/*", 1), ("training", "out/work/models/round-0-*", 1),
    ("first pair", "out/work/round-0/renders/*.json", 1), ("later pair", "out/work/round-0/renders/*.json", 4),
    ("further training", "out/work/models/round-1-*", 1), ("pair of the second round", "out/work/round-1/renders/*", 1),
)  # fmt: skip
"""Name of a moment, and what lies in a trial's folder, and how often, once it has come."""
SHARES = (0.1, 0.4, 0.8, 1.2, 3.0)
"""Sizes of the small file system, as shares of what the undisturbed run has written there; the last is roomy."""
HOURS = 2.0
"""After so long a run counts as stuck."""


def prepare(work: Path, count: int, seconds: float) -> None:
    """The cast with its consent, and the preset, made once."""
    import yaml

    cast = work / "cast"
    if not (work / PRESET).exists():
        call(work, "actors", "-o", str(cast), "--count", str(count), "--seconds", str(seconds), "--size", "256")
        people = sorted(path.stem for path in cast.glob("*.mp4"))
        (cast / "consent.yaml").write_text("".join(f"{name}: virtual actor\n" for name in people))
        tiny = common.REPOSITORY / "faceswap_hq/presets/tiny.yaml"
        settings = yaml.safe_load(tiny.read_text()) | {"precision": "float32"}  # auto times both, and may choose either
        (work / PRESET).write_text(yaml.safe_dump(settings))


def begin(trial: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start ``faceswap-hq`` in a process group of its own, with the trial's home and its log."""
    trial.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "FACESWAP_HQ_HOME": str(trial / "home"), "OMP_NUM_THREADS": "1",
                   "PYTHONPATH": str(common.REPOSITORY)}  # fmt: skip
    with (trial / "log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "faceswap_hq", *arguments], stdout=log, stderr=log, env=environment,
            start_new_session=True, text=True,
        )  # fmt: skip


def call(trial: Path, *arguments: str) -> int:
    """Run ``faceswap-hq`` to its end; returns the exit code."""
    return begin(trial, *arguments).wait(3600 * HOURS)


def command(work: Path, trial: Path, *more: str) -> tuple[str, ...]:
    """The curation."""
    out = str(trial / "out")
    return ("curate", str(work / "cast"), "-o", out, "--preset", str(work / PRESET), *SETTINGS, *more)


def said(trial: Path) -> list[str]:
    """The errors in a trial's log, without this machine's paths, and whether there is a traceback."""
    lines = (trial / "log").read_text().splitlines() if (trial / "log").exists() else []
    kept = [line for line in lines if line.startswith(("error", "Traceback", "  Nothing"))]
    return [re.sub(r"/\S*/", "", line) for line in kept]


def compared(out: Path, undisturbed: Path) -> dict[str, Any]:
    """What differs, what is half-written, and which signatures and checksums do not hold."""
    from faceswap_hq import files, provenance
    from tests.faceswap_hq.same import facts

    ours, theirs = (
        {name: value for name, value in facts(folder).items() if not name.startswith("work/")}
        for folder in (out, undisturbed)
    )
    sums = [line.split("  ", 1) for line in (out / "SHA256SUMS").read_text().splitlines()]
    return {
        "files": len(theirs),
        "fakes": sum("/fakes/" in f"/{name}" and name.endswith(".mp4") for name in ours),
        "different": sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)),
        "half_written": sorted(path.name for path in out.rglob("*") if ".part" in path.name),
        "signatures_invalid": sorted(
            name for name in ours if name.endswith(".mp4") and provenance.verify(out / name).state != "valid"
        ),
        "checksums_wrong": sorted(name for sha256, name in sums if files.sha256_file(out / name) != sha256),
    }


def came(trial: Path, pattern: str, count: int) -> bool:
    """Whether a moment has come."""
    return len(list(trial.glob(pattern))) >= count


def killed(work: Path, undisturbed: Path, seed: int) -> dict[str, Any]:
    """Kill the command at six moments, then let it come to its end."""
    trial, moments, kills = work / "killed", random.Random(seed), []  # noqa: S311 - no secrets
    for name, pattern, count in STAGES:
        delay, process, started = moments.uniform(0, 4), begin(trial, *command(work, trial)), time.monotonic()
        while process.poll() is None and not came(trial, pattern, count):
            time.sleep(0.02)
        time.sleep(delay)
        ended = process.poll()
        if ended is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        kills.append({"moment": name, "delay_s": round(delay, 2), "ran_s": round(time.monotonic() - started, 1),
                      "ended_by_itself": ended})  # fmt: skip
        print(kills[-1], flush=True)
    code = call(trial, *command(work, trial))
    return {"kills": kills, "exit_code": code, **compared(trial / "out", undisturbed), "said": said(trial)}


def ray(work: Path, undisturbed: Path, seed: int) -> dict[str, Any]:
    """Give the command with ``--engine ray`` on a local cluster of two nodes."""
    from ray.cluster_utils import Cluster

    trial = work / "ray"
    os.environ |= {"PYTHONPATH": str(common.REPOSITORY), "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0",
                   "OMP_NUM_THREADS": "1"}  # fmt: skip
    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        cluster.add_node(**node)
        started = time.monotonic()
        code = call(trial, *command(work, trial, "--engine", "ray", "--address", cluster.address))
    finally:
        cluster.shutdown()
    found = compared(trial / "out", undisturbed) if code == 0 else {}
    return {"exit_code": code, "wall_s": round(time.monotonic() - started, 1), **found, "said": said(trial)}


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[Callable[[int], None]]:
    """A file system in memory, mounted at ``place``; yields a function that gives it another size in bytes."""

    def mount(options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)

    place.mkdir(parents=True, exist_ok=True)
    mount(f"size={size}")
    try:
        yield lambda wanted: mount(f"remount,size={wanted}")
    finally:
        subprocess.run(["umount", str(place)], check=True)


def written(folder: Path) -> int:
    """Bytes of all files under a folder, those of several names once."""
    found = {(stat.st_dev, stat.st_ino): stat.st_size for stat in (p.stat() for p in folder.rglob("*") if p.is_file())}
    return sum(found.values())


def full(work: Path, undisturbed: Path, which: str) -> dict[str, Any]:
    """Give the command on a disk that is too small, and again whenever the disk has grown."""
    from faceswap_hq import fakes

    trial, runs = work / f"full-{which}", []
    place, needed = trial / which, written(undisturbed.parent / which)
    with small_disk(place, int(SHARES[0] * needed)) as resize:
        for share in SHARES:
            resize(int(share * needed))
            (trial / "log").unlink(missing_ok=True)
            before = {path: path.stat().st_mtime_ns for path in (trial / "out").glob("work/*/renders/*.json")}
            code = call(trial, *command(work, trial))
            entries = [(f, e) for f in (trial / "out", trial / "out/rejected") for e in fakes.Manifest(f).read()]
            lost = [path.name for path, when in before.items() if not path.exists() or path.stat().st_mtime_ns != when]
            runs.append({
                "share": share, "exit_code": code, "said": said(trial), "published": len(entries),
                "missing": [p for f, e in entries for p in fakes.paths_of(e) if not (f / p).is_file()],
                "half_written": [path.name for path in place.rglob("*") if ".part" in path.name],
                "rendered_again": lost,
            })  # fmt: skip
            print(runs[-1], flush=True)
            if code == 0:
                break
        found = compared(trial / "out", undisturbed) if code == 0 else {}
    return {"needed_bytes": needed, "runs": runs, **found}


TRIALS: dict[str, Callable[[Path, Path, int], dict[str, Any]]] = {
    "killed": killed, "ray": ray,
    "full-out": lambda work, undisturbed, seed: full(work, undisturbed, "out"),
    "full-home": lambda work, undisturbed, seed: full(work, undisturbed, "home"),
}  # fmt: skip


def main() -> None:
    """Run the trials one after the other; what is there of the cast and the undisturbed run is used again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--trials", nargs="+", default=list(TRIALS), choices=list(TRIALS))
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    prepare(work, options.people, options.seconds)
    started = time.monotonic()
    if code := call(work / "alone", *command(work, work / "alone")):
        raise SystemExit(f"the undisturbed run ended with {code}: see {work / 'alone/log'}")
    result: dict[str, Any] = {"benchmark": "curate_trials", "people": options.people, "settings": list(SETTINGS),
                              "alone_wall_s": round(time.monotonic() - started, 1)}  # fmt: skip
    for name in options.trials:
        shutil.rmtree(work / name, ignore_errors=True)
        result[name] = TRIALS[name](work, work / "alone/out", options.seed)
        common.finish({**result, "machine": common.machine()}, options.out)


if __name__ == "__main__":
    main()
