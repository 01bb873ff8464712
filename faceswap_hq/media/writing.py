"""Encode a video that keeps what its model video had."""

from __future__ import annotations

import contextlib
import queue
import threading
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from faceswap_hq.errors import UserError
from faceswap_hq.media.audio import AudioTrack
from faceswap_hq.media.color import FromRGB, tags_for_output
from faceswap_hq.media.mp4 import set_display_matrix
from faceswap_hq.media.orientation import turned
from faceswap_hq.media.probing import VideoInfo

_MAX_DENOMINATOR = 2**31 - 1


class VideoWriter:
    """Write an MP4 (H.264) like another video, encoding in a background thread.

    Kept from ``like``: size, time base and timestamps (variable frame rate too), rotation flag, pixel aspect, color
    tags. MPEG streams, whose clocks begin anywhere, are moved to begin at 0. Frames are given upright. Chroma is 4:2:0;
    odd sizes, which H.264 cannot store so, get 4:4:4. The first sound track of ``audio_from`` is copied where MP4 takes
    its codec and encoded as AAC elsewhere; subtitles, chapters and metadata (places, dates, names) are left out.

    Use as a context manager: leaving it normally finishes the file; leaving it by an exception removes it.

    Args:
        path: File to write, exactly here (give a temporary path, see :func:`faceswap_hq.files.atomic_path`).
        like: The model video.
        audio_from: File with the sound, or None for a silent video.
        crf: Constant rate factor of x264, 0 (lossless) to 51; 18 is visually close to lossless.
        preset: x264 preset, trading speed against file size; ``superfast`` takes half the time of ``veryfast`` for
            twice the size at the same quality factor.
        threads: Encoder threads; 0 lets x264 choose.
        frames: (start, stop) when only that part of ``like`` is written: time then begins at 0 with the first frame
            written, and the sound is cut to the span of the frames.
        waiting: How many frames may wait for the encoder.

    Attributes:
        audio: What became of the sound: ``"copied"``, ``"encoded as AAC"`` or None for no sound.

    Raises:
        UserError: ``audio_from`` cannot be read.
        ValueError: Settings out of range.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        like: VideoInfo,
        audio_from: Path | None = None,
        crf: int = 18,
        preset: str = "superfast",
        threads: int = 0,
        frames: tuple[int, int | None] | None = None,
        waiting: int = 8,
    ) -> None:
        if not 0 <= crf <= 51:
            raise ValueError(f"crf={crf} is not within 0 to 51.")
        if frames is not None and (frames[0] < 0 or (frames[1] is not None and frames[1] <= frames[0])):
            raise ValueError(f"frames={frames} is no range of frames.")
        self.path = Path(path)
        self.audio: str | None = None
        self._like = like
        self._audio_from = Path(audio_from) if audio_from is not None else None
        self._options = {"crf": str(crf), "preset": preset}
        self._threads = threads
        self._rebase = frames is not None
        self._first: int | None = None
        self._last: int | None = None
        self._queue: queue.Queue[tuple[VideoFrame, int] | None] = queue.Queue(max(1, waiting))
        self._error: BaseException | None = None
        self._closed = False
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._work, name="faceswap-hq encoder", daemon=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.cancel()

    def write(self, image: np.ndarray, pts: int) -> None:
        """Add a frame.

        Args:
            image: uint8 (like.height, like.width, 3), RGB, upright. It is copied.
            pts: Timestamp in units of ``like.time_base``, above that of the frame before.

        Raises:
            OSError: The file cannot be written (``errno`` says why, e.g. ENOSPC for a full disk).
            ValueError: Wrong shape, type or order of timestamps.
        """
        if self._closed:
            raise ValueError("This writer is closed.")
        if image.dtype != np.uint8 or image.shape != (self._like.height, self._like.width, 3):
            expected = f"uint8 ({self._like.height}, {self._like.width}, 3)"
            raise ValueError(f"Frame is {image.dtype} {image.shape}; this writer takes {expected}.")
        if self._last is not None and pts <= self._last:
            raise ValueError(f"Timestamp {pts} does not follow {self._last}.")
        if self._first is None:
            self._first = pts
            self._thread.start()
        self._last = pts
        stored = turned(image, -self._like.rotation % 360, mirror_last=self._like.mirrored)
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(stored), format="rgb24")
        while True:
            self._raise()
            try:
                self._queue.put((frame, pts), timeout=0.2)
                return
            except queue.Full:
                continue

    def close(self) -> None:
        """Finish the file.

        Raises:
            OSError: It cannot be written; the partial file is removed.
            UserError: No frame was written.
        """
        if self._closed:
            return
        self._closed = True
        if self._first is None:
            self.path.unlink(missing_ok=True)
            raise UserError(f"{self.path} would be empty: there was no frame to write.")
        while self._thread.is_alive():
            try:
                self._queue.put(None, timeout=0.2)
                break
            except queue.Full:
                continue
        self._thread.join()
        try:
            self._raise()
        except BaseException:
            self.path.unlink(missing_ok=True)
            raise

    def cancel(self) -> None:
        """Stop encoding and remove the partial file."""
        self._closed = True
        self._cancelled.set()
        while self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._queue.put_nowait(None)  # wakes the thread if it waits; it looks at the flag after every frame
            self._thread.join(0.02)
        self.path.unlink(missing_ok=True)

    def _raise(self) -> None:
        error = self._error
        if error is None:
            return
        if isinstance(error, av.error.FFmpegError):
            if isinstance(error, OSError):
                raise OSError(error.errno, error.strerror, str(self.path)) from error
            raise RuntimeError(f"Encoding {self.path} failed: {error}") from error
        raise error

    # -- in the background thread ---------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._encode_all()
        except BaseException as error:  # surfaces in write() and close()
            self._error = error

    def _encode_all(self) -> None:
        like = self._like
        base = Fraction(1, min(like.time_base.denominator, _MAX_DENOMINATOR))
        # The movie's own scale counts the delay before the first frame: 1/1000 s by default, too coarse to be exact.
        scale = str(base.denominator)
        options = {"video_track_timescale": scale, "movie_timescale": scale}
        output = av.open(str(self.path), mode="w", format="mp4", options=options)
        try:
            self._fill(output, base)
        except BaseException:
            with contextlib.suppress(av.error.FFmpegError):
                output.close()
            raise
        output.close()
        if not self._cancelled.is_set():
            set_display_matrix(self.path, like.rotation, mirrored=like.mirrored)

    def _fill(self, output: OutputContainer, base: Fraction) -> None:
        """Encode what comes through the queue until it ends or the writer is cancelled."""
        unit = self._like.time_base  # of the timestamps we get; base is that of those we write
        first = self._first or 0
        # What is counted from 0: the first frame of a part, else the beginning of the file's clock
        offset = first if self._rebase else round(self._like.clock_start / unit)
        step = max(1, round(1 / (self._like.rate * base)))
        stream, convert = self._stream(output, base)
        with contextlib.ExitStack() as stack:
            track: AudioTrack | None = None
            if self._audio_from is not None:
                track = AudioTrack(self._audio_from, output, zero=offset * unit, cut=self._rebase)
                stack.callback(track.close)
                self.audio = track.kept
            end = Fraction(0)
            while (item := self._queue.get()) is not None and not self._cancelled.is_set():
                rgb, pts = item
                frame = convert(rgb)
                frame.pts = round((pts - offset) * unit / base)
                frame.time_base = base
                end = (frame.pts + step) * base
                self._mux(output, stream.encode(frame), track, step)
            if self._cancelled.is_set():
                return
            self._mux(output, stream.encode(None), track, step)
            if track is not None:
                track.mux_until(end if self._rebase else None)

    def _stream(self, output: OutputContainer, base: Fraction) -> tuple[VideoStream, FromRGB]:
        """The video stream with the settings of the model, and the conversion to its pixels."""
        like = self._like
        width, height = like.stored_size
        pixel_format = "yuv420p" if width % 2 == 0 and height % 2 == 0 else "yuv444p"
        tags = tags_for_output(like.color, width, height)
        stream = output.add_stream("libx264", rate=like.rate, options=self._options)
        context = stream.codec_context
        context.width, context.height = width, height
        context.pix_fmt = pixel_format
        context.time_base = base
        context.thread_count = self._threads
        context.colorspace, context.color_range = tags.matrix, tags.range
        context.color_primaries, context.color_trc = tags.primaries, tags.transfer
        if like.pixel_aspect != 1:
            sideways = like.rotation in (90, 270)
            context.sample_aspect_ratio = 1 / like.pixel_aspect if sideways else like.pixel_aspect
        return stream, FromRGB(tags, width, height, pixel_format)

    @staticmethod
    def _mux(output: OutputContainer, packets: list[av.Packet], track: AudioTrack | None, step: int) -> None:
        for packet in packets:
            if not packet.duration:
                packet.duration = step
            if track is not None and packet.dts is not None:
                track.mux_until(packet.dts * packet.time_base)
            output.mux(packet)
