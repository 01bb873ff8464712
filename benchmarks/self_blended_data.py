"""Self-blended pictures of clips, as a data set of folders of pictures that ``stress-test --fakes`` takes."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import faceswap_hq
from faceswap_hq import files, provenance

FRAMES = 16
SIDES = ("fakes", "reals")
_DONE = "done.json"  # what the pictures beside it were made of
_FAKE = "Self-blended: the person's own face, blended with a changed copy of itself. Nobody else's is in it."
_REAL = "Matched real: the same picture before the blend, face in its place."
_CHANGED = " Its colours or sharpness were changed as a whole."


def write_self_blended(
    clips: Sequence[tuple[Path, str]], out: Path, consent: Mapping[str, Mapping[str, str]] | None = None
) -> None:
    """Make ``out/fakes/ID/*.jpg``, ``out/reals/ID/*.jpg`` and both folders' ``people.csv``.

    The real of a pair is the picture that was blended into, which may have changed colours itself (Shiohara and
    Yamasaki); both sides are JPEGs of the same quality and both are signed, so that the blend is the only difference.
    What was made of the very same reals is kept, clips without a face are left out, folders of other clips removed.

    Args:
        clips: Reals and who is in them.
        out: Folder to make.
        consent: Person ► on what basis their footage is used.
    """
    from faceswap_hq.faces.landmarks import open_backend

    key = provenance.load_key()
    for side in SIDES:
        for old in [path for path in (out / side).glob("*") if path.is_dir()]:
            if old.name not in {path.stem for path, _ in clips}:
                shutil.rmtree(old)
    with contextlib.closing(open_backend(static=True)) as backend:
        for path, who in clips:
            facts = _facts(path, who, (consent or {}).get(who))
            places = [out / side / path.stem for side in SIDES]
            if all(_is_done(place, facts) for place in places):
                continue
            for place in places:
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir(parents=True)
            _blend(path, places, backend, facts, key)
            for place in places:
                files.write_json(place / _DONE, facts)
    for side in SIDES:
        table = io.StringIO(newline="")
        rows = csv.writer(table)
        rows.writerow(("file", "person"))
        rows.writerows((path.stem, who) for path, who in clips if any((out / side / path.stem).glob("*.jpg")))
        files.write_bytes(out / side / "people.csv", table.getvalue().encode())


def _facts(path: Path, who: str, consent: Mapping[str, str] | None) -> dict[str, Any]:
    person = {"person": who} if consent is None else {"person": who, "consent": dict(consent)}
    return {
        "toolkit": f"faceswap-hq {faceswap_hq.__version__}", "method": "self-blended",
        "target": {**person, "clip": path.name, "sha256": files.sha256_file(path)},
    }  # fmt: skip


def _is_done(place: Path, facts: dict[str, Any]) -> bool:
    try:
        return bool(json.loads((place / _DONE).read_text(encoding="utf-8")) == facts)
    except (OSError, ValueError):
        return False


def _blend(
    path: Path, places: Sequence[Path], backend: Any, facts: dict[str, Any], key: provenance.SigningKey
) -> None:
    """The fakes and the reals of one clip."""
    from stress.data.faces import same_person
    from stress.data.frames import sample_frames
    from stress.training.recipes.self_blending import self_blend

    generator = np.random.default_rng(zlib.crc32(path.stem.encode()))
    before = None
    for number, image in sample_frames(path, FRAMES):
        faces = backend.detect(image)
        if not faces:
            continue
        before = same_person(faces, before)
        made = self_blend(image, before, generator, "corrected")
        name, facts = f"{number:06d}.jpg", {**facts, "frame": number}
        changed = made.target is not image
        fake = provenance.Claim(
            action="c2pa.edited", source_type="compositeSynthetic", parent=path, title=name,
            facts={**facts, "source": facts["target"], "note": _FAKE},
        )  # fmt: skip
        real = provenance.Claim(
            action="c2pa.edited" if changed else "c2pa.transcoded", source_type=None, parent=path, title=name,
            facts={fact: facts[fact] for fact in ("toolkit", "target", "frame")}
            | {"note": _REAL + (_CHANGED if changed else "")},
        )  # fmt: skip
        _write(made.fake, places[0] / name, fake, key)
        _write(made.target, places[1] / name, real, key)


def _write(picture: np.ndarray, path: Path, claim: provenance.Claim, key: provenance.SigningKey) -> None:
    coded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    with tempfile.TemporaryDirectory() as folder:
        unsigned = Path(folder) / path.name
        unsigned.write_bytes(coded.tobytes())
        provenance.sign_image(unsigned, path, claim=claim, key=key)
