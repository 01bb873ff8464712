"""From packets to decoded frames, over damaged parts as well."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from faceswap_hq.media.color import ToRGB
from faceswap_hq.media.orientation import turned
from faceswap_hq.media.probing import VideoInfo

_MAX_MESSAGES = 20
_MAX_READ_ERRORS = 1000


@dataclasses.dataclass
class Frame:
    """One decoded frame.

    Args:
        index: Number of the frame in display order, from 0. Frames that a damaged file lost are not counted.
        time: Time in seconds, ``pts * time_base``.
        pts: Timestamp in units of the stream's time base; strictly increasing from frame to frame.
        image: uint8 (H, W, 3), RGB, upright, C-contiguous.
    """

    index: int
    time: float
    pts: int
    image: np.ndarray


@dataclasses.dataclass
class Damage:
    """What was wrong with a file, filled while it is decoded.

    Args:
        errors: Pieces of the file that could not be read or decoded.
        frames_lost: Frames that the file should have had and that could not be shown; known when the end was reached.
        frames_damaged: Frames shown in which the decoder had to guess parts.
        timestamps_repaired: Frames whose timestamp was missing or went backwards.
        messages: The first few errors in words.
    """

    errors: int = 0
    frames_lost: int = 0
    frames_damaged: int = 0
    timestamps_repaired: int = 0
    messages: list[str] = dataclasses.field(default_factory=list)

    def add(self, message: str) -> None:
        """Count one error; only the first few are kept in words."""
        self.errors += 1
        if len(self.messages) < _MAX_MESSAGES:
            self.messages.append(message)

    def __bool__(self) -> bool:
        return bool(self.errors or self.frames_lost or self.frames_damaged or self.timestamps_repaired)

    def __str__(self) -> str:
        parts = [
            (self.frames_lost, "frames lost"),
            (self.frames_damaged, "frames shown with guessed parts"),
            (self.errors, "decoding errors"),
            (self.timestamps_repaired, "timestamps repaired"),
        ]
        return ", ".join(f"{count} {what}" for count, what in parts if count) or "no damage"


@dataclasses.dataclass
class PacketCount:
    """How many packets of a stream were met.

    Args:
        shown: Packets with something to show.
        discarded: Packets that the container's edit list hides.
    """

    shown: int = 0
    discarded: int = 0


def decoded(
    container: InputContainer,
    stream: VideoStream,
    damage: Damage,
    stop: threading.Event,
    count: PacketCount | None = None,
    prepare: Callable[[Packet], None] = lambda packet: None,
) -> Iterator[VideoFrame]:
    """All frames that can be decoded from here on, until ``stop`` is set; errors are counted and skipped.

    ``prepare`` is called with each packet before the decoder gets it.
    """
    read_errors = 0
    while True:
        try:
            for packet in container.demux(stream):
                if stop.is_set():
                    return
                if count is not None and packet.size:
                    count.discarded += packet.is_discard
                    count.shown += not packet.is_discard
                prepare(packet)
                try:
                    frames = packet.decode()
                except av.error.EOFError:
                    continue
                except av.error.FFmpegError as error:
                    at = "" if packet.pts is None else f" at {float(packet.pts * packet.time_base):.2f} s"
                    damage.add(f"decoding{at}: {error.strerror}")
                    continue
                yield from frames
            return
        except av.error.FFmpegError as error:
            damage.add(f"reading: {error.strerror}")
            read_errors += 1
            if read_errors > _MAX_READ_ERRORS:
                return


class FrameMaker:
    """Makes :class:`Frame` objects from what the decoder gives; one object per stream."""

    def __init__(self, info: VideoInfo) -> None:
        self._info = info
        self._convert = ToRGB(info.color, *info.stored_size)

    def __call__(self, index: int, pts: int, frame: VideoFrame) -> Frame:
        """Convert a frame and turn it upright."""
        image = turned(self._convert(frame), self._info.rotation, mirror_first=self._info.mirrored)
        return Frame(index, float(pts * self._info.time_base), pts, image)
