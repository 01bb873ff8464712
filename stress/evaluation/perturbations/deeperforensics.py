"""The perturbations of DeeperForensics-1.0, as published ("faithful") and as their names say ("corrected").

L. Jiang, R. Li, W. Wu, C. Qian and C. C. Loy, "DeeperForensics-1.0" (CVPR 2020, arXiv 2001.03024); parameters and
quirks from the authors' code (github.com/EndlessSora/DeeperForensics-1.0, ``perturbation/``). Written anew from what it
computes; its global random state, shell command and changed input are kept in neither mode.

======  ====================  =======================================  ===================================
name    parameter             faithful                                 corrected
======  ====================  =======================================  ===================================
CS      factor on chroma      fractions are cut off, not clipped       rounded and clipped
CC      factor                darkens: every value times the factor    contrast about the mean luma
BW      number of blocks      8 px blocks, number x (short side //     side and number scaled to the
                              256): none below 256; never in the last  picture: the same share at any size
                              row and column
GNC     variance              added in studio range: 16 % stronger in  in Y'CbCr of full range, rounded
                              luma, 14 % in chroma; fractions cut off
GB      kernel, sigma = k/6   the same in both
JPEG    factor                shrunk and enlarged, no JPEG             real JPEG, at the qualities of
                                                                       ImageNet-C
VC      CRF                   the same in both: H.264 (see :mod:`stress.evaluation.codecs`)
======  ====================  =======================================  ===================================

What the published videos went through besides, and these pictures do not: after any perturbation but VC the authors
write the frames as XVID, and that as H.264 at ffmpeg's default.

Functions here are pure, from uint8 RGB (H, W, 3) to the same; what is random takes a generator.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

#: Name -> parameter at levels 1 to 5, as published.
PARAMETERS: dict[str, tuple[float, ...]] = {
    "CS": (0.4, 0.3, 0.2, 0.1, 0.0),
    "CC": (0.85, 0.725, 0.6, 0.475, 0.35),
    "BW": (16, 32, 48, 64, 80),
    "GNC": (0.001, 0.002, 0.005, 0.01, 0.05),
    "GB": (7, 9, 13, 17, 21),
    "JPEG": (2, 3, 4, 5, 6),
    "VC": (30, 32, 35, 38, 40),
}

LABELS = {
    "CS": "Color saturation",
    "CC": "Color contrast",
    "BW": "Local block-wise",
    "GNC": "White Gaussian noise in color components",
    "GB": "Gaussian blur",
    "JPEG": "JPEG compression",
    "VC": "Video compression",
}

#: JPEG quality where the corrected mode uses JPEG: D. Hendrycks and T. Dietterich, ICLR 2019 (ImageNet-C).
JPEG_QUALITIES = (25, 18, 15, 10, 7)

_BLOCK = 8
_BLOCK_PICTURE = 256
_GREY = 128
_CENTER = 0.5  # of chroma; OpenCV's conversion of floats keeps chroma about 0.5 whatever the range of the values
_RISE, _LUMA_SPAN, _CHROMA_SPAN = 16, 219, 224  # studio range
_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601


def perturb(image: Image, name: str, level: int, rng: np.random.Generator, *, faithful: bool) -> Image:
    """One of the six that look at single frames (all but VC).

    Args:
        image: (H, W, 3) uint8 RGB; it is not changed.
        name: A key of :data:`PARAMETERS` other than ``"VC"``.
        level: 1 to 5.
        rng: Used by BW and GNC.
        faithful: With the published quirks, or as the name says.
    """
    parameter = PARAMETERS[name][level - 1]
    if name == "CS":
        return saturation(image, parameter, faithful=faithful)
    if name == "CC":
        return darken(image, parameter) if faithful else contrast(image, parameter)
    if name == "BW":
        return blocks(image, int(parameter), rng) if faithful else scaled_blocks(image, int(parameter), rng)
    if name == "GNC":
        return noise(image, parameter, rng, faithful=faithful)
    if name == "GB":
        return blur(image, int(parameter))
    if name == "JPEG":
        return shrink(image, int(parameter)) if faithful else jpeg(image, JPEG_QUALITIES[level - 1])
    raise ValueError(f"{name!r} is not a perturbation of single frames")


def setting(name: str, level: int, *, faithful: bool) -> str:
    """What a level stands for, for people to read."""
    value = PARAMETERS[name][level - 1]
    if name == "JPEG":
        return f"scaled down and up by {value:g}" if faithful else f"quality {JPEG_QUALITIES[level - 1]}"
    return {
        "CS": f"chroma x {value:g}",
        "CC": f"brightness x {value:g}" if faithful else f"contrast x {value:g}",
        "BW": f"{value:g} blocks per 256 px" if faithful else f"{value:g} blocks a square, side 1/32",
        "GNC": f"variance {value:g}",
        "GB": f"kernel {value:g}",
        "VC": f"H.264 CRF {value:g}",
    }[name]


# --------------------------------------------------------------------------------------------------------- saturation


def saturation(image: Image, factor: float, *, faithful: bool) -> Image:
    """Chroma times a factor (0 = grey), luma kept.

    Faithful: through studio range and back with the center of chroma a five-hundredth off, and fractions cut off: white
    becomes (254, 255, 254). With the published factors no value leaves [0, 255], so nothing wraps; with a factor
    above 1 values would.
    """
    if faithful:
        ycbcr = _to_studio(image)
        ycbcr[..., 1:] = _CENTER + (ycbcr[..., 1:] - _CENTER) * np.float32(factor)
        return _cut_off(_from_studio(ycbcr))
    luma = image.astype(np.float32) @ _WEIGHTS
    return _rounded(luma[..., None] * (1 - factor) + image.astype(np.float32) * factor)


# ----------------------------------------------------------------------------------------------------------- contrast


def darken(image: Image, factor: float) -> Image:
    """Every value times the factor, fractions cut off: what is published as a change of contrast."""
    return _cut_off(image.astype(np.float32) * np.float32(factor))


def contrast(image: Image, factor: float) -> Image:
    """Distances from the picture's mean luma times the factor."""
    values = image.astype(np.float32)
    mean = float((values @ _WEIGHTS).mean())
    return _rounded(mean + (values - mean) * factor)


# ------------------------------------------------------------------------------------------------------------- blocks


def blocks(image: Image, number: int, rng: np.random.Generator) -> Image:
    """Grey 8 px blocks, ``number`` for every whole 256 px of the short side: none in a smaller picture."""
    height, width = image.shape[:2]
    count = min(height, width) // _BLOCK_PICTURE * number
    return _with_blocks(image, count, _BLOCK, (height - _BLOCK, width - _BLOCK), rng)


def scaled_blocks(image: Image, number: int, rng: np.random.Generator) -> Image:
    """Grey blocks of a 32nd of the short side, ``number`` for every square of the short side.

    What ``number`` blocks of 8 px are in a picture of 256 px, at any size: of small pictures too the same share is
    covered, as far as whole pixels allow.
    """
    height, width = image.shape[:2]
    short = min(height, width)
    side = max(1, round(short * _BLOCK / _BLOCK_PICTURE))
    covered = number * (_BLOCK / _BLOCK_PICTURE) ** 2 * height * width
    return _with_blocks(image, round(covered / side**2), side, (height - side + 1, width - side + 1), rng)


def _with_blocks(image: Image, count: int, side: int, places: tuple[int, int], rng: np.random.Generator) -> Image:
    """A copy with ``count`` blocks, their corners anywhere below ``places`` (rows, columns); they may overlap."""
    result = image.copy()
    if count:
        for top, left in rng.integers((0, 0), places, (count, 2)):
            result[top : top + side, left : left + side] = _GREY
    return result


# -------------------------------------------------------------------------------------------------------------- noise


def noise(image: Image, variance: float, rng: np.random.Generator, *, faithful: bool) -> Image:
    """White Gaussian noise in Y', Cb and Cr, variance on a scale where white is 1."""
    drawn = np.sqrt(np.float32(variance)) * rng.standard_normal(image.shape, np.float32)
    if faithful:
        noisy = (_to_studio(image) / 255 + drawn) * 255
        return _cut_off(np.clip(_from_studio(noisy), 0, 255))
    ycrcb = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2YCrCb)
    return _rounded(cv2.cvtColor(ycrcb + drawn, cv2.COLOR_YCrCb2RGB) * 255)


# ------------------------------------------------------------------------------------------------ blur, scaling, JPEG


def blur(image: Image, kernel: int) -> Image:
    """Gaussian blur, sigma a sixth of the kernel (odd, pixels)."""
    return _as_image(cv2.GaussianBlur(image, (kernel, kernel), kernel / 6))


def shrink(image: Image, factor: int) -> Image:
    """Smaller by the factor and back, bilinear without smoothing: what is published as JPEG compression."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(1, width // factor), max(1, height // factor)))
    return _as_image(cv2.resize(small, (width, height)))


def jpeg(image: Image, quality: int) -> Image:
    """Real JPEG (libjpeg, 4:2:0), written and read in memory; quality 1 to 100."""
    written, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not written:
        raise ValueError(f"a picture of {image.shape} cannot be written as JPEG")
    return _as_image(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))


# ------------------------------------------------------------------------------------------------------------ helpers


def _to_studio(image: Image) -> NDArray[np.float32]:
    """Y', Cb and Cr in studio range (a neutral Cb and Cr is 128 / 255): (value x span + 16) / 255, not normalized."""
    y, cr, cb = cv2.split(cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2YCrCb))
    planes = [(plane * span + _RISE) / 255 for plane, span in ((y, _LUMA_SPAN), (cb, _CHROMA_SPAN), (cr, _CHROMA_SPAN))]
    return np.stack(planes, axis=-1).astype(np.float32)


def _from_studio(ycbcr: NDArray[np.float32]) -> NDArray[np.float32]:
    """Undo :func:`_to_studio`: float RGB, not clipped."""
    y, cb, cr = (
        (ycbcr[..., i] * 255 - _RISE) / span for i, span in enumerate((_LUMA_SPAN, _CHROMA_SPAN, _CHROMA_SPAN))
    )
    stacked = np.stack([y, cr, cb], axis=-1).astype(np.float32)
    return np.asarray(cv2.cvtColor(stacked, cv2.COLOR_YCrCb2RGB), np.float32)


def _cut_off(values: NDArray[np.float32]) -> Image:
    """Fractions cut off, bits above the eighth dropped: numpy's cast on x86, spelled out so as to be one everywhere."""
    return np.trunc(values).astype(np.int64).astype(np.uint8)


def _rounded(values: NDArray[np.float32]) -> Image:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _as_image(array: Any) -> Image:
    return np.asarray(array, np.uint8)
