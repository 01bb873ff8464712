"""Files that appear whole or not at all, and what is read back from them."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from faceswap_hq.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a full disk."""
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)


def fsync(path: Path) -> None:
    """Flush a file or directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _blamed_on(target: str | Path) -> Iterator[None]:
    """A full disk's error names ``target``, which the user knows, and not what is written in its place meanwhile."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            error.filename = str(target)
        raise


@contextlib.contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; on success flush it and rename it onto ``target``.

    The temporary name starts with a dot and ends in the target's suffix, so that writers which look at the suffix
    work. On any exception (Ctrl-C and a full disk included) it is removed and ``target`` is left as it was.
    """
    target = Path(target)
    with _blamed_on(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(
            prefix=f".{target.stem[:40]}.", suffix=f".part{target.suffix}", dir=target.parent
        )
        os.close(descriptor)
        temporary = Path(name)
        try:
            yield temporary
            fsync(temporary)
            temporary.chmod(0o666 & ~umask())
            temporary.replace(target)
            fsync(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


def check_writable(target: str | Path) -> None:
    """Refuse a target that could not be written, before long work is done for it; makes nothing.

    Raises:
        UserError: The folder that it would lie in, or the first one above that is there, is none or takes no files.
    """
    folder = Path(target).absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if folder == Path(target).absolute() and not folder.is_dir():  # a file that is to be replaced
        folder = folder.parent
    if not folder.is_dir():
        raise UserError(f"{target} cannot be written: {folder} is a file.", "Name another place with -o.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(
            f"{target} cannot be written: nothing may be put into {folder}.", "Name another place with -o."
        )


def umask() -> int:
    """The process's file mode mask."""
    value = os.umask(0)
    os.umask(value)
    return value


def write_bytes(target: str | Path, data: bytes) -> None:
    """Write ``data`` to ``target`` atomically."""
    with atomic_path(target) as path:
        path.write_bytes(data)


def link(source: Path, target: Path) -> None:
    """Make ``target``, which must not exist, a hard link to ``source``, or a copy where there can be no link."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copy2(source, target)


def same_file(first: Path, second: Path) -> bool:
    """Whether two existing paths are one file, or (where there are no links) a copy that :func:`link` made."""
    a, b = first.stat(), second.stat()
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino) or (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)


def put_link(source: Path, target: Path) -> None:
    """Let ``target`` be ``source`` (see :func:`link`), atomically."""
    if target.exists() and same_file(source, target):
        return
    with atomic_path(target) as temporary:
        temporary.unlink()
        link(source, temporary)


def write_json(target: str | Path, value: Any) -> None:
    """Write ``value`` as indented UTF-8 JSON, atomically; NaN is refused (JSON has none)."""
    write_bytes(target, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def write_yaml(target: str | Path, value: Any) -> None:
    """Write ``value`` as YAML in its own key order, atomically."""
    write_bytes(target, yaml.safe_dump(value, sort_keys=False, allow_unicode=True).encode())


def read_json(path: str | Path) -> Any:
    """Read JSON; a missing or damaged file is a :class:`UserError` that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing.") from None
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}.") from error


def read_yaml(path: str | Path) -> Any:
    """Read YAML with the safe loader; a missing or damaged file is a :class:`UserError` that names it."""
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing.") from None
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        what: object = error
        if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark) is not None:
            what = f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
        raise UserError(f"{path} cannot be read as YAML: {' '.join(str(what).split())}.") from error


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def scratch_beside(target: str | Path) -> Iterator[Path]:
    """Yield a hidden directory beside ``target`` (the same disk, so that renames are atomic); removed at the end.

    What a process that was killed left of the same target is removed too: half a video, unsigned, must not lie around.
    """
    parent = Path(target).parent
    parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{Path(target).stem[:40]}."
    for abandoned in parent.glob(f"{glob.escape(prefix)}*.part"):
        with contextlib.suppress(OSError):
            old = time.time() - abandoned.stat().st_mtime > 60  # not one that is just being made
            if old and (lock := _lock(abandoned)) is not None:
                shutil.rmtree(abandoned, ignore_errors=True)
                os.close(lock)
    path = Path(tempfile.mkdtemp(prefix=prefix, suffix=".part", dir=parent))
    lock = _lock(path)
    try:
        with _blamed_on(target):
            yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """Lock a directory until the descriptor is closed or the process ends; None if another holds it or it can't be."""
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


@contextlib.contextmanager
def lock_beside(target: str | Path, *, wait: bool = True) -> Iterator[None]:
    """Hold an exclusive lock on a hidden file beside ``target``, so that two processes don't rewrite it at once.

    Args:
        target: What is to be written; it need not exist.
        wait: Wait for whoever holds the lock.

    Raises:
        UserError: Without ``wait``, if another process holds it.
    """
    target = Path(target)
    path = target.resolve().with_name(f".{target.resolve().name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        if fcntl is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise UserError(f"{target} is in use by another process.", "Wait for it, or stop it.") from None
        yield
