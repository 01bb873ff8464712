"""How the whole of ``faceswap-hq curate`` grows with the cast: the same command on 4 people, on 6, ... on 10.

    python benchmarks/curate_growth.py --work DIR [--people 4 6 8 10] [--steps 40] [--seconds 1] [-o FILE]

Virtual actors, each cast the first so many of the largest; everything from nothing, with a cache of its own. Seconds
by stage are those that the tasks themselves took, as ``curate`` keeps them; processor seconds are of all its processes
and hardly depend on what else the machine does. The number of steps is the same for every cast, so that every person
is shown as often. A cast that is done is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import common


def run(work: Path, home: Path, *arguments: str) -> dict[str, float]:
    """``faceswap-hq`` as a process; wall clock and processor seconds."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, "FACESWAP_HQ_HOME": str(home)}
    with (work / "log").open("ab") as log:
        line = [sys.executable, "-m", "faceswap_hq", *arguments]
        code = subprocess.call(line, cwd=common.REPOSITORY, env=environment, stdout=log, stderr=log)
    if code:
        raise SystemExit(f"{' '.join(arguments[:2])} ended with {code}: see {work / 'log'}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": round(time.perf_counter() - started, 1), "processor_s": round(processor, 1)}


def stages(out: Path) -> dict[str, float]:
    """Seconds that the tasks of each stage took, and how many frames were rendered."""
    kept = {name: [json.loads(path.read_text())["result"] for path in sorted((out / "work").glob(pattern))]
            for name, pattern in (("training", "models/*.json"), ("rendering", "round-*/renders/*.json"),
                                  ("scoring", "round-*/scores/*.json"))}  # fmt: skip
    found = {f"{name}_s": round(sum(result["seconds"] for result in results), 1) for name, results in kept.items()}
    return found | {"frames": sum(result["quality"]["frames"] for result in kept["scoring"])}


def cast_of(work: Path, count: int) -> Path:
    """A folder with the first ``count`` actors and their consent."""
    cast = work / f"cast{count}"
    cast.mkdir(exist_ok=True)
    for clip in sorted((work / "actors").glob("*.mp4"))[:count]:
        if not (cast / clip.name).exists():
            shutil.copy2(clip, cast)
    names = sorted(path.stem for path in cast.glob("*.mp4"))
    (cast / "consent.yaml").write_text("".join(f"{name}: virtual actor\n" for name in names))
    return cast


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--people", type=int, nargs="+", default=[4, 6, 8, 10])
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--actor-seconds", type=float, default=4.0)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a fake")
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    given = {key: getattr(options, key) for key in ("steps", "actor_seconds", "seconds")}
    given["preset"] = Path(options.preset).name
    if not (work / "actors/cast.json").exists():
        run(work, work / "home", "actors", "-o", str(work / "actors"), "--count", str(max(options.people)),
            "--seconds", str(options.actor_seconds), "--size", "256")  # fmt: skip
    result: dict[str, Any] = {"benchmark": "curate_growth", "settings": given, "casts": [], "machine": common.machine()}
    for count in options.people:
        done, out = work / f"{count}.json", work / f"out{count}"
        if not done.exists():
            shutil.rmtree(out, ignore_errors=True)
            shutil.rmtree(work / f"home{count}", ignore_errors=True)
            spent = run(work, work / f"home{count}", "curate", str(cast_of(work, count)), "-o", str(out),
                        "--preset", options.preset, "--steps", str(options.steps), "--seconds", str(options.seconds),
                        "--retrain-rounds", "0", "--device", "cpu")  # fmt: skip
            done.write_text(json.dumps({"settings": given, "people": count, "pairs": count * (count - 1)} | spent
                                       | stages(out)))  # fmt: skip
        row = json.loads(done.read_text())
        if row.pop("settings") != given:
            raise SystemExit(f"{done} was made with other settings: choose another --work, or delete it")
        result["casts"].append(row)
        print(row, flush=True)
    common.finish(result, options.out)


if __name__ == "__main__":
    main()
