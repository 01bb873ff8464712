"""DeeperForensics-1.0: ``manipulated_videos/VARIANT/TARGET_SOURCE.mp4`` and ``lists/splits/{train,val,test}.txt``.

Its reals are FaceForensics++'s originals at c23, which it may not distribute; the source videos of its actors are not
the reals (its README). Targets have the same keys as FaceForensics++'s sequences.
"""

from __future__ import annotations

from pathlib import Path

from faceswap_hq.errors import UserError
from stress.data.layouts import names
from stress.data.layouts.checking import first_media, folders, read_lines, shown, stem
from stress.data.layouts.clip import FAKE, Clip
from stress.data.layouts.source import Source

NAME = "deeperforensics"
OPTIONS = frozenset({"split", "methods"})
REALS = "DeeperForensics-1.0 has no reals of its own: give FaceForensics++'s originals, --reals DIR@compression=c23."


def fits(folder: Path) -> bool:
    """Whether a folder is laid out like this."""
    return (folder / "manipulated_videos").is_dir()


def read(source: Source) -> list[Clip]:
    """The fakes wanted.

    Raises:
        UserError: A variant or split that is not there; a clip whose name does not say who is in it.
    """
    variants = {item.name: item for item in folders(source.path / "manipulated_videos")}
    unknown = sorted(set(source.methods) - set(variants))
    if unknown:
        there = ", ".join(variants) or "none"
        raise UserError(f"{source.path} has no variant {shown(unknown[0])}.", f"It has {there}.")
    listed = _listed(source.path, source.split) if source.split else None
    clips = []
    for variant, folder in variants.items():
        if source.methods and variant not in source.methods:
            continue
        for path in first_media(folder, folder / "videos", folder / "frames"):
            name = stem(path)
            found = names.deeperforensics(name, FAKE)
            if found is None:
                raise UserError(
                    f"{path} is not named as DeeperForensics-1.0 names its clips, so nobody knows who is in it.",
                    "Expected 103_W018; remove it, or read the folder with layout=folders.",
                )
            if listed is None or name in listed:
                clips.append(
                    Clip(
                        id=f"{variant}/{name}",
                        path=path,
                        label=FAKE,
                        people=found.people,
                        source_clip=found.source_clip,
                        method=variant,
                        dataset="DeeperForensics-1.0",
                    )
                )
    if not clips:
        raise UserError(f"{source.path} holds no clips" + (f" of the split {source.split}." if source.split else "."))
    return clips


def _listed(folder: Path, split: str) -> frozenset[str]:
    path = folder / "lists" / "splits" / f"{split}.txt"
    return frozenset(line.rsplit("/", 1)[-1].rsplit(".", 1)[0] for line in read_lines(path))
