"""A Ray cluster of two nodes on this machine: what workers that die lose or double, and whether results differ."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from faceswap_hq import files, provenance
from faceswap_hq.curation import opening, records
from faceswap_hq.curation.plan import HeldOut
from faceswap_hq.curation.run import run as curate
from faceswap_hq.curation.settings import CurateSettings
from faceswap_hq.curation.thresholds import read_thresholds
from faceswap_hq.engines import LocalEngine, Tools, in_order, open_engine
from faceswap_hq.errors import UserError
from stress.data.layouts import read_manifest
from tests.engines import Prepared, die, doubled, failing, first_time, patient, written
from tests.faceswap_hq.helpers import SETTINGS_YAML, leftovers
from tests.faceswap_hq.same import facts

pytest.importorskip("ray", reason="needs Ray: pip install 'faceswap-hq[cluster]'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def nodes():
    """Two nodes with a core each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:  # what the workers inherit
        patch.setenv("PYTHONPATH", str(REPOSITORY), prepend=os.pathsep)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")
        node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
        cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        cluster.add_node(**node)
        yield cluster
        cluster.shutdown()


@pytest.fixture
def engine(nodes, tmp_path):
    with open_engine("ray", Tools(), address=nodes.address, folders=[tmp_path]) as found:
        yield found


def dying(mark: Path, function, task, tools):
    """Do a task, but end the worker's process without warning, once in each kind of work, in the middle of it."""
    from faceswap_hq import facesets
    from faceswap_hq.training.trainer import Trainer

    with pytest.MonkeyPatch.context() as patch:
        for place, name, kind in (
            (facesets, "read_faceset", "extract"), (Trainer, "remember", "train"), (provenance, "sign_video", "render"),
        ):  # fmt: skip

            def deadly(*args, real=getattr(place, name), kind=kind, **options):
                if first_time(mark.with_name(f"died-in-{kind}")):
                    die()
                return real(*args, **options)

            patch.setattr(place, name, deadly)
        return function(task, tools)


def curated(folder: Path, name: str, engine) -> Path:
    settings = CurateSettings(
        preset=str(folder / "small.yaml"), steps=4, retrain_steps=2, blend="none", held_out=HeldOut(gap=0.1)
    )
    out, tools = folder / name, records.Tools(device="cpu", key=provenance.load_key())
    curation = opening.open_curation(folder / "cast", out, settings, read_thresholds(None), tools=tools, engine=engine)
    curate(curation, tools, engine)
    return out


def test_a_curation_whose_workers_die_gives_what_a_local_one_gives(engine, tmp_path, actor_clips, monkeypatch):
    (tmp_path / "cast").mkdir()
    for clip in actor_clips:
        shutil.copy(clip, tmp_path / "cast" / clip.name)
    (tmp_path / "cast/consent.yaml").write_text("anna: virtual actor\nben: virtual actor\n")
    (tmp_path / "small.yaml").write_text(SETTINGS_YAML)
    monkeypatch.setenv("FACESWAP_HQ_HOME", str(tmp_path / "home"))
    here = curated(tmp_path, "here", LocalEngine())
    shutil.rmtree(tmp_path / "home/cache")
    there = curated(tmp_path, "there", Prepared(engine, partial(dying, tmp_path / "marks/mark")))
    assert sorted(path.name for path in (tmp_path / "marks").iterdir()) == [
        "died-in-extract", "died-in-render", "died-in-train",
    ]  # fmt: skip
    assert facts(there) == facts(here)
    report = json.loads((there / "curation.json").read_text())
    assert len(report["fakes"]) == 2
    assert len(report["rounds"]) == 2  # some failed, were trained further, and rendered again
    assert not leftovers(there)
    for folder in (there, there / "rejected"):
        for clip in read_manifest(folder) if (folder / "manifest.json").exists() else ():
            assert provenance.verify(clip.path).state == "valid"


def test_errors_and_messages_arrive_as_from_here(engine):
    told = []
    assert in_order(engine.map(doubled, [1, 9], Tools(say=told.append, warn=told.append), "extract")) == [2, 18]
    assert sorted(told) == ["9 is large", "doubling 1", "doubling 9"]
    with pytest.raises(UserError, match="one is too few") as caught:
        list(engine.map(failing, [1], Tools(), "extract"))
    assert caught.value.hint == "Take two."
    with pytest.raises(OSError, match="No space") as full:
        list(engine.map(failing, [2], Tools(), "extract"))
    assert full.value.errno == errno.ENOSPC
    with pytest.raises(ZeroDivisionError, match="a bug"):
        list(engine.map(failing, [3], Tools(), "extract"))
    with pytest.raises(UserError, match="No machine of the cluster"):
        list(engine.map(doubled, [1], Tools(), "nothing") if engine.needs("train").cpus > 1 else _too_much(engine))


def _too_much(engine):
    from faceswap_hq.cluster import RayEngine
    from faceswap_hq.engines import Needs

    return RayEngine({"train": Needs(cpus=2)})


def _always_dying(task, tools):
    die()


def test_a_task_that_kills_every_worker_is_given_up(engine):
    with pytest.raises(UserError, match="given up after 3 retries"):
        list(engine.map(_always_dying, [0], Tools(), "extract"))


def test_whoever_leaves_stops_the_tasks_which_tidy_up(engine, tmp_path):
    tasks = [str(tmp_path / name) for name in "abc"]

    def interrupt():
        """Ctrl-C, once two tasks have begun."""
        while sum(Path(task).exists() for task in tasks) < 2:
            time.sleep(0.1)
        os.kill(os.getpid(), 2)

    started = time.monotonic()
    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        list(engine.map(patient, tasks, Tools(), "extract"))
    assert time.monotonic() - started < 120
    states = [Path(task).read_text() for task in tasks if Path(task).exists()]
    assert states == ["tidied up"] * 2  # the third never began
    assert in_order(engine.map(doubled, [1, 2], Tools(), "extract")) == [2, 4]


def test_a_machine_that_is_lost_loses_nothing(nodes, engine, tmp_path):
    third = nodes.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    tasks = [str(tmp_path / f"{number}.txt") for number in range(12)]
    done = []
    for place, pid in engine.map(written, tasks, Tools(), "extract"):
        done.append((place, pid))
        if len(done) == 4:
            nodes.remove_node(third, allow_graceful=False)
    assert sorted(place for place, _ in done) == list(range(12))
    assert all(files.sha256_file(task) == hashlib.sha256(b"whole").hexdigest() for task in tasks)
    attempts = [len(Path(task).with_suffix(".attempts").read_text()) for task in tasks]
    assert set(attempts) <= {1, 2}
    assert attempts.count(2) <= 1 + (len({pid for _, pid in done}) > 2)
