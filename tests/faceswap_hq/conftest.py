"""Fixtures that several test files of this package share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from faceswap_hq.cli import app
from faceswap_hq.console import run_app
from faceswap_hq.curation.tasks import RenderTask, ScoreTask, TrainTask
from tests.faceswap_hq.clips import synthetic_clip
from tests.faceswap_hq.curated import KnowsBoth, curated, measuring
from tests.faceswap_hq.helpers import SETTINGS_YAML, use_backend


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


@pytest.fixture(scope="session")
def fresh(tmp_path_factory, actor_clips, shots) -> Path:
    """``cast/`` with two clips and their consent, and ``out/`` with both fakes accepted. Copy it before use."""
    folder = tmp_path_factory.mktemp("curated")
    (folder / "cast").mkdir()
    for clip in actor_clips:
        shutil.copy(clip, folder / "cast" / clip.name)
    (folder / "cast/consent.yaml").write_text("anna: virtual actor\nben: {basis: virtual actor, note: drawn}\n")
    (folder / "small.yaml").write_text(SETTINGS_YAML)
    with pytest.MonkeyPatch.context() as patch:
        use_backend(patch, KnowsBoth(shots))
        patch.setattr(ScoreTask, "work", measuring({}))
        curated(folder / "cast")
    return folder


@pytest.fixture
def cast(tmp_path, fresh, shots, monkeypatch) -> Path:
    """A cast that was curated already: ``out/`` lies beside it."""
    use_backend(monkeypatch, KnowsBoth(shots))
    shutil.copytree(fresh, tmp_path, dirs_exist_ok=True)
    return tmp_path / "cast"


@pytest.fixture
def seams(monkeypatch) -> dict[tuple[str, str, int], float]:
    """What the stand-in says from now on; what is on record it has to forget (:func:`unscored`)."""
    found: dict[tuple[str, str, int], float] = {}
    monkeypatch.setattr(ScoreTask, "work", measuring(found))
    return found


@pytest.fixture
def counted(monkeypatch) -> list[str]:
    """What was really done."""
    done: list[str] = []
    for kind in (TrainTask, RenderTask):
        real = kind.work

        def work(self, tools, real=real):
            done.append(f"train {self.number}" if isinstance(self, TrainTask) else f"{self.source} {self.number}")
            return real(self, tools)

        monkeypatch.setattr(kind, "work", work)
    return done
