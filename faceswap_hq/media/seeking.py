"""Decode single frames of a long video without decoding all of it, and still get exactly those frames."""

from __future__ import annotations

import dataclasses
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from faceswap_hq.media.decoding import Damage, Frame, FrameMaker, decoded
from faceswap_hq.media.probing import VideoInfo, open_input, video_stream

_JUMP_PAYS = 30  # frames to the next key frame before seeking beats decoding on
# Codecs of which one packet gives one frame, so that the packets' timestamps number the frames.
_ONE_TO_ONE = frozenset({"h264", "hevc", "mpeg4", "mjpeg", "prores", "dnxhd", "mpeg1video", "mpeg2video"})


@dataclasses.dataclass(frozen=True)
class FrameTable:
    """Where the frames of a video are.

    Args:
        rank: Timestamp -> number of the frame in display order.
        keys: Numbers of the key frames, ascending.
        positions: The timestamp of each of them, which is what to seek to.
    """

    rank: dict[int, int]
    keys: tuple[int, ...]
    positions: tuple[int, ...]

    @staticmethod
    def read(info: VideoInfo, stop: threading.Event) -> FrameTable | None:
        """Read the packets' timestamps without decoding; None where they do not number the frames reliably."""
        if info.codec not in _ONE_TO_ONE:
            return None
        stamps: list[int] = []
        keys: list[int] = []
        try:
            with open_input(info.path) as container:
                stream = video_stream(container, info.path)
                for packet in container.demux(stream):
                    if stop.is_set():
                        return None
                    if not packet.size:
                        continue
                    if packet.pts is None or packet.is_corrupt or packet.is_discard:
                        return None
                    stamps.append(packet.pts)
                    if packet.is_keyframe:
                        keys.append(packet.pts)
        except av.error.FFmpegError:
            return None
        rank = {pts: index for index, pts in enumerate(sorted(stamps))}
        if len(rank) != len(stamps) or (info.frames and info.frames != len(stamps)):
            return None
        keys.sort()
        return FrameTable(rank, tuple(rank[pts] for pts in keys), tuple(keys))

    def position_for(self, wanted: int, reached: int) -> int | None:
        """Where to seek for frame ``wanted`` when frame ``reached`` was the last; None when decoding on is as good."""
        key = bisect_right(self.keys, wanted) - 1
        return self.positions[key] if key >= 0 and self.keys[key] - reached > _JUMP_PAYS else None


def decode_seeking(
    info: VideoInfo,
    table: FrameTable,
    next_after: Callable[[int], int | None],
    damage: Damage,
    stop: threading.Event,
    threads: int = 0,
) -> Iterator[Frame]:
    """Decode with jumps over what is not wanted.

    Ends early when the file does not behave as its timestamps promise (an error, a frame missing): the caller then goes
    on by decoding from the beginning, which is right for every file.

    Args:
        info: The video.
        table: Its frames.
        next_after: Gives the first frame wanted behind a number, or None.
        damage: Filled while decoding.
        stop: Set when nobody wants more frames.
        threads: Of the decoder; 0 for as many as there are cores.
    """
    with open_input(info.path) as container:
        stream = video_stream(container, info.path)
        stream.thread_type, stream.thread_count = "AUTO", threads
        make = FrameMaker(info)
        reached, wanted = -1, next_after(-1)
        while wanted is not None and wanted < len(table.rank) and not stop.is_set():
            position = table.position_for(wanted, reached)
            if position is not None:
                try:
                    container.seek(position, stream=stream, backward=True)
                except av.error.FFmpegError:
                    return
            elif reached >= 0:
                return
            for index, pts, frame in _numbered(container, stream, table, next_after, stop):
                if index > wanted:
                    return
                reached = index
                if index < wanted:
                    continue
                damage.frames_damaged += frame.is_corrupt
                yield make(index, pts, frame)
                wanted = next_after(index)
                if wanted is None or table.position_for(wanted, reached) is not None:
                    break


def _numbered(
    container: InputContainer,
    stream: VideoStream,
    table: FrameTable,
    next_after: Callable[[int], int | None],
    stop: threading.Event,
) -> Iterator[tuple[int, int, av.VideoFrame]]:
    """(number, timestamp, frame) from here on; ends at the first thing unforeseen.

    Frames that are not wanted and that no other frame is predicted from (most B frames) are not decoded.
    """
    local = Damage()

    def prepare(packet: Packet) -> None:
        index = table.rank.get(packet.pts) if packet.pts is not None else None
        wanted = index is None or next_after(index - 1) == index
        stream.codec_context.skip_frame = "DEFAULT" if wanted else "NONREF"

    for frame in decoded(container, stream, local, stop, None, prepare):
        index = None if frame.pts is None else table.rank.get(frame.pts)
        if index is None or frame.pts is None or local.errors:
            return
        yield index, frame.pts, frame
