"""Self-blended images: a picture blended with a changed copy of itself (Shiohara and Yamasaki, CVPR 2022).

arXiv 2204.08376. The order and the numbers are those of the published code; what it seems to do by accident, the mode
``corrected`` does otherwise (:data:`MODES`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from blending.hulls import KINDS, face_hull, parts
from stress.training.augment import jpeg
from stress.training.recipes import colour_changes as colour
from stress.training.recipes.colour_changes import Change

MODES = ("faithful", "corrected")
"""``faithful``: as the published code runs. ``corrected``: shifts of hue, saturation and value that change something
(published are at most 0.3 of 255 levels, which moves a level by one or not at all); blends rounded, not cut off, which
makes a blend half a level darker than its parts; JPEG that knows red from blue."""
RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
"""Blending ratios, drawn alike: a half is 1."""

_HSV = {"faithful": (0.3, 0.3, 0.3), "corrected": (5.4, 7.65, 7.65)}  # the latter 3 % of each range: ours
_SHIFT = (0.03, 0.015)  # of the surroundings' width and height
_SCALE = (0.95, 1 / 0.95)
_ELASTIC, _ELASTIC_SIGMA = 50.0, 7.0  # pixels
_SIDES = (192, 256)  # of the mask while it is blurred, pixels
_NEARLY = 1e-4  # of 1, which float32 may miss where a mask is flat


@dataclass(frozen=True, kw_only=True)
class SelfBlend:
    """A picture and its self-blended version.

    Attributes:
        target: (S, S, 3) uint8 RGB: the real of the pair, and what is blended into.
        source: (S, S, 3) uint8 RGB: what is blended in.
        mask: (S, S) float32 in [0, 1]: share of the source, the ratio included.
        fake: (S, S, 3) uint8 RGB: ``mask * source + (1 - mask) * target``.
    """

    target: np.ndarray
    source: np.ndarray
    mask: np.ndarray
    fake: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """The part of the picture that the published code cuts out before it blends; all its shares refer to this.

    Half the face's width is added on each side, its height on top and 0.4 of it below, where the face is what 68
    landmarks show of it, from the brows to the chin. It may reach beyond the picture.

    Attributes:
        left: Its first column, in pixels of the picture.
        top: Its first row.
        width: In pixels.
        height: In pixels.
    """

    left: int
    top: int
    width: int
    height: int

    @staticmethod
    def of(landmarks: np.ndarray) -> Surroundings:
        """Those of a face.

        Args:
            landmarks: (478 or 68, 2 or 3) in pixels of the picture.
        """
        points = np.concatenate(list(parts(landmarks, forehead=False).values()))
        low, (width, height) = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1)
        left, top = np.floor(low - (width / 2, height)).astype(int)
        return Surroundings(left=int(left), top=int(top), width=round(2 * width), height=round(2.4 * height))


def self_blend(image: np.ndarray, landmarks: np.ndarray, generator: np.random.Generator, mode: str) -> SelfBlend:
    """Blend a face with a changed copy of itself.

    Of two copies one, by chance, is changed in colour and sharpness. The source is scaled and shifted a little, and a
    hull of the landmarks with it, which is bent, drawn in, blurred and weakened to be the mask.

    Args:
        image: (S, S, 3) uint8 RGB; not changed.
        landmarks: (478 or 68, 2 or 3) in pixels of ``image``.
        generator: Source of chance.
        mode: One of :data:`MODES`.
    """
    forehead = generator.random() >= 0.25
    kind = KINDS[int(generator.integers(len(KINDS)))]
    around = Surroundings.of(landmarks)
    hull = face_hull(
        landmarks, (around.height, around.width), kind, forehead=forehead, offset=(around.left, around.top)
    )
    changed = colour.apply(source_changes(generator, mode), image)
    source, target = (changed, image) if generator.random() < 0.5 else (image, changed)
    matrix = jitter(around, generator)
    source = cv2.warpAffine(source, matrix, source.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    moved = matrix.copy()
    moved[:, 2] += (matrix[:, :2] - np.eye(2)) @ (around.left, around.top)
    hull = elastic(cv2.warpAffine(hull, moved, hull.shape[::-1]), generator)
    mask = placed(blend_mask(hull, generator), around, image.shape[:2]) * np.float32(generator.choice(RATIOS))
    return SelfBlend(target=target, source=source, mask=mask, fake=blend(source, target, mask, mode))


def blend(source: np.ndarray, target: np.ndarray, mask: np.ndarray, mode: str) -> np.ndarray:
    """``mask * source + (1 - mask) * target``, cut off to whole levels (``faithful``) or rounded (``corrected``).

    Args:
        source: (H, W, 3) uint8.
        target: (H, W, 3) uint8.
        mask: (H, W) float32 in [0, 1].
        mode: One of :data:`MODES`.

    Returns:
        (H, W, 3) uint8.
    """
    share = mask[..., None]
    mixed = share * source + (1 - share) * target
    return (mixed if mode == "faithful" else np.rint(mixed)).astype(np.uint8)


def source_changes(generator: np.random.Generator, mode: str) -> list[Change]:
    """What is done to one of the two copies."""
    changes = [_rgb(generator)] if generator.random() < 0.3 else []
    changes += [_hsv(generator, mode), _brightness(generator, 0.1)]
    if generator.random() < 0.5:
        return [*changes, partial(colour.coarsen, factor=int(generator.choice((2, 4))))]
    alpha, lightness = generator.uniform(0.2, 0.5), generator.uniform(0.5, 1.0)
    return [*changes, partial(colour.sharpen, alpha=alpha, lightness=lightness)]


def common_changes(generator: np.random.Generator, mode: str) -> list[Change]:
    """What is done to both pictures of a pair alike."""
    changes = [_rgb(generator)] if generator.random() < 0.3 else []
    if generator.random() < 0.3:
        changes.append(_hsv(generator, mode))
    if generator.random() < 0.3:
        changes.append(_brightness(generator, 0.3))
    if generator.random() < 0.5:
        quality = int(generator.integers(40, 101))
        changes.append(partial(_jpeg_of_blue if mode == "faithful" else jpeg, quality=quality))
    return changes


def _rgb(generator: np.random.Generator) -> Change:
    return partial(colour.shift_rgb, shifts=generator.uniform(-20, 20, 3))


def _hsv(generator: np.random.Generator, mode: str) -> Change:
    hue, saturation, value = generator.uniform(-1, 1, 3) * _HSV[mode]
    return partial(colour.shift_hsv, hue=hue, saturation=saturation, value=value)


def _brightness(generator: np.random.Generator, most: float) -> Change:
    brightness, contrast = generator.uniform(-most, most, 2)
    return partial(colour.brightness_contrast, brightness=brightness, contrast=contrast)


def _jpeg_of_blue(image: np.ndarray, quality: int) -> np.ndarray:
    """JPEG that takes red for blue and blue for red, as OpenCV does where RGB is given to it."""
    return np.ascontiguousarray(jpeg(np.ascontiguousarray(image[..., ::-1]), quality)[..., ::-1])


def jitter(around: Surroundings, generator: np.random.Generator) -> np.ndarray:
    """Scale each axis by 0.95 to 1 / 0.95 about the middle of the surroundings; shift by 3 % and 1.5 % at most.

    Returns:
        (2, 3) float64, from pixels of the picture to pixels of the picture.
    """
    size = np.array([around.width, around.height])
    scale = generator.uniform(*_SCALE, 2)
    shift = generator.uniform(-1, 1, 2) * _SHIFT * size
    middle = np.array([around.left, around.top]) + (size - 1) / 2
    return np.column_stack([np.diag(scale), middle - scale * middle + shift])


def elastic(mask: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Bend a mask by a smooth random field: uniform noise, blurred with a sigma of 7 px, times 50 px.

    Simard, Steinkraus and Platt, "Best practices for convolutional neural networks", 2003. A pixel moves by about
    1.2 px along each axis (root mean square).

    Args:
        mask: (H, W) float32.
        generator: Source of chance.
    """
    height, width = mask.shape
    noise = generator.uniform(-1, 1, (2, height, width)).astype(np.float32)
    columns, rows = (_ELASTIC * cv2.GaussianBlur(plane, (0, 0), _ELASTIC_SIGMA) for plane in noise)
    columns += np.arange(width, dtype=np.float32)
    rows += np.arange(height, dtype=np.float32)[:, None]
    return cv2.remap(mask, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def blend_mask(hull: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw a hull in and give it a soft edge of random width.

    At a random size of 192 to 256 px a side: blurred (odd window of 5 to 25 px), set to 0 where that is not the highest
    value, which draws it in by half the window, and blurred again (another window, sigma 5 to 45 px).

    Args:
        hull: (H, W) float32 in [0, 1].
        generator: Source of chance.

    Returns:
        (H, W) float32 in [0, 1]; all zero where the hull is.
    """
    least, most = _SIDES
    width, height = (int(side) for side in generator.integers(least, most + 1, 2))
    first, second = (int(size) for size in 2 * generator.integers(2, 13, 2) + 1)
    mask = cv2.GaussianBlur(cv2.resize(hull, (width, height)), (first, first), 0)
    mask = _normalised(mask)
    mask[mask < 1 - _NEARLY] = 0
    mask = _normalised(cv2.GaussianBlur(mask, (second, second), int(generator.integers(5, 46))))
    return np.clip(cv2.resize(mask, hull.shape[::-1]), 0, 1)


def _normalised(mask: np.ndarray) -> np.ndarray:
    return mask / max(float(mask.max()), 1e-6)


def placed(mask: np.ndarray, around: Surroundings, shape: tuple[int, ...]) -> np.ndarray:
    """A mask of the surroundings as one of the picture, 0 where the surroundings do not reach.

    Args:
        mask: (height, width) of the surroundings, float32.
        around: Where they lie.
        shape: (H, W) of the picture.
    """
    out = np.zeros(shape[:2], np.float32)
    left, top = max(around.left, 0), max(around.top, 0)
    part = mask[top - around.top : shape[0] - around.top, left - around.left : shape[1] - around.left]
    out[top : top + part.shape[0], left : left + part.shape[1]] = part
    return out
