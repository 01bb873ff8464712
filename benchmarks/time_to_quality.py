"""How much sooner does today's ``train`` reach what an earlier commit's reached?

    python benchmarks/time_to_quality.py --before d1c5270 --src A.mp4 --dst B.mp4 --work DIR [--held-out C.mp4]

The earlier code is checked out beside and trains for ``--minutes`` of wall-clock time; today's trains for ``--share``
of that, on the same clips, right before it on the same machine. Both then render B (or the held-out clip of B) with
``--blend none``, so that blending, which has changed as well, takes no part, and the same instruments, today's, measure
both videos. Trainings that are in ``--work`` already are taken as they are. Pictures of real people stay in ``--work``;
only numbers are printed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import common

from faceswap_hq import quality


def today() -> str:
    """The commit that lies here."""
    command = ["git", "-C", str(common.REPOSITORY), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def checked_out(commit: str, work: Path) -> Path:
    """A folder with the code of a commit."""
    folder = work / f"code-{commit}"
    if not folder.is_dir():
        folder.mkdir()
        packed = subprocess.run(
            ["git", "-C", str(common.REPOSITORY), "archive", commit], check=True, stdout=subprocess.PIPE
        ).stdout
        subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True)
    return folder


def run(code: Path, log: Path, *arguments: str | Path) -> None:
    """Run ``faceswap-hq`` of a folder with code."""
    line = [sys.executable, "-m", "faceswap_hq", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(code)}
    with log.open("ab") as stream:
        ended = subprocess.run(line, cwd=code, env=environment, stdout=stream, stderr=subprocess.STDOUT).returncode
    if ended:
        raise SystemExit(f"faceswap-hq {arguments[0]} ended with {ended}:\n{log.read_text(errors='replace')[-2000:]}")


def measured(name: str, code: Path, minutes: float, options: argparse.Namespace, instrument: Any) -> dict[str, Any]:
    """Train, render and measure with one version of the code."""
    target = options.held_out or options.dst
    what = f"{name}_{options.preset}_{minutes:.4g}min_{options.src.stem}_{options.dst.stem}"
    model, log = options.work / f"{what}.model", options.work / f"{what}.log"
    video = options.work / f"{what}_{target.stem}.mp4"
    if not video.exists():
        clips = ("--src", options.src, "--dst", options.dst)
        run(code, log, "train", *clips, "--model", model, "--preset", options.preset, "--minutes", f"{minutes:g}")
        run(code, log, "render", target, "--model", model, "-o", video, "--blend", "none")
    found = quality.compare_clips(target, video, options.src, identity_model=instrument, every=options.every)
    steps = max(int(line.split('"step": ')[1].split(",")[0]) for line in (model / "log.jsonl").read_text().splitlines())
    return {"code": name, "minutes": round(minutes, 2), "steps": steps, "quality": found.to_dict()}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, metavar="COMMIT", help="the earlier code")
    parser.add_argument("--src", type=Path, required=True)
    parser.add_argument("--dst", type=Path, required=True)
    parser.add_argument("--held-out", type=Path, help="another clip of dst's person, to be rendered and measured")
    parser.add_argument("--work", type=Path, required=True, help="outside the repository")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--minutes", type=float, default=20, help="of the earlier code's training")
    parser.add_argument("--share", type=float, default=1 / 3, help="of that, for today's")
    parser.add_argument("--identity", type=Path, help="face-recognition network, ONNX")
    parser.add_argument("--every", type=int, default=2, help="measure every so many frames")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.work = options.work.resolve()
    if options.work.is_relative_to(common.REPOSITORY):
        parser.error("--work must lie outside this repository")
    options.work.mkdir(parents=True, exist_ok=True)
    for key in ("src", "dst", "held_out"):
        if getattr(options, key):
            setattr(options, key, getattr(options, key).resolve())
    instrument = quality.IdentityModel(options.identity) if options.identity else None
    rows = [
        measured(today(), common.REPOSITORY, options.share * options.minutes, options, instrument),
        measured(options.before, checked_out(options.before, options.work), options.minutes, options, instrument),
    ]
    result = {"benchmark": "time to quality", "src": options.src.stem, "dst": (options.held_out or options.dst).stem,
              "preset": options.preset, "machine": common.machine(), "rows": rows}  # fmt: skip
    common.finish(result, options.out)


if __name__ == "__main__":
    main()
