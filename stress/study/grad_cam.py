"""Grad-CAM: where in a face a network sees what speaks for "fake".

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017: the
feature maps A_k of the last convolution, weighted by the mean over places of dy/dA_k, summed, and cut off below 0.
Where a mean over places and one dense layer follow, the weights are the dense layer's over the number of places, and
the map is the class activation map of Zhou et al. 2016.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from faceswap_hq.errors import UserError
from stress.detectors.detector import Detector


def grad_cam(detector: Detector, images: np.ndarray, *, batch: int = 16) -> np.ndarray:
    """The weighted sum of the last convolution's maps, for the log odds of "fake", not yet cut off.

    The last convolution is the last that is run and gives more than one place. Its output is taken as it comes, before
    norm and activation.

    Args:
        detector: Asked in evaluation mode.
        images: (n, S, S, 3) uint8 RGB.
        batch: Images at a time.

    Returns:
        (n, h, w) float32.

    Raises:
        UserError: The network has no convolution of ours to look into.
    """
    was_training = detector.module.training
    detector.module.eval()
    try:
        parts = [_maps(detector, images[i : i + batch]) for i in range(0, len(images), batch)]
    finally:
        detector.module.train(was_training)
    return np.concatenate(parts)


def _maps(detector: Detector, images: np.ndarray) -> np.ndarray:
    seen: list[torch.Tensor] = []

    def look(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor | None:
        if output.ndim != 4 or output.shape[2] * output.shape[3] == 1:
            return None
        seen[:] = [output]
        return output.clone()  # an activation in place must not change what is looked at

    hooks = [
        part.register_forward_hook(look) for part in detector.module.modules() if isinstance(part, nn.Conv2d)
    ]
    try:
        with torch.enable_grad():
            x = detector.inputs(images).requires_grad_(True)  # so that frozen networks have gradients, too
            logit = detector.fake_logit(x)
            if not seen:
                raise UserError(f"{detector.name} has no convolution that heat maps could be made of.")
            maps = seen[0]
            slopes = torch.autograd.grad(logit.sum(), maps)[0]
    finally:
        for hook in hooks:
            hook.remove()
    weights = slopes.mean((2, 3), keepdim=True)
    return (weights * maps).sum(1).detach().float().cpu().numpy()
