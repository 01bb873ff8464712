"""`faceswap-hq demo`: the whole loop on virtual actors, from nothing to a report.

Fourteen actors. Six of them, with crude fakes (plain paste), train a detector; it is stressed with the other eight:
swapped crudely, which is the detector's own kind of data, and swapped well. The eight are swapped in pairs, so that the
stress test can fold them without testing any fake by a detector that was fine-tuned on one of its people.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from blending import PRESETS
from faceswap_hq import fakes, files
from faceswap_hq.actors import make_cast
from faceswap_hq.console import progress, say
from faceswap_hq.errors import UserError
from faceswap_hq.extract import extract
from faceswap_hq.faceset import is_faceset, read_faceset
from faceswap_hq.planning import RenderSettings
from faceswap_hq.training.loop import Budget, train
from faceswap_hq.training.settings import load_preset

DETECTOR_ACTORS, STRESS_ACTORS = 6, 8
SECONDS, SIZE = 4.0, 160
FRAMES = 75
"""Of each clip that are swapped."""
MINUTES = 3.0
_MARK = "demo.json"


def run(output: Path, *, seed: int = 0, minutes: float = MINUTES) -> dict[str, Any]:
    """Run the demo; what is already there from an interrupted run is used again.

    Args:
        output: Directory for everything.
        seed: Of actors, training and folds.
        minutes: Time given to the autoencoder.

    Returns:
        What ``results.json`` holds.

    Raises:
        UserError: If ``output`` holds something else, or another seed's demo.
    """
    started = time.monotonic()
    _begin(output, seed, minutes)
    say("1/6  fourteen virtual actors")
    clips = _actors(output / "actors", seed)
    say("2/6  their faces")
    facesets = [_faceset(clip, output / "facesets") for clip in clips]
    say(f"3/6  one encoder, fourteen decoders: {minutes:g} minutes of training")
    _train(output / "model", facesets, seed, minutes)
    say("4/6  the fakes: crude and good, each beside its matched real")
    half = DETECTOR_ACTORS
    _render(output, "detector-data", _circles(clips[:half], 3), "none", seed)
    _render(output, "crude", _circles(clips[half:], 2), "none", seed)
    _render(output, "good", _circles(clips[half:], 2), "best", seed)
    say("5/6  a detector, trained on crude fakes of six actors")
    detector = output / "detector.safetensors"
    if not detector.exists():
        data = str(output / "detector-data")
        _command(
            "train", "--real", data, "--fake", data, "-o", str(detector), "--minutes", "1.2", "--frames-per-clip", "24",
            "--seed", str(seed),
        )  # fmt: skip
    say("6/6  the stress test: good fakes of eight other actors; their crude fakes are the detector's own kind of data")
    result = output / "stress"
    _command(
        "--detector", str(detector), "--fakes", str(output / "good"), "--base", str(output / "crude"),
        "-o", str(result), "--seed", str(seed), "--quick",
    )  # fmt: skip
    say(f"\nDone in {(time.monotonic() - started) / 60:.1f} minutes. Worth opening:")
    good = sorted((output / "good" / "fakes").glob("*.mp4"))[0]
    for path, what in (
        (result / "report.html", "what the detector did, before and after"),
        (good, "a good swap; `faceswap-hq verify` shows its credentials"),
        (output / "model" / "previews" / "latest.png", "what the autoencoder learned"),
    ):
        say(f"  {path}  ({what})")
    return dict(files.read_json(result / "results.json"))


def _begin(output: Path, seed: int, minutes: float) -> None:
    mark = output / _MARK
    wanted = {"demo": 1, "seed": seed, "minutes": minutes}
    if mark.exists():
        if files.read_json(mark) != wanted:
            raise UserError(f"{output} holds a demo with other settings.", "Choose another directory with -o.")
        return
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output} exists and is not a demo.", "Choose another directory with -o.")
    files.write_json(mark, wanted)


def _actors(folder: Path, seed: int) -> list[Path]:
    count = DETECTOR_ACTORS + STRESS_ACTORS
    clips = sorted(folder.glob("*.mp4"))
    if len(clips) != count:
        make_cast(folder, count=count, seconds=SECONDS, seed=seed, size=SIZE)
        clips = sorted(folder.glob("*.mp4"))
    return clips


def _faceset(clip: Path, folder: Path) -> Path:
    target = folder / f"{clip.stem}.faceset"
    if not is_faceset(target):
        extract(clip, target, progress=lambda text, total: progress(text, total, unit="frames"))
    return target


def _train(run_directory: Path, facesets: list[Path], seed: int, minutes: float) -> None:
    settings = replace(load_preset("tiny"), seed=seed)
    total = round(minutes * 60)
    with progress("training", total, unit="seconds") as advance:
        done = 0

        def report(now: Any, share: float, losses: dict[str, float], speed: float) -> None:
            nonlocal done
            seconds = min(total, int(now.seconds))
            advance(seconds - done, f"step {now.step}  loss {losses['total']:.4f}  {speed:.0f} faces/s")
            done = seconds

        people = [read_faceset(path) for path in facesets]
        result = train(run_directory, people, settings, Budget(minutes=minutes), report=report, say=say)
    if result.stopped:
        say("Stopped and saved. Run the same command again to go on.")
        raise KeyboardInterrupt


def _circles(clips: list[Path], size: int) -> list[tuple[Path, Path]]:
    """(source, target) of every ordered pair within groups of ``size`` neighbours."""
    groups = [clips[i : i + size] for i in range(0, len(clips), size)]
    return [(a, b) for group in groups for a in group for b in group if a != b]


def _render(output: Path, name: str, pairs: list[tuple[Path, Path]], blend: str, seed: int) -> None:
    settings = RenderSettings(blend=PRESETS[blend], seed=seed, frames=(0, FRAMES))
    out = output / name
    known = {(e["source"]["person"], e["target"]["person"]) for e in fakes.Manifest(out).read()}
    with progress(f"{name} fakes", len(pairs), unit="clips") as advance:
        for source, target in pairs:
            if (source.stem, target.stem) not in known:
                swap = fakes.open_swap(output / "model", settings, source=source.stem, target=target.stem)
                fakes.render_pair(target, swap, out)
            advance(1)


def _command(*arguments: str) -> None:
    """Run a stress-test command as a user would, and show it."""
    say(f"$ stress-test {' '.join(arguments)}")
    done = subprocess.run([sys.executable, "-m", "stress", *arguments], check=False)  # noqa: S603 - our own module
    if done.returncode:
        raise UserError(f"stress-test ended with exit code {done.returncode}.", "Its own message stands above.")
