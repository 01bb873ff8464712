"""Run an iterator in a background thread with a bounded queue between."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Callable, Generator
from typing import TypeVar, cast

T = TypeVar("T")


def give_way(niceness: int = 10) -> None:
    """Let the calling thread (and those that it starts) run when others leave a core idle; on Linux only.

    What works ahead, or tidies up behind, must not take turns with the stage that everybody waits for.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, max(niceness, os.getpriority(os.PRIO_PROCESS, thread)))


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def in_background(
    make: Callable[[threading.Event], Generator[T, None, None]], *, size: int, name: str, urgent: bool = False
) -> Generator[T, None, None]:
    """Yield what a generator yields, produced ahead of time by a thread.

    The thread starts at once. Errors in it are raised where the items are taken. Closing this generator (or leaving the
    loop over it, or dropping it) stops the thread and closes the generator that it runs.

    Args:
        make: Makes the generator, in the thread. It gets an event that is set when nobody wants more items; the thread
            stops after the next item anyway, so only long work between items need look at it.
        size: How many items may wait, at least 1.
        name: Name of the thread.
        urgent: True for the slowest stage of all; otherwise the thread gives way to the others (:func:`give_way`).
    """
    items: queue.Queue[T | _End] = queue.Queue(max(1, size))
    stop = threading.Event()

    def work() -> None:
        if not urgent:
            give_way()
        error: BaseException | None = None
        try:
            with contextlib.closing(make(stop)) as source:
                for item in source:
                    items.put(item)
                    if stop.is_set():
                        break
        except BaseException as caught:  # handed over to the thread that waits for items
            error = caught
        finally:
            items.put(_End(error))

    thread = threading.Thread(target=work, name=name, daemon=True)

    def taken() -> Generator[T, None, None]:
        try:
            yield cast(T, None)  # only a generator that has begun runs its last part when it is closed
            while True:
                item = items.get()
                if isinstance(item, _End):
                    if item.error is not None:
                        raise item.error
                    return
                yield item
        finally:
            stop.set()
            while thread.is_alive():
                try:
                    items.get(timeout=0.02)
                except queue.Empty:
                    continue
            thread.join()

    thread.start()
    found = taken()
    next(found)
    return found
