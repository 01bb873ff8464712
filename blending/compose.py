"""One call from a generated face to a finished frame.

The stages, in order, each of which can be switched off alone: bring the face into the frame's position, match its
colour, match its sharpness and motion blur, build the mask, correct what is left of the boundary's difference
(Poisson), add the sensor's noise and the codec's blocks, composite. Everything happens in the box around the face, and
all but the last three at a resolution bounded by the generated face's, so the cost hardly depends on the frame's size;
pixels where alpha is 0 are never written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blending import camera, color, compression, hair, poisson, region
from blending import glasses as spectacles
from blending.grain import Grain
from blending.settings import BEST, BlendSettings
from blending.state import BlendState

Array = NDArray[Any]

_BAND = 0.6  # the boundary's difference is taken from where alpha is below this
_COLOR_GRID = 40  # colours are measured on about this many pixels across


@dataclass(frozen=True)
class ComposeResult:
    """A finished frame.

    Attributes:
        image: The frame with the face in it; type and shape of the frame given.
        alpha: (h, w) float32 in [0, 1]: weight of the new face, in ``box`` only.
        box: (left, top, right, bottom) in frame pixels, right and bottom exclusive. Outside it alpha is 0.
    """

    image: Array
    alpha: Array
    box: tuple[int, int, int, int]

    def full_alpha(self) -> Array:
        """Alpha at the frame's size, (H, W) float32."""
        full = np.zeros(self.image.shape[:2], np.float32)
        left, top, right, bottom = self.box
        full[top:bottom, left:right] = self.alpha
        return full


@dataclass(frozen=True)
class Prepared:
    """A face ready to be put into its frame: what :func:`prepare` gives and :func:`finish` takes."""

    source: Array
    """(h, w, 3) float32, at a resolution that may be below the frame's."""
    alpha: Array
    """(h, w) float32."""
    noise: Array | None
    """(H, W) float32 to be added, at the frame's resolution."""
    box: tuple[int, int, int, int]
    """The part of the frame that it fills."""
    grid: compression.Grid | None = None
    """The codec's blocks that it gets."""


def compose(
    frame: Array,
    face: Array,
    face_mask: Array | None,
    matrix: Array,
    *,
    polygon: Array | None = None,
    cover: Sequence[Array] = (),
    visible: Array | None = None,
    shape: hair.FaceShape | None = None,
    glasses: bool = False,
    settings: BlendSettings = BEST,
    state: BlendState | None = None,
    enhance: Callable[[Array], Array] | None = None,
    out: Array | None = None,
) -> ComposeResult:
    """Put a generated face into a frame.

    Args:
        frame: (H, W, 3) RGB, uint8, or float32 in [0, 1].
        face: (S, S, 3) float32 RGB in [0, 1]: the generated crop, all of its square.
        face_mask: (S, S) float32 in [0, 1]: the mask learned with it, in crop pixels; None for the whole square.
        matrix: (2, 3) similarity from frame pixels to crop pixels (pixel centres at whole numbers).
        polygon: (K, 2) face points in frame pixels whose hull is the target's face, brows included; further columns
            are ignored. Without it (or with a ``settings.mask.shape`` of learned or square) the hull plays no part.
        cover: Parts of the target's face that must not show through, each (K, 2) points in frame pixels whose hull
            counts: the brows, above all. The mask is full there up to close to the region's edge, and hair that hangs
            into the face is looked for above the highest of them.
        visible: (S, S) float32 in [0, 1], in crop pixels: 0 where something is in front of the target's face, from
            :func:`blending.occlusion.visibility` or a face parser; None for nothing.
        shape: Where the generated face itself lies in the crop, and whether it wears glasses; None where that is not
            known.
        glasses: Whether the target wears glasses, which must not stay beside a face that wears none.
        settings: What to do; see :mod:`blending.settings` for the presets.
        state: Carries the filters along one track; pass the same object for each of its frames and call its ``reset``
            at cuts. Without it each frame stands alone.
        enhance: An upscaler of your own: makes of ``face`` (k S, k S, 3) float32 RGB in [0, 1] for some k > 0, the same
            picture with more pixels (borders coincide). Mask and matrix stay those of ``face``.
        out: Where to write; may be ``frame`` itself. By default a copy of the frame.

    Returns:
        The frame, and where it was changed. Where alpha is 0 it is bit-identical.

    Raises:
        ValueError: For arrays of other shapes or types.
    """
    prepared = prepare(
        frame, face, face_mask, matrix,
        polygon=polygon, cover=cover, visible=visible, shape=shape, glasses=glasses, settings=settings,
        state=state, enhance=enhance,
    )  # fmt: skip
    return finish(frame, prepared, out)


def prepare(
    frame: Array,
    face: Array,
    face_mask: Array | None,
    matrix: Array,
    *,
    polygon: Array | None = None,
    cover: Sequence[Array] = (),
    visible: Array | None = None,
    shape: hair.FaceShape | None = None,
    glasses: bool = False,
    settings: BlendSettings = BEST,
    state: BlendState | None = None,
    enhance: Callable[[Array], Array] | None = None,
) -> Prepared:
    """First half of :func:`compose`: all that the track's ``state`` has a part in, to be called in the frames' order.

    The second half, :func:`finish`, may meanwhile work on the frame before, in another thread.
    """
    _check(frame, face, face_mask, matrix, polygon)
    if visible is not None and (visible.shape != face.shape[:2] or visible.dtype != np.float32):
        raise ValueError(f"what is visible must be {face.shape[:2]} float32, not {visible.shape} {visible.dtype}")
    grain = state.grain if state is not None else Grain(np.random.default_rng(0))
    matrix = np.asarray(matrix, np.float64)
    fine = face if enhance is None else _enhanced(enhance, face)
    middle = (face.shape[0] - 1) / 2
    center = np.linalg.solve(matrix[:, :2], middle - matrix[:, 2])
    points = region.hull_points(polygon, matrix, settings)
    outline = None if polygon is None else region.outline_of(polygon, matrix, settings)
    bare = glasses and settings.mask.glasses > 0 and outline is not None and not (shape is not None and shape.glasses)
    box = region.box_of(
        frame.shape[:2], face.shape[0], matrix, points, settings, beyond=spectacles.REACH if bare else 0
    )
    left, top, right, bottom = box
    if right - left < 3 or bottom - top < 3:
        return Prepared(np.zeros((0, 0, 3), np.float32), np.zeros((0, 0), np.float32), None, (0, 0, 0, 0))
    area = frame[top:bottom, left:right]
    if face_mask is not None and state is not None:
        face_mask = state.mask(face_mask)
    if state is not None:
        visible = state.visible(visible)
    rounding = 1 / 255 if frame.dtype == np.uint8 else 0.0
    height, width = area.shape[:2]
    factor = region.reduction(matrix * (fine.shape[0] / face.shape[0]), settings)
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    if size == (width, height):
        target, corner = _as_float(area), box[:2]
    else:
        # Frame pixels to those of the small box: pixel centres lie at whole numbers in both
        zoom = np.array([size[0] / width, size[1] / height])
        shift = (0.5 - np.array(box[:2])) * zoom - 0.5
        linear = matrix[:, :2] / zoom
        matrix = np.concatenate([linear, (matrix[:, 2] - linear @ shift)[:, None]], axis=1)
        points, outline = (None if part is None else part * zoom + shift for part in (points, outline))
        cover = [np.asarray(part, np.float64)[:, :2] * zoom + shift for part in cover]
        target, corner = _as_float(region.reduced(area, size)), (0, 0)
    removed = None
    if bare and outline is not None:
        removed = spectacles.without(
            target, matrix, face.shape[0], outline, cover, corner, settings.mask.glasses, state
        )
        target = target if removed is None else removed.target
    if settings.mask.hair > 0 and outline is not None:
        fine, visible = hair.parted(
            target, fine, visible, region.shifted(matrix, (*corner, 0, 0)), face.shape[0], outline, cover, corner,
            settings.mask.hair, state, shape,
        )  # fmt: skip
    view = camera.View(area=area, corner=box[:2], center=center, rounding=rounding)
    source, alpha, traces = _prepare(
        target, view, fine, face.shape[0], face_mask, visible, matrix, points, cover, corner, settings, state
    )
    if removed is not None:
        source, alpha = removed.under(source, alpha)
    noise = None
    if traces.noise > 0:
        x, y = (round(edge - at) for edge, at in zip(box[:2], center, strict=True))
        noise = grain((height, width), size=traces.size, hold=traces.hold, origin=(x, y)) * np.float32(traces.noise)
    return Prepared(source, alpha, noise, box, traces.grid)


def finish(frame: Array, prepared: Prepared, out: Array | None = None) -> ComposeResult:
    """Second half of :func:`compose`: enlarge where needed, add the noise, composite.

    Args:
        frame: The very frame that was prepared for.
        prepared: From :func:`prepare`.
        out: Where to write; may be ``frame`` itself. By default a copy of the frame.
    """
    if out is None:
        out = frame.copy()
    elif out is not frame:
        np.copyto(out, frame)
    left, top, right, bottom = prepared.box
    source, alpha = prepared.source, prepared.alpha
    size = (right - left, bottom - top)
    if alpha.shape[::-1] != size:
        source = cv2.resize(source, size, interpolation=cv2.INTER_CUBIC)
        alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR)
    domain = poisson.as_domain(alpha)
    if domain.size and cv2.countNonZero(domain):
        area = frame[top:bottom, left:right]
        noise, weight = prepared.noise, alpha
        if prepared.grid is not None:
            # The codec comes last, over face and frame alike; noise was measured after it
            source = _quantized(source, area, alpha, prepared.grid, (left, top))
            noise = None if noise is None else noise * alpha
            weight = (domain > 0).astype(np.float32)
        if noise is not None:
            source = cv2.add(source, cv2.merge([noise] * 3))
        _write(out[top:bottom, left:right], area, source, weight, domain)
    return ComposeResult(out, alpha, prepared.box)


def _quantized(source: Array, area: Array, alpha: Array, grid: compression.Grid, corner: tuple[int, int]) -> Array:
    """Face and frame blended, as a codec would leave them: (H, W, 3) float32."""
    blended = cv2.blendLinear(source, _as_float(area), alpha, 1 - alpha)
    grey = cv2.cvtColor(blended, cv2.COLOR_RGB2GRAY)
    return cv2.add(blended, cv2.merge([compression.quantize(grey, grid, corner) - grey] * 3))


def _as_float(image: Array) -> Array:
    """Any frame as float32 in [0, 1], a copy."""
    return image.astype(np.float32) if image.dtype == np.float32 else image * np.float32(1 / 255)


def _prepare(
    target: Array,
    view: camera.View,
    face: Array,
    size: int,
    face_mask: Array | None,
    visible: Array | None,
    matrix: Array,
    points: Array | None,
    cover: Sequence[Array],
    corner: tuple[int, int],
    settings: BlendSettings,
    state: BlendState | None,
) -> tuple[Array, Array, camera.Traces]:
    """Everything but noise, blocks and compositing: the corrected face, its weight, and what is still to be added.

    Args:
        target: (h, w, 3) float32: the frame in the box.
        view: The same at the frame's resolution and in its type, of which noise and blocks are measured.
        face: (k S, k S, 3) float32, enhanced.
        size: S: the crop's pixels along a side, in which ``matrix`` counts.
        face_mask: See :func:`compose`.
        visible: See :func:`compose`.
        matrix: Target pixels, counted as ``corner`` says, to crop pixels.
        points: Outline of the target's face.
        cover: See :func:`compose`.
        corner: x, y of the target's first pixel in the coordinates of ``matrix``, ``points`` and ``cover``.
        settings: What to do.
        state: The track's filters.
    """
    box = (*corner, corner[0] + target.shape[1], corner[1] + target.shape[0])
    inside = region.mask_region(face_mask, size, matrix, points, box, settings)
    reach = float(np.sqrt(cv2.countNonZero((inside > 0.5).view(np.uint8))))
    alpha = region.alpha_of(inside, cover, target, reach, box, settings)
    domain = poisson.as_domain(alpha)
    if not domain.any():
        return target, alpha, camera.Traces()
    enlarged = face.shape[0] / size  # pixel centres lie at whole numbers
    fine = matrix * enlarged
    fine[:, 2] += (enlarged - 1) / 2
    source = region.warped(face, fine, box)
    whole, seen = alpha, None
    if visible is not None and visible.min() < 1:
        seen = region.seen_region(visible, matrix, target, reach, box)
        alpha = cv2.multiply(alpha, seen)
    core = cv2.min(inside, alpha)
    source = _match_color(source, target, core, settings, state)
    source, traces = camera.match(source, target, core, view, settings.detail, state)
    if settings.poisson.gradients != "off":
        source = _correct(source, target, whole, domain, seen, reach, settings)
    return source, alpha, traces


def _enhanced(enhance: Callable[[Array], Array], face: Array) -> Array:
    """The face enlarged by the caller's function, checked."""
    fine = np.asarray(enhance(face))
    if fine.ndim != 3 or fine.shape[0] != fine.shape[1] or fine.shape[2] != 3 or fine.dtype != np.float32:
        raise ValueError(f"enhance must return (k S, k S, 3) float32, not {fine.shape} {fine.dtype}")
    return fine


def _check(frame: Array, face: Array, face_mask: Array | None, matrix: Array, polygon: Array | None) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype not in (np.uint8, np.float32):
        raise ValueError(f"the frame must be (H, W, 3), uint8 or float32, not {frame.shape} {frame.dtype}")
    if face.ndim != 3 or face.shape[0] != face.shape[1] or face.shape[2] != 3 or face.dtype != np.float32:
        raise ValueError(f"the face must be (S, S, 3) float32, not {face.shape} {face.dtype}")
    if face_mask is not None and (face_mask.shape != face.shape[:2] or face_mask.dtype != np.float32):
        raise ValueError(f"the mask must be {face.shape[:2]} float32, not {face_mask.shape} {face_mask.dtype}")
    if np.shape(matrix) != (2, 3) or not np.isfinite(matrix).all() or region.scale_of(np.asarray(matrix)) < 1e-6:
        raise ValueError("the matrix must be a finite, invertible (2, 3) similarity")
    if polygon is not None and (np.ndim(polygon) != 2 or len(polygon) < 3 or not np.isfinite(polygon).all()):
        raise ValueError("the polygon must be at least three finite points, (K, 2)")


def _match_color(
    source: Array, target: Array, core: Array, settings: BlendSettings, state: BlendState | None
) -> Array:
    chosen = settings.color
    if chosen.method == "off" or chosen.strength == 0:
        return source
    height, width = core.shape
    factor = max(1, round(max(height, width) / _COLOR_GRID))
    small = (max(1, width // factor), max(1, height // factor))
    weights = cv2.resize(core, small, interpolation=cv2.INTER_AREA)
    space = color.space_of(chosen.method)
    measured = [
        color.measure(
            cv2.resize(image, small, interpolation=cv2.INTER_AREA),
            weights,
            space=space,
            trim=chosen.trim,
            sample=chosen.method in color.SHAPE_METHODS,
        )
        for image in (source, target)
    ]
    if state is not None:
        measured = [state.source_color(measured[0]), state.target_color(measured[1])]
    return color.transfer(
        source,
        measured[0],
        measured[1],
        remember=None if state is None else state.color_curves,
        method=chosen.method,
        strength=chosen.strength,
        max_gain=chosen.max_gain,
        floor=chosen.floor,
        anchor=chosen.anchor,
    )


def _correct(
    source: Array,
    target: Array,
    alpha: Array,
    domain: Array,
    seen: Array | None,
    size: float,
    settings: BlendSettings,
) -> Array:
    chosen = settings.poisson
    grid = 1
    if chosen.cells > 0 and chosen.gradients == "import":
        grid = max(1, int(size / chosen.cells))
    if chosen.gradients not in ("import", "mixed"):
        raise ValueError(f"unknown gradients {chosen.gradients!r}")
    change = poisson.correction(
        target,
        source,
        domain,
        gradients=chosen.gradients,
        grid=grid,
        smoothing=chosen.smoothing * size,
        limit=chosen.limit,
        trust=seen,
        center=None if settings.color.method == "off" else np.zeros(3, np.float32),
        band=None if chosen.smoothing == 0 else cv2.bitwise_and(domain, poisson.as_domain(_BAND - alpha)),
        screening=0.0 if chosen.fade is None else 1.0 / max(chosen.fade * size, 1.0) ** 2,
    )
    return cv2.scaleAdd(change, chosen.strength, source)


def _write(out: Array, area: Array, source: Array, alpha: Array, domain: Array) -> None:
    """Composite into ``out``, where alpha is above 0 only."""
    # OpenCV blends float32 several times as fast as uint8
    blended = cv2.blendLinear(np.clip(source, 0.0, 1.0), _as_float(area), alpha, 1 - alpha)
    cv2.copyTo(cv2.convertScaleAbs(blended, alpha=255.0) if out.dtype == np.uint8 else blended, domain, out)
