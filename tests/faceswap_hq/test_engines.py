"""Engines without a cluster: the local one, how an engine is chosen, and Ray's with a stand-in for Ray."""

from __future__ import annotations

import errno
import importlib.util
import sys
import types

import pytest

from faceswap_hq import cluster, places
from faceswap_hq.cluster import RayEngine
from faceswap_hq.engines import LocalEngine, Needs, Tools, in_order, open_engine, parse_needs
from faceswap_hq.errors import UserError
from tests.engines import doubled, failing


class FakeRay(types.ModuleType):
    """Does a task when it is asked for the result, the last one first; remembers what is cancelled."""

    def __init__(self, *machines: dict[str, float]) -> None:
        super().__init__("ray")
        self.machines = machines
        self.tasks: dict[int, tuple] = {}
        self.cancelled: list[tuple[int, bool]] = []
        self.most = 0
        self.options: dict = {}
        kinds = ("WorkerCrashedError", "NodeDiedError", "OutOfMemoryError", "TaskCancelledError", "ObjectLostError")
        self.exceptions = types.SimpleNamespace(**{name: type(name, (Exception,), {}) for name in kinds})

    def nodes(self):
        return [{"Alive": True, "Resources": machine} for machine in self.machines]

    def is_initialized(self):
        return True

    def put(self, value):
        return value

    def remote(self, function):
        def submit(*arguments):
            number = len(self.tasks)
            self.tasks[number] = (function, arguments)
            return number

        def options(**given):
            self.options = given
            return types.SimpleNamespace(remote=submit)

        return types.SimpleNamespace(options=options)

    def wait(self, references, num_returns=1, timeout=None):
        self.most = max(self.most, len(references))
        if num_returns > 1 or timeout is not None:
            return references[:1], references[1:]  # all but one are stubborn
        return references[-1:], references[:-1]

    def get(self, reference):
        function, arguments = self.tasks[reference]
        if isinstance(arguments[-1], Exception):
            raise arguments[-1]
        return function(*arguments)

    def cancel(self, reference, force=False):
        self.cancelled.append((reference, force))


@pytest.fixture
def fake_ray(monkeypatch) -> FakeRay:
    ray = FakeRay({"CPU": 4.0, "memory": 8.0 * 2**30}, {"CPU": 16.0, "GPU": 1.0, "memory": 32.0 * 2**30})
    monkeypatch.setitem(sys.modules, "ray", ray)
    return ray


class TestLocal:
    def test_tasks_are_done_in_order_one_when_it_is_asked_for(self):
        told = []
        done = LocalEngine().map(doubled, [3, 9], Tools(say=told.append, warn=told.append), "extract")
        assert next(done) == (0, 6)
        assert told == ["doubling 3"]
        assert list(done) == [(1, 18)]
        assert told == ["doubling 3", "doubling 9", "9 is large"]

    def test_the_first_error_ends_it(self):
        done = LocalEngine().map(failing, [0, 1, 4], Tools(), "extract")
        assert next(done) == (0, 0)
        with pytest.raises(UserError, match="one is too few"):
            next(done)
        assert list(done) == []


def test_results_are_put_into_the_order_of_the_tasks():
    assert in_order([(2, "c"), (0, "a"), (1, "b")]) == ["a", "b", "c"]


class TestChoosing:
    def test_needs_are_read(self):
        assert parse_needs(["train=8:1:16", "render=2", "extract=0.5:0"]) == {
            "train": Needs(cpus=8, gpus=1, memory_gib=16), "render": Needs(cpus=2), "extract": Needs(cpus=0.5),
        }  # fmt: skip

    @pytest.mark.parametrize("wrong", ["", "train", "train=", "bake=1", "train=1:2:3:4", "train=0", "train=1:-1"])
    def test_needs_that_cannot_be_are_refused(self, wrong):
        with pytest.raises(UserError, match="KIND=CPUS"):
            parse_needs([wrong])

    @pytest.mark.parametrize(
        ("options", "said"), [(["--engine", "dask"], "no engine 'dask'"), (["--needs", "train=2"], "for --engine ray")]
    )
    def test_the_command_refuses_what_cannot_be(self, run, actor_clips, tmp_path, options, said):
        cast = actor_clips[0].parent
        (tmp_path / "cast").mkdir()
        for clip in actor_clips:
            (tmp_path / "cast" / clip.name).symlink_to(cast / clip.name)
        (tmp_path / "cast/consent.yaml").write_text("anna: virtual actor\nben: virtual actor\n")
        code, _, err = run("curate", tmp_path / "cast", "-o", tmp_path / "out", *options)
        assert code == 2
        assert said in err
        assert not (tmp_path / "out").exists()

    def test_without_ray_it_says_how_to_get_it(self, monkeypatch):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(UserError, match="not installed") as caught, open_engine("ray", Tools()):
            pass
        assert "faceswap-hq[cluster]" in caught.value.hint

    @pytest.mark.parametrize(
        ("program", "said"),
        [("import time; time.sleep(60)", "No Ray cluster answers at 10.0.0.1:6379 within 0.2 s"),
         ("raise ConnectionError('nobody is there')", "10.0.0.1:6379 cannot be used: ConnectionError: nobody is there"),
         ("raise SystemExit(7)", "cannot be used: exit code 7")],
    )  # fmt: skip
    def test_a_cluster_that_cannot_be_used_is_named(self, fake_ray, monkeypatch, program, said):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
        monkeypatch.setattr(fake_ray, "is_initialized", lambda: False)
        monkeypatch.setattr(cluster, "_TRY", program)
        monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.2 if "sleep" in program else 30.0)
        with pytest.raises(UserError, match=said), open_engine("ray", Tools(), address="10.0.0.1:6379"):
            pass


class TestRay:
    def test_every_task_is_done_once_and_its_messages_arrive(self, fake_ray):
        told = []
        tools = Tools(say=told.append, warn=lambda message: told.append(f"warning: {message}"))
        done = list(RayEngine({}).map(doubled, range(10), tools, "extract"))
        assert in_order(done) == [2 * i for i in range(10)]
        assert done[0][0] == 9  # as they are done, not in order
        assert told[:4] == ["doubling 9", "warning: 9 is large", "doubling 8", "warning: 8 is large"]
        assert len(told) == 12
        assert fake_ray.cancelled == []

    def test_the_cluster_holds_no_more_tasks_than_it_should(self, fake_ray, monkeypatch):
        monkeypatch.setattr(cluster, "IN_FLIGHT", 4)
        assert len(list(RayEngine({}).map(doubled, iter(range(30)), Tools(), "extract"))) == 30
        assert fake_ray.most == 4

    @pytest.mark.parametrize(
        ("task", "kind", "what"),
        [(1, UserError, "one is too few"), (2, OSError, "No space"), (3, ZeroDivisionError, "a bug")],
    )
    def test_an_error_arrives_as_it_was_and_stops_the_others(self, fake_ray, task, kind, what):
        with pytest.raises(kind, match=what) as caught:
            list(RayEngine({}).map(failing, [0, 5, task], Tools(), "extract"))
        if kind is UserError:
            assert caught.value.hint == "Take two."
        if kind is OSError:
            assert caught.value.errno == errno.ENOSPC
        kept = [0, 1] if kind is not ZeroDivisionError else [0, 1, 2]
        assert [number for number, force in fake_ray.cancelled if not force] == kept
        assert [number for number, force in fake_ray.cancelled if force] == kept[1:]

    def test_leaving_the_loop_stops_what_is_not_done(self, fake_ray):
        for place, _ in RayEngine({}).map(doubled, range(3), Tools(), "extract"):
            assert place == 2
            break
        assert {number for number, _ in fake_ray.cancelled} == {0, 1}

    @pytest.mark.parametrize(
        ("kind", "said", "advice"),
        [("WorkerCrashedError", "given up after 3 retries: the worker died", "--needs render="),
         ("OutOfMemoryError", "given up after 3 retries: the worker died", "--needs render="),
         ("TaskCancelledError", "told to end", "goes on")],
    )  # fmt: skip
    def test_a_task_that_is_lost_for_good_is_named_with_advice(self, fake_ray, kind, said, advice):
        lost = getattr(fake_ray.exceptions, kind)("the worker died\nand more")
        with pytest.raises(UserError, match=said) as caught:
            list(RayEngine({}).map(doubled, [lost], Tools(), "render"))
        assert advice in caught.value.hint

    def test_tasks_ask_for_what_they_need(self, fake_ray):
        engine = RayEngine({"render": Needs(cpus=2, gpus=0.25, memory_gib=4)})
        assert engine.width == 20
        assert engine.needs("extract") == Needs()
        assert engine.needs("train") == Needs(cpus=8, gpus=1)
        assert engine.needs("cell") == Needs(cpus=1, gpus=1)
        assert RayEngine({}, device="cpu").needs("train") == Needs(cpus=8)
        list(engine.map(doubled, [1], Tools(), "render"))
        asked = {name: fake_ray.options[name] for name in ("num_cpus", "num_gpus", "memory", "max_retries")}
        assert asked == {"num_cpus": 2, "num_gpus": 0.25, "memory": 4 * 2**30, "max_retries": 3}

    @pytest.mark.parametrize("needs", [Needs(cpus=17), Needs(cpus=1, gpus=2), Needs(memory_gib=33)])
    def test_what_no_machine_has_is_refused_rather_than_waited_for(self, fake_ray, needs):
        with pytest.raises(UserError, match="No machine of the cluster"):
            RayEngine({"render": needs})


class TestWorkers:
    """What a worker makes sure of before it begins."""

    @pytest.fixture
    def order(self, tmp_path, fake_ray):
        with cluster.shared([tmp_path / "out"]) as marks:
            yield RayEngine({}, marks)._order(Needs(), Tools())

    def changed(self, order, **changes):
        return cluster._do(type(order)(**{**vars(order), **changes}), doubled, 4)

    def test_that_it_sees_the_same_files(self, order, tmp_path):
        assert self.changed(order).result == 8
        answer = self.changed(order, marks=(str(tmp_path / "elsewhere/mark"),))
        assert f"does not see what is in {tmp_path / 'elsewhere'}" in answer.error.message
        assert answer.heard == ()
        assert "does not see" in self.changed(order, folder=str(tmp_path / "elsewhere")).error.message

    def test_that_it_has_the_same_cache(self, order, tmp_path):
        assert "keeps its cache in" in self.changed(order, cache="/home/other/.cache").error.message
        home = tmp_path / "home"
        answer = self.changed(order, environment={"FACESWAP_HQ_HOME": str(home)}, cache=str(home / "cache"))
        assert answer.result == 8
        assert places.cache_dir() == home / "cache"

    def test_that_it_has_the_same_version(self, order):
        assert "Install the same" in self.changed(order, version="0.0.1").error.hint

    def test_the_marks_are_gone_afterwards(self, tmp_path):
        with cluster.shared([tmp_path, tmp_path / "new"]) as marks:
            assert len(marks) == 2
            assert all(mark.is_file() for mark in marks)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]
