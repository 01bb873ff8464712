"""train(group), render(pair), score(pair): plain data and files in, plain data and files out."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from faceswap_hq import files
from faceswap_hq.curation.records import digest
from faceswap_hq.engines import Tools
from faceswap_hq.errors import UserError
from faceswap_hq.faceset import Faceset, read_faceset
from faceswap_hq.sampling import evenly

VERSION = 1
"""Of what the tasks do: a result of another version is made anew."""


@dataclass(frozen=True, kw_only=True)
class TrainTask:
    """Train one encoder and a decoder for each person of a group."""

    number: int
    """Which round."""
    people: tuple[str, ...]
    """Their training facesets below the work directory."""
    digests: tuple[str, ...]
    """Of these facesets."""
    settings: dict[str, Any]
    """A :class:`~faceswap_hq.training.settings.TrainSettings` as plain data."""
    steps: int | None
    minutes: float | None
    begin: str | None
    """A trained model to begin with."""
    begin_sha256: str
    work_dir: str

    def _run(self) -> str:
        """Which training it is, whatever its budget: with a larger one it goes on."""
        return digest([VERSION, self.digests, self.settings, self.begin_sha256])

    @property
    def model(self) -> str:
        """The run's directory."""
        return f"{self.work_dir}/models/round-{self.number}-{self._run()[:8]}"

    @property
    def record(self) -> str:
        """See :class:`~faceswap_hq.curation.records.Task`."""
        return f"{self.model}.json"

    def key(self) -> str:
        """See :class:`~faceswap_hq.curation.records.Task`."""
        return digest([self._run(), self.steps, self.minutes])

    def whole(self, result: dict[str, Any]) -> bool:
        """See :class:`~faceswap_hq.curation.records.Task`."""
        weights = Path(self.model) / "model.safetensors"
        return weights.is_file() and files.sha256_file(weights) == result["sha256"]

    def work(self, tools: Tools) -> dict[str, Any]:
        """Train, or go on training.

        Returns:
            ``sha256`` of the weights, ``step``, ``people`` (how many).

        Raises:
            KeyboardInterrupt: If it was stopped; what was trained so far is saved.
        """
        from faceswap_hq.training.loop import Budget, train
        from faceswap_hq.training.settings import TrainSettings, from_dict

        budget = Budget(steps=self.steps, minutes=self.minutes)
        with tools.training(budget) as report:
            result = train(
                Path(self.model),
                [read_faceset(Path(self.work_dir) / person) for person in self.people],
                from_dict(TrainSettings, self.settings, "settings"),
                budget,
                device=tools.device, report=report, say=tools.say, warn=tools.warn,
                begin=None if self.begin is None else Path(self.begin),
            )  # fmt: skip
        if result.stopped:
            tools.say("Stopped and saved. Run the same command again to go on.")
            raise KeyboardInterrupt
        sha256 = files.sha256_file(Path(self.model) / "model.safetensors")
        return {"sha256": sha256, "step": result.progress.step, "people": len(self.people)}


@dataclass(frozen=True, kw_only=True)
class RenderTask:
    """Render one fake with its matched real, its control and its masks."""

    number: int
    """Which round."""
    source: str
    target: str
    clip: str
    clip_sha256: str
    frames: tuple[int, int]
    model: str
    model_sha256: str
    blend: dict[str, Any]
    """Blending settings as plain data."""
    backend: str
    seed: int
    consent: dict[str, dict[str, str]]
    """Of source and target."""
    work_dir: str
    masks: bool = True
    """Whether the exact masks are wanted; where they are not, those of an earlier run do no harm."""

    @property
    def out(self) -> str:
        """Directory of the round's fakes, reals, controls and masks."""
        return f"{self.work_dir}/round-{self.number}"

    @property
    def id(self) -> str:
        """The fake's name."""
        from faceswap_hq.fakes import identifier

        return identifier(Path(self.clip), self.source, self.target, self.frames)

    @property
    def record(self) -> str:
        """See :class:`~faceswap_hq.curation.records.Task`."""
        return f"{self.out}/renders/{self.id}.json"

    def key(self) -> str:
        """See :class:`~faceswap_hq.curation.records.Task`."""
        left_out = ("number", "clip", "model", "work_dir", "masks")
        return digest([VERSION, self.id, {k: v for k, v in asdict(self).items() if k not in left_out}])

    def whole(self, result: dict[str, Any]) -> bool:
        """See :class:`~faceswap_hq.curation.records.Task`."""
        from faceswap_hq.fakes import paths_of

        entry = result["entry"]
        if entry is None:
            return False
        entry = self.wanted(entry)
        if self.masks and "mask" not in entry["sha256"]:  # of a run that wanted none
            return False
        return all((Path(self.out) / path).is_file() for path in paths_of(entry)) and all(
            files.sha256_file(Path(self.out) / entry[kind]) == sha256 for kind, sha256 in entry["sha256"].items()
        )

    def wanted(self, entry: dict[str, Any]) -> dict[str, Any]:
        """The manifest's entry, without the masks where they are not wanted."""
        if self.masks:
            return entry
        hashes = {kind: sha256 for kind, sha256 in entry["sha256"].items() if kind != "mask"}
        return {key: value for key, value in entry.items() if key != "mask"} | {"sha256": hashes}

    def work(self, tools: Tools) -> dict[str, Any]:
        """Render. Returns ``entry``, the manifest's; or None with ``error``, why this pair cannot be rendered."""
        from blending import settings_from_dict
        from faceswap_hq import fakes
        from faceswap_hq.planning import RenderSettings

        settings = RenderSettings(
            frames=self.frames, blend=settings_from_dict(self.blend), backend=self.backend, seed=self.seed
        )
        swap = fakes.open_swap(
            Path(self.model), settings, source=self.source, target=self.target, device=tools.device, key=tools.key,
            progress=tools.frames,
        )  # fmt: skip
        if swap.card.sha256 != self.model_sha256:
            raise UserError(f"{self.model} has changed since this began.", "Run the same command again.")
        swap = replace(swap, consent=self.consent)
        try:
            entry, _ = fakes.make_pair(Path(self.clip), swap, Path(self.out), control=True, masks=self.masks)
        except UserError as error:
            return {"entry": None, "error": error.message}
        return {"entry": {**entry, "method": "faceswap-hq"}}


@dataclass(frozen=True, kw_only=True)
class ScoreTask:
    """Measure one fake against its matched real, and its likeness to the source."""

    number: int
    """Which round."""
    entry: dict[str, Any]
    """The manifest's."""
    source_faces: str
    """The source's faceset."""
    source_digest: str
    identity: str | None
    """The recognition network's file; None leaves likeness out."""
    identity_sha256: str
    work_dir: str

    @property
    def out(self) -> str:
        """Where the fake lies."""
        return f"{self.work_dir}/round-{self.number}"

    @property
    def record(self) -> str:
        """See :class:`~faceswap_hq.curation.records.Task`."""
        return f"{self.out}/scores/{self.entry['id']}.json"

    def key(self) -> str:
        """See :class:`~faceswap_hq.curation.records.Task`."""
        hashes = {kind: self.entry["sha256"][kind] for kind in ("fake", "real")}
        return digest([VERSION, hashes, self.source_digest, self.identity_sha256, "features of 1.7 eye widths"])

    def whole(self, result: dict[str, Any]) -> bool:
        """See :class:`~faceswap_hq.curation.records.Task`."""
        return True

    def work(self, tools: Tools) -> dict[str, Any]:
        """Measure. Returns ``values`` (what thresholds test) and ``quality`` (everything that was measured)."""
        from faceswap_hq import quality

        network = None if self.identity is None else quality.IdentityModel(self.identity)
        looks = None if network is None else faceset_embeddings(read_faceset(self.source_faces), network)
        real, fake = (Path(self.out) / self.entry[kind] for kind in ("real", "fake"))
        total = self.entry["frames"][1] - self.entry["frames"][0]
        with (
            tools.frames(f"measuring {self.entry['id']}", total) as advance,
            contextlib.closing(quality.read_triples(real, fake, advance=advance)) as frames,
        ):
            measured = quality.compare_frames(
                frames, identity_model=network, source=looks, name=f"{fake} and {real}"
            ).to_dict()
        own = quality.faceset_patches(read_faceset(self.source_faces))
        measured["features"] = quality.feature_likeness(quality.clip_patches(fake), own)
        return {"values": values(measured, self.entry["counts"]), "quality": measured}


def faceset_embeddings(faceset: Faceset, network: Any, most: int = 200) -> np.ndarray:
    """Embeddings of at most ``most`` faces spread over a faceset, float32 (N, D) unit vectors."""
    rows = [faceset.rows[i] for i in evenly(len(faceset.rows), most)]
    return np.array([network.embed(faceset.image(row), row.landmarks_crop) for row in rows], np.float32)


_TELLING = 10.0
"""Independent frames that a correlation must rest on to be tested."""


def values(measured: dict[str, Any], counts: dict[str, Any]) -> dict[str, float | None]:
    """The numbers that thresholds test, by their names there; None where one could not be measured.

    A mouth that hardly moves in a short clip tells nothing: a correlation must rest on ten independent frames.

    Args:
        measured: :class:`~faceswap_hq.quality.FakeQuality` as plain data, and ``features``
            (:func:`~faceswap_hq.quality.feature_likeness`).
        counts: The manifest's.
    """
    seen = measured["faces_target"]

    def part(name: str, key: str) -> float | None:
        return None if measured[name] is None else float(measured[name][key])

    def agreement(name: str) -> float | None:
        enough = measured[name] is not None and measured[name]["effective"] >= _TELLING
        return part(name, "r") if enough else None

    found = {
        "swapped": counts["swapped"] / counts["frames"] if counts["frames"] else 0.0,
        "tracked": measured["faces_both"] / seen if seen else 0.0,
        "identity": part("identity", "ratio"),
        "nearer": part("identity", "closer_to_source"),
        "features": measured["features"],
        "mouth": agreement("mouth"),
        "eyes": agreement("eyes"),
        "pose": part("pose", "std"),
        "turn": part("pose", "mean"),
        "seam": part("seam", "mean"),
        "sharpness": part("sharpness", "mean"),
        "flicker": measured["flicker"],
        "jitter": measured["jitter"],
    }
    return {name: None if value is None else round(float(value), 4) for name, value in found.items()}
