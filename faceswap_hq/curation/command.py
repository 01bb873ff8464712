"""`faceswap-hq curate`: its typed signature is the command line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faceswap_hq.console import progress, resumable, say, training_progress, warn
from faceswap_hq.errors import UserError
from faceswap_hq.options import Address, Backend, Device, EngineName, TaskNeeds

if TYPE_CHECKING:
    from faceswap_hq.curation.publish import Judged

IDENTITY = "identity.onnx"
"""Name of the recognition network in the configuration directory."""


def curate(
    output: Annotated[Path, typer.Option("-o", "--output", help="Directory of the data set; resumed if there.")],
    cast: Annotated[
        Path | None,
        typer.Argument(metavar="CAST_DIR", help="A folder with a clip, folder or faceset of each person, and consent."),
    ] = None,
    review: Annotated[
        Path | None,
        typer.Option("--apply", help="review.json, exported by OUTPUT/review.html: obey it, and render nothing."),
    ] = None,
    pairs: Annotated[str, typer.Option(help="all; so many, chosen by --seed; or A:B,C:D (A's face onto B).")] = "all",
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would be done, and how long that takes.")] = False,
    model: Annotated[
        Path | None, typer.Option(help="A trained model to begin with, which stays as it is; default: train one.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="As for train: fast (default), hq, ... or a YAML file.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Train for so long; default the preset's.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Train for so many steps instead.")] = None,
    retrain_rounds: Annotated[
        int, typer.Option(min=0, help="How often those who failed are trained further and rendered again.")
    ] = 1,
    retrain_steps: Annotated[int, typer.Option(min=1, help="Steps of each such training.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of pairs, the training and the noise.")] = 0,
    held_out: Annotated[
        float, typer.Option(help="Last part of each clip that is kept from training and rendered on, 0 to 1.")
    ] = 0.3,
    seconds: Annotated[float, typer.Option(min=0.01, help="Length of a fake at most.")] = 10.0,
    thresholds: Annotated[
        Path | None, typer.Option(help="YAML file of what a fake must reach; default the package's.")
    ] = None,
    identity_model: Annotated[
        Path | None,
        typer.Option(help="Face-recognition network (ONNX, ArcFace's alignment: MobileFaceNet, ...), for likeness."),
    ] = None,
    blend: Annotated[str, typer.Option(help="none (plain paste), classic, best, or a YAML file.")] = "best",
    masks: Annotated[
        bool, typer.Option(help="Also masks/: how much of every pixel is the new face; for detectors that locate it.")
    ] = True,
    backend: Backend = "mediapipe",
    device: Device = None,
    engine: EngineName = "local",
    address: Address = "auto",
    needs: TaskNeeds = None,
    signing_key: Annotated[Path | None, typer.Option(help="Private key (PEM) for the content credentials.")] = None,
    signing_cert: Annotated[Path | None, typer.Option(help="Its certificate chain (PEM).")] = None,
) -> None:
    """Fakes of a whole cast: every ordered pair, on footage kept from training, scored, sorted, with a dataset card."""
    from faceswap_hq import facesets, files, places
    from faceswap_hq.curation.consent import read_consent

    if review is not None:
        _apply(review, output, cast)
        return
    if cast is None:
        raise UserError("CAST_DIR is missing.", "faceswap-hq curate CAST_DIR -o OUTPUT; without it only with --apply.")
    if output.resolve().is_relative_to(cast.resolve()):
        raise UserError(
            f"{output} lies in {cast}, where it would be taken for one of the people.",
            "Choose a directory beside it with -o.",
        )
    # Consent before anything heavy is loaded, and before anything is written
    read_consent(cast, [facesets.person_name(path) for path in facesets.members(cast)])
    if model is not None and (preset is not None or steps is not None or minutes is not None):
        raise UserError(f"{model} is trained already.", "Leave --preset, --steps and --minutes out.")

    from faceswap_hq.curation import opening
    from faceswap_hq.curation.plan import HeldOut
    from faceswap_hq.curation.run import run
    from faceswap_hq.curation.settings import CurateSettings
    from faceswap_hq.curation.thresholds import read_thresholds
    from faceswap_hq.engines import Tools, open_engine
    from faceswap_hq.provenance import load_key

    settings = CurateSettings(
        pairs=pairs, seed=seed, preset=preset or "fast", steps=steps, minutes=minutes, retrain_rounds=retrain_rounds,
        retrain_steps=retrain_steps, blend=blend, backend=backend, masks=masks,
        held_out=HeldOut(share=held_out, seconds=seconds),
    )  # fmt: skip
    tools = Tools(
        frames=lambda description, total: progress(description, total, unit="frames"), training=training_progress,
        say=say, warn=warn, device=device, key=load_key(signing_key, signing_cert),
    )  # fmt: skip
    wanted = read_thresholds(thresholds)
    identity = _identity(identity_model)
    folders = (output if output.is_dir() else output.parent, places.cache_dir())
    with (
        files.lock_beside(output, wait=False),
        open_engine(engine, tools, address=address, needs=needs or (), folders=folders) as where,
    ):
        curation = opening.open_curation(
            cast, output, settings, wanted, model=model, identity=identity, tools=tools, engine=where
        )
        for line in opening.plan_lines(curation):
            say(line)
        if plan:
            return
        with resumable():
            order = run(curation, tools, where)
    for item in order:
        if not item.verdict.accepted:
            say(f"{item.id} is rejected: {'; '.join(item.verdict.reasons)}")
    _say_result(output, order)
    say(f"Look at them in a browser: {output / 'review.html'}")


def _say_result(output: Path, order: Sequence[Judged]) -> None:
    accepted = sum(item.verdict.accepted for item in order)
    say(f"{output}: {accepted} fakes accepted, {len(order) - accepted} rejected; see {output / 'README.md'}")
    if accepted:
        say(f"Next: stress-test --detector CKPT --fakes {output}")


def _apply(review: Path, output: Path, cast: Path | None) -> None:
    """Put a person's review into effect."""
    from faceswap_hq import files
    from faceswap_hq.curation.apply import apply_review

    if cast is not None:
        raise UserError("--apply changes what was curated already.", f"Leave {cast} out.")
    if not output.is_dir():
        raise UserError(f"{output} is no directory.", "Give the directory that holds review.html with -o.")
    with files.lock_beside(output, wait=False):
        order, decisions = apply_review(review, output)
    counts = Counter(decision.verdict for decision in decisions)
    say(f"{review}: {counts['accept']} accepted, {counts['reject']} rejected, {counts['automatic']} left to thresholds")
    _say_result(output, order)


def _identity(given: Path | None) -> Path | None:
    """The recognition network: the one given, or the user's own; a warning where there is none."""
    from faceswap_hq import places
    from faceswap_hq.quality import IdentityModel

    own = places.config_dir() / IDENTITY
    path = given or (own if own.is_file() else None)
    if path is None:
        warn(f"likeness to the source is not measured: no --identity-model, and no {own}")
    else:
        IdentityModel(path)  # what is wrong with it is said now, not after the training
    return path
