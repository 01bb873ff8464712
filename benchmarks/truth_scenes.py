"""What `blending_truth.py` blends: exact swaps of virtual actors, spoiled as a generator spoils a face.

Two answers can be called true where two people's skins differ: the source's face in its own tone, or given the target's
base tone (``match_skin``). The face has to belong to the neck, ears and forehead it is put among, and from one picture
nobody can tell a dark skin from a dark exposure; so ``matched`` is what a blender is held to, and ``own`` stands beside
it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from faceswap_hq.actors import Member, Moment, Rendered, Scene, ground_truth_swap, moments, plan_cast
from faceswap_hq.actors.render import cast_of, render_moment
from faceswap_hq.actors.swap import swapped_cast
from faceswap_hq.faces import alignment, regions

CROP, COARSE = 256, 128
"""Sides of the crops, px: a fine generator's, and the ``fast`` preset's."""
COVERAGE = 0.74
"""Share of the aligned crop that a model sees: the training presets'."""
RING = 0.06
"""Half the width of the ring around the mask's edge, in face sizes."""

CASES = {
    "exact": "nothing: the exact face",
    "white balance": "red and blue off by up to 15 % each in linear light",
    "exposure": "off by 0.25 to 0.5 stops",
    "contrast": "times 0.75 to 0.85, or 1.18 to 1.33, about the middle",
    "128 px": "drawn at 128 px, a little soft",
    "no noise": "rendered without the camera's noise",
    "noise added": "4 grey levels of noise",
    "own skin": "the source's skin, not the target's",
    "all": "own skin, white balance, exposure, contrast, 128 px, no noise",
    "own light": "own skin in the light and by the camera of the source's clip, 128 px, no noise",
    "alone": "the source alone, filmed in its own clip's light: its own head and outline, 128 px, no noise",
}
"""What is wrong with the face that is blended in."""
HEADLINE = ("all", "own light", "alone")
"""The cases that resemble a trained generator's faces; what settings are ranked by."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One frame of one ordered pair of people.

    Attributes:
        source: Number of the person whose face it is.
        target: Number of the person in the frame.
        side: The frame's width and height, px.
        height: The face's height in the frame, px.
        frame: (H, W, 3) uint8, untouched.
        truths: ``matched`` and ``own`` ► (H, W, 3) uint8, the exact swaps.
        faces: Case ► the crop (S, S, 3) float32, its mask (S, S) float32, and the matrix (2, 3) that brings it there.
        polygon: (K, 2) the target's outline, frame pixels.
        brows: The target's brows, frame pixels.
        inside: (H, W) bool, the face without the ring.
        ring: (H, W) bool, a band along the outlines of the target's and the swapped face.
    """

    source: int
    target: int
    side: int
    height: float
    frame: np.ndarray
    truths: dict[str, np.ndarray]
    faces: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
    polygon: np.ndarray
    brows: list[np.ndarray]
    inside: np.ndarray
    ring: np.ndarray


def cast(people: int, seconds: float, side: int) -> list[Member]:
    """The actors; skin tones are spread evenly over them."""
    return plan_cast(people, seconds=seconds, seed=11, size=side)


def pairs(people: int, partners: int) -> list[tuple[int, int]]:
    """Ordered pairs in which everyone is as often the source as the target."""
    steps = [1, *range(people // 2, people)][:partners]
    return [(k, (k + step) % people) for step in steps for k in range(people)]


def picks(member: Member, frames: int) -> list[int]:
    """Frames spread over a member's performance."""
    last = member.performance.frames - 1
    return [round(last * share) for share in (np.linspace(0.1, 0.9, frames) if frames > 1 else [0.5])]


def cell(members: list[Member], source: int, target: int, frame: int, side: int) -> Cell:
    """Render one frame of one pair, and the faces that will be blended into it."""
    a, b = members[source], members[target]
    scene = replace(b.scene, width=side, height=side)
    moment = moments(b.performance)[frame]
    matched, own = (
        ground_truth_swap(a.identity, b.identity, b.performance, scene, frame, match_skin=match)
        for match in (True, False)
    )
    landmarks, drawn_ones = own.target.landmarks, own.swapped.landmarks
    polygon = regions.oval_polygon(landmarks)
    inside, ring = measured_areas([polygon, regions.oval_polygon(drawn_ones)], side)
    rng = np.random.default_rng([source, target])
    return Cell(
        source=source,
        target=target,
        side=side,
        height=float(np.ptp(polygon[:, 1])),
        frame=own.target.image,
        truths={"matched": matched.image, "own": own.image},
        faces=spoiled(a, b, scene, moment, frame, matched.image, own.image, landmarks, drawn_ones, rng),
        polygon=polygon,
        brows=regions.brow_polygons(landmarks),
        inside=inside,
        ring=ring,
    )


def measured_areas(outlines: list[np.ndarray], side: int) -> tuple[np.ndarray, np.ndarray]:
    """The inside common to all outlines, and the ring from there to the outside of all, each (side, side) bool."""
    filled = [(regions.fill([outline], side) > 127).astype(np.uint8) for outline in outlines]
    reach = RING * float(np.sqrt(filled[0].sum()))
    deep = cv2.distanceTransform(np.minimum.reduce(filled), cv2.DIST_L2, 5)
    away = cv2.distanceTransform(1 - np.maximum.reduce(filled), cv2.DIST_L2, 5)
    return deep > reach, (deep <= reach) & (away <= reach)


def spoiled(
    a: Member, b: Member, scene: Scene, moment: Moment, frame: int, matched: np.ndarray, own: np.ndarray,
    landmarks: np.ndarray, swapped: np.ndarray, rng: np.random.Generator,
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:  # fmt: skip
    """Every case's crop, mask and the matrix from the target's frame to the crop."""
    quiet = replace(scene, noise=0.0)
    # The source's light and lens on the very same geometry.
    there = replace(a.scene, width=scene.width, height=scene.height, noise=0.0)
    lit = replace(there, face=scene.face, vignette=scene.vignette)
    casts = {match: swapped_cast(a.identity, b.identity, match) for match in (True, False)}
    clean = {match: render_moment(casts[match], moment, quiet, frame).image for match in (True, False)}
    relit = render_moment(casts[False], moment, lit, frame)
    alone = render_moment(cast_of(a.identity), moment, there, frame)
    balance, exposure, contrast = white_balance(rng), exposed(rng), contrasted(rng)
    fine, coarse = (geometry(landmarks, size) for size in (CROP, COARSE))
    masks = {CROP: outline(swapped, fine, CROP), COARSE: outline(swapped, coarse, COARSE)}
    sharp = crop(matched, fine, CROP)
    noise = rng.normal(0, 4 / 255, (CROP, CROP, 1)).astype(np.float32)
    large = {
        "exact": sharp,
        "white balance": balance(sharp),
        "exposure": exposure(sharp),
        "contrast": contrast(sharp),
        "no noise": crop(clean[True], fine, CROP),
        "noise added": np.clip(crop(clean[True], fine, CROP) + noise, 0, 1),
        "own skin": crop(own, fine, CROP),
    }
    small = {
        "128 px": drawn(matched, coarse),
        "all": contrast(exposure(balance(drawn(clean[False], coarse)))),
        "own light": drawn(relit.image, coarse),
    }
    found = {name: (face, masks[CROP], fine) for name, face in large.items()}
    found |= {name: (face, masks[COARSE], coarse) for name, face in small.items()}
    found["alone"] = (*filmed(alone), coarse)
    return {name: found[name] for name in CASES}


def filmed(picture: Rendered) -> tuple[np.ndarray, np.ndarray]:
    """A coarse crop of somebody by that person's own landmarks, and its mask."""
    own = geometry(picture.landmarks, COARSE)
    return drawn(picture.image, own), outline(picture.landmarks, own, COARSE)


def geometry(landmarks: np.ndarray, size: int) -> np.ndarray:
    """The model's crop: (2, 3) from frame pixels."""
    return alignment.scaled(alignment.crop_matrix(landmarks, CROP), CROP, size, COVERAGE)


def outline(landmarks: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """The mask as a model learns it: the face's oval in the crop, a little soft, (size, size) float32."""
    oval = alignment.transform(regions.oval_polygon(landmarks), matrix)
    filled = regions.fill([oval], size, grow=0.02 * size).astype(np.float32) / 255
    return cv2.GaussianBlur(filled, (0, 0), size / 128)


def crop(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Aligned crop of a uint8 picture, (size, size, 3) float32 in [0, 1]."""
    return alignment.warp(image.astype(np.float32) / 255, matrix, size)


def drawn(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """A crop as a small decoder draws it: 128 px, and softer than those could be."""
    return cv2.GaussianBlur(crop(image, matrix, COARSE), (0, 0), 0.7)


def white_balance(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """Red and blue times or divided by 1.08 to 1.15, against each other, in linear light."""
    sign = rng.choice([-1, 1])
    gain = np.array([rng.uniform(1.08, 1.15) ** sign, 1, rng.uniform(1.08, 1.15) ** -sign], np.float32)
    return lambda face: encoded(linear(face) * gain)


def exposed(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """A quarter to half a stop too much or too little."""
    gain = np.float32(2 ** (rng.choice([-1, 1]) * rng.uniform(0.25, 0.5)))
    return lambda face: encoded(linear(face) * gain)


def contrasted(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """Contrast times or divided by 1.18 to 1.33."""
    gain = np.float32(rng.uniform(1.18, 1.33) ** rng.choice([-1, 1]))
    return lambda face: np.clip((face - np.float32(0.5)) * gain + np.float32(0.5), 0, 1)


def linear(image: np.ndarray) -> np.ndarray:
    """From sRGB in [0, 1] to linear light (IEC 61966-2-1)."""
    return np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4).astype(np.float32)


def encoded(light: np.ndarray) -> np.ndarray:
    """Linear light to sRGB in [0, 1]."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055).astype(np.float32)
