"""Blend one face into one picture, with `blending` alone: no model, no training.

    python examples/blend_one_picture.py FACE.jpg PICTURE.jpg blended.png [--preset none|classic|best]

The face of the first picture is put onto the face of the second. Both should look the same way with much the same
expression: a trained model would draw the first person in the second one's pose, here the photograph is only turned,
scaled and moved. The result is signed as an AI face swap.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np

from blending import compose, preset
from faceswap_hq.faces import alignment, regions
from faceswap_hq.faces.landmarks import open_backend
from faceswap_hq.provenance import Claim, sign_image

SIZE = 512


def read(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise SystemExit(f"{path} cannot be read as a picture.")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("face", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--preset", default="best", choices=("none", "classic", "best"))
    options = parser.parse_args()

    backend = open_backend("mediapipe", max_faces=1, static=True)
    pictures, landmarks = [], []
    for path in (options.face, options.picture):
        pictures.append(read(path))
        found = backend.detect(pictures[-1])
        if not found:
            raise SystemExit(f"No face was found in {path}.")
        landmarks.append(found[0])
    backend.close()

    # What a model would deliver: a square crop of the new face, and a mask of where it is to be trusted.
    source = alignment.crop_matrix(landmarks[0], SIZE)
    face = alignment.warp(pictures[0], source, SIZE).astype(np.float32) / 255
    mask = regions.fill([alignment.transform(regions.oval_polygon(landmarks[0]), source)], SIZE).astype(np.float32)

    result = compose(
        pictures[1],
        face,
        mask / max(float(mask.max()), 1.0),
        alignment.crop_matrix(landmarks[1], SIZE),
        polygon=regions.oval_polygon(landmarks[1]),
        settings=preset(options.preset),
    )
    with tempfile.TemporaryDirectory() as folder:
        unsigned = Path(folder) / f"unsigned{options.output.suffix}"
        cv2.imwrite(str(unsigned), cv2.cvtColor(result.image, cv2.COLOR_RGB2BGR))
        claim = Claim(
            action="c2pa.edited",
            source_type="compositeWithTrainedAlgorithmicMedia",
            parent=options.picture,
            title=options.output.name,
            facts={"blending": options.preset},
        )
        sign_image(unsigned, options.output, claim=claim)
    print(f"{options.output}: {np.count_nonzero(result.alpha)} pixels changed")


if __name__ == "__main__":
    main()
