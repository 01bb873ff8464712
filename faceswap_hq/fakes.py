"""What leaves the renderer, signed: single files, or ``out/`` with fakes, their matched reals and a manifest."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import faceswap_hq
from blending import rungs, settings_to_dict
from faceswap_hq import files, planning, provenance, render
from faceswap_hq.errors import UserError
from faceswap_hq.faces.parsing import FaceParser
from faceswap_hq.model import SwapAutoencoder
from faceswap_hq.planning import Advance, Plan, RenderSettings
from faceswap_hq.render import Counts
from faceswap_hq.training.devices import choose_device
from faceswap_hq.training.run import ModelCard, load_model

FORMAT = "faceswap-hq manifest"
VERSION = 1

Progress = Callable[[str, int | None], contextlib.AbstractContextManager[Advance]]


@contextlib.contextmanager
def _silent(description: str, total: int | None) -> Iterator[Advance]:
    yield lambda n=1, note="": None


@dataclass(frozen=True, kw_only=True)
class Swap:
    """A model made ready to be rendered: who onto whom, and how."""

    run: Path
    model: SwapAutoencoder
    card: ModelCard
    settings: RenderSettings
    source: str
    """Name of the person whose face is put in."""
    target: str
    """Name of the person it is put onto: the key by which people are kept apart in evaluation."""
    device: str
    key: provenance.SigningKey | None = None
    parser: FaceParser | None = None
    progress: Progress = field(default=_silent)
    consent: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Person ► on what basis their footage is used; goes into credentials and manifest beside their name."""

    def _person(self, name: str) -> dict[str, Any]:
        consent = self.consent.get(name)
        return {"person": name} if consent is None else {"person": name, "consent": dict(consent)}

    def facts(self, plan: Plan, counts: Counts, target_sha256: str) -> dict[str, Any]:
        """The facts that go into the content credentials and the manifest."""
        parsed = {} if self.parser is None else {"parser": files.sha256_file(self.parser.path)}
        return {
            "toolkit": f"faceswap-hq {faceswap_hq.__version__}",
            "source": self._person(self.source),
            "target": self._person(self.target) | {"clip": plan.info.path.name, "sha256": target_sha256},
            "frames": {"start": plan.start, "stop": plan.stop},  # a list of small numbers would be read back as bytes
            "counts": render.counts_dict(counts),
            "model": {"run": self.run.resolve().name, "sha256": self.card.sha256, "step": self.card.step},
            "retarget": self.model.retargets if self.settings.retarget is None else self.settings.retarget,
            "blending": settings_to_dict(self.settings.blend),
            **parsed,
        }


def open_swap(
    run: Path,
    settings: RenderSettings,
    *,
    source: str | None = None,
    target: str | None = None,
    device: str | None = None,
    key: provenance.SigningKey | None = None,
    parser: Path | None = None,
    progress: Progress = _silent,
) -> Swap:
    """Load a model and settle who is put onto whom.

    Args:
        run: Model directory.
        settings: How to render; its ``source`` is replaced by the decoder of ``source``.
        source: Name of a person of the model; default its first.
        target: Name of the person in the video; default the model's other person, if it has just two.
        device: Where the model runs.
        key: Signing key; default the user's own.
        parser: A face-parsing network, see :mod:`faceswap_hq.faces.parsing`.
        progress: Opens progress displays.

    Raises:
        UserError: For a model or parser that can't be loaded or a person it doesn't know.
    """
    model, card = load_model(run)
    source = source or card.people[0]
    if source not in card.people:
        raise UserError(f"{run} knows no {source!r}.", f"Its people: {', '.join(card.people)}.")
    if target is None:
        others = [name for name in card.people if name != source]
        if len(others) != 1:
            raise UserError(
                f"{run} knows {len(card.people)} people; say which of them the video shows.", "--target-person NAME"
            )
        target = others[0]
    if target == source:
        raise UserError(
            f"{source!r} cannot be put onto themselves.", "Choose another --source-person or --target-person."
        )
    place = choose_device(device)
    known = card.people.index(target) if target in card.people else None  # anybody can be the target
    return Swap(
        run=run, model=model.to(place), card=card, device=str(place), source=source, target=target, key=key,
        settings=replace(settings, source=card.people.index(source), target=known),
        parser=None if parser is None else FaceParser(parser),
        progress=progress,
    )  # fmt: skip


def _plan(video: Path, swap: Swap) -> Plan:
    from faceswap_hq import media

    info = media.probe(video)
    total = info.frames
    if swap.settings.frames is not None:
        total = swap.settings.frames[1] - swap.settings.frames[0]
    with swap.progress(f"finding faces in {video.name}", total) as advance:
        return planning.plan(video, swap.model, swap.card.coverage, swap.settings, advance)


def _refuse_overwriting(video: Path, *targets: Path) -> None:
    for target in targets:
        if target.exists() and (target.is_dir() or target.samefile(video)):
            what = "is a directory" if target.is_dir() else "is the input itself"
            raise UserError(f"{target} {what}; nothing was written.", "Choose another output with -o.")


def render_file(video: Path, swap: Swap, target: Path, *, compare: bool = False) -> Counts:
    """Write one swapped, signed video.

    Args:
        video: The target clip.
        swap: From :func:`open_swap`.
        target: File to write, .mp4.
        compare: Original and swap side by side.
    """
    _refuse_overwriting(video, target)
    if target.suffix.lower() not in (".mp4", ".m4v"):
        raise UserError(f"{target}: the output is an .mp4 file.", f"For example -o {target.stem or 'swap'}.mp4")
    plan = _plan(video, swap)
    sha256 = files.sha256_file(video)
    with files.scratch_beside(target) as scratch:
        unsigned = scratch / "fake.mp4"
        counts = _encode(plan, swap, unsigned, compare=compare)
        _sign_fake(unsigned, target, plan, swap, swap.facts(plan, counts, sha256))
    return counts


def render_pair(
    video: Path, swap: Swap, out: Path, *, control: bool = False, masks: bool = True
) -> tuple[str, Counts]:
    """Write ``fakes/ID.mp4``, its matched ``reals/ID.mp4`` and their manifest entry; returns the ID and the counts.

    Args:
        video: The target clip.
        swap: From :func:`open_swap`.
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
    video: Path, swap: Swap, out: Path, *, control: bool = False, masks: bool = False
) -> tuple[dict[str, Any], Counts]:
    """:func:`render_pair` without the manifest: returns the entry that belongs into it, and the counts."""
    name = identifier(video, swap.source, swap.target, swap.settings.frames)
    fake, real, own = (out / kind / f"{name}.mp4" for kind in ("fakes", "reals", "controls"))
    mask = out / "masks" / f"{name}.zip"
    _refuse_overwriting(video, fake, real, own, mask)
    plan = _plan(video, swap)
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


def render_ladder(video: Path, swap: Swap, out: Path, *, masks: bool = True) -> list[Path]:
    """The same swap once for every rung of the quality ladder, each into a folder of its own with its matched real.

    Args:
        video: The target clip.
        swap: From :func:`open_swap`; its blending is the ladder's top.
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


def render_preview(video: Path, swap: Swap, frame: int, target: Path) -> None:
    """Write one frame, original and swap side by side, as a signed PNG.

    Raises:
        UserError: If the clip has no such frame.
    """
    _refuse_overwriting(video, target)
    if target.suffix.lower() != ".png":
        raise UserError(f"{target}: a preview is a .png file.", f"For example -o {target.stem or 'preview'}.png")
    one = replace(swap, settings=replace(swap.settings, frames=(frame, frame + 1)))
    plan = _plan(video, one)
    with contextlib.closing(render.swapped_frames(plan, one.model, one.settings, parser=one.parser)) as frames:
        item = next(frames)
    picture = np.concatenate([item.frame.image, item.image], axis=1)
    counts = Counts(frames=1, with_face=1, swapped=1, passed=0, people=len(plan.faces.people), damaged=0, seconds={})
    with files.scratch_beside(target) as scratch:
        unsigned = scratch / "preview.png"
        unsigned.write_bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes())
        claim = _fake_claim(target, plan, one.facts(plan, counts, files.sha256_file(video)))
        provenance.sign_image(unsigned, target, claim=claim, key=swap.key)


def _encode(
    plan: Plan, swap: Swap, fake: Path, *, real: Path | None = None, masks: Path | None = None, compare: bool = False
) -> Counts:
    seconds: dict[str, float] = defaultdict(float)
    doing = f"putting {swap.target} back" if swap.settings.own else f"swapping {swap.source} onto {swap.target}"
    with swap.progress(doing, plan.stop - plan.start) as advance:
        frames = render.swapped_frames(plan, swap.model, swap.settings, seconds=seconds, parser=swap.parser)
        with contextlib.closing(frames):
            return render.write_video(
                plan, frames, fake, real=real, masks=masks, compare=compare, advance=advance, seconds=seconds
            )


def _fake_claim(target: Path, plan: Plan, facts: dict[str, Any]) -> provenance.Claim:
    return provenance.Claim(
        action="c2pa.edited",
        source_type="compositeWithTrainedAlgorithmicMedia",
        parent=plan.info.path,
        title=target.name,
        facts=facts,
    )


def _sign_fake(unsigned: Path, final: Path, plan: Plan, swap: Swap, facts: dict[str, Any]) -> None:
    provenance.sign_video(unsigned, final, claim=_fake_claim(final, plan, facts), key=swap.key)


def _sign_control(unsigned: Path, final: Path, plan: Plan, swap: Swap, facts: dict[str, Any]) -> None:
    kept = ("toolkit", "target", "frames", "model", "blending", "parser")  # the model has only drawn the mask
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


def identifier(video: Path, source: str, target: str, frames: tuple[int, int] | None) -> str:
    """Name of a fake: who onto whom, the clip where it has another name than its person, the frames unless all."""
    parts = [source, "onto", target]
    if video.stem != target:
        parts.append(video.stem)
    if frames is not None:
        parts.append("{}-{}".format(*frames))
    return re.sub(r"([^\w.-]|_)+", "_", "_".join(parts))[:150]


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
            value = {"format": FORMAT, "version": VERSION, "toolkit": faceswap_hq.__version__, "entries": entries}
            files.write_json(self.path, value)
