"""The quality ladder: one stage of the blending more on every rung, from the plain paste to the best."""

from __future__ import annotations

from dataclasses import replace

from blending.settings import BEST, NONE, BlendSettings

#: Rung -> the sections of the settings that it takes from the top; each rung keeps those of the rungs below.
_STAGES = {
    "none": (),
    "mask": ("mask", "occlusion"),
    "color": ("color",),
    "poisson": ("poisson",),
    "detail": ("detail",),
    "temporal": ("temporal",),
}


def rungs(top: BlendSettings = BEST) -> dict[str, BlendSettings]:
    """Settings of every rung, from crude to best.

    >>> list(rungs())
    ['none', 'mask', 'color', 'poisson', 'detail', 'temporal']

    Args:
        top: What the last rung is.
    """
    found, settings = {}, NONE
    for name, sections in _STAGES.items():
        settings = replace(settings, **{section: getattr(top, section) for section in sections})
        found[name] = settings
    return found
