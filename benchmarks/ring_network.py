"""A small convolutional network that tells a blended face's boundary from an untouched one by its strip."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

_ARC = 96  # columns of a strip seen in one step of training


class _Net(nn.Sequential):
    """Strips (B, 6, ACROSS, columns) ► (B, 1); where across the boundary something lies is kept to the end."""

    def __init__(self, rows: int) -> None:
        def block(before: int, after: int, stride: tuple[int, int]) -> nn.Sequential:
            convolution = nn.Conv2d(before, after, 3, stride, 1, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())

        super().__init__(
            block(6, 16, (1, 2)), block(16, 24, (2, 2)), block(24, 32, (2, 2)), block(32, 32, (1, 2)),
            nn.AdaptiveAvgPool2d((rows // 4, 1)), nn.Flatten(), nn.Dropout(0.3), nn.Linear(32 * rows // 4, 1),
        )  # fmt: skip


def _channels(strips: np.ndarray) -> torch.Tensor:
    """(N, 5, A, L) strips, without their mean colour, with luma's detail as a channel of its own; about unit range."""
    x = torch.from_numpy(strips.astype(np.float32))
    y = x[:, :1]
    detail = (y - F.avg_pool2d(y, 3, 1, 1, count_include_pad=False)) / 0.01
    color = (x[:, :3] - x[:, :3].mean((2, 3), keepdim=True)) / torch.tensor([0.15, 0.04, 0.04])[:, None, None]
    return torch.cat([color, detail.clamp(-4, 4), (x[:, 3:] + 9) / 2], 1).half()


def convolutional(train: np.ndarray, test: np.ndarray, *, epochs: int, seed: int = 0) -> np.ndarray:
    """Train on strips (row 2i blended, row 2i + 1 the same place untouched), score others, higher for blended.

    Args:
        train: (2N, 5, ACROSS, ALONG) from :func:`rings.strip`; each batch has both sides of its pairs.
        test: (M, 5, ACROSS, ALONG).
        epochs: Passes over the training strips.
        seed: Of everything random.

    Returns:
        (M,) scores.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = _Net(train.shape[2])
    pairs, batch = len(train) // 2, 24
    steps = epochs * max(1, pairs // batch)
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    x = _channels(train)
    target = torch.tensor([1.0, 0.0]).repeat(batch)
    net.train()
    for _ in range(steps):
        chosen = rng.integers(pairs, size=batch)
        rows = torch.from_numpy(np.stack([2 * chosen, 2 * chosen + 1], 1).ravel())
        part = torch.roll(x[rows], int(rng.integers(x.shape[3])), 3)[..., :_ARC].float()
        if rng.integers(2):
            part = part.flip(3)
        part[:, :3] *= float(rng.uniform(0.7, 1.3))
        loss = F.binary_cross_entropy_with_logits(net(part)[:, 0], target[: len(rows)])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    net.eval()
    with torch.inference_mode():
        return np.concatenate([net(part.float())[:, 0].numpy() for part in _channels(test).split(64)])
