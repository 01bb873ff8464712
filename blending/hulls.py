"""Areas of a swap from a face's landmarks alone: four kinds of hulls that face-swap programs have used as masks.

Their names and shapes are those of the faceswap program, which the code published for Face X-ray (Li et al.,
arXiv 1912.13458) passed on to Self-Blended Images (Shiohara and Yamasaki, arXiv 2204.08376). There they are told in the
68 points of the iBUG annotation, with 13 more along the hairline; here also in MediaPipe's 478 points, by the points
nearest in meaning. Each kind is a union of convex hulls:

* ``dfl_full``: jaw and mouth; bridge of the nose to its base; brows, ends of the jaw and base of the nose.
* ``components``: each half of the jaw with the brow's end; chin with the outer and inner brows; chin with brow, base
  and bridge of the nose, each side; the nose.
* ``extended``: as ``components``, the brows raised by half their distance from the upper lids.
* ``facehull``: all points.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from blending.mask import combine, hull_mask

Array = NDArray[Any]
HullKind = Literal["dfl_full", "extended", "components", "facehull"]
KINDS: tuple[HullKind, ...] = get_args(HullKind)

# From the picture's left to its right on a face seen from the front, which is from the person's right to their left.
_JAW_478 = (
    127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148,
    152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 356,
)  # fmt: skip
_MOUTH_478 = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
_FOREHEAD_478 = (162, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 389)
_PARTS: dict[int, dict[str, tuple[int, ...]]] = {
    478: {
        "jaw": _JAW_478,
        "right_brow": (70, 63, 105, 66, 107),
        "left_brow": (336, 296, 334, 293, 300),
        "bridge": (168, 197, 5, 4),
        "nose": (98, 97, 2, 326, 327),
        "right_eye": (33, 160, 158, 133, 153, 144),
        "left_eye": (362, 385, 387, 263, 373, 380),
        "mouth": _MOUTH_478,
        "forehead": _FOREHEAD_478,
    },
    68: {
        "jaw": tuple(range(17)),
        "right_brow": tuple(range(17, 22)),
        "left_brow": tuple(range(22, 27)),
        "bridge": tuple(range(27, 31)),
        "nose": tuple(range(31, 36)),
        "right_eye": tuple(range(36, 42)),
        "left_eye": tuple(range(42, 48)),
        "mouth": tuple(range(48, 68)),
        "forehead": (),
    },
}
POINTS = tuple(_PARTS)
"""Numbers of landmarks that are known."""


def parts(landmarks: Array, *, forehead: bool = True) -> dict[str, Array]:
    """The landmarks by part of the face: what the 68-point annotation has, and the hairline.

    Args:
        landmarks: (478 or 68, 2 or 3) in any unit.
        forehead: Whether to give the 13 points along the hairline, which 68 points lack.

    Returns:
        ``jaw``, ``right_brow``, ``left_brow``, ``bridge``, ``nose``, ``right_eye``, ``left_eye``, ``mouth`` and
        ``forehead``, each (K, 2) float32, K = 0 for a forehead that is not there.

    Raises:
        ValueError: Another number of landmarks.
    """
    if len(landmarks) not in _PARTS:
        raise ValueError(f"hulls know {' or '.join(map(str, POINTS))} landmarks, not {len(landmarks)}")
    points = np.asarray(landmarks, np.float32)[:, :2]
    found = {name: points[list(indices)] for name, indices in _PARTS[len(points)].items()}
    if not forehead:
        found["forehead"] = found["forehead"][:0]
    return found


def polygons(landmarks: Array, kind: HullKind, *, forehead: bool = True) -> list[Array]:
    """The groups of points whose convex hulls make up a kind of mask.

    Args:
        landmarks: (478 or 68, 2 or 3) in any unit.
        kind: One of :data:`KINDS`.
        forehead: Whether ``facehull`` reaches to the hairline; the other kinds end at or a little above the brows.

    Returns:
        (K, 2) float32 each.

    Raises:
        ValueError: Another kind or number of landmarks.
    """
    face = parts(landmarks, forehead=forehead)
    if kind == "facehull":
        return [np.concatenate(list(face.values()))]
    if kind == "dfl_full":
        return _dfl_full(face)
    if kind == "components":
        return _components(face)
    if kind == "extended":
        return _components({**face, **_raised_brows(face)})
    raise ValueError(f"unknown hull {kind!r}; known: {', '.join(KINDS)}")


def face_hull(
    landmarks: Array,
    shape: tuple[int, int],
    kind: HullKind,
    *,
    forehead: bool = True,
    offset: tuple[float, float] = (0.0, 0.0),
) -> Array:
    """A mask of a face, of one of four kinds, with an anti-aliased edge.

    Args:
        landmarks: (478 or 68, 2 or 3) x, y in pixels.
        shape: (H, W) of the result.
        kind: One of :data:`KINDS`.
        forehead: See :func:`polygons`.
        offset: x, y of the result's first pixel in the landmarks' coordinates.

    Returns:
        (H, W) float32 in [0, 1].
    """
    hulls = [hull_mask(points, shape, offset=offset) for points in polygons(landmarks, kind, forehead=forehead)]
    return combine(hulls, "union")


def _dfl_full(face: dict[str, Array]) -> list[Array]:
    jaw, base = face["jaw"], face["nose"][2:3]
    return [
        np.concatenate([jaw, face["mouth"]]),
        np.concatenate([face["bridge"], base]),
        np.concatenate([face["right_brow"], face["left_brow"], jaw[[0, -1]], face["bridge"][:1], base]),
    ]


def _components(face: dict[str, Array]) -> list[Array]:
    jaw, right, left, nose = face["jaw"], face["right_brow"], face["left_brow"], face["nose"]
    middle = len(jaw) // 2
    chin, top = jaw[middle : middle + 1], face["bridge"][:1]
    return [
        np.concatenate([jaw[: middle + 1], right[:1]]),
        np.concatenate([jaw[middle:], left[-1:]]),
        np.concatenate([right[:3], chin]),
        np.concatenate([left[-3:], chin]),
        np.concatenate([right[2:], left[:3], chin]),
        np.concatenate([right, top, nose, chin]),
        np.concatenate([left, top, nose, chin]),
        np.concatenate([face["bridge"], nose]),
    ]


def _raised_brows(face: dict[str, Array]) -> dict[str, Array]:
    """Each point of a brow moves away from the lid below it by half its distance.

    Below the brow's outer end lies a point a quarter of the way from the eye's outer corner to the end of the jaw.
    """
    jaw, right_eye, left_eye = face["jaw"], face["right_eye"], face["left_eye"]
    below_right = np.concatenate([_between(right_eye[0], jaw[0]), right_eye[:4]])
    below_left = np.concatenate([left_eye[:4], _between(left_eye[3], jaw[-1])])
    return {
        "right_brow": 1.5 * face["right_brow"] - 0.5 * below_right,
        "left_brow": 1.5 * face["left_brow"] - 0.5 * below_left,
    }


def _between(corner: Array, end: Array) -> Array:
    return (0.75 * corner + 0.25 * end)[None]
