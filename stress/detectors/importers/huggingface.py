"""Image classifiers as the Hugging Face hub keeps them: a folder of ``config.json`` and safetensors, or a hub id."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from faceswap_hq.errors import UserError
from faceswap_hq.files import read_json
from stress.detectors.card import HUB, DetectorCard
from stress.detectors.importers.checkpoint import Checkpoint, from_tensors
from stress.detectors.weights import check_tensors, read_safetensors

_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_LARGEST_JSON = 8 << 20
_FAKE = re.compile(r"fake|synthe|generated|artificial|manipulated|forged", re.IGNORECASE)
_REAL = re.compile(r"\breal|realism|authentic|genuine|original|pristine", re.IGNORECASE)


def fetch(source: str) -> Path:
    """Download ``hf:ORG/NAME`` or ``hf:ORG/NAME@REVISION`` into huggingface_hub's cache; settings and safetensors only.

    Returns:
        The folder.

    Raises:
        UserError: The name is malformed, or the model cannot be had.
    """
    name, _, revision = source.removeprefix(HUB).partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or ".." in name:
        raise UserError(f"{source} is not the name of a model on the hub.", f"Write {HUB}ORGANISATION/NAME.")
    import huggingface_hub

    wanted = ["config.json", "preprocessor_config.json", "*.safetensors", _INDEX]
    try:
        return Path(huggingface_hub.snapshot_download(name, revision=revision or None, allow_patterns=wanted))
    except Exception as error:  # offline, unknown, private, full disk: it says so itself
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{name} could not be had from the hub: {reason}", "It is downloaded at first use.") from error


def read(folder: Path, name: str | None = None) -> Checkpoint:
    """Read a folder of the hub's form; code in it is never run, pickles are never opened.

    Args:
        folder: Holds ``config.json`` and ``model.safetensors``, whole or in parts named by an index.
        name: What messages call it; the folder's path when None.

    Raises:
        UserError: Files are missing, too large or damaged, name others outside the folder or ask for code of their own.
    """
    where = Path(name or folder)
    config = _json(folder / "config.json")
    if config is None:
        raise UserError(f"{where} is a folder without config.json.", "A detector is a file, or a Hugging Face folder.")
    if "auto_map" in config:
        raise UserError(f"{where} asks for code of its own (auto_map), which is never run; it was refused.")
    files = _weight_files(folder, where)
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        tensors |= read_safetensors(file)[0]
    facts = _labels(config) | _preparation(_json(folder / "preprocessor_config.json"))
    every = (*files, folder / "config.json")
    settings = config.get("pretrained_cfg")
    if isinstance(config.get("architecture"), str) and isinstance(settings, dict):
        facts = _timm_preparation(settings) | facts
        return from_tensors(
            where, "a timm folder of the hub", f"timm:{config['architecture']}", tensors, facts, files=every
        )
    return _of_transformers(where, folder, config, tensors, facts, every)


def _of_transformers(
    where: Path, folder: Path, config: dict[str, Any], tensors: dict[str, torch.Tensor], facts: dict, files: tuple
) -> Checkpoint:
    classes = config.get("architectures")
    kind = str(classes[0]) if isinstance(classes, list) and len(classes) == 1 else ""
    if not kind.endswith("ForImageClassification"):
        raise UserError(f"{where} is not an image classifier: its config.json says {classes!r}.")
    check_tensors(tensors, where)
    _check_size(config, tensors, where)
    architecture = f"transformers:{kind}"

    def network(card: DetectorCard) -> nn.Module:
        if card.architecture != architecture:
            raise UserError(f"{where} is {architecture}; its card says {card.architecture}.", "Correct it in its card.")
        return _Logits(_transformers_model(where, folder, tensors))

    facts = {"architecture": (architecture, "config.json names it"), **facts}
    return Checkpoint(path=where, format="a transformers folder", network=network, files=files, facts=facts)


class _Logits(nn.Module):
    """The logits of a transformers classifier as a tensor."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised (B, 3, S, S) to (B, labels) logits."""
        return self.model(pixel_values=x).logits


def _transformers_model(where: Path, folder: Path, tensors: dict[str, torch.Tensor]) -> nn.Module:
    try:
        import transformers
    except ImportError:
        raise UserError(f"transformers is needed for {where}.", "pip install faceswap-hq[huggingface]") from None
    safe = {"local_files_only": True, "trust_remote_code": False}
    factory = transformers.AutoModelForImageClassification
    try:
        with _quiet(transformers):
            config = transformers.AutoConfig.from_pretrained(folder, **safe)
            with torch.device("meta"):
                planned = sum(value.numel() for value in factory.from_config(config).parameters())
            held = sum(value.numel() for value in tensors.values())
            if planned > held:
                raise UserError(f"{where}: config.json describes {planned} weights, the files hold {held}.")
            # transformers itself renames weights that an older version of it saved, so it does the loading.
            model, report = factory.from_pretrained(
                folder, config=config, use_safetensors=True, output_loading_info=True, dtype=torch.float32, **safe
            )
    except UserError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{where} cannot be loaded by transformers {transformers.__version__}: {reason}") from error
    wrong = sorted(str(item) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") for item in report[key])
    if wrong:
        raise UserError(f"{where}: {len(wrong)} weights do not fit its config.json, e.g. {wrong[0]}.")
    return model


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bars and no advice on standard error."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _check_size(config: dict[str, Any], tensors: dict[str, torch.Tensor], where: Path) -> None:
    """A network of a million layers takes forever to plan, though its file is small."""
    for key, value in config.items():
        if "layer" in key and "eps" not in key and isinstance(value, int) and value > len(tensors):
            raise UserError(f"{where}: config.json has {key} = {value}, the files hold {len(tensors)} tensors.")


# --------------------------------------------------------------------------------------------------------- files


def _json(path: Path) -> dict[str, Any] | None:
    """A settings file, None when there is none; one that is far too large for settings is not read at all."""
    if not path.is_file():
        return None
    if path.stat().st_size > _LARGEST_JSON:
        raise UserError(f"{path} has {path.stat().st_size} bytes, far too many for settings; it was not read.")
    values = read_json(path)
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no settings.")
    return values


def _weight_files(folder: Path, where: Path) -> tuple[Path, ...]:
    if (folder / _WEIGHTS).is_file():
        return (folder / _WEIGHTS,)
    index = _json(folder / _INDEX)
    if index is None:
        others = [file.name for file in folder.iterdir() if file.suffix in (".bin", ".pt", ".pth", ".h5", ".msgpack")]
        hint = f"{others[0]} is not read: it is not safetensors." if others else None
        raise UserError(f"{where} has no {_WEIGHTS}.", hint)
    listed = index.get("weight_map")
    names = sorted({str(name) for name in listed.values()}) if isinstance(listed, dict) else []
    if not names:
        raise UserError(f"{where}: {_INDEX} lists no files.")
    for name in names:
        # The hub's cache is made of links, so names are checked and not where they lead.
        if not re.fullmatch(r"[\w-][\w.-]*\.safetensors", name):
            raise UserError(f"{where}: {_INDEX} names {name!r}, which is no safetensors file of the folder; refused.")
        if not (folder / name).is_file():
            raise UserError(f"{where} lacks {name}, which {_INDEX} names.")
    return tuple(folder / name for name in names)


# --------------------------------------------------------------------------------------------------------- facts


def _labels(config: dict[str, Any]) -> dict[str, tuple[Any, str]]:
    """Head and polarity from ``id2label``, or timm's ``label_names``; labels that leave doubt say nothing."""
    named, source = config.get("id2label"), "id2label"
    if not isinstance(named, dict):
        found, source = config.get("label_names"), "label_names"
        named = {str(i): name for i, name in enumerate(found)} if isinstance(found, list) else {}
    labels = [str(named.get(str(i))) for i in range(len(named))]
    shown = json.dumps(dict(enumerate(labels)))
    if len(labels) != 2:
        return {}
    facts: dict[str, tuple[Any, str]] = {"output": ("two_logits", f"config.json has two labels: {shown}")}
    fake = [bool(_FAKE.search(label)) for label in labels]
    real = [bool(_REAL.search(label)) for label in labels]
    if sorted(fake) == [False, True] and real == [not value for value in fake]:
        facts["fake_index"] = (fake.index(True), f"config.json, {source}: {shown}")
    return facts


def _preparation(settings: dict[str, Any] | None) -> dict[str, tuple[Any, str]]:
    """Input from preprocessor_config.json, as far as a card can say it."""
    if settings is None:
        return {}
    facts: dict[str, tuple[Any, str]] = {}
    scale = settings.get("rescale_factor", 1 / 255) if settings.get("do_rescale", True) else 1.0
    if isinstance(scale, float) and abs(scale * 255 - 1) < 1e-3:
        mean, std = settings.get("image_mean"), settings.get("image_std")
        if settings.get("do_normalize", True) is False:
            mean, std = [0.0] * 3, [1.0] * 3
        if isinstance(mean, list) and isinstance(std, list):
            facts["mean"], facts["std"] = ((value, "preprocessor_config.json") for value in (mean, std))
    size = settings.get("crop_size") if settings.get("do_center_crop") else settings.get("size")
    if isinstance(size, dict):
        sides = {size.get("height"), size.get("width")} if "height" in size else {size.get("shortest_edge")}
        size = sides.pop() if len(sides) == 1 else None
    if isinstance(size, int):
        facts["input_size"] = (size, "preprocessor_config.json")
    return facts


def _timm_preparation(settings: dict[str, Any]) -> dict[str, tuple[Any, str]]:
    facts: dict[str, tuple[Any, str]] = {}
    for key in ("mean", "std"):
        if isinstance(settings.get(key), list):
            facts[key] = (settings[key], "config.json, pretrained_cfg")
    shape = settings.get("input_size")
    if isinstance(shape, list) and len(shape) == 3:
        facts["input_size"] = (shape[-1], "config.json, pretrained_cfg")
    return facts
