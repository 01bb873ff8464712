"""Two makers' fakes by the same instruments: what a curation made, beside another team's.

    python benchmarks/side_by_side.py --identity ONNX ours=OUT theirs=DIR [--most 60] [-o FILE]

Each folder holds fakes beside the very frames they were made from: a data set with ``manifest.json``, as ``curate``
and ``render`` write it, or ``fake/`` and ``real/`` with the same names. What a curation rejected counts
too (``OUT/rejected``); those that it accepted stand by themselves as well.
Nothing is known of a stranger's source, so identity is what is left of the target's: the cosine of the fake's frames to
the mean of the real's, over what the real's own frames have. 1 is an unswapped face; two people of whom nothing is
alike come near 0, and no fewer than other people of the set do (``stranger``). For seam, sharpness, flicker, jitter and
the agreement of mouth and eyes see ``faceswap_hq.quality``. Mean and standard deviation over fakes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import common
import numpy as np

from faceswap_hq import quality
from faceswap_hq.quality.identity import mean_identity

MEASURES = ("left_of_target", "stranger", "seam", "sharpness", "flicker", "jitter", "mouth", "eyes", "pose")


def couples(folder: Path) -> list[tuple[Path, Path, bool]]:
    """Fakes, their reals, and whether a curation accepted them."""
    found = []
    for part, accepted in ((folder, (folder / "curation.json").is_file()), (folder / "rejected", False)):
        if (part / "manifest.json").is_file():
            entries = json.loads((part / "manifest.json").read_text(encoding="utf-8"))["entries"]
            found += [(part / entry["fake"], part / entry["real"], accepted) for entry in entries]
    if not found:
        found = [(fake, folder / "real" / fake.name, False) for fake in sorted((folder / "fake").glob("*.mp4"))]
    if not found:
        raise SystemExit(f"{folder} has neither manifest.json nor fake/*.mp4 beside real/.")
    return found


def measure(fake: Path, real: Path, network: quality.IdentityModel, most: int) -> dict[str, Any]:
    """One fake's values, and the mean identity of its target."""
    own, seen = (quality.embed_clip(path, network, most=most) for path in (real, fake))
    found = quality.compare_clips(real, fake)
    row: dict[str, Any] = {"name": fake.stem, "frames": found.frames, "target": None, "left_of_target": None}
    if len(own) and len(seen):
        row["target"] = mean_identity(own)
        row["left_of_target"] = float((seen @ row["target"]).mean() / (own @ row["target"]).mean())
    for name in ("seam", "sharpness", "pose"):
        part = getattr(found, name)
        row[name] = None if part is None else part.mean
    for name in ("mouth", "eyes"):
        part = getattr(found, name)
        row[name] = None if part is None else part.r
    return row | {"flicker": found.flicker, "jitter": found.jitter}


def strangers(rows: list[dict[str, Any]]) -> None:
    """Adds to each row the cosine of its target to the set's other targets that are another person's (below 0.5)."""
    for row in rows:
        others = [other["target"] for other in rows if other is not row and other["target"] is not None]
        near = [float(row["target"] @ other) for other in others] if row["target"] is not None else []
        apart = [cosine for cosine in near if cosine < 0.5]
        row["stranger"] = float(np.mean(apart)) if apart else None


def summarized(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean, standard deviation and n of every measure."""
    table: dict[str, Any] = {"fakes": len(rows), "frames": sum(row["frames"] for row in rows)}
    for name in MEASURES:
        values = [row[name] for row in rows if row[name] is not None]
        if values:
            table[name] = {"mean": round(float(np.mean(values)), 4), "sd": round(float(np.std(values, ddof=1)), 4)
                           if len(values) > 1 else None, "n": len(values)}  # fmt: skip
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME=DIR")
    parser.add_argument("--identity", type=Path, required=True, help="face-recognition network, ONNX")
    parser.add_argument("--most", type=int, default=60, help="frames of a clip that identity is read from, at most")
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    network = quality.IdentityModel(options.identity)
    result: dict[str, Any] = {"benchmark": "side_by_side", "sets": {}}
    for given in options.sets:
        name, _, folder = given.partition("=")
        rows = []
        for fake, real, accepted in couples(Path(folder)):
            rows.append(measure(fake, real, network, options.most) | {"accepted": accepted})
            print(name, {key: rows[-1][key] for key in ("name", "left_of_target", "seam", "sharpness")}, flush=True)
        strangers(rows)
        result["sets"][name] = summarized(rows)
        if passed := [row for row in rows if row["accepted"]]:
            result["sets"][f"{name}, accepted"] = summarized(passed)
    common.finish(result, options.out)


if __name__ == "__main__":
    main()
