"""Carry the sound of one video over to another."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.filter import Graph
from av.packet import Packet

from faceswap_hq.media.probing import open_input

# Codecs that MP4 carries and players play; others are transcoded. Several decoders may stand for one codec.
_COPIED = frozenset({"aac", "mp3", "mp3float", "ac3", "eac3", "alac", "opus", "libopus", "flac"})
_AAC_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000})
_MAX_READ_ERRORS = 1000
_AAC_LAYOUTS = frozenset({"mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1"})


class AudioTrack:
    """The first sound track of a file, added to an output: copied where MP4 takes the codec, else encoded as AAC.

    Args:
        path: File with the sound.
        output: Container that gets the track; must not have been started.
        zero: The moment on the clock of ``path`` that becomes 0, in seconds.
        cut: Whether to leave out what comes before that moment.

    Attributes:
        kept: ``"copied"``, ``"encoded as AAC"`` or None when there is no sound that can be read.
    """

    def __init__(self, path: Path, output: OutputContainer, *, zero: Fraction, cut: bool) -> None:
        self.kept: str | None = None
        self._output = output
        self._zero, self._cut = zero, cut
        self._input = open_input(path)
        self._waiting: Packet | None = None
        try:
            streams = [s for s in self._input.streams.audio if s.codec_context is not None]
            if not streams:
                self._packets: Iterator[Packet] = iter(())
                return
            source = streams[0]
            if cut and zero > 1:
                self._input.seek(int((zero - 1) * av.time_base), backward=True)
            if source.codec_context.name in _COPIED:
                self._target = output.add_stream_from_template(source)
                self._packets = self._copied(source)
                self.kept = "copied"
            else:
                rate = source.codec_context.sample_rate
                target = output.add_stream("aac", rate=rate if rate in _AAC_RATES else 48000)
                target.codec_context.bit_rate = 192_000
                layout = source.codec_context.layout.name
                target.codec_context.layout = layout if layout in _AAC_LAYOUTS else "stereo"
                self._target = target
                self._packets = self._encoded(source)
                self.kept = "encoded as AAC"
        except BaseException:
            self.close()
            raise

    def mux_until(self, time: Fraction | None) -> None:
        """Write the packets that begin before ``time`` (seconds on the output's clock), or all that are left."""
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = packet
            if packet is None:
                return
            if time is not None and (packet.pts or 0) * packet.time_base >= time:
                return
            self._waiting = None
            packet.stream = self._target
            self._output.mux(packet)

    def close(self) -> None:
        """Close the input file."""
        self._input.close()

    def _read(self, source: AudioStream) -> Iterator[Packet]:
        for _ in range(_MAX_READ_ERRORS):
            try:
                yield from self._input.demux(source)
                return
            except av.error.FFmpegError:  # damaged: what follows may still be good
                continue

    def _copied(self, source: AudioStream) -> Iterator[Packet]:
        unit = source.time_base or Fraction(1, source.codec_context.sample_rate)
        shift = round(self._zero / unit)
        last: int | None = None
        for packet in self._read(source):
            if not packet.size or packet.pts is None:
                continue
            packet.pts -= shift
            packet.dts = packet.pts
            # One packet before the beginning is kept: AAC and MP3 need their predecessor to sound right. The
            # container's edit list hides it.
            if self._cut and packet.pts + 2 * (packet.duration or 0) <= 0:
                continue
            if last is not None and packet.dts <= last:
                continue
            last = packet.dts
            yield packet

    def _encoded(self, source: AudioStream) -> Iterator[Packet]:
        context = self._target.codec_context
        shift = round(self._zero * context.sample_rate)
        graph: _ToLayout | None = None
        for packet in self._read(source):
            try:
                frames: list[Any] = list(packet.decode())
            except av.error.FFmpegError:
                continue
            for frame in frames:
                if frame.pts is None:
                    continue
                if graph is None or not graph.takes(frame):
                    if graph is not None:
                        yield from self._encode(graph.push(None), shift)
                    graph = _ToLayout(frame, context.format.name, context.layout.name, context.sample_rate)
                yield from self._encode(graph.push(frame), shift)
        if graph is not None:
            yield from self._encode(graph.push(None), shift)
            yield from context.encode(None)

    def _encode(self, frames: Iterator[AudioFrame], shift: int) -> Iterator[Packet]:
        for frame in frames:
            frame.pts = (frame.pts or 0) - shift
            if frame.pts + frame.samples > 0 or not self._cut:
                yield from self._target.codec_context.encode(frame)


class _ToLayout:
    """Converts decoded sound to the encoder's format; gaps in the timestamps are filled with silence."""

    def __init__(self, first: AudioFrame, sample_format: str, layout: str, rate: int) -> None:
        self._kind = (first.format.name, first.layout.name, first.sample_rate)
        self._rate = Fraction(1, rate)
        self._graph = Graph()
        base = first.time_base or Fraction(1, first.sample_rate)
        nodes = [
            self._graph.add_abuffer(
                sample_rate=first.sample_rate, format=first.format.name, layout=first.layout.name, time_base=base
            ),
            self._graph.add("aresample", f"{rate}:async=1"),
            self._graph.add("aformat", f"sample_fmts={sample_format}:channel_layouts={layout}:sample_rates={rate}"),
            self._graph.add("abuffersink"),
        ]
        self._graph.link_nodes(*nodes).configure()

    def takes(self, frame: AudioFrame) -> bool:
        """Whether the frame is of the kind that this was made for."""
        return self._kind == (frame.format.name, frame.layout.name, frame.sample_rate)

    def push(self, frame: AudioFrame | None) -> Iterator[AudioFrame]:
        """Feed a frame, or None to flush; yields what comes out, stamped in samples."""
        self._graph.push(frame)
        while True:
            try:
                result = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            if not isinstance(result, AudioFrame) or result.pts is None or result.time_base is None:
                continue
            result.pts = round(result.pts * result.time_base / self._rate)
            result.time_base = self._rate
            yield result
