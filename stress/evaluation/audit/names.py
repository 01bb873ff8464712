"""Do file names, metadata, size or length give fakes away? Sentences for the person.

Nothing here is what a detector of pictures sees. It matters to whoever reads the files by name, and it shows that fakes
and reals did not come the same way.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from stress.data.layouts import Clip
from stress.evaluation.audit.container import FileFacts
from stress.evaluation.audit.pairs import Pairs

_SHARE, _RARE = 0.9, 0.1  # of one side that has what at most so many of the other have

CREDENTIALS = (
    "Content credentials mark fakes as fakes by design and lie in the files and beside them. Detectors here are shown "
    "decoded pictures only, so they cannot read them; whoever feeds a detector whole files must leave them out."
)


def name_differences(clips: Sequence[Clip]) -> str | None:
    """What tells names of fakes from names of reals, or None.

    Looked at are endings, the pattern (runs of letters as ``a``, of digits as ``0``), the words between separators that
    are nobody's name, and, where fakes and reals are matched by equal names, nothing that the id itself says. That a
    fake is called by two people and a real by one (``000_003`` and ``000``) is how data sets name them and is not
    reported as a difference of patterns.
    """
    names = [[_bare(clip) for clip in clips if clip.label == label] for label in (1, 0)]
    if not all(names):
        return None
    found, sizes = [], [len(side) for side in names]
    endings = [Counter(clip.path.suffix.lower() for clip in clips if clip.label == label) for label in (1, 0)]
    if text := _apart("end in", endings, sizes):
        found.append(text)
    own = {person.lower() for clip in clips for person in clip.people}
    words = [Counter(word for name in side for word in _words(name) - own) for side in names]
    if text := _apart("have in their names", words, sizes):
        found.append(text)
    elif set(names[0]) != set(names[1]):
        patterns = [Counter(_pattern(name) for name in side) for side in names]
        two = {f"{pattern}_{pattern}" for pattern in patterns[1]}
        if not set(patterns[0]) & set(patterns[1]) and not set(patterns[0]) <= two:
            found.append(
                f"fakes are named like {_most(patterns[0])}, reals like {_most(patterns[1])} (a: letters, 0: digits)"
            )
    return _sentence("File names differ: ", found)


def metadata_differences(facts: Sequence[FileFacts | None], labels: Sequence[int]) -> str | None:
    """Which words and tags of the container nearly all of one side have and hardly any of the other, or None."""
    counts: list[Counter[str]] = [Counter(), Counter()]
    sizes = [0, 0]
    for fact, label in zip(facts, labels, strict=True):
        if fact is None:
            continue
        side = 0 if label else 1
        sizes[side] += 1
        counts[side].update(f"{name} {value}" for name, value in fact.words.items())
        counts[side].update(fact.tags)
    if not all(sizes):
        return None
    return _sentence("Metadata differ: ", [text] if (text := _apart("have", counts, sizes)) else [])


def pair_differences(facts: Sequence[FileFacts | None], pairs: Pairs) -> dict[str, str | None]:
    """How many fakes have another resolution, length or rate than their real: a sentence each, or None."""
    found: dict[str, str | None] = {}
    both = [
        (facts[f], facts[r], f) for f, r in zip(pairs.fakes, pairs.reals, strict=True) if facts[f] and facts[r]
    ]  # fmt: skip
    for key, names, what in (
        ("resolution", ("width", "height"), "another resolution"),
        ("duration", ("frames",), "another number of frames"),
        ("rate", ("rate",), "another frame rate"),
    ):
        differ = [
            (a, b, pairs.clips[i].id)
            for a, b, i in both
            if a is not None
            and b is not None
            and any(name in a.numbers and name in b.numbers and a.numbers[name] != b.numbers[name] for name in names)
        ]
        found[key] = None
        if differ:
            a, b, name = differ[0]
            values = [" x ".join(f"{fact.numbers[key]:g}" for key in names) for fact in (a, b)]
            found[key] = (
                f"{len(differ)} of {len(both)} fakes have {what} than their real ({name}: {values[0]} against "
                f"{values[1]}): they may not show the same footage."
            )
    return found


def credentials_note(clips: Sequence[Clip]) -> str | None:
    """Says that credentials mark fakes by design, where clips carry them; else None."""
    return CREDENTIALS if any(_marked(clip.path) for clip in clips) else None


def _marked(path: Path) -> bool:
    if path.with_name(f"{path.name}.credentials.json").is_file():
        return True
    if path.suffix.lower() not in (".mp4", ".m4v", ".mov") or not path.is_file():
        return False
    from faceswap_hq.media.mp4 import boxes

    with path.open("rb") as stream:  # C2PA keeps its store in a uuid box of its own at the top level
        for kind, start, _ in boxes(stream, 0, path.stat().st_size):
            if kind == b"uuid":
                stream.seek(start)
                if stream.read(16).hex() == "d8fec3d61b0e483c92975828877ec481":
                    return True
    return False


def _bare(clip: Clip) -> str:
    return (clip.path.stem if clip.path.suffix else clip.path.name).lower()


def _words(name: str) -> set[str]:
    """Parts between separators, without digits: ``id0_fake-03`` has ``id`` and ``fake``."""
    return {word for word in re.split(r"[^a-z]+", name) if word}


def _pattern(name: str) -> str:
    return re.sub(r"\d+", "0", re.sub(r"[^\W\d_]+", "a", name))


def _most(counts: Counter[str]) -> str:
    return repr(counts.most_common(1)[0][0])


def _apart(verb: str, counts: Sequence[Counter[str]], sizes: Sequence[int]) -> str | None:
    """What at least :data:`_SHARE` of one side (fakes, reals) has and at most the rest of the other."""
    found = []
    for value in sorted({*counts[0], *counts[1]}):
        shares = counts[0][value] / sizes[0], counts[1][value] / sizes[1]
        if max(shares) >= _SHARE and min(shares) <= _RARE:
            side = "fakes" if shares[0] > shares[1] else "reals"
            found.append(f"{side} {verb} {value!r}")
    if len(found) > 4:
        found = [*found[:4], f"and {len(found) - 4} more"]
    return ", ".join(found) or None


def _sentence(start: str, parts: Sequence[str]) -> str | None:
    return f"{start}{'; '.join(parts)}." if parts else None
