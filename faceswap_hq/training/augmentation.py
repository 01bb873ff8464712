"""Augmentation of whole batches as tensors, on whatever device they are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from faceswap_hq.errors import UserError


@dataclass(frozen=True, kw_only=True)
class AugmentSettings:
    """How far the training pictures are bent; every range is symmetric around no change."""

    rotation: float = 10.0
    """Degrees."""
    zoom: float = 0.05
    """Share of the size."""
    shift: float = 0.04
    """Share of the crop's side."""
    flip: float = 0.5
    """Probability of mirroring."""
    warp: float = 0.035
    """Standard deviation of the bending at the nodes of a 5 × 5 grid, share of the side; targets stay straight."""
    light: float = 0.15
    """Brightness and contrast, share; input and target alike."""
    tint: float = 0.06
    """Gain of each color channel, share; input and target alike."""

    def __post_init__(self) -> None:
        if not all(0 <= value < math.inf for value in vars(self).values()) or self.flip > 1 or self.zoom >= 1:
            raise UserError("Augmentation ranges must not be negative, `zoom` below 1, and `flip` a probability.")


def augment(
    images: Tensor,
    weights: Tensor,
    resolution: int,
    settings: AugmentSettings,
    random: torch.Generator,
    *,
    rows: Tensor | None = None,
    of: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Make warped inputs and unwarped targets.

    Both are cut from the wider picture with the same random rotation, zoom, shift and mirroring, and get the same
    change of light; the input is bent by a smooth random field besides, which is what teaches the encoder to look past
    small differences of shape.

    Args:
        images: uint8 (B, 3, L, L).
        weights: uint8 (B, W, L, L), sampled like the target.
        resolution: Side of the results, pixels; at most L.
        settings: Ranges.
        random: CPU generator; all randomness comes from it.
        rows: Where several processes share a batch: which rows of it ``images`` are, int64 (B,).
        of: How many rows the whole batch has; each is bent alike, whichever process has it.

    Returns:
        input (B, 3, S, S) and target (B, 3, S, S), float32 in [0, 1]; the target's weights (B, W, S, S) in [0, 1]; and
        which were mirrored, bool (B,).
    """
    device, batch, side = images.device, len(images), images.shape[-1]
    whole = batch if of is None else of

    def drawn(values: Tensor) -> Tensor:
        return (values if rows is None else values[rows]).to(device)

    def uniform(*shape: int) -> Tensor:
        return drawn(torch.rand(whole, *shape, generator=random) * 2 - 1)

    angle = torch.deg2rad(uniform() * settings.rotation)
    scale = (1 + uniform() * settings.zoom) * (resolution / side)
    mirror = torch.where(drawn(torch.rand(whole, generator=random)) < settings.flip, -1.0, 1.0)
    offset = uniform(2) * 2 * settings.shift * (resolution / side)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack(
        [torch.stack([cosine * mirror, -sine, offset[:, 0]], 1), torch.stack([sine * mirror, cosine, offset[:, 1]], 1)],
        1,
    )
    grid = F.affine_grid(theta, [batch, 3, resolution, resolution], align_corners=False)
    nodes = drawn(torch.randn(whole, 2, 5, 5, generator=random)) * (2 * settings.warp * resolution / side)
    pictures = images.float().div_(255)
    target = _sample(torch.cat([pictures, weights.float().div_(255)], 1), grid)
    bent = target[:, :3]
    if settings.warp:
        bend = F.interpolate(nodes, size=(resolution, resolution), mode="bicubic", align_corners=True)
        bent = _sample(pictures, grid + bend.permute(0, 2, 3, 1))
    gain = (1 + uniform(1, 1, 1) * settings.light) * (1 + uniform(3, 1, 1) * settings.tint)
    lift = uniform(1, 1, 1) * settings.light * 0.5
    return (
        (bent * gain + lift).clamp_(0, 1),
        (target[:, :3] * gain + lift).clamp_(0, 1),
        target[:, 3:],
        mirror < 0,
    )


def _sample(x: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def central(images: Tensor, resolution: int) -> Tensor:
    """The model's view without augmentation: float32 (B, C, S, S) in [0, 1] from the middle of uint8 (B, C, L, L)."""
    offset = (images.shape[-1] - resolution) // 2
    return images[..., offset : offset + resolution, offset : offset + resolution].float() / 255
