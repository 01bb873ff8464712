"""The fakes: the curation, and the same swaps crude, stage by stage, and by methods without learning."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from blending import PRESETS, BlendSettings, rungs, settings_from_dict
from faceswap_hq import actors, extract, facesets, fakes, files
from faceswap_hq.console import progress, say, warn
from faceswap_hq.curation.consent import FILE as CONSENT
from faceswap_hq.errors import UserError
from faceswap_hq.faces.mesh import FACE_POINTS
from faceswap_hq.methods.expression import Driving, ExpressionSwap, open_expression, watch_driver
from faceswap_hq.methods.mesh import open_mesh
from faceswap_hq.planning import RenderSettings
from faceswap_hq.training.run import load_model
from reproduce_paper.plan import Swap

TRANSFER_BLEND = {"mesh": "classic", "expression": "none"}
"""Blending of the methods without learning: a mesh needs its colours matched, an expression is the target's face."""

Opener = Callable[[Swap, RenderSettings], fakes.Method]


def film_actors(folder: Path, count: int, seconds: float, size: int, seed: int) -> None:
    """A cast of virtual actors with its consent file, unless it is there.

    Raises:
        UserError: If the folder holds actors that were made otherwise.
    """
    wanted = {"count": count, "seconds": seconds, "size": size, "seed": seed}
    mark = folder / ".actors.json"
    if mark.exists():
        if files.read_json(mark) != wanted:
            raise UserError(f"{folder} holds other actors.", "Choose another directory with -o.")
        return
    clips = actors.make_cast(folder, count, seconds=seconds, seed=seed, size=size)
    files.write_yaml(folder / CONSENT, {clip.stem: "virtual actor" for clip in clips})
    files.write_json(mark, wanted)


def curate(cast: Path, out: Path, options: Mapping[str, Any]) -> None:
    """``faceswap-hq curate``, as a user would run it; it goes on where it was broken off.

    Args:
        cast: The clips and their consent.
        out: The curation.
        options: Name ► value of its options; None is left out.

    Raises:
        UserError: If it fails for a reason of the user's.
        KeyboardInterrupt: If it was stopped.
    """
    given = [part for name, value in options.items() if value is not None for part in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "faceswap_hq", "curate", str(cast), "-o", str(out), *given]
    say(f"$ {' '.join(['faceswap-hq', *command[3:]])}")
    code = subprocess.run(command, check=False).returncode  # noqa: S603 - our own module
    if code == 130:
        raise KeyboardInterrupt
    if code:
        raise UserError(f"faceswap-hq curate ended with exit code {code}.", "Its own message stands above.")


def clips_of(cast: Path, swaps: Sequence[Swap]) -> dict[str, Path]:
    """Name ► clip of everybody who is a target, the very one that the good fakes were made of.

    Raises:
        UserError: If one is missing or another.
    """
    people = {facesets.person_name(path): path for path in facesets.members(cast)}
    found = {}
    for swap in swaps:
        target = swap.entry["target"]
        name = str(target["person"])
        if name in found:
            continue
        path = people.get(name, cast / name)
        path = path / str(target["clip"]) if path.is_dir() else path
        if not path.is_file() or files.sha256_file(path) != target["sha256"]:
            raise UserError(f"{cast} does not hold {name}'s clip that the good fakes were made of: {target['clip']}.")
        found[name] = path
    return found


def models_of(good: Path, given: Path | None, swaps: Sequence[Swap]) -> dict[str, Path]:
    """SHA-256 ► run of every model that the good fakes were made by.

    Raises:
        UserError: If one is not there.
    """
    runs = [given] if given is not None else sorted(path for path in (good / "work/models").glob("*") if path.is_dir())
    known = {load_model(run)[1].sha256: run for run in runs if (run / "model.safetensors").is_file()}
    for swap in swaps:
        if swap.entry["model"]["sha256"] not in known:
            raise UserError(
                f"The model that {swap.entry['id']} was made by, {swap.entry['model']['run']}, is not there.",
                "Name it with --model DIR.",
            )
    return known


def stages_between(swap: Swap) -> dict[str, BlendSettings]:
    """The rungs of the ladder between the crude fake and the good one: name ► blending."""
    every = rungs(settings_from_dict(dict(swap.entry["blending"])))
    return dict(list(every.items())[1:-1])


@dataclass(frozen=True, kw_only=True)
class Studio:
    """What is needed to make a swap once more.

    Args:
        out: Gets a folder for each set.
        clips: Name ► target's clip.
        members: Name ► clip, folder or faceset of everybody.
        models: SHA-256 ► run.
        settings: The curation's: ``backend``, ``seed``.
        failures: Gets ``what`` and ``reason`` of what could not be made.
        drivers: What is known of the clips that expressions are taken from.
    """

    out: Path
    clips: Mapping[str, Path]
    members: Mapping[str, Path]
    models: Mapping[str, Path]
    settings: Mapping[str, Any]
    failures: list[dict[str, str]]
    drivers: dict[Path, Driving] = field(default_factory=dict)

    def render(self, name: str, swaps: Sequence[Swap], blend: BlendSettings, opener: Opener) -> bool:
        """Make what of a set is not there, and remove what earlier plans left; returns whether there are any."""
        folder, planned = self.out / name, set()
        with progress(f"{name} fakes", len(swaps), unit="fakes") as advance:
            for swap in swaps:
                start = RenderSettings(
                    frames=swap.frames, blend=blend, backend=self.settings["backend"], seed=self.settings["seed"]
                )
                clip = self.clips[swap.people[1]]
                people = (swap.entry["source"], swap.entry["target"])
                agreed = {who["person"]: who["consent"] for who in people if "consent" in who}
                try:
                    method = replace(opener(swap, start), consent=agreed)
                    if not fakes.is_made(clip, method, folder):
                        fakes.render_pair(clip, self._driven(method), folder, masks=False)
                    planned.add(
                        fakes.identifier(clip, method.source, method.target, method.settings.frames, method.joint)
                    )
                except UserError as error:
                    self.failures.append({"what": f"{name}: {' onto '.join(swap.people)}", "reason": error.message})
                    warn(f"{name}: {' onto '.join(swap.people)}: {error.message}")
                advance(1, " onto ".join(swap.people))
        if folder.is_dir():
            fakes.Manifest(folder).keep(planned)
        return bool(planned)

    def autoencoder(self, swap: Swap, settings: RenderSettings) -> fakes.Method:
        """By the model that made the good fake."""
        source, target = swap.people
        return fakes.open_swap(
            self.models[swap.entry["model"]["sha256"]], settings, source=source, target=target
        )

    def mesh(self, swap: Swap, settings: RenderSettings) -> fakes.Method:
        """The source's own pictures, bent onto the target."""
        source, target = swap.people
        faceset, _ = facesets.open_person(self.members[source], extract.ExtractSettings(backend=settings.backend))
        return open_mesh(faceset, settings, source=source, target=target)

    def expression(self, swap: Swap, settings: RenderSettings) -> fakes.Method:
        """The target's own face, to be moved as the source's is; :meth:`_driven` adds by what."""
        source, target = swap.people
        if source not in self.clips:
            raise UserError(f"{source} has no clip to drive by.")
        clip = self.clips[source]
        still = Driving(
            times=np.zeros(1), offsets=np.zeros((1, FACE_POINTS, 2)), clip=clip.name, sha256=files.sha256_file(clip)
        )
        return open_expression(still, settings, source=source, target=target)

    def _driven(self, method: fakes.Method) -> fakes.Method:
        """An expression warp with what the driver does, which takes a while to look for; another method as it is."""
        if not isinstance(method, ExpressionSwap):
            return method
        clip = self.clips[method.source]
        if clip not in self.drivers:
            self.drivers[clip] = watch_driver(clip, method.settings)
        return replace(method, driving=self.drivers[clip])

    def everything(self, swaps: Sequence[Swap], ladder: Sequence[Swap], transfer: Sequence[str], test: Sequence[Swap],
                   timed: Callable[[str], Any]) -> dict[str, Path]:  # fmt: skip
        """All sets.

        Args:
            swaps: To be made crude.
            ladder: To be made stage by stage.
            transfer: Methods without learning.
            test: Swaps to make by these.
            timed: Opens a stopwatch for a stage of that name.

        Returns:
            Name of the set ► its folder. The ladder's first and last rung are the crude and the good fakes themselves.
        """
        found = {}
        with timed("crude fakes"):
            if not self.render("crude", swaps, PRESETS["none"], self.autoencoder):
                raise UserError("Not one crude fake could be made.", "The warnings above say why.")
            found["crude"] = self.out / "crude"
        stages = stages_between(ladder[0]) if ladder else {}
        with timed("ladder"):
            for rung, blend in stages.items():
                if self.render(f"ladder-{rung}", ladder, blend, self.autoencoder):
                    found[f"ladder:{rung}"] = self.out / f"ladder-{rung}"
        with timed("methods without learning"):
            for name in transfer:
                if self.render(name, test, PRESETS[TRANSFER_BLEND[name]], getattr(self, name)):
                    found[name] = self.out / name
        return found
