"""What happens to a clip on its way to a viewer: JPEG, H.264, H.265, other sizes, sharing on a platform.

Values with a source: CRF 23 and 40 are the c23 and c40 of FaceForensics++ (Rössler et al., ICCV 2019), 23 and 28 the
defaults of x264 and x265. The bit rates of sharing are those of the MP4 variants that X (Twitter) lists for a video in
its API: 256 kbit/s at 320 x 180, 832 at 640 x 360 (and at 480 x 480), 2176 at 1280 x 720. All else is our choice: the
other values, how often a clip is shared, and that bits follow the number of pixels and frames between the variants.
"""

from __future__ import annotations

import cv2
import numpy as np

from stress.evaluation.perturbations.deeperforensics import Image

JPEG_QUALITIES = (95, 80, 60, 40, 20)
H264_CRF = (18, 23, 28, 34, 40)
H265_CRF = (23, 28, 33, 38, 43)
#: x265 at its own default is five times slower and gives nearly the same picture at the same CRF.
H265_PRESET = "veryfast"
SMALLER = (0.75, 0.5, 0.375, 0.25, 0.125)
LARGER = (1.25, 1.5, 2.0, 3.0, 4.0)
#: Level -> longest short side, in pixels, at each sharing.
SHARINGS = ((720,), (720, 720), (720, 360), (720, 360, 360), (720, 360, 180))

_VARIANTS = {320 * 180: 256_000, 640 * 360: 832_000, 1280 * 720: 2_176_000}  # pixels: bits a second
_VARIANT_RATE = 30


def bit_rate(width: int, height: int, rate: float) -> float:
    """Bits a second that a platform spends on a video of this size.

    Of the variants that X lists, the one nearest in the logarithm of its pixels sets the bits a pixel; its frame rate
    is taken as 30.

    >>> bit_rate(1280, 720, 30)
    2176000.0
    """
    pixels = width * height
    nearest = min(_VARIANTS, key=lambda size: abs(np.log(size / pixels)))
    return float(_VARIANTS[nearest] * pixels / nearest * rate / _VARIANT_RATE)


def resize(image: Image, factor: float) -> Image:
    """The picture at another size, at least one pixel a side: by area when smaller, bicubic when larger."""
    height, width = image.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    smoothing = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=smoothing), np.uint8)


def fit(image: Image, short_side: int) -> Image:
    """The picture with a short side of at most this many pixels and even sides, as platforms want them.

    A picture that is small enough stays as it is.
    """
    height, width = image.shape[:2]
    factor = short_side / min(height, width)
    if factor >= 1:
        return image
    size = (2 * max(1, round(width * factor / 2)), 2 * max(1, round(height * factor / 2)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
