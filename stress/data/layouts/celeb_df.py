"""Celeb-DF v1 and v2: ``Celeb-real``, ``YouTube-real``, ``Celeb-synthesis`` and ``List_of_testing_videos.txt``.

The list's first column is **1 for a real video** and 0 for a fake, the opposite of ours.
"""

from __future__ import annotations

from pathlib import Path

from faceswap_hq.errors import UserError
from stress.data.layouts import names
from stress.data.layouts.checking import first_media, read_lines, shown, stem
from stress.data.layouts.clip import FAKE, REAL, Clip
from stress.data.layouts.source import Source

NAME = "celeb-df"
OPTIONS = frozenset({"split"})
TEST_LIST = "List_of_testing_videos.txt"
_FOLDERS = {"Celeb-real": REAL, "YouTube-real": REAL, "Youtube-real": REAL, "Celeb-synthesis": FAKE}


def fits(folder: Path) -> bool:
    """Whether a folder is laid out like this."""
    return (folder / "Celeb-synthesis").is_dir() or (folder / "Celeb-real").is_dir()


def read(source: Source) -> list[Clip]:
    """All clips wanted. The test split is the list; the training split is what the list does not name.

    Raises:
        UserError: The list is wanted and missing or contradicts the folders; a clip whose name does not say who is in
            it.
    """
    if source.split == "val":
        raise UserError("Celeb-DF publishes no validation split.", "It has split=train and split=test.")
    tested = _tested(source.path) if source.split else frozenset()
    clips = []
    for folder, label in _FOLDERS.items():
        if folder == "Youtube-real" and (source.path / "YouTube-real").is_dir():
            continue  # one folder, where the disk does not tell capitals apart
        for path in _videos(source.path / folder):
            if source.split and ((folder.lower(), stem(path)) in tested) != (source.split == "test"):
                continue
            clips.append(_clip(path, folder, label, _dataset(source.path)))
    if not clips:
        raise UserError(f"{source.path} holds no clips" + (f" of the split {source.split}." if source.split else "."))
    return clips


def _videos(folder: Path) -> list[Path]:
    return first_media(folder, folder / "videos", folder / "frames")


def _clip(path: Path, folder: str, label: int, dataset: str) -> Clip:
    name = stem(path)
    if folder.lower() == "youtube-real":  # not published who they are: each counts as a person of its own
        found = names.Named((f"youtube-{name}",), f"youtube-{name}")
    else:
        maybe = names.celeb_df(name, label)
        if maybe is None:
            raise UserError(
                f"{path} is not named as Celeb-DF names its clips, so nobody knows who is in it.",
                "Expected id0_0000 or id0_id1_0000; remove it, or read the folder with layout=folders.",
            )
        found = maybe
    return Clip(
        id=f"{folder}/{name}",
        path=path,
        label=label,
        people=found.people,
        source_clip=found.source_clip,
        method=folder if label == FAKE else "real",
        dataset=dataset,
    )


def _dataset(folder: Path) -> str:
    name = folder.resolve().name.lower()
    return next((f"Celeb-DF-{version}" for version in ("v1", "v2") if version in name), "Celeb-DF")


def _tested(folder: Path) -> frozenset[tuple[str, str]]:
    """(folder, name) of the clips that the list names, in lower-case folders."""
    path = folder / TEST_LIST
    found = set()
    for number, line in enumerate(read_lines(path), start=1):
        label, _, name = line.partition(" ")
        parts = name.strip().replace("\\", "/").split("/")
        known = {key.lower(): value for key, value in _FOLDERS.items()}
        if label not in ("0", "1") or len(parts) != 2 or parts[0].lower() not in known:
            raise UserError(f"{path}, line {number}: {shown(line)} is not '1 Celeb-real/NAME.mp4' or the like.")
        if (label == "1") != (known[parts[0].lower()] == REAL):
            raise UserError(
                f"{path}, line {number}: {shown(line)} contradicts its folder.", "In this list 1 means real and 0 fake."
            )
        found.add((parts[0].lower(), parts[1].rsplit(".", 1)[0]))
    return frozenset(found)
