"""How fast: extraction against its bare stages, training against a plain loop, rendering from file to file.

    python benchmarks/throughput.py extract --clip CLIP
    python benchmarks/throughput.py train   --clip B --source A
    python benchmarks/throughput.py render  --clip B --source A [--model DIR [--source-person A --target-person B]]

Everything compared is measured in the same run, in turn, at least five times; JSON goes to standard output and
``--out``.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import common
import numpy as np


def decode(clip: Path) -> Iterator[np.ndarray]:
    """Bare decoding: PyAV with frame and slice threads, every frame as an RGB array."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            yield frame.to_ndarray(format="rgb24")


def extraction(clip: Path, repeats: int, work: Path) -> dict[str, Any]:
    """Frames/s of extraction, of decoding alone, and of mediapipe alone on frames in memory."""
    from mediapipe.python.solutions.face_mesh import FaceMesh

    from faceswap_hq.extract import extract

    frames = [np.array(frame) for frame in decode(clip)]
    mesh = FaceMesh(
        static_image_mode=False,
        max_num_faces=1,
        refine_landmarks=True,
        min_detection_confidence=0.5,
        min_tracking_confidence=0.5,
    )
    kept = []

    def ours() -> float:
        # Each stays until the end: where hundreds of files were just deleted, ext4 makes new ones many times slower.
        started = time.perf_counter()
        report = extract(clip, work / f"{len(kept)}.faceset")
        taken = time.perf_counter() - started
        kept.append(report.kept)
        return report.frames / taken

    def decoding() -> float:
        started = time.perf_counter()
        count = sum(1 for _ in decode(clip))
        return count / (time.perf_counter() - started)

    def landmarks() -> float:
        mesh.reset()
        started = time.perf_counter()
        for frame in frames:
            mesh.process(frame)
        return len(frames) / (time.perf_counter() - started)

    found = common.interleaved({"extraction": ours, "decoding": decoding, "mediapipe": landmarks}, repeats)
    mesh.close()
    slower = [min(pair) for pair in zip(found["decoding"].values, found["mediapipe"].values, strict=True)]
    return {
        "clip": clip_facts(clip),
        "faces_kept": sorted(set(kept)),
        "rates": [series.summary(name, "frames/s") for name, series in found.items()],
        "ratio": common.ratios(found["extraction"].values, slower, "extraction / slower bare stage"),
        "note": "Bare MediaPipe copies each frame, as its plain call does; extraction lets it read frames in place.",
        "floor": 0.7,
    }


def clip_facts(clip: Path) -> dict[str, Any]:
    """Size, codec and length of a clip, without its path."""
    from faceswap_hq import media

    info = media.probe(clip)
    size, rate = f"{info.width}x{info.height}", round(float(info.rate), 3)
    return {"name": clip.stem, "size": size, "codec": info.codec, "frames": info.frames, "fps": rate}


def facesets(clips: list[Path], work: Path) -> list[Any]:
    """Facesets of a few hundred faces a person."""
    from faceswap_hq.extract import ExtractSettings, extract
    from faceswap_hq.faceset import read_faceset

    found = []
    for clip in clips:
        path = work / f"{clip.stem}.faceset"
        extract(clip, path, ExtractSettings(every=3))
        found.append(read_faceset(path))
    return found


def training(clip: Path, source: Path, preset: str, steps: int, repeats: int, work: Path) -> dict[str, Any]:
    """Faces/s of our loop and of a plain one: same model, batch, data, augmentation, losses and optimizer."""
    from faceswap_hq.training.loop import Budget, train
    from faceswap_hq.training.settings import load_preset

    settings, people = load_preset(preset), facesets([source, clip], work)
    per_step = settings.batch * len(people)
    done = 0
    run = work / "run"
    precision = []

    def ours() -> float:
        """Wall clock between two steps' reports inside one call of the real ``train``; the first steps don't count."""
        nonlocal done
        stamps: list[float] = []
        skip = 3
        done += steps + skip
        train(
            run, people, settings, Budget(steps=done), device="cpu",
            report=lambda *_: stamps.append(time.perf_counter()), say=precision.append,
        )  # fmt: skip
        return per_step * (len(stamps) - skip) / (stamps[-1] - stamps[skip - 1])

    plain = plain_loop(people, settings)
    next(plain)
    flops = flops_of(lambda: next(plain)) / per_step
    machine = {name: matrix_product_speed(name) for name in ("float32", "bfloat16")}

    def theirs() -> float:
        for _ in range(3):
            next(plain)
        started = time.perf_counter()
        for _ in range(steps):
            next(plain)
        return per_step * steps / (time.perf_counter() - started)

    found = common.interleaved({"ours": ours, "plain": theirs}, repeats)
    return {
        "people": [{"name": person.name, "faces": len(person.rows)} for person in people],
        "preset": preset,
        "resolution": settings.model.resolution,
        "batch": per_step,
        "steps_per_repeat": steps,
        "ours_is": next((line for line in precision if line.startswith("training on")), ""),
        "plain_is": "float32, default memory layout, batch made inline, encoder once a person, default Adam",
        "rates": [series.summary(name, "faces/s") for name, series in found.items()],
        "ratio": common.ratios(found["ours"].values, found["plain"].values, "ours / plain"),
        "floor": 2.0,
        "gflop_a_face": round(flops / 1e9, 3),
        "matrix_product_gflop_s": {name: round(speed / 1e9, 1) for name, speed in machine.items()},
        "share_of_float32_matrix_product": {
            name: round(float(np.median(series.values)) * flops / machine["float32"], 3)
            for name, series in found.items()
        },
    }


def flops_of(step: Callable[[], object]) -> int:
    """Floating point operations of matrix products and convolutions, forward and backward."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def matrix_product_speed(dtype: str, side: int = 2048, tries: int = 10) -> float:
    """Operations/s of the best of a few square matrix products: what no convolution here can be expected to exceed."""
    import torch

    a = torch.randn(side, side).to(getattr(torch, dtype))
    taken = []
    for _ in range(tries):
        started = time.perf_counter()
        a @ a
        taken.append(time.perf_counter() - started)
    return 2 * side**3 / min(taken)


def plain_loop(people: list[Any], settings: Any) -> Iterator[float]:
    """The loop one would write first; every ``next`` is a step."""
    import torch

    from faceswap_hq.model import SwapAutoencoder
    from faceswap_hq.training.augmentation import augment
    from faceswap_hq.training.data import batch_indices, generator, load_person, sampling_weights
    from faceswap_hq.training.losses import reconstruction_loss

    resolution = settings.model.resolution
    data = [load_person(person, resolution, settings.coverage) for person in people]
    weights = sampling_weights(data, settings.pose_matching)
    torch.manual_seed(settings.seed)
    model = SwapAutoencoder(settings.model, [person.name for person in data])
    model.share(settings.shared)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, betas=(0.9, settings.beta2))
    step = 0
    yield math.nan
    while True:
        optimizer.zero_grad()
        loss = torch.zeros(())
        for number, person in enumerate(data):
            picks = batch_indices(weights[number], settings.batch, step, settings.seed, number)
            bent, target, areas, _ = augment(
                person.images[picks], person.weights[picks], resolution, settings.augment, generator(step, number)
            )
            face, mask = model.decode(model.encode(bent, person.measures[picks]), number)
            loss = loss + reconstruction_loss(face, mask, target, areas, settings.loss)["total"] / len(data)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        step += 1
        yield float(loss)


def rendering(
    clip: Path,
    source: Path | None,
    model: Path | None,
    blend: str,
    repeats: int,
    work: Path,
    *,
    source_person: str | None = None,
    target_person: str | None = None,
) -> dict[str, Any]:
    """Frames/s from file to signed file, and where the time goes; who is who a model of several people must be told."""
    from faceswap_hq import fakes
    from faceswap_hq.options import blend_settings
    from faceswap_hq.planning import RenderSettings

    model = model or quick_model(clip, source, work)
    walls: dict[str, list[float]] = {}
    busy: dict[str, list[float]] = {}
    spent: dict[str, float] = {}
    frames = 0

    @contextlib.contextmanager
    def clocked(description: str, total: int | None) -> Iterator[Callable[..., None]]:
        started = time.perf_counter()
        yield lambda n=1, note="": None
        name = "first pass: find faces" if description.startswith("finding") else "second pass: swap, blend, encode"
        spent[name] = time.perf_counter() - started

    swap = fakes.open_swap(
        model, RenderSettings(blend=blend_settings(blend)), source=source_person, target=target_person, device="cpu",
        progress=clocked,
    )  # fmt: skip

    def once() -> float:
        nonlocal frames
        target = work / "rendered.mp4"
        target.unlink(missing_ok=True)
        spent.clear()
        started = time.perf_counter()
        counts = fakes.render_file(clip, swap, target)
        total = time.perf_counter() - started
        spent["probe, hash, sign, move"] = total - sum(spent.values())
        frames = counts.frames
        for name, seconds in spent.items():
            walls.setdefault(name, []).append(100 * seconds / total)
        for name, seconds in counts.seconds.items():
            busy.setdefault(name, []).append(1000 * seconds / counts.frames)
        return counts.frames / total

    rates = common.interleaved({"rendering": once}, repeats)["rendering"]
    return {
        "clip": clip_facts(clip),
        "frames": frames,
        "resolution": swap.card.model.resolution,
        "blend": blend,
        "rate": rates.summary("rendering", "frames/s"),
        "wall": [common.summary(name, "% of the wall clock", values[1:]) for name, values in walls.items()],
        "busy": [common.summary(name, "ms a frame", values[1:]) for name, values in busy.items()],
        "note": "Stages of the second pass run side by side: their busy times don't add up to its wall clock.",
        "floor": 25.0,
    }


def quick_model(clip: Path, source: Path | None, work: Path) -> Path:
    """A ``fast`` model after a few steps: as slow as a good one."""
    from faceswap_hq.training.loop import Budget, train
    from faceswap_hq.training.settings import load_preset

    if source is None:
        raise SystemExit("rendering needs --model, or --source to train a quick one")
    train(work / "quick", facesets([source, clip], work), load_preset("fast"), Budget(steps=10), device="cpu")
    return work / "quick"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["extract", "train", "render"])
    parser.add_argument("--clip", type=Path, required=True, help="the clip extracted, rendered, or trained on as B")
    parser.add_argument("--source", type=Path, help="a clip of person A, for train and render")
    parser.add_argument("--model", type=Path, help="a trained run to render with; default: one of ten steps")
    parser.add_argument("--source-person", help="with --model: whose face, by the name that the model has")
    parser.add_argument("--target-person", help="who is in the clip, likewise")
    parser.add_argument("--preset", default="fast", help="for train")
    parser.add_argument("--blend", default="best", help="for render")
    parser.add_argument("--steps", type=int, default=20, help="training steps a repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faceswap-hq-bench-") as folder:
        work = Path(folder)
        if options.part == "extract":
            result = extraction(options.clip, options.repeats, work)
        elif options.part == "train":
            if options.source is None:
                parser.error("train needs --source")
            result = training(options.clip, options.source, options.preset, options.steps, options.repeats, work)
        else:
            result = rendering(
                options.clip, options.source, options.model, options.blend, options.repeats, work,
                source_person=options.source_person, target_person=options.target_person,
            )  # fmt: skip
    common.finish({"benchmark": f"throughput: {options.part}", **result, "machine": common.machine()}, options.out)


if __name__ == "__main__":
    main()
