"""What leaves the renderer, signed: single files, or ``out/`` with fakes, their matched reals and a manifest."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import faceswap_hq
from blending import rungs, settings_to_dict
from faceswap_hq import files, provenance, render
from faceswap_hq.errors import UserError
from faceswap_hq.methods.autoencoder import Swap, open_swap
from faceswap_hq.methods.method import Method
from faceswap_hq.planning import Plan
from faceswap_hq.render import Counts

__all__ = [
    "Manifest", "Method", "Swap", "identifier", "is_made", "make_pair", "open_swap", "paths_of", "render_file",
    "render_ladder", "render_pair", "render_preview",
]  # fmt: skip

FORMAT = "faceswap-hq manifest"
VERSION = 1


def _refuse_overwriting(video: Path, *targets: Path) -> None:
    for target in targets:
        if target.exists() and (target.is_dir() or target.samefile(video)):
            what = "is a directory" if target.is_dir() else "is the input itself"
            raise UserError(f"{target} {what}; nothing was written.", "Choose another output with -o.")


def render_file(video: Path, swap: Method, target: Path, *, compare: bool = False) -> Counts:
    """Write one swapped, signed video.

    Args:
        video: The target clip.
        swap: From :func:`open_swap`, or another method.
        target: File to write, .mp4.
        compare: Original and swap side by side.
    """
    _refuse_overwriting(video, target)
    if target.suffix.lower() not in (".mp4", ".m4v"):
        raise UserError(f"{target}: the output is an .mp4 file.", f"For example -o {target.stem or 'swap'}.mp4")
    plan = swap.plan(video)
    sha256 = files.sha256_file(video)
    with files.scratch_beside(target) as scratch:
        unsigned = scratch / "fake.mp4"
        counts = _encode(plan, swap, unsigned, compare=compare)
        _sign_fake(unsigned, target, plan, swap, swap.facts(plan, counts, sha256))
    return counts


def render_pair(
    video: Path, swap: Method, out: Path, *, control: bool = False, masks: bool = True
) -> tuple[str, Counts]:
    """Write ``fakes/ID.mp4``, its matched ``reals/ID.mp4`` and their manifest entry; returns the ID and the counts.

    Args:
        video: The target clip.
        swap: From :func:`open_swap`, or another method.
        out: Directory of all of them.
        control: Also write ``controls/ID.mp4``: the target's own face taken out and put back where the swap's would be,
            through the same warp, mask, blending and codec. A detector that calls it fake knows the pipeline.
        masks: Also write ``masks/ID.zip``: how much of every pixel is the new face (:mod:`faceswap_hq.masks`).
    """
    manifest = Manifest(out)
    manifest.read()  # a damaged one is reported before an hour of work, not after
    entry, counts = make_pair(video, swap, out, control=control, masks=masks)
    manifest.put(entry)
    return entry["id"], counts


def make_pair(
    video: Path, swap: Method, out: Path, *, control: bool = False, masks: bool = False
) -> tuple[dict[str, Any], Counts]:
    """:func:`render_pair` without the manifest: returns the entry that belongs into it, and the counts."""
    name = identifier(video, swap.source, swap.target, swap.settings.frames, swap.joint)
    fake, real, own = (out / kind / f"{name}.mp4" for kind in ("fakes", "reals", "controls"))
    mask = out / "masks" / f"{name}.zip"
    _refuse_overwriting(video, fake, real, own, mask)
    plan = swap.plan(video)
    sha256 = files.sha256_file(video)
    with files.scratch_beside(fake) as scratch:
        unsigned, untouched = scratch / "fake.mp4", scratch / "real.mp4"
        exact = scratch / "masks.zip" if masks else None
        counts = _encode(plan, swap, unsigned, real=untouched, masks=exact)
        facts = swap.facts(plan, counts, sha256)
        signed = {real: scratch / "reals" / real.name, fake: scratch / "fakes" / fake.name}
        _sign_fake(unsigned, signed[fake], plan, swap, facts)
        provenance.sign_video(
            untouched,
            signed[real],
            claim=provenance.Claim(
                action="c2pa.transcoded", source_type=None, parent=video, title=real.name,
                facts={"toolkit": facts["toolkit"], "target": facts["target"], "frames": facts["frames"],
                       "note": "Matched real: the target's frames through the same codec, face untouched."},
            ),
            key=swap.key,
        )  # fmt: skip
        if control:
            signed[own] = scratch / "controls" / own.name
            _encode(plan, replace(swap, settings=replace(swap.settings, own=True)), scratch / "own.mp4")
            _sign_control(scratch / "own.mp4", signed[own], plan, swap, facts)
        for final, made in signed.items():  # all are there, or none
            _publish(made, final)
        if exact is not None:
            mask.parent.mkdir(exist_ok=True)
            exact.replace(mask)
    entry = {"id": name, "fake": f"fakes/{name}.mp4", "real": f"reals/{name}.mp4", **facts}
    entry["frames"] = [plan.start, plan.stop]
    entry["sha256"] = {"fake": files.sha256_file(fake), "real": files.sha256_file(real)}
    if masks:
        entry["mask"] = f"masks/{name}.zip"
        entry["sha256"]["mask"] = files.sha256_file(mask)
    if control:
        entry["control"] = f"controls/{name}.mp4"
        entry["sha256"]["control"] = files.sha256_file(own)
    return entry, counts


def render_ladder(video: Path, swap: Method, out: Path, *, masks: bool = True) -> list[Path]:
    """The same swap once for every rung of the quality ladder, each into a folder of its own with its matched real.

    Args:
        video: The target clip.
        swap: From :func:`open_swap`, or another method; its blending is the ladder's top.
        out: Gets ``0-none/``, ``1-mask/``, ... each as :func:`render_pair` makes it.
        masks: As for :func:`render_pair`; each rung has its own, since what is blended in differs.

    Returns:
        The fakes, from crude to best.
    """
    made = []
    for number, (rung, blend) in enumerate(rungs(swap.settings.blend).items()):
        folder = out / f"{number}-{rung}"
        name, _ = render_pair(video, replace(swap, settings=replace(swap.settings, blend=blend)), folder, masks=masks)
        made.append(folder / "fakes" / f"{name}.mp4")
    return made


def render_preview(video: Path, swap: Method, frame: int, target: Path) -> None:
    """Write one frame, original and swap side by side, as a signed PNG.

    Raises:
        UserError: If the clip has no such frame.
    """
    _refuse_overwriting(video, target)
    if target.suffix.lower() != ".png":
        raise UserError(f"{target}: a preview is a .png file.", f"For example -o {target.stem or 'preview'}.png")
    one = replace(swap, settings=replace(swap.settings, frames=(frame, frame + 1)))
    plan = one.plan(video)
    with contextlib.closing(one.frames(plan)) as frames:
        item = next(frames)
    picture = np.concatenate([item.frame.image, item.image], axis=1)
    counts = Counts(frames=1, with_face=1, swapped=1, passed=0, people=len(plan.faces.people), damaged=0, seconds={})
    with files.scratch_beside(target) as scratch:
        unsigned = scratch / "preview.png"
        unsigned.write_bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes())
        claim = _fake_claim(target, plan, one, one.facts(plan, counts, files.sha256_file(video)))
        provenance.sign_image(unsigned, target, claim=claim, key=swap.key)


def _encode(
    plan: Plan, swap: Method, fake: Path, *, real: Path | None = None, masks: Path | None = None, compare: bool = False
) -> Counts:
    seconds: dict[str, float] = defaultdict(float)
    doing = f"putting {swap.target} back" if swap.settings.own else f"{swap.source} {swap.joint} {swap.target}"
    with (
        swap.progress(doing, plan.stop - plan.start) as advance,
        contextlib.closing(swap.frames(plan, seconds)) as frames,
    ):
        return render.write_video(
            plan, frames, fake, real=real, masks=masks, compare=compare, advance=advance, seconds=seconds
        )


def _fake_claim(target: Path, plan: Plan, swap: Method, facts: dict[str, Any]) -> provenance.Claim:
    return provenance.Claim(
        action="c2pa.edited",
        source_type=swap.source_type,
        parent=plan.info.path,
        title=target.name,
        facts=facts,
    )


def _sign_fake(unsigned: Path, final: Path, plan: Plan, swap: Method, facts: dict[str, Any]) -> None:
    provenance.sign_video(unsigned, final, claim=_fake_claim(final, plan, swap, facts), key=swap.key)


def _sign_control(unsigned: Path, final: Path, plan: Plan, swap: Method, facts: dict[str, Any]) -> None:
    kept = ("toolkit", "method", "target", "frames", "model", "blending", "parser")  # the model has only drawn the mask
    note = "Processed real: the target's own face, taken out and put back as a swap's would be. Nobody else's is in it."
    claim = provenance.Claim(
        action="c2pa.edited", source_type="algorithmicallyEnhanced", parent=plan.info.path, title=final.name,
        facts={key: facts[key] for key in kept if key in facts} | {"note": note},
    )  # fmt: skip
    provenance.sign_video(unsigned, final, claim=claim, key=swap.key)


def _publish(made: Path, final: Path) -> None:
    """Move a signed video and its sidecar from the scratch directory to their place."""
    final.parent.mkdir(parents=True, exist_ok=True)
    provenance.sidecar_path(made).replace(provenance.sidecar_path(final))
    made.replace(final)


def is_made(video: Path, swap: Method, out: Path) -> bool:
    """Whether :func:`render_pair` has made this very fake in ``out`` already, and its files are there.

    Args:
        video: The target clip.
        swap: Who onto whom, and how; its clip, frames, method, weights, blending and consent must be the same.
        out: Directory of all of them.
    """
    people = {
        role: {"person": name} | ({"consent": dict(swap.consent[name])} if name in swap.consent else {})
        for role, name in (("source", swap.source), ("target", swap.target))
    }
    wanted = {
        "id": identifier(video, swap.source, swap.target, swap.settings.frames, swap.joint),
        "source": people["source"],
        "target": people["target"] | {"clip": video.name, "sha256": files.sha256_file(video)},
        "blending": settings_to_dict(swap.settings.blend),
        **({} if swap.settings.frames is None else {"frames": list(swap.settings.frames)}),
        **swap.made_with(),
    }
    for entry in Manifest(out).read():
        if all(entry.get(key) == value for key, value in wanted.items()):
            return all((out / entry[kind]).is_file() for kind in ("fake", "real"))
    return False


def identifier(
    video: Path, source: str, target: str, frames: tuple[int, int] | None, joint: str = Method.joint
) -> str:
    """Name of a fake: who onto whom, the clip where it has another name than its person, the frames unless all."""
    parts = [source, joint, target]
    if video.stem != target:
        parts.append(video.stem)
    if frames is not None:
        parts.append("{}-{}".format(*frames))
    return re.sub(r"([^\w.-]|_)+", "_", "_".join(parts))[:150]


def paths_of(entry: Mapping[str, Any]) -> list[str]:
    """Every file of a manifest's entry, relative to its directory: videos after their credentials; a mask has none."""
    found = []
    for kind in entry.get("sha256", ()):
        path = str(entry[kind])
        found += [path] if kind == "mask" else [provenance.sidecar_path(Path(path)).as_posix(), path]
    return found


class Manifest:
    """``manifest.json`` of an output directory.

    Args:
        out: The directory.
    """

    def __init__(self, out: Path) -> None:
        self.path = out / "manifest.json"

    def read(self) -> list[dict[str, Any]]:
        """The entries; none if there is no manifest yet.

        Raises:
            UserError: If it is damaged or of a newer version: it is never written over.
        """
        if not self.path.exists():
            return []
        value = files.read_json(self.path)
        whole = isinstance(value, dict) and value.get("format") == FORMAT and isinstance(value.get("version"), int)
        if whole and value["version"] > VERSION:
            raise UserError(f"{self.path} was written by a newer version of faceswap-hq.", "pip install -U faceswap-hq")
        entries = value.get("entries") if whole else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UserError(
                f"{self.path} is damaged.", "Nothing was changed. Restore it, or render into another directory."
            )
        return entries

    def put(self, entry: dict[str, Any]) -> None:
        """Add an entry, or replace the one with the same ``id``; safe against another render doing the same."""
        with files.lock_beside(self.path):
            entries = [old for old in self.read() if old.get("id") != entry["id"]] + [entry]
            self._write(entries)

    def keep(self, ids: Collection[str]) -> int:
        """Take all other entries out, and then their files away; returns how many there were."""
        with files.lock_beside(self.path):
            entries = self.read()
            staying = [entry for entry in entries if entry.get("id") in ids]
            if len(staying) == len(entries):
                return 0
            self._write(staying)
        for entry in entries:
            for path in paths_of(entry) if entry not in staying else ():
                (self.path.parent / path).unlink(missing_ok=True)
        return len(entries) - len(staying)

    def _write(self, entries: list[dict[str, Any]]) -> None:
        value = {"format": FORMAT, "version": VERSION, "toolkit": faceswap_hq.__version__, "entries": entries}
        files.write_json(self.path, value)
