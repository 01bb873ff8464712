"""Blending: our Poisson solver beside cv2.seamlessClone, colour methods, faces per second, frame size, drift.

    python benchmarks/blend.py [--repeats 7] [--threads 1] [-o FILE]

Pictures are made on the spot. A "256-px face" is one whose oval is 256 pixels high in the frame. Everything that is
compared runs in turn, on OpenCV's ``--threads``; each time is the median of several calls, each rate the mean of a
dozen frames of a track, which do not all cost the same.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import cv2
import numpy as np

sys.path.insert(0, str(common.REPOSITORY))  # before this folder, where `blending` is this very script

from blending import BEST, PRESETS, BlendState, color, compose, poisson  # noqa: E402

MARGIN = 16


def smooth_noise(seed: int, height: int, width: int) -> np.ndarray:
    """(H, W, 3) float32 in [0.1, 0.9] with structure a few pixels wide."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).standard_normal((height, width, 3), np.float32), (0, 0), 4)
    return np.clip(0.5 + 0.13 * noise / noise.std(), 0.1, 0.9).astype(np.float32)


def region(face: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frame, source and oval mask (uint8) of a face this high, with a margin around it."""
    height, width = face + 2 * MARGIN, round(0.8 * face) + 2 * MARGIN
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (width // 2, height // 2), (round(0.4 * face), face // 2), 0, 0, 360, 255, -1)
    return smooth_noise(1, height, width), smooth_noise(2, height, width) * 0.9, mask


def skin(noise: np.ndarray) -> np.ndarray:
    """The same in the colors of skin, lighter and darker."""
    return np.float32([0.72, 0.56, 0.47]) * (1 + 0.4 * (noise[..., :1] - np.float32(0.5)))


def per_second(call: Callable[[], Any], calls: int = 12) -> float:
    """Calls a second. Their mean: not every frame costs the same."""
    started = time.perf_counter()
    for _ in range(calls):
        call()
    return calls / (time.perf_counter() - started)


def milliseconds(call: Callable[[], Any], inner: int = 5) -> float:
    """Median time of a call, ms."""
    times = []
    for _ in range(inner):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def clone(frame: np.ndarray, source: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """cv2.seamlessClone with the source where it is: its centre is that of the mask's bounding box."""
    left, top, width, height = cv2.boundingRect(mask)
    return cv2.seamlessClone(source, frame, mask, (left + width // 2, top + height // 2), cv2.NORMAL_CLONE)


def solver(face: int, repeats: int) -> dict[str, Any]:
    """Time of Poisson blending alone; error of each setting against the converged solution."""
    frame, source, mask = region(face)
    bytes_frame, bytes_source = (np.round(image * 255).astype(np.uint8) for image in (frame, source))
    grid = max(1, int(np.sqrt(np.count_nonzero(mask)) / BEST.poisson.cells))
    ways: dict[str, Callable[[], Any]] = {
        "cv2.seamlessClone": lambda: clone(bytes_frame, bytes_source, mask),
        "every pixel (classic)": lambda: poisson.blend(frame, source, mask),
        f"grid of {grid} px (as in best)": lambda: poisson.blend(
            frame, source, mask, grid=grid, smoothing=8, limit=0.15
        ),
        "converged": lambda: poisson.blend(frame, source, mask, accuracy=poisson.EXACT),
    }
    times = common.interleaved({name: lambda way=way: milliseconds(way) for name, way in ways.items()}, repeats)
    exact = ways["converged"]()
    error = np.abs(ways["every pixel (classic)"]() - exact)[mask > 0]
    reference = times["cv2.seamlessClone"]
    return {
        "face_px": face,
        "times": [series.summary(name, "ms") for name, series in times.items()],
        "times_faster_than_seamlessClone": [
            common.ratios(reference.values, series.values, name)
            for name, series in times.items()
            if series is not reference
        ],
        "error_of_every_pixel": {"mean": float(error.mean()), "max": float(error.max())},
    }


def scene(face: int, frame_size: tuple[int, int], fringe: bool = False) -> dict[str, Any]:
    """Arguments for compose: a face this high in the middle of a frame (width, height), from a 256-px crop."""
    width, height = frame_size
    frame = cv2.resize(skin(smooth_noise(3, height // 2, width // 2)), frame_size, interpolation=cv2.INTER_LINEAR)
    if fringe:
        frame[: height // 2 - round(0.35 * face)] *= 0.2
    noise = np.random.default_rng(0).normal(0, 2, frame.shape[:2])[..., None]
    zoom, turn = 0.75 * 256 / face, np.deg2rad(4)
    linear = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    angles = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    mask = np.zeros((256, 256), np.uint8)
    cv2.ellipse(mask, (128, 128), (80, 100), 0, 0, 360, 255, -1)
    center = np.array([width / 2, height / 2])
    return {
        "frame": np.clip(np.round(frame * 255 + noise), 0, 255).astype(np.uint8),
        "face": skin(smooth_noise(4, 256, 256)).astype(np.float32),
        "face_mask": cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 3),
        "matrix": np.hstack([linear, (128 - linear @ center)[:, None]]),
        "polygon": center + np.stack([0.4 * face * np.cos(angles), 0.5 * face * np.sin(angles)], axis=1),
    }


def whole(
    face: int, frame_size: tuple[int, int], names: list[str], repeats: int, fringe: bool = False
) -> list[dict[str, Any]]:
    """Faces per second of whole presets, writing into the frame itself."""
    arguments = scene(face, frame_size, fringe)
    canvas = arguments["frame"].copy()

    def rate(name: str) -> float:
        state = BlendState(PRESETS[name].temporal)
        return per_second(lambda: compose(**arguments, settings=PRESETS[name], state=state, out=canvas))

    # `out` copies the frame first, which the size would be charged for; a renderer passes the frame itself.
    arguments["frame"] = canvas
    found = common.interleaved({name: lambda name=name: rate(name) for name in names}, repeats)
    return [series.summary(name, "faces/s") for name, series in found.items()]


def colors(face: int, repeats: int) -> dict[str, Any]:
    """Time of each way to match colours: alone (measured on the grid, fitted, applied), and of `best` with it."""
    arguments = scene(face, (1280, 720))
    canvas = arguments["frame"] = arguments["frame"].copy()
    image, other, mask = region(face)
    factor = max(1, round(max(mask.shape) / 40))
    size = (mask.shape[1] // factor, mask.shape[0] // factor)
    source, target, weights = (
        cv2.resize(array, size, interpolation=cv2.INTER_AREA) for array in (image, other, mask / np.float32(255))
    )

    def alone(method: color.ColorMethod) -> float:
        chosen = dataclasses.replace(BEST.color, method=method)

        def match() -> np.ndarray:
            measured = [
                color.measure(
                    array,
                    weights,
                    space=color.space_of(method),
                    trim=chosen.trim,
                    sample=method in color.SHAPE_METHODS,
                )
                for array in (source, target)
            ]
            return color.transfer(
                image, *measured, method=method, max_gain=chosen.max_gain, floor=chosen.floor, anchor=chosen.anchor
            )

        return milliseconds(match, 9)

    def within(method: color.ColorMethod) -> float:
        settings = dataclasses.replace(BEST, color=dataclasses.replace(BEST.color, method=method))
        state = BlendState(settings.temporal)
        return per_second(lambda: compose(**arguments, settings=settings, state=state, out=canvas))

    single = common.interleaved({name: lambda name=name: alone(name) for name in color.METHODS}, repeats)
    whole = common.interleaved({name: lambda name=name: within(name) for name in color.METHODS}, repeats)
    return {
        "face_px": face,
        "alone": [series.summary(name, "ms") for name, series in single.items()],
        "best_with_it": [series.summary(name, "faces/s") for name, series in whole.items()],
    }


def drift() -> dict[str, float]:
    """Mean change, in grey levels, well inside the face when the mask moves by one pixel."""
    frame, source, mask = region(256)
    source = np.clip(frame * 0.9 + 0.05 + 0.1 * (source - 0.45), 0, 1)
    moved = np.roll(mask, 1, axis=1)
    inside = cv2.erode(cv2.bitwise_and(mask, moved), np.ones((9, 9), np.uint8)) > 0
    ours = [poisson.blend(frame, source, area, grid=4, smoothing=8) * 255 for area in (mask, moved)]
    as_bytes = [np.round(image * 255).astype(np.uint8) for image in (frame, source)]
    theirs = [clone(*as_bytes, area).astype(np.float32) for area in (mask, moved)]
    # The same with the mask grown by one pixel on one side, which moves the centre of its bounding box by half a pixel.
    grown = cv2.bitwise_or(mask, moved)
    half = clone(*as_bytes, grown).astype(np.float32)
    return {
        "ours": float(np.abs(ours[0] - ours[1])[inside].mean()),
        "cv2.seamlessClone": float(np.abs(theirs[0] - theirs[1])[inside].mean()),
        "ours, mask grown on one side": float(
            np.abs(ours[0] - poisson.blend(frame, source, grown, grid=4, smoothing=8) * 255)[inside].mean()
        ),
        "cv2.seamlessClone, mask grown on one side": float(np.abs(theirs[0] - half)[inside].mean()),
    }


def main() -> None:
    """Run everything and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1, help="of OpenCV")
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(options.threads)
    result: dict[str, Any] = {"benchmark": "blending", "machine": common.machine(), "opencv_threads": options.threads}
    result["poisson"] = [solver(face, options.repeats) for face in (256, 400)]
    result["compose"] = [
        {"face_px": face, "frame": "1280x720", "presets": whole(face, (1280, 720), list(PRESETS), options.repeats)}
        for face in (256, 400)
    ]
    result["compose_with_a_fringe"] = whole(256, (1280, 720), ["best"], options.repeats, fringe=True)
    result["color"] = colors(256, options.repeats)
    result["frame_size"] = [
        {"frame": f"{width}x{height}", "presets": whole(256, (width, height), ["best"], options.repeats)}
        for width, height in ((640, 360), (1280, 720), (1920, 1080), (3840, 2160))
    ]
    result["mask_moved_by_a_pixel"] = drift()
    common.finish(result, options.out)


if __name__ == "__main__":
    main()
