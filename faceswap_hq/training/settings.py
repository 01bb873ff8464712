"""What a training run is told: presets in YAML, one frozen dataclass, round-tripped."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import types
import typing
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml

from faceswap_hq import files
from faceswap_hq.errors import UserError
from faceswap_hq.model.autoencoder import ModelSettings
from faceswap_hq.training.augmentation import AugmentSettings
from faceswap_hq.training.data import MARGIN
from faceswap_hq.training.losses import LossSettings

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Everything that shapes the result of a training run; the budget (minutes or steps) is not part of it."""

    preset: str = "fast"
    """Name of the preset these settings come from."""
    minutes: float = 30.0
    """Budget when neither --minutes nor --steps is given."""
    coverage: float = 0.74
    """Share of the faceset crop's side that the model sees."""
    batch: int = 8
    """Faces of each person in a step."""
    shared: int = 0
    """Doublings of the decoders, from the first, that people trained together share (:meth:`SwapAutoencoder.share`).
    Who is added later has them to oneself, and where a training begins from a model with such a person all have."""
    pose_matching: float = 3.0
    """Faces whose pose the other people show are drawn up to so many times as often as by chance; 1 draws all alike."""
    learning_rate: float = 6e-4
    """Peak rate of Adam; it rises over ``warmup`` steps and falls along a cosine to ``final_rate`` of itself."""
    final_rate: float = 0.05
    """Share of the peak learning rate at the end of the budget."""
    warmup: int = 50
    """Steps of linear rise at the start."""
    beta2: float = 0.99
    """Adam's second decay (the first is 0.9)."""
    epsilon: float = 1e-8
    """Adam's ε."""
    warp_until: float = 1.0
    """Share of the budget during which inputs are warped."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.0
    """Decay a step of the running average of the weights that is rendered with; 0 renders with the last weights."""
    seed: int = 0
    """Seed of the weights, the sampler and the augmentation."""
    precision: str = "auto"
    """``float32``, ``bfloat16`` (autocast), or ``auto``: a few steps of each are timed and the faster is kept."""
    pretrained: bool = False
    """Begin with an encoder trained on ImageNet (design ``beckmann2023`` only; downloaded at first use)."""
    save_minutes: float = 2.0
    """Time between checkpoints, which is also the most that a crash loses."""
    preview_minutes: float = 2.0
    """Time between preview sheets."""
    keep: int = 2
    """Checkpoints kept, beside the one of lowest loss."""
    model: ModelSettings = field(default_factory=ModelSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)

    def __post_init__(self) -> None:
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise UserError(f"precision is auto, float32 or bfloat16, not {self.precision!r}.")
        if not 0 < self.coverage * MARGIN <= 1.0 + 1e-9:
            raise UserError(f"coverage must lie in (0, {1 / MARGIN:g}], not {self.coverage}.")
        if self.pretrained and self.model.design != "beckmann2023":
            raise UserError("Only the encoder of the design beckmann2023 has pretrained weights.")
        if not 0 <= self.shared <= len(self.model.decoder_channels):
            raise UserError("shared lies between 0 and the number of the model's decoder_channels.")
        if self.batch < 1 or self.keep < 1 or self.warmup < 0 or self.seed < 0:
            raise UserError("batch and keep must be at least 1, warmup and seed not negative.")
        if not 1 <= self.pose_matching < math.inf:
            raise UserError("pose_matching must be at least 1.")
        positive = (self.learning_rate, self.clip, self.minutes, self.save_minutes, self.preview_minutes)
        if not all(0 < value < math.inf for value in positive):
            raise UserError("The learning rate, clip and all times must be positive numbers.")
        if not (0 <= self.warp_until <= 1 and self.epsilon > 0):
            raise UserError("warp_until must lie in [0, 1], epsilon above 0.")
        if not (0 <= self.final_rate <= 1 and 0 <= self.beta2 < 1 and 0 <= self.ema < 1):
            raise UserError("final_rate must lie in [0, 1], beta2 and ema in [0, 1).")


def to_dict(settings: Any) -> dict[str, Any]:
    """A settings dataclass as plain YAML types."""
    return typing.cast("dict[str, Any]", _plain(dataclasses.asdict(settings)))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def from_dict(cls: type[T], values: Any, where: str) -> T:
    """Build a settings dataclass from plain types.

    Args:
        cls: The dataclass.
        values: What was read.
        where: File named in errors.

    Raises:
        UserError: For a key that does not exist or a value of the wrong type.
    """
    if not isinstance(values, dict):
        raise UserError(f"{where}: expected a table of settings.")
    every = typing.get_type_hints(cls)
    hints = {field.name: every[field.name] for field in dataclasses.fields(typing.cast("Any", cls)) if field.init}
    unknown = sorted(map(str, set(values) - set(hints)))
    if unknown:
        raise UserError(f"{where}: unknown setting {unknown[0]!r}.", f"Known: {', '.join(hints) or 'none'}.")
    return cls(**{key: _convert(hints[key], value, f"{where}: {key}") for key, value in values.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast("type[Any]", hint), value, where)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, (list, tuple)):
            raise UserError(f"{where} must be a list, not {value!r}.")
        kinds = typing.get_args(hint)
        if kinds[-1] is not Ellipsis and len(kinds) != len(value):
            raise UserError(f"{where} must be a list of {len(kinds)}, not {value!r}.")
        return tuple(_convert(kinds[0], item, where) for item in value)
    if typing.get_origin(hint) is dict:
        if not isinstance(value, dict):
            raise UserError(f"{where} must be a table, not {value!r}.")
        return value
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return _convert_to_one(typing.get_args(hint), value, where)
    if hint is float and isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where} must be a finite number, not {value!r}.")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and (not isinstance(value, hint) or (hint is int and isinstance(value, bool))):
        raise UserError(f"{where} must be a {hint.__name__}, not {value!r}.")
    return value


def _convert_to_one(hints: tuple[Any, ...], value: Any, where: str) -> Any:
    for hint in hints:
        with contextlib.suppress(UserError):
            return _convert(hint, value, where)
    names = " or ".join("nothing" if hint is types.NoneType else getattr(hint, "__name__", str(hint)) for hint in hints)
    raise UserError(f"{where} must be {names}, not {value!r}.")


def preset_names() -> list[str]:
    """Names of the presets that come with the package."""
    folder = resources.files("faceswap_hq") / "presets"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_preset(name: str) -> TrainSettings:
    """Settings of a preset by name, or of a YAML file by path.

    Raises:
        UserError: If there is no such preset, or the file is wrong.
    """
    if name.endswith((".yaml", ".yml")):
        return from_dict(TrainSettings, files.read_yaml(Path(name)), name)
    if name not in preset_names():
        raise UserError(f"There is no preset {name!r}.", f"Known: {', '.join(preset_names())}, or a YAML file.")
    text = (resources.files("faceswap_hq") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    return from_dict(TrainSettings, {"preset": name, **yaml.safe_load(text)}, f"preset {name}")
