"""The matrix on engines that do several things at once: the same results, and no fine-tuning twice."""

from __future__ import annotations

import dataclasses
import json
import os
from functools import partial
from pathlib import Path

import pytest

from faceswap_hq.engines import Tools, open_engine
from stress import experiment, matrix
from stress.experiment import ExperimentSettings
from stress.gather import Gathered
from stress.matrix import parse_dataset, run_matrix
from stress.strategies import Strategy
from tests.engines import Prepared, Wide, first_time
from tests.stress.standin import Card, StandIn, finetune, quiet, study

STRATEGIES = (Strategy(), Strategy(layers="last"))
SETTINGS = ExperimentSettings(resamples=100, strategies=STRATEGIES, seeds=1, shuffles=1, folds=4)
DATA = {"one": 0, "two": 1}


def with_stand_ins(marks: Path, function, task, tools):
    """Do a task on made-up faces, with a fine-tuning that notes what it was asked for."""

    def gather(card, fakes, reals=None, **_):
        stress, real, _ = study(8, seed=DATA[fakes.name], prefix=fakes.name)
        return Gathered(fakes=stress, reals=real)

    def noting(detector, reals, fakes, training, progress, **more):
        who = ",".join(f"{item.clip.id}{item.clip.label}" for item in (*reals, *fakes))
        name = f"{detector.name}-{hash_of(who)}-{training.layers}-{training.seed}"
        assert first_time(marks / name), f"{name} is done twice"
        return finetune(detector, reals, fakes, training, progress, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matrix, "gather", gather)
        patch.setattr(matrix, "run", partial(experiment.run, progress=quiet, finetune=noting))
        return function(task, tools)


def hash_of(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:8]


def detector(name: str, green: float) -> StandIn:
    return StandIn(card=Card(sha256=name * 64), green=green, name=name)


def done(output: Path, engine):
    detectors = {"a": partial(detector, "a", 0.0)}
    engine = Prepared(engine, partial(with_stand_ins, output.parent / f"marks-{output.name}"))
    return run_matrix(detectors, [parse_dataset(name) for name in DATA], output, SETTINGS, engine=engine)


def marks(output: Path) -> set[str]:
    return {path.name for path in (output.parent / f"marks-{output.name}").iterdir()}


def results(output: Path) -> dict:
    """Every cell's results without the time that they were made."""
    found = {}
    for path in sorted((output / "cells").glob("*/results.json")):
        found[path.parent.name] = {k: v for k, v in json.loads(path.read_text()).items() if k != "created"}
    return found


@pytest.mark.parametrize(("width", "kinds"), [(3, {"cell"}), (7, {"finetune", "cell"})])
def test_shares_of_fine_tunings_give_what_whole_cells_give(tmp_path, width, kinds):
    class Looking(Wide):
        def map(self, function, tasks, tools, kind):
            yield from super().map(function, tasks, tools, kind)
            done_by[kind] = marks(tmp_path / "shared")

    plain = done(tmp_path / "plain", Wide(1))
    done_by: dict[str, set[str]] = {}
    engine = Looking(width)
    assert done(tmp_path / "shared", engine) == plain
    assert set(engine.kinds) == kinds
    assert engine.kinds.count("finetune") == (6 if width == 7 else 0)  # three shares of each cell
    assert set(done_by) == kinds
    for found in done_by.values():  # the shares leave the cells nothing to fine-tune
        assert found == marks(tmp_path / "plain")
    assert results(tmp_path / "shared") == results(tmp_path / "plain")


def test_nothing_is_shared_out_where_nothing_is_fine_tuned(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.stress.test_matrix_engines.SETTINGS", dataclasses.replace(SETTINGS, finetune=False))
    engine = Wide(1000)
    done(tmp_path / "plain", engine)
    assert set(engine.kinds) == {"cell"}


def test_the_table_is_written_in_its_order_whatever_is_done_first(tmp_path):
    class Backwards(Wide):
        def map(self, function, tasks, tools, kind):
            yield from reversed(list(super().map(function, tasks, tools, kind)))
            cells = json.loads((tmp_path / "out/matrix.json").read_text())["cells"]
            assert [(cell["detector"], cell["dataset"]) for cell in cells] == [
                ("a", "one"), ("a", "two"),
            ]  # fmt: skip

    done(tmp_path / "out", Backwards(1))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_ray_cluster_gives_what_this_process_gives(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="needs Ray: pip install 'faceswap-hq[cluster]'")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]), prepend=os.pathsep)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    node = {"num_cpus": 4, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        cluster.add_node(**node)
        with open_engine("ray", Tools(), address=cluster.address, folders=[tmp_path]) as engine:
            there = done(tmp_path / "there", engine)  # 2 cells, 8 cores: four shares of each
    finally:
        cluster.shutdown()
    assert there == done(tmp_path / "here", Wide(1))
    assert marks(tmp_path / "there") == marks(tmp_path / "here")
    assert results(tmp_path / "there") == results(tmp_path / "here")
