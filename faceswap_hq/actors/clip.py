"""Clips of virtual actors, and whole casts of them."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

import faceswap_hq
from faceswap_hq.actors.identity import Identity, cast_identities
from faceswap_hq.actors.modes import MODE_NAMES
from faceswap_hq.actors.performance import Performance, make_performance, moments
from faceswap_hq.actors.render import Cast, cast_of, render_moment
from faceswap_hq.actors.scene import Scene, make_scene
from faceswap_hq.actors.swap import swapped_cast
from faceswap_hq.actors.voice import SAMPLE_RATE, synthesize
from faceswap_hq.console import Advance, progress
from faceswap_hq.files import sha256_file, write_json

VERSION = 1


def write_voice(path: Path, performance: Performance, pitch: float) -> None:
    """Write a performance's voice as mono AAC in an MP4 file, which :class:`VideoWriter` copies from."""
    samples = synthesize(performance.seed, performance.seconds, pitch=pitch)
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=SAMPLE_RATE)
        stream.codec_context.layout = "mono"
        for start in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def render_clip(
    path: str | Path,
    identity: Identity,
    performance: Performance,
    scene: Scene,
    *,
    source: Identity | None = None,
    match_skin: bool = False,
    crf: int = 16,
    advance: Advance | None = None,
) -> Path:
    """Render a clip with sound to an MP4 file that says in its content credentials what it is.

    Args:
        path: The file to write; it appears whole or not at all.
        identity: Who is seen.
        performance: What they do.
        scene: Where.
        source: When given, the clip is the exact swap of this person's face onto ``identity``
            (:func:`faceswap_hq.actors.ground_truth_swap`).
        match_skin: See there.
        crf: Quality of the H.264 stream; lower is better.
        advance: Called with 1 after every frame.

    Returns:
        ``path``.
    """
    from faceswap_hq.media import VideoInfo, VideoWriter
    from faceswap_hq.provenance import Claim, sign_video

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    cast = cast_of(identity) if source is None else swapped_cast(source, identity, match_skin)
    base = Fraction(1, 90000)
    rate = Fraction(performance.fps).limit_denominator(1001)
    like = VideoInfo(
        path=path, width=scene.width, height=scene.height, rotation=0, rate=rate, time_base=base,
        frames=performance.frames,
        duration=performance.seconds, has_audio=True, codec="h264", pixel_format="yuv420p",
    )  # fmt: skip
    facts: dict[str, Any] = {
        "generator": f"faceswap-hq virtual actors {VERSION}",
        "toolkit": faceswap_hq.__version__,
        "identity": _named(identity),
        "performance": asdict(performance),
        "scene": asdict(scene),
    }
    if source is not None:
        facts["face_of"] = _named(source)
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "voice.mp4"
        write_voice(sound, performance, identity.pitch)
        unsigned = Path(folder) / "unsigned.mp4"
        with VideoWriter(unsigned, like=like, audio_from=sound, crf=crf) as out:
            for frame, image in enumerate(_images(cast, performance, scene)):
                out.write(image, int(round(frame / rate / base)))
                if advance is not None:
                    advance(1)
        claim = Claim(action="c2pa.created", source_type="algorithmicMedia", parent=None, title=path.name, facts=facts)
        sign_video(unsigned, path, claim=claim)
    return path


def _named(identity: Identity) -> dict[str, Any]:
    """An identity as nested names and numbers: content credentials do not keep lists of numbers."""
    names = {"shape": MODE_NAMES, "ears": ("size", "angle")}
    out: dict[str, Any] = asdict(identity)
    for key, value in out.items():
        if isinstance(value, tuple):
            out[key] = dict(zip(names.get(key, ("red", "green", "blue")), value, strict=True))
    return out


def _images(cast: Cast, performance: Performance, scene: Scene) -> Iterator[np.ndarray]:
    for frame, moment in enumerate(moments(performance)):
        yield render_moment(cast, moment, scene, frame).image


@dataclass(frozen=True, kw_only=True)
class Member:
    """One actor of a cast: who, where, and two different performances."""

    name: str
    identity: Identity
    scene: Scene
    performance: Performance
    held_out: Performance


def plan_cast(count: int, *, seconds: float = 8.0, seed: int = 0, size: int = 320, fps: float = 25.0) -> list[Member]:
    """The actors of ``make_cast`` with their seeds, without rendering anything."""
    out = []
    for k, identity in enumerate(cast_identities(seed, count)):
        out.append(
            Member(
                name=f"actor{k + 1:02d}",
                identity=identity,
                scene=make_scene(1000 * seed + k, width=size, height=size),
                performance=make_performance(1000 * seed + 2 * k, seconds=seconds, fps=fps),
                held_out=make_performance(1000 * seed + 2 * k + 1, seconds=seconds, fps=fps),
            )
        )
    return out


def make_cast(
    directory: str | Path,
    count: int,
    *,
    seconds: float = 8.0,
    seed: int = 0,
    size: int = 320,
    fps: float = 25.0,
    held_out: bool = False,
    workers: int = 1,
) -> list[Path]:
    """Render a cast: ``actor01.mp4`` ... and ``cast.json`` with seeds, all parameters and checksums.

    Args:
        directory: Where to write; made if needed.
        count: How many actors, at least 1.
        seconds: Length of each clip.
        seed: Seeds everything.
        size: Side of the square picture.
        fps: Frames a second.
        held_out: Also render each actor's second performance in the same place, ``actor01_heldout.mp4`` ...
        workers: How many clips to render at a time. With more than one, each is rendered in a process of its own
            (started afresh, so a script that calls this needs the usual ``if __name__ == "__main__":``).

    Returns:
        The clips.
    """
    if count < 1:
        raise ValueError("a cast has at least one actor")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    members = plan_cast(count, seconds=seconds, seed=seed, size=size, fps=fps)
    jobs = [(directory / f"{m.name}.mp4", m, m.performance) for m in members]
    if held_out:
        jobs += [(directory / f"{m.name}_heldout.mp4", m, m.held_out) for m in members]
    with progress("virtual actors", sum(p.frames for _, _, p in jobs), unit="frames") as advance:
        if workers <= 1:
            for path, member, performance in jobs:
                render_clip(path, member.identity, performance, member.scene, advance=advance)
        else:
            _render_in_processes(jobs, workers, advance)
    entries: dict[str, dict[str, Any]] = {
        m.name: {"name": m.name, "identity": asdict(m.identity), "scene": asdict(m.scene), "clips": []} for m in members
    }
    for path, member, performance in jobs:
        clip = {"file": path.name, "performance": asdict(performance), "sha256": sha256_file(path)}
        entries[member.name]["clips"].append(clip)
    cast = {"format": "faceswap-hq cast", "version": VERSION, "toolkit": faceswap_hq.__version__, "seed": seed}
    write_json(directory / "cast.json", {**cast, "actors": list(entries.values())})
    return [path for path, _, _ in jobs]


def _render_in_processes(jobs: list[tuple[Path, Member, Performance]], workers: int, advance: Advance) -> None:
    context = multiprocessing.get_context("spawn")
    ticks = context.SimpleQueue()
    with ProcessPoolExecutor(
        min(workers, len(jobs)), mp_context=context, initializer=_start, initargs=(ticks,)
    ) as pool:
        waiting = {pool.submit(_render_job, path, m.identity, p, m.scene) for path, m, p in jobs}
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                while not ticks.empty():
                    advance(ticks.get())
                for job in done:
                    job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_ticks: Any = None


def _start(ticks: Any) -> None:
    global _ticks
    _ticks = ticks
    cv2.setNumThreads(1)


def _render_job(path: Path, identity: Identity, performance: Performance, scene: Scene) -> None:
    render_clip(path, identity, performance, scene, advance=lambda n=1, note="": _ticks.put(n))


__all__ = ["Member", "make_cast", "plan_cast", "render_clip", "write_voice"]
