"""Every perturbation by name and level, as a list of operations on a stream of frames.

Besides the seven of DeeperForensics-1.0 there are its two kinds of random videos: ``ANY`` (one type drawn for each
clip, at the level given) and ``MIX``, whose level is the number of distortions, each of another type and at a random
level (1 is the published "random level", 2 to 4 the published mixtures). What is drawn for a clip follows its source
clip, so that a fake and its matched real suffer the same.
"""

from __future__ import annotations

import functools
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from stress.evaluation.codecs import Encoding, recompress
from stress.evaluation.perturbations import deeperforensics, everyday
from stress.evaluation.perturbations.deeperforensics import Image

MODES = ("faithful", "corrected")
LEVELS = (1, 2, 3, 4, 5)
PUBLISHED = "DeeperForensics-1.0"

Numbered = tuple[int, Image]
PictureOperation = Callable[[Image, np.random.Generator], Image]
Operation = PictureOperation | Encoding


@dataclass(frozen=True, kw_only=True)
class ClipKey:
    """What the random draws for a clip depend on.

    Args:
        clip: Names the clip among all; noise and blocks follow it and the frame's number.
        source: Names its source clip; the types and levels of ``ANY`` and ``MIX`` follow it.
        seed: At least 0.
    """

    clip: str
    source: str
    seed: int = 0

    def rng(self, *parts: object, by_source: bool = False) -> np.random.Generator:
        """A generator of its own for these parts: the same on every machine, whatever was drawn before."""
        text = repr((self.seed, self.source if by_source else self.clip, *parts))
        return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """One perturbation at one level.

    Args:
        family: Heading under which it is shown.
        name: Short name; the levels of a name make a curve.
        label: For people to read.
        level: 1 to 5; 0 is the untouched clip.
        setting: What the level stands for.
        plan: From a generator to the operations, in order; what is not random takes no draw.
        codecs: Those it may need.
    """

    family: str
    name: str
    label: str
    level: int
    setting: str
    plan: Callable[[np.random.Generator], tuple[Operation, ...]]
    codecs: tuple[str, ...] = ()

    def operations(self, key: ClipKey) -> tuple[Operation, ...]:
        """What is done to this clip."""
        return self.plan(key.rng(self.name, self.level, by_source=True))

    def apply(self, frames: Iterable[Numbered], key: ClipKey, rate: Fraction = Fraction(25)) -> Iterator[Numbered]:
        """Perturb a stream of frames.

        Args:
            frames: Frame number and uint8 (H, W, 3) RGB; consecutive frames where the operations need time.
            key: The clip.
            rate: Frames a second.

        Yields:
            The same numbers with the perturbed frames, which may have another size.
        """
        stream = iter(frames)
        for place, operation in enumerate(self.operations(key)):
            if isinstance(operation, Encoding):
                stream = _encoded(stream, operation, rate)
            else:
                stream = self._each(stream, operation, key, place)
        return stream

    def _each(
        self, frames: Iterator[Numbered], operation: PictureOperation, key: ClipKey, place: int
    ) -> Iterator[Numbered]:
        for number, image in frames:
            yield number, operation(image, key.rng(self.name, self.level, place, number))


def needs_time(operations: Sequence[Operation]) -> bool:
    """Whether the operations look at several frames, which then have to be consecutive."""
    return any(isinstance(operation, Encoding) for operation in operations)


def _encoded(frames: Iterator[Numbered], encoding: Encoding, rate: Fraction) -> Iterator[Numbered]:
    numbers: deque[int] = deque()

    def images() -> Iterator[Image]:
        for number, image in frames:
            numbers.append(number)
            yield image

    for image in recompress(images(), encoding, rate):
        yield numbers.popleft(), image


# ---------------------------------------------------------------------------------------------------------- catalogue


def catalogue(mode: str) -> list[Perturbation]:
    """Every perturbation at every level.

    Args:
        mode: ``"faithful"`` or ``"corrected"``, for what DeeperForensics-1.0 has published; the rest has one form.
    """
    if mode not in MODES:
        raise ValueError(f"mode = {mode!r} is not one of {', '.join(MODES)}")
    faithful = mode == "faithful"
    found = []
    for name, label in deeperforensics.LABELS.items():
        for level in LEVELS:
            text = deeperforensics.setting(name, level, faithful=faithful)
            found.append(_fixed(PUBLISHED, name, label, level, text, _published(name, level, faithful)))
    for level in LEVELS:
        plan = functools.partial(_drawn, count=1, level=level, faithful=faithful)
        found.append(_random("ANY", "One type drawn for each clip", level, f"level {level}", plan))
    for count in LEVELS[:4]:
        plan = functools.partial(_drawn, count=count, level=None, faithful=faithful)
        text = f"{count} type{'s' if count > 1 else ''} at random levels"
        found.append(_random("MIX", "Mixture drawn for each clip", count, text, plan))
    for level, quality in enumerate(everyday.JPEG_QUALITIES, 1):
        jpeg = _picture(deeperforensics.jpeg, quality)
        found.append(_fixed("JPEG", "JPEGQ", "JPEG", level, f"quality {quality}", jpeg))
    for level, crf in enumerate(everyday.H264_CRF, 1):
        found.append(_fixed("H.264", "H264", "H.264", level, f"CRF {crf}", Encoding(codec="h264", crf=crf)))
    for level, crf in enumerate(everyday.H265_CRF, 1):
        encoding = Encoding(codec="hevc", crf=crf, preset=everyday.H265_PRESET)
        found.append(_fixed("H.265", "H265", "H.265", level, f"CRF {crf}", encoding))
    for name, label, factors in (("DOWN", "Smaller", everyday.SMALLER), ("UP", "Larger", everyday.LARGER)):
        for level, factor in enumerate(factors, 1):
            found.append(_fixed("resize", name, label, level, f"x {factor:g}", _picture(everyday.resize, factor)))
    for level, sides in enumerate(everyday.SHARINGS, 1):
        text = "shared at " + ", ".join(f"{side}p" for side in sides)
        found.append(_fixed("social", "SOCIAL", "Sharing on a platform", level, text, *_shared(sides)))
    return found


def select(
    names: Sequence[str] = ("all",), levels: Sequence[int] = LEVELS, mode: str = "corrected"
) -> list[Perturbation]:
    """Perturbations by name; ``all``, and ``deeperforensics`` for the seven published ones, stand for several.

    Raises:
        ValueError: An unknown name or level; the message lists the known ones.
    """
    everything = catalogue(mode)
    known = list(dict.fromkeys(item.name for item in everything))
    wanted: set[str] = set()
    for name in names:
        short = name.strip()
        if short.lower() == "all":
            wanted.update(known)
        elif short.lower() == "deeperforensics":
            wanted.update(deeperforensics.LABELS)
        elif short.upper() in known:
            wanted.add(short.upper())
        else:
            raise ValueError(f"{short!r} is no perturbation; known: all, deeperforensics, {', '.join(known)}")
    strange = sorted(set(levels) - set(LEVELS))
    if strange or not levels:
        raise ValueError(f"levels are 1 to 5, not {', '.join(map(str, strange)) or 'none'}")
    return [item for item in everything if item.name in wanted and item.level in levels]


def parse_levels(text: str) -> list[int]:
    """Levels from ``"1-5"``, ``"3"`` or ``"1,3,5"``.

    Raises:
        ValueError: It is none of these.
    """
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        try:
            start, stop = int(first), int(last or first)
            found.update(range(start, min(stop, start + 99) + 1))
        except ValueError:
            raise ValueError(f"levels are given as 1-5 or 1,3,5, not {text!r}") from None
    return sorted(found)


def _fixed(family: str, name: str, label: str, level: int, text: str, *operations: Operation) -> Perturbation:
    codecs = tuple(operation.codec for operation in operations if isinstance(operation, Encoding))
    plan = functools.partial(_always, operations)
    return Perturbation(
        family=family, name=name, label=label, level=level, setting=text, plan=plan, codecs=codecs
    )


def _always(operations: tuple[Operation, ...], rng: np.random.Generator) -> tuple[Operation, ...]:
    return operations


def _random(name: str, label: str, level: int, text: str, plan: Callable[..., tuple[Operation, ...]]) -> Perturbation:
    return Perturbation(
        family=PUBLISHED, name=name, label=label, level=level, setting=text, plan=plan, codecs=("h264",)
    )


def _drawn(rng: np.random.Generator, *, count: int, level: int | None, faithful: bool) -> tuple[Operation, ...]:
    """``count`` different types in random order, each at the level given or at one of its own."""
    names = rng.permutation(list(deeperforensics.LABELS))[:count]
    levels = [int(rng.integers(1, 6)) if level is None else level for _ in names]
    return tuple(_published(str(name), each, faithful) for name, each in zip(names, levels, strict=True))


def _published(name: str, level: int, faithful: bool) -> Operation:
    if name == "VC":
        return Encoding(codec="h264", crf=int(deeperforensics.PARAMETERS["VC"][level - 1]))
    return lambda image, rng: deeperforensics.perturb(image, name, level, rng, faithful=faithful)


def _picture(function: Callable[..., Image], *parameters: float) -> PictureOperation:
    return lambda image, rng: function(image, *parameters)


def _shared(sides: Sequence[int]) -> list[Operation]:
    steps: list[Operation] = []
    for side in sides:
        steps += [_picture(everyday.fit, side), Encoding(codec="h264", bit_rate=everyday.bit_rate)]
    return steps
