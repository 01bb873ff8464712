"""``stress-test study``: its typed signature is the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceswap_hq.console import say, warn
from faceswap_hq.errors import UserError
from faceswap_hq.files import check_writable

if TYPE_CHECKING:  # torch is heavy; --help is to be quick
    from stress.study.settings import StudySettings


def study(
    datasets: Annotated[
        list[str], typer.Option(help="NAME=FAKES:REALS or a folder; repeat for several, of the same people.")
    ],
    detectors: Annotated[
        list[str] | None, typer.Option(help="Detectors there are: NAME=FILE, by comma or repeated.")
    ] = None,
    archs: Annotated[
        list[str] | None,
        typer.Option(help="Architectures to train: meso4,mesoinception4,shallownet,xception,efficientnet_b0, ..."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("study"),
    base: Annotated[
        str | None, typer.Option(help="Data set that --archs are trained on and few-shot training replays; the first.")
    ] = None,
    new: Annotated[
        str | None, typer.Option(help="Data sets that are learned few-shot, by comma; all but the base.")
    ] = None,
    config: Annotated[str, typer.Option(help="Settings: reduced, published, or a YAML file.")] = "reduced",
    parts: Annotated[
        str | None, typer.Option(help="What is done, by comma: zero-shot,few-shot,heat-maps,neurons.")
    ] = None,
    mode: Annotated[str | None, typer.Option(help="The published code's oddities: faithful or corrected.")] = None,
    shots: Annotated[str | None, typer.Option(help="Numbers of new fakes that are learned from: 1,2,4,8.")] = None,
    approaches: Annotated[str | None, typer.Option(help="transfer,merge or one of them.")] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Weight layers that transfer trains.")] = None,
    units_into: Annotated[
        str | None, typer.Option(help="Module whose input are the units; the last dense layer.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of the first training.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Networks trained of each architecture.")] = 1,
    input_size: Annotated[int | None, typer.Option(min=16, help="Side of the faces, where trained here.")] = None,
    frames_per_clip: Annotated[int, typer.Option(min=1, help="Frames looked at, spread over each clip.")] = 16,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the people tested, the clips chosen, the intervals.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    trust_code: Annotated[bool, typer.Option("--trust-code", help="Run TorchScript, which is a program.")] = False,
) -> None:
    """Ask how far detectors generalise: as they are, few-shot, by heat maps and by units; goes on where cut off."""
    how = _settings(
        config,
        {
            "parts": _words(parts), "mode": mode, "shots": _numbers(shots), "approaches": _words(approaches),
            "last": layers, "units_into": units_into, "seed": seed,
        },
        epochs,
    )  # fmt: skip
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file; the results are a folder.", "Name another one with -o.")
    check_writable(output)
    from functools import partial

    from stress.detectors import load_detector
    from stress.matrix import parse_dataset
    from stress.study.models import loaders
    from stress.study.run import StudyInput, run_study
    from stress.summary import show_study

    load = partial(load_detector, device=device, trust_code=trust_code)
    what = StudyInput(
        datasets=[parse_dataset(text) for text in datasets],
        detectors=loaders(_parts(detectors), load),
        archs=_parts(archs),
        base=base,
        new=_words(new),
        seeds=seeds,
        frames=frames_per_clip,
        input_size=input_size,
        device=device,
    )
    found = run_study(what, output, how, warn=warn, say=say)
    show_study(found)
    say(f"{output / 'study.html'}, {output / 'study.json'}, and tables as CSV beside them.")
    if found["failures"]:
        raise typer.Exit(2)


def _settings(config: str, values: dict[str, Any], epochs: int | None) -> StudySettings:
    """Settings, with what the command line says instead."""
    from stress.study.settings import load_settings

    how = load_settings(config)
    given = {name: value for name, value in values.items() if value is not None}
    try:
        if epochs is not None:
            given["training"] = replace(how.training, epochs=epochs)
        return replace(how, **given)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _parts(values: list[str] | None) -> list[str]:
    return [part.strip() for value in values or () for part in value.split(",") if part.strip()]


def _words(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(_parts([text]))


def _numbers(text: str | None) -> tuple[int, ...] | None:
    try:
        return None if text is None else tuple(int(part) for part in _parts([text]))
    except ValueError:
        raise typer.BadParameter(f"{text} is not a list of numbers", param_hint="--shots") from None
