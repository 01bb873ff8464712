"""Color tags of a video, and the conversions between its Y'CbCr frames and RGB arrays.

The codes are those of ITU-T H.273 (FFmpeg uses the same numbers).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, VideoReformatter

UNSPECIFIED = 2  # in matrix, primaries and transfer; 0 in range
LIMITED, FULL = 1, 2
BT709, BT601 = 1, 6

# H.273 matrix -> libswscale's number, for those that libswscale can compute
_SWSCALE = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
# PyAV before 18 cannot convert into BT.2020, only out of it
_WRITABLE = frozenset(_SWSCALE) if hasattr(Colorspace, "BT2020") else frozenset(_SWSCALE) - {9}
# libswscale's number -> weights (Kr, Kb) of that matrix
_WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}

# libswscale's flags as numbers: PyAV before 18 names only some of them
_BILINEAR, _POINT, _AREA = 0x2, 0x10, 0x20
_ACCURATE = _POINT | 0x2000 | 0x40000  # with full chroma in the computation, and accurate rounding
_QUICK_FORMATS = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p"})  # converted without a scaler, 5 times faster


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColorTags:
    """What a video says about its colors, as H.273 code points.

    Args:
        matrix: Y'CbCr matrix (1 = BT.709, 5 and 6 = BT.601, 9 = BT.2020, 2 = unspecified, 0 = stored as RGB).
        range: 1 = limited (16-235), 2 = full (0-255), 0 = unspecified.
        primaries: Color primaries; carried along, not converted.
        transfer: Transfer characteristics; carried along, not converted (HDR stays HDR-coded).
    """

    matrix: int = UNSPECIFIED
    range: int = 0
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED

    def effective_matrix(self, width: int, height: int) -> int:
        """The matrix to compute with: the tag, or where it says nothing usable BT.709 for HD sizes and BT.601 below.

        Args:
            width: Stored width in pixels.
            height: Stored height in pixels.
        """
        if self.matrix in _SWSCALE:
            return self.matrix
        return BT709 if height >= 720 or width >= 1280 else BT601


class ToRGB:
    """Turn decoded frames into RGB arrays; one object per stream, since it caches the conversion.

    Chroma is repeated, not interpolated, so that :class:`FromRGB`, which averages it, gives back what was stored.

    Args:
        tags: The stream's tags, used where a frame has none of its own.
        width: Width of the arrays in pixels; a frame of another size (a stream may change) is scaled.
        height: Height of the arrays.
    """

    def __init__(self, tags: ColorTags, width: int, height: int) -> None:
        self._matrix = _SWSCALE[tags.effective_matrix(width, height)]
        self._range = tags.range
        self._size = (width, height)
        self._reformatter = VideoReformatter()
        self._lost: np.ndarray | None = None

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        """Convert one frame to uint8 (H, W, 3), C-contiguous, 8 bits whatever the depth of the frame."""
        stored = frame.format
        if stored.is_rgb or stored.has_palette:
            return self._convert(frame, _ACCURATE, {})
        matrix = _SWSCALE.get(int(frame.colorspace), self._matrix)
        range_ = int(frame.color_range) or self._range
        if stored.name.startswith("yuvj"):  # an old way to say full range
            range_ = FULL
        elif not range_ and not stored.name.startswith("gray"):
            range_ = LIMITED
        space = {"src_colorspace": matrix, "dst_colorspace": matrix}
        if range_:
            space |= {"src_color_range": range_, "dst_color_range": FULL}
        if stored.name not in _QUICK_FORMATS or frame.width % 2 or frame.height % 2 or self._scales(frame):
            return self._convert(frame, _ACCURATE, space)
        image = self._convert(frame, _POINT, space)
        loss = _rounding_loss(stored.name, matrix, range_)
        if loss:
            import cv2

            if self._lost is None or self._lost[0, 0, 0] != loss:
                self._lost = np.full_like(image, loss)
            cv2.add(image, self._lost, dst=image)  # saturates
        return image

    def _scales(self, frame: VideoFrame) -> bool:
        return (frame.width, frame.height) != self._size

    def _convert(self, frame: VideoFrame, flags: int, space: dict[str, int]) -> np.ndarray:
        width, height = self._size
        interpolation = flags ^ _POINT | _BILINEAR if self._scales(frame) else flags
        rgb = self._reformatter.reformat(
            frame, width=width, height=height, format="rgb24", interpolation=interpolation, **space
        )
        rows = _rows(rgb, 0)[:height]
        return np.ascontiguousarray(rows[:, : width * 3]).reshape(height, width, 3)


def _rows(frame: VideoFrame, plane: int) -> np.ndarray:
    """The bytes of a plane, (rows, bytes per row with padding): a writable view that keeps the frame alive."""
    data: Any = frame.planes[plane]
    return np.frombuffer(data, np.uint8).reshape(-1, data.line_size)


@functools.cache
def _rounding_loss(pixel_format: str, matrix: int, range_: int) -> int:
    """By how many levels libswscale's quick conversion to RGB comes out too dark, on average, rounded.

    That conversion truncates where it should round. On x86 colors lose 1.15 levels, which would darken a video with
    every pass; neutral grays lose only 0.4, so they come out half a level too light when one is given back. Measured on
    random colors against the equations of H.273 (8.3). The accurate conversion would take seven times as long.
    """
    y, cb, cr = np.random.default_rng(0).integers([[64], [100], [100]], [[192], [156], [156]], (3, 1024))
    frame = VideoFrame(2 * y.size, 2, pixel_format)
    for index, content in enumerate((y.repeat(2), cb, cr)):
        _rows(frame, index)[:, : len(content)] = content
    rgb = VideoReformatter().reformat(
        frame,
        format="rgb24",
        interpolation=_POINT,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=range_,
        dst_color_range=FULL,
    )
    kr, kb = _WEIGHTS[matrix]
    luma = (y - 16) * (255 / 219) if range_ == LIMITED else y.astype(float)
    scale = 255 / 224 if range_ == LIMITED else 1.0
    red = luma + 2 * (1 - kr) * scale * (cr - 128)
    blue = luma + 2 * (1 - kb) * scale * (cb - 128)
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    got = rgb.to_ndarray()[0, ::2].astype(float)
    return max(0, round(float(np.mean(np.stack([red, green, blue], axis=-1) - got))))


class FromRGB:
    """Turn RGB arrays into frames for the encoder.

    Args:
        tags: Tags that the frames shall carry; matrix and range decide the conversion.
        width: Stored width in pixels.
        height: Stored height in pixels.
        pixel_format: e.g. ``"yuv420p"``.
    """

    def __init__(self, tags: ColorTags, width: int, height: int, pixel_format: str) -> None:
        self._matrix = _SWSCALE[tags.effective_matrix(width, height)]
        self._tags = tags
        self._pixel_format = pixel_format
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """Convert an rgb24 frame."""
        result = self._reformatter.reformat(
            frame,
            format=self._pixel_format,
            interpolation=_AREA,
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            src_color_range=FULL,
            dst_color_range=self._tags.range or LIMITED,
            threads=0,
        )
        result.colorspace = self._tags.matrix
        result.color_range = self._tags.range
        result.color_primaries = self._tags.primaries
        result.color_trc = self._tags.transfer
        return result


def tags_for_output(tags: ColorTags, width: int, height: int) -> ColorTags:
    """The tags of a Y'CbCr file made from a video with these tags.

    They are the same, except that a matrix which we do not compute (RGB, YCgCo, ...) becomes the one we do.
    """
    if tags.matrix == UNSPECIFIED or tags.matrix in _WRITABLE:
        return tags
    guess = ColorTags().effective_matrix(width, height)
    return dataclasses.replace(tags, matrix=guess, range=LIMITED)
