"""How well a detector's map says where a fake is forged, measured by the exact masks, with intervals over people.

A cell of the map's grid is forged where any pixel of it is more than half fake. Faces of fakes whose mask has no such
cell take no part. A real's whole map is untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stress.data.crops import Crops
from stress.data.layouts import FAKE
from stress.evaluation.comparison import Bootstrap
from stress.evaluation.metrics import Array, auc, curve
from stress.evaluation.statistics import intervals

THRESHOLD = 0.5
"""Probability from which a cell is called forged."""
SHOWN = 6
Locate = Callable[[np.ndarray], np.ndarray]
"""(n, S, S, 3) uint8 RGB to (n, g, g) probabilities."""


@dataclass(frozen=True, kw_only=True)
class Located:
    """What a detector's maps of one clip come to; NaN where something is not defined.

    Args:
        item: The clip's faces.
        maps: (n, g, g) float32.
        ious: (n,) called and truly forged cells over called or truly forged cells, of a fake's faces.
        cell_auc: Chance that a forged cell of the fake gets a higher value than an untouched one.
        false_area: Share of a real's cells that is called forged.
    """

    item: Crops
    maps: np.ndarray
    ious: np.ndarray
    cell_auc: float
    false_area: float

    @property
    def iou(self) -> float:
        """Mean over the faces that have one."""
        return float(np.nanmean(self.ious)) if np.isfinite(self.ious).any() else np.nan


def exact_cells(masks: np.ndarray, grid: int) -> NDArray[np.bool_]:
    """Which cells are forged.

    Args:
        masks: (n, S, S) uint8, 255 where it is all fake.
        grid: Cells a side.

    Returns:
        (n, grid, grid).
    """
    import torch  # heavy, and only needed where a detector draws maps

    from stress.detectors.locate_verify.blocks import pooled

    found: NDArray[np.bool_] = (pooled(torch.from_numpy(masks.astype(np.float32))[:, None], grid)[:, 0] > 127).numpy()
    return found


def located(item: Crops, maps: np.ndarray) -> Located:
    """Compare the maps of a clip with what is known of it.

    Args:
        item: Faces of a real, or of a fake with masks.
        maps: (n, g, g) in [0, 1].
    """
    called = maps >= THRESHOLD
    none = np.full(len(maps), np.nan)
    if item.clip.label != FAKE or item.masks is None:
        return Located(item=item, maps=maps, ious=none, cell_auc=np.nan, false_area=float(called.mean()))
    exact = exact_cells(item.masks, maps.shape[1])
    some = exact.any(axis=(1, 2))
    both, either = (kind(exact, called).sum(axis=(1, 2)) for kind in (np.logical_and, np.logical_or))
    ious = np.where(some, both / np.maximum(either, 1), np.nan)
    labels, values = exact[some].ravel().astype(np.int64), maps[some].ravel().astype(np.float64)
    area = float(auc(curve(values, labels))[0]) if 0 < labels.sum() < len(labels) else np.nan
    return Located(item=item, maps=maps, ious=ious, cell_auc=area, false_area=np.nan)


def figures(locate: Locate | None, crops: Sequence[Crops], bootstrap: Bootstrap) -> dict[str, Any] | None:
    """IoU, AUC of cells, and what is called forged in reals: means over clips with intervals.

    Args:
        locate: The detector's maps; None where it draws none.
        crops: Faces of fakes and reals.
        bootstrap: How intervals are made.

    Returns:
        None without maps or masks, else ``threshold``, ``grid``, ``n`` (fakes, reals, faces), estimates ``iou``,
        ``cell_auc`` and ``false_area`` (those that are defined), ``clips`` (clip, dataset, label, and its figures), and
        ``faces``: of up to 6 fakes from the worst to the best located, the usual face (dataset, clip, frame, iou, map).
    """
    known = [item for item in crops if item.clip.label != FAKE or item.masks is not None]
    if locate is None or not any(item.clip.label == FAKE for item in known):
        return None
    found = [located(item, locate(item.images)) for item in known]
    found = [one for one in found if np.isfinite(one.iou) or np.isfinite(one.false_area)]
    values = {name: np.array([getattr(one, name) for one in found]) for name in ("iou", "cell_auc", "false_area")}
    values = {name: each for name, each in values.items() if np.isfinite(each).any()}
    if "iou" not in values:
        return None
    there = {name: np.isfinite(each).astype(np.float64) for name, each in values.items()}

    def means(weights: Array) -> dict[str, Array]:
        return {
            name: (weights @ np.nan_to_num(each)) / np.maximum(weights @ there[name], 1e-12)
            for name, each in values.items()
        }

    def usable(weights: Array) -> NDArray[np.bool_]:
        return np.all([weights @ part > 0 for part in there.values()], axis=0)

    estimates, _ = intervals(
        means, [one.item.clip.people for one in found], usable=usable,
        resamples=bootstrap.resamples, confidence=bootstrap.confidence, seed=bootstrap.seed,
    )  # fmt: skip
    fakes = sorted((one for one in found if np.isfinite(one.iou)), key=lambda one: one.iou)
    shown = [fakes[i] for i in np.unique(np.linspace(0, len(fakes) - 1, SHOWN).round().astype(int))]
    return {
        "threshold": THRESHOLD,
        "grid": int(found[0].maps.shape[1]),
        "n": {
            "fakes": len(fakes),
            "reals": len(found) - len(fakes),
            "faces": int(sum(np.isfinite(one.ious).sum() for one in fakes)),
        },
        **{name: estimate.as_dict() for name, estimate in estimates.items()},
        "clips": [
            {
                "clip": one.item.clip.id, "dataset": one.item.clip.dataset, "label": one.item.clip.label,
                "iou": one.iou, "cell_auc": one.cell_auc, "false_area": one.false_area,
            }
            for one in found
        ],
        "faces": [_face(one) for one in shown],
    }  # fmt: skip


def _face(one: Located) -> dict[str, Any]:
    """The face whose IoU is nearest to the clip's."""
    at = int(np.nanargmin(np.abs(one.ious - one.iou)))
    return {
        "clip": one.item.clip.id,
        "dataset": one.item.clip.dataset,
        "frame": int(one.item.frames[at]),
        "iou": float(one.ious[at]),
        "map": one.maps[at].astype(float).round(3).tolist(),
    }
