"""`faceswap-hq`: one function a command; its typed signature is the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceswap_hq import __version__
from faceswap_hq.console import out, progress, run_app, say, training_progress, warn
from faceswap_hq.curation.command import curate
from faceswap_hq.errors import UserError
from faceswap_hq.options import Backend, Device, blend_settings, parse_range

if TYPE_CHECKING:
    from faceswap_hq.extract import Report

app = typer.Typer(
    name="faceswap-hq",
    help="Make good face swaps for detector research: extract, train, render; or curate, for a whole cast. "
    "Every rendered video is signed as an AI face swap.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

PersonNumber = Annotated[
    int, typer.Option("--person", min=1, help="Which person of a clip; 1 is the one seen longest.")
]
Overrule = Annotated[bool, typer.Option("--version", help="Print the version and leave.", is_eager=True)]


@app.callback(invoke_without_command=True)
def _root(version: Overrule = False) -> None:
    if version:
        say(__version__)
        raise typer.Exit


def _frames(description: str, total: int | None) -> Any:
    return progress(description, total, unit="frames")


def _say_report(report: Report, chosen: int = 1) -> None:
    from faceswap_hq.extract import REASONS

    for line in report.warnings:
        warn(line)
    for source, people in report.people.items():
        if people > 1:
            say(f"{source}: {people} people, number {chosen} taken. Choose with --person N; see {report.contact_sheet}")
    dropped = ", ".join(f"{n} {REASONS[reason]}" for reason, n in report.dropped.items()) or "none"
    without = f"{report.frames_without_face} of {report.frames} frames without a face"
    say(f"{report.kept} faces kept; sorted out: {dropped}; {without}")


@app.command()
def extract(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A video, a folder of videos or a folder of pictures.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Faceset to write; default INPUT's name + .faceset")
    ] = None,
    person: PersonNumber = 1,
    size: Annotated[int, typer.Option(help="Side of the aligned faces, pixels.")] = 256,
    every: Annotated[int, typer.Option(min=1, help="Take each N-th frame.")] = 1,
    backend: Backend = "mediapipe",
) -> None:
    """Find one person's faces, align them, sort out the bad ones, and write a faceset."""
    from faceswap_hq.extract import ExtractSettings
    from faceswap_hq.extract import extract as run
    from faceswap_hq.faceset import SUFFIX, is_faceset, removed
    from faceswap_hq.facesets import person_name

    target = output or Path(person_name(source) + SUFFIX)
    if is_faceset(target) and (gone := removed(target)):
        raise UserError(
            f"{target}: {gone} of its pictures were deleted by hand, and extracting again would bring them back.",
            "Choose another faceset with -o, or delete this one first.",
        )
    settings = ExtractSettings(person=person, size=size, every=every, backend=backend)
    report = run(source, target, settings, _frames)
    _say_report(report, chosen=person)
    say(f"{target}: delete pictures from its faces/ folder to keep them out of training")


@app.command()
def train(
    src: Annotated[
        Path | None, typer.Option(help="The person whose face is put in: a video, folder or faceset.")
    ] = None,
    dst: Annotated[Path | None, typer.Option(help="The person it is put onto: a video, folder or faceset.")] = None,
    cast: Annotated[
        Path | None,
        typer.Option(help="Instead of --src and --dst: a folder with a video, folder or faceset for each of N people."),
    ] = None,
    add: Annotated[
        Path | None,
        typer.Option(help="Instead of these: one more person for a trained model; only their decoder is trained."),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="With --add: the trained model, which stays as it is.")] = None,
    begin_from: Annotated[
        Path | None,
        typer.Option(help="A trained model to begin with (a cast's, say) instead of from nothing."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Run directory, resumed if there; default models/SRC-DST, CAST or TO+ADD.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="fast (128 px, CPU; default), hq (256), ultra (512), beckmann2023, or a YAML file."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Train for so long in total, over all sessions.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Train for so many steps in total, over all sessions.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the run; default the preset's.")] = None,
    backend: Backend = "mediapipe",
    device: Device = None,
    devices: Annotated[
        int, typer.Option(min=1, help="GPUs (or CPU processes) that train together, each with its own batch.")
    ] = 1,
    profile: Annotated[
        bool, typer.Option("--profile", help="Write where a training step goes to MODEL/profile.txt.")
    ] = False,
) -> None:
    """Train the autoencoder: two people, a cast, or one more person. The same command resumes; Ctrl-C saves."""
    from dataclasses import replace

    from faceswap_hq.extract import ExtractSettings
    from faceswap_hq.faceset import read_faceset
    from faceswap_hq.facesets import members, open_person
    from faceswap_hq.training.devices import helped_facesets
    from faceswap_hq.training.loop import Budget
    from faceswap_hq.training.loop import train as run
    from faceswap_hq.training.run import read_config
    from faceswap_hq.training.settings import load_preset

    if minutes is not None and steps is not None:
        raise UserError("Give either --minutes or --steps.")
    given = [cast is not None, add is not None, src is not None or dst is not None]
    if sum(given) > 1:
        raise UserError("Give either --cast, or --add, or --src and --dst.")
    if (add is None) != (to is None):
        raise UserError("--add and --to belong together.", "--add CLIP --to MODEL")
    if to is not None and begin_from is not None:
        raise UserError("--to already says what to begin with. Leave --begin-from out.")
    if (old := to or begin_from) is not None and preset is not None:
        raise UserError(f"{old} says the preset. Leave --preset out.")
    settings = load_preset(preset or "fast") if old is None else read_config(old)[0]
    if seed is not None:
        settings = replace(settings, seed=seed)
    people = members(cast) if cast is not None else [path for path in (add, src, dst) if path is not None]
    if cast is None and add is None and len(people) < 2:
        raise UserError("Training takes two people.", "Give --src A --dst B, or --cast DIR with a clip of each person.")
    facesets = []
    helped = helped_facesets()  # by the process that started this one, which speaks for both
    if helped:
        facesets, people = [read_faceset(path) for path in helped], []
    for person in people:
        try:
            faceset, report = open_person(person, ExtractSettings(backend=backend), _frames)
        except UserError as error:
            if cast is None:
                raise
            warn(f"{person.name} is left out: {error}")
            continue
        if report is not None:
            say(f"{faceset.name}:")
            _say_report(report)
        facesets.append(faceset)
    if len(facesets) < 2 and to is None:
        raise UserError(f"{cast} shows {len(facesets)} people with usable faces; training takes two or more.")
    if to is not None:
        target = model or to.resolve().with_name(f"{to.resolve().name}+{facesets[0].name}")
    else:
        name = cast.resolve().name if cast is not None else f"{facesets[0].name}-{facesets[1].name}"
        target = model or Path("models") / name
    budget = Budget(steps=steps, minutes=None if steps else minutes or settings.minutes)
    if helped:
        run(target, facesets, settings, budget, device=device, base=to, begin=begin_from, devices=devices)
        return
    with training_progress(budget) as report_step:
        result = run(
            target, facesets, settings, budget,
            device=device, report=report_step, say=say, warn=warn, profiled=profile, base=to,
            begin=begin_from, devices=devices,
        )  # fmt: skip
    say(f"{target}: step {result.progress.step}, {result.progress.seconds / 60:.1f} minutes trained")
    say(f"preview: {result.preview}")
    if result.stopped:
        say(f"Stopped and saved. Run the same command again to go on (budget: {budget}).")
        raise KeyboardInterrupt
    more = "" if len(facesets) == 2 and to is None else " --source-person A --target-person B"
    say(f"Next: faceswap-hq render VIDEO --model {target}{more}")


@app.command()
def render(
    video: Annotated[Path, typer.Argument(help="The target clip.")],
    model: Annotated[Path | None, typer.Option(help="Run directory; default the only one under models/.")] = None,
    method: Annotated[
        str,
        typer.Option(help="autoencoder; or without learning: mesh (another's face), expression (only moves the own)."),
    ] = "autoencoder",
    source: Annotated[
        Path | None,
        typer.Option(help="For mesh: video, folder or faceset of the other person; for expression: the driving video."),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write just this file.")] = None,
    out_dir: Annotated[Path, typer.Option(help="Without -o: fakes/, reals/ and manifest.json go here.")] = Path("out"),
    frames: Annotated[str | None, typer.Option(metavar="A:B", help="Only frames A to B (B not included).")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Original and swap side by side (needs -o).")] = False,
    preview: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Just frame N, side by side, as a PNG.")
    ] = None,
    person: PersonNumber = 1,
    source_person: Annotated[
        str | None, typer.Option(help="Whose face is put in; default the model's first person, or --source's name.")
    ] = None,
    target_person: Annotated[
        str | None, typer.Option(help="Who the video shows; default the model's other person, or VIDEO's name.")
    ] = None,
    retarget: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="1: the face does what the source was seen doing (default); 0: the target's own code "
            "(default of beckmann2023).",
        ),
    ] = None,
    blend: Annotated[str, typer.Option(help="none (plain paste), classic, best, or a YAML file.")] = "best",
    ladder: Annotated[
        bool, typer.Option("--ladder", help="Also with each stage of the blending in turn, into OUT_DIR/ladder/.")
    ] = False,
    control: Annotated[
        bool, typer.Option("--control", help="Also controls/: the target's own face put back; for stress-test's audit.")
    ] = False,
    masks: Annotated[
        bool, typer.Option(help="Also masks/: how much of every pixel is the new face; for detectors that locate it.")
    ] = True,
    parser: Annotated[
        Path | None,
        typer.Option(help="Face-parsing network (ONNX, 19 classes of CelebAMask-HQ): swap only what it calls face."),
    ] = None,
    backend: Backend = "mediapipe",
    device: Device = None,
    signing_key: Annotated[Path | None, typer.Option(help="Private key (PEM) for the content credentials.")] = None,
    signing_cert: Annotated[Path | None, typer.Option(help="Its certificate chain (PEM).")] = None,
) -> None:
    """Put another's face (or expression) onto the person in a video, signed as such."""
    from faceswap_hq import media

    media.probe(video)  # the clip's own faults are reported first, before anything heavy is loaded

    from faceswap_hq import fakes
    from faceswap_hq.methods.opening import open_method
    from faceswap_hq.planning import RenderSettings
    from faceswap_hq.provenance import load_key

    if ladder and (output is not None or preview is not None):
        raise UserError("--ladder writes folders beside fakes/ and reals/.", "Leave -o and --preview away.")
    if compare and output is None:
        raise UserError("--compare writes one file and needs its name.", "Add -o compare.mp4")
    if control and (output is not None or preview is not None):
        raise UserError("--control belongs to a fake and its real.", "Leave -o and --preview away, or use --out-dir.")
    settings = RenderSettings(
        person=person, retarget=retarget, blend=blend_settings(blend), backend=backend,
        frames=parse_range(frames) if frames else None,
    )  # fmt: skip
    swap = open_method(
        method, video, settings, given=source, model=model, source=source_person, target=target_person, device=device,
        key=load_key(signing_key, signing_cert), parser=parser, progress=_frames, report=_say_report,
    )  # fmt: skip
    if preview is not None:
        target = output or Path(f"{video.stem}-{preview}.png")
        fakes.render_preview(video, swap, preview, target)
        say(f"{target}: frame {preview}, original and swap")
        return
    if output is not None:
        counts = fakes.render_file(video, swap, output, compare=compare)
        say(str(output))
    else:
        name, counts = fakes.render_pair(video, swap, out_dir, control=control, masks=masks)
        say(f"{out_dir}/fakes/{name}.mp4 and its matched {out_dir}/reals/{name}.mp4")
        for rung in fakes.render_ladder(video, swap, out_dir / "ladder", masks=masks) if ladder else ():
            say(str(rung))
    say(f"{counts.swapped} of {counts.frames} frames swapped; {counts.passed} without the face passed through")
    if counts.people > 1:
        say(f"{counts.people} people in the clip; only person {person} was changed")
    if counts.damaged:
        warn(f"{video} is damaged: {counts.damaged} of its frames are lost or were shown with guessed parts")
    if output is None:
        say(f"Next: stress-test --detector CKPT --fakes {out_dir}{f' --ladder {out_dir}/ladder' if ladder else ''}")


app.command()(curate)


@app.command()
def verify(file: Annotated[Path, typer.Argument(help="A video or picture.")]) -> None:
    """Read a file's content credentials and say whether it was changed since they were made."""
    from faceswap_hq.provenance import describe
    from faceswap_hq.provenance import verify as run

    verification = run(file)
    say(describe(verification))
    if verification.state != "valid":
        raise typer.Exit(2)


@app.command()
def actors(
    output: Annotated[Path, typer.Option("-o", "--output", help="Directory for the clips.")] = Path("actors"),
    count: Annotated[int, typer.Option(min=1, help="How many actors.")] = 4,
    seconds: Annotated[float, typer.Option(min=0.2, help="Length of each clip.")] = 8.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed: same seed, same actors.")] = 0,
    size: Annotated[int, typer.Option(min=128, help="Side of the square clips, pixels.")] = 384,
) -> None:
    """Make clips of virtual actors: procedural talking heads with no photograph inside."""
    from faceswap_hq.actors import make_cast

    if (output / "cast.json").exists():
        raise UserError(f"{output} holds a cast already.", "Choose another --output, or delete it.")
    paths = make_cast(output, count=count, seconds=seconds, seed=seed, size=size)
    say(f"{len(paths)} clips in {output}")


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Directory for everything the demo makes.")] = Path(
        "demo"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of actors, training and folds.")] = 0,
) -> None:
    """The whole loop on virtual actors: make, train, render, stress a detector, fine-tune, report. Ten minutes."""
    from faceswap_hq.demo import run

    run(output, seed=seed)


@app.command()
def doctor() -> None:
    """Versions, devices, codecs, which backends work, where things are kept."""
    from faceswap_hq.doctor import examine

    healthy = True
    for check in examine():
        out.print(f"{'ok  ' if check.ok else 'NO  '} {check.name:22} {check.detail}", markup=False)
        healthy = healthy and (check.ok or check.optional)
    if not healthy:
        raise typer.Exit(1)


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run_app(app))


if __name__ == "__main__":
    main()
