"""Who is in a clip, read from the names that data sets publish.

Published: FaceForensics++ and DeeperForensics-1.0 ``target_source``, DeepFakeDetection
``target_source__scene__experiment`` (their READMEs), Celeb-DF ``original_swapped_number`` (its authors, issue 6 of
their repository). docs/formats.md says which keys are inferred.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from stress.data.layouts.clip import FAKE


class Named(NamedTuple):
    """People as in :class:`~stress.data.layouts.clip.Clip`, and the source clip."""

    people: tuple[str, ...]
    source_clip: str


_PAIR = re.compile(r"(\d{1,6})_(\d{1,6})")
_DFD_FAKE = re.compile(r"(\d{2})_(\d{2})__(\w+?)__([A-Z0-9]{8})")
_DFD_REAL = re.compile(r"(\d{2})__(\w+)")
_CELEB_FAKE = re.compile(r"id(\d+)_id(\d+)_(\d{4,})")
_CELEB_REAL = re.compile(r"id(\d+)_(\d{4,})")
_DEEPER = re.compile(r"(\d{3})_([MW]\d{3})")


def faceforensics(stem: str, label: int) -> Named | None:
    """``000_003``: the face of sequence 003 on sequence 000. A sequence counts as a person of its own."""
    if label != FAKE:
        return Named((stem,), stem) if stem.isdecimal() else None
    if match := _PAIR.fullmatch(stem):
        return Named((match[2], match[1]), match[1])
    return None


def dfd(stem: str, label: int) -> Named | None:
    """``01_02__scene__XXXXXXXX``: actor 02's face on actor 01; the original is ``01__scene``."""
    if label != FAKE:
        match = _DFD_REAL.fullmatch(stem)
        return Named((f"actor{match[1]}",), f"actor{match[1]}__{match[2]}") if match else None
    if match := _DFD_FAKE.fullmatch(stem):
        return Named((f"actor{match[2]}", f"actor{match[1]}"), f"actor{match[1]}__{match[3]}")
    return None


def celeb_df(stem: str, label: int) -> Named | None:
    """``id0_id1_0000``: id1's face on the original ``id0_0000``."""
    if label != FAKE:
        return Named((f"id{match[1]}",), stem) if (match := _CELEB_REAL.fullmatch(stem)) else None
    if match := _CELEB_FAKE.fullmatch(stem):
        return Named((f"id{match[2]}", f"id{match[1]}"), f"id{match[1]}_{match[3]}")
    return None


def deeperforensics(stem: str, label: int) -> Named | None:
    """``103_W018``: actor W018's face on FaceForensics++'s sequence 103."""
    if label == FAKE and (match := _DEEPER.fullmatch(stem)):
        return Named((match[2], match[1]), match[1])
    return None


def published(stem: str, label: int) -> Named | None:
    """People by whichever published scheme a name follows, or None."""
    schemes = (dfd, celeb_df, deeperforensics, faceforensics)
    return next((found for scheme in schemes if (found := scheme(stem, label)) is not None), None)


def guessed(stem: str, label: int) -> Named:
    """As :func:`published`; where no scheme fits the clip's name is its person and its source clip."""
    return published(stem, label) or Named((stem,), stem)
