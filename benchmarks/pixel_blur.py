"""The pixel-wise blur beside unfolding all neighbourhoods and beside a loop over offsets: time and memory.

    python benchmarks/pixel_blur.py [--size 128] [--batch 16] [--repeats 7] [-o FILE]

Each measurement is a forward and a backward pass by picture and widths, float32, one thread. The three run in turn in
one process; ratios are round by round. Memory is that of one such pass in a process of its own: what its peak (Linux:
``VmHWM``) rose above the inputs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common

Blur = Callable[[Any, Any, int], Any]


def unfolded(x: Any, s: Any, window: int) -> Any:
    """The definition with all neighbourhoods side by side (torch's unfold)."""
    import torch
    from torch.nn import functional

    r = window // 2
    near = functional.unfold(functional.pad(x, (r, r, r, r), mode="reflect"), window)
    near = near.view(*x.shape[:2], window**2, *x.shape[2:])
    offsets = torch.arange(-r, r + 1).to(x)
    squares = (offsets[:, None] ** 2 + offsets**2).reshape(1, 1, -1, 1, 1)
    weights = torch.exp(-squares * s[:, :, None] / 2)
    return (near * (weights / weights.sum(2, keepdim=True))).sum(2)


def looped(x: Any, s: Any, window: int) -> Any:
    """One offset after the other, the gradient left to autograd."""
    import torch
    from torch.nn import functional

    r, (height, width) = window // 2, x.shape[-2:]
    padded = functional.pad(x, (r, r, r, r), mode="reflect")
    above, below = torch.zeros_like(x), torch.zeros_like(s)
    for i in range(window):
        for j in range(window):
            weight = torch.exp(-((i - r) ** 2 + (j - r) ** 2) * s / 2)
            above = above + weight * padded[..., i : i + height, j : j + width]
            below = below + weight
    return above / below


def ways() -> dict[str, Blur]:
    from stress.training.adversary.pixel_blur import pixel_blur

    return {"unfold": unfolded, "loop over offsets": looped, "ours": pixel_blur}


def given(batch: int, size: int) -> tuple[Any, Any, Any]:
    """Pictures, widths, and the gradient from above."""
    import torch

    torch.manual_seed(0)
    x = torch.rand(batch, 3, size, size, requires_grad=True)
    s = (4 * torch.rand(batch, 1, size, size)).requires_grad_()
    return x, s, torch.rand_like(x).detach()


def milliseconds(blur: Blur, inputs: tuple[Any, Any, Any], window: int, inner: int = 3) -> float:
    """Median time of a pass, ms."""
    import torch

    x, s, towards = inputs
    times = []
    for _ in range(inner):
        started = time.perf_counter()
        torch.autograd.grad(blur(x, s, window), (x, s), towards)
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def peak() -> float:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 2**10


def growth(name: str, batch: int, size: int, window: int) -> float:
    """MiB by which a pass raises the peak of this process."""
    import torch

    torch.set_num_threads(1)
    blur = ways()[name]
    x, s, _ = given(1, 16)
    torch.autograd.grad(blur(x, s, window).sum(), (x, s))  # what is loaded at the first call
    x, s, towards = given(batch, size)
    before = peak()
    torch.autograd.grad(blur(x, s, window), (x, s), towards)
    return peak() - before


def memory(name: str, batch: int, size: int, window: int) -> float:
    line = [sys.executable, __file__, "--memory", name, "--batch", str(batch), "--size", str(size)]
    done = subprocess.run([*line, "--windows", str(window)], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout))


def difference(inputs: tuple[Any, Any, Any], window: int) -> float:
    """Largest difference of pictures and gradients between ours and unfolding, in float64."""
    import torch

    x, s, towards = (value.detach()[:2].double().requires_grad_() for value in inputs)
    found = []
    for blur in (unfolded, ways()["ours"]):
        y = blur(x, s, window)
        found.append([y.detach(), *torch.autograd.grad(y, (x, s), towards.detach())])
    return max(float((one - other).abs().max()) for one, other in zip(*found, strict=True))


def compare(batch: int, size: int, window: int, repeats: int) -> dict[str, Any]:
    inputs = given(batch, size)
    times = common.interleaved(
        {name: lambda blur=blur: milliseconds(blur, inputs, window) for name, blur in ways().items()}, repeats
    )
    grown = {name: round(memory(name, batch, size, window), 1) for name in ways()}
    ours = times["ours"].values
    return {
        "window": window,
        "largest_difference": difference(inputs, window),
        "times": [series.summary(name, "ms") for name, series in times.items()],
        "times_ours": [common.ratios(series.values, ours, n) for n, series in times.items() if n != "ours"],
        "memory_mib": grown,
    }


def main() -> None:
    """Run everything and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--windows", type=int, nargs="+", default=[3, 5, 7])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    if options.memory:
        print(growth(options.memory, options.batch, options.size, options.windows[0]))
        return
    import torch

    torch.set_num_threads(1)
    result: dict[str, Any] = {"benchmark": "pixel_blur", "machine": common.machine(), "nice": os.nice(0)}
    result |= {"batch": options.batch, "size": options.size}
    result["windows"] = [
        compare(options.batch, options.size, window, options.repeats) for window in options.windows
    ]
    common.finish(result, options.out)


if __name__ == "__main__":
    main()
