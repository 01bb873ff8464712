"""Frames through a video encoder and back, in memory: what compression does to a clip, without a file.

The encoders are those inside PyAV's wheel (libx264, libx265), at 4:2:0 and 8 bits as nearly all video on the web is.
Neither frame numbers, nor sound, nor the container play a part.

The same frames give the same pictures, which takes care: x264 puts out other bytes with another number of threads, at a
bit rate with several threads other bytes in every run, and so it does where it uses AVX-512 (measured, PyAV 18.1: its
macroblock tree differs from run to run). So both encoders run in one thread, and x264 with AVX2 at most; a machine
without AVX2 gives slightly other pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
import cv2
import numpy as np
from av.codec.context import CodecContext
from av.video.frame import VideoFrame

from faceswap_hq.errors import UserError
from faceswap_hq.media.color import LIMITED, ColorTags, FromRGB, ToRGB

ENCODERS = {"h264": "libx264", "hevc": "libx265"}
PIXEL_FORMAT = "yuv420p"
_AVX2 = 11  # OpenCV's number for it, which its Python package does not name
# smaller pictures are padded: x265 (PyAV 18.1) writes beyond its memory below 64 px, and is not repeatable at 64 x 64
_SMALLEST = {"h264": 16, "hevc": 128}


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How a run of frames is compressed: at constant quality, or at a bit rate.

    Args:
        codec: ``"h264"`` or ``"hevc"``.
        crf: Constant rate factor, 0 to 51; larger is worse. None with a bit rate.
        bit_rate: From width, height (pixels) and frames a second to bits a second, for one pass at an average bit rate
            with a buffer of two seconds. None with a CRF.
        preset: The encoder's trade of time for size.
    """

    codec: str
    crf: int | None = None
    bit_rate: Callable[[int, int, float], float] | None = None
    preset: str = "medium"

    def __post_init__(self) -> None:
        if self.codec not in ENCODERS:
            raise ValueError(f"codec = {self.codec!r} is not one of {', '.join(ENCODERS)}")
        if (self.crf is None) == (self.bit_rate is None):
            raise ValueError("give either crf or bit_rate")
        if self.crf is not None and not 0 <= self.crf <= 51:
            raise ValueError(f"crf = {self.crf} is out of range")

    def options(self, width: int, height: int, rate: Fraction) -> dict[str, str]:
        """The encoder's options for frames of this size at this rate."""
        found = {"preset": self.preset}
        if self.codec == "hevc":
            found["x265-params"] = "log-level=none:pools=none:frame-threads=1:no-wpp=1"
        elif cv2.checkHardwareSupport(_AVX2):
            found["x264-params"] = "asm=AVX2"
        if self.bit_rate is None:
            return found | {"crf": str(self.crf)}
        bits = max(1000, round(self.bit_rate(width, height, float(rate))))
        return found | {"b": str(bits), "maxrate": str(bits), "bufsize": str(2 * bits)}


def check_encoder(codec: str) -> None:
    """Raise a :class:`UserError` if the encoder for this codec is not in the installed PyAV."""
    try:
        av.Codec(ENCODERS[codec], "w")
    except (av.FFmpegError, ValueError) as error:
        raise UserError(
            f"The installed PyAV {av.__version__} has no encoder {ENCODERS[codec]}.",
            "Install PyAV from its wheel (pip install --force-reinstall av), or leave out what needs it.",
        ) from error


def recompress(frames: Iterable[np.ndarray], encoding: Encoding, rate: Fraction = Fraction(25)) -> Iterator[np.ndarray]:
    """Encode consecutive frames as one stream, decode them, and yield them in the same order.

    Only as many frames are held as the encoder looks ahead (about sixty). Odd sizes are padded by repeating the edge,
    and cut back. The encoder decides alone where keyframes are.

    Args:
        frames: uint8 (H, W, 3) RGB, all of one size.
        encoding: How to compress.
        rate: Frames a second, which the encoders' rate control looks at.

    Yields:
        One uint8 (H, W, 3) RGB frame for every one that came in.

    Raises:
        UserError: The encoder is missing.
        ValueError: A frame has another size than the first.
    """
    check_encoder(encoding.codec)
    coder: _Coder | None = None
    given = got = 0
    for image in frames:
        coder = coder or _Coder(image.shape[0], image.shape[1], encoding, rate)
        given += 1
        for decoded in coder.push(image):
            got += 1
            yield decoded
    if coder is None:
        return
    for decoded in coder.finish():
        got += 1
        yield decoded
    if got != given:
        raise RuntimeError(f"{ENCODERS[encoding.codec]} was given {given} frames, {got} came back")


class _Coder:
    """An encoder with its decoder behind it, and the conversions between RGB and what they work on."""

    def __init__(self, height: int, width: int, encoding: Encoding, rate: Fraction) -> None:
        self._shape = (height, width, 3)
        stored = [max(_SMALLEST[encoding.codec], side + side % 2) for side in (height, width)]
        self._padding = (stored[0] - height, stored[1] - width)
        matrix = ColorTags().effective_matrix(width, height)
        tags = ColorTags(matrix=matrix, range=LIMITED)
        self._to_yuv = FromRGB(tags, stored[1], stored[0], PIXEL_FORMAT)
        self._to_rgb = ToRGB(tags, stored[1], stored[0])
        self._encoder = cast(Any, CodecContext.create(ENCODERS[encoding.codec], "w"))
        self._encoder.height, self._encoder.width = stored
        self._encoder.pix_fmt = PIXEL_FORMAT
        self._encoder.framerate, self._encoder.time_base = rate, 1 / rate
        self._encoder.thread_count = 1
        self._encoder.colorspace, self._encoder.color_range = matrix, LIMITED
        self._encoder.options = encoding.options(width, height, rate)
        self._decoder = cast(Any, CodecContext.create(encoding.codec, "r"))
        self._decoder.thread_count = 1
        self._number = 0

    def push(self, image: np.ndarray) -> Iterator[np.ndarray]:
        """Give one frame, yield those that are ready."""
        if image.shape != self._shape or image.dtype != np.uint8:
            raise ValueError(f"frames of one clip are uint8 {self._shape}, not {image.dtype} {image.shape}")
        below, right = self._padding
        padded = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE) if below or right else image
        frame = self._to_yuv(VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24"))
        frame.pts, frame.time_base = self._number, self._encoder.time_base
        self._number += 1
        for packet in self._encoder.encode(frame):
            yield from map(self._image, self._decoder.decode(packet))

    def finish(self) -> Iterator[np.ndarray]:
        """Yield the frames that the encoder and the decoder still hold."""
        for packet in self._encoder.encode(None):
            yield from map(self._image, self._decoder.decode(packet))
        yield from map(self._image, self._decoder.decode(None))

    def _image(self, frame: VideoFrame) -> np.ndarray:
        height, width, _ = self._shape
        return np.ascontiguousarray(self._to_rgb(frame)[:height, :width])
