"""Errors that are meant for the person at the keyboard."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can mend: says what happened, to which file, and what to do next.

    The commands print it without a traceback and leave with exit code 2.

    Args:
        message: What happened, naming the file.
        hint: What to do next; printed on a line of its own.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  {self.hint}"


def out_of_memory(error: BaseException) -> bool:
    """Whether memory has ended: Python's own error, or PyTorch's, which for the processor's is known by its words."""
    words = ("out of memory", "allocate memory")
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(w in str(error) for w in words))
