"""Where a training step goes: a few steps under PyTorch's profiler, written beside the run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from faceswap_hq import files

PHASES = ("batch", "forward", "backward", "update")
"""Labels of a step's parts: choosing and augmenting faces, model and losses, gradients, clipping and optimizer."""


class StepProfile:
    """Told of every step, it leaves ``profile.txt`` in the run after ``skip`` + ``plain`` + ``steps`` of them.

    Args:
        run: The run's directory.
        device: Where training runs.
        say: Told when the file is there.
        skip: Steps at the start that do not count.
        plain: Steps that are timed without the profiler, which slows them.
        steps: Steps under the profiler.
    """

    def __init__(
        self,
        run: Path,
        device: torch.device,
        say: Callable[[str], None],
        skip: int = 5,
        plain: int = 20,
        steps: int = 20,
    ) -> None:
        self._path, self._say = run / "profile.txt", say
        self._skip, self._plain, self._steps = skip, plain, steps
        activities = [ProfilerActivity.CPU]
        self._gpu = device.type == "cuda"
        if self._gpu:
            activities.append(ProfilerActivity.CUDA)
        self._profiler = profile(activities=activities)
        self._stamps: list[float] = []

    def __call__(self) -> None:
        """A step has ended."""
        self._stamps.append(time.perf_counter())
        done = len(self._stamps)
        if done == self._skip + self._plain:
            self._profiler.start()
        elif done == self._skip + self._plain + self._steps:
            self._profiler.stop()
            files.write_bytes(self._path, self._report().encode())
            self._say(f"where a step goes: {self._path}")

    def close(self) -> None:
        """Training ended; a profile that has begun is given up."""
        if self._skip + self._plain <= len(self._stamps) < self._skip + self._plain + self._steps:
            self._profiler.stop()

    def _report(self) -> str:
        taken = np.diff(self._stamps[self._skip - 1 : self._skip + self._plain]) * 1000
        found = self._profiler.key_averages()
        clock = "device" if self._gpu else "cpu"  # a GPU works behind the processor's back
        total = dict.fromkeys(PHASES, 0.0)
        for event in found:
            if event.key in PHASES:  # with a GPU each is listed twice
                spent = getattr(event, f"{clock}_time_total") / 1000 / self._steps
                total[event.key] = max(total[event.key], spent)
        whole = sum(total[phase] for phase in PHASES)
        waits = [
            event.cpu_time_total / 1000
            for event in self._profiler.events() or ()
            if event.name == "batch" and event.device_type == DeviceType.CPU
        ]
        waiting = "Ordering a batch takes the processor" if self._gpu else "The model waits for its batch"
        lines = [
            f"A step takes {np.median(taken):.1f} ms (median of {len(taken)}; "
            f"95 % take no more than {np.quantile(taken, 0.95):.1f} ms).",
            f"Under the profiler, mean of {self._steps} steps:",
            *(f"  {phase:<9}{total[phase]:9.1f} ms {100 * total[phase] / whole:5.1f} %" for phase in PHASES),
            f"{waiting} {np.median(waits):.1f} ms (95 % of batches: no more than"
            f" {np.quantile(waits, 0.95):.1f} ms).",
            "",
            found.table(sort_by=f"self_{clock}_time_total", row_limit=30, max_name_column_width=48),
        ]
        return "\n".join(lines) + "\n"
