"""What ``ingredients.py`` compares: one row an ingredient, the most promising first.

A row changes settings of the preset (``changes``, written as ``--set`` of ``swap_quality.py`` takes them) or adds what
the product has not (``extras``). Numbers are those of ``fast``: "doubled" is twice what ``fast`` has.
"""

from __future__ import annotations

from dataclasses import dataclass, field

BASE = ("precision=float32",)
"""Settings that every row has, the base row too, beside the preset's: precision is not to be what was faster today."""

LATE = 2 / 3
"""Share of the budget from which a discriminator takes part; it learns from a little earlier on."""
EARLY = 1 / 3
"""Share of the budget up to which a progressive row draws at half the size."""


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What is not in the product: weights of losses, kinds of layers. As they stand here they change nothing."""

    mse: float = 0
    """Squared error, averaged like the absolute one."""
    dssim_quarter: float = 0
    """DSSIM at a quarter of the size."""
    focal_frequency: float = 0
    perceptual: float = 0
    adversarial: float = 0
    """What fooling a patch discriminator counts, in the last third of the budget."""
    adversary: str = "hinge"
    """``hinge`` or ``lsgan``."""
    coarse: str = "never"
    """In the first third of the budget: ``loss`` compares pictures at half the size; ``drawing`` draws them so too."""
    convolutions: str = "dense"
    """Of the decoders' stages: ``dense``, ``separable`` or ``grouped``."""

    def __post_init__(self) -> None:
        if self.coarse not in ("never", "loss", "drawing"):
            raise ValueError(f"There is no such progress as {self.coarse!r}.")
        if self.convolutions not in ("dense", "separable", "grouped"):
            raise ValueError(f"There are no such convolutions as {self.convolutions!r}.")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One ingredient."""

    name: str
    changes: tuple[str, ...] = ()
    extras: Extras = field(default_factory=Extras)


def _set(name: str, *changes: str) -> Row:
    return Row(name=name, changes=changes)


def _with(name: str, *changes: str, **extras: float | str | int) -> Row:
    return Row(name=name, changes=changes, extras=Extras(**extras))  # type: ignore[arg-type]


LOSSES = (
    _with("focal frequency 10", focal_frequency=10),
    _with("focal frequency 100", focal_frequency=100),
    _set("dssim at one scale", "loss.dssim_coarse=0"),
    _with("dssim at three scales", dssim_quarter=0.5),
    _set("no l1", "loss.l1=0"),
    _with("mse for l1", "loss.l1=0", mse=20),
    _set("details 0", "loss.details=0"),
    _set("details 5", "loss.details=5"),
    _set("background 0", "loss.background=0"),
    _set("background 1", "loss.background=1"),
    _with("perceptual", perceptual=0.2),
)
ADVERSARIES = (
    _with("discriminator, hinge 0.02", adversarial=0.02),
    _with("discriminator, lsgan 0.02", adversarial=0.02, adversary="lsgan"),
    _with("discriminator, hinge 0.1", adversarial=0.1),
)
SHARING = (_set("no stage shared", "shared=0"), _set("two stages shared", "shared=2"))
AUGMENTATION = (
    _set("light and tint off", "augment.light=0", "augment.tint=0"),
    _set("light and tint doubled", "augment.light=0.2", "augment.tint=0.08"),
    _set("flip 0.5", "augment.flip=0.5"),
    _set("pose matching off", "pose_matching=1"),
    _set("pose matching 10", "pose_matching=10"),
    _set("warp 0.03 for half the time", "augment.warp=0.03", "warp_until=0.5"),
)
TRAINING = (
    _set("constant rate", "final_rate=1"),
    _set("rate halved", "learning_rate=0.0006"),
    _set("rate doubled", "learning_rate=0.0024"),
    _set("no warm-up", "warmup=0"),
    _set("beta2 0.999", "beta2=0.999"),
    _set("ema 0.99", "ema=0.99"),
    _set("ema 0.999", "ema=0.999"),
)
LAYERS = (
    _with("separable convolutions", convolutions="separable"),
    _with("grouped convolutions", convolutions="grouped"),
    _with("progressive: drawn at half size", coarse="drawing"),
    _with("progressive: compared at half size", coarse="loss"),
    _set("bottleneck 192", "model.bottleneck=192"),
    _set("bottleneck 768", "model.bottleneck=768"),
    _set("expression width 1", "model.expression_width=1"),
    _set("no residual blocks", "model.residual=[0,0,0]"),
    _set("residual blocks 1, 1, 1", "model.residual=[1,1,1]"),
    _set("views 2", "model.views=2"),
    _set("views 8", "model.views=8"),
)

ROWS = (Row(name="base"), *LOSSES, *ADVERSARIES, *SHARING, *AUGMENTATION, *TRAINING, *LAYERS)
"""In the order in which they are trained."""
