"""Frequency masking: a detector learns from faces of which part of the spectrum is missing, anew for each face.

Doloriel and Cheung, "Frequency masking for universal deepfake detection", ICASSP 2024, arXiv 2401.06506, after their
published code; with the masks of pixels and of patches that they compare it with.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import ndimage

from stress.training.augment import jpeg
from stress.training.batches import Batch
from stress.training.recipe import Recipe
from stress.training.recipes.masks import (
    BANDS,
    KINDS,
    MODES,
    hide_frequencies,
    hide_patches,
    hide_pixels,
    without_frequencies,
)

VARIATIONS = ("ours", "published")


@dataclass(frozen=True, kw_only=True)
class FrequencyMask(Recipe):
    """Training on masked faces; what is trained so is asked about whole ones.

    Masks are drawn for each face by itself, at the size of the crop (the published code masks before it resizes).

    Args:
        kind: What is hidden: coefficients of the spectrum (``frequency``), or of the picture each ``pixel`` or
            ``patch`` by itself.
        band: Of the spectrum: ``all``, ``low``, ``mid``, ``high`` (:func:`stress.training.recipes.masks.band_places`).
        ratio: Share of the band, the pixels or the patches that is hidden, in [0, 1].
        mode: ``corrected``, or ``faithful`` to the published code, see :mod:`stress.training.recipes.masks`.
            ``faithful`` also masks the held-out faces by which the epoch is chosen, though not those by which the
            threshold is.
        probability: Share of the faces that are masked, in [0, 1]; ``faithful`` masks all.
        variation: How faces are varied after masking: as in plain training (``ours``), or as ``published``.

    Raises:
        ValueError: A value is outside its range, or does not go with the kind or the mode.
    """

    name: ClassVar[str] = "frequency-mask"

    kind: str = "frequency"
    band: str = "all"
    ratio: float = 0.15
    mode: str = "corrected"
    probability: float = 1.0
    variation: str = "ours"

    def __post_init__(self) -> None:
        for name, known in (("kind", KINDS), ("band", BANDS), ("mode", MODES), ("variation", VARIATIONS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {', '.join(known[:-1])} or {known[-1]}, not {getattr(self, name)!r}")
        for name in ("ratio", "probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} lies in [0, 1], not at {getattr(self, name)}")
        if self.kind != "frequency" and self.band != "all":
            raise ValueError(f"a band is of frequencies; kind {self.kind} has none")
        if self.mode == "faithful" and self.probability != 1:
            raise ValueError("mode faithful masks every face; a probability needs mode corrected")

    def change(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Mask the faces of a batch."""
        return dataclasses.replace(batch, images=self._masked(batch.images, generator))

    def vary(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Vary them as in plain training, or as the published code does."""
        if self.variation == "ours":
            return super().vary(batch, generator)
        return dataclasses.replace(batch, images=np.stack([published(image, generator) for image in batch.images]))

    def examined(self, images: np.ndarray, seed: int) -> np.ndarray:
        """In mode ``faithful`` masked, once for all epochs."""
        return self._masked(images, np.random.default_rng([seed, 2])) if self.mode == "faithful" else images

    def mask(self, image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """A face with a part of it hidden, whatever ``probability`` is.

        Args:
            image: (S, S, 3) uint8 RGB; not changed.
            generator: Source of chance.

        Returns:
            (S, S, 3) uint8 RGB.
        """
        size = len(image)
        if self.kind == "frequency":
            hidden = hide_frequencies(size, self.band, self.ratio, self.mode, generator)
            return without_frequencies(image, hidden, self.mode)
        if self.kind == "pixel":
            hidden = hide_pixels(size, self.ratio, generator)
        else:
            hidden = hide_patches(size, self.ratio, self.mode, generator)
        return np.where(hidden[..., None], np.uint8(0), image)

    def _masked(self, images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        found = np.empty_like(images)
        for i, image in enumerate(images):
            found[i] = self.mask(image, generator) if generator.random() < self.probability else image
        return found


def published(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Vary a face as the published code does after masking, as near as crops allow.

    Gaussian blur of 0 to 3 px, probability 0.1; JPEG of quality 30 or 100, 0.1; shift by whole pixels, up to 1/14 of
    the side each way; mirror, 0.5. The shift stands for cutting 224 px at random out of 256: borders are mirrored,
    because nothing is known of the face beyond its crop.

    Args:
        image: (S, S, 3) uint8 RGB; not changed.
        generator: Source of chance.

    Returns:
        (S, S, 3) uint8 RGB.
    """
    if generator.random() < 0.1:
        width = generator.uniform(0, 3)
        image = ndimage.gaussian_filter(image, (width, width, 0))
    if generator.random() < 0.1:
        image = jpeg(image, int(generator.choice((30, 100))))
    size = len(image)
    room = size // 14
    row, column = generator.integers(0, 2 * room, 2, endpoint=True)
    image = np.pad(image, ((room, room), (room, room), (0, 0)), "reflect")[row : row + size, column : column + size]
    return image[:, ::-1] if generator.random() < 0.5 else image
