"""Decode a video frame by frame."""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from faceswap_hq.media.background import in_background
from faceswap_hq.media.color import ToRGB
from faceswap_hq.media.probing import VideoInfo, open_input, probe, video_stream

_MAX_MESSAGES = 20
_MAX_READ_ERRORS = 1000
_SEEK_PAYS = 120  # frames to be skipped before seeking beats decoding on
# Codecs of which one packet gives one frame, so that the packets' timestamps number the frames.
_ONE_TO_ONE = frozenset({"h264", "hevc", "mpeg4", "mjpeg", "prores", "dnxhd", "mpeg1video", "mpeg2video", "av1"})


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


def read_frames(
    path: str | Path,
    *,
    start: int = 0,
    stop: int | None = None,
    indices: Sequence[int] | None = None,
    damage: Damage | None = None,
    prefetch: int = 8,
) -> Iterator[Frame]:
    """Decode a video in a background thread.

    Damaged parts are skipped and counted in ``damage``; decoding goes on behind them. At most ``prefetch`` frames wait
    in the queue, whatever the length of the video. Closing the iterator, or leaving the loop over it, stops the thread.

    Args:
        path: A local video file.
        start: First frame wanted.
        stop: Frame behind the last one wanted, or None for the end.
        indices: Only these frames, in ascending order however given, instead of ``start`` and ``stop``. Numbers
            beyond the end are ignored.
        damage: Filled while decoding.
        prefetch: Size of the queue in frames.

    Returns:
        Iterator over the frames wanted, in display order.

    Raises:
        UserError: At once, for what :func:`probe` refuses.
        ValueError: For negative or contradictory ranges.
    """
    if start < 0 or (stop is not None and stop < start):
        raise ValueError(f"start={start}, stop={stop} is no range of frames.")
    if indices is not None:
        if start or stop is not None:
            raise ValueError("Give either indices or start and stop, not both.")
        wanted = sorted({int(i) for i in indices})
        if wanted and wanted[0] < 0:
            raise ValueError("Frame indices are counted from 0.")
        selection = _Selection(tuple(wanted))
    else:
        selection = _Selection(None, start, stop)
    info = probe(path)
    return in_background(
        _decode(info, selection, damage if damage is not None else Damage()), size=prefetch, name="faceswap-hq decoder"
    )


@dataclasses.dataclass
class _Selection:
    """Which frames are wanted, and which is the next of them."""

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

    def skipped(self) -> int:
        """How many frames before the last wanted one are not wanted."""
        if self.wanted is not None:
            return self.wanted[-1] + 1 - len(self.wanted) if self.wanted else 0
        return self.start


def _decode(info: VideoInfo, selection: _Selection, damage: Damage) -> Iterator[Frame]:
    """The frames wanted; runs in the background thread."""
    done = -1
    if selection.skipped() >= _SEEK_PAYS:
        table = _Table.read(info)
        if table is not None:
            for frame in _decode_seeking(info, selection, table, damage):
                done = frame.index
                yield frame
            following = selection.next_after(done)
            if following is not None and following >= len(table.rank):
                return
    if selection.next_after(done) is not None:
        yield from _decode_straight(info, selection, done, damage)


class _Turn:
    """Turns stored frames upright."""

    def __init__(self, info: VideoInfo) -> None:
        self._rotation, self._mirrored = info.rotation, info.mirrored

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return turned(image, self._rotation, mirror_first=self._mirrored)


def turned(image: np.ndarray, rotation: int, *, mirror_first: bool = False, mirror_last: bool = False) -> np.ndarray:
    """Turn an image clockwise by a multiple of 90 degrees, flipping it left-right before or after that.

    Args:
        image: (H, W, 3).
        rotation: 0, 90, 180 or 270.
        mirror_first: Flip before the turn.
        mirror_last: Flip after the turn.

    Returns:
        C-contiguous; the image itself where nothing is to be done.
    """
    if not (rotation or mirror_first or mirror_last):
        return image
    import cv2

    if mirror_first:
        image = cv2.flip(image, 1)
    if rotation:
        codes = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
        image = cv2.rotate(image, codes[rotation])
    return cv2.flip(image, 1) if mirror_last else image


def _decode_straight(info: VideoInfo, selection: _Selection, done: int, damage: Damage) -> Iterator[Frame]:
    """Decode from the beginning; numbers are counted."""
    with open_input(info.path) as container:
        stream = video_stream(container, info.path)
        stream.thread_type = "AUTO"
        convert = ToRGB(info.color, *info.stored_size)
        turn = _Turn(info)
        stamps = _Timestamps(info)
        count = _Packets()
        wanted = selection.next_after(done)
        index = -1
        for frame in _frames(container, stream, damage, count):
            index += 1
            pts = stamps.next(frame, damage)
            if frame.is_corrupt:
                damage.frames_damaged += 1
            if index != wanted:
                continue
            yield Frame(index, float(pts * info.time_base), pts, turn(convert(frame)))
            wanted = selection.next_after(index)
            if wanted is None:
                return
        expected = info.frames - count.discarded if info.frames else count.whole if damage.errors else 0
        damage.frames_lost += max(0, expected - (index + 1))


@dataclasses.dataclass
class _Packets:
    whole: int = 0
    discarded: int = 0


def _frames(
    container: InputContainer, stream: VideoStream, damage: Damage, count: _Packets | None = None
) -> Iterator[VideoFrame]:
    """All frames that can be decoded from here on; errors are counted and skipped."""
    read_errors = 0
    while True:
        try:
            for packet in container.demux(stream):
                if count is not None and packet.size:
                    count.discarded += packet.is_discard
                    count.whole += not packet.is_discard
                try:
                    frames = packet.decode()
                except av.error.EOFError:
                    continue
                except av.error.FFmpegError as error:
                    at = "" if packet.pts is None else f" at {float(packet.pts * stream.time_base):.2f} s"
                    damage.add(f"decoding{at}: {error.strerror}")
                    continue
                yield from frames
            return
        except av.error.FFmpegError as error:
            damage.add(f"reading: {error.strerror}")
            read_errors += 1
            if read_errors > _MAX_READ_ERRORS:
                return


class _Timestamps:
    """Gives every frame a strictly increasing timestamp: its own where possible."""

    def __init__(self, info: VideoInfo) -> None:
        self._step = max(1, round(1 / (info.rate * info.time_base)))
        self._last: int | None = None

    def next(self, frame: VideoFrame, damage: Damage) -> int:
        pts = frame.pts
        if pts is None or (self._last is not None and pts <= self._last):
            pts = 0 if self._last is None else self._last + self._step
            damage.timestamps_repaired += 1
        self._last = pts
        return pts


@dataclasses.dataclass(frozen=True)
class _Table:
    """Timestamps of all frames in display order, and of the packets where decoding can start."""

    rank: dict[int, int]
    keys: tuple[int, ...]  # numbers of the key frames in display order, ascending
    dts: tuple[int, ...]  # the position to seek to for each of them

    @staticmethod
    def read(info: VideoInfo) -> _Table | None:
        """Read the packets' timestamps without decoding; None where they do not number the frames reliably."""
        if info.codec not in _ONE_TO_ONE:
            return None
        stamps: list[int] = []
        keys: list[tuple[int, int]] = []
        try:
            with open_input(info.path) as container:
                stream = video_stream(container, info.path)
                for packet in container.demux(stream):
                    if not packet.size:
                        continue
                    if packet.pts is None or packet.is_corrupt or packet.is_discard:
                        return None
                    stamps.append(packet.pts)
                    if packet.is_keyframe:
                        keys.append((packet.pts, packet.dts if packet.dts is not None else packet.pts))
        except av.error.FFmpegError:
            return None
        rank = {pts: index for index, pts in enumerate(sorted(stamps))}
        if len(rank) != len(stamps) or (info.frames and info.frames != len(stamps)):
            return None
        keys.sort()
        return _Table(rank, tuple(rank[pts] for pts, _ in keys), tuple(dts for _, dts in keys))

    def key_for(self, index: int) -> int:
        """Position in ``keys`` of the last key frame at or before frame ``index``; -1 if none."""
        return bisect_right(self.keys, index) - 1


def _decode_seeking(info: VideoInfo, selection: _Selection, table: _Table, damage: Damage) -> Iterator[Frame]:
    """Decode with jumps over what is not wanted.

    Ends early, without an error, when the file does not behave as its timestamps promised: the caller then goes on by
    decoding from the beginning, which is exact for every file.
    """
    with open_input(info.path) as container:
        stream = video_stream(container, info.path)
        stream.thread_type = "AUTO"
        convert = ToRGB(info.color, *info.stored_size)
        turn = _Turn(info)
        wanted = selection.next_after(-1)
        position = -1  # the last frame decoded
        while wanted is not None and wanted < len(table.rank):
            key = table.key_for(wanted)
            if key >= 0 and table.keys[key] - position > 1:
                try:
                    container.seek(table.dts[key], stream=stream, backward=True)
                except av.error.FFmpegError:
                    return
            local = Damage()
            jump = False
            for frame in _frames(container, stream, local):
                index = table.rank.get(frame.pts) if frame.pts is not None else None
                if index is None or local.errors or index > wanted:
                    return
                position = index
                if index < wanted:
                    continue
                if frame.is_corrupt:
                    damage.frames_damaged += 1
                yield Frame(index, float(frame.pts * info.time_base), frame.pts, turn(convert(frame)))
                wanted = selection.next_after(index)
                if wanted is None:
                    return
                key = table.key_for(wanted)
                jump = key >= 0 and table.keys[key] - index > _SEEK_PAYS // 4
                if jump:
                    break
            if not jump:
                return

