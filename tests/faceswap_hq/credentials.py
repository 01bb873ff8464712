"""What the tests of content credentials claim."""

from __future__ import annotations

from pathlib import Path

from faceswap_hq.provenance import Claim

FACTS = {"model": {"run": "a-b", "sha256": "ab" * 32, "step": 1000}, "blending": {"mode": "best", "blur": 2.5}}


def claim(parent: Path | None, action="c2pa.edited", source="compositeWithTrainedAlgorithmicMedia", **more) -> Claim:
    return Claim(action=action, source_type=source, parent=parent, title="fake.mp4", **{"facts": FACTS, **more})
