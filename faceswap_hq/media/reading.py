"""Decode a video frame by frame in a background thread."""

from __future__ import annotations

import dataclasses
import threading
from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from av.video.frame import VideoFrame

from faceswap_hq.media.background import in_background
from faceswap_hq.media.decoding import Damage, Frame, FrameMaker, PacketCount, decoded
from faceswap_hq.media.probing import VideoInfo, open_input, probe, video_stream
from faceswap_hq.media.seeking import FrameTable, decode_seeking

_SEEKING_PAYS = 24  # unwanted frames before looking for a shortcut pays


def read_frames(
    video: str | Path | VideoInfo,
    *,
    start: int = 0,
    stop: int | None = None,
    indices: Sequence[int] | None = None,
    damage: Damage | None = None,
    prefetch: int = 8,
    threads: int = 0,
) -> Generator[Frame, None, None]:
    """Decode a video in a background thread.

    Damaged parts are skipped and counted in ``damage``; decoding goes on behind them. At most ``prefetch`` frames wait
    in the queue, whatever the length of the video. Closing the iterator, or leaving the loop over it, stops the thread.

    Args:
        video: A local video file, or what :func:`probe` said about it.
        start: First frame wanted.
        stop: Frame behind the last one wanted, or None for the end.
        indices: Only these frames, in ascending order however given, instead of ``start`` and ``stop``. Numbers
            beyond the end are ignored.
        damage: Filled while decoding.
        prefetch: Size of the queue in frames.
        threads: Of the decoder; 0 for as many as there are cores. One does with a sixth less work.

    Returns:
        Iterator over the frames wanted, in display order.

    Raises:
        UserError: At once, for what :func:`probe` refuses.
        ValueError: For negative or contradictory ranges.
    """
    if start < 0 or (stop is not None and stop < start):
        raise ValueError(f"start={start}, stop={stop} is no range of frames.")
    if indices is None:
        selection = _Selection(None, start, stop)
    else:
        if start or stop is not None:
            raise ValueError("Give either indices or start and stop, not both.")
        selection = _Selection(tuple(sorted({int(i) for i in indices})))
        if selection.wanted and selection.wanted[0] < 0:
            raise ValueError("Frame indices are counted from 0.")
    info = video if isinstance(video, VideoInfo) else probe(video)
    filled = damage if damage is not None else Damage()
    return in_background(
        lambda stop: _decode(info, selection, filled, stop, threads), size=prefetch, name="faceswap-hq decoder"
    )


@dataclasses.dataclass(frozen=True)
class _Selection:
    """Which frames are wanted."""

    wanted: tuple[int, ...] | None
    start: int = 0
    stop: int | None = None

    def next_after(self, index: int) -> int | None:
        """The first wanted frame with a number above ``index``, or None."""
        if self.wanted is not None:
            at = bisect_right(self.wanted, index)
            return self.wanted[at] if at < len(self.wanted) else None
        candidate = max(self.start, index + 1)
        return candidate if self.stop is None or candidate < self.stop else None

    def unwanted(self) -> int:
        """How many frames before the last wanted one are not wanted."""
        if self.wanted is not None:
            return self.wanted[-1] + 1 - len(self.wanted) if self.wanted else 0
        return self.start


def _decode(
    info: VideoInfo, selection: _Selection, damage: Damage, stop: threading.Event, threads: int
) -> Generator[Frame, None, None]:
    done = -1
    if selection.unwanted() >= _SEEKING_PAYS and (table := FrameTable.read(info, stop)) is not None:
        for frame in decode_seeking(info, table, selection.next_after, damage, stop, threads):
            done = frame.index
            yield frame
        following = selection.next_after(done)
        if following is not None and following >= len(table.rank):
            return
    if selection.next_after(done) is not None and not stop.is_set():
        yield from _decode_straight(info, selection, done, damage, stop, threads)


def _decode_straight(
    info: VideoInfo, selection: _Selection, done: int, damage: Damage, stop: threading.Event, threads: int
) -> Iterator[Frame]:
    """Decode from the beginning; numbers are counted. Frames up to ``done`` have been handed out already."""
    with open_input(info.path) as container:
        stream = video_stream(container, info.path)
        stream.thread_type, stream.thread_count = "AUTO", threads
        make = FrameMaker(info)
        stamp = _Timestamps(info)
        count = PacketCount()
        wanted = selection.next_after(done)
        index = -1
        for index, frame in enumerate(decoded(container, stream, damage, stop, count)):
            pts = stamp(frame, damage)
            damage.frames_damaged += frame.is_corrupt
            if index == wanted:
                yield make(index, pts, frame)
                wanted = selection.next_after(index)
                if wanted is None:
                    return
        if stop.is_set():
            return
        guess = count.shown if damage.errors else 0  # packets need not be frames, so only where something is known lost
        expected = info.frames - count.discarded if info.frames else guess
        damage.frames_lost += max(0, expected - (index + 1))


class _Timestamps:
    """Gives every frame a strictly increasing timestamp: its own where possible, else one average step on."""

    def __init__(self, info: VideoInfo) -> None:
        self._step = max(1, round(1 / (info.rate * info.time_base)))
        self._last: int | None = None

    def __call__(self, frame: VideoFrame, damage: Damage) -> int:
        pts = frame.pts
        if pts is None or (self._last is not None and pts <= self._last):
            pts = 0 if self._last is None else self._last + self._step
            damage.timestamps_repaired += 1
        self._last = pts
        return pts
