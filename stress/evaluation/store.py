"""What fine-tunings gave, kept on disk, so that an experiment that was cut off goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from faceswap_hq import __version__ as toolkit_version
from faceswap_hq.errors import UserError
from faceswap_hq.files import atomic_path, read_json, write_json
from stress.data.crops import Crops
from stress.results import version_of

_VERSION = 1


class FoldStore:
    """A folder with two files a fine-tuning, its scores (Parquet) and its report (JSON), and its detector where asked.

    Files are named by a hash of all that the scores depend on: the detector's file, the training's settings, and the
    faces trained on and asked about. What is damaged counts as not there.

    Args:
        folder: Made when something is kept.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._digests: dict[int, tuple[Crops, str]] = {}  # the clip is kept, so that its id stays its own

    def key(
        self,
        detector: Any,
        training: Any,
        strategy: str,
        fold: int,
        trained: Sequence[Crops],
        asked: Mapping[str, Sequence[Crops]],
    ) -> str | None:
        """Name of what a fold gives, or None for a detector without a checksum, of which nothing can be kept."""
        checksum = getattr(detector.card, "sha256", None)
        if not checksum:
            return None
        settings = asdict(training) if is_dataclass(training) and not isinstance(training, type) else repr(training)
        facts = {
            "version": [_VERSION, toolkit_version, *(version_of(name) for name in ("torch", "timm", "numpy"))],
            "detector": [checksum, repr(detector.card)],
            "training": settings,
            "strategy": strategy,
            "fold": fold,
            "trained": [self._digest(item) for item in trained],
            "asked": {name: [self._digest(item) for item in items] for name, items in asked.items()},
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()

    def detector(self, key: str | None) -> Path | None:
        """Where the fine-tuned detector of a key is kept, or would be."""
        return None if key is None else self.folder / f"{key}.safetensors"

    def get(self, key: str | None, *, detector: bool = False) -> tuple[pd.DataFrame, dict[str, Any]] | None:
        """What was kept under a key, or None; None also where the ``detector`` is wanted and was not kept."""
        if key is None:
            return None
        report = self.folder / f"{key}.json"
        if not report.is_file() or (detector and not report.with_suffix(".safetensors").is_file()):  # written last
            return None
        try:
            scores, found = pd.read_parquet(report.with_suffix(".parquet")), read_json(report)
        except (UserError, OSError, ValueError):
            return None
        whole = isinstance(found, dict) and {"fold", "seed", "threshold"} <= found.keys()
        return (scores, found) if whole and {"score", "fold", "calibrated"} <= set(scores.columns) else None

    def put(self, key: str | None, scores: pd.DataFrame, report: Mapping[str, Any], detector: Any = None) -> None:
        """Keep what a fold gave, and the fine-tuned detector where one is given."""
        if key is None:
            return
        if detector is not None:
            from stress.detectors import save_detector

            save_detector(detector, self.folder / f"{key}.safetensors")
        with atomic_path(self.folder / f"{key}.parquet") as temporary:
            scores.to_parquet(temporary, index=False)
        write_json(self.folder / f"{key}.json", dict(report))

    def _digest(self, item: Crops) -> str:
        if id(item) not in self._digests:
            clip = item.clip
            name = [clip.dataset, clip.id, clip.label, list(clip.people), clip.source_clip, clip.method,
                    clip.matched]  # fmt: skip
            digest = hashlib.blake2b(json.dumps(name).encode(), digest_size=16)
            digest.update(item.frames.tobytes())
            digest.update(item.images.tobytes())
            self._digests[id(item)] = (item, digest.hexdigest())
        return self._digests[id(item)][1]
