"""Cheap shortcuts: could something that has nothing to do with faces tell the fakes from the reals?

Where fakes and reals differ in size, bit rate or brightness, a detector that learned only that would look as if it had
recovered. Each feature is tried alone as a detector; one that does well puts the recovery in doubt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceswap_hq.errors import UserError
from stress.data.crops import Crops
from stress.evaluation.metrics import auc, curve

#: Feature -> what it is called in the report.
FEATURES = {
    "width": "picture width (px)",
    "height": "picture height (px)",
    "rate": "frames per second",
    "duration": "length (s)",
    "bits_per_pixel": "file size (bits per pixel)",
    "brightness": "brightness of the crops (0-255)",
    "contrast": "contrast of the crops (0-255)",
}

_UNSEEN = ("rate", "duration")  # a detector of single faces cannot see these, but they betray other footage
_ENOUGH = 5  # clips of each class; with fewer no permutation reaches the level below
_LEVEL = 0.01


def clip_facts(crops: Crops) -> dict[str, float | str | None]:
    """What can be said of a clip without looking for a face in it: one value a feature, and ``codec``.

    Values that cannot be had (a folder of pictures has no bit rate) are None.
    """
    luma = crops.images.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    facts: dict[str, float | str | None] = {
        **dict.fromkeys(FEATURES),
        "codec": None,
        "brightness": round(float(luma.mean()), 3),
        "contrast": round(float(luma.std(axis=(1, 2)).mean()), 3),
    }
    return facts | _file_facts(crops.clip.path)


def _file_facts(path: Path) -> dict[str, float | str | None]:
    from PIL import Image, UnidentifiedImageError

    from faceswap_hq.media import probe

    if not path.is_file():
        return {}
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            codec, frames, rate = (picture.format or "").lower(), 1.0, None
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        try:
            info = probe(path)
        except UserError:
            return {}
        width, height, codec, rate = info.width, info.height, info.codec, float(info.rate)
        frames = float(info.frames or (info.duration or 0) * rate)
    facts: dict[str, float | str | None] = {"width": float(width), "height": float(height), "codec": codec}
    if rate:
        facts |= {"rate": rate, "duration": frames / rate}
    if frames:
        facts["bits_per_pixel"] = path.stat().st_size * 8 / (width * height * frames)
    return facts


def one_feature(
    fakes: NDArray[np.float64], reals: NDArray[np.float64], *, permutations: int = 2000, seed: int = 0
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


def audit(
    fakes: Sequence[Crops], reals: Sequence[Crops], base: Sequence[Crops] = (), *, limit: float = 0.8
) -> dict[str, Any]:
    """Look for shortcuts between fakes and their matched reals, for missing reals, and for people in the base data.

    Args:
        fakes: The stress fakes.
        reals: The reals beside them; matched by source clip where any match, otherwise all are used.
        base: The detector's own kind of data.
        limit: One-feature AUC from which a feature is flagged (if chance does as well in fewer than 1 of 100).

    Returns:
        JSON-able: ``features`` (name, label, medians, auc, p, flag), ``codecs``, ``unmatched_fakes``,
        ``people_in_base``, ``compared``, and ``warnings``, sentences for the person.
    """
    sources = {item.clip.source_clip for item in fakes}
    matched = [item for item in reals if item.clip.source_clip in sources]
    filmed = {item.clip.source_clip for item in matched}
    unmatched = [item.clip.id for item in fakes if item.clip.source_clip not in filmed]
    compared = matched or list(reals)
    rows = [clip_facts(item) for item in fakes], [clip_facts(item) for item in compared]
    features, warnings = [], []
    for name, label in FEATURES.items():
        sides = [np.array([row[name] for row in side if row[name] is not None], np.float64) for side in rows]
        if min(len(sides[0]), len(sides[1])) == 0:
            continue
        area, p = one_feature(*sides)
        enough = min(len(sides[0]), len(sides[1])) >= _ENOUGH
        flag = bool(enough and area >= limit and p < _LEVEL)
        features.append(
            {
                "name": name,
                "label": label,
                "fakes": float(np.median(sides[0])),
                "reals": float(np.median(sides[1])),
                "auc": area,
                "p": p,
                "flag": flag,
                "enough": enough,
            }
        )
        if flag:
            why = (
                "they may not be the same footage."
                if name in _UNSEEN
                else "a detector can score well without looking at the face. Numbers after fine-tuning are suspect."
            )
            warnings.append(
                f"{label[0].upper()}{label[1:]} alone tells fakes from reals with an AUC of {area:.2f}: {why}"
            )
    codecs = [dict(sorted(Counter(str(row["codec"]) for row in side if row["codec"]).items())) for side in rows]
    if all(codecs) and not set(codecs[0]) & set(codecs[1]):
        warnings.append(f"Fakes and reals have no codec in common ({', '.join(codecs[0])}; {', '.join(codecs[1])}).")
    if unmatched:
        warnings.append(f"{len(unmatched)} of {len(fakes)} fakes have no real of the same source clip beside them.")
    overlap = sorted(_people(base) & _people([*fakes, *reals]))
    if overlap:
        warnings.append(f"{len(overlap)} people of the base data are in the stress data too.")
    return {
        "features": features,
        "codecs": {"fakes": codecs[0], "reals": codecs[1]},
        "limit": limit,
        "compared": {"fakes": len(fakes), "reals": len(compared), "matched": bool(matched)},
        "unmatched_fakes": unmatched,
        "people_in_base": overlap,
        "warnings": warnings,
    }


def _people(crops: Sequence[Crops]) -> set[str]:
    return {person for item in crops for person in item.clip.people}
