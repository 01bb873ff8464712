"""Fixtures that every test package shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "2")


def _shared() -> Path | None:
    named = os.environ.get("FACESWAP_HQ_SHARED")
    candidates = [Path(named)] if named else [Path(__file__).resolve().parents[2] / "shared"]
    return next((path for path in candidates if (path / "footage").is_dir()), None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real clips and measuring weights; the test skips where it is absent."""
    path = _shared()
    if path is None:
        pytest.skip("needs ../shared (real footage), which is absent here")
    return path


@pytest.fixture(scope="session")
def footage(shared: Path) -> Path:
    """``../shared/footage``; the test skips where it is absent."""
    return shared / "footage"


@pytest.fixture(autouse=True)
def _own_user_directories(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep keys and caches of the tests out of the user's own directories."""
    home = tmp_path_factory.getbasetemp() / "home"
    monkeypatch.setenv("FACESWAP_HQ_HOME", str(home))
