"""What the blending does: one frozen object, and the presets of the quality ladder."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from blending.color import METHODS, ColorMethod

MaskShape = Literal["square", "learned", "hull", "product", "minimum", "union"]


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} must be between {low} and {high}, not {value}")


def _one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class ColorSettings:
    """Colour matching.

    Attributes:
        method: ``off`` or one of :data:`blending.color.METHODS`.
        strength: 0 to 1.
        trim: Colours further than this many standard deviations from the face's lose their vote; None for all equal.
        max_gain: Contrast changes by at most this factor.
        floor: Standard deviation, in [0, 1], below which a spread of colours counts as none; skin's tints lie below
            it, so that lips do not turn redder because a cheek is spotted.
        anchor: Share of imagined black pixels that keep black black; see :func:`blending.color.affine`.
    """

    method: ColorMethod | Literal["off"] = "mkl"
    strength: float = 1.0
    trim: float | None = None
    max_gain: float = 1.5
    floor: float = 0.05
    anchor: float = 0.06

    def __post_init__(self) -> None:
        _one_of("color.method", self.method, ("off", *METHODS))
        _within("color.strength", self.strength, 0, 1)
        _within("color.max_gain", self.max_gain, 1, 100)
        _within("color.floor", self.floor, 0.0001, 1)
        _within("color.anchor", self.anchor, 0, 1)
        if self.trim is not None:
            _within("color.trim", self.trim, 0.1, 100)


@dataclass(frozen=True, kw_only=True)
class MaskSettings:
    """The area of the swap; lengths in face sizes (square root of the mask's area).

    Attributes:
        shape: ``square`` (the whole crop), ``learned`` (the model's mask), ``hull`` (the target's landmarks), or the
            two combined: ``product``, ``minimum``, ``union``.
        reach: How far the face may go beyond the hull, where the two are combined; a jaw wider than the target's would
            be cut off at 0.
        inset: How far the learned mask is drawn in, so that what lies behind the generated face's own outline (its
            hair, its background) does not come along as a dark rim.
        forehead: How far the hull's top moves up, as a share of its height; 0 for landmarks that reach the hairline.
        erosion: Band at the edge that is left out.
        feather: Band in which the face fades in.
        cover: Margin around the parts that must be covered (the target's brows, so that nobody has four).
        refine: Reach of the guided filter that pulls the edge to the picture's edges; 0 for none.
        hair: How far the face withdraws from hair that hangs into the outline (:mod:`blending.hair`), 0 to 1.
        glasses: How far the target's glasses beside a face that wears none are painted over (:mod:`blending.glasses`),
            0 to 1.
        sides: How far the region is drawn in from top, right, bottom and left, as the crop sees them.
    """

    shape: MaskShape = "minimum"
    reach: float = 0.05
    inset: float = 0.02
    forehead: float = 0.0
    erosion: float = 0.0
    feather: float = 0.07
    cover: float = 0.02
    refine: float = 0.05
    hair: float = 1.0
    glasses: float = 1.0
    sides: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        _one_of("mask.shape", self.shape, get_args(MaskShape))
        _within("mask.reach", self.reach, 0, 0.5)
        _within("mask.inset", self.inset, 0, 0.2)
        _within("mask.forehead", self.forehead, -0.5, 1)
        _within("mask.erosion", self.erosion, 0, 0.4)
        _within("mask.feather", self.feather, 0, 0.5)
        _within("mask.cover", self.cover, 0, 0.5)
        _within("mask.refine", self.refine, 0, 0.5)
        _within("mask.hair", self.hair, 0, 1)
        _within("mask.glasses", self.glasses, 0, 1)
        object.__setattr__(self, "sides", tuple(self.sides))
        if len(self.sides) != 4:
            raise ValueError(f"mask.sides must be four numbers, not {self.sides}")
        for side in self.sides:
            _within("mask.sides", side, 0, 0.4)


@dataclass(frozen=True, kw_only=True)
class OcclusionSettings:
    """What counts as covering the face; see :mod:`blending.occlusion`. Distances are of colors in [0, 1], Euclidean.

    Attributes:
        strength: How far the new face withdraws from what covers it, 0 (off) to 1.
        low: Disagreement that counts next to a stronger one.
        high: Disagreement that counts by itself.
        reach: How far aside the expected picture may lie anywhere, as a share of the crop's side. (What a trained
            model knows of its usual errors was measured with the default of this and of ``bend``.)
        bend: How far it is bent to meet the frame, as a share of the crop's side; 0 for not at all.
        area: Share of the face that must disagree strongly in one piece.
        gap: Gaps up to twice as wide are filled, as a share of the crop's side.
        enclosed: What is enclosed is filled up to this share of the face; the lenses of glasses are larger.
        grow: How far what covers the face is widened, as a share of the crop's side.
        most: If more than this share of the face disagrees, it is somebody else's, or drawn wrong altogether, and
            nothing is taken to cover it.
    """

    strength: float = 1.0
    low: float = 0.06
    high: float = 0.14
    reach: float = 0.016
    bend: float = 0.04
    area: float = 0.002
    gap: float = 0.04
    enclosed: float = 0.03
    grow: float = 0.0
    most: float = 0.6

    def __post_init__(self) -> None:
        _within("occlusion.strength", self.strength, 0, 1)
        _within("occlusion.high", self.high, 0.001, 2)
        _within("occlusion.low", self.low, 0.001, self.high)
        for name in ("reach", "bend", "gap", "grow"):
            _within(f"occlusion.{name}", getattr(self, name), 0, 0.2)
        _within("occlusion.area", self.area, 0, 1)
        _within("occlusion.enclosed", self.enclosed, 0, 1)
        _within("occlusion.most", self.most, 0, 1)


@dataclass(frozen=True, kw_only=True)
class PoissonSettings:
    """Gradient-domain correction; lengths in face sizes.

    Attributes:
        gradients: ``off``, ``import`` or ``mixed``.
        strength: Share of the correction that is applied, 0 to 1.
        cells: Solve on a grid with about this many cells across the face; 0 for every pixel.
        smoothing: Smoothing of the boundary's difference along the boundary.
        limit: Largest deviation of the boundary's difference from its median, in [0, 1]; None for no limit.
        fade: Distance over which the correction fades towards the middle; None for not at all.
    """

    gradients: Literal["off", "import", "mixed"] = "import"
    strength: float = 1.0
    cells: int = 48
    smoothing: float = 0.04
    limit: float | None = 0.15
    fade: float | None = 0.25

    def __post_init__(self) -> None:
        _one_of("poisson.gradients", self.gradients, ("off", "import", "mixed"))
        _within("poisson.strength", self.strength, 0, 1)
        _within("poisson.cells", self.cells, 0, 4096)
        _within("poisson.smoothing", self.smoothing, 0, 0.5)
        if self.limit is not None:
            _within("poisson.limit", self.limit, 0.001, 1)
        if self.fade is not None:
            _within("poisson.fade", self.fade, 0.01, 100)


@dataclass(frozen=True, kw_only=True)
class DetailSettings:
    """The traces of the camera: sharpness, motion, noise, compression, and resolution. Each share is 0 (off) to 1.

    Attributes:
        sharpness: How far the face's edges are brought to the target's sharpness.
        motion: Share of the target's motion blur that the face is given.
        unsharp: Amount of an unsharp mask of one pixel on top; 0 for none.
        noise: Share of the missing sensor noise that is added.
        grain: How far that noise reaches from pixel to pixel, as a share of what was measured; 0 for white noise.
        hold: Share of the noise's measured standing still (in face and skin) that is reproduced; 0 for noise that is
            new in every frame.
        compression: Strength of the codec's blocks, where the target shows any, as a share of what was measured.
        oversampling: Where the frame shows the face with more than this many pixels for each of the generated face's
            own (along a side), everything but noise, blocks and compositing is done at this resolution and enlarged,
            which saves time and costs nothing, the face having no finer detail. 0: always at the frame's resolution,
            as are mixed gradients, which take the frame's own detail.
    """

    sharpness: float = 1.0
    motion: float = 1.0
    unsharp: float = 0.0
    noise: float = 1.0
    grain: float = 1.0
    hold: float = 1.0
    compression: float = 1.0
    oversampling: float = 2.0

    def __post_init__(self) -> None:
        for name in ("sharpness", "motion", "noise", "grain", "hold", "compression"):
            _within(f"detail.{name}", getattr(self, name), 0, 1)
        _within("detail.unsharp", self.unsharp, 0, 5)
        _within("detail.oversampling", self.oversampling, 0, 64)


@dataclass(frozen=True, kw_only=True)
class TemporalSettings:
    """Time constants in frames of what is filtered along a track; 0 switches a filter off.

    Attributes:
        color: Mean colours. Filtering them lets the generator's own flicker through, which is worse.
        contrast: Spreads of the colours, and what ``histogram``, ``idt`` and ``sliced`` find beyond them.
        mask: The learned mask, and what can be seen of the face, in crop pixels.
        hair: Where hair hangs into it, in crop pixels; glasses that are painted over fade three times as slowly.
        detail: What is estimated of the camera.
        cut: Jump of the mean colour, in [0, 1], that counts as a cut.
    """

    color: float = 0.0
    contrast: float = 8.0
    mask: float = 1.0
    hair: float = 3.0
    detail: float = 12.0
    cut: float = 0.12

    def __post_init__(self) -> None:
        for name in ("color", "contrast", "mask", "hair", "detail"):
            _within(f"temporal.{name}", getattr(self, name), 0, 10000)
        _within("temporal.cut", self.cut, 0, 2)


@dataclass(frozen=True, kw_only=True)
class BlendSettings:
    """Everything :func:`blending.compose` can be told. The defaults are the preset ``best``.

    Occlusion is off in it: a grimace that the model never saw leaves creases of the target's in the new face. Naming
    the section (``occlusion: {}`` in YAML) switches it on.
    """

    color: ColorSettings = field(default_factory=ColorSettings)
    mask: MaskSettings = field(default_factory=MaskSettings)
    occlusion: OcclusionSettings = field(default_factory=lambda: OcclusionSettings(strength=0))
    poisson: PoissonSettings = field(default_factory=PoissonSettings)
    detail: DetailSettings = field(default_factory=DetailSettings)
    temporal: TemporalSettings = field(default_factory=TemporalSettings)


_NO_COLOR = ColorSettings(method="off")
_NO_OCCLUSION = OcclusionSettings(strength=0)
_NO_POISSON = PoissonSettings(gradients="off")
_NO_DETAIL = DetailSettings(sharpness=0, motion=0, noise=0, grain=0, hold=0, compression=0, oversampling=0)
_NO_TIME = TemporalSettings(color=0, contrast=0, mask=0, hair=0, detail=0)

NONE = BlendSettings(
    color=_NO_COLOR,
    mask=MaskSettings(shape="learned", inset=0, erosion=0, feather=0, cover=0, refine=0, hair=0, glasses=0),
    occlusion=_NO_OCCLUSION,
    poisson=_NO_POISSON,
    detail=_NO_DETAIL,
    temporal=_NO_TIME,
)
"""Plain paste of the learned mask's area (of the crop square without one), with a hard edge."""

CLASSIC = BlendSettings(
    color=ColorSettings(method="mean", trim=None),
    mask=MaskSettings(
        shape="minimum", reach=0, inset=0, erosion=0.04, feather=0.02, cover=0, refine=0, hair=0, glasses=0
    ),
    occlusion=_NO_OCCLUSION,
    poisson=PoissonSettings(cells=0, smoothing=0, limit=None, fade=None),
    detail=_NO_DETAIL,
    temporal=_NO_TIME,
)
"""As Beckmann, Hilsmann and Eisert (IH&MMSec 2023): mean colour, minimum of both masks, shrunk, and Poisson editing."""

BEST = BlendSettings()

PRESETS: dict[str, BlendSettings] = {"none": NONE, "classic": CLASSIC, "best": BEST}


def preset(name: str) -> BlendSettings:
    """The preset of this name.

    Raises:
        ValueError: For an unknown name; the message lists the known ones.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown blending preset {name!r}; known: {', '.join(PRESETS)}")
    return PRESETS[name]


def settings_to_dict(settings: BlendSettings) -> dict[str, dict[str, Any]]:
    """Settings as nested dictionaries of plain values, for YAML or JSON."""
    values: dict[str, dict[str, Any]] = dataclasses.asdict(settings)
    return {
        section: {name: list(value) if isinstance(value, tuple) else value for name, value in part.items()}
        for section, part in values.items()
    }


def settings_from_dict(values: dict[str, Any]) -> BlendSettings:
    """Settings from nested dictionaries; what is missing keeps its default.

    Raises:
        ValueError: For an unknown name or a value out of range; the message says which.
    """
    parts = {
        "color": ColorSettings,
        "mask": MaskSettings,
        "occlusion": OcclusionSettings,
        "poisson": PoissonSettings,
        "detail": DetailSettings,
        "temporal": TemporalSettings,
    }
    built: dict[str, Any] = {}
    for name, section in values.items():
        if name not in parts:
            raise ValueError(f"unknown blending section {name!r}; known: {', '.join(parts)}")
        if not isinstance(section, dict):
            raise ValueError(f"blending section {name!r} must hold names and values, not {section!r}")
        known = {entry.name for entry in dataclasses.fields(parts[name])}
        if unknown := set(section) - known:
            raise ValueError(f"unknown setting {name}.{sorted(unknown)[0]}; known: {', '.join(sorted(known))}")
        try:
            built[name] = parts[name](**section)
        except TypeError as error:
            raise ValueError(f"blending section {name!r}: {error}") from error
    return BlendSettings(**built)
