"""How well one person's own faces, mixed, can follow another's: without any training, the ceiling of every swap.

    python benchmarks/retargeting.py CLIP_OR_FACESET ... --work DIR [--out FILE.json]

A swap is drawn from a mixture of faces that the source was seen with (`faceswap_hq.faces.expression.mixture`). Here
that mixture is taken of their measures instead of their codes, and compared with what the target does, for every
ordered pair of people: Pearson's r over frames, of openings in the picture (`quality` compares fakes by the same two)
and of shapes in centimetres. With `--pose-regressed` measures are calibrated as they were before: minus what a ridge
regression, fitted to each person, lays to the head's pose.
"""

from __future__ import annotations

import argparse
from itertools import permutations
from pathlib import Path
from typing import Any

import common
import numpy as np

from faceswap_hq.extract import extract
from faceswap_hq.faces import expression, regions
from faceswap_hq.faces.expression import NAMES, POSE, Calibration
from faceswap_hq.faceset import is_faceset, read_faceset
from faceswap_hq.model.autoencoder import MEMORIES

_SHAPES = {
    "mouth width": ("mouth width",),
    "corners of the mouth": ("right corner", "left corner"),
    "brows": tuple(name for name in NAMES if name.endswith("brow")),
    "gaze, sideways": ("right gaze x", "left gaze x"),
    "gaze, up and down": ("right gaze y", "left gaze y"),
}


def regressed(values: np.ndarray) -> np.ndarray:
    """Measures (N, F) minus what a ridge regression lays to yaw and pitch."""
    pose = values[:, :POSE].astype(np.float64) / 15
    middle = np.median(values[:, POSE:], axis=0)
    given = np.concatenate([np.ones((len(pose), 1)), pose], axis=1)
    ridge = np.diag([1e-9, 0.02, 0.02]) * len(pose)
    slopes = np.linalg.solve(given.T @ given + ridge, given.T @ (values[:, POSE:] - middle))
    out = values.astype(np.float64)
    out[:, POSE:] -= pose @ slopes[1:]
    return out


def measures(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Of each face of a faceset: what `expression` measures (N, F), and openings of mouth and eyes (N, 2)."""
    rows = read_faceset(path).rows
    openings = [(regions.mouth_opening(row.landmarks), regions.eye_opening(row.landmarks)) for row in rows]
    return np.stack([expression.measured(row.landmarks) for row in rows]), np.array(openings)


def pair(source: tuple[np.ndarray, ...], target: tuple[np.ndarray, ...], every: int) -> dict[str, float]:
    """Correlations of what the target does with what the source's faces, mixed, would do."""
    seen = np.linspace(0, len(source[0]) - 1, MEMORIES).round().astype(int)
    known = source[2][seen]
    wanted = expression.adapted(target[2], target[2], known)[::every]
    shares = expression.mixture(wanted, known)

    def r(kind: int, columns: list[int]) -> float:
        drawn, done = (x[:, columns].mean(1) for x in (shares @ source[kind][seen], target[kind][::every]))
        return float(np.corrcoef(drawn, done)[0, 1])

    turned = 15 * np.abs(shares @ known[:, :POSE] - wanted[:, :POSE])
    out = {"mouth": r(1, [0]), "eyes": r(1, [1]), "degrees off": float(turned.mean())}
    return out | {key: r(0, [NAMES.index(name) for name in names]) for key, names in _SHAPES.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", help="videos or facesets, one a person, at least two")
    parser.add_argument("--work", type=Path, required=True, help="outside the repository; facesets are kept there")
    parser.add_argument("--every", type=int, default=6, help="every so many faces of a target")
    parser.add_argument("--pose-regressed", action="store_true")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    people: dict[str, tuple[np.ndarray, ...]] = {}
    for clip in arguments.clips:
        path = clip if is_faceset(clip) else arguments.work / f"{clip.stem}.faceset"
        if not is_faceset(path):
            extract(clip, path)
        values, openings = measures(path)
        used = regressed(values) if arguments.pose_regressed else values
        people[clip.stem] = (values, openings, Calibration.fit(used)(used))
    pairs = {f"{a} on {b}": pair(people[a], people[b], arguments.every) for a, b in permutations(people, 2)}
    summary: dict[str, Any] = {}
    for key in next(iter(pairs.values())):
        r = np.array([value[key] for value in pairs.values()])
        tenth, least = float(np.quantile(r, 0.1)), float(r.min())
        summary[key] = {"mean": float(r.mean()), "tenth": tenth, "least": least, "least_at": list(pairs)[r.argmin()]}
        print(f"{key:22} mean {r.mean():.3f}, a tenth below {tenth:.2f}, least {least:.2f}", flush=True)
    common.finish(
        {"people": len(people), "pairs": len(pairs), "pose_regressed": arguments.pose_regressed, "r": summary,
         "by_pair": pairs}, arguments.out
    )  # fmt: skip


if __name__ == "__main__":
    main()
