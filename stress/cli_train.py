"""``stress-test train``: its typed signature is the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceswap_hq.console import progress, say, warn
from faceswap_hq.errors import UserError
from faceswap_hq.files import check_writable

if TYPE_CHECKING:  # torch is heavy; --help is to be quick
    import numpy as np

    from stress.data.crops import Excluded
    from stress.training.config import TrainConfig


#: What of a configuration is the detector's own, and cannot be said of one that there is.
_NETWORK = ("arch", "input_size", "crop_margin", "mean", "std", "output", "pretrained")


def train(
    real: Annotated[Path, typer.Option(help="Reals: a folder, or out/ of faceswap-hq (its reals are taken).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The detector; safetensors whatever its name.")],
    fake: Annotated[
        Path | None,
        typer.Option(help="Fakes: a folder, or out/ of faceswap-hq (its fakes are taken). Some recipes need none."),
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="A whole training by name or YAML file; what is given beside it goes before it.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Way of training; default plain.")] = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Option of the recipe; may be repeated.")
    ] = None,
    band: Annotated[
        str | None, typer.Option(help="Of --recipe frequency-mask: all, low, mid or high; short for --set band=.")
    ] = None,
    ratio: Annotated[
        float | None, typer.Option(help="Of --recipe frequency-mask: share hidden, 0 to 1; short for --set ratio=.")
    ] = None,
    arch: Annotated[str | None, typer.Option(help="small_cnn (default), meso4, ..., or any timm model.")] = None,
    input_size: Annotated[int | None, typer.Option(min=16, help="Side of the faces in pixels.")] = None,
    start: Annotated[Path | None, typer.Option("--from", help="Go on from this detector instead.")] = None,
    pretrained: Annotated[
        bool | None, typer.Option(help="Start from timm's published weights (downloaded); default no.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Rounds over the faces; 20 without --minutes.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after this time.")] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Faces a step, half of them fake; default 32.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate; default 0.001.")] = None,
    frames_per_clip: Annotated[int | None, typer.Option(min=1, help="Frames taken, spread over each clip; 16.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Default 0.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    signing_key: Annotated[
        Path | None, typer.Option(help="Private key (PEM) for the credentials of pictures that a recipe leaves.")
    ] = None,
    signing_cert: Annotated[Path | None, typer.Option(help="Its certificate chain (PEM).")] = None,
) -> None:
    """Train a detector to start from, plainly or by one of the papers' recipes."""
    from faceswap_hq.provenance import load_key
    from stress.data.layouts import read_clips, read_dataset
    from stress.detectors import load_detector, new_detector, require_savable, require_trainable, save_detector
    from stress.gather import cut, warn_of_names
    from stress.pictures import save_picture, stated_people
    from stress.training import train as fit
    from stress.training.config import TrainConfig

    how = _training(
        config,
        {
            "recipe": recipe, "options": _options(options, band=band, ratio=ratio), "arch": arch,
            "input_size": input_size, "pretrained": pretrained, "frames_per_clip": frames_per_clip,
        },
        {"epochs": epochs, "minutes": minutes, "batch": batch, "lr": lr, "seed": seed},
    )  # fmt: skip
    if how.recipe != "frequency-mask" and (band is not None or ratio is not None):
        raise typer.BadParameter(f"the recipe {how.recipe} masks nothing", param_hint="--band / --ratio")
    way = how.make_recipe()
    if fake is None and way.needs_fakes:
        raise typer.BadParameter(f"the recipe {way.name} needs fakes", param_hint="--fake")
    if fake is not None and not way.needs_fakes:
        raise typer.BadParameter(f"the recipe {way.name} makes its own fakes: leave this away", param_hint="--fake")
    if not way.leaves_pictures and (signing_key is not None or signing_cert is not None):
        raise typer.BadParameter(
            f"the recipe {way.name} leaves no picture to sign", param_hint="--signing-key / --signing-cert"
        )
    key = load_key(signing_key, signing_cert) if way.leaves_pictures else None
    if output.is_dir():
        raise UserError(f"{output} is a directory; the name of a file belongs behind -o.")
    check_writable(output)
    if start is not None:
        if shape := [name for name in _NETWORK if getattr(how, name) != getattr(TrainConfig(), name)]:
            raise typer.BadParameter(
                f"a detector to go on from has its own {', '.join(shape)}; leave that away, or say --recipe instead of "
                "--config", param_hint="--from",
            )  # fmt: skip
        detector = load_detector(start, device=device)
        require_trainable(detector)
        require_savable(detector)
    else:
        detector = new_detector(
            how.arch, pretrained=how.pretrained, seed=how.train.seed, device=device, input_size=how.input_size,
            crop_margin=how.crop_margin, mean=how.mean, std=how.std, output=how.output,
        )  # fmt: skip
    clips = read_clips(real, 0) if fake is None else read_dataset(fake, real)
    for folder in (real, fake):
        warn_of_names(folder, clips, warn)
    used, excluded = cut(clips, way.crop_settings(detector.card), how.frames_per_clip, "faces", warn)
    reals, fakes = ([item for item in used if item.clip.label == label] for label in (0, 1))
    for group, name in ((reals, "real"), (fakes, "fake")):
        if not group and (name == "real" or way.needs_fakes):
            raise UserError(f"No {name} clip with a face is left to train on.", _reasons(excluded))
    pictures: dict[str, np.ndarray] = {}
    with progress(f"training {detector.name}", None, unit="steps") as advance:
        trained = fit(detector, reals, fakes, how.train, recipe=way, progress=advance, on_pictures=pictures.update)
    card = save_detector(trained, output)
    say(f"Trained on {card.training_data}.")
    say(f"Threshold {card.threshold:.3f}: {card.threshold_source}.")
    say(f"Wrote {output} and {output.with_name(output.stem + '.card.json')}.")
    people = stated_people([item.clip for item in used], [real, *([fake] if fake else ())]) if pictures else []
    for name, picture in pictures.items():
        target = output.with_name(f"{output.stem}.{name}.png")
        say(f"Wrote {save_picture(picture, target, card, people=people, key=key)}.")


def _training(config: str | None, values: dict[str, Any], train: dict[str, Any]) -> TrainConfig:
    """A configuration, with what the command line says instead."""
    from stress.training.config import TrainConfig, load_config

    given = {name: value for name, value in values.items() if value not in (None, {})}
    steps = {name: value for name, value in train.items() if value is not None}
    if "minutes" in steps and "epochs" not in steps:
        steps["epochs"] = None
    how = load_config(config) if config else TrainConfig()
    if how.recipe == given.get("recipe", how.recipe):
        given["options"] = {**how.options, **given.get("options", {})}
    else:
        given.setdefault("options", {})
    try:
        return replace(how, **given, train=replace(how.train, **steps))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _options(pairs: list[str] | None, **short: Any) -> dict[str, Any]:
    """NAME=VALUE, the values read as YAML reads them, and those that have an option of their own."""
    import yaml

    found = {}
    for text in pairs or ():
        name, sign, value = text.partition("=")
        if not sign:
            raise typer.BadParameter(f"{text} is not NAME=VALUE", param_hint="--set")
        try:
            found[name.strip().replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise typer.BadParameter(f"{value} cannot be read", param_hint="--set") from None
    for name in sorted(name for name, value in short.items() if value is not None):
        if name in found:
            raise typer.BadParameter(f"{name} is set as well", param_hint=f"--{name}")
        found[name] = short[name]
    return found


def _reasons(excluded: list[Excluded]) -> str | None:
    return "; ".join(sorted({item.reason for item in excluded})[:3]) or None
