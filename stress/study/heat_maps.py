"""Do networks look at the same places? Agreement of their heat maps on the same fakes (Li et al., arXiv 2308.04177).

Published: SSIM of the heat maps of three networks of one architecture (first, transfer, merge), the mean over pairs a
picture, and how many pictures lie below 0.7, between, and from 0.9 on. Their code maps "class 0", which for networks
with one sigmoid is the probability of a real; does not cut off below 0; stretches each map from its least to its
greatest value; colours it twice (viridis, then jet) and compares the coloured pictures with uniform 7 x 7 windows.
``faithful`` does that. ``corrected`` maps "fake" always, cuts off below 0, divides by the greatest value, and compares
the maps themselves with the Gaussian window of Wang et al. 2004.

Two maps that know nothing of each other agree, too: both are smooth, and faces are all in the middle. So each pair is
also compared across pictures of different people, where only what all pictures have in common can agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn import functional

from stress.evaluation.comparison import Bootstrap
from stress.evaluation.metrics import Array
from stress.evaluation.statistics import intervals

BINS = ("below_0.7", "0.7_to_0.9", "from_0.9")


def finish(maps: np.ndarray, side: int, mode: str, *, real_first: bool = False) -> np.ndarray:
    """Maps made ready to be compared.

    Args:
        maps: (n, h, w) from :func:`stress.study.grad_cam.grad_cam`.
        side: Of the pictures in pixels; maps are enlarged to it bilinearly.
        mode: ``"faithful"`` or ``"corrected"``.
        real_first: Whether the published code maps the probability of a real; matters where faithful.

    Returns:
        (n, C, side, side) float32 in [0, 1]; C is 3 where faithful (colours), else 1. A map in which nothing stands out
        is NaN.
    """
    found = torch.from_numpy(np.ascontiguousarray(maps, np.float32))[:, None]
    if mode == "faithful" and real_first:
        found = -found
    found = functional.interpolate(found, (side, side), mode="bilinear", align_corners=False)
    found = found.clamp_min(0) if mode == "corrected" else found - found.amin((2, 3), keepdim=True)
    top = found.amax((2, 3), keepdim=True)
    found = torch.where(top > 0, found / top.clamp_min(1e-30), torch.nan)
    return found.numpy() if mode == "corrected" else np.stack([_coloured(one[0]) for one in found.numpy()])


def _coloured(one: np.ndarray) -> np.ndarray:
    """(side, side) in [0, 1] to (3, side, side), through two colour maps."""
    if np.isnan(one).any():
        return np.full((3, *one.shape), np.nan, np.float32)
    picture = cv2.applyColorMap((one * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    stretched = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)  # type: ignore[call-overload]
    picture = cv2.applyColorMap(stretched, cv2.COLORMAP_JET)
    return np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32) / 255


def similarity(one: np.ndarray, other: np.ndarray, mode: str, batch: int = 64) -> np.ndarray:
    """SSIM of maps in pairs.

    Args:
        one: (n, C, side, side) from :func:`finish`.
        other: Same shape.
        mode: Which window, see the module.
        batch: Pairs at a time.

    Returns:
        (n,); NaN where one of the two is.
    """
    window = np.full(7, 1 / 7) if mode == "faithful" else cv2.getGaussianKernel(11, 1.5)[:, 0]
    parts = [np.zeros(0)]
    for i in range(0, len(one), batch):
        x, y = (torch.from_numpy(np.nan_to_num(part[i : i + batch])).double() for part in (one, other))
        parts.append(_structural_similarity(x, y, torch.from_numpy(window)).numpy())
    known = ~(np.isnan(one).any((1, 2, 3)) | np.isnan(other).any((1, 2, 3)))
    return np.where(known, np.concatenate(parts), np.nan)


def _structural_similarity(x: torch.Tensor, y: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """SSIM (Wang et al. 2004) of (n, C, h, w) pictures in [0, 1]: (n,), the mean over C and the windows inside."""

    def mean(picture: torch.Tensor) -> torch.Tensor:
        rows = functional.conv2d(picture.flatten(0, 1)[:, None], window[None, None, :, None])
        return functional.conv2d(rows, window[None, None, None, :]).unflatten(0, picture.shape[:2])

    mean_x, mean_y, c1, c2 = mean(x), mean(y), 0.01**2, 0.03**2
    xx, yy, xy = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2, mean(x * y) - mean_x * mean_y
    found = (2 * mean_x * mean_y + c1) * (2 * xy + c2) / ((mean_x**2 + mean_y**2 + c1) * (xx + yy + c2))
    return found.flatten(1).mean(1)


def strangers(people: Sequence[Sequence[str]], seed: int) -> np.ndarray:
    """For every picture the number of one of other people, in an order drawn by chance; -1 where there is none."""
    generator = np.random.default_rng([seed, 3])
    sets = [set(who) for who in people]
    found = np.full(len(sets), -1)
    for i, mine in enumerate(sets):
        for j in generator.permutation(len(sets)):
            if mine.isdisjoint(sets[j]):
                found[i] = j
                break
    return found


def agreement(
    maps: Mapping[str, np.ndarray],
    people: Sequence[tuple[str, ...]],
    clips: Sequence[object],
    bootstrap: Bootstrap,
    mode: str,
) -> dict[str, Any]:
    """How far networks agree on the same pictures.

    Args:
        maps: Network -> (n, C, side, side), two or more.
        people: Who is in each of the n pictures.
        clips: Which clip each is from.
        bootstrap: How intervals are made.
        mode: See the module.

    Returns:
        ``ssim`` (mean over pictures of the mean over pairs), ``bins`` (shares of pictures), ``strangers`` (``ssim``
        across pictures of different people), all estimates; ``n`` (pictures, clips, people) and ``empty`` (pictures
        left out because a map was empty).
    """
    names = list(maps)
    pairs = list(combinations(names, 2))
    same = np.mean([similarity(maps[a], maps[b], mode) for a, b in pairs], axis=0)
    partner = strangers(people, bootstrap.seed)
    alone = partner < 0
    across = np.mean([similarity(maps[a], maps[b][partner], mode) for a, b in pairs], axis=0)
    across[alone] = np.nan
    numbers = {clip: i for i, clip in enumerate(dict.fromkeys(clips))}
    clip_of = np.array([numbers[clip] for clip in clips])
    who = {numbers[clip]: people[i] for i, clip in enumerate(clips)}
    kept = ~np.isnan(same)
    n = {
        "pictures": int(kept.sum()),
        "clips": len(set(clip_of[kept].tolist())),
        "people": len({person for i in np.flatnonzero(kept) for person in people[i]}),
    }
    found: dict[str, Any] = {"n": n, "empty": int((~kept).sum())}
    if not n["pictures"]:
        return found | {"ssim": None, "bins": None, "strangers": None}
    values = {
        "ssim": (same + 1) / 2,
        "strangers": (across + 1) / 2,
        "bin0": _where(same, same < 0.7),
        "bin1": _where(same, (same >= 0.7) & (same < 0.9)),
        "bin2": _where(same, same >= 0.9),
    }
    values = {name: value for name, value in values.items() if not np.isnan(value).all()}

    def weighted(weights: Array) -> dict[str, Array]:
        here = weights[:, clip_of]
        return {name: _mean(value, here) for name, value in values.items()}

    def usable(weights: Array) -> Any:
        here = weights[:, clip_of]
        return np.logical_and.reduce([(here * ~np.isnan(value)).sum(1) > 0 for value in values.values()])

    estimates, _ = intervals(
        weighted, [who[i] for i in range(len(who))], usable=usable, resamples=bootstrap.resamples,
        confidence=bootstrap.confidence, seed=bootstrap.seed,
    )  # fmt: skip
    plain = {name: estimate.as_dict() for name, estimate in estimates.items()}
    for name in ("ssim", "strangers"):
        found[name] = _unscaled(plain[name]) if name in plain else None
    return found | {"bins": {label: plain[f"bin{i}"] for i, label in enumerate(BINS)}}


def _where(like: np.ndarray, found: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(like), np.nan, found.astype(np.float64))


def _mean(values: np.ndarray, weights: Array) -> Array:
    known = ~np.isnan(values)
    return (weights[:, known] @ values[known]) / weights[:, known].sum(1)


def _unscaled(figure: dict[str, Any]) -> dict[str, Any]:
    """Back from [0, 1] to SSIM's [-1, 1]."""
    return {
        name: round(2 * value - 1, 9) if name != "note" and value is not None else value
        for name, value in figure.items()
    }
