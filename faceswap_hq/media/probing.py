"""Open a local video safely and say what it is."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.video.frame import VideoFrame

from faceswap_hq.errors import UserError
from faceswap_hq.media.color import ColorTags
from faceswap_hq.media.mp4 import boxes
from faceswap_hq.media.orientation import orientation

MAX_SIDE = 16384
MAX_PIXELS = 2**26  # twice the 8K of television; a bounded queue of larger frames would still fill the memory
# Containers of moving pictures only. Playlists (HLS, DASH, concat), picture sequences and the like can name other
# files or addresses, so the demuxers for them are never reached, whatever a file is called.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,ogg,asf,gif,h264,hevc,m4v,ivf,yuv4mpegpipe,mxf,dv"
)

# Titles and tags in some other encoding are no reason to refuse a video. PyAV 19 has no such choice any more.
_FORGIVING: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
_SIGNATURES: tuple[tuple[bytes, int, str], ...] = (
    (b"\x89PNG\r\n", 0, "a picture (PNG)"),
    (b"\xff\xd8\xff", 0, "a picture (JPEG)"),
    (b"WEBP", 8, "a picture (WebP)"),
    (b"BM", 0, "a picture (BMP)"),
    (b"II*\x00", 0, "a picture (TIFF)"),
    (b"MM\x00*", 0, "a picture (TIFF)"),
    (b"ftypavif", 4, "a picture (AVIF)"),
    (b"ftypheic", 4, "a picture (HEIC)"),
    (b"ftypmif1", 4, "a picture (HEIF)"),
    (b"#EXTM3U", 0, "a playlist"),
    (b"ffconcat", 0, "a playlist"),
    (b"PK\x03\x04", 0, "a zip archive"),
    (b"%PDF", 0, "a PDF document"),
    (b"ID3", 0, "an audio file (MP3)"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a video file is.

    Args:
        path: The file.
        width: Width in pixels as shown upright. Pixels are never resampled: where they are not square
            (``pixel_aspect``), a player stretches them.
        height: Height in pixels as shown upright.
        rotation: Degrees clockwise (0, 90, 180, 270) by which the stored frames are turned to be upright.
        mirrored: Whether the stored frames are flipped left-right before that turn (some selfie cameras).
        rate: Average frames per second.
        time_base: Unit of the timestamps in seconds.
        frames: Number of frames that the file declares, or None when it does not say.
        duration: Length in seconds, or None when unknown.
        has_audio: Whether there is sound.
        codec: Name of the video codec, e.g. ``"h264"``.
        pixel_format: FFmpeg's name of the stored pixel format, e.g. ``"yuv420p"``. Deeper formats
            (``"yuv420p10le"``) are read at 8 bits; HDR is not tone-mapped, its tags are carried along.
        pixel_aspect: Width of a pixel over its height, as shown upright.
        color: Color tags.
        clock_start: Where the file's clock begins, in seconds: MPEG streams count from anywhere. Videos written from it
            begin at 0 instead.
    """

    path: Path
    width: int
    height: int
    rotation: int
    rate: Fraction
    time_base: Fraction
    frames: int | None
    duration: float | None
    has_audio: bool
    codec: str
    pixel_format: str
    mirrored: bool = False
    pixel_aspect: Fraction = Fraction(1)
    color: ColorTags = ColorTags()
    clock_start: Fraction = Fraction(0)

    @property
    def stored_size(self) -> tuple[int, int]:
        """(width, height) of the frames as they are stored, before the turn."""
        return (self.height, self.width) if self.rotation in (90, 270) else (self.width, self.height)


def open_input(path: str | Path) -> InputContainer:
    """Open a local video file for reading.

    Only the file itself can be read: no other protocol and no playlist format is available to the demuxer.

    Raises:
        UserError: The path is missing, not a regular file, empty, or not a video that FFmpeg can open.
        PermissionError: The file may not be read.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist.", "Check the spelling; relative paths start at the current folder.")
    if path.is_dir():
        raise UserError(f"{path} is a folder, but a video file is needed here.", "Name one of the files in it.")
    if not path.is_file():
        raise UserError(f"{path} is not a regular file.")
    with path.open("rb") as stream:
        head = stream.read(64)
    if not head:
        raise UserError(f"{path} is empty (0 bytes).", "Copy or download it again.")
    for signature, offset, kind in _SIGNATURES:
        if head[offset : offset + len(signature)] == signature:
            raise UserError(f"{path} is {kind}, not a video.", "Give a video file, e.g. MP4, MOV, MKV, WebM or AVI.")
    options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    try:
        return av.open(f"file:{path.resolve()}", options=options, **_FORGIVING)
    except av.error.FFmpegError as error:
        if isinstance(error, PermissionError):
            raise
        if head[4:8] == b"ftyp" and not _has_index(path):
            raise UserError(
                f"{path} is cut short: the index of the MP4 file (its moov box) is missing.",
                "This happens when a recording or a download is interrupted. Get the file again.",
            ) from None
        raise UserError(
            f"{path} cannot be read as a video: {error.strerror}.",
            "Give a video file, e.g. MP4, MOV, MKV, WebM or AVI; if it is one, it is damaged at its start.",
        ) from None


def _has_index(path: Path) -> bool:
    """Whether an MP4 file has a whole ``moov`` box at its top level."""
    with path.open("rb") as stream:
        return any(kind == b"moov" for kind, _, _ in boxes(stream, 0, path.stat().st_size))


def video_stream(container: InputContainer, path: Path) -> av.video.stream.VideoStream:
    """The video stream to use: the first one that is no cover picture and has a decoder; a UserError if none."""
    playable = [s for s in container.streams.video if s.codec_context is not None and not _is_cover(s)]
    if not playable:
        what = "only a cover picture" if container.streams.video else "no pictures"
        known = all(s.codec_context is not None for s in container.streams.video)
        if known:
            raise UserError(f"{path} has {what}: it has no video stream.", "Is it a sound recording?")
        raise UserError(f"{path} is compressed in a way that this FFmpeg cannot decode.", "Convert it to H.264 first.")
    stream = playable[0]
    width, height = stream.codec_context.width, stream.codec_context.height
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise UserError(
            f"{path} says that its frames are {width}x{height} pixels; up to {MAX_SIDE} a side and "
            f"{MAX_PIXELS / 1e6:.0f} million pixels are possible.",
            "The file is damaged, or needs scaling down first.",
        )
    return stream


def _is_cover(stream: av.video.stream.VideoStream) -> bool:
    return bool(int(stream.disposition) & 0x400)  # AV_DISPOSITION_ATTACHED_PIC


def probe(path: str | Path) -> VideoInfo:
    """Say what a video is; decodes its first frame.

    Args:
        path: A local file.

    Raises:
        UserError: Missing, a directory, empty, a picture or text under a video's name, without a video stream, cut
            before its index, of an impossible size, or without a single frame that can be decoded.
        PermissionError: The file may not be read.
    """
    path = Path(path)
    with open_input(path) as container:
        stream = video_stream(container, path)
        first = _first_frame(container, stream)
        if first is None:
            raise UserError(f"{path}: not one frame of it can be decoded.", "The file is damaged. Get it again.")
        rotation, mirrored = orientation(first)
        context = stream.codec_context
        width, height = first.width, first.height
        aspect = stream.sample_aspect_ratio or Fraction(1)
        aspect = aspect if aspect > 0 else Fraction(1)
        if rotation in (90, 270):
            width, height, aspect = height, width, 1 / aspect
        time_base = stream.time_base or Fraction(1, 90000)
        if stream.duration:
            duration: float | None = float(stream.duration * time_base)
        else:
            duration = container.duration / 1e6 if container.duration else None
        color = ColorTags(
            matrix=int(first.colorspace),
            range=int(first.color_range),
            primaries=int(first.color_primaries),
            transfer=int(first.color_trc),
        )
        return VideoInfo(
            path=path,
            width=width,
            height=height,
            rotation=rotation,
            mirrored=mirrored,
            rate=stream.average_rate or stream.guessed_rate or Fraction(25),
            time_base=time_base,
            frames=stream.frames or None,
            duration=duration,
            has_audio=any(s.codec_context is not None for s in container.streams.audio),
            codec=context.name,
            pixel_format=first.format.name,
            pixel_aspect=aspect,
            color=color,
            clock_start=_clock_start(container),
        )


def _clock_start(container: InputContainer) -> Fraction:
    # MP4 begins at 0: what comes later in it was meant to come later.
    if "mp4" in container.format.name or not container.start_time:
        return Fraction(0)
    return Fraction(container.start_time, 1_000_000)


def _first_frame(container: InputContainer, stream: av.video.stream.VideoStream) -> VideoFrame | None:
    try:
        for packet in container.demux(stream):
            try:
                for frame in packet.decode():
                    return frame
            except av.error.FFmpegError:
                continue
    except av.error.FFmpegError:
        pass
    return None
