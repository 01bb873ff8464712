"""How fast are clips scored, from their files, against the bare model on tensors that are ready?

    python benchmarks/scoring.py [CLIP.mp4 ...] [--models small_cnn meso4 efficientnet_b4] [--frames 16] [-o FILE]

Without clips, virtual actors are filmed. For each model, in turn and in the same process, frames/s of: the bare network
on tensors that are ready; scoring from the files with nothing cached (decoding, finding faces and cropping in the
background); the same one after the other, all faces cut before the first is scored; and a second run, with the faces
cached. Nothing is taken from a run before but what the cache holds: hashes of files are forgotten each time. A slow
model gets fewer clips (``--seconds``). ``cropping`` is what the background can do alone: where it is below the bare
model, it is the bound. Weights are random (none are downloaded), which takes the same time.

``processor`` is the time that all cores together worked, which a busy machine changes least. Where network and cropping
share the cores, as on a CPU, no overlap can beat ``most_on_shared_cores``, bare / (bare + cropping) of it: a network
that takes less than four times the work of cropping cannot reach the floor there, however well both overlap.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import cv2
import numpy as np

MODELS = (
    "small_cnn", "meso4", "mesoinception4", "shallownet", "resnet50", "legacy_xception", "efficientnet_b0",
    "efficientnet_b4", "efficientnet_b4_dfb", "tf_efficientnet_b7",
)  # fmt: skip
FLOOR = 0.8


def footage(given: list[Path], count: int, work: Path) -> list[Path]:
    """``count`` clips of different content: those given, and copies that differ in a box that no player looks at."""
    if not given:
        from faceswap_hq.actors.clip import make_cast

        make_cast(work / "actors", 4, seconds=4.0, size=480)
        given = sorted((work / "actors").rglob("*.mp4"))
    found = []
    for number in range(count):
        source = given[number % len(given)]
        target = work / f"{number:03d}{source.suffix}"
        spare = struct.pack(">I4sQ", 16, b"free", number) if source.suffix.lower() in (".mp4", ".mov") else b""
        if number >= len(given) and not spare:
            raise SystemExit(f"{source.suffix} clips are not copied: give {count} of them, or --clips {len(given)}")
        target.write_bytes(source.read_bytes() + spare)
        found.append(target)
    return found


@contextlib.contextmanager
def empty_cache(work: Path) -> Any:
    """A cache of its own for what runs inside."""
    before = os.environ.get("FACESWAP_HQ_HOME")
    with tempfile.TemporaryDirectory(dir=work) as home:
        os.environ["FACESWAP_HQ_HOME"] = home
        yield
    if before is None:
        del os.environ["FACESWAP_HQ_HOME"]
    else:
        os.environ["FACESWAP_HQ_HOME"] = before


def rates(
    name: str, clips: list[Any], frames: int, repeats: int, device: str, work: Path, seconds: float
) -> dict[str, Any]:
    """Frames/s of one model, each way; on as many clips as the bare model does in some ``seconds``."""
    import torch

    from stress.data.crops import crop_clips, stream_crops
    from stress.data.frames import hash_of_state
    from stress.detectors import new_detector
    from stress.evaluation.scoring import score, score_videos

    detector = new_detector(name, device=device)
    card = detector.card
    clips = clips[: most_clips(detector, frames, seconds)]
    kept, excluded = crop_clips(clips, card, frames)  # fills the cache of the second run
    if excluded:
        raise SystemExit(f"{excluded[0].clip.path}: {excluded[0].reason}")
    total = sum(len(item.frames) for item in kept)
    ready = [detector.inputs(item.images) for item in kept]
    wait = torch.cuda.synchronize if detector.device.type == "cuda" else lambda: None

    processor: dict[str, list[float]] = {}

    def clocked(way: str, work_on: Callable[[], object]) -> float:
        hash_of_state.cache_clear()  # a run of its own would not know them
        started, before = time.perf_counter(), time.process_time()
        work_on()
        wait()
        processor.setdefault(way, []).append(1000 * (time.process_time() - before) / total)
        return total / (time.perf_counter() - started)

    @torch.inference_mode()
    def bare() -> None:
        for batch in ready:
            detector.fake_logit(batch)

    def files() -> float:
        with empty_cache(work):
            return clocked("files", lambda: score_videos(detector, clips, frames_per_clip=frames))

    def in_turn() -> float:
        with empty_cache(work):
            return clocked("in turn", lambda: score(detector, crop_clips(clips, card, frames)[0]))

    def cropping() -> float:
        with empty_cache(work):
            return clocked("cropping", lambda: list(stream_crops(clips, card, frames)))

    ways: dict[str, Callable[[], float]] = {
        "bare": lambda: clocked("bare", bare),
        "files": files,
        "in turn": in_turn,
        "cropping": cropping,
        "cached": lambda: clocked("cached", lambda: score_videos(detector, clips, frames_per_clip=frames)),
    }
    print(f"{name}, {card.input_size} px, {total} faces", flush=True)
    found = common.interleaved(ways, repeats)
    values = {way: series.values for way, series in found.items()}
    processor = {way: spent[1:] for way, spent in processor.items()}  # without the warm-up
    alone, cut = (float(np.median(processor[way])) for way in ("bare", "cropping"))
    slower = [min(pair) for pair in zip(values["bare"], values["cropping"], strict=True)]
    return {
        "model": name,
        "device": detector.device.type,
        "input_size": card.input_size,
        "clips": len(clips),
        "faces": total,
        "parameters": sum(value.numel() for value in detector.module.parameters()),
        "rates": [series.summary(way, "frames/s") for way, series in found.items()],
        "processor": [common.summary(way, "ms of all cores a frame", spent) for way, spent in processor.items()],
        "files_over_bare": common.ratios(values["files"], values["bare"], "from files / bare model"),
        "most_on_shared_cores": round(alone / (alone + cut), 3) if detector.device.type == "cpu" else None,
        "cached_over_bare": common.ratios(values["cached"], values["bare"], "cached / bare model"),
        "files_over_slower": common.ratios(values["files"], slower, "from files / slower of bare model and cropping"),
        "overlap_gain": common.ratios(values["files"], values["in turn"], "from files / one after the other"),
        "bound": "cropping" if np.median(values["cropping"]) < np.median(values["bare"]) else "model",
    }


def most_clips(detector: Any, frames: int, seconds: float) -> int:
    """How many clips the bare model does in about so many seconds, at least two."""
    images = np.zeros((frames, detector.card.input_size, detector.card.input_size, 3), np.uint8)
    detector.fake_probability(images[:1])
    started = time.perf_counter()
    detector.fake_probability(images)
    return max(2, int(seconds / (time.perf_counter() - started)))


def stages(paths: list[Path], frames: int, size: int, work: Path) -> dict[str, float]:
    """Milliseconds of processor time a wanted frame of each step of cropping, one clip at a time."""
    from faceswap_hq.faces.landmarks import open_backend
    from faceswap_hq.files import sha256_file
    from stress.api import FaceCrop
    from stress.data.crop_cache import Cut, read_cache, write_cache
    from stress.data.crops import sample_frames
    from stress.data.faces import crop_face_and_points

    steps = ("hash", "decode", "find face", "crop", "write cache", "read cache")
    backend, spent = open_backend(static=True), dict.fromkeys(steps, 0.0)

    def clocked(step: str, work_on: Callable[..., Any], *given: Any) -> Any:
        started = time.process_time()
        result = work_on(*given)
        spent[step] += time.process_time() - started
        return result

    backend.detect(np.zeros((64, 64, 3), np.uint8))
    for path in paths:
        clocked("hash", sha256_file, path)
        pictures = clocked("decode", lambda path: list(sample_frames(path, frames, threads=1)), path)
        faces = [(image, clocked("find face", backend.detect, image)[:1]) for _, image in pictures]
        cut = [
            clocked("crop", crop_face_and_points, image, face, FaceCrop(input_size=size))
            for image, found in faces
            for face in found
        ]
        images, points = (np.stack(values) for values in zip(*cut, strict=True))
        whole = Cut(frames=np.arange(len(cut)), images=images, landmarks=points, missed=0, several=0)
        clocked("write cache", write_cache, work / f"{path.stem}.npz", whole)
        clocked("read cache", read_cache, work / f"{path.stem}.npz", size)
    backend.close()
    return {step: round(1000 * seconds / (len(paths) * frames), 2) for step, seconds in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path, nargs="*", help="clips with a face; virtual actors otherwise")
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="names of the zoo, or of timm")
    parser.add_argument("--clips", type=int, default=32, help="most clips scored; those given are repeated")
    parser.add_argument("--seconds", type=float, default=20, help="fewer clips where the bare model takes longer")
    parser.add_argument("--frames", type=int, default=16, help="a clip")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    from throughput import clip_facts

    from faceswap_hq import files
    from stress.data.layouts import Clip

    with tempfile.TemporaryDirectory(prefix="faceswap-hq-bench-") as folder, empty_cache(Path(folder)):
        work = Path(folder)
        paths = footage(options.clip, options.clips, work)
        clips = [
            Clip(id=name, path=path, label=0, people=(name,), source_clip=name, method="real", dataset="x")
            for name, path in ((path.stem, path) for path in paths)
        ]
        models = []
        for name in options.models:
            models.append(rates(name, clips, options.frames, options.repeats, options.device, work, options.seconds))
            if options.out is not None:  # minutes each: what is there is kept
                files.write_json(options.out, {"benchmark": "scoring", "models": models, "note": "not at its end"})
        sizes = sorted({model["input_size"] for model in models})
        result = {
            "benchmark": "scoring",
            "footage": "real clips" if options.clip else "virtual actors",
            "clips": [clip_facts(path) | {"name": f"clip {i}"} for i, path in enumerate(paths[:8])],
            "frames_a_clip": options.frames,
            "processor_ms_a_frame": {f"{size} px": stages(paths[:8], options.frames, size, work) for size in sizes},
            "opencv_threads": cv2.getNumThreads(),
            "models": models,
            "floor": FLOOR,
            "note": "files and cropping run with nothing cached, and open the face finder anew each time.",
        }
    common.finish(result | {"machine": common.machine()}, options.out)


if __name__ == "__main__":
    main()
