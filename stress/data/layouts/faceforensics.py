"""FaceForensics++ and, in the same tree, DeepFakeDetection (DFD).

``original_sequences/{youtube,actors}/COMPRESSION/videos`` and ``manipulated_sequences/METHOD/COMPRESSION/videos``;
frames cut out of the videos lie in ``frames`` (or ``images``) instead, a folder a video. ``train.json``, ``val.json``
and ``test.json`` (in the folder itself or in ``splits/``) list pairs of sequences.
"""

from __future__ import annotations

import re
from pathlib import Path

from faceswap_hq.errors import UserError
from stress.data.layouts import names
from stress.data.layouts.checking import first_media, folders, read_json, shown, stem
from stress.data.layouts.clip import FAKE, REAL, Clip
from stress.data.layouts.source import SPLITS, Source

NAME = "faceforensics"
OPTIONS = frozenset({"split", "compression", "methods"})
DFD = "DeepFakeDetection"
_COMPRESSION = {"raw": "c0", "c0": "c0", "c23": "c23", "c40": "c40"}


def fits(folder: Path) -> bool:
    """Whether a folder is laid out like this."""
    return (folder / "manipulated_sequences").is_dir() or (folder / "original_sequences").is_dir()


def read(source: Source) -> list[Clip]:
    """All clips wanted, fakes and the originals they were made from.

    Raises:
        UserError: A method, compression or split that is not there; several compressions and none chosen; a clip whose
            name does not say who is in it.
    """
    fakes = {item.name: item for item in folders(source.path / "manipulated_sequences")}
    originals = folders(source.path / "original_sequences")
    reals = {item.name: item for item in originals if item.name in ("youtube", "actors")}
    unknown = sorted(set(source.methods) - set(fakes) - set(reals))
    if unknown:
        raise UserError(
            f"{source.path} has no method {shown(unknown[0])}.", f"It has {', '.join([*fakes, *reals]) or 'none'}."
        )
    if source.methods:
        fakes = {name: item for name, item in fakes.items() if name in source.methods}
        wanted = {"actors" if name == DFD else "youtube" for name in fakes} | set(source.methods)
        reals = {name: item for name, item in reals.items() if name in wanted}
    groups = [(FAKE, name, item) for name, item in fakes.items()] + [(REAL, name, item) for name, item in reals.items()]
    compression = _compression(source, [item for _, _, item in groups])
    split = _split(source) if source.split else None
    clips = []
    for label, name, folder in groups:
        for inner in folders(folder):
            level = _COMPRESSION.get(inner.name)
            if level is not None and compression in ("all", level):
                made = (_clip(path, label, name, level, split) for path in _videos(inner))
                clips += [clip for clip in made if clip is not None]
    if not clips:
        what = [f"of the split {source.split}"] if source.split else []
        what += [f"of compression {compression}"] if compression != "all" else []
        raise UserError(f"{source.path} holds no clips {' and '.join(what)}".rstrip() + ".")
    return clips


def _compression(source: Source, groups: list[Path]) -> str:
    levels = {item.name for group in groups for item in folders(group)}
    there = sorted({_COMPRESSION[name] for name in levels if name in _COMPRESSION})
    wanted = _COMPRESSION.get(source.compression or "", source.compression)
    if wanted is None and len(there) > 1:
        raise UserError(
            f"{source.path} holds the compressions {', '.join(there)}.",
            f"Choose with {source.path}@compression={there[0]} (or compression=all to mix them).",
        )
    if wanted not in (None, "all", *there):
        raise UserError(f"{source.path} has no compression {shown(wanted)}.", f"It has {', '.join(there) or 'none'}.")
    return wanted or "all"


def _videos(folder: Path) -> list[Path]:
    return first_media(folder / "videos", folder / "frames", folder / "images")


def _clip(path: Path, label: int, group: str, level: str, split: frozenset[str] | None) -> Clip | None:
    name, actors = stem(path), group in (DFD, "actors")
    found = (names.dfd if actors else names.faceforensics)(name, label)
    if found is None:
        publisher = DFD if actors else "FaceForensics++"
        scheme = "01_02__scene__XXXXXXXX or 01__scene" if actors else "000_003 or 000"
        raise UserError(
            f"{path} is not named as {publisher} names its clips, so nobody knows who is in it.",
            f"Expected {scheme}; remove it, or read the folder with layout=folders.",
        )
    if split is not None and (actors or name not in split):
        return None
    return Clip(
        id=f"{group}/{level}/{name}",
        path=path,
        label=label,
        people=found.people,
        source_clip=found.source_clip,
        method=group if label == FAKE else "real",
        dataset=DFD if actors else "FaceForensics++",
        compression=level,
    )


def _split(source: Source) -> frozenset[str]:
    """Names of all clips of a split: both sequences of each pair, and each put onto the other."""
    for folder in (source.path, source.path / "splits", source.path / "dataset" / "splits"):
        path = folder / f"{source.split}.json"
        if path.is_file():
            break
    else:
        raise UserError(
            f"{source.path} has no {source.split}.json, the list of that split.",
            f"Copy {', '.join(f'{name}.json' for name in SPLITS)} of FaceForensics++ (dataset/splits) there.",
        )
    pairs = read_json(path)
    found: set[str] = set()
    for number, pair in enumerate(pairs if isinstance(pairs, list) else [pairs]):
        if not (
            isinstance(pair, list)
            and len(pair) == 2
            and all(isinstance(name, str) and re.fullmatch(r"\d{1,6}", name) for name in pair)
        ):
            raise UserError(f"{path} is damaged: entry {number} is {shown(pair)}, not a pair of sequences.")
        a, b = pair
        found |= {a, b, f"{a}_{b}", f"{b}_{a}"}
    return frozenset(found)
