"""Training from reals alone, each beside its self-blended version (Shiohara and Yamasaki, CVPR 2022)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from blending.hulls import POINTS
from faceswap_hq.errors import UserError
from stress.api import FaceCrop
from stress.checks import require
from stress.data.crops import Crops, CropSettings
from stress.data.layouts import REAL
from stress.detectors.detector import Detector
from stress.training.batches import Batch, Draws
from stress.training.recipe import Learner, Recipe
from stress.training.recipes import colour_changes as colour
from stress.training.recipes.self_blending import MODES, common_changes, self_blend
from stress.training.sam import SharpnessAwareLearner
from stress.training.settings import TrainSettings

EDGE = 0.06
"""By how much of its side each edge of the crop moves at most. Published are margins of 5 to 20 % of the face's box in
training and 12.5 % at test: 7.5 % of the box more or less, which is 1 / 1.25 of the crop at test."""


@dataclass(frozen=True, kw_only=True)
class SelfBlended(Recipe):
    """Pairs of a real and its self-blended version, learned with sharpness-aware steps.

    Args:
        mode: ``faithful`` or ``corrected``, see :data:`stress.training.recipes.self_blending.MODES`.
        rho: Of :class:`stress.training.sam.SharpnessAwareLearner`; 0 takes the optimizer's own steps.
        room: Side of the crops to train on as a multiple of the detector's; of what is cut out wider, a window about
            the size of the detector's crop is taken anew at every sight. With 1 it can only be smaller than that.

    Raises:
        ValueError: A value is outside its range.
    """

    name: ClassVar[str] = "self-blended"
    needs_fakes: ClassVar[bool] = False

    mode: str = "corrected"
    rho: float = 0.05
    room: float = 1 + 2 * EDGE

    def __post_init__(self) -> None:
        checks = {"mode": self.mode in MODES, "rho": self.rho >= 0, "room": 1 <= self.room <= 2}
        require(self, checks)

    def crop_settings(self, card: CropSettings) -> CropSettings:
        """The card's crop with room around it, in as many pixels more."""
        size = card.input_size + 2 * math.ceil((self.room - 1) * card.input_size / 2)
        margin = card.crop_margin * size / card.input_size
        return FaceCrop(input_size=size, crop_margin=margin, alignment=card.alignment)

    def draws(
        self, real: Sequence[Crops], fake: Sequence[Crops], size: int, generator: np.random.Generator
    ) -> Draws:
        """Self-blended versions beside their reals; fakes are not looked at.

        Raises:
            UserError: The landmarks of the reals are not known.
        """
        return PairBatches(real, size, generator, self.mode)

    def vary(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Mirror, colour and compress both pictures of a pair alike, and move the edges of the crop."""
        images, masks = batch.images.copy(), None if batch.masks is None else batch.masks.copy()
        inner = images.shape[1] / self.room
        for first in range(0, len(images), 2):
            mirror = generator.random() < 0.5
            changes = common_changes(generator, self.mode)
            edges = generator.uniform(-EDGE, EDGE, 4) * inner
            for i in (first, first + 1):
                image = np.ascontiguousarray(images[i][:, ::-1]) if mirror else images[i]
                images[i] = moved_edges(colour.apply(changes, image), edges, inner)
                if masks is not None:
                    mask = np.ascontiguousarray(masks[i][:, ::-1]) if mirror else masks[i]
                    masks[i] = moved_edges(mask, edges, inner)
        return dataclasses.replace(batch, images=images, masks=masks)

    def learner(self, detector: Detector, settings: TrainSettings) -> Learner:
        """Sharpness-aware steps, unless ``rho`` is 0."""
        return SharpnessAwareLearner(detector, settings, self.rho) if self.rho else Learner(detector, settings)

    def judged(self, crops: Sequence[Crops], limit: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Held-out people's reals and their self-blended versions, the same for a seed; their fakes are not used."""
        reals = [item for item in crops if item.clip.label == REAL]
        every = max(1, math.ceil(2 * sum(len(item.frames) for item in reals) / limit))
        generator = np.random.default_rng([seed, 2])
        images: list[np.ndarray] = []
        for image, points in (pair for item in reals for pair in list(_faces(item))[::every]):
            made = self_blend(image, points, generator, self.mode)
            images += [made.fake, made.target]
        if not images:
            return np.zeros((0, 1, 1, 3), np.uint8), np.zeros(0, np.int64)
        return np.stack(images), np.tile([1, 0], len(images) // 2)


class PairBatches:
    """Draws batches in which each real follows its self-blended version; all frames have their turn, in random order.

    Args:
        real: Faces of reals, with landmarks.
        batch: Even number of faces.
        generator: Source of chance.
        mode: See :func:`stress.training.recipes.self_blending.self_blend`.

    Raises:
        UserError: The landmarks are not known.
        ValueError: No reals, or an odd batch.
    """

    def __init__(self, real: Sequence[Crops], batch: int, generator: np.random.Generator, mode: str) -> None:
        if not real or batch % 2:
            raise ValueError(f"an even batch of reals, not {batch} of {len(real)} clips")
        self._generator, self._mode, self._pairs = generator, mode, batch // 2
        self._faces = [face for item in real for face in _faces(item)]
        self._turns = self._in_turn()
        self.per_epoch = math.ceil(len(self._faces) / self._pairs)

    def draw(self) -> Batch:
        """The next batch: self-blended and real in turn, with the masks of the former."""
        made = [
            self_blend(*self._faces[next(self._turns)], self._generator, self._mode) for _ in range(self._pairs)
        ]
        return Batch(
            images=np.stack([image for each in made for image in (each.fake, each.target)]),
            labels=np.tile(np.array([1, 0], np.float32), self._pairs),
            masks=np.stack([mask for each in made for mask in (each.mask, np.zeros_like(each.mask))]),
        )

    def _in_turn(self) -> Iterator[int]:
        while True:
            yield from self._generator.permutation(len(self._faces)).tolist()


def moved_edges(image: np.ndarray, edges: np.ndarray, inner: float) -> np.ndarray:
    """Fill the central square of a picture with a window of other edges, stretched to it.

    Args:
        image: (S, S) or (S, S, 3).
        edges: (4,) pixels by which the window's left, top, right and bottom edges lie outside the central square's;
            held at the picture's own edges.
        inner: Side of the central square in pixels, at most S.

    Returns:
        The same shape; what lies around the central square is filled as the stretch goes on.
    """
    size = image.shape[0]
    start = (size - inner) / 2
    low = np.maximum(start - edges[:2], 0)
    high = np.minimum(start + inner + edges[2:], size)
    scale = (high - low) / inner  # pixels of the picture in one of the result; edges lie half a pixel from centers
    matrix = np.column_stack([np.diag(scale), low - scale * (start - 0.5) - 0.5])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _faces(item: Crops) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every face of a clip with its landmarks."""
    if item.landmarks is None or item.landmarks.shape[1] not in POINTS:
        raise UserError(
            f"The landmarks of {item.clip.id}'s faces are not known, which self-blending needs.",
            f"It works with {' or '.join(map(str, POINTS))} landmarks a face.",
        )
    return zip(item.images, item.landmarks, strict=True)
