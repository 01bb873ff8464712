"""A run directory: its config, checkpoints, exported model with its card, log and previews."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

import faceswap_hq
from faceswap_hq import files
from faceswap_hq.errors import UserError, out_of_memory
from faceswap_hq.model import ModelSettings, SwapAutoencoder
from faceswap_hq.training import checkpoints
from faceswap_hq.training.settings import TrainSettings, from_dict, to_dict

FORMAT = "faceswap-hq model"
VERSION = 3  # 2: mouths are calibrated in centimetres from closed lips; 3: without what pose does to them


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What rendering needs to know of a trained model; written beside its weights as ``card.json``."""

    people: tuple[str, ...]
    """Names, in the decoders' order; the first is the default source."""
    coverage: float
    step: int
    seconds: float
    preset: str
    sha256: str
    """Of ``model.safetensors``."""
    model: ModelSettings


def prepare(
    run: Path, settings: TrainSettings, people: dict[str, str], taken_over: int = 0, begun_from: str = ""
) -> TrainSettings:
    """Make a run directory, or check that an existing one is this very run.

    Args:
        run: Directory.
        settings: What the run is to be trained with.
        people: Name ► where the faces came from, in the decoders' order.
        taken_over: How many of them, the first, are another run's, as they were there.
        begun_from: sha256 of the weights that the training begins with; empty for none.

    Returns:
        The settings to use: those of the existing run where there is one (``precision`` stays what was measured, and
        decoders go on sharing what they began to).

    Raises:
        UserError: If the directory holds something else, is damaged, newer, or trained with other people or settings.
    """
    config = run / "config.yaml"
    if run.exists() and not run.is_dir():
        raise UserError(f"{run} is a file; a model is a directory.", "Choose another with --model.")
    if not config.exists():
        if run.is_dir() and any(run.iterdir()):
            raise UserError(
                f"{run} is not empty and has no config.yaml: it is not a model run, or a damaged one.",
                "Nothing was changed. Restore its config.yaml, or choose another directory with --model.",
            )
        run.mkdir(parents=True, exist_ok=True)
        write_config(run, settings, people, taken_over, begun_from)
        return settings
    old, old_people = read_config(run)
    if list(old_people) != list(people):
        raise UserError(
            f"{run} was trained on {', '.join(old_people)}, not on {', '.join(people)}.",
            "Train the other people into another directory with --model.",
        )
    if _taken_over(config) != taken_over:
        raise UserError(
            f"{run} was begun {'by adding a person to another model' if _taken_over(config) else 'from nothing'}.",
            "Go on as it was begun, or train into another directory with --model.",
        )
    if begun_from and not files.read_yaml(config).get("begun_from"):
        raise UserError(
            f"{run} was not begun from another model.",
            "Leave --begin-from out to go on with it, or train into another directory with --model.",
        )
    changed = [
        key
        for key, value in to_dict(settings).items()
        if key not in ("precision", "minutes", "shared") and to_dict(old)[key] != value
    ]
    if changed:
        same = old.preset == settings.preset
        raise UserError(
            f"{run} was begun with another {', '.join(changed)} (preset {old.preset}).",
            f"Go on with {'the settings in its config.yaml, as a YAML file for --preset,' if same else 'that preset,'}"
            " or train into another directory with --model.",
        )
    return old


def write_config(
    run: Path, settings: TrainSettings, people: dict[str, str], taken_over: int = 0, begun_from: str = ""
) -> None:
    """Write ``config.yaml``."""
    files.write_yaml(
        run / "config.yaml",
        {
            "format": FORMAT,
            "version": VERSION,
            "toolkit": faceswap_hq.__version__,
            "people": [{"name": name, "faces": faces} for name, faces in people.items()],
            "taken_over": taken_over,
            "begun_from": begun_from,
            "settings": to_dict(settings),
        },
    )


def read_config(run: Path) -> tuple[TrainSettings, dict[str, str]]:
    """Read ``config.yaml``: the settings, and name ► faces of the people.

    Raises:
        UserError: If it is missing, damaged or newer.
    """
    path = run / "config.yaml"
    value = files.read_yaml(path)
    hint = "Nothing was changed. Restore the file from a backup, or train into another directory with --model."
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise UserError(f"{path} is damaged.", hint)
    _check_version(path, value)
    try:
        people = {str(person["name"]): str(person["faces"]) for person in value["people"]}
        return from_dict(TrainSettings, value["settings"], str(path)), people
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {error}.", hint) from error


def _taken_over(config: Path) -> int:
    value = files.read_yaml(config).get("taken_over", 0)
    return value if isinstance(value, int) else 0


def _check_version(path: Path, value: dict[str, Any]) -> None:
    try:
        version = int(value["version"])
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path} is damaged: it has no version.") from None
    if version > VERSION:
        raise UserError(
            f"{path} was written by a newer version of faceswap-hq (format {version}, this one reads {VERSION}).",
            "Update faceswap-hq: pip install -U faceswap-hq",
        )
    if version < VERSION:
        raise UserError(
            f"{path} was written by an older version of faceswap-hq (format {version}, this one reads {VERSION}).",
            "What the numbers in it mean has changed. Train into another directory with --model.",
        )


def export(run: Path, model: SwapAutoencoder, settings: TrainSettings, progress: checkpoints.Progress) -> Path:
    """Write ``model.safetensors`` and ``card.json``: what rendering uses. Returns the weights' path."""
    weights = run / "model.safetensors"
    with files.atomic_path(weights) as temporary:
        checkpoints.save_tensors(model.state_dict(), temporary)
    card = {
        "format": FORMAT,
        "version": VERSION,
        "toolkit": faceswap_hq.__version__,
        "people": list(model.people),
        "coverage": settings.coverage,
        "step": progress.step,
        "seconds": round(progress.seconds, 1),
        "preset": settings.preset,
        "sha256": files.sha256_file(weights),
        "model": to_dict(settings.model),
        "note": "Weights of recognisable people: personal data, to be kept and shared accordingly.",
    }
    files.write_json(run / "card.json", card)
    return weights


def load_model(run: str | Path) -> tuple[SwapAutoencoder, ModelCard]:
    """Load a trained model for rendering, in evaluation mode, on the CPU.

    Raises:
        UserError: If the directory is missing, empty, damaged, of a newer version, or not yet trained.
    """
    run = Path(run)
    if not run.is_dir():
        raise UserError(f"{run} is not a model: no such directory.", "Train one: faceswap-hq train --src A --dst B")
    if not (run / "card.json").exists():
        state = "has not been trained yet" if (run / "config.yaml").exists() else "is not a model run"
        raise UserError(
            f"{run} {state}: it has no card.json.", "Train it: faceswap-hq train --src A --dst B --model DIR"
        )
    path = run / "card.json"
    value = files.read_json(path)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise UserError(
            f"{path} is damaged.", "Run the training again: it writes the file anew from the last checkpoint."
        )
    _check_version(path, value)
    weights = run / "model.safetensors"
    mend = "Run the same `faceswap-hq train` again: it writes the weights anew from the last checkpoint."
    try:
        card = ModelCard(
            people=tuple(str(name) for name in value["people"]),
            coverage=float(value["coverage"]), step=int(value["step"]), seconds=float(value["seconds"]),
            preset=str(value["preset"]), sha256=str(value["sha256"]),
            model=from_dict(ModelSettings, value["model"], str(path)),
        )  # fmt: skip
        if files.sha256_file(weights) != card.sha256:
            raise UserError(f"{weights} does not match the checksum in its card.json: it is damaged.", mend)
        model = SwapAutoencoder(card.model, card.people)
        model.load_state_dict(load_file(weights))
    except FileNotFoundError:
        raise UserError(f"{weights} is missing.", mend) from None
    except (KeyError, TypeError, ValueError, RuntimeError, OSError, SafetensorError) as error:
        if out_of_memory(error):
            raise
        raise UserError(f"{run} is damaged: {str(error).splitlines()[0]}.", mend) from error
    return model.eval(), card
