"""What is done to clips before a detector sees them: published perturbations, and what sharing a video does to it."""

from stress.evaluation.perturbations.catalogue import (
    MODES,
    ClipKey,
    Perturbation,
    catalogue,
    needs_time,
    parse_levels,
    select,
)

__all__ = ["MODES", "ClipKey", "Perturbation", "catalogue", "needs_time", "parse_levels", "select"]
