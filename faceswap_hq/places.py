"""Where the toolkit keeps things that belong to the user rather than to one project."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def config_dir() -> Path:
    """Directory of the signing key; ``$FACESWAP_HQ_HOME/config`` when that variable is set. Not created here."""
    home = os.environ.get("FACESWAP_HQ_HOME")
    return Path(home) / "config" if home else Path(platformdirs.user_config_dir("faceswap-hq"))


def cache_dir() -> Path:
    """Directory of extracted facesets, keyed by content; ``$FACESWAP_HQ_HOME/cache`` when that variable is set."""
    home = os.environ.get("FACESWAP_HQ_HOME")
    return Path(home) / "cache" if home else Path(platformdirs.user_cache_dir("faceswap-hq"))
