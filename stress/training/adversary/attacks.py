"""Adversarial pictures by the detector's gradient alone: one step on the widths of a blur, FGSM, PGD.

``Losses`` stands for the detector: pictures to the cross entropy of each one's own label. It is to be in evaluation
mode, so that pictures of a batch don't depend on each other.

``faithful`` repeats the code of Wang, Guo and Zuo (detect_grad.py) with what is odd in it; ``corrected`` is what their
paper and the papers of the attacks describe.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from stress.training.adversary.pixel_blur import pixel_blur

Losses = Callable[[torch.Tensor], torch.Tensor]
MODES = ("faithful", "corrected")
_NARROWEST = 0.05  # pixels; leaves a pixel as it is


def blur_by_gradient(
    x: torch.Tensor, losses: Losses, *, window: int, norm: float, step: float, mode: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Blur with one ascent step on the widths, which start alike everywhere.

    ``faithful`` steps on s = 1 / sigma^2, a map per channel: s + ``step`` x the gradient of the batch's mean loss by s,
    scaled back to the norm. In the code s is called sigmas: where the paper's text would widen the blur, this narrows
    it (both raise the loss). The gradient of a mean over batch and pixels is minute, so the map hardly leaves its
    start. ``corrected`` steps on sigma itself, one map a picture, along the picture's own gradient scaled to a root
    mean square of 1 (a step in pixels, whatever batch and size), and scales sigma back to the norm it started with.

    Args:
        x: (B, C, H, W) pictures.
        losses: The detector.
        window: Of the blur.
        norm: Euclidean norm of a map s over all channels at the start.
        step: Factor of the gradient; in ``corrected`` mode, pixels.
        mode: One of :data:`MODES`.

    Returns:
        The blurred pictures and their s, (B, C or 1, H, W).
    """
    start = norm / math.sqrt(x[0].numel())
    if mode == "faithful":
        s = torch.full_like(x, start).requires_grad_()
        by_s = torch.autograd.grad(losses(pixel_blur(x, s, window)).mean(), s)[0]
        s = s.detach() + step * by_s
        s = norm * s / _norms(s)
    else:
        sigma = torch.full_like(x[:, :1], start**-0.5).requires_grad_()
        before = _norms(sigma.detach())
        by_sigma = torch.autograd.grad(losses(pixel_blur(x, sigma**-2, window)).sum(), sigma)[0]
        root_mean_square = (_norms(by_sigma) / math.sqrt(sigma[0].numel())).clamp_min(1e-20)
        sigma = (sigma.detach() + step * by_sigma / root_mean_square).clamp_min(_NARROWEST)
        s = (sigma * before / _norms(sigma)) ** -2
    return pixel_blur(x, s, window), s


def signed_steps(
    x: torch.Tensor, losses: Losses, labels: torch.Tensor, *, epsilon: float, step: float, steps: int, mode: str
) -> torch.Tensor:
    """Steps along the sign of the gradient: FGSM with one (Goodfellow et al. 2015), PGD with more (Madry et al. 2018).

    ``corrected`` keeps each picture within ``epsilon`` of what it was and within [-1, 1] (PGD starts at the picture
    itself). ``faithful`` steps by ``epsilon`` and does neither: it cuts off the whole change so far and adds that to
    the picture as changed so far, so that later steps add up; and the change of a fake is computed from the *real*
    beside it, which at the first step leaves of it only the pixels where both gradients have the same sign.

    Args:
        x: (B, C, H, W) pictures in [-1, 1].
        losses: The detector.
        labels: (B,), 1 = fake; in ``faithful`` mode as many reals as fakes.
        epsilon: Largest change.
        step: Of each step; ``faithful`` takes ``epsilon``.
        steps: How many.
        mode: One of :data:`MODES`.

    Returns:
        (B, C, H, W).

    Raises:
        ValueError: In ``faithful`` mode, if there are not as many reals as fakes.
    """
    moved, fake = x.clone(), labels > 0.5
    if mode == "faithful" and 2 * int(fake.sum()) != len(fake):
        raise ValueError(f"as many reals as fakes, not {int((~fake).sum())} and {int(fake.sum())}")
    for _ in range(steps):
        direction = _gradient(moved, losses).sign()
        if mode == "faithful":
            for group in (~fake, fake):  # the fakes' turn comes when the reals have moved
                beside = moved[~fake] - x[~fake]
                moved[group] += (beside + epsilon * direction[group]).clamp(-epsilon, epsilon)
        else:
            change = (moved + step * direction - x).clamp(-epsilon, epsilon)
            moved = (x + change).clamp(-1, 1)
    return moved


def _gradient(x: torch.Tensor, losses: Losses) -> torch.Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(losses(x).sum(), x)[0]


def _norms(value: torch.Tensor) -> torch.Tensor:
    return value.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
