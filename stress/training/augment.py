"""Changes to a face crop that leave its label alone: what happens to videos on their way to a detector."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np


def augment(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Mirror, shift and scale, brighten, blur and compress a crop, each by chance and mildly.

    In this order, with probability and range: mirror 0.5; shift up to 4 % of the side and scale 0.95 to 1.05, 0.5;
    contrast 0.85 to 1.15 and brightness up to 20 grey levels, 0.5; Gaussian blur of 0.3 to 1.0 px, 0.15; JPEG of
    quality 50 to 95, 0.4.

    Args:
        image: (S, S, 3) uint8 RGB; not changed.
        generator: Source of chance.

    Returns:
        (S, S, 3) uint8 RGB.
    """
    return augment_with(image, (), generator)[0]


def augment_with(
    image: np.ndarray, maps: Sequence[np.ndarray], generator: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray]]:
    """As :func:`augment`, with maps of the picture that are mirrored, shifted and scaled as it is.

    Args:
        image: (S, S, 3) uint8 RGB; not changed.
        maps: (S, S) float32 each; not changed. What is NaN all over stays so.
        generator: Source of chance; the same draws are made whatever the maps.

    Returns:
        The picture and the maps.
    """
    found = list(maps)
    if generator.random() < 0.5:
        image, found = image[:, ::-1], [one[:, ::-1] for one in found]
    if generator.random() < 0.5:
        matrix = _shift(image.shape[0], generator)
        image, found = _moved(image, matrix), [_moved(one, matrix) for one in found]
    if generator.random() < 0.5:
        gain, offset = generator.uniform(0.85, 1.15), generator.uniform(-20, 20)
        table = np.clip((np.arange(256) - 128) * gain + 128 + offset, 0, 255).round().astype(np.uint8)
        image = table[image]
    image = np.ascontiguousarray(image)
    if generator.random() < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), generator.uniform(0.3, 1.0))
    if generator.random() < 0.4:
        image = jpeg(image, int(generator.integers(50, 96)))
    return image, [np.ascontiguousarray(one) for one in found]


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """An RGB picture after JPEG compression.

    Args:
        image: (H, W, 3) uint8 RGB.
        quality: 1 to 100.
    """
    data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def _shift(side: int, generator: np.random.Generator) -> np.ndarray:
    scale = generator.uniform(0.95, 1.05)
    shift = generator.uniform(-0.04, 0.04, 2) * side + (1 - scale) * (side - 1) / 2
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])


def _moved(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    side, image = image.shape[0], np.ascontiguousarray(image)
    return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
