"""Gaussian blur with a width of its own at every pixel, differentiable by picture and by widths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional


def pixel_blur(x: torch.Tensor, s: torch.Tensor, window: int = 3) -> torch.Tensor:
    """Blur every pixel by a Gaussian of its own.

    y(i, j) = sum w_ab x(i + a, j + b) / sum w_ab with w_ab = exp(-(a^2 + b^2) s(i, j) / 2), a and b from -r to r, where
    the window is 2 r + 1; beyond its edges the picture is reflected (Wang, Guo, Zuo, IEEE TIP 31, 2022; reflection and
    s as in their code).

    The weights are products of a row's and a column's, w_ab = w_a w_b with w_a = exp(-a^2 s / 2), and so is their sum.
    Pixels of equal weight are added up before they are weighted, and the gradient is written out: of the forward pass
    picture and widths are kept, and nothing is ever as large as window^2 pictures.

    Args:
        x: (B, C, H, W) pictures, H and W larger than r.
        s: (B, 1, H, W), or (B, C, H, W) for a width per channel: one over the variance in pixels^2, not negative. The
            larger, the less blur; 0 is the plain mean of the window.
        window: Odd side of the neighbourhood in pixels.

    Returns:
        (B, C, H, W).

    Raises:
        ValueError: The window is even or too large, or the shapes do not go together.
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window = {window} is not an odd number of pixels")
    if window // 2 >= min(x.shape[-2:]):
        raise ValueError(f"a window of {window} is too large to reflect pictures of {tuple(x.shape[-2:])}")
    if s.ndim != 4 or s.shape[1] not in (1, x.shape[1]) or s.shape[::2] != x.shape[::2] or s.shape[3] != x.shape[3]:
        raise ValueError(f"widths {tuple(s.shape)} do not go with pictures {tuple(x.shape)}")
    return _PixelBlur.apply(x.contiguous(), s.contiguous(), window // 2)  # type: ignore[no-any-return,no-untyped-call]


def strength(s: torch.Tensor, window: int = 3) -> torch.Tensor:
    """How much of a blurred pixel comes from its neighbours, over what it would be in the plain mean of the window.

    Args:
        s: (B, C, H, W) as for :func:`pixel_blur`.
        window: As for :func:`pixel_blur`; at least 3.

    Returns:
        (B, 1, H, W) in [0, 1]: 0 where a pixel is left alone.
    """
    own = _weights(s, window // 2)[0].square().mean(1, keepdim=True)
    return (1 - own) / (1 - window**-2)


def _weights(s: torch.Tensor, r: int) -> list[torch.Tensor]:
    """Weights of rows (and columns) 0 to r away, such that w_0 + 2 (w_1 + ... + w_r) = 1."""
    base = torch.exp(s * -0.5)
    powers = [torch.ones_like(s)] + [base ** (a * a) for a in range(1, r + 1)]
    total = torch.stack(powers[1:]).sum(0).mul_(2).add_(1) if r else powers[0]
    return [power / total for power in powers]


def _pairs(r: int) -> Iterator[tuple[int, int]]:
    """Distances of rows and columns whose weights differ: 0 <= a <= b <= r."""
    return ((a, b) for b in range(r + 1) for a in range(b + 1))


def _columns(x: torch.Tensor, r: int) -> list[torch.Tensor]:
    """For b from 0 to r, the sum of the pixels b to the left and to the right: (B, C, H + 2 r, W) each."""
    padded, width = functional.pad(x, (r, r, r, r), mode="reflect"), x.shape[-1]
    parts = [padded[..., r : r + width]]
    return parts + [padded[..., r - b : r - b + width] + padded[..., r + b : r + b + width] for b in range(1, r + 1)]


def _rows(column: torch.Tensor, a: int, r: int) -> list[torch.Tensor]:
    """What lies a rows above and below (once where a is 0); views of (B, C, H, W)."""
    height = column.shape[-2] - 2 * r
    return [column[..., r + shift : r + shift + height, :] for shift in sorted({-a, a})]


def _alike(columns: list[torch.Tensor], a: int, b: int, r: int) -> torch.Tensor:
    """Sum of the pixels at (+-a, +-b) and (+-b, +-a), which all have the same weight."""
    views = _rows(columns[b], a, r) + (_rows(columns[a], b, r) if a != b else [])
    total = views[0] if len(views) == 1 else views[0] + views[1]
    for view in views[2:]:
        total += view
    return total


class _PixelBlur(torch.autograd.Function):
    """:func:`pixel_blur` with its gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, s: torch.Tensor, r: int) -> torch.Tensor:
        weights, columns = _weights(s, r), _columns(x, r)
        y = torch.zeros_like(x)
        for a, b in _pairs(r):
            y.addcmul_(_alike(columns, a, b, r), weights[a] * weights[b])
        ctx.save_for_backward(x, s)
        ctx.r = r
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        x, s = ctx.saved_tensors
        weights, r = _weights(s, ctx.r), ctx.r
        by_x = _by_picture(grad, weights, r) if ctx.needs_input_grad[0] else None
        by_s = _by_width(grad, x, weights, r) if ctx.needs_input_grad[1] else None
        return by_x, by_s, None


def _by_width(grad: torch.Tensor, x: torch.Tensor, weights: list[torch.Tensor], r: int) -> torch.Tensor:
    """With v_a = w_a / (w_0 + 2 w_1 + ...), d v_a / d s = v_a (m - a^2) / 2, m being the mean of a^2 under the v."""
    mean = torch.zeros_like(weights[0])
    for a in range(1, r + 1):
        mean.add_(weights[a], alpha=2.0 * a * a)
    columns, total = _columns(x, r), torch.zeros_like(x)
    for a, b in _pairs(r):
        change = (mean - (a * a + b * b) / 2) * weights[a] * weights[b]
        total.addcmul_(_alike(columns, a, b, r), change)
    total.mul_(grad)
    return total if weights[0].shape[1] == x.shape[1] else total.sum(1, keepdim=True)


def _by_picture(grad: torch.Tensor, weights: list[torch.Tensor], r: int) -> torch.Tensor:
    """The forward pass backwards: every pixel's gradient is spread over its neighbourhood, then unreflected."""
    batch, channels, height, width = grad.shape
    columns = [grad.new_zeros(batch, channels, height + 2 * r, width) for _ in range(r + 1)]
    for a, b in _pairs(r):
        share = grad * (weights[a] * weights[b])
        for view in _rows(columns[b], a, r) + (_rows(columns[a], b, r) if a != b else []):
            view += share
    padded = grad.new_zeros(batch, channels, height + 2 * r, width + 2 * r)
    for b, column in enumerate(columns):
        for shift in sorted({-b, b}):
            padded[..., r + shift : r + shift + width] += column
    return _unreflected(_unreflected(padded, r).transpose(-1, -2), r).transpose(-1, -2)


def _unreflected(padded: torch.Tensor, r: int) -> torch.Tensor:
    """Add the reflected columns to those they repeat: (..., W + 2 r) to (..., W)."""
    if r == 0:
        return padded
    inner = padded[..., r:-r].clone()
    inner[..., 1 : r + 1] += padded[..., :r].flip(-1)
    inner[..., -r - 1 : -1] += padded[..., -r:].flip(-1)
    return inner
