"""Run an iterator in a background thread with a bounded queue between."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def in_background(source: Iterator[T], *, size: int, name: str) -> Iterator[T]:
    """Yield what ``source`` yields, produced ahead of time by a thread.

    The thread starts with the first item asked for. Errors of the source are raised here. Closing this generator (or
    leaving the loop over it) stops the thread after the item it is working on, and closes the source.

    Args:
        source: Generator to run; nothing else may use it.
        size: How many items may wait, at least 1.
        name: Name of the thread.
    """
    items: queue.Queue[T | _End] = queue.Queue(max(1, size))
    stop = threading.Event()

    def work() -> None:
        error: BaseException | None = None
        try:
            for item in source:
                items.put(item)
                if stop.is_set():
                    break
        except BaseException as caught:  # handed over to the thread that waits for items
            error = caught
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()
            items.put(_End(error))

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
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
