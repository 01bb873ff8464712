"""The tables of docs/scale.md, printed from a result of scale.py: ``python benchmarks/scale_tables.py scale.json``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

UNITS = (
    ("extraction, a minute of footage", "extract_core_s_per_minute", "core s"),
    ("training, a step: for the encoder", "train_core_s_per_step", "core s"),
    ("training, a step: for each person", "train_core_s_per_step_per_person", "core s"),
    ("loading a model, for each person in it", "load_core_s_per_person", "core s"),
    ("rendering a frame: fake, real, control, mask", "render_core_s_per_frame", "core s"),
    ("scoring a frame", "score_core_s_per_frame", "core s"),
    ("a clip's 16 crops, 128 px", "small_cnn_crop_core_s_per_clip", "core s"),
    ("… asked of `small_cnn`", "small_cnn_core_s_per_clip", "core s"),
    ("a clip's 16 crops, 380 px", "efficientnet_b4_crop_core_s_per_clip", "core s"),
    ("… asked of `efficientnet_b4`", "efficientnet_b4_core_s_per_clip", "core s"),
    ("footage, a minute", "clip_bytes_per_minute", "bytes"),
    ("faceset, a minute", "faceset_bytes_per_minute", "bytes"),
    ("a model: what all share", "model_bytes", "bytes"),
    ("a model: each person", "model_bytes_per_person", "bytes"),
    ("a checkpoint: what all share", "checkpoint_bytes", "bytes"),
    ("a checkpoint: each person", "checkpoint_bytes_per_person", "bytes"),
    ("a frame's three videos", "video_bytes_per_frame", "bytes"),
    ("a frame's mask", "mask_bytes_per_frame", "bytes"),
)  # fmt: skip
CURATION = (
    ("models", lambda c: amount(models(c))),
    ("pairs", lambda c: amount(c["pairs"])),
    ("extraction", lambda c: hours(c["extraction_core_h"])),
    ("training", lambda c: hours(c["training_core_h"])),
    ("loading models", lambda c: hours(c["loading_core_h"])),
    ("rendering", lambda c: hours(c["rendering_core_h"])),
    ("scoring", lambda c: hours(c["scoring_core_h"])),
    ("checksums", lambda c: hours(c["checksums_core_h"])),
    ("**all**", lambda c: f"**{hours(c['core_h'])}**"),
    ("… at best on 1 000 cores", lambda c: spoken(elapsed(c))),
    ("footage", lambda c: size(c["footage_bytes"])),
    ("facesets", lambda c: size(c["faceset_bytes"])),
    ("models, with three checkpoints each", lambda c: size(c["model_bytes"])),
    ("fakes, reals, controls, masks", lambda c: size(c["fake_bytes"])),
    ("**all files**", lambda c: f"**{size(c['bytes'])}**"),
    ("number of files", lambda c: amount(c["files"])),
    ("read over the network", lambda c: size(c["read_bytes"])),
    ("… of that, models", lambda c: size(c["read_models_bytes"])),
    ("… a second, in that time", lambda c: size(c["read_bytes"] / (3600 * elapsed(c)))),
    ("memory of a training: weights, gradients, optimizer", lambda c: size(c["training_memory_bytes"])),
    ("manifest, one file a data set", lambda c: size(c["manifest_bytes"] / models(c))),
)  # fmt: skip
SCAN = (
    ("cutting faces out", lambda c: hours(c["crop_core_h"])),
    ("the network", lambda c: hours(c["network_core_h"])),
    ("**all**", lambda c: f"**{hours(c['core_h'])}**"),
    ("… on 1 000 cores", lambda c: spoken(c["core_h"] / 1000)),
    ("clips read", lambda c: size(c["read_bytes"])),
    ("… a second, on 1 000 cores", lambda c: size(c["read_bytes"] / (3.6 * c["core_h"]))),
    ("faces kept", lambda c: size(c["cache_bytes"])),
)  # fmt: skip


def digits(value: float) -> str:
    """Two significant digits, thousands apart: ``0.087``, ``4.2``, ``130``, ``75 000``."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}".replace(",", " ") if rounded >= 10 else f"{rounded:.2g}"


def amount(value: float) -> str:
    """A count, exact."""
    return f"{value:,.0f}".replace(",", " ")


def hours(value: float) -> str:
    """Core hours."""
    return f"{digits(value)} h"


def spoken(value: float) -> str:
    """Hours of wall clock, in the unit that reads best."""
    for unit, factor in (("years", 8766), ("days", 24), ("hours", 1)):
        if value >= 2 * factor:
            return f"{digits(value / factor)} {unit}"
    return f"{digits(60 * value)} minutes"


def size(value: float) -> str:
    """Bytes, in powers of 1000."""
    for unit in ("bytes", "kB", "MB", "GB", "TB", "PB"):
        if value < 1000:
            return f"{digits(value)} {unit}"
        value /= 1000
    return f"{digits(value)} EB"


def models(case: dict[str, float]) -> float:
    """Also how many data sets."""
    return case["people"] / case["group"]


def elapsed(case: dict[str, float], cores: int = 1000, most: int = 8) -> float:
    """Hours on so many cores: trainings side by side on ``most`` cores each, then every pair on one."""
    training = max(case["training_core_h"] / cores, case["training_core_h"] / models(case) / most)
    return training + (case["core_h"] - case["training_core_h"]) / min(cores, case["pairs"])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [list(head), ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def tables(result: dict[str, Any]) -> list[str]:
    """Units, curations, scans."""
    u = result["units"]
    units = [(what, size(u[name]) if unit == "bytes" else f"{digits(u[name])} {unit}") for what, name, unit in UNITS]
    half = len(units) - len(units) // 2
    both = [(*left, *right) for left, right in zip(units[:half], [*units[half:], ("", "")][:half], strict=True)]
    found = [table(("unit", "takes", "unit", "takes"), both)]
    for kind, rows in (("curations", CURATION), ("scans", SCAN)):
        cases = result[kind]
        lines = [(what, *(show(case) for case in cases.values())) for what, show in rows]
        found.append(table(("", *(f"`{n}`" if kind == "scans" else n for n in cases)), lines))
    return found


if __name__ == "__main__":
    print("\n".join(tables(json.loads(Path(sys.argv[1]).read_text()))))
