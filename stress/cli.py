"""The ``stress-test`` command: its functions' typed signatures are the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faceswap_hq.console import progress, run_app, say, warn
from faceswap_hq.errors import UserError

if TYPE_CHECKING:  # torch and pandas are heavy; --help is to be quick
    from stress.data.crops import Crops, CropSettings, Excluded
    from stress.data.layouts import Clip

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_FRAMES = 16


@app.callback(invoke_without_command=True)
def stress(
    context: typer.Context,
    detector: Annotated[Path | None, typer.Option(help="Weights with a card: safetensors or PyTorch.")] = None,
    fakes: Annotated[
        Path | None, typer.Option(help="Fakes: out/ of faceswap-hq (its reals go with it) or a folder.")
    ] = None,
    reals: Annotated[Path | None, typer.Option(help="Reals, instead of those that come with the fakes.")] = None,
    base: Annotated[
        Path | None, typer.Option(help="The detector's own kind of data, fakes and reals: measures forgetting.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("stress-result"),
    card: Annotated[Path | None, typer.Option(help="Card, when it is not beside the detector.")] = None,
    frames_per_clip: Annotated[int, typer.Option(min=1, help="Frames looked at, spread over each clip.")] = _FRAMES,
    seed: Annotated[int, typer.Option(min=0, help="Of the folds, fine-tuning and the intervals.")] = 0,
    finetune: Annotated[bool, typer.Option(help="Fine-tune on some people, test on the others.")] = True,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
) -> None:
    """Measure how a detector does on good fakes: before, after fine-tuning, drop, recovery, forgetting."""
    if context.invoked_subcommand is not None:
        return
    if detector is None and fakes is None:
        say(context.get_help())
        return
    if detector is None or fakes is None:
        raise typer.BadParameter("missing: give a detector and fakes", param_hint="--detector / --fakes")
    from stress.data.layouts import read_dataset
    from stress.detectors import load_detector
    from stress.experiment import ExperimentSettings, run, save
    from stress.summary import show

    _check_output(output)
    model = load_detector(detector, card, device=device)
    clips = read_dataset(fakes, reals)
    base_clips = read_dataset(base) if base is not None else []
    for folder in (fakes, reals, base):
        _say_people(folder, clips + base_clips)
    used, excluded = _cut(clips, model.card, frames_per_clip, "faces")
    base_used, base_excluded = _cut(base_clips, model.card, frames_per_clip, "faces of the base data")
    settings = ExperimentSettings(seed=seed, finetune=finetune)
    fake_crops, real_crops = ([item for item in used if item.clip.label == label] for label in (1, 0))
    outcome = run(
        model, fake_crops, real_crops, base_used or None, settings=settings, excluded=excluded + base_excluded
    )
    files = save(outcome, output, crops=used)
    show(outcome.results)
    for path in files:
        say(str(path))


@app.command()
def train(
    real: Annotated[Path, typer.Option(help="Reals: a folder, or out/ of faceswap-hq (its reals are taken).")],
    fake: Annotated[Path, typer.Option(help="Fakes: a folder, or out/ of faceswap-hq (its fakes are taken).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The detector; safetensors whatever its name.")],
    arch: Annotated[str, typer.Option(help="small_cnn, meso4, or any timm model.")] = "small_cnn",
    start: Annotated[Path | None, typer.Option("--from", help="Go on from this detector instead.")] = None,
    pretrained: Annotated[bool, typer.Option(help="Start from timm's published weights (downloaded).")] = False,
    epochs: Annotated[int | None, typer.Option(min=1, help="Rounds over the faces; 20 without --minutes.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after this time.")] = None,
    batch: Annotated[int, typer.Option(min=2, help="Faces a step, half of them fake.")] = 32,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    frames_per_clip: Annotated[int, typer.Option(min=1, help="Frames taken, spread over each clip.")] = _FRAMES,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
) -> None:
    """Train a detector to start from."""
    from stress.data.layouts import read_dataset
    from stress.detectors import load_detector, new_detector, save_detector
    from stress.training import TrainSettings
    from stress.training import train as fit

    try:
        epochs = 20 if epochs is None and minutes is None else epochs
        settings = TrainSettings(epochs=epochs, minutes=minutes, batch=batch, lr=lr, seed=seed)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if output.is_dir():
        raise UserError(f"{output} is a directory; the name of a file belongs behind -o.")
    if start is not None:
        detector = load_detector(start, device=device)
    else:
        detector = new_detector(arch, pretrained=pretrained, seed=seed, device=device)
    clips = read_dataset(fake, real)
    _say_people(real, clips)
    _say_people(fake, clips)
    used, excluded = _cut(clips, detector.card, frames_per_clip, "faces")
    reals, fakes = ([item for item in used if item.clip.label == label] for label in (0, 1))
    for group, name in ((reals, "real"), (fakes, "fake")):
        if not group:
            raise UserError(f"No {name} clip with a face is left to train on.", _reasons(excluded))
    with progress(f"training {detector.name}", None, unit="steps") as advance:
        trained = fit(detector, reals, fakes, settings, progress=advance)
    card = save_detector(trained, output)
    say(f"Trained on {card.training_data}.")
    say(f"Threshold {card.threshold:.3f}: {card.threshold_source}.")
    say(f"Wrote {output} and {output.with_name(output.stem + '.card.json')}.")


@app.command()
def card(
    checkpoint: Annotated[Path, typer.Argument(help="Weights without a card.")],
    values: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Fill in a field; may be repeated.")
    ] = None,
) -> None:
    """Write a draft of a detector's card, to be filled in."""
    from stress.detectors.draft import write_draft

    path, missing = write_draft(checkpoint, values or [])
    say(f"Wrote {path}.")
    if missing:
        say(f"Fill in: {', '.join(missing)}. What each means stands in the file.")


@app.command()
def robustness(
    detector: Annotated[Path, typer.Option(help="Weights with a card: safetensors or PyTorch.")],
    fakes: Annotated[Path, typer.Option(help="Fakes: out/ of faceswap-hq (its reals go with it) or a folder.")],
    reals: Annotated[Path | None, typer.Option(help="Reals, instead of those that come with the fakes.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("robustness"),
    mode: Annotated[str, typer.Option(help="DeeperForensics-1.0 faithful (as published) or corrected.")] = "corrected",
    perturbations: Annotated[
        str, typer.Option(help="Names with commas: CS,CC,BW,GNC,GB,JPEG,VC,ANY,MIX,JPEGQ,H264,H265,DOWN,UP,SOCIAL.")
    ] = "all",
    levels: Annotated[str, typer.Option(help="1-5, or some with commas: 1,3,5.")] = "1-5",
    faces: Annotated[str, typer.Option(help="Where the untouched clip has them (clean), or found again.")] = "clean",
    card: Annotated[Path | None, typer.Option(help="Card, when it is not beside the detector.")] = None,
    frames_per_clip: Annotated[int, typer.Option(min=1, help="Frames looked at, spread over each clip.")] = _FRAMES,
    seed: Annotated[int, typer.Option(min=0, help="Of the perturbations and the intervals.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
) -> None:
    """Measure how a detector holds up when clips are perturbed; a run that was stopped goes on where it was."""
    from stress.data.layouts import read_dataset
    from stress.detectors import load_detector
    from stress.evaluation.perturbations import parse_levels, select
    from stress.robustness import RobustnessSettings, run_robustness

    _check_output(output)
    try:
        settings = RobustnessSettings(mode=mode, faces=faces, frames_per_clip=frames_per_clip, seed=seed)
        wanted = select(perturbations.split(","), parse_levels(levels), mode)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    model = load_detector(detector, card, device=device)
    clips = read_dataset(fakes, reals)
    for folder in (fakes, reals):
        _say_people(folder, clips)
    found, files = run_robustness(model, clips, wanted, output, settings)
    for item in found.results["excluded"][:5]:
        warn(f"left out {item['clip']}: {item['reason']}")
    for line in found.lines():
        say(line)
    for path in files:
        say(str(path))


# ---------------------------------------------------------------------------------------------------------- helpers


def _cut(
    clips: list[Clip], settings: CropSettings, frames: int, what: str
) -> tuple[list[Crops], list[Excluded]]:
    if not clips:
        return [], []
    from stress.data.crops import crop_clips

    with progress(f"cutting out {what}", len(clips), unit="clips") as advance:
        used, excluded = crop_clips(clips, settings, frames, advance)
    for item in excluded[:5]:
        warn(f"left out {item.clip.path}: {item.reason}")
    if len(excluded) > 5:
        warn(f"left out {len(excluded) - 5} more clips; results.json lists them")
    return used, excluded


def _reasons(excluded: list[Excluded]) -> str | None:
    return "; ".join(sorted({item.reason for item in excluded})[:3]) or None


def _say_people(folder: Path | None, clips: list[Clip]) -> None:
    """Say where the identity keys come from when no manifest gives them: everything claimed later rests on them."""
    from stress.data.layouts import is_manifest_folder

    if folder is None or is_manifest_folder(folder):
        return
    if (folder / "people.csv").is_file() or any(folder.glob("*/people.csv")):
        return
    people = {name for clip in clips if clip.path.is_relative_to(folder) for name in clip.people}
    warn(
        f"{folder} has no manifest.json: its {len(people)} people are taken from the file names. "
        "Name them in people.csv (file,person) if someone occurs under two names."
    )


def _check_output(output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file; the results are a folder.", "Name another one with -o.")


def main(arguments: list[str] | None = None) -> int:
    """Entry point of ``stress-test``; returns the exit code."""
    return run_app(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
