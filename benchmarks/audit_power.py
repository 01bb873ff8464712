"""How often the leakage audit catches planted shortcuts, and how often it raises an alarm where there is none.

    python benchmarks/audit_power.py --out benchmarks/results/audit_power.json

Two kinds of runs:

* videos: small clips of drawn scenes with a drawn head, in pairs of a "fake" (another face) and its real, encoded by
  our own writer. A shortcut is planted in the fakes: a coarser encoder, a 2 px border, another camera (more noise,
  other colour response), another length; or nothing.
* numbers: the probes' tables drawn at random, with what real data have: clips differ far more than the sides do,
  columns go together, some hardly vary, and what a source person brings along is in all fakes of them, what a target
  brings in all fakes on them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from common import finish, machine

from faceswap_hq.media import VideoInfo, VideoWriter
from stress.data.crops import Crops
from stress.data.layouts import Clip
from stress.evaluation.audit import audit
from stress.evaluation.audit.features import FEATURES, feature_rows
from stress.evaluation.audit.measure import Table
from stress.evaluation.audit.pairs import match
from stress.evaluation.audit.probes import run_probes
from stress.evaluation.audit.verdict import LEVEL, decide

SIZE, FRAMES = 112, 8
SHORTCUTS = ("bit rate", "border", "camera", "length")
DESIGNS = {
    "7 couples": ("couples", 14),
    "12 couples": ("couples", 24),
    "all of 6": ("all", 6),
    "ring of 16": ("ring", 16),
}


def swaps(design: str, people: int) -> list[tuple[int, int]]:
    """(source, target) of every fake."""
    return {
        "couples": [(i, i ^ 1) for i in range(people)],
        "ring": [(i, (i + 1) % people) for i in range(people)],
        "all": [(i, j) for i in range(people) for j in range(people) if i != j],
    }[design]


def clip(name: str, who: Sequence[int], path: Path) -> Clip:
    label = len(who) - 1
    people = tuple(f"p{number}" for number in who)
    return Clip(
        id=name, path=path, label=label, people=people, source_clip=people[-1], method="drawn", dataset="drawn"
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ videos


def head(seed: int) -> np.ndarray:
    """Landmarks of a person's head: an ellipse, (64, 2) pixels; every person's sits elsewhere."""
    rng = np.random.default_rng([seed, 1])
    centre, radius = rng.uniform(50, 62, 2), rng.uniform(13, 16, 2)
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return centre + radius * np.stack([np.cos(angle), 1.2 * np.sin(angle)], axis=1)


def scene(target: int, source: int, frames: int, noise: float, rng: np.random.Generator) -> np.ndarray:
    """(frames, SIZE, SIZE, 3) float32: the target's background, moving a little, with the source's face in it."""
    base = np.random.default_rng([target, 2])
    colours = base.uniform(30, 220, (7, 7, 3)).astype(np.float32)
    coarse = cv2.resize(colours, (SIZE + 16,) * 2, interpolation=cv2.INTER_CUBIC)
    fine = cv2.GaussianBlur(base.normal(0, 30, coarse.shape).astype(np.float32), (0, 0), base.uniform(0.8, 2))
    face = np.random.default_rng([source, 3])
    skin = cv2.resize(face.uniform(90, 200, (4, 4, 3)).astype(np.float32), (SIZE,) * 2, interpolation=cv2.INTER_CUBIC)
    mask = np.zeros((SIZE, SIZE), np.float32)
    cv2.fillConvexPoly(mask, head(target).astype(np.int32), 1)
    mask = cv2.GaussianBlur(mask, (0, 0), 1.5)[..., None]
    found = []
    for number in range(frames):
        x, y = (int(8 + 6 * np.sin(0.5 * number + phase)) for phase in (target, 1.7 * target))
        back = (coarse + fine)[y : y + SIZE, x : x + SIZE]
        found.append(back * (1 - mask) + skin * mask + rng.normal(0, noise, back.shape))
    return np.stack(found).astype(np.float32)


def write_pairs(
    folder: Path, shortcut: str | None, *, people: int = 12, seed: int = 0, size_of: float = 1.0
) -> tuple[list[Crops], list[Crops]]:
    """Fakes and reals of couples as videos, the fakes with a shortcut of a given size (1: as in the benchmark)."""
    sides: tuple[list[Crops], list[Crops]] = ([], [])
    rng = np.random.default_rng(seed)
    for source, target in swaps("couples", people):
        who = 1000 * seed + np.array([source, target])
        noise = float(np.random.default_rng([who[1], 4]).uniform(1.5, 4))
        quality = int(np.random.default_rng([who[1], 5]).integers(18, 24))  # clips of a study are not alike
        for label in (1, 0):
            planted = shortcut if label else None
            length = FRAMES + (4 if planted == "length" else 0)
            grain = noise * (1 + 0.5 * size_of) if planted == "camera" else noise
            video = scene(who[1], who[0] if label else who[1], length, grain, rng)
            if planted == "camera":
                video = video * (1 + size_of * np.array([0.06, 0, -0.06], np.float32))
            if planted == "border":
                for side in (np.s_[:, :2], np.s_[:, -2:], np.s_[:, :, :2], np.s_[:, :, -2:]):
                    video[side] *= 1 - size_of
            name = f"{'f' if label else 'r'}{target}"
            path = folder / f"{name}.mp4"
            info = VideoInfo(
                path=path, width=SIZE, height=SIZE, rotation=0, rate=Fraction(25), time_base=Fraction(1, 25),
                frames=None, duration=None, has_audio=False, codec="h264", pixel_format="yuv420p",
            )  # fmt: skip
            crf = quality + round(10 * size_of) * (planted == "bit rate")
            with VideoWriter(path, like=info, crf=crf, threads=1) as writer:
                for pts, picture in enumerate(np.clip(np.round(video), 0, 255).astype(np.uint8)):
                    writer.write(picture, pts)
            face = np.clip(video[::4, 32:80, 32:80], 0, 255).astype(np.uint8)
            crops = Crops(
                clip=clip(name, (source, target) if label else (target,), path),
                frames=np.arange(len(face)) * 4, images=face,
            )  # fmt: skip
            sides[1 - label].append(crops)
    return sides


def finder(people: int, seed: int) -> Any:
    """Finds no face but knows where one may be: the hull of all heads (heads are drawn, no network finds them)."""
    every = np.concatenate([head(1000 * seed + number) for number in range(people)])
    return lambda picture: [every]


def video_run(shortcut: str | None, seed: int, people: int = 16) -> dict[str, Any]:
    """One audit of freshly drawn videos."""
    with tempfile.TemporaryDirectory() as folder:
        fakes, reals = write_pairs(Path(folder), shortcut, people=people, seed=seed)
        return audit(fakes, reals, find_faces=finder(people, seed), seed=seed)


# ----------------------------------------------------------------------------------------------------------- numbers

_COLUMNS = {"codec": 14, "bit_rate": 4, "frame": 15, "outside": 38, "blocks": 15}


def drawn_audit(
    design: str, people: int, seed: int, *, source: float = 0.5, target: float = 0.5, shift: float = 0.0
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of an audit of drawn numbers.

    Clips differ by 3, noise is 1, ``source`` and ``target`` are what those people bring to all their fakes, and
    ``shift`` is added to one column of each probe in every fake.
    """
    rng = np.random.default_rng(seed)
    nowhere = Path("nowhere.mp4")
    reals = [clip(f"r{i}", (i,), nowhere) for i in range(people)]
    fakes = [clip(f"f{i}_{j}", (i, j), nowhere) for i, j in swaps(design, people)]
    pairs = match(fakes, reals)
    who = [[int(person[1:]) for person in item.people] for item in pairs.clips]

    def numbers(columns: int) -> np.ndarray:
        mix = np.eye(columns) + rng.normal(size=(columns, columns)) / np.sqrt(columns)
        of_clip, of_source, of_target = (size * rng.normal(size=(people, columns)) for size in (3, source, target))
        rows = []
        for item in who:
            row = of_clip[item[-1]] + rng.standard_t(5, columns) @ mix
            if len(item) > 1:
                row = row + of_source[item[0]] @ mix + of_target[item[1]] @ mix
                row[0] += shift
            rows.append(row)
        found = np.array(rows)
        found[:, -2] = np.round(found[:, -2] / 6)  # few values
        found[:, -1] = 1.0  # none at all
        return found

    tables = [
        Table(name=name, label=name, labels=[str(k) for k in range(n)], logs=[False] * n, raw=numbers(n))
        for name, n in _COLUMNS.items()
    ]
    probes = run_probes(tables, pairs, level=LEVEL / 12, seed=seed)
    single = numbers(len(FEATURES) + 2)
    facts: list[dict[str, float | str | None]] = [dict(zip(FEATURES, row, strict=False)) for row in single.tolist()]
    features = feature_rows(
        [facts[i] for i in pairs.fakes], [facts[i] for i in range(len(fakes), len(pairs.clips))], least=7
    )
    decide(features, probes, limit=0.8)
    return features, probes


def flagged(rows: Sequence[dict[str, Any]], key: str = "flag") -> list[str]:
    """Names of the rows that have something."""
    return [row["name"] for row in rows if row.get(key)]


def summary(runs: Sequence[tuple[list[str], list[str], bool]]) -> dict[str, Any]:
    """How often something was flagged, by what; how often only something faint was found; how often it was enough."""
    return {
        "n": len(runs),
        "flagged": sum(bool(flags) for flags, _, _ in runs),
        "significant": sum(bool(flags or faint) for flags, faint, _ in runs),
        "enough": sum(enough for *_, enough in runs),
        "by": dict(Counter(name for flags, _, _ in runs for name in flags)),
    }


def _told(features: list[dict[str, Any]], probes: list[dict[str, Any]]) -> tuple[list[str], list[str], bool]:
    rows = [*features, *probes]
    return flagged(rows), flagged(rows, "faint"), all(row["enough"] for row in probes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clean", type=int, default=40, help="runs without a shortcut, of videos and of each design")
    parser.add_argument("--planted", type=int, default=10, help="runs with each shortcut")
    parser.add_argument("--parts", nargs="+", choices=("videos", "numbers"), default=("videos", "numbers"))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    result: dict[str, Any] = {"benchmark": "audit_power", "machine": machine(), "videos": {}, "numbers": {}}
    for shortcut in (*SHORTCUTS, None) if "videos" in arguments.parts else ():
        runs = []
        for seed in range(arguments.planted if shortcut else arguments.clean):
            found = video_run(shortcut, seed)
            runs.append(_told(found["features"], found["probes"]))
            print(shortcut, seed, runs[-1], file=sys.stderr, flush=True)
        result["videos"][shortcut or "none"] = summary(runs) | {"people": 16, "fakes": 16}
    for name, (design, people) in DESIGNS.items() if "numbers" in arguments.parts else ():
        for effect in (0.0, 1.0):
            rows = [
                _told(*drawn_audit(design, people, seed, source=effect, target=effect))
                for seed in range(arguments.clean)
            ]
            result["numbers"][f"{name}, effect of people {effect}"] = summary(rows)
            print(name, effect, summary(rows), file=sys.stderr, flush=True)
    finish(result, arguments.out)


if __name__ == "__main__":
    main()
