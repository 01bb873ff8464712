"""Where tasks are done: here, one after the other, or on the machines of a Ray cluster (:mod:`faceswap_hq.cluster`)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from faceswap_hq.errors import UserError
from faceswap_hq.provenance import SigningKey

Task = TypeVar("Task")
Result = TypeVar("Result")

ENGINES = ("local", "ray")
KINDS = ("extract", "train", "render", "cell", "finetune")
"""Kinds of work: a clip, a group, a pair, a detector on a data set, a share of its fine-tunings."""


@contextmanager
def _silent(*_: Any) -> Iterator[Any]:
    yield lambda *args, **options: None


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What a task may use that is no data: whom to tell how it goes, where to compute, whose signature."""

    frames: Callable[[str, int | None], AbstractContextManager[Callable[..., None]]] = _silent
    """Opens a progress display, given a description and a number of frames."""
    training: Callable[[Any], AbstractContextManager[Callable[..., None]]] = _silent
    """Opens a display of training, given its budget."""
    say: Callable[[str], None] = lambda message: None
    warn: Callable[[str], None] = lambda message: None
    device: str | None = None
    key: SigningKey | None = None


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a task occupies on the machine that does it; the cluster gives it to no other task meanwhile."""

    cpus: float = 1.0
    """Cores, and so many threads the task computes with."""
    gpus: float = 0.0
    """GPUs; a fraction lets several tasks share one."""
    memory_gib: float = 0.0
    """Main memory; 0 reserves none."""

    def __post_init__(self) -> None:
        if not (self.cpus > 0 and self.gpus >= 0 and self.memory_gib >= 0):
            raise ValueError(f"{self} is out of range")

    def __str__(self) -> str:
        parts = [f"{self.cpus:g} CPUs"]
        parts += [f"{self.gpus:g} GPUs"] if self.gpus else []
        parts += [f"{self.memory_gib:g} GiB"] if self.memory_gib else []
        return ", ".join(parts)


class Engine(Protocol):
    """Does tasks."""

    @property
    def width(self) -> int:
        """How many small tasks it can do at once."""
        ...

    def map(
        self, function: Callable[[Task, Tools], Result], tasks: Iterable[Task], tools: Tools, kind: str
    ) -> Iterator[tuple[int, Result]]:
        """Do the tasks; yields the place and the result of each as it is done, in whatever order that is.

        Closing the iterator, or an exception in the loop over it, stops what is not done yet.

        Args:
            function: Importable by its name from a module, so that another process finds it. Called anew for the same
                task where the process that did it has died: it must write files whole or not at all, and find again
                what is done.
            tasks: Frozen plain data.
            tools: For the function. Elsewhere displays are silent, and messages arrive when a task is done.
            kind: One of :data:`KINDS`.

        Raises:
            Exception: The first one of a task, as it was raised there.
        """
        ...


class LocalEngine:
    """One task after the other, in this process."""

    width = 1

    def map(
        self, function: Callable[[Task, Tools], Result], tasks: Iterable[Task], tools: Tools, kind: str
    ) -> Iterator[tuple[int, Result]]:
        """See :class:`Engine`; the results come in the tasks' order."""
        for place, task in enumerate(tasks):
            yield place, function(task, tools)


def in_order(done: Iterable[tuple[int, Result]]) -> list[Result]:
    """What :meth:`Engine.map` yields, in the order of the tasks."""
    return [result for _, result in sorted(done, key=lambda item: item[0])]


def parse_needs(values: Sequence[str]) -> dict[str, Needs]:
    """``KIND=CPUS[:GPUS[:GIB]]``, as often as there are kinds.

    >>> parse_needs(["train=8:1:16", "render=2"])["train"]
    Needs(cpus=8.0, gpus=1.0, memory_gib=16.0)

    Raises:
        UserError: For a kind that does not exist, or what is no number or out of range.
    """
    found = {}
    for text in values:
        kind, _, rest = text.partition("=")
        try:
            if kind not in KINDS:
                raise ValueError
            names = ("cpus", "gpus", "memory_gib")
            found[kind] = Needs(**dict(zip(names, map(float, _at_most_three(rest)), strict=False)))
        except ValueError:
            raise UserError(
                f"--needs {text} is not KIND=CPUS[:GPUS[:GIB]].", f"Kinds: {', '.join(KINDS)}. E.g. train=8:1:16"
            ) from None
    return found


def _at_most_three(text: str) -> list[str]:
    parts = text.split(":")
    if len(parts) > 3:
        raise ValueError
    return parts


@contextlib.contextmanager
def open_engine(
    name: str,
    tools: Tools,
    *,
    address: str = "auto",
    needs: Sequence[str] = (),
    folders: Sequence[Path] = (),
) -> Iterator[Engine]:
    """The engine that does the work.

    Args:
        name: ``local`` or ``ray``.
        tools: Their ``device`` decides whether GPUs are asked for; their ``say`` hears how large the cluster is.
        address: ``auto`` (the cluster that this machine belongs to) or ``HOST:PORT``.
        needs: See :func:`parse_needs`; what kinds that are not named need is chosen by the cluster's machines.
        folders: Folders that every machine must share with this one. Made if absent.

    Raises:
        UserError: For another name, Ray that is not installed, or a cluster that does not answer.
    """
    if name not in ENGINES:
        raise UserError(f"There is no engine {name!r}.", f"--engine {' or '.join(ENGINES)}")
    wanted = parse_needs(needs)
    if name == "local":
        if address != "auto" or wanted:
            raise UserError("--address and --needs are for --engine ray.")
        yield LocalEngine()
        return
    from faceswap_hq import cluster

    with cluster.connected(address, tools), cluster.shared(folders) as marks:
        engine = cluster.RayEngine(wanted, marks, tools.device)
        tools.say(f"Ray: {engine}")
        yield engine
