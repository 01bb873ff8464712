"""Fixtures that every test package shares."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.faceswap_hq.helpers import Shot

# The pictures and models of the tests are so small that threads wait for one another longer than they work: a training
# step takes five times the processor's time with two. Workers and child processes inherit this.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")


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
def _seeded() -> None:
    """The same random weights and draws in every run, in whatever order the tests come."""
    import numpy as np
    import torch

    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


@pytest.fixture(autouse=True)
def _own_user_directories(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep keys and caches of the tests out of the user's own directories."""
    home = tmp_path_factory.getbasetemp() / "home"
    monkeypatch.setenv("FACESWAP_HQ_HOME", str(home))


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The same for what fixtures of the whole session make: they are set up before the fixture of each test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACESWAP_HQ_HOME", str(tmp_path_factory.getbasetemp() / "home"))
        yield


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shot, Shot]:
    """Two virtual actors, 24 numbered frames of 192 × 192 each, with their true landmarks."""
    from tests.faceswap_hq.helpers import shoot_once

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shots"  # one for all workers
    return shoot_once(11, folder), shoot_once(12, folder)


@pytest.fixture(scope="session")
def actor_clips(shots: tuple[Shot, Shot], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """``anna.mp4`` and ``ben.mp4``: the two shots at 25 frames/s with sound."""
    from tests.faceswap_hq.helpers import write_clip

    folder = tmp_path_factory.mktemp("actors")
    anna, ben = shots
    return (
        write_clip(folder / "anna.mp4", anna.images, audio="aac"),
        write_clip(folder / "ben.mp4", ben.images, audio="aac"),
    )


@pytest.fixture(scope="session")
def actor_facesets(shots: tuple[Shot, Shot], actor_clips: tuple[Path, Path]) -> tuple[Path, Path]:
    """The facesets of both clips, extracted with the true landmarks."""
    from faceswap_hq.extract import extract
    from tests.faceswap_hq.helpers import use_backend

    paths = []
    for shot, clip in zip(shots, actor_clips, strict=True):
        with pytest.MonkeyPatch.context() as patch:
            use_backend(patch, shot.knowing())
            paths.append(extract(clip, clip.with_suffix(".faceset")).path)
    return paths[0], paths[1]


@pytest.fixture(scope="session")
def trained(actor_facesets: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model run of a few steps at 32 px, anna onto ben. Copy it before changing it."""
    from faceswap_hq.faceset import read_faceset
    from faceswap_hq.training.loop import Budget, train
    from tests.faceswap_hq.helpers import SETTINGS

    run = tmp_path_factory.mktemp("models") / "anna-ben"
    train(run, [read_faceset(path) for path in actor_facesets], SETTINGS, Budget(steps=4), device="cpu")
    return run
