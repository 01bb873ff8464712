"""Color tags of a video, and the conversions between its Y'CbCr frames and RGB arrays.

The codes are those of ITU-T H.273 (FFmpeg uses the same numbers).
"""

from __future__ import annotations

import dataclasses

import av
import numpy as np
from av.video.reformatter import VideoReformatter

UNSPECIFIED = 2  # in matrix, primaries and transfer; 0 in range
LIMITED, FULL = 1, 2
BT709, BT601 = 1, 6

# H.273 matrix -> libswscale's number, for those that libswscale can compute
_SWSCALE = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}


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

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """Convert one frame to uint8 (H, W, 3), C-contiguous, 8 bits whatever the depth of the frame."""
        stored = frame.format
        if stored.is_rgb or stored.has_palette:
            source: dict[str, int] = {}
        else:
            matrix = _SWSCALE.get(int(frame.colorspace), self._matrix)
            range_ = int(frame.color_range) or self._range
            if not range_ and not stored.name.startswith("gray"):
                range_ = FULL if stored.name.startswith("yuvj") else LIMITED
            source = {"src_colorspace": matrix, "dst_colorspace": matrix}
            if range_:
                source |= {"src_color_range": range_, "dst_color_range": FULL}
        width, height = self._size
        rgb = self._reformatter.reformat(frame, width=width, height=height, format="rgb24", threads=0, **source)
        plane = rgb.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:height]  # a view that keeps the frame alive
        return np.ascontiguousarray(rows[:, : width * 3]).reshape(height, width, 3)


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

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Convert an rgb24 frame."""
        result = self._reformatter.reformat(
            frame,
            format=self._pixel_format,
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
    if tags.matrix == UNSPECIFIED or tags.matrix in _SWSCALE:
        return tags
    return dataclasses.replace(tags, matrix=tags.effective_matrix(width, height), range=LIMITED)
