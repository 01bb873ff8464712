"""Facesets in memory, and batches that depend on nothing but the seed and the step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from faceswap_hq.faces import alignment, expression, regions
from faceswap_hq.faceset import Faceset
from faceswap_hq.model.autoencoder import MEMORIES
from faceswap_hq.sampling import evenly

MARGIN = 1.25
"""The crops are held this much wider than the model's view, so that rotating and shifting finds real pixels."""


@dataclass(frozen=True, kw_only=True)
class PersonData:
    """One person's faces, ready for training."""

    name: str
    images: Tensor
    """uint8 (N, 3, L, L), L = resolution × MARGIN."""
    weights: Tensor
    """uint8 (N, 3, L, L): the areas of the face, the eyes and the mouth, 255 inside."""
    measures: Tensor
    """float32 (N, F): calibrated pose and expression, see :mod:`faceswap_hq.faces.expression`."""
    calibration: expression.Calibration
    """The person's habits, from all faces of the faceset."""

    def to(self, device: torch.device) -> PersonData:
        """A copy on ``device``."""
        moved = {key: getattr(self, key).to(device) for key in ("images", "weights", "measures")}
        return replace(self, **moved)


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
    weights = np.empty((len(picks), 3, side, side), np.uint8)
    identity = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    matrix = alignment.scaled(identity, faceset.size, side, min(1.0, coverage * MARGIN))
    for i, pick in enumerate(picks):
        row = faceset.rows[pick]
        images[i] = alignment.warp(faceset.image(row), matrix, side)
        polygons = regions.region_polygons(alignment.transform(row.landmarks_crop, matrix))
        weights[i, 0] = regions.fill(polygons["face"], side, grow=0.02 * side)
        weights[i, 1] = regions.fill(polygons["eyes"], side, grow=0.015 * side)
        weights[i, 2] = regions.fill(polygons["mouth"], side, grow=0.01 * side)
        weights[i] = [cv2.GaussianBlur(w, (0, 0), 0.008 * side) for w in weights[i]]
    measures = np.stack([expression.measured(row.landmarks) for row in faceset.rows])
    calibration = expression.Calibration.fit(measures)
    return PersonData(
        name=faceset.name,
        images=torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
        weights=torch.from_numpy(weights),
        measures=torch.from_numpy(calibration(measures[picks])),
        calibration=calibration,
    )


def generator(*key: int) -> torch.Generator:
    """A CPU random generator that depends only on ``key`` (non-negative integers)."""
    state = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.Generator().manual_seed(state)


def remembered(person: PersonData) -> Tensor:
    """Indices of the faces that the model remembers, evenly spread: int64 (MEMORIES,)."""
    return torch.linspace(0, len(person.images) - 1, MEMORIES).round().long().to(person.images.device)


def outstanding(person: PersonData, count: int) -> Tensor:
    """Indices of faces that differ most in what they do, int64 (count,).

    The most usual one, then each time the one farthest from all before (Gonzalez 1985).
    """
    doing = person.measures.cpu().double() * torch.tensor(expression.IMPORTANCE)
    away = (doing - doing.median(0).values).square().sum(1)
    picks = [int(away.argmin())]
    gap = (doing - doing[picks[0]]).square().sum(1)
    for _ in range(count - 1):
        picks.append(int(gap.argmax()))
        gap = torch.minimum(gap, (doing - doing[picks[-1]]).square().sum(1))
    return torch.tensor(picks, device=person.images.device)


def sampling_weights(people: list[PersonData], most: float, reach: float = 0.4) -> list[np.ndarray]:
    """How often each face is to be shown: more where the others' poses lie, for that is what it will be asked to draw.

    The weight of a face is the density of the other people's poses, turned to where the person was seen, over that of
    the person's own (Gaussian kernels), held within a factor of ``most`` of 1 and then divided by its mean.

    Args:
        people: All people of the run.
        most: The factor, at least 1.
        reach: Width of the kernels, pose units.

    Returns:
        For each person float64 (N,) with mean 1; all ones where there is one person only.
    """
    poses = [person.measures[:, : expression.POSE].cpu().double().numpy() for person in people]

    def density(at: np.ndarray, of: np.ndarray) -> np.ndarray:
        of = of[evenly(len(of), 500)]
        squares = ((at[:, None] - of[None]) ** 2).sum(2)
        return np.exp(-squares / (2 * reach**2)).mean(1) + 1e-6

    out = []
    for i, own in enumerate(poses):
        turned = [pose + expression.meeting_point(pose, own) for j, pose in enumerate(poses) if j != i]
        others = [density(own, pose) for pose in turned]
        ratio = np.mean(others, axis=0) / density(own, own) if others else np.ones(len(own))
        weights = np.clip(ratio / ratio.mean(), 1 / most, most)
        out.append(weights / weights.mean())
    return out


def batch_indices(weights: np.ndarray, batch: int, step: int, seed: int, person: int) -> Tensor:
    """Which faces of a person are in the batch of a step: each epoch is a fresh permutation, without remainder lost.

    In an epoch of N faces a face of weight w appears ⌊w⌋ or ⌈w⌉ times (systematic resampling).
    Depends on nothing but its arguments, so that a resumed run sees the faces that an unbroken one would have seen.

    Args:
        weights: (N,) weights of the person's faces, with mean 1.
        batch: Faces a step.
        step: Step number, from 0.
        seed: The run's seed.
        person: The person's number.

    Returns:
        int64 (batch,).
    """
    count = len(weights)
    positions = torch.arange(step * batch, (step + 1) * batch)
    epochs = positions // count
    out = torch.empty(batch, dtype=torch.int64)
    for epoch in epochs.unique().tolist():
        random = generator(seed, person, epoch, 1)
        points = (np.arange(count) + float(torch.rand(1, generator=random, dtype=torch.float64))) / count
        bounds = np.cumsum(weights)
        drawn = np.searchsorted(bounds / bounds[-1], points).clip(0, count - 1)
        order = torch.from_numpy(drawn)[torch.randperm(count, generator=random)]
        chosen = epochs == epoch
        out[chosen] = order[positions[chosen] % count]
    return out
