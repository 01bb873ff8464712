"""Numbers that describe pictures outside their faces: colour, noise, borders, local texture, traces of a block codec.

Everything is measured on uint8 RGB pictures where ``outside`` is true, so that no number sees a face; only the
outermost pixels (:func:`border_numbers`) count wherever the face is. A pair of clips is measured with one mask for
both.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

Picture = NDArray[np.uint8]
Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]
Numbers = dict[str, float]

_BANDS = (1, 3, 5, 8, 11, 15)  # sums of the two frequencies at which DCT bands begin and end
_MOST_BLOCKS = 6000  # 8 x 8 blocks looked at in one picture, evenly spaced
_COEFFICIENTS = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0))  # of low frequency: they keep what quantisation did to them


def planes(picture: Picture) -> tuple[Plane, Plane, Plane]:
    """Luma, blue and red chroma (H, W) of a (H, W, 3) uint8 RGB picture, float32 in 0-255, chroma about 128."""
    y, cr, cb = np.moveaxis(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb).astype(np.float32), -1, 0)
    return y, cb, cr


def frame_numbers(picture: Picture, outside: Mask) -> Numbers:
    """Mean and spread of each channel, noise, sharpness.

    Noise is Immerkaer's operator (Computer Vision and Image Understanding 64, 1996), as a median so that edges count
    little. Keys are the columns of :data:`FRAME`.
    """
    seen = picture[outside].astype(np.float32)
    found: Numbers = {}
    for channel, name in enumerate(("red", "green", "blue")):
        found[f"mean_{name}"] = float(seen[:, channel].mean())
        found[f"spread_{name}"] = float(seen[:, channel].std())
    mean = np.maximum(seen.mean(0), 1)
    found["red_to_green"] = float(mean[0] / mean[1])
    found["blue_to_green"] = float(mean[2] / mean[1])
    luma = seen @ np.array([0.299, 0.587, 0.114], np.float32)
    found["dark"], found["bright"] = (float(value) for value in np.quantile(luma, [0.05, 0.95]))
    inner = cv2.erode(outside.astype(np.uint8), np.ones((3, 3))).astype(bool)
    if not inner.any():
        inner = outside
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    for name, plane in zip(("luma", "blue_difference", "red_difference"), planes(picture), strict=True):
        rough = np.abs(cv2.filter2D(plane, -1, kernel))[inner]
        found[f"noise_{name}"] = float(np.median(rough)) / 4.05 + 0.02
        if name == "luma":
            found["noise_mean"] = float(rough.mean()) / 4.79 + 0.02  # of what edges there are, too
            found["sharpness"] = float(cv2.Laplacian(plane, cv2.CV_32F)[inner].var()) + 0.1
    return found


def border_numbers(picture: Picture) -> Numbers:
    """How the outermost pixels differ from the next ones, side by side: rings 1, 2 and 4 px wide, in grey levels."""
    y, cb, cr = planes(picture)
    found: Numbers = {}
    turned = {"top": y, "bottom": y[::-1], "left": y.T, "right": y.T[::-1]}
    for side, plane in turned.items():
        for width in (1, 2, 4):
            found[f"border_{side}_{width}"] = float(plane[:width].mean() - plane[width : 2 * width].mean())
        found[f"border_step_{side}"] = float(np.abs(plane[:6] - plane[1:7]).mean(axis=1).max())
    ring = np.ones(y.shape, bool)
    ring[2:-2, 2:-2] = False
    near = np.ones(y.shape, bool)
    near[8:-8, 8:-8] = False
    for name, plane in (("blue", cb), ("red", cr)):
        found[f"border_{name}"] = float(plane[ring].mean() - plane[near & ~ring].mean())
    return found


def texture_numbers(picture: Picture, outside: Mask) -> Numbers:
    """Local binary patterns (T. Ojala et al., 2002: eight neighbours, rotation-invariant uniform) and DCT bands."""
    y, cb, cr = planes(picture)
    share = np.bincount(_local_patterns(y)[outside[1:-1, 1:-1]], minlength=10).astype(np.float64)
    share /= max(1.0, share.sum())
    found = {f"pattern_{k}": float(share[k]) for k in range(10)}
    for name, plane in (("luma", y), ("chroma", (cb + cr) / 2)):
        energy = np.square(_dct_blocks(plane, outside)).mean(0)
        for low, high in zip(_BANDS, _BANDS[1:], strict=False):
            found[f"band_{name}_{low}"] = float(energy[_band(low, high)].mean()) + 0.02
    return found


def block_numbers(picture: Picture, outside: Mask) -> Numbers:
    """Traces of a block codec: steps at the 8- and 16-px grid, and what quantisation leaves in DCT coefficients.

    Grid: mean step between neighbouring pixels that lie astride the grid over that of neighbours within a block of
    8 px, steps cut at 12. Quantised once, a coefficient's histogram has peaks at equal distances; twice, a pattern of
    gaps (A. C. Popescu and H. Farid, 2004). We take the strongest period of the histogram and the share of small
    coefficients.
    """
    y = planes(picture)[0]
    found: Numbers = {}
    for axis, name in ((1, "columns"), (0, "rows")):
        step = np.abs(np.diff(y, axis=axis))
        seen = outside[:, 1:] & outside[:, :-1] if axis == 1 else outside[1:] & outside[:-1]
        # A median would miss the few steps that are blocks; a plain mean is ruled by edges, so steps are cut at 12.
        step = np.minimum(step, 12)
        total = step.sum(axis=1 - axis, where=seen)
        count = seen.sum(axis=1 - axis)
        position = np.arange(len(total)) + 1
        for grid in (8, 16):
            on, off = position % grid == 0, position % 8 != 0
            if count[on].sum() and count[off].sum():
                at = total[on].sum() / count[on].sum()
                between = total[off].sum() / count[off].sum()
                found[f"grid{grid}_{name}"] = float((at + 0.05) / (between + 0.05))
    blocks = _dct_blocks(y, outside)
    for u, v in _COEFFICIENTS:
        values = blocks[:, u, v]
        found[f"period_{u}{v}"] = _periodicity(values)
        found[f"small_{u}{v}"] = float((np.abs(values) < 1).mean())
    high = blocks[:, 4:, 4:]
    found["small_high"] = float((np.abs(high) < 0.5).mean())
    return found


def _local_patterns(y: Plane) -> NDArray[np.int64]:
    """(H - 2, W - 2) 0-8: uniform patterns by their ones, 9: all others. A neighbour brighter by 1 counts."""
    height, width = y.shape
    ring = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
    centre = y[1:-1, 1:-1] + 1
    bits = np.stack([y[r : r + height - 2, c : c + width - 2] >= centre for r, c in ring])
    changes = (bits != np.roll(bits, 1, axis=0)).sum(0)
    return np.where(changes <= 2, bits.sum(0), 9)


def _dct_blocks(plane: Plane, outside: Mask) -> Plane:
    """(n, 8, 8) orthonormal DCT of the grid's blocks that lie wholly outside."""
    rows, columns = plane.shape[0] // 8, plane.shape[1] // 8
    cut = (slice(0, rows * 8), slice(0, columns * 8))
    free = outside[cut].reshape(rows, 8, columns, 8).all(axis=(1, 3)).ravel()
    blocks = plane[cut].reshape(rows, 8, columns, 8).swapaxes(1, 2).reshape(-1, 8, 8)
    chosen = np.flatnonzero(free)
    if len(chosen) == 0:
        return np.full((1, 8, 8), np.nan, np.float32)
    chosen = chosen[:: max(1, -(-len(chosen) // _MOST_BLOCKS))]
    return np.asarray(dctn(blocks[chosen] - 128, axes=(1, 2), norm="ortho"), np.float32)


def _band(low: int, high: int) -> Mask:
    u, v = np.mgrid[:8, :8]
    return (u + v >= low) & (u + v < high)


def _periodicity(values: Plane) -> float:
    """Strength of the strongest period (2 to 16) in the histogram of the values within 64, over their number's root."""
    counts = np.histogram(values, bins=np.arange(-64.25, 64.5, 0.5))[0].astype(np.float64)
    if not counts.sum():
        return float("nan")
    counts[len(counts) // 2 - 1 : len(counts) // 2 + 2] = 0  # the zeros are told by "small"
    smooth = np.convolve(counts, np.hanning(33) / np.hanning(33).sum(), "same")
    spectrum = np.abs(np.fft.rfft(counts - smooth))
    frequency = np.fft.rfftfreq(len(counts), 0.5)
    band = spectrum[(frequency >= 1 / 16) & (frequency <= 0.5)]
    return float(band.max() / (np.sqrt(counts.sum()) + 1))


_CHANNELS = ("red", "green", "blue")
_SIDES = ("top", "bottom", "left", "right")

#: Columns of the three probes: name -> (what it is called, whether ratios of it count rather than differences).
FRAME: dict[str, tuple[str, bool]] = {
    **{f"mean_{c}": (f"mean of {c} (0-255)", False) for c in _CHANNELS},
    **{f"spread_{c}": (f"spread of {c} (0-255)", True) for c in _CHANNELS},
    "red_to_green": ("red over green", True),
    "blue_to_green": ("blue over green", True),
    "dark": ("darkest twentieth (0-255)", False),
    "bright": ("brightest twentieth (0-255)", False),
    "noise_luma": ("noise of brightness (0-255)", True),
    "noise_mean": ("noise and edges of brightness (0-255)", True),
    "noise_blue_difference": ("noise of the blue chroma (0-255)", True),
    "noise_red_difference": ("noise of the red chroma (0-255)", True),
    "sharpness": ("sharpness (variance of the Laplacian)", True),
}
OUTSIDE: dict[str, tuple[str, bool]] = {
    **{
        f"border_{side}_{width}": (f"step {width} px inside the {side} edge (grey levels)", False)
        for side in _SIDES
        for width in (1, 2, 4)
    },
    **{f"border_step_{side}": (f"strongest step along the {side} edge (grey levels)", True) for side in _SIDES},
    **{f"border_{c}": (f"tint of the border, {c} chroma (grey levels)", False) for c in ("blue", "red")},
    **{f"pattern_{k}": (f"share of local pattern {k} of 10", False) for k in range(10)},
    **{
        f"band_{plane}_{low}": (f"energy of DCT band {low}-{high - 1}, {plane}", True)
        for plane in ("luma", "chroma")
        for low, high in zip(_BANDS, _BANDS[1:], strict=False)
    },
}
BLOCKS: dict[str, tuple[str, bool]] = {
    **{
        f"grid{grid}_{name}": (f"steps at the {grid} px grid, {name} (1 = none)", True)
        for name in ("columns", "rows")
        for grid in (8, 16)
    },
    **{f"period_{u}{v}": (f"periodicity of DCT coefficient {u},{v}", True) for u, v in _COEFFICIENTS},
    **{f"small_{u}{v}": (f"share of DCT coefficients {u},{v} near 0", False) for u, v in _COEFFICIENTS},
    "small_high": ("share of high DCT coefficients near 0", False),
}
