"""One person's aligned faces on disk: ``NAME.faceset/`` with ``faces/*.jpg``, ``faces.parquet``, ``faceset.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from faceswap_hq import files
from faceswap_hq.errors import UserError

FORMAT = "faceswap-hq faceset"
VERSION = 1
SUFFIX = ".faceset"


@dataclass(frozen=True, kw_only=True)
class FaceRow:
    """One face of a faceset; a row of ``faces.parquet``."""

    file: str
    """Path of the crop inside the faceset."""
    source: str
    """File name of the clip or picture."""
    frame: int
    """Frame index in the source, 0 for a picture."""
    time: float
    """Presentation time in the source, s."""
    landmarks: np.ndarray
    """float32 (points, 3) in pixels of the source frame."""
    landmarks_crop: np.ndarray
    """float32 (points, 2) in pixels of the crop."""
    matrix: np.ndarray
    """float32 (2, 3), frame pixels to crop pixels."""
    yaw: float
    pitch: float
    roll: float
    sharpness: float
    """Variance of the Laplacian inside the face, at crop size, 8-bit grey levels squared."""
    size: float
    """Height of the face in the source frame, pixels."""


@dataclass(frozen=True, kw_only=True)
class Faceset:
    """A faceset read from disk: the table and the settings; the pictures stay on disk until :meth:`images`."""

    path: Path
    meta: dict[str, Any]
    rows: tuple[FaceRow, ...]

    @property
    def name(self) -> str:
        """The person's name: the directory's without its suffix."""
        return self.path.resolve().name.removesuffix(SUFFIX)

    @property
    def size(self) -> int:
        """Side of the crops, pixels."""
        return int(self.meta["size"])

    def image(self, row: FaceRow) -> np.ndarray:
        """The crop of one row: uint8 (size, size, 3), RGB.

        Raises:
            UserError: If the picture is damaged or has another size.
        """
        path = self.path / row.file
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None or picture.shape[:2] != (self.size, self.size):
            raise UserError(
                f"{path} is damaged or not a {self.size}×{self.size} picture.",
                "Delete it (the face then leaves the training), or extract again.",
            )
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def read_faceset(path: str | Path) -> Faceset:
    """Read a faceset. Rows whose picture was deleted are left out: that is how a person curates it.

    Raises:
        UserError: If it is missing, damaged, of a newer version, or empty.
    """
    import pandas as pd

    path = Path(path)
    if not path.is_dir():
        raise UserError(f"{path} is not a faceset: no such directory.")
    meta = files.read_yaml(path / "faceset.yaml")
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise UserError(f"{path / 'faceset.yaml'} does not describe a faceset.", "Extract it again.")
    version = _number(path, meta, "version")
    if version > VERSION:
        raise UserError(
            f"{path} was written by a newer version of faceswap-hq (format {version}, this one reads {VERSION}).",
            "Update faceswap-hq: pip install -U faceswap-hq",
        )
    _number(path, meta, "size")
    points = _number(path, meta, "points")
    try:
        rows = _rows(path, pd.read_parquet(path / "faces.parquet"), points)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path / 'faces.parquet'} cannot be read: {error}.", "Extract the faceset again.") from error
    if not rows:
        raise UserError(f"{path} holds no faces.", "Extract it again, from clips that show the person.")
    return Faceset(path=path, meta=meta, rows=rows)


def _number(path: Path, meta: dict[str, Any], key: str) -> int:
    value = meta.get(key)
    if not isinstance(value, int):
        raise UserError(f"{path / 'faceset.yaml'} is damaged: {key} is {value!r}.", "Extract the faceset again.")
    return value


def _rows(path: Path, table: Any, points: int) -> tuple[FaceRow, ...]:
    """The table's rows whose picture is there."""
    return tuple(
        FaceRow(
            file=r.file, source=r.source, frame=int(r.frame), time=float(r.time),
            landmarks=np.asarray(r.landmarks, np.float32).reshape(points, 3),
            landmarks_crop=np.asarray(r.landmarks_crop, np.float32).reshape(points, 2),
            matrix=np.asarray(r.matrix, np.float32).reshape(2, 3),
            yaw=float(r.yaw), pitch=float(r.pitch), roll=float(r.roll),
            sharpness=float(r.sharpness), size=float(r.size),
        )
        for r in table.itertuples()
        if _inside(path, r.file).is_file()
    )  # fmt: skip


def _inside(root: Path, name: str) -> Path:
    """A file named by the table, which must stay under the faceset."""
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise UserError(
            f"{root / 'faces.parquet'} names a file outside its faceset: {name}.", "Do not use this faceset."
        )
    return path


def write_table(path: Path, rows: list[FaceRow]) -> None:
    """Write ``faces.parquet`` of the faceset at ``path``, atomically."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def column(values: list[Any]) -> Any:
        if not isinstance(values[0], np.ndarray):
            return pa.array(values)
        ends = np.cumsum([0] + [value.size for value in values], dtype=np.int32)
        return pa.ListArray.from_arrays(ends, np.concatenate([value.ravel() for value in values]))

    def table(some: list[FaceRow]) -> Any:
        return pa.table({name: column([vars(row)[name] for row in some]) for name in vars(rows[0])})

    # (Hardly a number comes twice, so no dictionaries; in parts, so that not all is held once more.)
    with (
        files.atomic_path(path / "faces.parquet") as temporary,
        pq.ParquetWriter(temporary, table(rows[:1]).schema, use_dictionary=False) as writer,
    ):
        for start in range(0, len(rows), 1000):
            writer.write_table(table(rows[start : start + 1000]))


def removed(path: str | Path) -> int:
    """How many pictures of a faceset a person has deleted; 0 where it cannot be read, all where none is left."""
    import pandas as pd

    path = Path(path)
    try:
        names = pd.read_parquet(path / "faces.parquet", columns=["file"]).file
        return sum(not _inside(path, name).is_file() for name in names)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, UserError):
        return 0


def is_faceset(path: str | Path) -> bool:
    """Whether ``path`` is a directory with a ``faceset.yaml``."""
    return (Path(path) / "faceset.yaml").is_file()
