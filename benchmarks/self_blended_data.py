"""Self-blended pictures of clips, as a data set of folders of pictures that ``stress-test --fakes`` takes."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

FRAMES = 16


def write_self_blended(clips: Sequence[tuple[Path, str]], out: Path) -> None:
    """Make ``out/fakes/ID/*.jpg``, ``out/reals/ID/*.jpg`` and both folders' ``people.csv``; what is there is kept.

    The real of a pair is the picture that was blended into, which may have changed colours itself (Shiohara and
    Yamasaki); both sides are JPEGs of the same quality, so that the blend is the only difference.

    Args:
        clips: Reals and who is in them.
        out: Folder to make.
    """
    from faceswap_hq.faces.landmarks import open_backend
    from stress.data.faces import same_person
    from stress.data.frames import sample_frames
    from stress.training.recipes.self_blending import self_blend

    backend = open_backend(static=True)
    for path, _ in clips:
        places = [out / side / path.stem for side in ("fakes", "reals")]
        if all((place / "done").exists() for place in places):
            continue
        for place in places:
            place.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(zlib.crc32(path.stem.encode()))
        before = None
        for number, image in sample_frames(path, FRAMES):
            faces = backend.detect(image)
            if not faces:
                continue
            before = same_person(faces, before)
            made = self_blend(image, before, generator, "corrected")
            for place, picture in zip(places, (made.fake, made.target), strict=True):
                coded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
                (place / f"{number:06d}.jpg").write_bytes(coded.tobytes())
        for place in places:
            (place / "done").touch()
    backend.close()
    for side in ("fakes", "reals"):
        with (out / side / "people.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(("file", "person"))
            rows.writerows((path.stem, who) for path, who in clips)
