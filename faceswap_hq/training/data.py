"""Facesets in memory, and batches that depend on nothing but the seed and the step."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from faceswap_hq.faces import alignment, regions
from faceswap_hq.faceset import Faceset

MARGIN = 1.25
"""The crops are held this much wider than the model's view, so that rotating and shifting finds real pixels."""


@dataclass(frozen=True, kw_only=True)
class PersonData:
    """One person's faces, ready for training."""

    name: str
    images: Tensor
    """uint8 (N, 3, L, L), L = resolution × MARGIN."""
    weights: Tensor
    """uint8 (N, 2, L, L): the face's area, and the eyes and the mouth, 255 inside."""

    def to(self, device: torch.device) -> PersonData:
        """A copy on ``device``."""
        return PersonData(name=self.name, images=self.images.to(device), weights=self.weights.to(device))


def load_person(faceset: Faceset, resolution: int, coverage: float, limit: int = 6000) -> PersonData:
    """Read a faceset into memory at training size.

    Args:
        faceset: The person.
        resolution: The model's side, pixels.
        coverage: Share of the crop's side that the model sees; times MARGIN it must not exceed 1.
        limit: At most this many faces are held, evenly spread over the faceset.
    """
    side = round(resolution * MARGIN)
    count = len(faceset.rows)
    picks = np.linspace(0, count - 1, min(count, limit)).round().astype(int)
    images = np.empty((len(picks), side, side, 3), np.uint8)
    weights = np.empty((len(picks), 2, side, side), np.uint8)
    identity = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    matrix = alignment.scaled(identity, faceset.size, side, min(1.0, coverage * MARGIN))
    for i, pick in enumerate(picks):
        row = faceset.rows[pick]
        images[i] = alignment.warp(faceset.image(row), matrix, side)
        polygons = regions.region_polygons(alignment.transform(row.landmarks_crop, matrix))
        weights[i, 0] = regions.fill(polygons["face"], side, grow=0.02 * side)
        weights[i, 1] = np.maximum(
            regions.fill(polygons["eyes"], side, grow=0.015 * side),
            regions.fill(polygons["mouth"], side, grow=0.01 * side),
        )
        weights[i] = [cv2.GaussianBlur(w, (0, 0), 0.008 * side) for w in weights[i]]
    return PersonData(
        name=faceset.name,
        images=torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
        weights=torch.from_numpy(weights),
    )


def generator(*key: int) -> torch.Generator:
    """A CPU random generator that depends only on ``key`` (non-negative integers)."""
    state = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.Generator().manual_seed(state)


def batch_indices(count: int, batch: int, step: int, seed: int, person: int) -> Tensor:
    """Which faces of a person are in the batch of a step: each epoch is a fresh permutation, without remainder lost.

    Depends on nothing but its arguments, so that a resumed run sees the faces that an unbroken one would have seen.

    Args:
        count: The person's faces.
        batch: Faces a step.
        step: Step number, from 0.
        seed: The run's seed.
        person: The person's number.

    Returns:
        int64 (batch,).
    """
    positions = torch.arange(step * batch, (step + 1) * batch)
    epochs = positions // count
    out = torch.empty(batch, dtype=torch.int64)
    for epoch in epochs.unique().tolist():
        order = torch.randperm(count, generator=generator(seed, person, epoch, 1))
        chosen = epochs == epoch
        out[chosen] = order[positions[chosen] % count]
    return out
