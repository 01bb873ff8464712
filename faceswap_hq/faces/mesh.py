"""The face as a net of triangles, and pictures bent triangle by triangle.

A face's vertices are MediaPipe's first 468 points and 36 anchors around them, which stand still in the aligned crop:
the net holds the face fast in its surroundings, so a bent picture goes over into them without a step. The triangles are
MediaPipe's, with eyes and mouth closed by strips from lid to lid and from lip to lip.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from faceswap_hq.faces import alignment
from faceswap_hq.faces.raster import rasterize
from faceswap_hq.faces.regions import FACE_OVAL, LEFT_EYE, LIPS_INNER, RIGHT_EYE

FACE_POINTS = 468
"""Vertices that move with the face; the irises are left out, since the lids may hide them."""
_OUTLINE = 20.0  # how much more the outline counts than other points
_AROUND = 1.35  # anchors stand so much further from the face's middle than the generic face's oval


class GenericFace(NamedTuple):
    """A face made without any photograph, see :mod:`faceswap_hq.actors.geometry`."""

    points: np.ndarray
    """float64 (478, 3), frontal; x to the right of the picture, y down, z away; outer eye corners about 1 apart."""
    triangles: np.ndarray
    """int32 (852, 3): MediaPipe's tesselation."""
    mirror: np.ndarray
    """int64 (478,): each point's counterpart on the other side."""


@lru_cache(maxsize=1)
def generic_face() -> GenericFace:
    """The generic face; the arrays are shared, so copy before changing them."""
    with np.load(Path(__file__).with_name("generic_face.npz")) as data:
        return GenericFace(
            data["points"].astype(np.float64), data["triangles"].astype(np.int32), data["mirror"].astype(np.int64)
        )


@lru_cache(maxsize=1)
def resting() -> np.ndarray:
    """The generic face's vertices in its aligned crop, float32 (504, 2), the crop's side being 1."""
    face = generic_face().points
    points = alignment.transform(face, alignment.crop_matrix(face, 1))
    oval = points[list(FACE_OVAL)]
    middle = (oval.min(0) + oval.max(0)) / 2
    return np.concatenate([points[:FACE_POINTS], middle + _AROUND * (oval - middle)]).astype(np.float32)


def vertices(landmarks: np.ndarray) -> np.ndarray:
    """A face's vertices: its own points and the anchors.

    Args:
        landmarks: (468 or more, 2) points in the aligned crop, the crop's side being 1.

    Returns:
        float32 (504, 2).
    """
    return np.concatenate([landmarks[:FACE_POINTS], resting()[FACE_POINTS:]]).astype(np.float32)


def opposite(loop: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Points of the upper and the lower half of an eye or mouth that lie opposite each other, without its corners."""
    half = len(loop) // 2
    return np.array(loop[1:half]), np.array(loop[half + 1 :][::-1])


@lru_cache(maxsize=1)
def triangles() -> np.ndarray:
    """The net, int32 (970, 3): faces, eyes, mouth, and the band out to the anchors."""
    parts = [generic_face().triangles]
    for loop in (RIGHT_EYE, LEFT_EYE, LIPS_INNER):
        upper, lower = ([loop[0], *half, loop[len(loop) // 2]] for half in opposite(loop))
        parts.append(_strip(upper, lower)[1:-1])  # at its ends two corners coincide
    oval = [*FACE_OVAL, FACE_OVAL[0]]
    anchors = [FACE_POINTS + i % len(FACE_OVAL) for i in range(len(oval))]
    parts.append(_strip(oval, anchors))
    return np.concatenate(parts).astype(np.int32)


def _strip(first: list[int], second: list[int]) -> np.ndarray:
    """Triangles between two lines of as many points, in their order."""
    a, b, c, d = first[:-1], first[1:], second[:-1], second[1:]
    return np.stack([np.stack([a, b, c], 1), np.stack([b, d, c], 1)], 1).reshape(-1, 3)


def to_pixels(points: np.ndarray, size: int, coverage: float = 1.0) -> np.ndarray:
    """Points of the crop, its side being 1, in pixels of a picture of its central ``coverage``, ``size`` wide."""
    return ((points - 0.5) * (size / coverage) + size / 2).astype(np.float32)


@lru_cache(maxsize=4)
def _relaxation(stiffness: float) -> np.ndarray:
    """(468, 468): from offsets of the face's points to the same offsets, evened out along the net."""
    net = generic_face().triangles  # eyes and mouth are open here: lids and lips move freely against each other
    edges = np.unique(np.sort(np.concatenate([net[:, [0, 1]], net[:, [1, 2]], net[:, [2, 0]]]), axis=1), axis=0)
    first, second = edges.T
    points = resting()
    weights = 1 / np.maximum(((points[first] - points[second]) ** 2).sum(1), 1e-6)
    weights *= stiffness / np.median(weights)
    faith = np.ones(FACE_POINTS)
    faith[list(FACE_OVAL)] = _OUTLINE
    system = np.diag(faith)
    np.add.at(system, (first, first), weights)
    np.add.at(system, (second, second), weights)
    np.add.at(system, (first, second), -weights)
    np.add.at(system, (second, first), -weights)
    return np.linalg.inv(system) * faith


def relaxed(source: np.ndarray, target: np.ndarray, stiffness: float) -> np.ndarray:
    """The target's points, less strained: as much as the net is stiff, it keeps the source's own shape.

    Landmarks are a few hundredths of a face off, lips above all, and where points are dense such an error stretches
    what lies between them many times over. What an affine map of the source does not explain, r, is replaced by the
    least of ``Σ fᵢ |r'ᵢ - rᵢ|² + stiffness * Σ wᵢⱼ |r'ᵢ - r'ⱼ|²`` over the net's points and edges, wᵢⱼ inverse to an
    edge's squared length, fᵢ large for the face's outline, behind which the source's surroundings begin.

    Args:
        source: (468, 2) points.
        target: (468, 2) points.
        stiffness: 0 keeps the target's points.

    Returns:
        float32 (468, 2).
    """
    if stiffness == 0:
        return target.astype(np.float32)
    design = np.column_stack([source, np.ones(FACE_POINTS)]).astype(np.float64)
    plain = design @ np.linalg.lstsq(design, target.astype(np.float64), rcond=None)[0]
    return (plain + _relaxation(stiffness) @ (target - plain)).astype(np.float32)


def warp_map(source: np.ndarray, target: np.ndarray, depth: np.ndarray, size: int, outside: np.ndarray) -> np.ndarray:
    """Where in the source picture each pixel of the target picture comes from.

    Each triangle of the net carries the affine map that takes its corners in the target to those in the source. Where
    triangles overlap, as the far cheek and the nose do in a turned head, the nearest counts.

    Args:
        source: (504, 2) vertices in pixels of the source picture.
        target: (504, 2) in pixels of the target picture.
        depth: (504,) of the target's vertices, growing away from the camera.
        size: Side of the target picture.
        outside: (2, 3) from target to source pixels, where there is no triangle.

    Returns:
        float32 (size, size, 2): x and y, for ``cv2.remap``.
    """
    net = triangles()
    x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    out = alignment.transform(np.stack([x.ravel(), y.ravel()], 1), outside)
    found = rasterize(target, depth, net, size, size, both_sides=True)
    out[found.pixel] = found.interpolate(source.astype(np.float32), net)
    return out.reshape(size, size, 2)


def bent(picture: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The picture bent: (S, S, C) from a map of :func:`warp_map`; outside the picture its border is repeated."""
    return cv2.remap(picture, where[..., 0], where[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def between(source_size: int, target_size: int, coverage: float) -> np.ndarray:
    """From pixels of a picture of the crop's central ``coverage`` to those of a picture of the whole crop, (2, 3)."""
    factor = source_size * coverage / target_size
    shift = source_size / 2 - factor * target_size / 2
    return np.array([[factor, 0, shift], [0, factor, shift]], np.float32)


def depths(landmarks: np.ndarray) -> np.ndarray:
    """Depths of all vertices, float32 (504,): those of (478, 3) landmarks; the anchors lie behind them all."""
    z = landmarks[:FACE_POINTS, 2]
    return np.concatenate([z, np.full(len(FACE_OVAL), z.max() + 1)]).astype(np.float32)
