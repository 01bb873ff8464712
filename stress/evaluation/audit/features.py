"""One number at a time as a detector: size, rate, length, bits, and how bright the crops are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stress.data.crops import Crops
from stress.evaluation.audit.container import FileFacts, file_facts
from stress.evaluation.metrics import auc, curve

#: Feature -> what it is called in the report.
FEATURES = {
    "width": "picture width (px)",
    "height": "picture height (px)",
    "rate": "frames per second",
    "duration": "length (s)",
    "bits_per_pixel": "stored size (bits per pixel)",
    "brightness": "brightness of the crops (0-255)",
    "contrast": "contrast of the crops (0-255)",
}

UNSEEN = ("rate", "duration")  # a detector of single faces cannot see these, but they betray other footage
_PERMUTATIONS = 5000


def clip_facts(crops: Crops, found: FileFacts | None = None) -> dict[str, float | str | None]:
    """What can be said of a clip without looking for a face in it: one value a feature, and ``codec``.

    Values that cannot be had (a folder of pictures has no bit rate) are None.

    Args:
        crops: The clip's faces.
        found: Facts of its file, if they were read already.
    """
    luma = crops.images.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    facts: dict[str, float | str | None] = {
        **dict.fromkeys(FEATURES),
        "codec": None,
        "brightness": round(float(luma.mean()), 3),
        "contrast": round(float(luma.std(axis=(1, 2)).mean()), 3),
    }
    found = found or file_facts(crops.clip.path)
    if found is not None:
        facts["codec"] = found.words.get("codec")
        facts |= {name: found.numbers[name] for name in FEATURES if name in found.numbers}
    return facts


def one_feature(
    fakes: NDArray[np.float64], reals: NDArray[np.float64], *, permutations: int = _PERMUTATIONS, seed: int = 0
) -> tuple[float, float]:
    """How well one number tells fakes from reals, whichever way round, and how often chance does as well.

    Returns:
        AUC in [0.5, 1], and the permutation p-value (B. Phipson and G. K. Smyth, 2010: never 0).
    """
    values = np.concatenate([fakes, reals])
    labels = np.concatenate([np.ones(len(fakes)), np.zeros(len(reals))])
    found = abs(float(auc(curve(values, labels))[0]) - 0.5)
    # AUC = (mean rank of the fakes - its least value) / number of reals: ranks once, permuted labels as a product.
    ranks = (np.searchsorted(np.sort(values), values, "left") + np.searchsorted(np.sort(values), values, "right")) / 2
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.tile(labels, (permutations, 1)), axis=1)
    chance = (shuffled @ ranks / len(fakes) - len(fakes) / 2) / len(reals)
    p = (1 + int((np.abs(chance - 0.5) >= found - 1e-12).sum())) / (1 + permutations)
    return 0.5 + found, p


def feature_rows(
    fakes: Sequence[dict[str, float | str | None]], reals: Sequence[dict[str, float | str | None]], *, least: int
) -> list[dict[str, Any]]:
    """One row a feature that both sides have: name, label, medians, auc, p, enough, varies.

    Args:
        fakes: From :func:`clip_facts`.
        reals: The same of the reals.
        least: Clips of each side without which it is not enough.
    """
    found = []
    for name, label in FEATURES.items():
        sides = [np.array([row[name] for row in side if row[name] is not None], np.float64) for side in (fakes, reals)]
        if min(len(sides[0]), len(sides[1])) == 0:
            continue
        area, p = one_feature(*sides)
        found.append(
            {
                "name": name,
                "label": label,
                "fakes": float(np.median(sides[0])),
                "reals": float(np.median(sides[1])),
                "auc": area,
                "p": p,
                "enough": min(len(sides[0]), len(sides[1])) >= least,
                "varies": bool(np.ptp(np.concatenate(sides)) > 0),
            }
        )
    return found
