"""DiffAugment (Zhao et al. 2020, arXiv 2006.10738) as Wang, Guo and Zuo's code applies it to what the detector sees."""

from __future__ import annotations

import torch

_SHIFT = 0.125
_CUT = 0.5


def diff_augment(x: torch.Tensor) -> torch.Tensor:
    """Change colour, place and a hole of a group of pictures by chance (of torch's global generator).

    With probability 0.7 one of brightness (up to 0.5 either way), saturation (0 to 2 times) and contrast (0.5 to 1.5
    times), cut off to [-1, 1]; with 0.5 a shift of up to 1/8 of the side with zeros behind it; with 0.5 a square of
    half the side set to zero, its middle anywhere. Whether and which is drawn once for the group, how much for every
    picture.

    Args:
        x: (B, 3, H, W) in [-1, 1].

    Returns:
        (B, 3, H, W).
    """
    if torch.rand(()) < 0.7:
        x = _recoloured(x, int(torch.randint(3, ())))
    if torch.rand(()) < 0.5:
        x = _shifted(x)
    if torch.rand(()) < 0.5:
        x = _cut_out(x)
    return x


def _recoloured(x: torch.Tensor, kind: int) -> torch.Tensor:
    amount = torch.rand(len(x), 1, 1, 1).to(x)
    if kind == 0:
        return (x + amount - 0.5).clamp(-1, 1)
    mean = x.mean(1, keepdim=True) if kind == 1 else x.mean((1, 2, 3), keepdim=True)
    return ((x - mean) * (2 * amount if kind == 1 else amount + 0.5) + mean).clamp(-1, 1)


def _shifted(x: torch.Tensor) -> torch.Tensor:
    out = torch.zeros_like(x)
    limits = [round(_SHIFT * side) for side in x.shape[-2:]]
    for picture, target in zip(x, out, strict=True):
        down, right = (int(torch.randint(-limit, limit + 1, ())) for limit in limits)
        (to_rows, from_rows), (to_columns, from_columns) = _overlap(down), _overlap(right)
        target[:, to_rows, to_columns] = picture[:, from_rows, from_columns]
    return out


def _overlap(shift: int) -> tuple[slice, slice]:
    """Where in the result, and whence in the source, when everything moves on by ``shift``."""
    ahead, behind = slice(abs(shift), None), slice(None, -abs(shift) or None)
    return (ahead, behind) if shift > 0 else (behind, ahead)


def _cut_out(x: torch.Tensor) -> torch.Tensor:
    x = x.clone()
    for picture in x:
        rows, columns = (_hole(side) for side in picture.shape[-2:])
        picture[:, rows, columns] = 0
    return x


def _hole(side: int) -> slice:
    length = round(_CUT * side)
    first = int(torch.randint(side + 1 - length % 2, ())) - length // 2
    return slice(max(0, first), first + length)
