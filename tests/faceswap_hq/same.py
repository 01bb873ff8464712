"""Whether two curations are the same: all that does not depend on when it was made and signed."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from faceswap_hq import media


def facts(folder: Path) -> dict[str, object]:
    """File ► all that does not depend on when it was made and signed."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or path.name.endswith(".lock"):
            continue
        if path.suffix == ".mp4":
            found[name] = _shown(path)
        elif path.suffix in (".json", ".jsonl"):
            found[name] = [_timeless(json.loads(text)) for text in _documents(path)]
        elif path.name == "SHA256SUMS":
            found[name] = [line.split("  ")[1] for line in path.read_text().splitlines()]
        elif path.suffix == ".html":  # names fakes by their hashes
            found[name] = re.sub("[0-9a-f]{64}", "", path.read_text())
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _documents(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]


def _timeless(value):
    """JSON without times, and without the hashes of signed videos."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k not in ("made", "seconds", "faces_per_second", "key")}
        if "digital_source_type" in kept:  # the credentials of a video
            kept.pop("file")
        if set(kept) <= {"fake", "real", "control", "mask"} and "fake" in kept:  # hashes of what was signed, and a mask
            return {k: v if k == "mask" else "" for k, v in kept.items()}
        return {k: _timeless(v) for k, v in kept.items()}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def _shown(path: Path) -> str:
    digest = hashlib.sha256()
    for frame in media.read_frames(media.probe(path)):
        digest.update(f"{frame.pts}".encode() + frame.image.tobytes())
    return digest.hexdigest()
