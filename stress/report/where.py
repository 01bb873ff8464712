"""Where the forgery is: figures of the detector's maps, and a few faces beside exact mask and map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from stress.report.strips import SIDE, data_uri, strip
from stress.report.tables import cell
from stress.report.words import Results, number

if TYPE_CHECKING:
    from stress.data.crops import Crops

_ROWS = {
    "iou": "Overlap of map and mask (IoU)",
    "cell_auc": "AUC of a fake's cells, forged against untouched",
    "false_area": "Share of a real called forged",
}


def where(results: Results, crops: Sequence[Crops]) -> dict[str, Any] | None:
    """Rows of figures and pictures of faces; None where the detector draws no map or no mask is known.

    Args:
        results: Results of the experiment.
        crops: Faces; those without masks are not shown.
    """
    found = results.get("localisation")
    if not found:
        return None
    faces = {(item.clip.dataset, item.clip.id): item for item in crops if item.masks is not None}
    shown = [(face, faces.get((face["dataset"], face["clip"]))) for face in found["faces"]]
    rows = [{"name": text, "cell": cell(found[key], "auc")} for key, text in _ROWS.items() if key in found]
    return {
        "rows": rows,
        "n": found["n"],
        "grid": found["grid"],
        "threshold": f"{found['threshold']:g}",
        "iou": number(found["iou"]["value"]),
        "faces": [
            {"clip": face["clip"], "frame": face["frame"], "iou": number(face["iou"]), "picture": _picture(face, item)}
            for face, item in shown
            if item is not None and face["frame"] in item.frames
        ],
    }


def _picture(face: dict[str, Any], item: Crops) -> str:
    """Fake, exact mask and map beside each other, each marked."""
    assert item.masks is not None
    at = int(np.flatnonzero(item.frames == face["frame"])[0])
    grey = (np.asarray(face["map"], np.float64) * 255).round().astype(np.uint8)
    three = (item.images[at], item.masks[at], cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST))
    sized = [cv2.resize(one, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for one in three]
    colours = [one if one.ndim == 3 else np.repeat(one[..., None], 3, axis=2) for one in sized]
    return data_uri(strip(np.stack(colours).astype(np.uint8), fake=True))
