"""What went wrong in a part of a study, and whether the others can go on."""

from __future__ import annotations

import errno

from faceswap_hq import files
from faceswap_hq.errors import UserError

_LAST = (*files.FULL, errno.EPIPE)


def reason_of(error: Exception) -> str:
    """Why a part failed, in one line.

    Args:
        error: Whatever a network, a clip or a file did.

    Raises:
        OSError: The error itself, where no other part can go on either: the disk is full, or nobody reads the output.
    """
    if isinstance(error, OSError) and error.errno in _LAST:
        raise error
    if isinstance(error, UserError):
        return error.message
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
