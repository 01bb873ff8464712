"""Tasks on the machines of a Ray cluster that share a file system with this one.

A task and its result are a few kilobytes; everything else goes through files, at the same paths on every machine. A
task whose worker or machine dies is done again elsewhere (:data:`RETRIES`): it finds what was written whole.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import faceswap_hq
from faceswap_hq import places
from faceswap_hq.engines import Needs, Result, Task, Tools
from faceswap_hq.errors import UserError
from faceswap_hq.provenance import SigningKey

RETRIES = 3
"""How often a task is done again whose worker has died."""
CONNECT_SECONDS = 60.0
"""How long a cluster may take to answer."""
CANCEL_SECONDS = 60.0
"""How long tasks that are cancelled may take to leave everything in order; then they are killed."""
IN_FLIGHT = 1000
"""Tasks that the cluster knows of at a time: a million would fill its head's memory."""
_USER = ("FACESWAP_HQ_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
_GIB = 2**30
_TRY = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR')"


@dataclass(frozen=True, kw_only=True)
class _Order:
    """What every worker is told besides its task."""

    folder: str
    """The command's working directory: relative paths mean the same there."""
    cache: str
    environment: Mapping[str, str]
    """Where the user's own directories are."""
    marks: tuple[str, ...]
    """Files that a machine sees if it shares our file system."""
    version: str
    threads: int
    device: str | None
    key: SigningKey | None


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What a worker gives back."""

    result: Any = None
    error: Exception | None = None
    heard: tuple[tuple[str, str], ...] = ()
    """``say`` or ``warn``, and what was said."""


class RayEngine:
    """Tasks on a Ray cluster that this process is connected to (:func:`connected`).

    Args:
        needs: Kind ► what its tasks need; of the others see :meth:`needs`.
        marks: From :func:`shared`.
        device: What the user asked for: ``cpu`` leaves the GPUs alone.

    Raises:
        UserError: If no machine of the cluster has what a kind needs.
    """

    def __init__(self, needs: Mapping[str, Needs], marks: Sequence[Path] = (), device: str | None = None) -> None:
        import ray

        self._machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._needs, self._marks, self._device = dict(needs), tuple(map(str, marks)), device
        for kind in needs:
            self.needs(kind)

    def __str__(self) -> str:
        total = {name: sum(node.get(name, 0) for node in self._machines) for name in ("CPU", "GPU")}
        return f"{len(self._machines)} machines, {total['CPU']:g} CPUs, {total['GPU']:g} GPUs"

    @property
    def width(self) -> int:
        """How many tasks of one core the cluster can do at once."""
        return max(1, int(sum(node.get("CPU", 0) for node in self._machines)))

    def needs(self, kind: str) -> Needs:
        """What a task of a kind needs: as told, else a core, for training up to eight, and a GPU where there are any.

        Raises:
            UserError: If no machine has it.
        """
        wished = kind != "extract" and (self._device or "auto").startswith(("auto", "cuda"))
        gpus = wished and any(map(_gpus, self._machines))
        most = max((node.get("CPU", 0) for node in self._machines if not gpus or _gpus(node)), default=0)
        usual = Needs(cpus=max(1, min(8, most)) if kind == "train" else 1, gpus=float(gpus))
        found = self._needs.get(kind, usual)
        asked = {"CPU": found.cpus, "GPU": found.gpus, "memory": found.memory_gib * _GIB}
        if not any(all(node.get(name, 0) >= amount for name, amount in asked.items()) for node in self._machines):
            raise UserError(
                f"No machine of the cluster has what a task of the kind {kind} needs: {found}.",
                f"It has {self}. Ask for less: --needs {kind}=CPUS:GPUS:GIB",
            )
        return found

    def map(
        self, function: Callable[[Task, Tools], Result], tasks: Iterable[Task], tools: Tools, kind: str
    ) -> Iterator[tuple[int, Result]]:
        """See :class:`faceswap_hq.engines.Engine`."""
        import ray

        needs = self.needs(kind)
        remote: Any = ray.remote(_do).options(
            num_cpus=needs.cpus, num_gpus=needs.gpus, memory=int(needs.memory_gib * _GIB) or None,
            max_retries=RETRIES, name=f"faceswap-hq {kind}",
        )  # fmt: skip
        order = ray.put(self._order(needs, tools))
        waiting = iter(enumerate(tasks))
        running: dict[Any, int] = {}
        try:
            while True:
                for place, task in islice(waiting, IN_FLIGHT - len(running)):
                    running[remote.remote(order, function, task)] = place
                if not running:
                    return
                done, _ = ray.wait(list(running))
                for reference in done:
                    answer = _fetched(reference, kind)
                    place = running.pop(reference)
                    for how, message in answer.heard:
                        (tools.warn if how == "warn" else tools.say)(message)
                    if answer.error is not None:
                        raise answer.error
                    yield place, answer.result
        finally:
            _cancel(list(running))

    def _order(self, needs: Needs, tools: Tools) -> _Order:
        device = tools.device
        if device is None:
            device = "cuda" if needs.gpus else "cpu"
        return _Order(
            folder=str(Path.cwd()), cache=str(places.cache_dir()), marks=self._marks,
            environment={name: os.environ[name] for name in _USER if name in os.environ},
            version=faceswap_hq.__version__,
            threads=int(os.environ.get("OMP_NUM_THREADS") or max(1, needs.cpus)), device=device, key=tools.key,
        )  # fmt: skip


def _gpus(node: Mapping[str, float]) -> float:
    return node.get("GPU", 0)


def _fetched(reference: Any, kind: str) -> _Answer:
    """What a worker gave back; what kept it from that, in words for the person where it is not a failure of ours."""
    import ray

    lost = (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError,
            ray.exceptions.ObjectLostError)  # fmt: skip
    try:
        answer: _Answer = ray.get(reference)
    except ray.exceptions.TaskCancelledError as error:  # not by us: a machine that is switched off asks first
        raise UserError(
            f"A worker was told to end in a task of the kind {kind}.", "The same command goes on with what is done."
        ) from error
    except lost as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"A task of the kind {kind} was given up after {RETRIES} retries: {why}",
            f"If its memory was too small: --needs {kind}=CPUS:GPUS:GIB. The same command goes on with what is done.",
        ) from error
    return answer


def _cancel(references: list[Any]) -> None:
    """Ask tasks to stop, as Ctrl-C would, and wait until they have; kill those that do not."""
    import ray

    if not references or not ray.is_initialized():
        return
    for reference in references:
        ray.cancel(reference)
    _, stubborn = ray.wait(references, num_returns=len(references), timeout=CANCEL_SECONDS)
    for reference in stubborn:
        ray.cancel(reference, force=True)


# -- on the workers ---------------------------------------------------------------------------------------------------


def _do(order: _Order, function: Callable[[Task, Tools], Result], task: Task) -> _Answer:
    """Do a task in a worker's process."""
    heard: list[tuple[str, str]] = []
    try:
        _settle(order)
        tools = Tools(
            say=lambda message: heard.append(("say", message)), warn=lambda message: heard.append(("warn", message)),
            device=order.device, key=order.key,
        )  # fmt: skip
        return _Answer(result=function(task, tools), heard=tuple(heard))
    except (UserError, OSError) as error:
        return _Answer(error=error, heard=tuple(heard))


def _settle(order: _Order) -> None:
    """Make this process like the one that sent the task.

    Raises:
        UserError: If this machine has other files or another version of the toolkit.
    """
    name = socket.gethostname()
    if faceswap_hq.__version__ != order.version:
        raise UserError(
            f"{name} has faceswap-hq {faceswap_hq.__version__}, this machine {order.version}.", "Install the same."
        )
    os.environ.update(order.environment)
    try:
        os.chdir(order.folder)
        unseen = [mark for mark in order.marks if not Path(mark).is_file()]
    except OSError:
        unseen = [order.folder]
    if unseen:
        raise UserError(
            f"{name}, a machine of the cluster, does not see what is in {Path(unseen[0]).parent}.",
            "All machines must share a file system, with the same paths, that holds the footage, the output and the"
            " cache ($FACESWAP_HQ_HOME).",
        )
    if str(places.cache_dir()) != order.cache:
        raise UserError(
            f"{name} keeps its cache in {places.cache_dir()}, this machine in {order.cache}.",
            "Set FACESWAP_HQ_HOME to a folder that all machines share.",
        )
    import cv2
    import torch

    torch.set_num_threads(order.threads)
    cv2.setNumThreads(order.threads)


# -- connecting -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def connected(address: str, tools: Tools) -> Iterator[None]:
    """Connect this process to a cluster; one that is connected already stays so.

    Raises:
        UserError: If Ray is not installed, or no cluster answers within :data:`CONNECT_SECONDS`.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError("--engine ray needs Ray, which is not installed.", "pip install 'faceswap-hq[cluster]'")
    import ray

    if ray.is_initialized():
        yield
        return
    tools.say(f"Ray: connecting to {address}")
    _try(address)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    for number, handler in handlers.items():  # Ray puts its own in their place
        with contextlib.suppress(ValueError):  # not the main thread
            signal.signal(number, handler)
    try:
        yield
    finally:
        ray.shutdown()


def _try(address: str) -> None:
    """Connect in a process of its own: where nobody answers, Ray tries for minutes and does not hear Ctrl-C."""
    hint = "Start one (ray start --head), run this on one of its machines, and give --address HOST:PORT or auto."
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            [sys.executable, "-c", _TRY, address], capture_output=True, text=True, timeout=CONNECT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"No Ray cluster answers at {address} within {CONNECT_SECONDS:g} s.", hint) from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(f"The Ray cluster at {address} cannot be used: {last}", hint)


@contextlib.contextmanager
def shared(folders: Iterable[Path]) -> Iterator[list[Path]]:
    """Put a hidden file into each folder for as long as the work goes on, so that workers can tell what they see."""
    marks: list[Path] = []
    name = f".shared-{secrets.token_hex(8)}"
    try:
        for folder in {path.resolve() for path in folders}:
            folder.mkdir(parents=True, exist_ok=True)
            marks.append(folder / name)
            marks[-1].touch()
        yield marks
    finally:
        for mark in marks:
            mark.unlink(missing_ok=True)
