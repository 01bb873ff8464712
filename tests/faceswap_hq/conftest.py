"""Fixtures that several test files of this package share."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceswap_hq.cli import app
from faceswap_hq.console import run_app
from tests.faceswap_hq.clips import synthetic_clip


@pytest.fixture
def one_key(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One signing key for all tests that ask for it; those about making keys set their own home."""
    monkeypatch.setenv("FACESWAP_HQ_HOME", str(tmp_path_factory.getbasetemp() / "provenance-home"))
    monkeypatch.delenv("FACESWAP_HQ_SIGNING_KEY", raising=False)
    monkeypatch.delenv("FACESWAP_HQ_SIGNING_CERT", raising=False)


@pytest.fixture(scope="session")
def sounding_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 frames with sound; not to be written to."""
    return synthetic_clip(tmp_path_factory.mktemp("clips") / "target.mp4", count=20, audio="aac")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty working directory, with a home of its own beside it."""
    monkeypatch.setenv("FACESWAP_HQ_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def run(capfd):
    """Run a command; returns exit code, standard output and standard error."""

    def command(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run_app(app, [str(argument) for argument in arguments])
        printed = capfd.readouterr()
        assert "Traceback" not in printed.err, printed.err
        return code, printed.out, printed.err

    return command
