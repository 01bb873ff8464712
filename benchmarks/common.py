"""What the benchmarks share: the machine they ran on, interleaved repeats, JSON results."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

REPOSITORY = Path(__file__).resolve().parents[1]
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))

LOAD_AT_START = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None

PACKAGES = ("faceswap-hq", "numpy", "opencv-contrib-python", "mediapipe", "av", "torch")


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """Processor, memory, load and versions; nothing that names the machine or its owner."""
    info: dict[str, Any] = {"cores": cores(), "system": platform.system(), "python": platform.python_version()}
    try:
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
        table = {key.strip(): value.strip() for key, _, value in reversed(lines)}
        flags = set(table.get("flags", "").split())
        info["processor"] = table.get("model name", platform.machine())
        info["flags"] = {name: name in flags for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16")}
        memory = Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0]
        info["memory_gib"] = round(int(memory) / 2**20, 1)
    except (OSError, IndexError):
        info["processor"] = platform.processor() or platform.machine()
    info["load_at_start"] = LOAD_AT_START
    info["commit"] = _commit()
    info["versions"] = {name: _version(name) for name in PACKAGES}
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        info["torch_threads"] = torch.get_num_threads()
        if torch.cuda.is_available():
            info["gpu"] = torch.cuda.get_device_name(0)
    return info


def _commit() -> str | None:
    """The commit that lies here; None outside of a repository."""
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def summary(name: str, unit: str, values: Sequence[float]) -> dict[str, Any]:
    """Median, smallest and largest of repeated measurements."""
    return {
        "name": name,
        "unit": unit,
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
        "n": len(values),
        "values": [round(value, 3) for value in values],
    }


@dataclasses.dataclass
class Series:
    """Repeated measurements of one thing."""

    values: list[float] = dataclasses.field(default_factory=list)
    cores_used: list[float] = dataclasses.field(default_factory=list)
    """Processor time over wall clock; far below what the work can use: the machine was busy otherwise."""

    def summary(self, name: str, unit: str) -> dict[str, Any]:
        """See :func:`summary`; with the median of the cores used."""
        return summary(name, unit, self.values) | {"cores_used": round(statistics.median(self.cores_used), 2)}


def interleaved(
    measurements: dict[str, Callable[[], float]], repeats: int, *, warm_up: bool = True
) -> dict[str, Series]:
    """Take measurements in turn, so that a busy spell of the machine hits all alike.

    Args:
        measurements: Name ► function that measures once.
        repeats: Rounds; every second one runs in reverse order.
        warm_up: Run a round first that does not count.

    Returns:
        Name ► one value a round.
    """
    found = {name: Series() for name in measurements}
    for turn in range(-1 if warm_up else 0, repeats):
        names = list(measurements)[:: 1 if turn % 2 == 0 else -1]
        for name in names:
            wall, processor = time.perf_counter(), time.process_time()
            value = measurements[name]()
            used = (time.process_time() - processor) / (time.perf_counter() - wall)
            print(f"  round {turn + 1}/{repeats} {name}: {value:.2f} ({used:.2f} cores)", file=sys.stderr, flush=True)
            if turn >= 0:
                found[name].values.append(value)
                found[name].cores_used.append(used)
    return found


def ratios(above: Sequence[float], below: Sequence[float], name: str) -> dict[str, Any]:
    """Round by round quotients of two interleaved series, summarized."""
    return summary(name, "ratio", [a / b for a, b in zip(above, below, strict=True)])


def finish(result: dict[str, Any], out: Path | None) -> None:
    """Print a result as JSON and write it to ``out``."""
    from faceswap_hq import files

    print(json.dumps(result, indent=2, ensure_ascii=False))
    if out is not None:
        files.write_json(out, result)
