"""Two seconds blended with the track's filters: does the face flicker more than the exact swap's?"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any

import common
import numpy as np
import truth_scenes

from blending import PRESETS, BlendSettings, BlendState, TemporalSettings, compose
from faceswap_hq.actors import Member, ground_truth_swap, moments
from faceswap_hq.actors.render import render_moment
from faceswap_hq.actors.swap import swapped_cast
from faceswap_hq.faces import alignment, regions
from faceswap_hq.quality import motion
from faceswap_hq.quality.picture import face_mask

PAIRS, SECONDS, ALIGNED = 3, 2.0, 64
GENERATORS = {"steady": 0.0, "flickering": 0.06}
"""The generator's own exposure, stops of standard deviation, new in each frame."""
UNFILTERED = TemporalSettings(color=0, contrast=0, mask=0, detail=0)
WAYS: dict[str, BlendSettings] = {**PRESETS, "best, nothing filtered": replace(PRESETS["best"], temporal=UNFILTERED)}


def measured(options: argparse.Namespace, chosen: list[tuple[int, int]]) -> dict[str, Any]:
    """Flicker of each preset over the exact swap's, and of what is wrong with it, per pair."""
    members = truth_scenes.cast(options.people, options.seconds, options.sides[0])
    frames = 6 if options.quick else None
    used = chosen[:: max(1, len(chosen) // PAIRS)][:PAIRS]
    found: dict[str, dict[str, list[list[float]]]] = {kind: {name: [] for name in WAYS} for kind in GENERATORS}
    for source, target in used:
        for kind, rows in of_pair(members[source], members[target], frames).items():
            for name, row in rows.items():
                found[kind][name].append(row)
        print(f"  flicker: pair {(source, target)}", file=sys.stderr, flush=True)
    return {
        "pairs": used,
        "frames": frames or round(SECONDS * members[0].performance.fps),
        "exposure_stops": GENERATORS,
        **{
            kind: {
                name: {
                    "ratio": common.summary(name, "flicker / the exact swap's", [row[0] for row in rows]),
                    "added": common.summary(name, "grey levels, flicker of the error", [row[1] for row in rows]),
                }
                for name, rows in of_kind.items()
            }
            for kind, of_kind in found.items()
        },
    }


def of_pair(a: Member, b: Member, frames: int | None) -> dict[str, dict[str, list[float]]]:
    """Generator ► way ► [flicker over the exact swap's, flicker of the difference to it]."""
    performance = replace(b.held_out, seconds=SECONDS)
    quiet = replace(b.scene, noise=0.0)
    person = swapped_cast(a.identity, b.identity, False)
    rng = np.random.default_rng([a.identity.seed, b.identity.seed])
    balance, contrast = truth_scenes.white_balance(rng), truth_scenes.contrasted(rng)
    states = {(kind, name): BlendState(way.temporal) for kind in GENERATORS for name, way in WAYS.items()}
    pictures: dict[Any, list[np.ndarray]] = {key: [] for key in [*states, "truth"]}
    masks = []
    for frame, moment in list(enumerate(moments(performance)))[:frames]:
        swap = ground_truth_swap(a.identity, b.identity, performance, b.scene, frame, match_skin=True)
        landmarks = swap.target.landmarks
        matrix = truth_scenes.geometry(landmarks, truth_scenes.COARSE)
        mask = truth_scenes.outline(swap.swapped.landmarks, matrix, truth_scenes.COARSE)
        clean = balance(truth_scenes.drawn(render_moment(person, moment, quiet, frame).image, matrix))
        small = alignment.crop_matrix(landmarks, ALIGNED)
        masks.append(face_mask(alignment.transform(landmarks, small), (ALIGNED, ALIGNED)))
        pictures["truth"].append(alignment.warp(swap.image, small, ALIGNED))
        draw = np.float32(rng.standard_normal())
        for (kind, name), state in states.items():
            light = truth_scenes.linear(clean) * np.float32(2 ** (0.35 + GENERATORS[kind] * draw))
            result = compose(
                swap.target.image, contrast(truth_scenes.encoded(light)), mask, matrix,
                polygon=regions.oval_polygon(landmarks), cover=regions.brow_polygons(landmarks),
                settings=WAYS[name], state=state,
            )  # fmt: skip
            pictures[kind, name].append(alignment.warp(result.image, small, ALIGNED))
    own = changes(pictures["truth"], masks)
    out: dict[str, dict[str, list[float]]] = {kind: {} for kind in GENERATORS}
    for kind, name in states:
        wrong = [p.astype(np.float32) - t for p, t in zip(pictures[kind, name], pictures["truth"], strict=True)]
        out[kind][name] = [changes(pictures[kind, name], masks) / own, changes(wrong, masks)]
    return out


def changes(pictures: list[np.ndarray], masks: list[np.ndarray]) -> float:
    """Mean flicker from each picture to the next."""
    each = zip(pictures[:-1], pictures[1:], masks[1:], strict=True)
    return float(np.mean([motion.flicker(before, now, mask) for before, now, mask in each]))
