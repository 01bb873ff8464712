"""The data sets of the study of methods: six ways of making fakes of the same people, pairs and frames.

    python benchmarks/methods_data.py --cast DIR --out DIR [--model RUN] [--frames 100] [--pairs 20]

``DIR`` of the cast holds a clip of each person. OUT/METHOD/ is what ``stress-test --fakes`` takes: fakes, their
matched reals, a manifest. Nobody is in two groups, and a fake shows people of one group only; ``groups.json`` says who
is where. What is there already, made of the same clips in the same way, is kept. Without ``--model`` a model of the
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

from blending import PRESETS, settings_to_dict
from faceswap_hq import console, extract, facesets, fakes, files, media
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


def ordered_pairs(people: list[str], most: int | None) -> list[tuple[str, str]]:
    """Source and target, everybody as often as can be: first all with their next neighbour, then with the one after."""
    pairs = [(a, people[(i + step) % len(people)]) for step in range(1, len(people)) for i, a in enumerate(people)]
    return pairs[:most]


def stretch(clip: Path, start: int, count: int) -> tuple[int, int]:
    """So many frames of a clip from ``start``; what does not fit is taken from the clip's end."""
    length = media.probe(clip).frames or start + count
    stop = min(start + count, length)
    return max(0, min(start, stop - count)), stop


def made(swap: fakes.Method, pair: Pair, out: Path) -> bool:
    """Whether this very fake is in ``out`` already: same clips, frames, method, weights and blending, and its files."""
    wanted = {
        "source": {"person": swap.source},
        "blending": settings_to_dict(swap.settings.blend),
        "frames": list(pair.frames),
        **swap.made_with(),
    }
    for entry in fakes.Manifest(out).read():
        if all(entry.get(key) == value for key, value in wanted.items()):
            same = entry["target"]["sha256"] == files.sha256_file(pair.target)
            if same and all((out / entry[kind]).is_file() for kind in ("fake", "real")):
                return True
    return False


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
    reals = {entry["real"]: entry["target"]["person"] for entry in fakes.Manifest(folder).read()}
    write_self_blended([(folder / name, who) for name, who in sorted(reals.items())], out)


def pairs_of(people: dict[str, Path], options: argparse.Namespace) -> list[Pair]:
    """The pairs of a group; every pair of a target has the next frames of the target's clip."""
    found, taken = [], Counter[str]()
    for a, b in ordered_pairs(list(people), options.pairs):
        start = options.start + taken[b] * options.frames
        found.append(Pair(source=people[a], target=people[b], frames=stretch(people[b], start, options.frames)))
        taken[b] += 1
    return found


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
    drivers: dict[Path, Driving] = {}
    for method in chosen:
        if method == "self-blended":
            self_blended(options.out / chosen[0], options.out / method)
            continue
        for mine in pairs.values():
            out = options.out / method
            blend, opened = known[method]
            for pair in mine:
                swap = opened(pair, RenderSettings(blend=PRESETS[blend], frames=pair.frames))
                name = f"{method}: {swap.source} {swap.joint} {swap.target}"
                if made(swap, pair, out):
                    print(f"{name}: there already", file=sys.stderr)
                    continue
                counts = fakes.render_pair(pair.target, driven(swap, pair.source, drivers), out)[1]
                print(f"{name}: {counts.swapped} of {counts.frames} frames", file=sys.stderr)
    common.finish(
        {
            "format": "faceswap-hq methods data", "version": 1, "groups": groups,
            "pairs": {group: [[pair.source.stem, pair.target.stem, *pair.frames] for pair in mine]
                      for group, mine in pairs.items()},
            "methods": chosen,
        },
        options.out / "groups.json",
    )  # fmt: skip


if __name__ == "__main__":
    main()
