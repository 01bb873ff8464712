"""Losses of the autoencoder: structural dissimilarity and pixel error, weighted by where it matters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from faceswap_hq.errors import UserError


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """Weights of the loss's terms."""

    dssim: float = 1.0
    """(1 - SSIM) / 2."""
    dssim_coarse: float = 0.5
    """The same at half the size."""
    l1: float = 2.0
    """Absolute error."""
    background: float = 0.1
    """Weight of a pixel outside the face, where one inside has 1."""
    details: float = 2.0
    """What a pixel in the eyes or the mouth weighs more."""
    mask: float = 0.2
    """Binary cross entropy of the learned mask."""
    cut_out: bool = False
    """Instead of all that: DSSIM and squared error of the face, the eyes and the mouth, each cut out and by itself."""
    eyes: float = 3.0
    """Weight of the eyes cut out; the face has 1."""
    mouth: float = 2.0
    """Weight of the mouth cut out."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < math.inf:
                raise UserError(f"The loss's weight {name} must not be negative, but is {value}.")


WINDOW = 8
"""Side of SSIM's window, pixels; windows lie half a window apart, which costs a sixteenth of sliding by one pixel."""


def _window_mean(x: Tensor) -> Tensor:
    """Mean over 8 × 8 windows, 4 pixels apart: (B, C, H, W) ► (B, C, H / 4 - 1, W / 4 - 1), in two cheap steps."""
    return F.avg_pool2d(F.avg_pool2d(x, WINDOW // 2), 2, stride=1)


def ssim_map(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004) with uniform 8 × 8 windows and K1 = 0.01, K2 = 0.03, for a range of 1.

    Args:
        x: (B, C, H, W) in [0, 1], H and W multiples of 4.
        y: Same shape.

    Returns:
        (B, 1, H / 4 - 1, W / 4 - 1), the mean over channels.
    """
    mu_x, mu_y = _window_mean(x), _window_mean(y)
    xx, yy, xy = _window_mean(x * x) - mu_x * mu_x, _window_mean(y * y) - mu_y * mu_y, _window_mean(x * y) - mu_x * mu_y
    c1, c2 = 0.01**2, 0.03**2
    value = (2 * mu_x * mu_y + c1) * (2 * xy + c2) / ((mu_x * mu_x + mu_y * mu_y + c1) * (xx + yy + c2))
    return value.mean(1, keepdim=True)


def pixel_weights(areas: Tensor, settings: LossSettings) -> Tensor:
    """(B, 3, H, W) areas of face, eyes and mouth in [0, 1] ► (B, 1, H, W) weights."""
    face, details = areas[:, :1], areas[:, 1:].amax(1, keepdim=True)
    return settings.background + (1 - settings.background) * face + settings.details * details * face


def reconstruction_loss(
    face: Tensor, mask_logits: Tensor, target: Tensor, areas: Tensor, settings: LossSettings
) -> dict[str, Tensor]:
    """Terms of one person's loss, already weighted; ``total`` is their sum.

    Args:
        face: (B, 3, S, S) drawn, in [0, 1].
        mask_logits: (B, 1, S, S) drawn.
        target: (B, 3, S, S) wanted, in [0, 1].
        areas: (B, 3, S, S): the areas of the face, the eyes and the mouth, in [0, 1].
        settings: Weights.
    """
    if settings.cut_out:
        return cut_out_loss(face, target, areas, settings)
    weights = pixel_weights(areas, settings)
    terms = {"l1": settings.l1 * _average((face - target).abs().mean(1, keepdim=True), weights)}
    if settings.dssim:
        terms["dssim"] = settings.dssim * _dssim(face, target, weights)
    if settings.dssim_coarse:
        half = [F.avg_pool2d(x, 2) for x in (face, target, weights)]
        terms["dssim_coarse"] = settings.dssim_coarse * _dssim(*half)
    if settings.mask:
        terms["mask"] = settings.mask * F.binary_cross_entropy_with_logits(mask_logits, areas[:, :1])
    terms["total"] = torch.stack(list(terms.values())).sum()
    return terms


def cut_out_loss(face: Tensor, target: Tensor, areas: Tensor, settings: LossSettings) -> dict[str, Tensor]:
    """The loss of Beckmann et al. 2023 by their published code: Σ w (DSSIM + MSE) of the pictures times a mask.

    Their masks come from a face parser; here they are the areas that the landmarks enclose.
    """
    weights = (1.0, settings.eyes, settings.mouth)
    cut = [(w, face * area, target * area) for w, area in zip(weights, areas.split(1, 1), strict=True)]
    terms = {
        "dssim": torch.stack([w * (1 - small_window_ssim(x, y)) / 2 for w, x, y in cut]).sum(),
        "mse": torch.stack([w * F.mse_loss(x, y) for w, x, y in cut]).sum(),
    }
    terms["total"] = terms["dssim"] + terms["mse"]
    return terms


def small_window_ssim(x: Tensor, y: Tensor) -> Tensor:
    """Mean structural similarity with a 3 × 3 Gaussian window of 1.5 pixels, for a range of 1.

    Args:
        x: (B, C, H, W) in [0, 1].
        y: Same shape.
    """
    side = math.exp(-1 / (2 * 1.5**2))  # of the middle's weight

    def blurred(z: Tensor) -> Tensor:
        z = (side * (z[..., :-2] + z[..., 2:]) + z[..., 1:-1]) / (1 + 2 * side)
        return (side * (z[..., :-2, :] + z[..., 2:, :]) + z[..., 1:-1, :]) / (1 + 2 * side)

    mean = [blurred(z) for z in (x, y, x * x, y * y, x * y)]
    mu_x, mu_y, xx, yy, xy = mean
    c1, c2 = 0.01**2, 0.03**2
    value = (2 * mu_x * mu_y + c1) * (2 * (xy - mu_x * mu_y) + c2)
    return (value / ((mu_x**2 + mu_y**2 + c1) * (xx - mu_x**2 + yy - mu_y**2 + c2))).mean()


def _dssim(face: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    return _average((1 - ssim_map(face, target)) / 2, _window_mean(weights))


def _average(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum()
