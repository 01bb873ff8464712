"""The detector card: everything about a checkpoint that its weights do not say, and that is never guessed.

A card lies beside the weights as ``NAME.card.json`` or in the header of a safetensors file.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceswap_hq.errors import UserError
from faceswap_hq.files import read_json, write_json

FORMAT = "faceswap-hq detector card"
VERSION = 3
HEADER_KEY = "faceswap_hq_card"
HUB = "hf:"
"""What a model on the Hugging Face hub is called by: ``hf:ORG/NAME``, so that a mistyped path never goes online."""
OUTPUTS = {"logit": 1, "sigmoid": 1, "two_logits": 2, "softmax": 2}
"""Kinds of head, with the number of values each gives for an image."""

EXPLANATIONS = {
    "architecture": "small_cnn, meso4, mesoinception4, shallownet, or any timm model, e.g. timm:efficientnet_b4; "
    "onnx, torchscript or transformers:CLASS for files that bring their network with them",
    "input_size": "side of the square input in pixels",
    "mean": "subtracted from the channels after division by 255, e.g. [0.5, 0.5, 0.5]; [0, 0, 0] for none",
    "std": "divided by after that, e.g. [0.5, 0.5, 0.5]; [1, 1, 1] for none",
    "color_order": "RGB or BGR (OpenCV's order)",
    "crop_margin": "side of the crop as a multiple of the longer side of the box around all face landmarks, e.g. 1.3",
    "alignment": "box (upright square) or aligned (turned so that the face stands upright)",
    "output": "logit, sigmoid (one value an image), two_logits or softmax (two)",
    "fake_index": "two values: which one means fake. One value: 1 = high means fake, 0 = high means real",
    "score_transform": "[a, b]: the log odds of fake become a x + b before they are a probability, e.g. [0.5, 0] for a "
    "temperature of 2; [1, 0] for none",
    "threshold": "fake probability from which a frame is called fake",
    "threshold_source": "how the threshold was chosen",
    "licence": "licence of the weights",
    "training_data": "what it was trained on",
    "map_trained": "whether the map that its network draws of the forgery was trained, true or false; null where "
    "that is not known or it draws none",
    "weights_key": "where in a training checkpoint the weights are, e.g. model or state_dict; null when at the top",
    "strip_prefix": "what to remove from the front of the weights' names, e.g. module. or backbone.; null for nothing",
    "base_metrics": "what it reaches on its own kind of data, e.g. {\"frame_auc\": 0.98}; null when not known",
    "base_data": "where data of its own kind lie, from the card's folder; what --base is by default; null for none",
    "sha256": "SHA-256 of the checkpoint file",
}  # fmt: skip
"""What each field means; written into the drafts of ``stress-test card``."""


@dataclass(frozen=True, kw_only=True)
class DetectorCard:
    """How a detector wants its input and what its output means.

    Args:
        architecture: Name in the zoo (``small_cnn``, ``meso4``, ...) or of a timm model, with or without ``timm:``; or
            ``onnx``, ``torchscript``, ``transformers:CLASS`` for files that bring their network with them.
        input_size: Side of the square input, pixels.
        mean: Per channel, in [0, 1] units, in the detector's own colour order.
        std: Per channel, > 0.
        color_order: ``"RGB"`` or ``"BGR"``.
        crop_margin: Side of the crop over the longer side of the box around all landmarks.
        alignment: ``"box"`` or ``"aligned"``.
        output: Kind of head, a key of :data:`OUTPUTS`.
        fake_index: Which of two outputs means fake; for one output 1 = high means fake, 0 = high means real.
        score_transform: Slope > 0 and offset applied to the log odds of fake before the sigmoid (Platt 1999; a
            temperature T is a slope of 1 / T), (1, 0) for none.
        threshold: Fake probability from which a frame is called fake, in [0, 1].
        threshold_source: How the threshold was chosen.
        licence: Licence of the weights.
        training_data: What it was trained on.
        map_trained: Whether the last training also trained the map that the network draws of the forgery, if it draws
            one; None where that is not known. Only a map that was trained is measured and shown.
        weights_key: Dotted path to the weights in a training checkpoint, None when they are at the top.
        strip_prefix: Removed from the front of every weight's name that has it.
        base_metrics: Claimed metrics on its own kind of data, name to value in [0, 1].
        base_data: Folder with data of its own kind, reals and fakes, from the card's folder.
        sha256: Of the file, hex.

    Raises:
        ValueError: A value is outside its range; the message names the field.
    """

    architecture: str
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    color_order: str = "RGB"
    crop_margin: float
    alignment: str
    output: str
    fake_index: int
    threshold: float
    threshold_source: str
    score_transform: tuple[float, float] = (1.0, 0.0)
    licence: str = "unknown"
    training_data: str = "unknown"
    map_trained: bool | None = None
    weights_key: str | None = None
    strip_prefix: str | None = None
    base_metrics: dict[str, float] | None = None
    base_data: str | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        for name, count in (("mean", 3), ("std", 3), ("score_transform", 2)):
            value = getattr(self, name)
            if not _numbers(value, count):
                raise ValueError(f"{name} is {count} numbers, not {value!r}")
            object.__setattr__(self, name, tuple(float(item) for item in value))
        metrics = self.base_metrics
        checks: dict[str, bool] = {
            "architecture": isinstance(self.architecture, str) and bool(self.architecture),
            "input_size": _integer(self.input_size) and 8 <= self.input_size <= 2048,
            "std": all(value > 0 for value in self.std),
            "color_order": self.color_order in ("RGB", "BGR"),
            "crop_margin": _number(self.crop_margin) and 0.2 <= self.crop_margin <= 10,
            "alignment": self.alignment in ("box", "aligned"),
            "output": self.output in OUTPUTS,
            "fake_index": _integer(self.fake_index) and self.fake_index in (0, 1),
            "score_transform": self.score_transform[0] > 0,
            "threshold": _number(self.threshold) and 0 <= self.threshold <= 1,
            "threshold_source": isinstance(self.threshold_source, str) and bool(self.threshold_source),
            "licence": isinstance(self.licence, str) and bool(self.licence),
            "training_data": isinstance(self.training_data, str) and bool(self.training_data),
            "map_trained": self.map_trained is None or isinstance(self.map_trained, bool),
            "weights_key": self.weights_key is None or isinstance(self.weights_key, str),
            "strip_prefix": self.strip_prefix is None or isinstance(self.strip_prefix, str),
            "base_metrics": metrics is None
            or (isinstance(metrics, dict) and all(_number(v) and 0 <= v <= 1 for v in metrics.values())),
            "base_data": self.base_data is None or (isinstance(self.base_data, str) and bool(self.base_data)),
            "sha256": self.sha256 is None or bool(re.fullmatch(r"[0-9a-f]{64}", str(self.sha256))),
        }
        for name, fine in checks.items():
            if not fine:
                raise ValueError(f"{name} = {getattr(self, name)!r} ({EXPLANATIONS[name]})")

    @property
    def outputs(self) -> int:
        """Values the network gives for an image."""
        return OUTPUTS[self.output]

    def to_dict(self) -> dict[str, Any]:
        """The card as JSON-able values, with format and version."""
        values = {key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(self).items()}
        return {"format": FORMAT, "version": VERSION, **values}


REQUIRED = tuple(
    field.name
    for field in dataclasses.fields(DetectorCard)
    if field.default is dataclasses.MISSING or field.name == "color_order"
)
"""Fields that a card's file must fill in; a blank colour order is not silently taken for RGB."""


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _numbers(value: object, count: int) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == count and all(_number(item) for item in value)


def card_path(weights: str | Path) -> Path:
    """Where the card of ``NAME.suffix`` or of a folder ``NAME`` lies: ``NAME.card.json`` beside it.

    The card of a model on the Hugging Face hub, ``hf:ORG/NAME``, lies in the current folder.
    """
    if str(weights).startswith(HUB):
        return Path(f"{hub_name(weights)}.card.json")
    path = Path(weights)
    return path.with_name(f"{path.name if path.is_dir() else path.stem}.card.json")


def hub_name(source: str | Path) -> str:
    """``NAME`` of ``hf:ORG/NAME@REVISION``."""
    return str(source).removeprefix(HUB).partition("@")[0].rpartition("/")[2]


def card_from_dict(values: Any, where: str | Path) -> DetectorCard:
    """Make a card from parsed JSON; keys that start with ``_`` are remarks.

    Args:
        values: Parsed JSON.
        where: File it came from, for the message.

    Raises:
        UserError: Not a card, of a newer version, fields missing (a draft), unknown or out of range.
    """
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise UserError(f"{where} is not a {FORMAT}.")
    version = values.get("version")
    if not isinstance(version, int) or version < 1:
        raise UserError(f"{where} is damaged: its version is {version!r}.")
    if version > VERSION:
        raise UserError(
            f"{where} has version {version}; this toolkit reads up to version {VERSION}.",
            "Update the toolkit: pip install -U faceswap-hq.",
        )
    given = {k: v for k, v in values.items() if not k.startswith("_") and k not in ("format", "version")}
    fields = {field.name: field for field in dataclasses.fields(DetectorCard)}
    unknown = sorted(set(given) - set(fields))
    if unknown:
        raise UserError(f"{where} has a field this toolkit does not know: {', '.join(unknown)}.")
    missing = [name for name in REQUIRED if given.get(name) is None]
    if missing:
        lines = "\n  ".join(f"{name}: {EXPLANATIONS[name]}" for name in missing)
        raise UserError(f"{where} is not filled in: {', '.join(missing)}.", lines)
    given = {key: value for key, value in given.items() if value is not None}
    try:
        return DetectorCard(**given)
    except (ValueError, TypeError) as error:
        raise UserError(f"{where}: {error}.") from None


def read_card(path: str | Path) -> DetectorCard:
    """Read a card from a JSON file.

    Raises:
        UserError: As :func:`card_from_dict`.
    """
    return card_from_dict(read_json(path), path)


def write_card(path: str | Path, card: DetectorCard) -> None:
    """Write a card as JSON, atomically."""
    write_json(path, card.to_dict())


def card_from_header(metadata: dict[str, str] | None, where: str | Path) -> DetectorCard | None:
    """The card in a safetensors header, or None when there is none.

    Raises:
        UserError: There is one, and it is damaged.
    """
    text = (metadata or {}).get(HEADER_KEY)
    if text is None:
        return None
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UserError(f"The card in the header of {where} is damaged: {error}.") from None
    return card_from_dict(values, f"the header of {where}")
