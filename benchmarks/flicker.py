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
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
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
_MARGIN = 0.05  # of the face, worked in around it
_COARSE = 0.02


@dataclass(frozen=True)
class Move:
    """How the face moved from frame ``k - 1`` to frame ``k``."""

    k: int
    box: tuple[int, int, int, int]
    """Left, top, right, bottom of what is looked at in frame ``k``."""
    lookup: np.ndarray
    """float32 (h, w, 2): where in frame ``k - 1`` each of its pixels was."""
    inside: np.ndarray
    """bool (h, w): the face in frame ``k``."""
    blur: float
    """Sigma that parts coarse from fine, pixels."""


def moves(target: Footage) -> list[Move]:
    """What the landmarks of untouched footage say of each two neighboring frames of a run."""
    out = []
    for k in np.flatnonzero(~target.starts):
        before, now = target.landmarks[k - 1], target.landmarks[k]
        low, high = now[:, :2].min(0), now[:, :2].max(0)
        corner = np.maximum(low - _MARGIN * (high - low), 0).astype(int)
        stop = np.minimum(high + _MARGIN * (high - low), target.images.shape[2:0:-1]).astype(int)
        width, height = (int(side) for side in stop - corner)
        anchors = swap_material.ANCHORS
        lookup = swap_material.bend(now[anchors, :2] - corner, before[anchors, :2], max(width, height))
        moved = now - np.array([*corner, 0], np.float32)
        out.append(Move(
            k=int(k), box=(int(corner[0]), int(corner[1]), int(stop[0]), int(stop[1])), lookup=lookup[:height, :width],
            inside=face_mask(moved, (height, width), 0.97) > 0.5, blur=max(0.5, _COARSE * float(high[1] - low[1])),
        ))  # fmt: skip
    return out


def energies(images: Sequence[np.ndarray], found: list[Move]) -> np.ndarray:
    """Energy of the motion-compensated difference of neighboring frames.

    Args:
        images: uint8 (H, W, 3) RGB, one for each frame of the footage.
        found: From :func:`moves`.

    Returns:
        (pairs, 3) in squared gray levels: all, coarse, fine.
    """
    out = []
    for move in found:
        left, top, right, bottom = move.box
        moved = cv2.remap(images[move.k - 1], move.lookup, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        difference = moved.astype(np.float32) - images[move.k][top:bottom, left:right]
        smooth = cv2.GaussianBlur(difference, (0, 0), move.blur)
        parts = (difference, smooth, difference - smooth)
        out.append([float(np.square(part[move.inside]).mean()) for part in parts])
    return np.array(out).reshape(-1, len(BANDS))


def ratios(fake: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """A video's energies (pairs, 3) over the untouched one's, by band."""
    return {band: float(a / b) for band, a, b in zip(BANDS, fake.mean(0), real.mean(0), strict=True)}


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
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ladder}
    for target in footage.values():
        found = moves(target)
        both = list(target.images), swap_material.encoded(list(target.images), target.fps)
        real = [energies(images, found) for images in both]
        for faces, name in itertools.product([m for m in made if m.target == target.name], ladder):
            images = [result.image for result in swap_material.blended(target, faces, ladder[name])]
            row: dict[str, Any] = {"target": faces.target, "source": faces.source, "kind": faces.kind}
            coded = swap_material.encoded(images, target.fps)
            for column, fake, own in zip(seam.COLUMNS, (images, coded), real, strict=True):
                row[column] = ratios(energies(fake, found), own)
            rows[name].append(row)
            print(f"  {name}, {row}", file=sys.stderr, flush=True)
    out = []
    for name, settings in ladder.items():
        kinds = {
            kind: summarized([row for row in rows[name] if row["kind"] == kind], resamples)
            for kind in sorted({row["kind"] for row in rows[name]})
        }
        whole = summarized(rows[name], resamples)
        out.append({"name": name, "settings": settings_to_dict(settings), **whole, "kinds": kinds})
    return out


def finished(fake: Path, real: Path, runs: int, length: int, work: Path) -> dict[str, float]:
    """Energy ratio of a finished video and the clip it was made from; their frames pair in order."""
    target = swap_material.clip(real, runs, length, work)
    (left, top), (height, width) = target.corner, target.images.shape[1:3]
    frames = media.read_frames(fake, indices=target.numbers.tolist())
    cut = [frame.image[top : top + height, left : left + width] for frame in frames]
    found = moves(target)
    return ratios(energies(cut, found), energies(list(target.images), found))


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, nargs="+", default=[])
    parser.add_argument("--models", type=Path, nargs="+", default=[])
    parser.add_argument("--pair", type=Path, nargs=2, action="append", default=[], metavar=("FAKE", "REAL"))
    parser.add_argument("--people", type=int, default=8, help="virtual actors")
    parser.add_argument("--size", type=int, default=320, help="side of the actors' pictures")
    parser.add_argument("--side", type=int, default=128, help="resolution of the faces to blend")
    parser.add_argument("--kinds", nargs="+", default=list(seam.KINDS), choices=[*seam.KINDS, "same"])
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
