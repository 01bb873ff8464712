"""The doctor says what is here and what is not, whatever is missing."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import av
import mediapipe
import torch

from faceswap_hq import cli, doctor
from faceswap_hq.console import run_app
from faceswap_hq.errors import UserError


def examined() -> dict[str, doctor.Check]:
    return {check.name: check for check in doctor.examine()}


def test_here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    checks = examined()
    assert all(check.ok or check.optional for check in checks.values())
    assert checks["torch"].detail == torch.__version__.split("+")[0] or checks["torch"].detail in torch.__version__
    assert checks["mediapipe"].detail == mediapipe.__version__
    assert av.__version__ in checks["H.264 encoder"].detail
    assert "478 points" in checks["mediapipe landmarks"].detail
    assert str(tmp_path / "models") in checks["models are kept in"].detail
    assert "GiB free" in checks["facesets are cached in"].detail
    assert not (tmp_path / "models").exists()  # looking makes nothing


def test_command(capfd):
    assert run_app(cli.app, ["doctor"]) == 0
    printed = capfd.readouterr().out
    assert "mediapipe landmarks" in printed
    assert all(line.startswith(("ok  ", "NO  ")) for line in printed.splitlines())


def test_missing_packages_are_named(monkeypatch, capfd):
    real = metadata.version

    def version(name: str) -> str:
        if name in ("torch", "face-alignment", "mediapipe"):
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    for name in ("torch", "mediapipe"):
        monkeypatch.setitem(sys.modules, name, None)
    checks = examined()
    assert not checks["torch"].ok
    assert "pip install torch" in checks["torch"].detail
    assert not checks["mediapipe landmarks"].ok
    assert checks["face-alignment"].optional
    assert "faceswap-hq[face-alignment]" in checks["face-alignment"].detail
    assert run_app(cli.app, ["doctor"]) == 1
    assert "Traceback" not in capfd.readouterr().err


def test_a_key_that_cannot_be_used(monkeypatch):
    def fail(*args):
        raise UserError("The signing key is damaged.")

    monkeypatch.setattr("faceswap_hq.provenance.load_key", fail)
    check = examined()["signing key"]
    assert not check.ok
    assert check.detail == "The signing key is damaged."


def test_free_space_of_a_folder_that_is_not_there_yet():
    assert doctor._free(Path("/no/such/folder")) == doctor._free(Path("/"))
