"""Peak memory of extraction and rendering on a short clip and on a long one made of the same frames.

    python benchmarks/memory.py --clip CLIP [--source A | --model DIR] [--minutes 10]

The clip is scaled down and looped to and fro (no cuts) to both lengths. Each command runs as its own process; its peak
is what the kernel says of it afterwards (``ru_maxrss``), its course is sampled from ``/proc`` while it runs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import common
import cv2
import numpy as np


def looped(clip: Path, target: Path, seconds: float, side: int) -> int:
    """Write the frames of ``clip``, forwards and backwards in turn, until ``seconds`` are full; returns their number.

    Args:
        clip: The footage; its first ten seconds are held in memory at the small size.
        target: File to write: h264, constant rate.
        seconds: Length wanted.
        side: Longer side of the pictures, pixels.
    """
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        rate = Fraction(round(stream.average_rate or 25))
        small = []
        for frame in container.decode(stream):
            scale = side / max(frame.width, frame.height)
            size = tuple(2 * round(edge * scale / 2) for edge in (frame.width, frame.height))
            small.append(cv2.resize(frame.to_ndarray(format="rgb24"), size, interpolation=cv2.INTER_AREA))
            if len(small) >= 10 * rate:
                break
    count = round(seconds * rate)
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "20"})
        stream.height, stream.width = small[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        last = max(1, len(small) - 1)
        for i in range(count):
            position = abs((i + last) % (2 * last) - last) if len(small) > 1 else 0
            container.mux(stream.encode(av.VideoFrame.from_ndarray(small[position], format="rgb24")))
        container.mux(stream.encode())
    return count


def watched(arguments: list[str], log: Path) -> dict[str, Any]:
    """Run ``faceswap-hq`` with arguments and watch its memory.

    Returns:
        Wall clock and peak in MiB, and the resident memory at 25, 50, 75 and 100 % of the time.
    """
    line = [sys.executable, "-m", "faceswap_hq", *arguments]
    started = time.perf_counter()
    course = []
    with log.open("wb") as stream:
        process = subprocess.Popen(line, cwd=common.REPOSITORY, stdout=stream, stderr=subprocess.STDOUT)
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            course.append(resident(process.pid))
            time.sleep(0.25)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        text = log.read_text(errors="replace")[-2000:]
        raise SystemExit(f"faceswap-hq {arguments[0]} ended with {process.returncode}:\n{text}")
    peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    course = [value for value in course if value] or [0.0]
    quarters = [round(max(part), 1) for part in np.array_split(np.array(course), 4) if part.size]
    return {"seconds": round(time.perf_counter() - started, 1), "peak_mib": round(peak, 1), "peak_by_quarter": quarters}


def resident(pid: int) -> float:
    """Resident memory of a process, MiB; 0 where the system does not say."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def compare(short: dict[str, Any], long: dict[str, Any], frame_bytes: int) -> dict[str, Any]:
    """Growth from the short clip to the long one, in all and a frame."""
    growth = (long["peak_mib"] - short["peak_mib"]) * 2**20 / max(1, long["frames"] - short["frames"])
    return {
        "short": short,
        "long": long,
        "growth_mib": round(long["peak_mib"] - short["peak_mib"], 1),
        "growth_bytes_a_frame": round(growth),
        "bytes_of_a_frame": frame_bytes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, required=True, help="footage to loop")
    parser.add_argument("--source", type=Path, help="a clip of person A, to train a model of ten steps")
    parser.add_argument("--model", type=Path, help="a trained run to render with")
    parser.add_argument("--source-person", help="with --model: whose face, by the name that the model has")
    parser.add_argument("--target-person", help="who is in the clip, likewise")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--short-seconds", type=float, default=20)
    parser.add_argument("--side", type=int, default=320, help="longer side of the pictures, pixels")
    parser.add_argument("--skip", choices=["extract", "render"], help="measure the other only")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.skip != "render" and not (options.model or options.source):
        parser.error("rendering needs --model, or --source to train a quick one")
    result: dict[str, Any] = {"benchmark": "memory", "minutes": options.minutes, "side": options.side}
    with tempfile.TemporaryDirectory(prefix="faceswap-hq-bench-") as folder:
        work = Path(folder)
        clips = {"short": work / "short.mp4", "long": work / "long.mp4"}
        lengths = {"short": options.short_seconds, "long": 60 * options.minutes}
        frames = {name: looped(options.clip, clips[name], lengths[name], options.side) for name in clips}
        with av.open(str(clips["short"])) as container:
            frame_bytes = 3 * container.streams.video[0].width * container.streams.video[0].height
        model = options.model
        if model is None and options.skip != "render":
            from throughput import quick_model

            model = quick_model(clips["short"], options.source, work)
        named = {"--source-person": options.source_person, "--target-person": options.target_person}
        who = [text for option, name in named.items() if name for text in (option, name)]
        commands = {
            "extract": lambda clip: [str(clip), "-o", str(work / f"{clip.stem}.out.faceset")],
            "render": lambda clip: [
                str(clip), "--model", str(model), "-o", str(work / f"{clip.stem}.out.mp4"), *who
            ],
        }
        for command, line in commands.items():
            if command == options.skip:
                continue
            measured = {}
            for name, clip in clips.items():
                print(f"  {command} {name}: {frames[name]} frames", file=sys.stderr, flush=True)
                seen = watched([command, *line(clip)], work / f"{command}-{name}.log")
                measured[name] = {"frames": frames[name]} | seen
            result[command] = compare(measured["short"], measured["long"], frame_bytes)
    common.finish({**result, "machine": common.machine()}, options.out)


if __name__ == "__main__":
    main()
