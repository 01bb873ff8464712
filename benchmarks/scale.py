"""What a curation of many people and a scan of many clips take: unit costs measured here, everything else multiplied.

    python benchmarks/scale.py [--work DIR] [--preset fast] [--out FILE] [--units FILE]

Measured on clips of virtual actors (480 × 480, 25 frames/s): extraction, training with two and four people, rendering
(fake, matched real, control and masks, blending ``best``), scoring, a detector's crops and forward pass, and the bytes
of everything. Costs are **core seconds**, processor time of all threads, which a machine that is busy otherwise changes
less than wall clock. No GPU is measured. ``--units`` takes the units of an earlier result and only multiplies.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import common

SECONDS, SIZE, PEOPLE = 6.0, 480, 4
RENDERED = 75
"""Frames of the fake that is measured."""
TRAINED = 300
"""Steps of the model that renders it: of one that has learned nothing, masks are specks, and blending takes minutes."""
MINUTES = 1.0
"""Assumed: footage of a person."""
FAKE_SECONDS, RATE = 10.0, 25.0
"""Assumed: length of a fake, and frames a second."""
STEPS = 4000
"""Assumed: training steps of a model, whatever the number of people (docs/results.md measured pairs with as many)."""
FILES = 10
"""Files of a fake: three videos with their credentials, masks, two records and a lock; their links take no inode."""
ADAM = 4
"""Copies of a trained weight in memory: itself, its gradient, Adam's two moments."""


def cores_used(work: Callable[[], Any]) -> tuple[float, Any]:
    """Core seconds that a function takes, child processes included, and what it returns."""

    def now() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    started = now()
    result = work()
    return now() - started, result


def size_of(path: Path) -> int:
    """Bytes of a file or of everything in a folder."""
    return sum(p.stat().st_size for p in ([path] if path.is_file() else path.rglob("*")) if p.is_file())


def measure(work: Path, preset: str, repeats: int) -> Iterator[list[dict[str, float]]]:
    """The unit costs of one run more at a time: what a long measurement has found is never lost."""
    from faceswap_hq import actors
    from faceswap_hq.faceset import read_faceset

    clips = []
    for member in actors.plan_cast(PEOPLE, seconds=SECONDS, seed=3, size=SIZE):
        clips.append(work / f"{member.name}.mp4")
        if not clips[-1].exists():
            actors.render_clip(clips[-1], member.identity, member.performance, member.scene)
    rounds = []
    for number in range(repeats):
        folder = work / f"round-{number}"
        os.environ["FACESWAP_HQ_HOME"] = str(folder / "home")
        found, paths = extraction(clips, folder)
        people = [read_faceset(path) for path in paths]
        print(json.dumps(found), flush=True)
        found |= training(people, preset, folder)
        print(json.dumps(found), flush=True)
        found |= fakes(clips, rendering_model(people, preset, work), folder)
        found |= scanning(clips)
        rounds.append(found)
        print(json.dumps(found), flush=True)
        yield rounds


def median(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Of every unit."""
    return {name: round(statistics.median(found[name] for found in rounds), 6) for name in rounds[0]}


def extraction(clips: list[Path], folder: Path) -> tuple[dict[str, float], list[Path]]:
    """A minute of footage."""
    from faceswap_hq.extract import extract

    minutes = len(clips) * SECONDS / 60
    paths = [folder / f"{clip.stem}.faceset" for clip in clips]
    used, _ = cores_used(lambda: [extract(clip, path) for clip, path in zip(clips, paths, strict=True)])
    return {
        "extract_core_s_per_minute": used / minutes,
        "clip_bytes_per_minute": sum(map(size_of, clips)) / minutes,
        "faceset_bytes_per_minute": sum(map(size_of, paths)) / minutes,
        "faceset_files_per_minute": sum(len(list((path / "faces").iterdir())) for path in paths) / minutes,
    }, paths


def training(people: list[Any], preset: str, folder: Path, steps: int = 8, skip: int = 3) -> dict[str, float]:
    """A step with two people and with four: what grows with each of them, and what one takes on disk and in memory."""
    from faceswap_hq.model import SwapAutoencoder
    from faceswap_hq.training.loop import Budget, train
    from faceswap_hq.training.settings import load_preset

    settings = replace(load_preset(preset), precision="float32")
    taken, model, checkpoint, weights = {}, {}, {}, {}
    for count in (2, PEOPLE):
        stamps: list[float] = []
        run = folder / f"model-{count}"
        train(run, people[:count], settings, Budget(steps=steps + skip), device="cpu",
              report=lambda *_, stamps=stamps: stamps.append(time.process_time()))  # fmt: skip
        taken[count] = (stamps[-1] - stamps[skip - 1]) / (len(stamps) - skip)
        model[count] = size_of(run / "model.safetensors")
        checkpoint[count] = size_of(next((run / "checkpoints").iterdir()))
        whole = SwapAutoencoder(settings.model, [f"p{i}" for i in range(count)])
        whole.share(settings.shared)
        weights[count] = sum(4 * value.numel() for value in whole.parameters())
    found: dict[str, float] = {"batch": settings.batch}
    for name, of in (
        ("train_core_s_per_step", taken), ("model_bytes", model), ("checkpoint_bytes", checkpoint),
        ("weight_bytes", weights),
    ):  # fmt: skip
        found[f"{name}_per_person"] = (of[PEOPLE] - of[2]) / (PEOPLE - 2)
        found[name] = of[2] - 2 * found[f"{name}_per_person"]
    return found


def rendering_model(people: list[Any], preset: str, work: Path) -> Path:
    """A model of the first two, trained once."""
    from faceswap_hq.training.loop import Budget, train
    from faceswap_hq.training.settings import load_preset

    run = work / "model"
    train(run, people[:2], replace(load_preset(preset), precision="float32"), Budget(steps=TRAINED), device="cpu")
    return run


def fakes(clips: list[Path], model: Path, folder: Path) -> dict[str, float]:
    """A pair: loading the model, rendering, scoring, and what is written of it."""
    from faceswap_hq import fakes as made
    from faceswap_hq import files, quality
    from faceswap_hq.options import blend_settings
    from faceswap_hq.planning import RenderSettings

    settings = RenderSettings(frames=(0, RENDERED), blend=blend_settings("best"))
    names = [clip.stem for clip in clips]

    def opened(run: Path) -> Any:
        return made.open_swap(run, settings, source=names[0], target=names[1], device="cpu")

    opened(model)  # imports
    load = {count: cores_used(lambda count=count: opened(folder / f"model-{count}"))[0] for count in (2, PEOPLE)}
    swap = opened(model)
    out = folder / "out"
    used, (entry, _) = cores_used(lambda: made.make_pair(clips[1], swap, out, control=True, masks=True))
    scored, measured = cores_used(lambda: quality.compare_clips(out / entry["real"], out / entry["fake"]))
    masks = size_of(out / entry["mask"])
    videos = sum(size_of(out / entry[kind]) for kind in entry["sha256"]) - masks
    listed = {**entry, "quality": measured.to_dict()}
    big = folder / "hashed"
    big.write_bytes(os.urandom(1 << 26))
    hashed, _ = cores_used(lambda: files.sha256_file(big))
    return {
        "load_core_s_per_person": max(0.0, load[PEOPLE] - load[2]) / (PEOPLE - 2),
        "render_core_s_per_frame": used / RENDERED,
        "score_core_s_per_frame": scored / RENDERED,
        "video_bytes_per_frame": videos / RENDERED,
        "mask_bytes_per_frame": masks / RENDERED,
        "sidecar_bytes": float(size_of(out) - videos - masks),
        "entry_bytes": float(len(json.dumps(listed, indent=2))),
        "hash_core_s_per_gib": hashed * 16,
    }


def scanning(clips: list[Path], frames: int = 16) -> dict[str, float]:
    """A clip that detectors are asked about: sixteen crops, and the forward passes of a small and a large network."""
    from faceswap_hq import places
    from stress.data.crops import crop_clips
    from stress.data.layouts import REAL, Clip
    from stress.detectors import new_detector

    found = {}
    for name in ("small_cnn", "efficientnet_b4"):
        detector = new_detector(name, device="cpu")
        asked = [
            Clip(id=c.stem, path=c, label=REAL, people=(c.stem,), source_clip=c.stem, method="drawn", dataset="")
            for c in clips
        ]
        before = size_of(places.cache_dir() / "crops")
        cut, (crops, _) = cores_used(lambda asked=asked, card=detector.card: crop_clips(asked, card, frames))
        used, _ = cores_used(
            lambda crops=crops, detector=detector: [detector.fake_probability(item.images) for item in crops]
        )
        found |= {
            f"{name}_crop_core_s_per_clip": cut / len(clips),
            f"{name}_core_s_per_clip": used / len(clips),
            f"{name}_crop_bytes_per_clip": (size_of(places.cache_dir() / "crops") - before) / len(clips),
        }
    return found


# -- arithmetic -------------------------------------------------------------------------------------------------------


def curation(u: dict[str, float], people: int, group: int) -> dict[str, float]:
    """All ordered pairs within groups, one model a group, one round: core hours, bytes and files.

    Args:
        u: Unit costs.
        people: How many, a multiple of ``group``.
        group: People of a model.
    """
    groups = people // group
    pairs = groups * group * (group - 1)
    frames = FAKE_SECONDS * RATE
    model = u["model_bytes"] + group * u["model_bytes_per_person"]
    checkpoint = u["checkpoint_bytes"] + group * u["checkpoint_bytes_per_person"]
    weights = u["weight_bytes"] + group * u["weight_bytes_per_person"]
    step = u["train_core_s_per_step"] + group * u["train_core_s_per_step_per_person"]
    footage, faces = (people * MINUTES * u[f"{kind}_bytes_per_minute"] for kind in ("clip", "faceset"))
    fake = frames * (u["video_bytes_per_frame"] + u["mask_bytes_per_frame"]) + u["sidecar_bytes"]
    hours = {
        "extraction": people * MINUTES * u["extract_core_s_per_minute"] / 3600,
        "training": groups * STEPS * step / 3600,
        "loading": pairs * group * u["load_core_s_per_person"] / 3600,
        "rendering": pairs * frames * u["render_core_s_per_frame"] / 3600,
        "scoring": pairs * frames * u["score_core_s_per_frame"] / 3600,
        "checksums": pairs * fake / 2**30 * u["hash_core_s_per_gib"] / 3600,
    }
    return {
        "people": people, "group": group, "pairs": pairs, **{f"{name}_core_h": value for name, value in hours.items()},
        "core_h": sum(hours.values()),
        "footage_bytes": footage, "faceset_bytes": faces, "model_bytes": groups * (model + 3 * checkpoint),
        "fake_bytes": pairs * fake, "bytes": footage + faces + groups * (model + 3 * checkpoint) + pairs * fake,
        "read_models_bytes": pairs * model,
        "read_bytes": footage + faces + pairs * (model + footage / people + fake),
        "training_memory_bytes": ADAM * weights,
        "manifest_bytes": pairs * u["entry_bytes"],
        "files": people * MINUTES * u["faceset_files_per_minute"] + FILES * pairs,
    }  # fmt: skip


def scan(u: dict[str, float], clips: int, network: str) -> dict[str, float]:
    """A detector asked about clips: core hours and bytes."""
    crops, network_s = u[f"{network}_crop_core_s_per_clip"], u[f"{network}_core_s_per_clip"]
    return {
        "clips": clips, "crop_core_h": clips * crops / 3600, "network_core_h": clips * network_s / 3600,
        "core_h": clips * (crops + network_s) / 3600,
        "cache_bytes": clips * u[f"{network}_crop_bytes_per_clip"],
        "read_bytes": clips * FAKE_SECONDS / 60 * u["clip_bytes_per_minute"],
    }  # fmt: skip


def multiplied(u: dict[str, float]) -> dict[str, Any]:
    """Every case that docs/scale.md shows."""
    cases = {"10 people": (10, 10), "1 000 people, one model": (1000, 1000), "1 000 people in tens": (1000, 10),
             "1 000 000 people in tens": (10**6, 10)}  # fmt: skip
    return {
        "assumed": {"footage_minutes": MINUTES, "fake_seconds": FAKE_SECONDS, "rate": RATE, "steps": STEPS},
        "curations": {name: curation(u, *case) for name, case in cases.items()},
        "scans": {name: scan(u, 10**6, name) for name in ("small_cnn", "efficientnet_b4")},
    }


def main() -> None:
    """Measure, multiply, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--units", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    if options.units:
        earlier = json.loads(options.units.read_text())
        common.finish({**earlier, **multiplied(earlier["units"])}, options.out)
        return
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        for rounds in measure(work, options.preset, options.repeats):
            units = median(rounds)
            result = {"benchmark": "scale", "preset": options.preset, "repeats": len(rounds), "units": units,
                      **multiplied(units), "runs": rounds, "machine": common.machine()}  # fmt: skip
            common.finish(result, options.out)


if __name__ == "__main__":
    main()
