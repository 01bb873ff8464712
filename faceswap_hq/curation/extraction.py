"""extract(clip): a person's faces, cut into what trains and what is rendered on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faceswap_hq import extract, facesets, files, media
from faceswap_hq.curation.plan import HeldOut
from faceswap_hq.curation.records import digest
from faceswap_hq.engines import Tools
from faceswap_hq.errors import UserError
from faceswap_hq.faceset import SUFFIX, FaceRow, Faceset, is_faceset, read_faceset, write_table

VERSION = 1
"""Of what the task does: a result of another version is made anew."""


def faceset_digest(faceset: Faceset) -> str:
    """What training depends on: the table, and which pictures are there."""
    table = files.sha256_file(faceset.path / "faces.parquet")
    return digest([table, [row.file for row in faceset.rows]])


@dataclass(frozen=True, kw_only=True)
class ExtractTask:
    """Find a person's faces, and cut their footage into what trains and what is rendered on."""

    name: str
    person: str
    """Clip, folder or faceset."""
    backend: str
    held_out: HeldOut
    work_dir: str

    @property
    def record(self) -> str:
        """See :class:`~faceswap_hq.curation.records.Task`."""
        return f"{self.work_dir}/people/{self.name}.json"

    def _settings(self) -> extract.ExtractSettings:
        return extract.ExtractSettings(backend=self.backend)

    def key(self) -> str:
        """See :class:`~faceswap_hq.curation.records.Task`."""
        path = Path(self.person)
        if is_faceset(path):
            made_from: Any = faceset_digest(read_faceset(path))
        else:
            made_from = facesets.cached_path(path, self._settings()).parent.name
        return digest([VERSION, self.name, made_from, asdict(self.held_out)])

    def whole(self, result: dict[str, Any]) -> bool:
        """See :class:`~faceswap_hq.curation.records.Task`."""
        paths = Path(result["faceset"]), Path(self.work_dir) / result["training"]
        try:
            kept = [read_faceset(path) for path in paths]
        except UserError:
            return False
        return [faceset_digest(faceset) for faceset in kept] == [result["digest"], result["training_digest"]]

    def work(self, tools: Tools) -> dict[str, Any]:
        """Extract and cut.

        Returns:
            ``faceset`` (all faces), ``training`` (a faceset below the work directory), their digests, ``clip`` and
            ``held_out`` (frames to be rendered on; both None for somebody without a clip), ``rate``, ``frames``
            (that were looked at), ``faces`` (that train).

        Raises:
            UserError: If no usable faces are found, or none in the part that is to train.
        """
        path = Path(self.person)
        faceset, report = facesets.open_person(path, self._settings(), tools.frames)
        for line in report.warnings if report else ():
            tools.warn(line)
        clip, split = self._cut(path)
        rows = tuple(row for row in faceset.rows if split is None or _trains(row, split))
        if not rows:
            raise UserError(f"{self.name}: no usable face in the part that is to train.", "Use longer footage.")
        training = self._training_part(faceset, rows)
        tools.say(f"{self.name}: {len(faceset.rows)} faces kept, {len(rows)} of them train")
        return {
            "name": self.name,
            "faceset": str(faceset.path.resolve()),
            "digest": faceset_digest(faceset),
            "training": str(training.relative_to(self.work_dir)),
            "training_digest": faceset_digest(read_faceset(training)),
            "clip": None if clip is None else clip.path.name,
            "sha256": None if clip is None else files.sha256_file(clip.path),
            "held_out": None if split is None else [split["start"], split["stop"]],
            "rate": None if clip is None else float(clip.rate),
            "frames": faceset.meta.get("frames"),
            "faces": len(rows),
        }

    def _cut(self, path: Path) -> tuple[media.VideoInfo | None, dict[str, Any] | None]:
        """The clip to be rendered on, and where it is cut."""
        if is_faceset(path):
            return None, None
        clips = [p for p in extract.sources_of(path) if p.suffix.lower() in extract.VIDEO_SUFFIXES]
        if not clips:
            return None, None
        info = media.probe(clips[-1])
        count = info.frames or sum(1 for _ in media.read_frames(info))
        if count < 2:
            raise UserError(f"{clips[-1]} has only {count} frames.", "Use longer footage.")
        rate = float(info.rate)
        if len(clips) > 1:
            return info, {"clip": info.path.name, "train": 0, "start": 0,
                          "stop": min(count, max(1, round(self.held_out.seconds * rate)))}  # fmt: skip
        train, start, stop = self.held_out.split(count, rate)
        return info, {"clip": info.path.name, "train": train, "start": start, "stop": stop}

    def _training_part(self, faceset: Faceset, rows: tuple[FaceRow, ...]) -> Path:
        """A faceset of these rows alone, whose pictures are links to the whole one's."""
        which = digest([faceset_digest(faceset), [row.file for row in rows]])
        target = Path(self.work_dir) / "facesets" / which / f"{self.name}{SUFFIX}"
        if is_faceset(target):
            return target
        with files.scratch_beside(target) as scratch:
            new = scratch / "new"
            (new / "faces").mkdir(parents=True)
            for row in rows:
                files.link(faceset.path / row.file, new / row.file)
            write_table(new, list(rows))
            files.write_yaml(new / "faceset.yaml", {**faceset.meta, "kept": len(rows)})
            new.rename(target)
        return target


def _trains(row: FaceRow, split: dict[str, Any]) -> bool:
    return row.source != split["clip"] or row.frame < split["train"]
