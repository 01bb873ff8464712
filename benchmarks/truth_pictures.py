"""Strips to look at: the untouched frame, the plain paste, presets, best and worst settings, the exact swap."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import cv2
import numpy as np
import truth_scenes
import truth_settings

from blending import compose


def write(options: argparse.Namespace, chosen: list[tuple[int, int]], names: Sequence[str]) -> None:
    """One PNG for every third pair and headline case, at the frame's own size, and a text that names the columns."""
    known = truth_settings.everything()
    columns = ["none", "classic", "best", *(name for name in names if name not in ("none", "classic", "best"))]
    members = truth_scenes.cast(options.people, options.seconds, options.sides[0])
    options.pictures.mkdir(parents=True, exist_ok=True)
    (options.pictures / "columns.txt").write_text("\n".join(["untouched", *columns, "exact swap"]) + "\n")
    for source, target in chosen[::3]:
        frame = truth_scenes.picks(members[target], options.frames)[-1]
        cell = truth_scenes.cell(members, source, target, frame, options.sides[-1])
        for case in truth_scenes.HEADLINE:
            face, mask, matrix = cell.faces[case]
            strip = [cell.frame]
            for name in columns:
                done = compose(
                    cell.frame, face, mask, matrix, polygon=cell.polygon, cover=cell.brows, settings=known[name]
                )
                strip.append(done.image)
            strip.append(cell.truths["matched"])
            low, high = cell.polygon.min(axis=0).astype(int) - 24, cell.polygon.max(axis=0).astype(int) + 24
            low = np.maximum(low, 0)
            picture = np.hstack([image[low[1] : high[1], low[0] : high[0]] for image in strip])
            path = options.pictures / f"{case.replace(' ', '_')}_{source}_on_{target}.png"
            cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
