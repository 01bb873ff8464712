"""How good are swaps as a function of training time, on footage that training has not seen.

    python benchmarks/swap_quality.py actors  --work DIR [--presets fast] [--minutes 2 5 10] [--seeds 0]
    python benchmarks/swap_quality.py footage --work DIR --pairs A.mp4:B.mp4 ... --identity ONNX [--minutes 30]

``actors``: virtual actors, all trained together (one encoder, a decoder each); every ordered pair is swapped in a
performance held out from training and compared with the exact swap, rendered. ``footage``: ordered pairs of real clips,
one training for two people both ways, on the first part of both clips, measured on the last part of B's; or, where a
third clip is given, on all of A and B, measured on the third. With ``--added C`` a person is then added to every such
model, as ``train --add`` does, and what is measured are swaps of C onto those two.

What is measured is the decoder's raw output, pasted without color transfer, mask refinement or Poisson blending; every
budget is a training of its own, since the learning rate's schedule depends on it. ``--set loss.dssim=0`` changes a
preset's setting; a variant is a name and its changes: ``--variant "no ssim: loss.dssim=0 loss.dssim_coarse=0"``.
Pictures of real people stay in ``--work``; only numbers are printed.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common
import numpy as np
import yaml

import blending
from faceswap_hq import actors, files, media, planning, quality, render
from faceswap_hq.extract import extract
from faceswap_hq.faces import alignment, regions
from faceswap_hq.faces.landmarks import LandmarkBackend
from faceswap_hq.faceset import Faceset, is_faceset, read_faceset
from faceswap_hq.model import SwapAutoencoder
from faceswap_hq.planning import Plan, RenderSettings
from faceswap_hq.quality.compare import Triple
from faceswap_hq.quality.picture import sharpness
from faceswap_hq.sampling import evenly
from faceswap_hq.training import loop
from faceswap_hq.training.loop import Budget
from faceswap_hq.training.run import load_model
from faceswap_hq.training.settings import TrainSettings, from_dict, load_preset, to_dict

MEASURES = ("ratio", "closer", "mouth", "eyes", "pose", "sharpness", "flicker", "ssim", "psnr")


def changed(preset: str, changes: list[str], seed: int) -> TrainSettings:
    """A preset's settings with ``key.key=value`` changes and a seed."""
    values = to_dict(load_preset(preset)) | {"seed": seed}
    for change in changes:
        path, _, value = change.partition("=")
        *tables, key = path.split(".")
        table = values
        for name in tables:
            table = table[name]
        if key not in table:
            raise SystemExit(f"{preset} has no setting {path}")
        table[key] = yaml.safe_load(value)
    return from_dict(TrainSettings, values, "--set")


def trained(
    run: Path, people: list[Faceset], settings: TrainSettings, budget: Budget, base: Path | None = None
) -> dict[str, Any]:
    """Train, or take the run that is there; how long it took, in steps and seconds."""
    started = time.perf_counter()
    result = loop.train(run, people, settings, budget, device="cpu", base=base)
    if result.stopped:
        raise SystemExit("interrupted: the same command goes on from here")
    return {
        "steps": result.progress.step,
        "seconds": round(result.progress.seconds, 1),
        "wall": round(time.perf_counter() - started, 1),
        "faces_per_second": round(result.faces_per_second, 1),
    }


@dataclasses.dataclass
class Case:
    """One ordered pair and what it is measured on."""

    name: str
    run: Path | None
    """Of the trained model; None where that is in memory."""
    source: int
    target: int
    clip: Path
    first: int
    """The clip's first frame that is measured."""
    truth: Path | None
    faceset: Faceset
    """Of the source."""
    looks: np.ndarray | None
    """Embeddings of the source."""


def measured(case: Case, identity: quality.IdentityModel | None, retarget: float | None, every: int) -> dict[str, Any]:
    """Raw swap of a case's frames against the target and the exact swap."""
    if case.run is None:
        raise ValueError(f"{case.name} has no trained run.")
    model, card = load_model(case.run)
    settings = raw(case, retarget)
    plan = planning.plan(case.clip, model, card.coverage, settings)
    own = real_sharpness(case.faceset, model.settings.resolution, card.coverage)
    return measured_by(model, case, plan, settings, own, identity, every)


def raw(case: Case, retarget: float | None = None) -> RenderSettings:
    """The decoder's output pasted as it is."""
    return RenderSettings(
        source=case.source, target=case.target, frames=(case.first, 10**9), retarget=retarget,
        blend=blending.preset("none"),
    )  # fmt: skip


def measured_by(
    model: SwapAutoencoder,
    case: Case,
    plan: Plan,
    settings: RenderSettings,
    own: float,
    identity: quality.IdentityModel | None,
    every: int,
    indices: list[int] | None = None,
    finder: LandmarkBackend | None = None,
) -> dict[str, Any]:
    """:func:`measured` for a model in memory.

    Args:
        model: In evaluation mode.
        case: What is swapped.
        plan: Of the case's clip for this model.
        settings: From :func:`raw`.
        own: :func:`real_sharpness` of the source.
        identity: Face-recognition network.
        every: Measure every so many of the frames that are swapped.
        indices: Swap only these frames of the clip; None for all behind the case's first.
        finder: See :func:`faceswap_hq.quality.compare.compare_frames`.
    """
    part: dict[str, Any] = {"start": case.first} if indices is None else {"indices": indices}
    fine: list[float] = []

    def triples() -> Iterator[Triple]:
        with contextlib.ExitStack() as stack:
            truths: Any = itertools.repeat(None)
            if case.truth is not None:
                truths = stack.enter_context(contextlib.closing(media.read_frames(case.truth, **part)))
            drawn = render.swapped_frames(plan, model, settings, indices=indices)
            swaps = stack.enter_context(contextlib.closing(drawn))
            for swap, truth in zip(swaps, truths, strict=False):
                if swap.face is not None:
                    fine.append(raw_sharpness(swap.face, plan, swap.frame.index))
                yield swap.frame.image, swap.image, truth.image if truth is not None else None

    found = quality.compare_frames(
        triples(), identity_model=identity, source=case.looks, every=every, finder=finder
    )
    return {**row_of(case.name, found), "sharpness": statistics.fmean(fine) / own if fine else None}


def exact(name: str, clip: Path, truth: Path, looks: np.ndarray | None, identity: Any, every: int) -> dict[str, Any]:
    """The exact swap measured as if it were ours: what a perfect one would reach, with these instruments."""
    with contextlib.closing(media.read_frames(clip)) as targets, contextlib.closing(media.read_frames(truth)) as truths:
        pairs = ((a.image, b.image, None) for a, b in zip(targets, truths, strict=True))
        found = quality.compare_frames(pairs, identity_model=identity, source=looks, every=every)
    return row_of(name, found)


def row_of(name: str, found: quality.FakeQuality) -> dict[str, Any]:
    """What the table shows of one swap."""
    return {
        "pair": name,
        "frames": found.faces_both,
        "lost": found.faces_target - found.faces_both,
        "ratio": found.identity and found.identity.ratio,
        "closer": found.identity and found.identity.closer_to_source,
        "mouth": found.mouth and found.mouth.r,
        "eyes": found.eyes and found.eyes.r,
        "pose": found.pose and found.pose.mean,
        "sharpness": None,
        "flicker": found.flicker,
        "ssim": found.ssim and found.ssim.mean,
        "psnr": found.psnr and found.psnr.mean,
    }


def raw_sharpness(face: np.ndarray, plan: Plan, index: int) -> float:
    """Strength of fine detail in the decoder's output, inside the target's outline, at the model's resolution."""
    outline = alignment.transform(plan.polygons[index], plan.matrices[index])
    return sharpness((face * 255).round().astype(np.uint8), inside(outline, len(face)))


def real_sharpness(faceset: Faceset, side: int, coverage: float, most: int = 200) -> float:
    """The same of the source's real crops at the model's resolution."""
    view = alignment.scaled(np.array([[1, 0, 0], [0, 1, 0]], np.float32), faceset.size, side, coverage)
    values = []
    for pick in evenly(len(faceset.rows), most):
        row = faceset.rows[pick]
        outline = regions.oval_polygon(alignment.transform(row.landmarks_crop, view))
        values.append(sharpness(alignment.warp(faceset.image(row), view, side), inside(outline, side)))
    return statistics.fmean(values)


def inside(outline: np.ndarray, side: int) -> np.ndarray:
    """The outline's inside, drawn in to 85 % about its center, float (side, side)."""
    center = outline.mean(axis=0)
    return regions.fill([(center + 0.85 * (outline - center)).astype(np.float32)], side).astype(np.float32) / 255


def faces_of(clip: Path, work: Path) -> Faceset:
    """The clip's faceset, extracted once."""
    path = work / f"{clip.stem}.faceset"
    if not is_faceset(path):
        extract(clip, path)
    return read_faceset(path)


def actor_cases(options: argparse.Namespace) -> tuple[list[Faceset], list[dict[str, Any]]]:
    """Facesets of the actors, and for every ordered pair the held-out clip and its exact swap."""
    work = options.work
    cast = actors.plan_cast(options.actors, seconds=options.seconds, seed=options.cast_seed, size=options.side)
    sets = []
    for member in cast:
        clip = work / f"{member.name}.mp4"
        if not clip.exists():
            actors.render_clip(clip, member.identity, member.performance, member.scene)
        sets.append(faces_of(clip, work))
    cases = []
    for target, source in itertools.product(range(len(cast)), repeat=2):
        a, b = cast[source], cast[target]
        clip, truth = work / f"{b.name}_held_out.mp4", work / f"{a.name}_on_{b.name}.mp4"
        held_out = dataclasses.replace(b.held_out, seconds=options.held_out_seconds)
        if not clip.exists():
            actors.render_clip(clip, b.identity, held_out, b.scene)
        if source == target:
            continue
        if not truth.exists():
            actors.render_clip(truth, b.identity, held_out, b.scene, source=a.identity)
        cases.append({"name": f"{a.name} on {b.name}", "source": source, "target": target, "clip": clip,
                      "truth": truth, "first": 0, "faceset": sets[source]})  # fmt: skip
    return sets, cases


def footage_groups(options: argparse.Namespace) -> list[tuple[str, list[Faceset], list[dict[str, Any]]]]:
    """One training for each two people, and what is to be swapped with it."""
    groups: dict[str, tuple[str, list[Faceset], list[dict[str, Any]]]] = {}
    for pair in options.pairs:
        a, b, *held_out = (Path(part) for part in pair.split(":"))
        share = 1.0 if held_out else options.train_share
        parts = [head_of(faces_of(clip, options.work), share) for clip in sorted((a, b))]
        name = "-".join(faceset.name for faceset, _ in parts) + f"-{share:g}"
        _, sets, cases = groups.setdefault(name, (name, [faceset for faceset, _ in parts], []))
        source, target = (sorted((a, b)).index(clip) for clip in (a, b))
        cases.append({"name": f"{a.stem} on {(held_out or [b])[0].stem}", "source": source, "target": target,
                      "clip": (held_out or [b])[0], "truth": None, "first": 0 if held_out else parts[target][1],
                      "faceset": sets[source]})  # fmt: skip
    return list(groups.values())


def with_added(
    added: Faceset, sets: list[Faceset], cases: list[dict[str, Any]]
) -> tuple[list[Faceset], list[dict[str, Any]]]:
    """The person to be added, and the same cases with that person as the source."""
    onto = {case["target"]: case for case in cases}
    return [added], [
        {**case, "name": f"{added.name} on {case['clip'].stem}", "source": len(sets), "faceset": added}
        for case in onto.values()
    ]


def head_of(faceset: Faceset, share: float) -> tuple[Faceset, int]:
    """The faceset's rows of the first part of its clip, and the first frame behind that part."""
    last = max(row.frame for row in faceset.rows)
    first = round(share * (last + 1))
    return dataclasses.replace(faceset, rows=tuple(row for row in faceset.rows if row.frame < first)), first


def summarized(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean over pairs, with the smallest and the largest."""
    out: dict[str, Any] = {"pairs": len(rows), "frames": sum(row["frames"] for row in rows)}
    for key in MEASURES:
        values = [row[key] for row in rows if row[key] is not None]
        if values:
            out[key] = {"mean": round(statistics.fmean(values), 4), "min": round(min(values), 4),
                        "max": round(max(values), 4)}  # fmt: skip
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("on", choices=["actors", "footage"])
    parser.add_argument("--work", type=Path, required=True, help="outside the repository; kept, so that runs resume")
    parser.add_argument("--presets", nargs="+", default=["fast"])
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings changed in every training")
    parser.add_argument("--variant", action="append", default=[], metavar="NAME: KEY=VALUE ...")
    parser.add_argument("--minutes", type=float, nargs="+", default=[], help="training budgets")
    parser.add_argument("--steps", type=int, nargs="+", default=[], help="budgets in steps, which no load disturbs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--identity", type=Path, help="face-recognition network, ONNX")
    parser.add_argument("--retarget", type=float, help="default: the model's way")
    parser.add_argument("--every", type=int, default=2, help="measure every so many frames")
    parser.add_argument("--actors", type=int, default=4)
    parser.add_argument("--cast-seed", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=16.0, help="length of an actor's training clip")
    parser.add_argument("--held-out-seconds", type=float, default=4.0)
    parser.add_argument("--side", type=int, default=320, help="of the actors' pictures")
    parser.add_argument(
        "--pairs",
        nargs="+",
        default=[],
        metavar="A:B[:C]",
        help="clips, for footage: A onto the last part of B, or onto C, another clip of B",
    )
    parser.add_argument("--added", type=Path, metavar="CLIP", help="of a person added to each finished model")
    parser.add_argument("--train-share", type=float, default=0.7, help="part of each clip that is trained on")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.work.resolve().is_relative_to(common.REPOSITORY):
        parser.error("--work must lie outside this repository")
    if options.added and options.on != "footage":
        parser.error("--added is for footage")
    options.work.mkdir(parents=True, exist_ok=True)
    identity = quality.IdentityModel(options.identity) if options.identity else None
    budgets = [Budget(minutes=m) for m in options.minutes] + [Budget(steps=n) for n in options.steps]
    if not budgets:
        parser.error("give --minutes or --steps")
    groups: list[tuple[str, list[Faceset], list[dict[str, Any]]]] = []
    if options.on == "actors":
        groups.append(("actors", *actor_cases(options)))
    if options.on == "footage":
        groups = footage_groups(options)
    added = head_of(faces_of(options.added, options.work), options.train_share)[0] if options.added else None
    looks: dict[str, np.ndarray] = {}
    if identity is not None:
        for _, sets, _ in groups:
            for faceset in [*sets, *([added] if added is not None else [])]:
                if faceset.name not in looks:
                    looks[faceset.name] = looks_of(faceset, identity)
    variants = [("as shipped", "")] if not options.variant else []
    variants += [(name.strip(), change) for name, _, change in (text.partition(":") for text in options.variant)]
    results: list[dict[str, Any]] = []
    about = {"benchmark": f"swap quality: {options.on}", "retarget": options.retarget, "machine": common.machine()}
    if options.on == "actors":
        rows = [exact(c["name"], c["clip"], c["truth"], looks.get(c["faceset"].name), identity, options.every)
                for c in groups[0][2]]  # fmt: skip
        results.append({"variant": "the exact swap itself", "summary": summarized(rows), "rows": rows})
        print("exact", results[0]["summary"], flush=True)
    for preset, (variant, changes), budget, seed in itertools.product(
        options.presets, variants, budgets, options.seeds
    ):
        settings = changed(preset, [*options.set, *changes.split()], seed)
        rows, runs = [], []
        for group, sets, cases in groups:
            amount = f"{budget.steps}steps" if budget.steps else f"{budget.minutes:g}min"
            run = options.work / f"{group}-{preset}-{variant.replace(' ', '_')}-{amount}-{seed}.model"
            runs.append(trained(run, sets, settings, budget))
            if added is not None:
                base, run = run, run.with_name(f"{run.stem}+{added.name}.model")
                sets, cases = with_added(added, sets, cases)
                runs.append(trained(run, sets, settings, budget, base))
            for case in cases:
                full = Case(run=run, looks=looks.get(case["faceset"].name), **case)
                rows.append(measured(full, identity, options.retarget, options.every))
        results.append({"preset": preset, "variant": variant, "changes": changes.split(), "seed": seed,
                        "minutes": budget.minutes, "steps": budget.steps, "training": runs,
                        "summary": summarized(rows), "rows": rows})  # fmt: skip
        means = {key: value["mean"] for key, value in results[-1]["summary"].items() if isinstance(value, dict)}
        print(preset, variant, budget, seed, means, flush=True)
        if options.out is not None:  # hours of work: what is there is kept
            files.write_json(options.out, {**about, "results": results})
    common.finish({**about, "results": results}, options.out)


def looks_of(faceset: Faceset, identity: quality.IdentityModel, most: int = 200) -> np.ndarray:
    """Embeddings of a faceset's real faces, (N, D)."""
    picks = evenly(len(faceset.rows), most)
    rows = [faceset.rows[pick] for pick in picks]
    return np.array([identity.embed(faceset.image(row), row.landmarks_crop) for row in rows], np.float32)


if __name__ == "__main__":
    main()
