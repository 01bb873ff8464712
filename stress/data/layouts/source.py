"""Where a data set lies and which part of it is wanted, written on one line: ``DIR@split=test,compression=c23``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faceswap_hq.errors import UserError

SPLITS = ("train", "val", "test")
_KEYS = ("layout", "split", "compression", "methods", "root")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set, or a part of it.

    Args:
        path: Its folder, or a DeepfakeBench JSON.
        layout: One of :data:`stress.data.layouts.LAYOUTS`, or ``"auto"`` to recognise it.
        split: ``"train"``, ``"val"`` or ``"test"`` as published; None takes all clips.
        compression: ``"c0"``, ``"c23"``, ``"c40"``, or ``"all"``. None takes the one there is and refuses several:
            nothing is mixed unasked.
        methods: Names of the methods wanted, as the data set names them; empty takes all that are there.
        root: Folder in which the frames lie that a DeepfakeBench JSON lists; None takes the JSON's own folder.
    """

    path: Path
    layout: str = "auto"
    split: str | None = None
    compression: str | None = None
    methods: tuple[str, ...] = ()
    root: Path | None = None

    def __post_init__(self) -> None:
        if self.split not in (None, *SPLITS):
            raise UserError(f"{self.path}: there is no split {self.split!r}.", f"Splits: {', '.join(SPLITS)}.")

    @property
    def asked(self) -> frozenset[str]:
        """Names of the options that are not at their default."""
        return frozenset(name for name in ("split", "compression", "methods", "root") if getattr(self, name))


def parse_source(text: str | Path | Source) -> Source:
    """Read ``DIR`` or ``DIR@option=value,option=value``; a folder whose own name looks like that is itself.

    >>> parse_source("ff@split=test,compression=c23,methods=Deepfakes+FaceSwap").methods
    ('Deepfakes', 'FaceSwap')

    Raises:
        UserError: An option is unknown.
    """
    if isinstance(text, Source):
        return text
    path, at, tail = str(text).rpartition("@")
    if not at or "=" not in tail or "/" in tail.split("=", 1)[0] or _exists(Path(text)):
        return Source(path=Path(text))
    options: dict[str, str] = {}
    for part in tail.split(","):
        key, _, value = part.partition("=")
        key, value = key.strip(), value.strip()
        if key not in _KEYS or not value or key in options:
            raise UserError(
                f"{text}: {part.strip()!r} is not an option of a data set.",
                f"Options: {', '.join(_KEYS)}; for example DIR@split=test.",
            )
        options[key] = value
    return Source(
        path=Path(path),
        layout=options.get("layout", "auto"),
        split=options.get("split"),
        compression=options.get("compression"),
        methods=tuple(name for name in options.get("methods", "").split("+") if name),
        root=Path(options["root"]) if "root" in options else None,
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long
        return False
