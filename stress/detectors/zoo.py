"""Architectures by name: those of small_cnn and the papers that timm lacks, and every model timm knows."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from faceswap_hq.errors import UserError
from stress.detectors.card import DetectorCard
from stress.detectors.efficientnet_b4_dfb import efficientnet_b4_dfb
from stress.detectors.locate_verify import locate_verify, locate_verify_small
from stress.detectors.meso import Meso4, MesoInception4
from stress.detectors.shallownet import ShallowNet
from stress.detectors.small_cnn import SmallCNN


@dataclass(frozen=True, kw_only=True)
class _Entry:
    make: Callable[[int], nn.Module]
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pretrained: Callable[[int], nn.Module] | None = None


_HALF, _ZERO, _ONE = (0.5,) * 3, (0.0,) * 3, (1.0,) * 3
_ZOO = {
    "small_cnn": _Entry(make=SmallCNN, input_size=128, mean=_HALF, std=_HALF),
    "meso4": _Entry(make=Meso4, input_size=256, mean=_ZERO, std=_ONE),
    "mesoinception4": _Entry(make=MesoInception4, input_size=256, mean=_ZERO, std=_ONE),
    "shallownet": _Entry(make=ShallowNet, input_size=256, mean=_ZERO, std=_ONE),
    "efficientnet_b4_dfb": _Entry(make=efficientnet_b4_dfb, input_size=256, mean=_HALF, std=_HALF),
    "locate_verify": _Entry(
        make=locate_verify, input_size=299, mean=_HALF, std=_HALF, pretrained=partial(locate_verify, pretrained=True)
    ),
    "locate_verify_small": _Entry(make=locate_verify_small, input_size=128, mean=_HALF, std=_HALF),
}
_OTHER_NAMES = {"xception": "legacy_xception"}  # timm's older name, which it still builds but has no settings for
KNOWN = tuple(_ZOO)
"""Architectures written here; any timm name is known besides."""


def build(architecture: str, outputs: int = 1, *, pretrained: bool = False) -> nn.Module:
    """Make a network.

    Args:
        architecture: Name in :data:`KNOWN`, or a timm model with or without ``timm:``.
        outputs: Values per image.
        pretrained: Start from timm's published weights, which are downloaded at first use.

    Returns:
        A network from normalised (B, 3, S, S) to (B, outputs) logits.

    Raises:
        UserError: The name is unknown, or there are no published weights, or they cannot be had.
    """
    entry = _ZOO.get(architecture)
    if entry is not None and not pretrained:
        return entry.make(outputs)
    if entry is not None and entry.pretrained is None:
        raise UserError(f"There are no pretrained weights for {architecture}.", "Leave --pretrained away.")
    name = architecture if entry is not None else _timm_name(architecture)
    import timm

    try:
        if entry is not None and entry.pretrained is not None:
            return entry.pretrained(outputs)
        return timm.create_model(name, pretrained=pretrained, num_classes=outputs)
    except Exception as error:
        if not pretrained:
            raise UserError(f"timm cannot make {name} with {outputs} outputs: {error}.") from error
        raise UserError(
            f"The pretrained weights of {name} could not be had: {str(error).splitlines()[0]}.",
            "They are downloaded at first use and need a connection. Without --pretrained nothing is downloaded.",
        ) from error


def default_card(architecture: str) -> DetectorCard:
    """Card for a detector that is still to be trained: one logit, a crop margin of 1.3.

    Args:
        architecture: As for :func:`build`.

    Raises:
        UserError: The name is unknown.
    """
    if architecture in _ZOO:
        entry = _ZOO[architecture]
        size, mean, std = entry.input_size, entry.mean, entry.std
    else:
        import timm

        name = _timm_name(architecture)
        published = timm.get_pretrained_cfg(name)
        size = published.input_size[-1] if published else 224
        mean, std = _HALF, _HALF
        if published:
            (a, b, c), (d, e, f) = published.mean, published.std
            mean, std = (a, b, c), (d, e, f)
    return DetectorCard(
        architecture=architecture,
        input_size=size,
        mean=mean,
        std=std,
        crop_margin=1.3,
        alignment="box",
        output="logit",
        fake_index=1,
        threshold=0.5,
        threshold_source="not chosen: 0.5",
    )


def same_network(one: str, other: str) -> bool:
    """Whether two names mean the same network (``timm:`` and timm's tags of weights aside)."""
    return _plain_name(one) == _plain_name(other)


def _plain_name(architecture: str) -> str:
    name = architecture.removeprefix("timm:").partition(".")[0]
    return _OTHER_NAMES.get(name, name)


def _timm_name(architecture: str) -> str:
    import timm

    name = architecture.removeprefix("timm:")
    name = _OTHER_NAMES.get(name, name)
    if timm.is_model(name.split(".")[0]):
        return name
    near = difflib.get_close_matches(name, [*KNOWN, *timm.list_models()], n=3)
    hint = f"Known: {', '.join(KNOWN)}, and any timm name, e.g. timm:efficientnet_b4."
    if near:
        hint += f" Near it: {', '.join(near)}."
    raise UserError(f"There is no architecture {architecture!r}.", hint)
