"""Do the camera's traces inside the mask match those of the untouched frame? On footage of your own.

    python benchmarks/detail.py CLIP:FACESET [CLIP:FACESET ...] [--runs 4] [--length 12] [-o FILE]

A stand-in for a generator, the target's own face as a crop of 256 pixels, blurred a little, is composed back with the
stages of `detail` switched on one after the other. The untouched frame says what should be there: every figure is the
composed face's value over the untouched face's, 1 being perfect. The same is done with the frames stored as JPEG.
Numbers only; no picture is written.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common
import cv2
import numpy as np

sys.path.insert(0, str(common.REPOSITORY))  # before this folder, where `blending` would be a stranger

from blending import (  # noqa: E402
    BEST,
    BlendSettings,
    BlendState,
    DetailSettings,
    MaskSettings,
    camera,
    compose,
    compression,
    grain,
)
from faceswap_hq import media  # noqa: E402
from faceswap_hq.faces import alignment, regions  # noqa: E402
from faceswap_hq.faceset import FaceRow, read_faceset  # noqa: E402

SIZE = 256
SOFT = 1.0  # sigma of the stand-in generator's blur, crop pixels
WARM_UP = 5  # frames of a run that are not measured
BANDS = {"finest": (0.0, 0.7), "fine": (0.7, 1.4), "middle": (1.4, 2.8)}

OFF = dict.fromkeys(("sharpness", "motion", "noise", "grain", "hold", "compression"), 0)
STAGES: dict[str, dict[str, int]] = {
    "nothing": OFF,
    "sharpness": {**OFF, "sharpness": 1},
    "+ white noise": {**OFF, "sharpness": 1, "noise": 1},
    "+ grain": {**OFF, "sharpness": 1, "noise": 1, "grain": 1},
    "+ hold": {**OFF, "sharpness": 1, "noise": 1, "grain": 1, "hold": 1},
    "+ motion, compression (all)": dict.fromkeys(OFF, 1),
}


def settings(stages: dict[str, int]) -> BlendSettings:
    """The preset best with these stages, the mask being the target's own hull."""
    return dataclasses.replace(BEST, mask=MaskSettings(shape="hull"), detail=DetailSettings(**stages))


def runs_of(rows: dict[int, FaceRow], count: int, length: int) -> list[list[int]]:
    """Up to ``count`` runs of ``length`` frames in a row, spread over the clip."""
    starts = [first for first in rows if all(first + k in rows for k in range(length))]
    chosen = sorted({starts[int(place)] for place in np.linspace(0, len(starts) - 1, count)}) if starts else []
    return [list(range(first, first + length)) for first in chosen]


def frames_of(clip: Path, indices: list[int], quality: int | None) -> Iterator[tuple[int, np.ndarray]]:
    """Index and picture; stored as JPEG of this quality and read again where one is given."""
    with contextlib.closing(media.read_frames(clip, indices=indices)) as frames:
        for frame in frames:
            image = frame.image
            if quality is not None:
                swapped = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
                _, coded = cv2.imencode(".jpg", swapped, [cv2.IMWRITE_JPEG_QUALITY, quality])
                image = cv2.cvtColor(cv2.imdecode(coded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            yield frame.index, image


def bands(grey: np.ndarray, flat: np.ndarray) -> dict[str, float]:
    """Strength of three bands of detail in flat skin: median of the magnitude's smaller three quarters, grey levels."""
    found = {}
    for name, (low, high) in BANDS.items():
        upper = grey if low == 0 else cv2.GaussianBlur(grey, (0, 0), low)
        values = np.sort(np.abs(upper - cv2.GaussianBlur(grey, (0, 0), high))[flat])
        found[name] = float(np.sqrt(np.mean(np.square(values[: values.size * 3 // 4]))))
    return found


def flat_skin(grey: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The half of the face with the weakest slopes."""
    low = cv2.GaussianBlur(grey, (0, 0), 2)
    slope = cv2.Sobel(low, -1, 1, 0) ** 2 + cv2.Sobel(low, -1, 0, 1) ** 2
    return inside & (slope <= np.median(slope[inside]))


def energy(grey: np.ndarray, inside: np.ndarray) -> float:
    """Root mean square of what a blur of two pixels takes away, everywhere in the face: edges and all."""
    return float(np.sqrt(np.mean(np.square(grey - cv2.GaussianBlur(grey, (0, 0), 2))[inside])))


def to_grey(image: np.ndarray) -> np.ndarray:
    """Grey levels, not rounded."""
    return cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY)


def measured(result: np.ndarray, truth: np.ndarray, inside: np.ndarray, corner: tuple[int, int]) -> dict[str, float]:
    """What one composed face shows, relative to the untouched one where it is a ratio."""
    flat = flat_skin(truth, inside > 0)
    ours, theirs = bands(result, flat), bands(truth, flat)
    blocky = [compression.excess(compression.profile(picture, inside, corner)) for picture in (result, truth)]
    return {
        **{band: ours[band] / theirs[band] for band in BANDS},
        "energy": energy(result, inside > 0) / energy(truth, inside > 0),
        "blockiness": blocky[0],
        "blockiness untouched": blocky[1],
        "finest untouched, grey levels": theirs["finest"],
    }


def change(before: np.ndarray, now: np.ndarray, shift: np.ndarray, flat: np.ndarray) -> float:
    """How much fine detail changes from frame to frame, moved along with the face, over the same of the untouched."""
    matrix = np.array([[1, 0, -shift[0]], [0, 1, -shift[1]]], np.float64)
    size = (now.shape[2], now.shape[1])
    how: dict[str, int] = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REPLICATE}
    moved = [cv2.warpAffine(part, matrix, size, **how) for part in before]
    ours, theirs = (float(np.median(np.abs(new - old)[flat])) for new, old in zip(now, moved, strict=True))
    return ours / theirs


def estimates(state: BlendState) -> dict[str, float]:
    """What the blending believes at the end of a run."""
    if state.known is None:
        return {}
    seen = camera.Look.of(state.known)
    fine, coarse = seen.theirs.noise * 255, seen.theirs.coarse * 255
    return {
        "blur_px": seen.theirs.blur,
        "blur_of_the_stand_in_px": seen.ours.blur,
        "noise_fine": fine,
        "noise_coarse": coarse,
        "grain_px": grain.level_and_size(fine, coarse)[1],
        "hold": state.hold,
        "blockiness": compression.excess(seen.blocks),
        "quantization": seen.strength,
        "shutter": seen.shutter,
    }


def one_run(clip: Path, rows: dict[int, FaceRow], size: int, run: list[int], quality: int | None) -> dict[str, Any]:
    """Ratios of every stage for one run of frames, and what was estimated at its end."""
    states = {name: BlendState(BEST.temporal) for name in STAGES}
    found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in STAGES}
    before: dict[str, np.ndarray] = {}
    corner = np.zeros(2)
    for number, (index, frame) in enumerate(frames_of(clip, run, quality)):
        row = rows[index]
        matrix = alignment.scaled(row.matrix, size, SIZE)
        face = alignment.warp(frame, matrix, SIZE).astype(np.float32) / 255
        face = cv2.GaussianBlur(face, (0, 0), SOFT)
        middle_of_face = row.landmarks[:, :2].mean(axis=0)
        for name, stages in STAGES.items():
            result = compose(
                frame, face, None, matrix,
                polygon=regions.oval_polygon(row.landmarks), settings=settings(stages), state=states[name],
            )  # fmt: skip
            if number < WARM_UP:
                continue
            left, top, right, bottom = result.box
            inside = cv2.erode((result.alpha > 0.99).view(np.uint8), np.ones((9, 9), np.uint8))
            pictures = [to_grey(image[top:bottom, left:right]) for image in (result.image, frame)]
            place = np.array([left, top]) - middle_of_face
            values = {**measured(*pictures, inside, (left, top))}
            fine = np.stack([picture - cv2.GaussianBlur(picture, (0, 0), 2) for picture in pictures])
            if name in before:
                values["change"] = change(before[name], fine, place - corner, flat_skin(pictures[1], inside > 0))
            before[name] = fine
            for key, value in values.items():
                found[name][key].append(value)
        corner = place if number >= WARM_UP else corner
    look = estimates(states["+ motion, compression (all)"])
    medians = {name: {key: statistics.median(values) for key, values in part.items()} for name, part in found.items()}
    return {"stages": medians, "estimates": look}


def middle(parts: list[dict[str, float]]) -> dict[str, float]:
    """Median of each value."""
    return {key: round(statistics.median(part[key] for part in parts if key in part), 3) for key in parts[0]}


def main() -> None:
    """Run everything and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", metavar="CLIP:FACESET")
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--length", type=int, default=12)
    parser.add_argument("--jpeg", type=int, nargs="*", default=[50, 25])
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    result: dict[str, Any] = {"benchmark": "detail", "machine": common.machine(), "frames": []}
    for quality in (None, *options.jpeg):
        clips = []
        for pair in options.pairs:
            clip, _, folder = pair.rpartition(":")
            faces = read_faceset(folder)
            rows = {row.frame: row for row in faces.rows}
            chosen = runs_of(rows, options.runs, options.length)
            runs = [one_run(Path(clip), rows, faces.size, run, quality) for run in chosen]
            if not runs:
                continue
            clips.append(
                {
                    "clip": Path(clip).stem,
                    "runs": len(runs),
                    "estimates": middle([run["estimates"] for run in runs]),
                    "stages": {name: middle([run["stages"][name] for run in runs]) for name in STAGES},
                }
            )
            print(f"  {quality} {clips[-1]['clip']} {clips[-1]['estimates']}", file=sys.stderr, flush=True)
        keys = list(clips[0]["stages"]["nothing"])
        result["frames"].append(
            {
                "stored as": "they are" if quality is None else f"JPEG {quality}",
                "over_clips": {
                    name: {
                        key: {
                            kind: round(function([clip["stages"][name][key] for clip in clips]), 3)
                            for kind, function in (("median", statistics.median), ("min", min), ("max", max))
                        }
                        for key in keys
                    }
                    for name in STAGES
                },
                "clips": clips,
            }
        )
    common.finish(result, options.out)


if __name__ == "__main__":
    main()
