"""The ``stress-test`` command: its functions' typed signatures are the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceswap_hq import __version__
from faceswap_hq.console import resumable, run_app, say, warn
from faceswap_hq.errors import UserError
from faceswap_hq.files import check_writable
from faceswap_hq.options import Address, EngineName, TaskNeeds
from stress.cli_study import study
from stress.cli_train import train

if TYPE_CHECKING:  # torch and pandas are heavy; --help is to be quick
    from stress.evaluation.perturbations import Perturbation
    from stress.experiment import ExperimentSettings

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(train)
app.command()(study)

_FRAMES = 16

Frames = Annotated[int, typer.Option(min=1, help="Frames looked at, spread over each clip.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, ...")]
Seeds = Annotated[int, typer.Option(min=1, help="Fine-tunings of each strategy and fold.")]
VideoScore = Annotated[
    str, typer.Option(help="How a video's score is made of its frames': mean, median, max or top-quarter.")
]
IgnoreGate = Annotated[
    bool, typer.Option("--ignore-gate", help="Go on where the detector misses its claims; the report says so.")
]
Levels = Annotated[str, typer.Option(help="Of the perturbations: 1-5, or some with commas: 1,3,5.")]
Mode = Annotated[str, typer.Option(help="DeeperForensics-1.0's perturbations faithful (as published) or corrected.")]
TrustCode = Annotated[bool, typer.Option("--trust-code", help="Run TorchScript, which is a program.")]
Strategies = Annotated[
    str | None,
    typer.Option(
        help="Ways to fine-tune, by comma; the first is the main one: all, last, last-K (layers), each with +replay of "
        "--base. Default all,all+replay,last-3,last."
    ),
]


@app.callback(invoke_without_command=True)
def stress(
    context: typer.Context,
    detector: Annotated[Path | None, typer.Option(help="A file or folder with a card, or hf:ORG/NAME.")] = None,
    fakes: Annotated[
        Path | None,
        typer.Option(help="Fakes: out/ of faceswap-hq, a published data set (DIR@split=test,compression=c23), clips."),
    ] = None,
    reals: Annotated[Path | None, typer.Option(help="Reals, instead of those that come with the fakes.")] = None,
    base: Annotated[
        Path | None, typer.Option(help="The detector's own kind of data, fakes and reals: measures forgetting.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("stress-result"),
    card: Annotated[Path | None, typer.Option(help="Card, when it is not beside the detector.")] = None,
    ladder: Annotated[
        Path | None, typer.Option(help="The same swaps stage by stage: ladder/ of faceswap-hq render --ladder.")
    ] = None,
    frames_per_clip: Frames = _FRAMES,
    video_score: VideoScore = "mean",
    seed: Annotated[int, typer.Option(min=0, help="Of the folds, fine-tuning and the intervals.")] = 0,
    finetune: Annotated[bool, typer.Option(help="Fine-tune on some people, test on the others.")] = True,
    strategies: Strategies = None,
    seeds: Seeds = 3,
    quick: Annotated[bool, typer.Option("--quick", help="One strategy (all), one seed: a first look.")] = False,
    perturb: Annotated[
        str | None, typer.Option(help="Robustness curves before and after: all, or names as in stress-test robustness.")
    ] = None,
    levels: Levels = "1-5",
    mode: Mode = "corrected",
    gate_tolerance: Annotated[
        float, typer.Option(min=0, max=1, help="How far the detector may miss its card's claims on --base.")
    ] = 0.05,
    ignore_gate: IgnoreGate = False,
    device: Device = "auto",
    trust_code: TrustCode = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.", is_eager=True)] = False,
) -> None:
    """Measure how a detector does on good fakes: before, after fine-tuning, drop, recovery, forgetting."""
    if version:
        say(__version__)
        raise typer.Exit
    if context.invoked_subcommand is not None:
        return
    if detector is None and fakes is None:
        say(context.get_help())
        return
    if detector is None or fakes is None:
        raise typer.BadParameter("missing: give a detector and fakes", param_hint="--detector / --fakes")
    if quick and seeds != 3:
        raise typer.BadParameter("--quick is one seed; leave it or --seeds away")
    if not finetune and (strategies or quick or seeds != 3):
        raise typer.BadParameter("--no-finetune leaves nothing for --strategies, --seeds and --quick")
    if not perturb and (levels, mode) != ("1-5", "corrected"):
        raise typer.BadParameter("--levels and --mode are of the perturbations; add --perturb")
    settings = _settings(
        seed=seed, finetune=finetune, video_score=video_score, gate=not ignore_gate, gate_tolerance=gate_tolerance,
        seeds=1 if quick else seeds, shuffles=0 if quick else 1,
        strategies="all" if quick and not strategies else strategies,
    )  # fmt: skip
    _check_output(output)
    wanted = _perturbations(perturb, levels, mode) if perturb else []
    from stress.detectors import load_detector, require_savable, require_trainable
    from stress.evaluation.store import FoldStore
    from stress.experiment import run, save
    from stress.gather import gather
    from stress.summary import show

    model = load_detector(detector, card, device=device, trust_code=trust_code)
    if finetune:
        require_trainable(model)
    if finetune and wanted:
        require_savable(model)
    if base is None and model.own_data is not None:
        base = model.own_data
        say(f"The card names data of its own kind: {base}")
    found = gather(
        model.card, fakes, reals, base=base, ladder=ladder, frames=frames_per_clip, keep=finetune, warn=warn
    )
    with resumable():
        outcome = run(
            model, found.fakes, found.reals, found.base or None, settings,
            rungs=found.rungs, controls=found.controls, store=FoldStore(output / "fine-tunings"),
            keep_detectors=bool(wanted), say=say,
        )  # fmt: skip
    if wanted:
        from stress.evaluation.robustness_settings import RobustnessSettings
        from stress.robustness import add_robustness

        how = RobustnessSettings(mode=mode, frames_per_clip=frames_per_clip, video_score=video_score, seed=seed)
        clips = [item.clip for item in (*found.fakes, *found.reals)]
        outcome = add_robustness(outcome, model, clips, wanted, output, how, device=device)
    files = save(outcome, output, crops=[*found.fakes, *found.reals])
    show(outcome.results)
    for path in files:
        say(str(path))


@app.command()
def matrix(
    detectors: Annotated[
        list[str], typer.Option(help="Weights with cards, [NAME=]FILE; repeat, or separate by commas.")
    ],
    datasets: Annotated[
        list[str], typer.Option(help="[NAME=]FAKES[:REALS]; repeat for several. Fakes as for --fakes.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("stress-matrix"),
    base: Annotated[
        Path | None, typer.Option(help="The detectors' own kind of data; by default what each one's card names.")
    ] = None,
    frames_per_clip: Frames = _FRAMES,
    video_score: VideoScore = "mean",
    seed: Annotated[int, typer.Option(min=0, help="Of the folds, fine-tuning and the intervals.")] = 0,
    finetune: Annotated[bool, typer.Option(help="Also fine-tune, cell by cell.")] = False,
    strategies: Strategies = None,
    seeds: Seeds = 3,
    ignore_gate: IgnoreGate = False,
    device: Device = "auto",
    engine: EngineName = "local",
    address: Address = "auto",
    needs: TaskNeeds = None,
    trust_code: TrustCode = False,
) -> None:
    """Run many detectors on many data sets; the same command goes on where it was cut off."""
    settings = _settings(
        seed=seed, finetune=finetune, video_score=video_score, gate=not ignore_gate, seeds=seeds, strategies=strategies
    )
    _check_output(output)
    from functools import partial

    from faceswap_hq import places
    from faceswap_hq.engines import Tools, open_engine
    from stress.detectors import load_detector
    from stress.matrix import parse_dataset, run_matrix
    from stress.summary import show_matrix

    named = {}
    if not _parts(detectors):
        raise typer.BadParameter("no detector is named", param_hint="--detectors")
    if not finetune and (strategies or seeds != 3):
        raise typer.BadParameter("--strategies and --seeds need --finetune")
    for text in _parts(detectors):
        name, _, path = text.rpartition("=")
        name = name or path.removeprefix("hf:").rstrip("/").rpartition("/")[2].removesuffix(Path(path).suffix)
        if name in named:
            raise UserError(f"Two detectors are called {name}.", "Give one another name: NAME=FILE")
        named[name] = partial(load_detector, path, device=device, trust_code=trust_code)
    sets = [parse_dataset(text) for text in datasets]
    folders = (output if output.is_dir() else output.parent, places.cache_dir())
    tools = Tools(say=say, warn=warn, device=device)
    with resumable(), open_engine(engine, tools, address=address, needs=needs or (), folders=folders) as where:
        found = run_matrix(
            named, sets, output, settings, frames=frames_per_clip, base=base, warn=warn, say=say, engine=where
        )
    show_matrix(found)
    say(f"{output / 'matrix.json'}, {output / 'matrix.csv'}, and each experiment under {output / 'cells'}")
    if any("failed" in cell for cell in found["cells"]):
        raise typer.Exit(2)


@app.command()
def card(
    checkpoint: Annotated[Path, typer.Argument(help="A detector without a card: file, folder or hf:ORG/NAME.")],
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
    detector: Annotated[Path, typer.Option(help="A file or folder with a card, or hf:ORG/NAME.")],
    fakes: Annotated[Path, typer.Option(help="Fakes: out/ of faceswap-hq (its reals go with it) or a folder.")],
    reals: Annotated[Path | None, typer.Option(help="Reals, instead of those that come with the fakes.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("robustness"),
    mode: Mode = "corrected",
    perturbations: Annotated[
        str, typer.Option(help="Names with commas: CS,CC,BW,GNC,GB,JPEG,VC,ANY,MIX,JPEGQ,H264,H265,DOWN,UP,SOCIAL.")
    ] = "all",
    levels: Levels = "1-5",
    faces: Annotated[str, typer.Option(help="Where the untouched clip has them (clean), or found again.")] = "clean",
    card: Annotated[Path | None, typer.Option(help="Card, when it is not beside the detector.")] = None,
    frames_per_clip: Annotated[int, typer.Option(min=1, help="Frames looked at, spread over each clip.")] = _FRAMES,
    seed: Annotated[int, typer.Option(min=0, help="Of the perturbations and the intervals.")] = 0,
    device: Device = "auto",
    trust_code: TrustCode = False,
) -> None:
    """Measure how a detector holds up when clips are perturbed; a run that was stopped goes on where it was."""
    from stress.data.layouts import read_dataset
    from stress.detectors import load_detector
    from stress.evaluation.robustness_settings import RobustnessSettings
    from stress.gather import warn_of_names
    from stress.robustness import run_robustness

    _check_output(output)
    wanted = _perturbations(perturbations, levels, mode)
    try:
        settings = RobustnessSettings(mode=mode, faces=faces, frames_per_clip=frames_per_clip, seed=seed)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    model = load_detector(detector, card, device=device, trust_code=trust_code)
    clips = read_dataset(fakes, reals)
    for folder in (fakes, reals):
        warn_of_names(folder, clips, warn)
    found, files = run_robustness(model, clips, wanted, output, settings)
    for item in found.results["excluded"][:5]:
        warn(f"left out {item['clip']}: {item['reason']}")
    for line in found.lines():
        say(line)
    for path in files:
        say(str(path))


# ---------------------------------------------------------------------------------------------------------- helpers


def _settings(*, strategies: str | None, **values: Any) -> ExperimentSettings:
    from stress.experiment import ExperimentSettings
    from stress.strategies import STRATEGIES, parse

    try:
        chosen = tuple(map(parse, strategies.split(","))) if strategies else STRATEGIES
        return ExperimentSettings(strategies=chosen, **values)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _perturbations(names: str, levels: str, mode: str) -> list[Perturbation]:
    from stress.evaluation.perturbations import parse_levels, select

    try:
        found = list(select(names.split(","), parse_levels(levels), mode))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if not found:
        raise typer.BadParameter(f"{names} has no level {levels}")
    return found


def _parts(values: list[str]) -> list[str]:
    """Options that were repeated, or separated by commas."""
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _check_output(output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file; the results are a folder.", "Name another one with -o.")
    check_writable(output)


def main(arguments: list[str] | None = None) -> int:
    """Entry point of ``stress-test``; returns the exit code."""
    return run_app(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
