"""Small clips for the media tests, made with PyAV directly: every frame carries its number."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

CELL = 16


def numbered(number: int, width: int = 160, height: int = 96) -> np.ndarray:
    """A frame, uint8 (H, W, 3), with its number as eight dark or light cells on top and colors that turn below."""
    y, x = np.mgrid[:height, :width]
    image = np.empty((height, width, 3), np.uint8)
    image[..., 0] = 60 + 120 * x // width
    image[..., 1] = 60 + 120 * y // height
    image[..., 2] = 40 + (number * 7) % 160
    for bit in range(8):
        image[:CELL, bit * CELL : (bit + 1) * CELL] = 220 if number >> bit & 1 else 30
    return image


def number_of(image: np.ndarray) -> int:
    """The number that :func:`numbered` put into a frame, after compression."""
    inner = image[CELL // 4 : CELL * 3 // 4]
    return sum(
        1 << bit for bit in range(8) if inner[:, bit * CELL + CELL // 4 : bit * CELL + CELL * 3 // 4].mean() > 125
    )


def synthetic_clip(
    path: Path,
    *,
    pts: Sequence[int] | None = None,
    count: int = 12,
    width: int = 160,
    height: int = 96,
    time_base: Fraction = Fraction(1, 12800),
    rate: int = 25,
    rotation: int = 0,
    mirrored: bool = False,
    audio: str | None = None,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    color: tuple[int, int] = (2, 0),
    options: dict[str, str] | None = None,
    images: Sequence[np.ndarray] | None = None,
    audio_rate: int = 44100,
) -> Path:
    """Write a clip of numbered frames.

    Args:
        path: File to write; its suffix picks the container.
        pts: Timestamps in ``time_base``; default: evenly spaced by ``rate``.
        count: Number of frames when ``pts`` is not given.
        width: Stored width.
        height: Stored height.
        time_base: Unit of the timestamps.
        rate: Declared frame rate.
        rotation: Rotation flag, degrees clockwise.
        mirrored: Flip flag.
        audio: Codec of a sound track (a click of tone in every whole half second), or None.
        codec: Video encoder.
        pixel_format: Of the stored frames.
        color: (matrix, range) tags.
        options: For the encoder; default: x264, high quality, GOP of 10.
        images: Upright-as-stored pictures instead of numbered ones.
        audio_rate: Sampling rate.
    """
    pts = list(range(0, count * time_base.denominator // rate, time_base.denominator // rate)) if pts is None else pts
    default = {"crf": "12", "preset": "veryfast", "g": "10"} if codec == "libx264" else {}
    scale = str(time_base.denominator)
    with av.open(str(path), "w", options={"video_track_timescale": scale, "movie_timescale": scale}) as output:
        stream = output.add_stream(codec, rate=rate, options=default if options is None else options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.codec_context.time_base = time_base
        stream.codec_context.colorspace, stream.codec_context.color_range = color
        if rotation or mirrored:
            if not hasattr(stream, "set_display_matrix"):
                pytest.skip("making a clip with a rotation flag needs PyAV 18")
            stream.set_display_matrix(display_matrix(rotation, mirrored))
        sound = output.add_stream(audio, rate=audio_rate) if audio else None
        if sound is not None:
            sound.codec_context.layout = "mono"
        for index, stamp in enumerate(pts):
            image = numbered(index, width, height) if images is None else images[index]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            space = {1: 1, 9: 9}.get(color[0], 5)
            frame = frame.reformat(
                format=pixel_format,
                src_colorspace=space,
                dst_colorspace=space,
                src_color_range=2,
                dst_color_range=color[1] or 1,
                interpolation="AREA",
            )
            frame.pts, frame.time_base = stamp, time_base
            frame.colorspace, frame.color_range = color
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound is not None:
            last = (pts[-1] + time_base.denominator // rate) * time_base
            for block in sound_blocks(float(last), audio_rate):
                output.mux(sound.encode(block))
            output.mux(sound.encode(None))
    return path


def sound_blocks(seconds: float, rate: int) -> list[av.AudioFrame]:
    """A 1 kHz tone that lasts 20 ms at the start of every half second, as s16 mono frames."""
    time = np.arange(round(seconds * rate)) / rate
    signal = np.where(time % 0.5 < 0.02, 12000 * np.sin(2 * np.pi * 1000 * time), 0).astype(np.int16)
    blocks = []
    for start in range(0, len(signal), 1024):
        block = av.AudioFrame.from_ndarray(signal[None, start : start + 1024], format="s16", layout="mono")
        block.sample_rate, block.pts, block.time_base = rate, start, Fraction(1, rate)
        blocks.append(block)
    return blocks


def clicks(path: Path) -> list[float]:
    """Times in seconds, on the file's clock, at which the tone of :func:`sound_blocks` begins."""
    samples: list[np.ndarray] = []
    times: list[np.ndarray] = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            values = frame.to_ndarray().astype(float)
            values = values.reshape(-1, len(frame.layout.channels))[:, 0] if frame.format.is_packed else values[0]
            samples.append(values / (32768 if np.issubdtype(frame.to_ndarray().dtype, np.integer) else 1))
            times.append(frame.pts * float(frame.time_base) + np.arange(frame.samples) / frame.sample_rate)
    signal, time = np.abs(np.concatenate(samples)), np.concatenate(times)
    loud = np.flatnonzero(signal > 0.1)
    starts = loud[np.flatnonzero(np.diff(np.concatenate([[-(10**9)], loud])) > 0.2 / np.median(np.diff(time)))]
    return [float(time[i]) for i in starts]


def display_matrix(rotation: int, mirrored: bool = False) -> list[int]:
    """FFmpeg's display matrix for a left-right flip followed by a clockwise turn."""
    turn = {0: np.eye(2), 90: [[0, -1], [1, 0]], 180: -np.eye(2), 270: [[0, 1], [-1, 0]]}[rotation]
    both = np.asarray(turn) @ np.diag([-1 if mirrored else 1, 1])  # columns: where x and y go, y pointing down
    (a, c), (b, d) = np.rint(both * 65536).astype(int).tolist()
    return [a, b, 0, c, d, 0, 0, 0, 1 << 30]


def packet_table(path: Path, kind: str = "video") -> list[tuple[float, bytes]]:
    """(time in seconds, content) of the packets of the first stream of a kind."""
    with av.open(str(path)) as container:
        stream = container.streams.get(**{kind: 0})[0]
        return [(float(p.pts * p.time_base), bytes(p)) for p in container.demux(stream) if p.size]
