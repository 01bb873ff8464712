"""Clips of virtual actors, and whole casts of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
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


def plan_cast(count: int, *, seconds: float = 8.0, seed: int = 0, size: int = 320) -> list[Member]:
    """The actors of ``make_cast`` with their seeds, without rendering anything."""
    out = []
    for k, identity in enumerate(cast_identities(seed, count)):
        out.append(
            Member(
                name=f"actor{k + 1:02d}",
                identity=identity,
                scene=make_scene(1000 * seed + k, width=size, height=size),
                performance=make_performance(1000 * seed + 2 * k, seconds=seconds),
                held_out=make_performance(1000 * seed + 2 * k + 1, seconds=seconds),
            )
        )
    return out


def make_cast(
    directory: str | Path, count: int, *, seconds: float = 8.0, seed: int = 0, size: int = 320
) -> list[Path]:
    """Render a cast: ``actor01.mp4`` ... and ``cast.json`` with seeds, all parameters and checksums.

    Args:
        directory: Where to write; made if needed.
        count: How many actors, at least 1.
        seconds: Length of each clip.
        seed: Seeds everything.
        size: Side of the square picture.

    Returns:
        The clips.
    """
    if count < 1:
        raise ValueError("a cast has at least one actor")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    members = plan_cast(count, seconds=seconds, seed=seed, size=size)
    paths = [directory / f"{m.name}.mp4" for m in members]
    with progress("virtual actors", sum(m.performance.frames for m in members), unit="frames") as advance:
        for path, member in zip(paths, members, strict=True):
            render_clip(path, member.identity, member.performance, member.scene, advance=advance)
    entries = []
    for path, m in zip(paths, members, strict=True):
        clip = {"file": path.name, "performance": asdict(m.performance), "sha256": sha256_file(path)}
        entries.append({"name": m.name, "identity": asdict(m.identity), "scene": asdict(m.scene), "clips": [clip]})
    cast = {"format": "faceswap-hq cast", "version": VERSION, "toolkit": faceswap_hq.__version__, "seed": seed}
    write_json(directory / "cast.json", {**cast, "actors": entries})
    return paths
