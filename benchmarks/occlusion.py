"""Is what covers a face found? Things with exact coverage put in front of faces in videos, found again by rendering.

    python benchmarks/occlusion.py actors --work DIR [--steps 400] [--out FILE.json]
    python benchmarks/occlusion.py footage --model RUN --clip VIDEO --target NAME [--first N] --work DIR

Each clip is written anew with a hand, a strand of hair, glasses or a microphone in front of the face (`occluders.py`),
encoded as H.264 (and removed in the end), and goes the whole way that `render` goes: landmarks are found on the covered
face, the target's own decoder draws it bare, `blending.visibility` compares. Measured in the model's crop, inside the
bare face's outline, frame by frame: intersection over union of what was found (visible below a half) with what is
covered by more than half of a pixel; of untouched clips the share of the face that is wrongly called covered. For
footage give a clip, or the part of one from `--first` on, that the model was not trained on.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import common
import cv2
import numpy as np
import torch
from occluders import KINDS, occluded

from blending import BEST, OcclusionSettings
from faceswap_hq import actors, drawing, media, planning
from faceswap_hq.extract import extract
from faceswap_hq.faces import alignment, regions
from faceswap_hq.faceset import is_faceset, read_faceset
from faceswap_hq.model import SwapAutoencoder
from faceswap_hq.planning import RenderSettings
from faceswap_hq.training import loop
from faceswap_hq.training.run import load_model
from faceswap_hq.training.settings import load_preset


def measured(run: Path, clip: Path, target: str, first: int, work: Path, every: int) -> dict[str, Any]:
    """Intersection over union by kind of thing for one person, and the share wrongly called covered without any.

    Also writes a contact sheet: the covered frame's crop, the bare face expected, what was found, what is true.
    """
    model, card = load_model(run)
    number = model.people.index(target)
    source = next(i for i in range(len(model.people)) if i != number)
    blend = dataclasses.replace(BEST, occlusion=OcclusionSettings())
    settings = RenderSettings(source=source, target=number, frames=(first, 10**9), blend=blend)
    bare = planning.plan(clip, model, card.coverage, settings)
    landmarks = dict(zip(bare.person.frames.tolist(), bare.person.landmarks, strict=True))
    side = model.settings.resolution
    outlines = {
        i: regions.fill([alignment.transform(bare.polygons[i], bare.matrices[i])], side) > 127 for i in bare.matrices
    }
    rows: dict[str, Any] = {}
    sheet: list[np.ndarray] = []
    for kind in (None, *KINDS):
        covered, alphas = clip, {}
        if kind is not None:
            covered = work / f"{clip.stem}_{kind}.mp4"
            alphas = put_in_front(clip, covered, landmarks, kind, bare)
        start = 0 if kind else first
        one = dataclasses.replace(settings, frames=(start, 10**9))
        plan = planning.plan(covered, model, card.coverage, one)
        scores, missed = [], 0
        with contextlib.closing(media.read_frames(plan.info, start=start)) as frames:
            for frame in frames:
                index = frame.index + first - start
                if frame.index % every or index not in outlines:
                    continue
                if frame.index not in plan.matrices:
                    missed += 1
                    continue
                visible, expected, crop = looked(frame, plan, model, one)
                inside = outlines[index]
                found = (visible < 0.5) & inside
                if kind is None:
                    scores.append(found.sum() / inside.sum())
                    continue
                alpha = cv2.warpAffine(alphas[index], plan.matrices[frame.index], (side, side), flags=cv2.INTER_AREA)
                true = (alpha > 0.5) & inside
                scores.append((found & true).sum() / max(1, (found | true).sum()))
                if len(scores) in (5, 15):
                    greys = [np.repeat(x[..., None] * np.uint8(255), 3, 2) for x in (found, true)]
                    sheet.append(np.concatenate([crop, expected, *greys], axis=1))
        if kind is not None:
            covered.unlink()
        mean = statistics.fmean(scores)
        rows[kind or "wrongly covered"] = {"mean": mean, "frames": len(scores), "no face found": missed}
    cv2.imwrite(str(work / f"{clip.stem}_occlusion.png"), cv2.cvtColor(np.concatenate(sheet), cv2.COLOR_RGB2BGR))
    return rows


def looked(
    frame: media.Frame, plan: planning.Plan, model: SwapAutoencoder, settings: RenderSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What rendering finds visible (S, S), the bare face expected, and the crop, uint8 (S, S, 3)."""
    drawn = drawing.draw([frame], plan, model, settings, torch.device("cpu"), defaultdict(float))[frame.index]
    side = model.settings.resolution
    visible = np.ones((side, side), np.float32) if drawn.visible is None else drawn.visible
    measures = torch.from_numpy(plan.bare[frame.index])[None]
    assert settings.target is not None
    crop = alignment.warp(frame.image, plan.matrices[frame.index], side)
    with torch.inference_mode():
        image = torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255
        expected = model(image, measures, settings.target)[0][0].permute(1, 2, 0).numpy()
    return visible, (expected * 255).round().astype(np.uint8), crop


def put_in_front(
    clip: Path, covered: Path, landmarks: dict[int, np.ndarray], kind: str, plan: planning.Plan
) -> dict[int, np.ndarray]:
    """Write the clip's planned frames with something in front of the face; by index what of each pixel is covered."""
    alphas = {}
    with (
        contextlib.closing(media.read_frames(clip, start=plan.start)) as frames,
        media.VideoWriter(covered, like=plan.info, frames=(plan.start, plan.stop)) as writer,
    ):
        for frame in frames:
            image = frame.image
            if frame.index in landmarks:
                image, alphas[frame.index] = occluded(image, landmarks[frame.index], kind, frame.time)
            writer.write(image, frame.pts)
    return alphas


def actor_run(options: argparse.Namespace) -> tuple[Path, list[tuple[str, Path]]]:
    """Train the actors together; the run, and each one's name and held-out clip."""
    cast = actors.plan_cast(options.actors, seconds=options.seconds, seed=11, size=320)
    sets, clips = [], []
    for member in cast:
        clip, faceset, held = (options.work / f"{member.name}{end}" for end in (".mp4", ".faceset", "_held_out.mp4"))
        if not is_faceset(faceset):
            actors.render_clip(clip, member.identity, member.performance, member.scene)
            extract(clip, faceset)
        if not held.exists():
            short = dataclasses.replace(member.held_out, seconds=options.held_out_seconds)
            actors.render_clip(held, member.identity, short, member.scene)
        sets.append(read_faceset(faceset))
        clips.append((member.name, held))
    run = options.work / f"{options.actors}-{options.steps}.model"
    settings = dataclasses.replace(load_preset("fast"), precision="float32")
    if loop.train(run, sets, settings, loop.Budget(steps=options.steps), device="cpu").stopped:
        raise SystemExit("interrupted: the same command goes on from here")
    return run, clips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["actors", "footage"])
    parser.add_argument("--work", type=Path, required=True, help="outside the repository")
    parser.add_argument("--actors", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=16.0)
    parser.add_argument("--held-out-seconds", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--target")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--every", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.what == "actors":
        run, clips = actor_run(options)
        by_clip = {name: measured(run, clip, name, 0, options.work, options.every) for name, clip in clips}
    else:
        if not (options.model and options.clip and options.target):
            parser.error("footage needs --model, --clip and --target")
        name = options.clip.stem
        by_clip = {
            name: measured(options.model, options.clip, options.target, options.first, options.work, options.every)
        }
    summary = {}
    for kind in ("wrongly covered", *KINDS):
        values = [rows[kind]["mean"] for rows in by_clip.values()]
        low, mean, high = min(values), statistics.fmean(values), max(values)
        summary[kind] = {"mean": mean, "min": low, "max": high, "people": len(values)}
        print(f"{kind:16} {mean:.3f} [{low:.3f}, {high:.3f}]", flush=True)
    common.finish(
        {"benchmark": f"occlusion: {options.what}", "machine": common.machine(),
         "settings": dataclasses.asdict(OcclusionSettings()), "every": options.every,
         "steps": options.steps if options.what == "actors" else None, "summary": summary, "by_clip": by_clip},
        options.out,
    )  # fmt: skip


if __name__ == "__main__":
    main()
