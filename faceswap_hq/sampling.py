"""Some of many, evenly spread."""

from __future__ import annotations

import numpy as np


def evenly(count: int, most: int) -> np.ndarray:
    """Indices of at most ``most`` of ``count`` things, int64, ascending; all where there are no more."""
    return np.linspace(0, count - 1, min(count, most)).astype(int)
