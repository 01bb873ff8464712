"""The data sets of the study of methods: six ways of making fakes of the same people, pairs and frames.

    python benchmarks/methods_data.py --cast DIR --out DIR [--model RUN] [--frames 100] [--pairs 20]

``DIR`` of the cast holds a clip of each person. OUT/METHOD/ is what ``stress-test --fakes`` takes: fakes, their
matched reals, a manifest. Nobody is in two groups, and a fake shows people of one group only; ``groups.json`` says who
is where. What is there already, made of the same clips in the same way, is kept; what a method's folder holds beside
that, of other frames or pairs, is removed. Where the cast has a ``consent.yaml`` (see ``faceswap-hq curate``), it goes
into credentials and manifest. Without ``--model`` a model of the
whole cast is trained under OUT; one shared encoder then knows both groups' people, but no detector sees it.

Everything is made of real people's footage: OUT must lie outside this repository.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import common
import numpy as np
from self_blended_data import write_self_blended

from blending import PRESETS
from faceswap_hq import console, extract, facesets, fakes, files, media
from faceswap_hq.curation import consent
from faceswap_hq.curation.plan import around
from faceswap_hq.errors import UserError
from faceswap_hq.faces.mesh import FACE_POINTS
from faceswap_hq.methods.expression import Driving, ExpressionSwap, open_expression, watch_driver
from faceswap_hq.methods.mesh import open_mesh
from faceswap_hq.planning import RenderSettings


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Whose face, or expression, is put onto whom, in which frames."""

    source: Path
    target: Path
    frames: tuple[int, int]


Opener = Callable[[Pair, RenderSettings], fakes.Method]


def groups_of(people: list[str], given: list[str] | None) -> dict[str, list[str]]:
    """Training and test people: as given (names by comma), or the first half and the rest.

    Raises:
        SystemExit: If somebody is unknown, in both, or a group has fewer than two people.
    """
    half = (len(people) + 1) // 2
    parts = [part.split(",") for part in given] if given else [people[:half], people[half:]]
    named = [name for part in parts for name in part]
    if unknown := sorted(set(named) - set(people)):
        raise SystemExit(f"The cast has no {', '.join(unknown)}; it has {', '.join(people)}.")
    if len(set(named)) < len(named):
        raise SystemExit("Nobody may be named twice: the groups must not share people.")
    if min(map(len, parts)) < 2:
        raise SystemExit("A group needs two people.")
    return dict(zip(("train", "test"), parts, strict=True))


def stretches(clip: Path, start: int, frames: int, count: int) -> list[tuple[int, int]]:
    """So many stretches of a clip, one after the other from ``start``; a clip that tells no length is believed.

    Raises:
        SystemExit: If the clip is too short for them.
    """
    length, needed = media.probe(clip).frames, start + count * frames
    if length is not None and length < needed:
        raise SystemExit(
            f"{clip} has {length} frames; {count} pairs of {frames} frames from frame {start} on need {needed}."
            " Give a longer clip, or fewer --frames or --pairs."
        )
    return [(first, first + frames) for first in range(start, needed, frames)]


def consent_of(cast: Path, people: list[str]) -> dict[str, dict[str, str]]:
    """Person ► what ``consent.yaml`` says of them; nothing where there is no such file."""
    if not (cast / consent.FILE).exists():
        return {}
    return {name: found.facts() for name, found in consent.read_consent(cast, people).items()}


def identifier(swap: fakes.Method, pair: Pair) -> str:
    """Name of the fake of a pair."""
    return fakes.identifier(pair.target, swap.source, swap.target, pair.frames, swap.joint)


def openers(options: argparse.Namespace, clips: dict[str, Path]) -> dict[str, tuple[str, Opener]]:
    """Method ► preset of its blending, and what makes it ready (but for the driving clip: see :func:`driven`)."""
    models: dict[str, Path] = {}

    def autoencoder(pair: Pair, settings: RenderSettings) -> fakes.Method:
        run = options.model or models.setdefault("cast", trained(options, clips))
        return fakes.open_swap(
            run, settings, source=pair.source.stem, target=pair.target.stem, progress=console.progress
        )

    def mesh(pair: Pair, settings: RenderSettings) -> fakes.Method:
        faceset, _ = facesets.open_person(pair.source, extract.ExtractSettings(), console.progress)
        return open_mesh(faceset, settings, target=pair.target.stem, progress=console.progress)

    def expression(pair: Pair, settings: RenderSettings) -> fakes.Method:
        still = Driving(
            times=np.zeros(1), offsets=np.zeros((1, FACE_POINTS, 2)), clip=pair.source.name,
            sha256=files.sha256_file(pair.source),
        )  # fmt: skip
        return open_expression(
            still, settings, source=pair.source.stem, target=pair.target.stem, progress=console.progress
        )

    return {
        "mesh": (options.mesh_blend, mesh),
        "autoencoder-none": ("none", autoencoder),
        "autoencoder-classic": ("classic", autoencoder),
        "autoencoder-best": ("best", autoencoder),
        "expression": (options.expression_blend, expression),
    }


def driven(swap: fakes.Method, clip: Path, found: dict[Path, Driving]) -> fakes.Method:
    """An expression warp with what the driver does, which takes a while to look for; any other method as it is."""
    if not isinstance(swap, ExpressionSwap):
        return swap
    if clip not in found:
        found[clip] = watch_driver(clip, swap.settings, console.progress)
    return replace(swap, driving=found[clip])


def trained(options: argparse.Namespace, clips: dict[str, Path]) -> Path:
    """A model of the whole cast under OUT, trained by the command a user types; resumed where it was broken off."""
    run: Path = options.out / "model"
    arguments = ["train", "--cast", options.cast, "--model", run, "--preset", options.preset]
    arguments += ["--minutes", options.minutes * len(clips) / 2]
    if console.run_app(command_line(), [str(argument) for argument in arguments]):
        raise SystemExit("The model could not be trained.")
    return run


def command_line() -> Any:
    """The app of ``faceswap-hq``."""
    from faceswap_hq.cli import app

    return app


def self_blended(folder: Path, out: Path) -> None:
    """Self-blended pictures of the reals that another method's fakes were made from.

    Args:
        folder: What another method made, with its manifest.
        out: Folder to make.
    """
    reals = {entry["real"]: entry["target"] for entry in fakes.Manifest(folder).read()}
    agreed = {target["person"]: target["consent"] for target in reals.values() if "consent" in target}
    write_self_blended([(folder / name, target["person"]) for name, target in sorted(reals.items())], out, agreed)


def pairs_of(people: dict[str, Path], options: argparse.Namespace) -> list[Pair]:
    """The pairs of a group; every pair of a target has the next frames of the target's clip.

    Raises:
        SystemExit: If a clip is too short.
    """
    named = around(list(people))[: options.pairs]
    parts = {
        name: iter(stretches(people[name], options.start, options.frames, count))
        for name, count in Counter(b for _, b in named).items()
    }
    return [Pair(source=people[a], target=people[b], frames=next(parts[b])) for a, b in named]


def record(groups: dict[str, list[str]], pairs: dict[str, list[Pair]], methods: list[str], path: Path) -> None:
    """Write ``groups.json``; methods that it names already stay, if they were made of the same pairs and frames."""
    plan = {
        "groups": groups,
        "pairs": {
            group: [[pair.source.stem, pair.target.stem, *pair.frames] for pair in mine]
            for group, mine in pairs.items()
        },
    }
    before = files.read_json(path) if path.exists() else {}
    if any(before.get(key) != value for key, value in plan.items()):
        before = {}
    every = list(dict.fromkeys([*before.get("methods", []), *methods]))
    common.finish({"format": "faceswap-hq methods data", "version": 1, **plan, "methods": every}, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cast", type=Path, required=True, help="folder with a clip of each person")
    parser.add_argument("--out", type=Path, required=True, help="outside the repository")
    parser.add_argument("--model", type=Path, help="trained model of the cast; default: trained under OUT")
    parser.add_argument("--preset", default="fast", help="of the training")
    parser.add_argument("--minutes", type=float, default=20, help="of training for each two people")
    parser.add_argument("--groups", nargs=2, metavar="A,B,..", help="training and test people; default half and half")
    parser.add_argument("--pairs", type=int, help="ordered pairs in a group; default all")
    parser.add_argument("--start", type=int, default=0, help="first frame of each clip")
    parser.add_argument("--frames", type=int, default=100, help="of each pair; each pair of a target has others")
    parser.add_argument("--methods", help="names by comma; default all")
    parser.add_argument("--mesh-blend", choices=PRESETS, default="classic")
    parser.add_argument("--expression-blend", choices=PRESETS, default="none")
    options = parser.parse_args()
    if options.out.resolve().is_relative_to(common.REPOSITORY):
        parser.error("--out must lie outside this repository")
    clips = {path.stem: path for path in facesets.members(options.cast) if path.is_file()}
    groups = groups_of(list(clips), options.groups)
    known = openers(options, clips)
    chosen = options.methods.split(",") if options.methods else [*known, "self-blended"]
    if chosen[0] == "self-blended":
        parser.error("self-blended pictures are made of another method's reals: name one before it")
    if unknown := sorted(set(chosen) - {*known, "self-blended"}):
        parser.error(f"no method is called {', '.join(unknown)}; there are {', '.join(known)}, self-blended")
    pairs = {group: pairs_of({name: clips[name] for name in people}, options) for group, people in groups.items()}
    agreed = consent_of(options.cast, list(clips))
    drivers: dict[Path, Driving] = {}
    for method in chosen:
        out = options.out / method
        if method == "self-blended":
            self_blended(options.out / chosen[0], out)
            continue
        blend, opened = known[method]
        planned = set()
        for pair in (pair for mine in pairs.values() for pair in mine):
            swap = replace(opened(pair, RenderSettings(blend=PRESETS[blend], frames=pair.frames)), consent=agreed)
            planned.add(identifier(swap, pair))
            name = f"{method}: {swap.source} {swap.joint} {swap.target}"
            if fakes.is_made(pair.target, swap, out):
                print(f"{name}: there already", file=sys.stderr)
                continue
            counts = fakes.render_pair(pair.target, driven(swap, pair.source, drivers), out)[1]
            print(f"{name}: {counts.swapped} of {counts.frames} frames", file=sys.stderr)
        if dropped := fakes.Manifest(out).keep(planned):
            print(f"{method}: {dropped} fakes of earlier runs, not of this one's pairs and frames, removed",
                  file=sys.stderr)  # fmt: skip
    record(groups, pairs, chosen, options.out / "groups.json")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(str(error)) from None
