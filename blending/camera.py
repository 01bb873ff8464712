"""Give the face the traces of the frame's camera: what is measured of both, when, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blending import compression, detail, grain, motion
from blending.settings import DetailSettings
from blending.state import BlendState

Array = NDArray[Any]

_MOVING = 2.0  # pixels a frame from which on motion blur can be told from a face's own lines
_RARELY = 4  # of so many measurements, one looks at two frames in a row and tries quantisations
_JUMP = 0.25  # face sizes a frame: no motion but another face, or a gap


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was measured, NaN where nothing could be seen; a vector to the filters.

    Attributes:
        ours: Blur, fine and coarse noise of the generated face.
        theirs: The same of the target, its blur without that of motion.
        shutter: Motion blur relative to the way from frame to frame, 0 to 1.
        blocks: (2, 9) from :func:`blending.compression.profile`.
        strength: Of the quantisation that makes the face as blocky.
    """

    ours: detail.Detail
    theirs: detail.Detail
    shutter: float = np.nan
    blocks: Array
    strength: float = np.nan

    def vector(self) -> Array:
        """All numbers in a row."""
        sides = [(side.blur, side.noise, side.coarse) for side in (self.ours, self.theirs)]
        return np.array([*sides[0], *sides[1], self.shutter, self.strength, *self.blocks.ravel()])

    @staticmethod
    def shutter_of(vector: Array) -> float:
        """The shutter's share, NaN where it was not seen yet."""
        return float(vector[6])

    @staticmethod
    def of(vector: Array) -> Look:
        """The inverse of :meth:`vector`; what was never seen is 0."""
        values = np.nan_to_num(vector)
        ours, theirs = (
            detail.Detail(blur=float(side[0]), noise=float(side[1]), coarse=float(side[2]))
            for side in (values[:3], values[3:6])
        )
        blocks = values[8:].reshape(2, -1)
        return Look(ours=ours, theirs=theirs, shutter=float(values[6]), strength=float(values[7]), blocks=blocks)


@dataclass(frozen=True, kw_only=True)
class Traces:
    """What is still to be added when the face is at the frame's resolution.

    Attributes:
        noise: Standard deviation of the noise, in image units.
        size: Its grain's size in pixels; see :func:`blending.grain.level_and_size`.
        hold: Share of it that moves with the face.
        grid: The codec's blocks; None for none.
    """

    noise: float = 0.0
    size: float = 0.0
    hold: float = 0.0
    grid: compression.Grid | None = None


@dataclass(frozen=True, kw_only=True)
class View:
    """The target as the frame shows it.

    Attributes:
        area: (H, W, 3) uint8 or float32: the frame in the box.
        corner: x, y of its first pixel in the frame.
        center: (2,) of the face, in frame pixels.
        rounding: Step to which the frame will be rounded, in image units.
    """

    area: Array
    corner: tuple[int, int]
    center: Array
    rounding: float


def match(
    source: Array, target: Array, core: Array, view: View, settings: DetailSettings, state: BlendState | None
) -> tuple[Array, Traces]:
    """Make the face as sharp as the target, and say which noise and blocks it still lacks.

    Args:
        source: (h, w, 3) float32 RGB in [0, 1]: the face, its colours matched.
        target: (h, w, 3) float32 RGB in [0, 1]: the frame in the same place, at the same resolution.
        core: (h, w) float32: where both are the face.
        view: The target at the frame's resolution.
        settings: What to do.
        state: The track's filters.
    """
    zoom = source.shape[0] / view.area.shape[0]
    step = None if state is None else _step(core, view, zoom, state)
    blurry, noisy, blocky = settings.sharpness + settings.motion > 0, settings.noise > 0, settings.compression > 0
    if not (blurry or noisy or blocky):
        return detail.unsharp(source, settings.unsharp), Traces()
    known = None if state is None else state.look
    hold = 0.0
    if noisy and settings.hold > 0 and state is not None:
        hold = _hold(view, core, step, known is None, state)
    line = (0.0, 0.0)
    if known is None:
        way = None if step is None else step * zoom
        rare = state is None or state.looks % _RARELY == 0
        shutter = np.nan if state is None or state.known is None else Look.shutter_of(state.known)
        measured, line = _measure(source, target, core, view, way, shutter, rare, settings)
        known = measured.vector() if state is None else state.watch(measured.vector())
    look = Look.of(known)
    if step is not None:
        line = (look.shutter * float(np.linalg.norm(step)) * zoom, float(np.arctan2(step[1], step[0])))
    source = detail.match_sharpness(source, look.ours, look.theirs, strength=settings.sharpness)
    source = motion.blur(source, settings.motion * line[0], line[1])
    return detail.unsharp(source, settings.unsharp), _traces(look, hold, view.rounding, settings)


def _step(core: Array, view: View, zoom: float, state: BlendState) -> Array | None:
    """The face's way since the frame before in frame pixels, none where it jumped."""
    step = state.step(view.center)
    if step is None:
        return None
    size = float(np.sqrt(cv2.countNonZero((core > 0.5).view(np.uint8)))) / zoom
    return step if np.linalg.norm(step) < _JUMP * size else np.zeros(2)


def _grey(view: View) -> Array:
    """The frame's grey in the box, (H, W) float32 in [0, 1], not rounded."""
    image = view.area.astype(np.float32)
    return cv2.cvtColor(image * np.float32(1 / 255) if view.area.dtype == np.uint8 else image, cv2.COLOR_RGB2GRAY)


def _inside(core: Array, shape: tuple[int, ...]) -> Array:
    """Where both are the face, at the frame's resolution, a pixel away from its edge: (H, W) uint8."""
    inside: Array = (core > 0.5).view(np.uint8)
    if inside.shape != shape[:2]:
        inside = cv2.resize(inside, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST)
    return cv2.erode(inside, np.ones((3, 3), np.uint8))


def _measure(
    source: Array,
    target: Array,
    core: Array,
    view: View,
    way: Array | None,
    shutter: float,
    rare: bool,
    settings: DetailSettings,
) -> tuple[Look, tuple[float, float]]:
    """Everything that is worth filtering, and the motion blur's length and direction in this very frame.

    How coarse a quantisation is takes several trials, which are made only when ``rare`` says so, as is the comparison
    of motion blur once the ``shutter`` is known (NaN: not yet), which hardly changes in a clip.
    """
    ours, theirs = detail.measure(source, core), detail.measure(target, core)
    seen, strength, blocks, line = np.nan, np.nan, np.zeros((2, compression.BLOCK + 1)), (0.0, 0.0)
    speed = None if way is None else float(np.linalg.norm(way))
    if settings.motion > 0 and (speed is None or speed >= _MOVING):
        if speed is None or rare or np.isnan(shutter):
            inside = _inside(core, core.shape)
            sides = [motion.widths(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), inside) for image in (source, target)]
            line = motion.path(sides[0], sides[1], None if way is None else float(np.arctan2(way[1], way[0])))
            if speed is not None:
                seen = shutter = min(line[0] / speed, 1.0)
        if speed is not None:
            line = (shutter * speed, line[1])
        # The blur that is left, on average over all directions; motion never asks for sharpening
        left = np.sqrt(max(theirs.blur**2 - line[0] ** 2 / 24, 0.0))
        theirs = replace(theirs, blur=max(float(left), min(ours.blur, theirs.blur)))
    enlarged = view.area.shape[:2] != core.shape
    if settings.compression > 0 or (enlarged and settings.noise > 0):
        grey = _grey(view) if enlarged else cv2.cvtColor(target, cv2.COLOR_RGB2GRAY)
        inside = _inside(core, grey.shape)
        if enlarged:
            # What is enlarged is smooth from pixel to pixel: whatever noise the generator draws is gone
            ours = replace(ours, noise=0.0, coarse=0.0)
            fine, coarse = (grain.noise_sigma(grey, inside, spacing) for spacing in (grain.FINE, grain.COARSE))
            theirs = replace(theirs, noise=fine, coarse=coarse)
        if settings.compression > 0:
            blocks = compression.profile(grey, inside, view.corner)
            if rare and compression.excess(blocks) >= compression.VISIBLE:
                own = cv2.resize(cv2.cvtColor(source, cv2.COLOR_RGB2GRAY), grey.shape[::-1])
                found = compression.matching(own, inside, blocks, view.corner)
                strength = np.nan if found is None else found.strength
    return Look(ours=ours, theirs=theirs, shutter=seen, strength=strength, blocks=blocks), line


def _hold(view: View, core: Array, step: Array | None, due: bool, state: BlendState) -> float:
    """Share of the target's noise that moves with the face, from pairs of frames now and then."""
    before, state.noise_before = state.noise_before, None
    rare = due and state.looks % _RARELY == 0
    if not rare and before is None:
        return state.hold
    found = grain.residue(_grey(view))
    if before is not None and step is not None:
        old, corner = before
        inside = _inside(core, found.shape)
        shares = []
        for way in (step, np.zeros(2)):  # with the face, or still in the frame, as what a codec carries over
            x, y = corner[0] + way[0] - view.corner[0], corner[1] + way[1] - view.corner[1]
            shift = np.array([[1, 0, x], [0, 1, y]], np.float64)
            moved = cv2.warpAffine(old, shift, found.shape[::-1], flags=cv2.INTER_CUBIC)
            shares.append(grain.persistence(moved, found, inside))
        state.watch_hold(max(shares))
    if rare:
        state.noise_before = (found, view.corner)
    return state.hold


def _traces(look: Look, hold: float, rounding: float, settings: DetailSettings) -> Traces:
    ours, theirs = ((side.noise, side.coarse) for side in (look.ours, look.theirs))
    sigma, size = grain.missing(ours, theirs, rounding=rounding)
    grid = None
    strength = settings.compression * look.strength
    if strength > 0.05 and compression.excess(look.blocks) >= compression.VISIBLE:
        (x, y), _ = compression.step_height(look.blocks)
        grid = compression.Grid(x=x, y=y, strength=strength)
    return Traces(
        noise=settings.noise * sigma, size=settings.grain * size, hold=settings.hold * hold, grid=grid
    )
