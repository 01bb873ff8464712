"""Which detector scores which clip, and what a detector and a clip are recognized by between runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stress.data.layouts import Clip
from stress.evaluation.comparison import Key
from stress.evaluation.out_of_fold import Scorer
from stress.results import as_record, json_safe


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Who scores which clip in one phase.

    Args:
        phase: ``"before"`` or ``"after"`` fine-tuning.
        detectors: One, or one a fold.
        fold_of: Which of them may score a clip, by (group "stress", dataset, label, id), as
            :func:`stress.evaluation.out_of_fold.key_of` names it; a clip that is missing is not scored. None: the
            first detector scores all.
        hashes: What each detector is recognized by between runs, from :func:`fingerprint` by default; one whose hash is
            None is asked anew each time.
    """

    phase: str = "before"
    detectors: Sequence[Scorer]
    fold_of: Mapping[Key, int] | None = None
    hashes: Sequence[str | None] | None = None

    def of(self, clip: Clip) -> int | None:
        """Number of the detector that scores the clip, or None."""
        return 0 if self.fold_of is None else self.fold_of.get(clip_key(clip))


def clip_key(clip: Clip) -> Key:
    """Name of a stress clip among all."""
    return "stress", clip.dataset, clip.label, clip.id


def fingerprint(detector: Any) -> str | None:
    """SHA-256 of a detector's weights and card, or of its file where it has no weights to look into; else None."""
    card, module = getattr(detector, "card", None), getattr(detector, "module", None)
    facts = {name: value for name, value in as_record(card).items() if name not in ("sha256", "base_metrics")}
    digest = hashlib.sha256(json.dumps(json_safe(facts), sort_keys=True).encode())
    tensors = module.state_dict() if module is not None and hasattr(module, "state_dict") else {}
    if tensors:
        for name, tensor in sorted(tensors.items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
        return digest.hexdigest()
    whole = getattr(card, "sha256", None)
    if not isinstance(whole, str):
        return None
    digest.update(whole.encode())
    return digest.hexdigest()
