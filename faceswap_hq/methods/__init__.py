"""Ways of making a fake: by a trained autoencoder, by a mesh warp of another's face, by moving the own expression."""

from __future__ import annotations

METHODS = ("autoencoder", "mesh", "expression")
"""Their names on the command line."""
