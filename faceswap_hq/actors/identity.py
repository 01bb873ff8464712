"""Who an actor is: the shape of the head and everything that does not change while it speaks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from faceswap_hq.actors.geometry import generic_head
from faceswap_hq.actors.modes import MODE_NAMES, MODES, mode_basis

BEARDS = ("none", "stubble", "mustache", "goatee", "full")
HAIR_STYLES = ("crop", "side", "back", "bob", "long", "bun", "curls", "bald", "fringe")
Color = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """One person. Two equal identities look the same in every picture.

    Attributes:
        seed: Seeds what is random in detail (where freckles lie, how strands run).
        shape: Strength of each mode of :data:`MODES`, in the order of :data:`MODE_NAMES`; about -2.5 to 2.5.
        tone: Lightness of the skin, 0 (deep brown) to 1 (very fair).
        ruddiness: Blood in cheeks, nose and ears, 0 to 1.
        freckles: Density of freckles, 0 to 1.
        moles: Number of moles.
        age: 0 (about twenty) to 1 (about seventy): lines, folds, unevenness.
        makeup: Strength of lipstick, eye shadow and eyeliner, 0 to 1.
        lip_color: sRGB in [0, 1].
        eye_color: sRGB of the iris.
        hair_color: sRGB; brows and beard follow it.
        hair_style: One of :data:`HAIR_STYLES`.
        brow_thickness: 0.5 (thin) to 1.6.
        brow_arch: -1 (straight, low outside) to 1 (arched).
        beard: One of :data:`BEARDS`.
        glasses: 0 for none, otherwise the number of a frame's form (1 round, 2 square).
        pitch: Mean pitch of the voice in hertz.
        cloth_color: sRGB of the clothes.
        ears: Size of the ears (about 1) and the angle in degrees by which they stand off (about 25).
    """

    seed: int
    shape: tuple[float, ...]
    tone: float
    ruddiness: float
    freckles: float
    moles: int
    age: float
    makeup: float
    lip_color: Color
    eye_color: Color
    hair_color: Color
    hair_style: str
    brow_thickness: float
    brow_arch: float
    beard: str
    glasses: int
    pitch: float
    cloth_color: Color
    ears: tuple[float, float] = (1.0, 25.0)

    def __post_init__(self) -> None:
        if len(self.shape) != len(MODES):
            raise ValueError(f"shape needs {len(MODES)} numbers, not {len(self.shape)}")
        if self.hair_style not in HAIR_STYLES or self.beard not in BEARDS:
            raise ValueError(f"unknown hair style {self.hair_style!r} or beard {self.beard!r}")
        for name in ("tone", "ruddiness", "freckles", "age", "makeup"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0..1")


@lru_cache(maxsize=64)
def head_points(identity: Identity) -> np.ndarray:
    """Rest shape of a person's head, (V, 3) float64 in the axes of :mod:`geometry`, before subdivision."""
    return generic_head().points + np.tensordot(np.asarray(identity.shape), mode_basis(), 1)


# Mean shift of the modes from a man's to a woman's face, in strengths.
_FEMININE = {
    "jaw_width": -0.8,
    "jaw_corner": -0.9,
    "chin_width": -0.7,
    "chin_length": -0.5,
    "brow_ridge": -0.9,
    "brow_height": 0.8,
    "nose_width": -0.4,
    "nose_bridge": -0.3,
    "upper_lip": 0.7,
    "lower_lip": 0.6,
    "eye_open": 0.6,
    "cheekbones": 0.4,
    "length": -0.3,
    "nose_up": 0.3,
}
_HAIR = (
    (0.09, 0.07, 0.06),
    (0.17, 0.11, 0.08),
    (0.30, 0.19, 0.12),
    (0.46, 0.31, 0.18),
    (0.68, 0.53, 0.33),
    (0.50, 0.22, 0.10),
    (0.55, 0.54, 0.53),
)
_EYES_SRGB = (
    (0.22, 0.12, 0.06),
    (0.36, 0.21, 0.09),
    (0.42, 0.37, 0.18),
    (0.32, 0.43, 0.28),
    (0.35, 0.50, 0.62),
    (0.45, 0.52, 0.56),
)
_CLOTH = (
    (0.16, 0.20, 0.30),
    (0.42, 0.12, 0.14),
    (0.75, 0.74, 0.70),
    (0.14, 0.30, 0.24),
    (0.24, 0.24, 0.26),
    (0.55, 0.42, 0.26),
    (0.30, 0.42, 0.56),
    (0.58, 0.30, 0.36),
    (0.10, 0.10, 0.11),
)


def make_identity(seed: int, *, feminine: bool | None = None, tone: float | None = None) -> Identity:
    """Draw a person.

    Args:
        seed: Any integer; equal seeds give equal people.
        feminine: Which distribution of features to draw from; None lets the seed choose.
        tone: Lightness of the skin in 0..1; None lets the seed choose.
    """
    rng = np.random.default_rng([seed, 1])
    woman = bool(rng.random() < 0.5) if feminine is None else feminine
    drawn = float(rng.random())
    light = drawn if tone is None else float(np.clip(tone, 0, 1))
    strengths = rng.normal(0, 0.85, len(MODES)).clip(-1.9, 1.9)
    for k, name in enumerate(MODES):
        strengths[k] += _FEMININE.get(name, 0.0) * (1.0 if woman else -0.7)
    strengths[-3:] *= 0.8
    for name in ("eye_open", "eye_hood", "mouth_corners"):
        k = MODE_NAMES.index(name)
        strengths[k] = np.clip(strengths[k], -1.0, 1.6)
    age = float(rng.beta(1.3, 2.2))
    dark_hair = 1 if light < 0.4 else (3 if light < 0.6 else 6)
    shade = int(rng.integers(0, dark_hair)) if age < 0.75 or rng.random() < 0.3 else 6
    hair = np.array(_HAIR[shade]) * rng.uniform(0.8, 1.2)
    eye = _EYES_SRGB[int(rng.integers(0, 2 if light < 0.45 else 6))]
    if woman:
        styles: tuple[str, ...] = ("bob", "long", "bun", "long", "fringe", "curls", "bob", "side")
        beard, glasses_odds = "none", 0.2
    else:
        styles = ("crop", "side", "back", "crop", "side", "curls", "bald", "back")
        beard, glasses_odds = BEARDS[int(rng.choice(5, p=(0.34, 0.28, 0.08, 0.10, 0.20)))], 0.25
    style = styles[int(rng.integers(0, len(styles)))]
    makeup = float(rng.uniform(0.2, 1.0)) if woman else 0.0
    lip_tint = np.array((0.70, 0.40, 0.37)) * (0.55 + 0.5 * light) + rng.normal(0, 0.02, 3)
    if makeup > 0.45:
        stick = np.array(
            ((0.66, 0.13, 0.17), (0.62, 0.24, 0.30), (0.70, 0.32, 0.28), (0.45, 0.10, 0.18))[int(rng.integers(0, 4))]
        )
        lip_tint = lip_tint * (1 - 0.75 * makeup) + stick * 0.75 * makeup
    return Identity(
        seed=int(seed),
        shape=tuple(float(s) for s in strengths),
        tone=light,
        ruddiness=float(rng.uniform(0.1, 0.9)),
        freckles=float(rng.beta(0.5, 1.6)) if light > 0.5 else float(rng.beta(0.5, 4)),
        moles=int(rng.integers(0, 6)),
        age=age,
        makeup=makeup,
        lip_color=_color(lip_tint),
        eye_color=_color(np.array(eye) * rng.uniform(0.85, 1.2)),
        hair_color=_color(hair),
        hair_style=style,
        brow_thickness=float(rng.uniform(0.55, 1.05) if woman else rng.uniform(0.8, 1.55)),
        brow_arch=float(rng.uniform(-0.2, 1.0) if woman else rng.uniform(-0.9, 0.5)),
        beard=beard,
        glasses=int(rng.integers(1, 3)) if rng.random() < glasses_odds else 0,
        pitch=float(rng.uniform(175, 240) if woman else rng.uniform(85, 140)),
        ears=(float(rng.uniform(0.88, 1.1) - 0.07 * woman), float(rng.uniform(14, 34))),
        cloth_color=_color(np.array(_CLOTH[int(rng.integers(0, len(_CLOTH)))]) * rng.uniform(0.85, 1.15)),
    )


def _color(value: np.ndarray) -> Color:
    red, green, blue = (float(v) for v in np.clip(value, 0.02, 0.98))
    return (red, green, blue)


def features(identity: Identity) -> np.ndarray:
    """A vector whose distances say how different two people look; used to pick a varied cast."""
    parts = [
        np.asarray(identity.shape) * 0.5,
        [identity.tone * 4, identity.age * 1.5, identity.freckles, identity.brow_thickness * 1.5, identity.brow_arch],
        np.asarray(identity.hair_color) * 4,
        np.asarray(identity.eye_color) * 2,
        np.asarray(identity.lip_color) * 1.5,
        [2.0 * (identity.beard == b) for b in BEARDS[1:]],
        [1.6 * (identity.hair_style == h) for h in HAIR_STYLES],
        [2.0 * (identity.glasses == g) for g in (1, 2)],
    ]
    return np.concatenate([np.asarray(p, np.float64).ravel() for p in parts])


def cast_identities(seed: int, count: int) -> list[Identity]:
    """Draw ``count`` people who differ clearly: women and men in turn, skin tones spread evenly, the rest by distance.

    Args:
        seed: Seeds the draw; the first people of a larger cast are not those of a smaller one.
        count: How many.
    """
    rng = np.random.default_rng([seed, 2])
    tones = rng.permutation((np.arange(count) + rng.uniform(0.2, 0.8, count)) / max(count, 1)) ** 0.7
    chosen: list[Identity] = []
    for k in range(count):
        pool = [
            make_identity(int(rng.integers(0, 2**31)), feminine=k % 2 == 1, tone=float(tones[k])) for _ in range(12)
        ]
        if not chosen:
            chosen.append(pool[0])
            continue
        have = np.stack([features(c) for c in chosen])
        distance = [np.linalg.norm(have - features(p), axis=1).min() for p in pool]
        chosen.append(pool[int(np.argmax(distance))])
    return chosen
