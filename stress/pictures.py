"""Pictures that a training leaves behind, with content credentials: some show swapped faces."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from faceswap_hq import provenance
from stress.data.layouts import Clip, parse_source
from stress.data.layouts.manifest import read_people
from stress.detectors.card import DetectorCard


def stated_people(clips: Sequence[Clip], folders: Iterable[Path]) -> list[dict[str, Any]]:
    """Everybody whose face clips carry, with the consent that manifests state.

    Args:
        clips: What was trained on.
        folders: Where they come from, as for :func:`stress.data.layouts.read_dataset`.

    Returns:
        ``{"person": ..., "consent": {...}}`` as in a manifest, by name; no ``consent`` where no manifest states one,
        and one entry for each where they state several.
    """
    stated: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for folder in folders:
        for found in read_people(parse_source(folder).path):
            if "consent" in found and found not in stated[found["person"]]:
                stated[found["person"]].append(found)
    names = sorted({person for clip in clips for person in clip.people})
    return [each for name in names for each in stated[name] or [{"person": name}]]


def save_picture(
    picture: np.ndarray,
    path: Path,
    card: DetectorCard,
    *,
    people: Sequence[dict[str, Any]] = (),
    key: provenance.SigningKey | None = None,
) -> Path:
    """Write and sign a picture.

    Args:
        picture: (H, W, 3) uint8 RGB.
        path: PNG to write.
        card: Of the detector whose training it shows.
        people: Everybody who was trained on, of whom it shows some, from :func:`stated_people`.
        key: Signing key; default the user's own.

    Returns:
        ``path``.
    """
    facts = {
        "shows": "some of the faces that a detector was trained on",
        "detector": card.architecture,
        "sha256": card.sha256,
        "people": list(people),
    }
    claim = provenance.Claim(
        action="c2pa.created",
        source_type="compositeWithTrainedAlgorithmicMedia",
        parent=None,
        title=path.name,
        facts=facts,
    )
    with tempfile.TemporaryDirectory() as folder:
        unsigned = Path(folder) / path.name
        cv2.imwrite(str(unsigned), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        provenance.sign_image(unsigned, path, claim=claim, key=key)
    return path
