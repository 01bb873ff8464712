"""The whole experiment on your own footage: published detectors and two of ours, on good fakes and on another team's.

    python benchmarks/harness.py --train A --good B --ladder B/ladder --mesonet DIR --external DIR --work DIR -o FILE

``A``: out/ folder of crude fakes (render --blend none) that two detectors of ours are trained on. ``B``: out/ folder of
good fakes of other people, made with ``--ladder``; its lowest rung is those detectors' own kind of data, or ``--base``
is, where there is no ladder. ``--perturb``: robustness of those that are fine-tuned, before and after. ``--mesonet``:
the MesoNet authors' four h5 files. ``--external``: another set of fakes, scored and not fine-tuned on. Everything is
done by the commands a user types; what is there already is used again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import common

OURS = ("small_cnn", "mesoinception4")
METRICS = ("auc", "detection_rate", "false_alarm_rate", "balanced_accuracy", "eer")
MARGIN = 1.2  # of the MesoNet authors' crop, measured (their own measure is another)


def command(*arguments: object) -> None:
    """Run stress-test as a user would."""
    done = subprocess.run([sys.executable, "-m", "stress", *map(str, arguments)], cwd=common.REPOSITORY, check=False)
    if done.returncode:
        sys.exit(f"stress-test {' '.join(map(str, arguments))}: exit code {done.returncode}")


def detectors(options: argparse.Namespace) -> dict[str, Path]:
    """Name -> file, each with its card."""
    if options.detectors:
        return {name: Path(path) for name, path in (each.split("=", 1) for each in options.detectors)}
    folder = options.work / "detectors"
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for path in sorted(options.mesonet.glob("*.h5")) if options.mesonet else ():
        mine = folder / path.name
        if not mine.exists():
            shutil.copyfile(path, mine)
            command("card", mine, "--set", f"crop_margin={MARGIN}")
        found[path.stem] = mine
    for name in OURS:
        mine = folder / f"{name}.safetensors"
        if not mine.exists():
            command(
                "train", "--real", options.train, "--fake", options.train, "-o", mine, "--arch", name,
                "--epochs", options.epochs, "--frames-per-clip", options.frames,
            )  # fmt: skip
        found[name] = mine
    return found


def experiment(name: str, path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Before, fine-tuned, after, up the ladder."""
    output = options.work / "good" / name
    own = sorted(options.ladder.iterdir())[0] if options.ladder else options.base
    base = ["--base", own] if (name in OURS or options.detectors) and own else []
    ladder = ["--ladder", options.ladder] if options.ladder else []
    tuning = ["--seeds", options.seeds, "--strategies", options.strategies]
    if options.tuned is not None and name not in options.tuned.split(","):
        tuning = ["--no-finetune"]
    elif options.perturb:
        tuning += ["--perturb", options.perturb, "--levels", options.levels]
    command(
        "--detector", path, "--fakes", options.good, *base, *ladder, "-o", output, "--frames-per-clip", options.frames,
        *tuning,
    )  # fmt: skip
    results = json.loads((output / "results.json").read_text())
    return {
        "conditions": {key: pick(part) | {"n": part["n"]} for key, part in results["conditions"].items()},
        "changes": {key: pick(part) for key, part in results["changes"].items()},
        "strategies": [
            {
                "name": row["name"],
                "after": pick(row["conditions"]["after"]),
                "changes": {key: pick(part) for key, part in row["changes"].items()},
                "p": row["p"],
                "by_seed": row["by_seed"],
            }
            for row in results["strategies"]
        ],
        "ladder": [
            {"stage": row["stage"], **{key: row[key] and pick(row[key]) for key in ("before", "after", "step")}}
            for row in results["ladder"]
        ],
        "robustness": [
            {key: row[key] for key in ("name", "label", "level", "phase", "n")} | {"auc": row["video"].get("auc")}
            for row in (results.get("robustness") or {}).get("rows", ())
        ],
        "audit": results["audit"]["warnings"],
        "warnings": results["warnings"],
        "left_out": len(results["excluded"]),
    }


def pick(part: dict[str, Any]) -> dict[str, Any]:
    """The figures by video that the table shows."""
    return {metric: part["video"][metric] for metric in METRICS}


def main() -> None:
    """Run everything and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, help="needed unless --detectors are given")
    parser.add_argument(
        "--detectors", nargs="+", metavar="NAME=FILE",
        help="instead of the MesoNet authors' and ours: such as know --base, and nobody in --good",
    )  # fmt: skip
    parser.add_argument("--good", type=Path, required=True)
    parser.add_argument("--ladder", type=Path)
    parser.add_argument("--base", type=Path, help="crude fakes of the good ones' people, without --ladder")
    parser.add_argument("--perturb", help="perturbations, as for stress-test")
    parser.add_argument("--levels", default="1,3,5", help="of the perturbations")
    parser.add_argument("--mesonet", type=Path)
    parser.add_argument("--external", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=20, help="of our detectors' first training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--strategies", default="all,all+replay,last-3,last")
    parser.add_argument("--tuned", help="only these detectors are fine-tuned (names by comma); default all")
    parser.add_argument("--frames", type=int, default=16, help="looked at in each clip")
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    if options.train is None and not options.detectors:
        parser.error("--train or --detectors is needed")
    started = time.monotonic()
    found = detectors(options)
    result: dict[str, Any] = {"benchmark": "harness", "seeds": options.seeds, "frames": options.frames}
    result["good"] = {name: experiment(name, path, options) for name, path in found.items()}
    if options.external:
        output = options.work / "external"
        names = ",".join(f"{name}={path}" for name, path in found.items())
        command(
            "matrix", "--detectors", names, "--datasets", options.external, "-o", output,
            "--frames-per-clip", options.frames,
        )  # fmt: skip
        cells = json.loads((output / "matrix.json").read_text())["cells"]
        result["external"] = {
            cell["detector"]: {"n": cell["n"], **pick(cell["before"]), "suspect": cell["suspect"]} for cell in cells
        }
    result |= {"seconds": round(time.monotonic() - started, 1), "machine": common.machine()}
    common.finish(result, options.out)


if __name__ == "__main__":
    main()
