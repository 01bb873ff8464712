"""Where a person's own outline, brows and eyes lie in what their decoder draws."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import numpy as np
import torch

from faceswap_hq import media
from faceswap_hq.drawing import shape_of
from faceswap_hq.faces import alignment, regions
from faceswap_hq.faces.landmarks import open_backend

SIDE = 128


def drawing(face: np.ndarray, retargets: float = 1.0) -> SimpleNamespace:
    """Stands in for a model whose decoder draws this face, whatever is asked for."""
    picture = torch.from_numpy(face).permute(2, 0, 1)[None].float() / 255
    return SimpleNamespace(
        retargets=retargets, seen=torch.zeros(1, 256, 3), settings=SimpleNamespace(resolution=SIDE),
        swap=lambda image, measures, source, retarget: (picture.repeat(len(measures), 1, 1, 1), None),
    )  # fmt: skip


def test_the_shape_is_that_of_the_face_drawn(actor_clips):
    frame = next(iter(media.read_frames(actor_clips[0], stop=1))).image
    with contextlib.closing(open_backend(static=True)) as backend:
        landmarks = backend.detect(frame)[0]
    matrix = alignment.crop_matrix(landmarks, SIDE)
    shape = shape_of(drawing(alignment.warp(frame, matrix, SIDE)), 0, "mediapipe")
    points = alignment.transform(landmarks, matrix)
    wanted = [regions.oval_polygon(points), *regions.brow_polygons(points), *regions.region_polygons(points)["eyes"]]
    assert shape is not None
    for found, part in zip([shape.outline, *shape.brows, *shape.eyes], wanted, strict=True):
        assert np.abs(found - part).mean() < 0.03 * SIDE
    assert max(part[:, 1].mean() for part in shape.brows) < min(part[:, 1].mean() for part in shape.eyes)


def test_without_a_face_or_for_another_design_it_is_not_known():
    nothing = np.full((SIDE, SIDE, 3), 90, np.uint8)
    assert shape_of(drawing(nothing), 0, "mediapipe") is None
    assert shape_of(drawing(nothing, retargets=0.0), 0, "mediapipe") is None
