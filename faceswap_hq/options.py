"""Values of the command line's options, read and checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faceswap_hq.errors import UserError

if TYPE_CHECKING:
    from blending import BlendSettings

Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: the best there is.")]
Backend = Annotated[str, typer.Option(help="Landmark backend: mediapipe (offline) or face-alignment.")]
EngineName = Annotated[
    str, typer.Option("--engine", help="Where the work is done: local, or ray (a cluster that shares its files).")
]
Address = Annotated[str, typer.Option(help="Of the Ray cluster: auto (that of this machine), or HOST:PORT.")]
TaskNeeds = Annotated[
    list[str] | None,
    typer.Option(
        "--needs", metavar="KIND=CPUS[:GPUS[:GIB]]",
        help="What a task of a kind takes on the cluster (extract, train, render, cell, finetune); may be repeated.",
    ),
]


def find_model(model: Path | None) -> Path:
    """The run directory to render with: the given one, or the only one under ``models/``.

    Raises:
        UserError: If none is given and there is none, or more than one.
    """
    if model is not None:
        return model
    found = sorted(path.parent for path in Path("models").glob("*/card.json"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(
            "There is no trained model under models/.", "Train one, or name its directory with --model DIR."
        )
    raise UserError(
        f"There are {len(found)} models under models/.", f"Say which: {' or '.join(f'--model {p}' for p in found[:4])}"
    )


def check_method(method: str, source: Path | None, learned: dict[str, object]) -> None:
    """Refuse options that do not go together.

    Args:
        method: ``--method``.
        source: ``--source``.
        learned: Options that only a model has, by name; None where not given.

    Raises:
        UserError: For an unknown method, or an option that another method has.
    """
    from faceswap_hq.methods import METHODS

    if method not in METHODS:
        raise UserError(f"There is no method {method!r}.", f"Known: {', '.join(METHODS)}.")
    if method == "autoencoder":
        if source is not None:
            raise UserError("--source belongs to --method mesh or expression.", "An autoencoder has --source-person.")
        return
    if source is None:
        raise UserError(f"--method {method} takes the other person from --source.", "For example --source other.mp4")
    for option, value in learned.items():
        if value is not None:
            raise UserError(f"--{option} belongs to --method autoencoder.", f"Leave --{option} away.")


def blend_settings(name: str) -> BlendSettings:
    """Blending settings by preset name or YAML file.

    Raises:
        UserError: For an unknown preset or a wrong file.
    """
    from blending import PRESETS, preset, settings_from_dict
    from faceswap_hq.files import read_yaml

    try:
        if name.endswith((".yaml", ".yml")):
            return settings_from_dict(read_yaml(name) or {})
        return preset(name)
    except (ValueError, AttributeError) as error:
        raise UserError(f"--blend {name}: {error}.", f"Presets: {', '.join(PRESETS)}, or a YAML file.") from error


def parse_range(text: str) -> tuple[int, int]:
    """``A:B`` as two frame indices, B exclusive.

    Raises:
        UserError: If it is something else.
    """
    try:
        start, stop = (int(part) for part in text.split(":"))
    except ValueError:
        raise UserError(f"--frames {text} is not a range of frames.", "For example --frames 100:250") from None
    return start, stop
