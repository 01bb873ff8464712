"""From clips or pictures to a faceset: find, follow, choose one person, sort out the bad, align, write."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import faceswap_hq
from faceswap_hq import faceset, files, media
from faceswap_hq.errors import UserError
from faceswap_hq.faces import alignment
from faceswap_hq.faces.landmarks import BACKENDS, open_backend
from faceswap_hq.faces.tracking import ClipFaces, Person, by_size, follow
from faceswap_hq.sampling import evenly

VIDEO_SUFFIXES = (
    ".mp4",
    ".mov",
    ".m4v",
    ".mkv",
    ".webm",
    ".avi",
    ".mpg",
    ".mpeg",
    ".ts",
    ".mts",
    ".wmv",
    ".flv",
    ".gif",
)
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

REASONS = {
    "tiny": "too small in the frame",
    "cut off": "cut off by the frame's border",
    "blurred": "blurred",
}

Advance = Callable[..., None]


@dataclass(frozen=True, kw_only=True)
class ExtractSettings:
    """How faces are found and which are kept."""

    size: int = 256
    """Side of the aligned crop, pixels."""
    backend: str = "mediapipe"
    """Landmark backend: ``mediapipe`` or ``face-alignment``."""
    person: int = 1
    """Which person: of a clip, 1 is the one seen longest; of each picture, 1 is the largest face."""
    every: int = 1
    """Take each ``every``-th frame of a clip."""
    min_size: int = 48
    """Faces lower than this in the source frame (pixels) are sorted out as tiny."""
    max_outside: float = 0.02
    """Faces with a larger share of landmarks outside the frame are sorted out as cut off."""
    min_sharpness: float = 0.2
    """Faces less sharp than this share of the clip's median are sorted out as blurred."""

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise UserError(f"There is no landmark backend {self.backend!r}.", f"Known: {', '.join(BACKENDS)}.")
        if not 64 <= self.size <= 2048:
            raise UserError(f"The crop size must lie between 64 and 2048 pixels, not {self.size}.")
        if self.person < 1 or self.every < 1:
            raise UserError("--person and --every count from 1.")


@dataclass(frozen=True, kw_only=True)
class Report:
    """What an extraction found."""

    path: Path
    kept: int
    dropped: dict[str, int]
    frames: int
    frames_without_face: int
    people: dict[str, int]
    """People found in each source."""
    warnings: tuple[str, ...]
    contact_sheet: Path | None


def sources_of(path: str | Path) -> list[Path]:
    """The clips or pictures that an INPUT names: the file itself, or a folder's, sorted by name.

    Raises:
        UserError: If there is nothing to read.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist.", "Give a video, a folder of pictures or a folder of videos.")
    if faceset.is_faceset(path):
        raise UserError(f"{path} is a faceset already.", "Give the videos or pictures that it was made from.")
    if path.is_file():
        return [path]
    found = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    videos = [p for p in found if p.suffix.lower() in VIDEO_SUFFIXES]
    pictures = [p for p in found if p.suffix.lower() in PICTURE_SUFFIXES]
    if not videos and not pictures:
        raise UserError(
            f"{path} holds neither videos nor pictures.",
            f"Known endings: {' '.join((*VIDEO_SUFFIXES, *PICTURE_SUFFIXES))}",
        )
    return videos or pictures


def fingerprint(sources: Iterable[Path], settings: ExtractSettings) -> dict[str, Any]:
    """What a faceset was made from: the sources' hashes, the settings and the format's version."""
    return {
        "sources": [{"file": p.name, "sha256": files.sha256_file(p)} for p in sources],
        "settings": asdict(settings),
        "version": faceset.VERSION,
    }


def extract(
    source: str | Path,
    target: str | Path,
    settings: ExtractSettings | None = None,
    progress: Callable[[str, int | None], contextlib.AbstractContextManager[Advance]] | None = None,
) -> Report:
    """Make a faceset of one person from a video, a folder of videos or a folder of pictures.

    Args:
        source: Video, folder of videos, or folder of pictures.
        target: Directory of the faceset; replaced if it is one made by this function, refused otherwise.
        settings: How to extract.
        progress: Opens a progress display, given a description and the number of frames (None if unknown).

    Raises:
        UserError: For input that cannot be used: no file, no video, no face, no such person.
    """
    settings = settings or ExtractSettings()
    target = Path(target)
    if target.exists() and not faceset.is_faceset(target) and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} exists and is not a faceset.", "Choose another directory with -o.")
    sources = sources_of(source)
    with files.scratch_beside(target) as scratch:
        work = scratch / "new"
        work.mkdir()
        report = _extract_into(work, sources, settings, progress or _silent)
        files.write_yaml(
            work / "faceset.yaml",
            {
                "format": faceset.FORMAT,
                "version": faceset.VERSION,
                "toolkit": faceswap_hq.__version__,
                "size": settings.size,
                "points": 68 if settings.backend == "face-alignment" else 478,
                "crop_cm": alignment.CROP_CM,
                "made_from": fingerprint(sources, settings),
                "kept": report.kept,
                "dropped": report.dropped,
                "frames": report.frames,
                "frames_without_face": report.frames_without_face,
            },
        )
        if target.exists():
            target.rename(scratch / "old")
        work.rename(target)
    sheet = target / "people.png"
    return Report(**{**vars(report), "path": target, "contact_sheet": sheet if sheet.exists() else None})


@contextlib.contextmanager
def _silent(description: str, total: int | None) -> Iterator[Advance]:
    yield lambda n=1, note="": None


def _extract_into(work: Path, sources: list[Path], settings: ExtractSettings, progress: Any) -> Report:
    (work / "faces").mkdir()
    pictures = all(p.suffix.lower() in PICTURE_SUFFIXES for p in sources)
    rows: list[faceset.FaceRow] = []
    dropped: Counter[str] = Counter()
    warnings: list[str] = []
    people: dict[str, int] = {}
    frames = without = 0
    groups = [sources] if pictures else [[p] for p in sources]
    for number, group in enumerate(groups):
        try:
            clip = _Clip(work, group, settings, number, pictures)
            faces = clip.run(progress)
        except UserError as error:
            if len(groups) == 1:
                raise
            warnings.append(str(error))
            continue
        warnings += clip.warnings
        label = group[0].name if not pictures else group[0].parent.name
        people[label] = len(faces.people)
        frames += len(faces.times)
        without += len(faces.times) - faces.frames_with_face
        if len(faces.people) > 1:
            _contact_sheet(work, clip, faces)
        if not faces.people:
            warnings.append(f"{label}: no face found.")
            continue
        if settings.person > len(faces.people):
            text = f"{label}: there is no person {settings.person}, only {len(faces.people)}."
            if len(groups) == 1:
                raise UserError(text, "Give --person a number from the list, or leave it out for the one seen longest.")
            warnings.append(text)
            continue
        rows += clip.select(faces.people[settings.person - 1], dropped)
    shutil.rmtree(work / "tracks", ignore_errors=True)
    if not rows:
        _raise_nothing(sources, frames, dropped, warnings)
    faceset.write_table(work, rows)
    return Report(
        path=work, kept=len(rows), dropped=dict(dropped), frames=frames, frames_without_face=without,
        people=people, warnings=tuple(warnings), contact_sheet=None,
    )  # fmt: skip


def _raise_nothing(sources: list[Path], frames: int, dropped: Counter[str], warnings: list[str]) -> None:
    name = sources[0] if len(sources) == 1 else sources[0].parent
    if not frames and warnings:  # pictures, none of which can be read
        raise UserError(f"{name}: nothing in it can be read as a picture.", "Copy or download it again.")
    if dropped:
        reasons = ", ".join(f"{n} {REASONS[key]}" for key, n in dropped.items())
        raise UserError(
            f"{name}: no usable face in {frames} frames ({reasons}).", "Use footage with a larger, sharper face."
        )
    details = f" ({'; '.join(warnings)})" if warnings and len(sources) > 1 else ""
    raise UserError(f"{name}: no face found in {frames} frames{details}.", "Use footage that shows a face.")


class _Clip:
    """One source on its way into a faceset: crops of every track are written at once, the choice is made at the end."""

    def __init__(self, work: Path, sources: list[Path], settings: ExtractSettings, number: int, pictures: bool) -> None:
        self.sources, self.settings, self.number, self.pictures = sources, settings, number, pictures
        self.work = work
        self.folder = work / "tracks" / f"{number:04d}"
        self.folder.mkdir(parents=True)
        self.warnings: list[str] = []
        self.rows: dict[tuple[int, int], tuple[faceset.FaceRow, float]] = {}  # (track, frame): row, share outside
        self.names: list[str] = []

    def run(self, progress: Any) -> ClipFaces:
        damage = media.Damage()
        total: int | None = len(self.sources)
        frames: Any
        if self.pictures:
            frames = _picture_frames(self.sources, self.names, self.warnings)
        else:
            info = media.probe(self.sources[0])
            total = info.frames and -(-info.frames // self.settings.every)
            frames = _every(media.read_frames(info, damage=damage), self.settings.every)
        name = self.sources[0].parent.name if self.pictures else self.sources[0].name
        with (
            contextlib.closing(frames),
            contextlib.closing(open_backend(self.settings.backend, static=self.pictures)) as backend,
            progress(f"faces of {name}", total) as advance,
        ):
            faces = (by_size if self.pictures else follow)(_counted(frames, advance), backend, self._write)
        if damage:
            self.warnings.append(f"{name} is damaged; what could be decoded was used: {damage}.")
        return faces

    def _write(self, frame: media.Frame, track: int, landmarks: np.ndarray) -> None:
        """The crop's file and its row."""
        size = self.settings.size
        matrix = alignment.crop_matrix(landmarks, size)
        crop = alignment.warp(frame.image, matrix, size)
        _, top, _, bottom = alignment.box(landmarks)
        height, width = frame.image.shape[:2]
        x, y = landmarks[:, 0], landmarks[:, 1]
        outside = float(np.mean((x < 0) | (y < 0) | (x > width) | (y > height)))
        yaw, pitch, roll = alignment.pose(landmarks)
        row = faceset.FaceRow(
            file=f"faces/{self.number:03d}{frame.index:06d}.jpg" if self.number else f"faces/{frame.index:06d}.jpg",
            source=self.names[frame.index] if self.pictures else self.sources[0].name,
            frame=0 if self.pictures else frame.index,
            time=frame.time,
            landmarks=landmarks,
            landmarks_crop=alignment.transform(landmarks, matrix),
            matrix=matrix,
            yaw=yaw, pitch=pitch, roll=roll, sharpness=sharpness(crop), size=float(bottom - top),
        )  # fmt: skip
        path = self._path(track, frame.index)
        options = [cv2.IMWRITE_JPEG_QUALITY, 97, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        files_ok, data = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), options)
        if not files_ok:
            raise OSError(f"could not encode {path}")
        path.write_bytes(data.data)
        self.rows[track, frame.index] = row, outside

    def _path(self, track: int, frame: int) -> Path:
        return self.folder / f"{track:04d}-{frame:06d}.jpg"

    def _track(self, person: Person, frame: int) -> int:
        return next(track for track in person.track_numbers if (track, frame) in self.rows)

    def crop_path(self, person: Person, frame: int) -> Path:
        """Where a face lies until the person is chosen."""
        return self._path(self._track(person, frame), frame)

    def select(self, person: Person, dropped: Counter[str]) -> list[faceset.FaceRow]:
        """Rows of the chosen person's good faces, their pictures moved into ``faces/``."""
        settings = self.settings
        found = [(self.crop_path(person, f), *self.rows[self._track(person, f), f]) for f in person.frames.tolist()]
        median = float(np.median([row.sharpness for _, row, _ in found]))
        kept = []
        for path, row, outside in found:
            if row.size < settings.min_size:
                dropped["tiny"] += 1
            elif outside > settings.max_outside:
                dropped["cut off"] += 1
            elif row.sharpness < settings.min_sharpness * median:
                dropped["blurred"] += 1
            else:
                os.replace(path, self.work / row.file)
                kept.append(row)
        return kept


def _every(frames: Any, step: int) -> Any:
    if step == 1:
        return frames
    return (frame for frame in frames if frame.index % step == 0)


def _counted(frames: Iterable[media.Frame], advance: Advance) -> Iterator[media.Frame]:
    for frame in frames:
        yield frame
        advance(1)


def _picture_frames(paths: list[Path], names: list[str], warnings: list[str]) -> Iterator[media.Frame]:
    for path in paths:
        try:
            picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        except cv2.error:  # of an unbelievable size
            picture = None
        if picture is None:
            warnings.append(f"{path.name}: cannot be read as a picture.")
            continue
        names.append(path.name)
        index = len(names) - 1
        yield media.Frame(index=index, time=0.0, pts=index, image=cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))


def sharpness(crop: np.ndarray) -> float:
    """Variance of the Laplacian over the central half of an aligned crop, uint8 (S, S, 3), in grey levels squared."""
    size = crop.shape[0]
    inner = cv2.cvtColor(crop[size // 4 : 3 * size // 4, size // 4 : 3 * size // 4], cv2.COLOR_RGB2GRAY)
    return float(cv2.meanStdDev(cv2.Laplacian(inner, cv2.CV_32F))[1][0, 0] ** 2)


def _contact_sheet(work: Path, clip: _Clip, faces: ClipFaces, per_person: int = 8, side: int = 96) -> None:
    """``people.png``: one row a person, so that ``--person N`` can be chosen by looking."""
    sheet = []
    for person in faces.people[:12]:
        picks = person.frames[evenly(len(person.frames), per_person)]
        cells = [cv2.imread(str(clip.crop_path(person, f))) for f in picks.tolist()]
        cells = [cv2.resize(cell, (side, side), interpolation=cv2.INTER_AREA) for cell in cells if cell is not None]
        cells += [np.full((side, side, 3), 32, np.uint8)] * (per_person - len(cells))
        label = np.full((side, 110, 3), 32, np.uint8)
        for line, text in enumerate((f"person {person.number}", f"{len(person.frames)} frames")):
            cv2.putText(
                label, text, (6, 40 + 22 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA
            )
        sheet.append(np.concatenate([label, *cells], axis=1))
    if sheet:
        files.write_bytes(work / "people.png", cv2.imencode(".png", np.concatenate(sheet))[1].tobytes())
