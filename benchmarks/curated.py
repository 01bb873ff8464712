"""What did a curation find? The means of its measures, and why fakes were rejected, of one data set or of several.

    python benchmarks/curated.py NAME=OUT [NAME=OUT ...] [-o FILE]

``OUT`` are outputs of ``faceswap-hq curate``; of people there are no more than counts in what is printed.
"""

from __future__ import annotations

import argparse
import collections
import statistics
from pathlib import Path
from typing import Any

import common

from faceswap_hq import files


def told(out: Path) -> dict[str, Any]:
    """Counts, and for each measure mean, smallest, largest and over how many fakes."""
    found = files.read_json(out / "curation.json")
    fakes = found["fakes"]
    values: dict[str, list[float]] = collections.defaultdict(list)
    for fake in fakes:
        for name, value in fake["values"].items():
            if value is not None:
                values[name].append(value)
    reasons = collections.Counter(reason.split(":")[0] for fake in fakes for reason in fake["reasons"])
    return {
        "toolkit": found["toolkit"],
        "people": len({fake["source"] for fake in fakes} | {fake["target"] for fake in fakes}),
        "fakes": len(fakes),
        "accepted": sum(fake["accepted"] for fake in fakes),
        "rejected_for": dict(reasons.most_common()),
        "values": {
            name: {"mean": round(statistics.fmean(of), 4), "min": round(min(of), 4), "max": round(max(of), 4),
                   "n": len(of)}
            for name, of in values.items()
        },
    }  # fmt: skip


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outputs", nargs="+", metavar="NAME=OUT")
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    named = [text.partition("=")[::2] for text in options.outputs]
    result = {"benchmark": "curated", "data_sets": {name: told(Path(out)) for name, out in named}}
    common.finish({**result, "machine": common.machine()}, options.out)


if __name__ == "__main__":
    main()
