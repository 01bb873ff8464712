"""What a clip's file says before a single picture of it is looked at: container, codec, clock, packets, tags."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np

from faceswap_hq.errors import UserError
from stress.data.layouts import PICTURE_SUFFIXES


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """Facts of one file.

    Attributes:
        numbers: Name -> value, names of :data:`NUMBERS`; what does not apply (a picture has no frame rate) is missing.
        words: Name -> text, names of :data:`WORDS`.
        tags: Metadata of the container and its video track, ``key=value``; titles and dates of the content credentials
            are not among them.
    """

    numbers: dict[str, float] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()


#: Number -> (what it is called, whether ratios of it count rather than differences).
NUMBERS: dict[str, tuple[str, bool]] = {
    "width": ("picture width (px)", True),
    "height": ("picture height (px)", True),
    "rate": ("frames per second", True),
    "duration": ("length (s)", True),
    "frames": ("number of frames", True),
    "clock": ("ticks of the clock per second", True),
    "start": ("time of the first frame (s)", False),
    "keyframe_spacing": ("frames from keyframe to keyframe", True),
    "reordered": ("share of frames stored out of order", False),
    "audio": ("share of clips with sound", False),
    "bits_per_pixel": ("bits per pixel", True),
    "keyframe_bits": ("bits per pixel of keyframes", True),
    "between_bits": ("bits per pixel of other frames", True),
    "packet_spread": ("unevenness of the frames' sizes", True),
}

#: Word -> what it is called.
WORDS: dict[str, str] = {
    "format": "container",
    "codec": "codec",
    "profile": "codec profile",
    "pixels": "pixel format",
    "colour": "colour tags",
    "sound": "sound codec",
    "encoder": "encoder tag",
}

#: Which of them a probe looks at; size and length are the business of the one-feature audit as well.
CODEC = ("rate", "duration", "frames", "clock", "start", "keyframe_spacing", "reordered", "audio", "width", "height")
BITRATE = ("bits_per_pixel", "keyframe_bits", "between_bits", "packet_spread")


def file_facts(path: Path) -> FileFacts | None:
    """Read the facts of a video or picture; None for a folder, or what is neither.

    Bits of a video are those of its packets, not of the file: signed content credentials lie in the file as well, they
    differ between a fake and its real by design, and no detector of pictures sees them. Those of a picture are its
    file's.
    """
    if not path.is_file():
        return None
    try:
        return _picture(path) if path.suffix.lower() in PICTURE_SUFFIXES else _video(path)
    except (UserError, OSError, av.error.FFmpegError):
        return None


def _picture(path: Path) -> FileFacts | None:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            width, height = picture.size
            words = {"format": (picture.format or "").lower(), "codec": (picture.format or "").lower()}
            words["pixels"] = picture.mode
            tags = frozenset(f"{key}={value}" for key, value in picture.info.items() if isinstance(value, (str, int)))
    except (UnidentifiedImageError, Image.DecompressionBombError):
        return None
    bits = path.stat().st_size * 8 / (width * height)
    numbers = {"width": float(width), "height": float(height), "bits_per_pixel": bits}
    return FileFacts(numbers=numbers, words=words, tags=tags)


def _video(path: Path) -> FileFacts:
    from faceswap_hq.media.probing import open_input, video_stream

    with open_input(path) as container:
        stream = video_stream(container, path)
        context = stream.codec_context
        sound = next((s.codec_context.name for s in container.streams.audio if s.codec_context is not None), "none")
        colour = (context.colorspace, context.color_range, context.color_primaries, context.color_trc)
        words = {
            "format": container.format.name,
            "codec": context.name,
            "profile": str(context.profile),
            "pixels": str(context.pix_fmt),
            "colour": "/".join(str(int(tag)) for tag in colour),
            "sound": sound,
            "encoder": stream.metadata.get("encoder", container.metadata.get("encoder", "none")),
        }
        tags = frozenset(
            f"{key}={value}"
            for table in (container.metadata, stream.metadata)
            for key, value in table.items()
            if key not in ("creation_time", "title")
        )
        pixels = context.width * context.height
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        clock = float(1 / stream.time_base) if stream.time_base else 0.0
        packets = [(p.size, p.is_keyframe, p.pts, p.dts) for p in container.demux(stream) if p.size]
    numbers = {"width": float(context.width), "height": float(context.height), "clock": clock, "rate": rate}
    numbers["audio"] = float(sound != "none")
    numbers |= _packet_numbers(packets, pixels, rate, clock)
    return FileFacts(numbers={k: v for k, v in numbers.items() if np.isfinite(v)}, words=words, tags=tags)


def _packet_numbers(
    packets: list[tuple[int, bool, int | None, int | None]], pixels: int, rate: float, clock: float
) -> dict[str, float]:
    if not packets or not pixels:
        return {}
    sizes = np.array([size for size, *_ in packets], np.float64) * 8 / pixels
    key = np.array([bool(is_key) for _, is_key, *_ in packets])
    shown = [pts for *_, pts, _ in packets if pts is not None]
    found = {
        "frames": float(len(packets)),
        "keyframe_spacing": len(packets) / max(1, int(key.sum())),
        "bits_per_pixel": float(sizes.mean()),
        "packet_spread": float(sizes.std() / sizes.mean()),
        "reordered": float(np.mean(np.diff(shown) < 0)) if len(shown) > 1 else 0.0,
    }
    if rate:
        found["duration"] = len(packets) / rate
    if shown and clock:
        found["start"] = min(shown) / clock
    if key.any():
        found["keyframe_bits"] = float(sizes[key].mean())
    if not key.all():
        found["between_bits"] = float(sizes[~key].mean())
    return found
