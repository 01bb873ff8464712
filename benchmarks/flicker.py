"""How much more does a swapped face flicker than the untouched one, its motion taken out?

    python benchmarks/flicker.py --clips A.mp4 B.mp4 ... [--models RUN.model ...] --work DIR [-o FILE]   composed afresh
    python benchmarks/flicker.py [--people 8] --work DIR [-o FILE]                                     virtual actors
    python benchmarks/flicker.py --pair FAKE.mp4 REAL.mp4 --work DIR [-o FILE]                         finished videos

Each frame is bent onto the next by a thin-plate spline through the untouched video's landmarks, the same for both
videos, and what still differs inside the face is squared and averaged: the energy of the difference. The figure is the
fake's energy over the untouched video's, 1 for no more flicker. Two bands are given besides: `coarse`, after a blur of
2 % of the face, is what flickering colours and light would show in, `fine` is noise and detail. Composed afresh, the
face to blend is one that hardly moves by itself (swap_material.py: `own` and `warped`), so it is the blending that is
measured; with ``--models`` or ``--pair`` the generator's own flicker counts too.

It differs from ``faceswap_hq.quality``'s flicker in three ways: expressions and turns of the head are taken out too
rather than the alignment's similarity alone, which leaves talking to outweigh flicker; the face keeps its own
resolution (64 px there), so noise counts; and it is an energy, the square of what is given there.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import common
import cv2
import numpy as np
import seam
import swap_material
from swap_material import Faces, Footage

import blending
from blending.settings import settings_to_dict
from faceswap_hq import media
from faceswap_hq.quality.picture import face_mask

GOAL = 1.15
BANDS = ("all", "coarse", "fine")
_WIDE = 1.25  # of the outline's box, worked in
_COARSE = 0.02


def energies(images: list[np.ndarray], target: Footage) -> np.ndarray:
    """Energy of the motion-compensated difference of each two neighbouring frames of a run.

    Args:
        images: uint8 (H, W, 3) RGB, one for each frame of ``target``.
        target: The untouched footage, whose landmarks say how the face moved.

    Returns:
        (pairs, 3) in squared gray levels: all, coarse, fine.
    """
    return np.array([
        _energy(images[k - 1], images[k], target.landmarks[k - 1], target.landmarks[k])
        for k in range(1, len(images)) if not target.starts[k]
    ]).reshape(-1, len(BANDS))  # fmt: skip


def _energy(before: np.ndarray, now: np.ndarray, points: np.ndarray, after: np.ndarray) -> list[float]:
    low, high = after[:, :2].min(0), after[:, :2].max(0)
    margin = (_WIDE - 1) / 2 * (high - low)
    left, top = np.maximum(low - margin, 0).astype(int)
    right, bottom = np.minimum(high + margin, now.shape[1::-1]).astype(int)
    side = max(right - left, bottom - top)
    corner = np.array([left, top], np.float32)
    anchors = swap_material.ANCHORS
    lookup = swap_material.bend(after[anchors, :2] - corner, points[anchors, :2], int(side))
    moved = cv2.remap(before, lookup, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    moved = moved[: bottom - top, : right - left]
    still = now[top:bottom, left:right].astype(np.float32)
    inside = face_mask(after - np.array([*corner, *[0] * (after.shape[1] - 2)], np.float32), still.shape, 0.97) > 0.5
    difference = moved - still
    smooth = cv2.GaussianBlur(difference, (0, 0), max(0.5, _COARSE * float(high[1] - low[1])))
    return [float(np.square(part[inside]).mean()) for part in (difference, smooth, difference - smooth)]


def ratios(fake: list[np.ndarray], target: Footage, real: np.ndarray) -> dict[str, float]:
    """Energy over the untouched video's, by band."""
    mine = energies(fake, target).mean(0)
    return {band: float(a / b) for band, a, b in zip(BANDS, mine, real.mean(0), strict=True)}


def summarized(rows: list[dict[str, Any]], resamples: int, seed: int = 0) -> dict[str, Any]:
    """Geometric means over targets (each the mean of its makers), with 95 % intervals over targets, and the worst."""
    targets = sorted({row["target"] for row in rows})
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(targets), size=(resamples, len(targets)))
    out: dict[str, Any] = {"targets": len(targets), "makers": len(rows)}
    for column in seam.COLUMNS:
        for band in BANDS:
            logs = np.array([np.mean([np.log(r[column][band]) for r in rows if r["target"] == t]) for t in targets])
            low, high = np.percentile(logs[drawn].mean(1), [2.5, 97.5])
            worst = max(rows, key=lambda r: r[column][band])
            out.setdefault(column, {})[band] = {
                "mean": round(float(np.exp(logs.mean())), 3), "low": round(float(np.exp(low)), 3),
                "high": round(float(np.exp(high)), 3), "worst": round(worst[column][band], 3),
                "worst_is": f"{worst['kind']} {worst['source']} onto {worst['target']}",
            }  # fmt: skip
    return out


def composed(footage: dict[str, Footage], made: list[Faces], ladder: dict[str, Any], resamples: int) -> list[dict]:
    """Every step of the ladder on every maker, before and after encoding."""
    coded = {name: swap_material.encoded(list(one.images), one.fps) for name, one in footage.items()}
    real = {
        name: dict(zip(seam.COLUMNS, (energies(list(one.images), one), energies(coded[name], one)), strict=True))
        for name, one in footage.items()
    }
    out = []
    for name, settings in ladder.items():
        rows = []
        for faces in made:
            target = footage[faces.target]
            images = [result.image for result in swap_material.blended(target, faces, settings)]
            row: dict[str, Any] = {"target": faces.target, "source": faces.source, "kind": faces.kind}
            for column, fake in zip(seam.COLUMNS, (images, swap_material.encoded(images, target.fps)), strict=True):
                row[column] = ratios(fake, target, real[faces.target][column])
            rows.append(row)
        found = summarized(rows, resamples)
        print(f"  {name}: {found[seam.COLUMNS[0]]['all']} {found[seam.COLUMNS[1]]['all']}", file=sys.stderr, flush=True)
        kinds = {
            kind: summarized([row for row in rows if row["kind"] == kind], resamples)
            for kind in sorted({row["kind"] for row in rows})
        }
        out.append({"name": name, "settings": settings_to_dict(settings), **found, "kinds": kinds})
    return out


def finished(fake: Path, real: Path, runs: int, length: int, work: Path) -> dict[str, float]:
    """Energy ratio of a finished video and the clip it was made from; their frames pair in order."""
    target = swap_material.clip(real, runs, length, work)
    indices = target.numbers
    corner, (height, width) = target.corner, target.images.shape[1:3]
    frames = [frame.image for frame in media.read_frames(fake, indices=list(indices))]
    cut = [image[corner[1] : corner[1] + height, corner[0] : corner[0] + width] for image in frames]
    return ratios(cut, target, energies(list(target.images), target))


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, nargs="+", default=[])
    parser.add_argument("--models", type=Path, nargs="+", default=[])
    parser.add_argument("--pair", type=Path, nargs=2, action="append", default=[], metavar=("FAKE", "REAL"))
    parser.add_argument("--people", type=int, default=8, help="virtual actors")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--length", type=int, default=12)
    parser.add_argument("--presets", nargs="*", default=list(blending.PRESETS), choices=list(blending.PRESETS))
    parser.add_argument("--settings", type=Path, nargs="+", default=[], help="blending settings, YAML")
    parser.add_argument("--variant", action="append", default=[], metavar="NAME: KEY=VALUE ...")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--quick", action="store_true", help="8 people, one run of 6 frames each")
    parser.add_argument("--work", type=Path, required=True, help="rendered actors and landmarks are kept here")
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.people, options.runs, options.length = 8, 1, 6
    if options.work.resolve().is_relative_to(common.REPOSITORY):
        parser.error("--work must lie outside this repository")
    options.work.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    started = time.perf_counter()
    result: dict[str, Any] = {"benchmark": "flicker", "goal": {"best": GOAL}}
    if options.pair:
        result["pairs"] = [
            {"fake": fake.stem, "real": real.stem, **finished(fake, real, options.runs, options.length, options.work)}
            for fake, real in options.pair
        ]
    else:
        footage, made, _ = seam.material(options)
        # one `own` and one `warped` or `drawn` for each, and everything by models
        chosen = list({(m.kind, m.target, m.source if m.kind == "model" else ""): m for m in made}.values())
        result |= {"footage": "real clips" if options.clips else "virtual actors", "people": len(footage)}
        result["frame_pairs_each"] = {name: int((~one.starts).sum()) for name, one in footage.items()}
        result["rows"] = composed(footage, chosen, seam.ladder_of(options), options.resamples)
    result |= {"seconds": round(time.perf_counter() - started, 1), "machine": common.machine()}
    common.finish(result, options.out)


if __name__ == "__main__":
    main()
