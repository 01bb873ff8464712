"""What each ingredient of a swap is worth on real footage: trained for the same steps, with the same seed.

    python benchmarks/ablation.py --source A --target B --identity ONNX [--steps 620] [--frames 0:200] --work DIR

Every variant is trained (``fast`` preset, float32) and rendered onto the target's frames with ``--retarget`` 1 and 0;
the finished videos are measured with ``faceswap_hq.quality``. ``pasted`` needs no training: real pictures of the source
that look straight ahead are blended in, which is what the blending lets through of a perfect face.
Videos and models of real people stay in ``--work``; only numbers are printed.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common
import numpy as np
import torch

import blending
from faceswap_hq import media, quality, render
from faceswap_hq.extract import extract
from faceswap_hq.faces import alignment, regions
from faceswap_hq.faceset import Faceset, is_faceset, read_faceset
from faceswap_hq.render import RenderSettings, Swapped
from faceswap_hq.training import loop
from faceswap_hq.training.loop import Budget, Trainer
from faceswap_hq.training.run import load_model
from faceswap_hq.training.settings import load_preset

_BATCH = Trainer.batch


def _without_measures(self: Trainer, step: int) -> tuple[torch.Tensor, ...]:
    bent, target, areas, measures = _BATCH(self, step)
    return bent, target, areas, torch.zeros_like(measures)


def trained(variant: str, facesets: list[Faceset], steps: int, seed: int, work: Path) -> Path:
    """The run directory of a variant, trained unless it is there already."""
    run = work / f"{variant}-{steps}-{seed}.model"
    settings = dataclasses.replace(load_preset("fast"), precision="float32", seed=seed)
    if variant == "uniform sampling":
        settings = dataclasses.replace(settings, pose_matching=1.0)
    Trainer.batch = _without_measures if variant == "no measures" else _BATCH  # type: ignore[method-assign,assignment]
    if not (run / "card.json").exists():
        loop.train(run, facesets, settings, Budget(steps=steps), device="cpu")
    return run


def rendered(run: Path, variant: str, clip: Path, frames: tuple[int, int], retarget: float, video: Path) -> None:
    """Swap the frames of a clip, unsigned, for measuring here only; the caller deletes the file."""
    model, card = load_model(run)
    settings = RenderSettings(source=0, target=1, frames=frames, retarget=retarget)
    plan = render.plan(clip, model, card.coverage, settings)
    if variant == "no measures":  # the weights that were never trained must not speak
        torch.nn.init.zeros_(model.opening.expression.weight)
    render.write_video(plan, render.swapped_frames(plan, model, settings), video)


def pasted(
    source: Faceset, run: Path, clip: Path, frames: tuple[int, int], mask: dict[str, float], video: Path
) -> None:
    """Blend real pictures of the source into the clip's frames."""
    model, card = load_model(run)
    plan = render.plan(clip, model, card.coverage, RenderSettings(target=1, frames=frames))
    side = 512
    view = alignment.scaled(np.array([[1, 0, 0], [0, 1, 0]], np.float32), source.size, side, card.coverage)
    rows = sorted(source.rows, key=lambda row: abs(row.yaw) + abs(row.pitch))[:40]
    best = blending.preset("best")
    settings = dataclasses.replace(best, mask=dataclasses.replace(best.mask, **mask))

    def swapped() -> Iterator[Swapped]:
        for frame in media.read_frames(clip, start=frames[0], stop=frames[1]):
            if frame.index not in plan.matrices:
                yield Swapped(frame=frame, image=frame.image, face=None)
                continue
            row = rows[frame.index // 5 % len(rows)]
            face = alignment.warp(source.image(row), view, side).astype(np.float32) / 255
            oval = regions.oval_polygon(alignment.transform(row.landmarks_crop, view))
            area = regions.fill([oval], side, grow=0.02 * side).astype(np.float32) / 255
            matrix = alignment.scaled(plan.matrices[frame.index], model.settings.resolution, side)
            result = blending.compose(
                frame.image, face, area, matrix,
                polygon=plan.polygons[frame.index], cover=plan.brows[frame.index], settings=settings,
            )  # fmt: skip
            yield Swapped(frame=frame, image=result.image, face=face)

    render.write_video(plan, swapped(), video)


def measured(options: argparse.Namespace, video: Path) -> dict[str, Any]:
    """Identity, motion and pose of a finished video, which is then deleted."""
    found = quality.compare_clips(
        options.target, video, options.source, identity_model=quality.IdentityModel(options.identity),
        first=options.frames[0], every=options.every,
    ).to_dict()  # fmt: skip
    video.unlink()
    identity = found["identity"]
    return {
        "n": found["faces_both"],
        "ratio": identity["ratio"],
        "cos_source": identity["source"],
        "cos_target": identity["target"],
        **{key: found[key] for key in ("mouth", "eyes", "pose", "yaw", "pitch", "sharpness", "flicker")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="clip of A")
    parser.add_argument("--target", type=Path, required=True, help="clip of B")
    parser.add_argument("--identity", type=Path, required=True, help="face-recognition network, ONNX")
    parser.add_argument("--steps", type=int, default=620)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--variants", nargs="+", default=["full", "no measures", "uniform sampling", "pasted"])
    parser.add_argument("--frames", default="0:200", help="frames of the target")
    parser.add_argument("--every", type=int, default=4, help="measure every so many frames")
    parser.add_argument("--work", type=Path, required=True, help="outside the repository")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.work.resolve().is_relative_to(common.REPOSITORY):
        parser.error("--work must lie outside this repository: it will hold pictures of real people")
    options.work.mkdir(parents=True, exist_ok=True)
    start, stop = (int(part) for part in options.frames.split(":"))
    options.frames = (start, stop)
    sets = []
    for clip in (options.source, options.target):
        path = options.work / f"{clip.stem}.faceset"
        if not is_faceset(path):
            extract(clip, path)
        sets.append(read_faceset(path))
    video = options.work / "measured.mp4"
    rows = []
    for seed in options.seeds:
        for variant in options.variants:
            run = trained("full" if variant == "pasted" else variant, sets, options.steps, seed, options.work)
            if variant == "pasted":
                for name, mask in (("no reach", {"reach": 0.0}), ("as shipped", {})):
                    pasted(sets[0], run, options.target, options.frames, mask, video)
                    rows.append({"variant": "pasted", "mask": name, "seed": seed, **measured(options, video)})
                continue
            for retarget in (1.0, 0.0):
                rendered(run, variant, options.target, options.frames, retarget, video)
                rows.append({"variant": variant, "retarget": retarget, "seed": seed, **measured(options, video)})
                print(variant, retarget, seed, round(rows[-1]["ratio"], 3), flush=True)
    result = {"benchmark": "ablation", "steps": options.steps, "rows": rows, "machine": common.machine()}
    common.finish(result, options.out)


if __name__ == "__main__":
    main()
