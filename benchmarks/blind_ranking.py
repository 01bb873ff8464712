"""Do the automatic scores of a curation agree with eyes? Sheets to be marked blind, then the rank correlation.

    python benchmarks/blind_ranking.py sheets  --curation OUT --cast CAST_DIR --work DIR [--count 30] [--seed 0]
    python benchmarks/blind_ranking.py compare --curation OUT --work DIR [--out FILE]

``sheets`` draws fakes by lot, accepted and rejected alike, and writes one picture for each under a number that says
nothing: the source as filmed, the target, and the fake in the same frames. ``DIR/marks.csv`` is then filled in by
somebody who has seen no score: a mark from 0 to 10 for each, and a remark. ``compare`` gives Spearman's correlation of
the marks with the automatic score and with each value it is made of; intervals by a bootstrap that resamples people,
each of whom is in many fakes. Stills do not show flicker. The pictures are of real people: DIR must lie outside this
repository.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import common
import numpy as np

COLUMNS, SIDE = 6, 220
"""Frames on a sheet, and the side of a face on it, pixels."""


def fakes(curation: Path) -> list[dict[str, Any]]:
    """The rows of ``curation.json``, each with the paths of its fake and of the matched real."""
    known = {row["id"]: row for row in json.loads((curation / "curation.json").read_text())["fakes"]}
    found = []
    for folder in (curation, curation / "rejected"):
        if not (folder / "manifest.json").exists():
            continue
        for entry in json.loads((folder / "manifest.json").read_text())["entries"]:
            paths = {kind: folder / entry[kind] for kind in ("fake", "real")}
            found.append({**known[entry["id"]], **paths})
    return sorted(found, key=lambda row: row["id"])


def faces(real: Path, shown: list[Path], count: int) -> list[list[np.ndarray]]:
    """Squares around the face found in ``real``, cut from the same frames of all the clips ``shown``."""
    import cv2

    from faceswap_hq import media
    from faceswap_hq.faces.landmarks import open_backend

    picks = np.linspace(0, (media.probe(real).frames or 1) - 1, count + 2).astype(int)[1:-1].tolist()
    clips = [{frame.index: frame.image for frame in media.read_frames(path, indices=picks)} for path in (real, *shown)]
    rows: list[list[np.ndarray]] = [[] for _ in shown]
    with contextlib.closing(open_backend(static=True, max_faces=1)) as backend:
        for pick in sorted(set.intersection(*map(set, clips))):
            found = backend.detect(clips[0][pick])
            if not found:
                continue
            low, high = found[0][:, :2].min(0), found[0][:, :2].max(0)
            half = 0.75 * float(max(high - low))
            matrix = np.array([[SIDE / (2 * half), 0, 0], [0, SIDE / (2 * half), 0]])
            matrix[:, 2] = SIDE / 2 - matrix[:, :2] @ ((low + high) / 2)
            for row, clip in zip(rows, clips[1:], strict=True):
                row.append(cv2.warpAffine(clip[pick], matrix, (SIDE, SIDE), flags=cv2.INTER_AREA))
    return rows


def sheets(options: argparse.Namespace) -> None:
    """Draw lots, write pictures, the key and an empty list of marks."""
    import cv2

    options.work.mkdir(parents=True, exist_ok=True)
    known = set(json.loads((options.without / "key.json").read_text()).values()) if options.without else set()
    everything = [row for row in fakes(options.curation) if row["id"] not in known]
    drawn = np.random.default_rng(options.seed).permutation(len(everything))[: options.count]
    key = {}
    for number, place in enumerate(drawn, 1):
        row = everything[place]
        (source,) = options.cast.glob(f"{row['source']}.*")
        real, fake = faces(row["real"], [row["real"], row["fake"]], COLUMNS)
        (own,) = faces(source, [source], COLUMNS)
        lines = [np.hstack([*line, *[np.zeros((SIDE, SIDE, 3), np.uint8)] * (COLUMNS - len(line))])
                 for line in (own, real, fake)]  # fmt: skip
        cv2.imwrite(str(options.work / f"{number:02d}.png"), cv2.cvtColor(np.vstack(lines), cv2.COLOR_RGB2BGR))
        key[f"{number:02d}"] = row["id"]
    (options.work / "key.json").write_text(json.dumps(key, indent=1))
    with (options.work / "marks.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("sheet", "mark", "remark"), *((number, "", "") for number in key)])
    print(f"{len(key)} sheets in {options.work}: mark each from 0 (worthless) to 10 (nobody would notice) in marks.csv")


def correlations(marks: np.ndarray, values: dict[str, np.ndarray], people: list[tuple[str, str]]) -> dict[str, Any]:
    """Spearman's correlation of the marks with each value, with an interval over people.

    Args:
        marks: (n,).
        values: Name ► (n,), NaN where not measured.
        people: Source and target of each fake.
    """
    from scipy.stats import spearmanr

    names = sorted({name for pair in people for name in pair})
    random = np.random.default_rng(0)
    draws = []
    for _ in range(2000):  # a fake is there as often as both of its people were drawn together
        times = dict(zip(names, random.multinomial(len(names), [1 / len(names)] * len(names)), strict=True))
        draws.append(np.repeat(np.arange(len(people)), [times[source] * times[target] for source, target in people]))

    def rank(rows: np.ndarray, value: np.ndarray) -> float:
        rows = rows[np.isfinite(value[rows])]
        if len(np.unique(rows)) < 4 or len(np.unique(value[rows])) < 2 or len(np.unique(marks[rows])) < 2:
            return float("nan")
        return float(spearmanr(marks[rows], value[rows]).statistic)

    found = {}
    for name, value in values.items():
        if len(np.unique(value[np.isfinite(value)])) < 2:
            continue  # the same in all: it ranks nothing
        spread = np.array([rank(rows, value) for rows in draws])
        low, high = np.nanpercentile(spread, [2.5, 97.5])
        rho = rank(np.arange(len(marks)), value)
        found[name] = {
            "rho": round(rho, 4), "low": round(float(low), 4), "high": round(float(high), 4),
            "n": int(np.isfinite(value).sum()),
        }  # fmt: skip
    return found


def compare(options: argparse.Namespace) -> None:
    """Read the marks, write the JSON."""
    from faceswap_hq.curation.thresholds import judge, read_thresholds

    known = {row["id"]: row for row in fakes(options.curation)}
    key = json.loads((options.work / "key.json").read_text())
    with (options.work / "marks.csv").open(newline="") as file:
        given = [(known[key[row["sheet"]]], float(row["mark"])) for row in csv.DictReader(file) if row["mark"]]
    rows, marks = [row for row, _ in given], np.array([mark for _, mark in given])
    names = sorted({name for row in rows for name in row["values"]})
    values = {"score": np.array([row["score"] for row in rows], float)}
    values |= {name: np.array([row["values"].get(name) for row in rows], float) for name in names}
    thresholds = read_thresholds()
    for name in names:  # what a criterion is worth to the score: the score without it, by the package's thresholds
        rest = replace(thresholds, fake={key: each for key, each in thresholds.fake.items() if key != name})
        values[f"score without {name}"] = np.array([judge(row["values"], rest).score for row in rows], float)
    accepted = np.array([row["accepted"] for row in rows])
    result = {
        "benchmark": "blind_ranking",
        "fakes": len(rows),
        "people": len({name for row in rows for name in (row["source"], row["target"])}),
        "spearman": correlations(marks, values, [(row["source"], row["target"]) for row in rows]),
        "fakes_marked": [
            {"id": row["id"], "mark": float(mark), "score": row["score"], "accepted": row["accepted"]}
            for row, mark in zip(rows, marks, strict=True)
        ],
        "marks": {
            "accepted": [float(mark) for mark in np.sort(marks[accepted])],
            "rejected": [float(mark) for mark in np.sort(marks[~accepted])],
        },
        "machine": common.machine(),
    }
    common.finish(result, options.out)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["sheets", "compare"])
    parser.add_argument("--curation", type=Path, required=True)
    parser.add_argument("--cast", type=Path, help="the clips that were curated, for sheets")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--without", type=Path, metavar="DIR", help="an earlier round, whose fakes are left out")
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.work.resolve().is_relative_to(common.REPOSITORY):
        parser.error("--work must lie outside the repository: it shows real people")
    if options.part == "sheets" and options.cast is None:
        parser.error("sheets needs --cast")
    (sheets if options.part == "sheets" else compare)(options)


if __name__ == "__main__":
    main()
