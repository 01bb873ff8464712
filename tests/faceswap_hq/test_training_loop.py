"""The loop: it learns, stops, resumes exactly, and keeps what it has when something goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch
from safetensors.torch import load_file

from faceswap_hq import files
from faceswap_hq.errors import UserError
from faceswap_hq.faces import expression
from faceswap_hq.faceset import read_faceset
from faceswap_hq.training import checkpoints, loop
from faceswap_hq.training import trainer as trainer_module
from faceswap_hq.training.augmentation import central
from faceswap_hq.training.checkpoints import Progress
from faceswap_hq.training.data import load_person, remembered
from faceswap_hq.training.devices import choose_device, open_fabric
from faceswap_hq.training.loop import Budget, train
from faceswap_hq.training.run import load_model
from faceswap_hq.training.trainer import Trainer, resolve_precision
from tests.faceswap_hq.helpers import MODEL, SETTINGS, killed, leftovers, tree, write_faceset

CPU = open_fabric(torch.device("cpu"), "float32")


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> list:
    folder = tmp_path_factory.mktemp("facesets")
    return [write_faceset(folder / f"{name}.faceset", seed=seed) for name, seed in (("anna", 1), ("ben", 2))]


@pytest.fixture(scope="module")
def straight(pair, tmp_path_factory) -> Path:
    """A run of 10 steps at one go."""
    run = tmp_path_factory.mktemp("models") / "straight"
    train(run, pair, SETTINGS, Budget(steps=10), device="cpu")
    return run


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def same(first: Path, second: Path) -> bool:
    a, b = weights(first), weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def stop_at(step: int):
    """A report function that asks the loop to stop, as Ctrl-C does."""

    def report(progress, share, losses, speed):
        if progress.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    return report


def test_fabric_says_nothing(caplog):
    """What is trained in is said by the command, once."""
    open_fabric(torch.device("cpu"), "bfloat16")
    assert not caplog.records


class TestBudget:
    def test_shares(self):
        assert Budget(steps=10).share(Progress(step=4)) == 0.4
        assert Budget(minutes=2).share(Progress(seconds=30)) == 0.25
        assert Budget(steps=10).share(Progress(step=11)) == 1
        assert [str(Budget(steps=3)), str(Budget(minutes=1.5))] == ["3 steps", "1.5 minutes"]

    @pytest.mark.parametrize(
        "wrong", [{}, {"steps": 1, "minutes": 1}, {"steps": 0}, {"minutes": 0}, {"minutes": float("nan")}]
    )
    def test_wrong(self, wrong):
        with pytest.raises(UserError):
            Budget(**wrong)


class TestTrainer:
    def test_rate_rises_then_falls(self, pair):
        people = [load_person(faceset, 32, SETTINGS.coverage) for faceset in pair]
        trainer = Trainer(replace(SETTINGS, warmup=10, final_rate=0.1), people, CPU)
        rates = []
        for step in range(101):
            trainer.progress = Progress(step=step)
            rates.append(trainer.rate(step / 100) / SETTINGS.learning_rate)
        assert rates[0] == pytest.approx(0.1)
        assert all(a < b for a, b in zip(rates[:9], rates[1:10], strict=True))
        assert all(a >= b for a, b in zip(rates[10:], rates[11:], strict=False))
        assert rates[-1] == pytest.approx(0.1)
        assert rates[50] == pytest.approx(0.55, abs=0.01)

    def test_a_step_reaches_everyone(self, pair):
        people = [load_person(faceset, 32, SETTINGS.coverage) for faceset in pair]
        trainer = Trainer(SETTINGS, people, CPU)
        before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
        trainer.step(0.0)
        changed = {
            key.split(".")[0]
            for key, value in trainer.model.state_dict().items()
            if not torch.equal(value, before[key])
        }
        assert changed == {"encoder", "opening", "decoders"}
        for person in ("decoders.0", "decoders.1"):
            assert any(
                k.startswith(person) and not torch.equal(v, before[k]) for k, v in trainer.model.state_dict().items()
            )

    def test_batches_hold_each_persons_faces(self, pair):
        people = [load_person(faceset, 32, SETTINGS.coverage) for faceset in pair]
        people = [
            replace(person, images=torch.full_like(person.images, 50 + 100 * i)) for i, person in enumerate(people)
        ]
        still = replace(SETTINGS, augment=replace(SETTINGS.augment, light=0.0, tint=0.0, flip=0.0))
        bent, target, areas, measures = Trainer(still, people, CPU).batch(3)
        assert bent.shape == target.shape == (4, 3, 32, 32)
        assert areas.shape == (4, 3, 32, 32)
        assert measures.shape == (4, expression.COUNT)
        for own, person in zip(measures.split(2), people, strict=True):
            assert all((person.measures == row).all(1).any() for row in own)
        torch.testing.assert_close(target[:2], torch.full((2, 3, 32, 32), 50 / 255))
        torch.testing.assert_close(target[2:], torch.full((2, 3, 32, 32), 150 / 255))

    def test_each_memory_is_the_code_of_its_face(self, pair):
        """Of a short clip one face is remembered many times; it is encoded once."""
        people = [load_person(faceset, 32, SETTINGS.coverage) for faceset in pair]
        trainer = Trainer(SETTINGS, people, CPU)
        looked = []
        trainer.model.encoder.register_forward_hook(lambda module, args, out: looked.append(len(args[0])))
        trainer.remember()
        assert sum(looked) == sum(len(person.images) for person in people)
        for number, person in enumerate(people):
            with torch.no_grad():
                expected = trainer.model.encoder(central(person.images[remembered(person)], 32))
            torch.testing.assert_close(trainer.model.codes[number], expected, atol=1e-5, rtol=1e-4)
            assert len(trainer.model.codes[number].unique(dim=0)) == len(person.images)

    def test_the_seed_decides_the_weights_and_no_one_elses_numbers(self, pair):
        people = [load_person(faceset, 32, SETTINGS.coverage) for faceset in pair]
        torch.manual_seed(1)
        first = Trainer(SETTINGS, people, CPU).model.state_dict()
        after = torch.rand(1)
        torch.manual_seed(2)
        again = Trainer(SETTINGS, people, CPU).model.state_dict()
        other = Trainer(replace(SETTINGS, seed=1), people, CPU).model.state_dict()
        assert all(torch.equal(first[key], again[key]) for key in first)
        assert not torch.equal(first["encoder.dense.weight"], other["encoder.dense.weight"])
        torch.manual_seed(1)
        assert torch.equal(torch.rand(1), after)


class TestRun:
    def test_what_stands_there_after(self, straight):
        assert sorted(path.name for path in straight.iterdir()) == [
            "card.json", "checkpoints", "config.yaml", "log.jsonl", "model.safetensors", "previews",
        ]  # fmt: skip
        assert not leftovers(straight)
        model, card = load_model(straight)
        assert card.step == 10
        assert model.people == ("anna", "ben")
        lines = [json.loads(line) for line in (straight / "log.jsonl").read_text().splitlines()]
        assert lines[-1]["step"] == 10
        assert {"l1", "dssim", "dssim_coarse", "mask", "total", "seconds", "faces_per_second"} <= set(lines[-1])
        sheet = cv2.imread(str(straight / "previews" / "latest.png"))
        assert sheet.shape == (22 + 6 * 32, 6 * 32, 3)
        assert sheet[22:].std() > 5

    def test_it_learns(self, pair, tmp_path):
        losses = []
        result = train(
            tmp_path / "run", pair, SETTINGS, Budget(steps=60), device="cpu",
            report=lambda progress, share, running, speed: losses.append(running["total"]),
        )  # fmt: skip
        assert not result.stopped
        assert result.progress.step == 60
        assert result.faces_per_second > 0
        assert losses[-1] < 0.8 * losses[5]
        assert result.losses["total"] == losses[-1]

    def test_reports_in_order(self, pair, tmp_path):
        seen = []
        train(
            tmp_path / "run",
            pair,
            SETTINGS,
            Budget(steps=4),
            device="cpu",
            report=lambda p, share, *_: seen.append((p.step, share)),
        )
        assert seen == [(1, 0.25), (2, 0.5), (3, 0.75), (4, 1.0)]

    def test_one_person_and_three(self, pair, tmp_path):
        cem = write_faceset(tmp_path / "cem.faceset", seed=3, count=1)
        for people in ([pair[0]], [*pair, cem]):
            run = tmp_path / f"run{len(people)}"
            train(run, people, SETTINGS, Budget(steps=2), device="cpu")
            assert load_model(run)[1].people == tuple(person.name for person in people)

    def test_names_must_differ(self, pair, tmp_path):
        with pytest.raises(UserError, match="same name"):
            train(tmp_path / "run", [pair[0], pair[0]], SETTINGS, Budget(steps=2), device="cpu")
        assert not (tmp_path / "run").exists()

    def test_minutes(self, pair, tmp_path):
        result = train(tmp_path / "run", pair, SETTINGS, Budget(minutes=0.005), device="cpu")
        assert 0.3 <= result.progress.seconds < 3
        again = train(tmp_path / "run", pair, SETTINGS, Budget(minutes=0.005), device="cpu")
        assert again.progress == result.progress  # earlier sessions count

    def test_not_in_the_main_thread(self, pair, tmp_path):
        """A program may train beside its own work: signals are then not caught, and nothing else changes."""
        results = []
        thread = threading.Thread(
            target=lambda: results.append(train(tmp_path / "r", pair, SETTINGS, Budget(steps=2), device="cpu"))
        )
        thread.start()
        thread.join()
        assert results[0].progress.step == 2


class TestResume:
    def test_twice_is_the_same(self, pair, tmp_path):
        """With several threads too, which all other tests do without."""
        threads = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            for name in ("first", "second"):
                train(tmp_path / name, pair, SETTINGS, Budget(steps=2), device="cpu")
        finally:
            torch.set_num_threads(threads)
        assert same(tmp_path / "first", tmp_path / "second")

    def test_stopped_and_resumed_is_the_same(self, pair, straight, tmp_path):
        said = []
        first = train(tmp_path / "run", pair, SETTINGS, Budget(steps=10), device="cpu", report=stop_at(5))
        assert first.stopped
        assert first.progress.step == 5
        assert load_model(tmp_path / "run")[1].step == 5
        second = train(tmp_path / "run", pair, SETTINGS, Budget(steps=10), device="cpu", say=said.append)
        assert not second.stopped
        assert any("resuming at step 5" in line for line in said)
        assert same(straight, tmp_path / "run")

    def test_the_handlers_are_put_back(self, pair, tmp_path):
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        train(tmp_path / "run", pair, SETTINGS, Budget(steps=10), device="cpu", report=stop_at(1))
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before

    def test_a_damaged_newest_checkpoint_costs_its_steps_only(self, pair, straight, tmp_path):
        run, warnings = tmp_path / "run", []
        train(run, pair, SETTINGS, Budget(steps=10), device="cpu", report=stop_at(3))
        train(run, pair, SETTINGS, Budget(steps=10), device="cpu", report=stop_at(6))
        newest = checkpoints.found(run)[0] / "model.safetensors"
        newest.write_bytes(newest.read_bytes()[:100])
        train(run, pair, SETTINGS, Budget(steps=10), device="cpu", warn=warnings.append, report=stop_at(6))
        assert len(warnings) == 1
        assert checkpoints.found(run)[0].name == "step-0000006"  # anew, in the damaged one's place
        train(run, pair, SETTINGS, Budget(steps=10), device="cpu", warn=warnings.append)
        assert len(warnings) == 1
        assert same(straight, run)

    def test_all_damaged_changes_nothing(self, pair, straight, tmp_path):
        run = tmp_path / "run"
        shutil.copytree(straight, run)
        for path in checkpoints.found(run):
            (path / "model.safetensors").write_bytes(b"damaged")
        before = tree(run)
        with pytest.raises(UserError, match="All checkpoints"):
            train(run, pair, SETTINGS, Budget(steps=12), device="cpu")
        assert tree(run) == before

    def test_a_lost_export_is_written_anew(self, pair, straight, tmp_path):
        """What rendering uses can always be made again from the last checkpoint."""
        run = tmp_path / "run"
        shutil.copytree(straight, run)
        (run / "model.safetensors").write_bytes(b"damaged")
        (run / "card.json").unlink()
        train(run, pair, SETTINGS, Budget(steps=10), device="cpu")
        assert same(straight, run)

    def test_two_at_once_are_refused(self, pair, tmp_path):
        run = tmp_path / "run"
        with files.lock_beside(run), pytest.raises(UserError, match="in use by another process"):
            train(run, pair, SETTINGS, Budget(steps=1), device="cpu")
        assert not run.exists()

    def test_kill_and_resume(self, pair, tmp_path):
        """Killed without warning in the middle of training, it goes on from the last checkpoint, exactly."""
        run = tmp_path / "run"
        settings = replace(SETTINGS, save_minutes=1e-6)

        def work(tell) -> None:
            def report(progress, *_) -> None:
                tell(progress.step)
                time.sleep(0.01)

            train(run, pair, settings, Budget(steps=1000), device="cpu", report=report)

        killed(work, until=6)
        assert int(checkpoints.found(run)[0].name[-7:]) >= 5
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            train(run, pair, settings, Budget(steps=1000), device="cpu", report=stop_at(12))
            train(tmp_path / "unbroken", pair, settings, Budget(steps=1000), device="cpu", report=stop_at(12))
        finally:
            torch.set_num_threads(threads)
        assert load_model(run)[1].step == 12
        assert same(run, tmp_path / "unbroken")
        assert not leftovers(run)


class TestTrouble:
    def test_a_second_signal_breaks_in(self, pair, tmp_path):
        def twice(progress, *_):
            if progress.step == 3:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)

        before = signal.getsignal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "run", pair, SETTINGS, Budget(steps=10), device="cpu", report=twice)
        assert signal.getsignal(signal.SIGINT) is before

    def test_devices(self):
        assert choose_device("cpu").type == "cpu"
        assert choose_device(None).type in ("cpu", "cuda", "mps")
        for name in ("cuda:99", "nonsense", "mps" if not torch.backends.mps.is_available() else "cuda:99"):
            with pytest.raises(UserError, match="cannot be used"):
                choose_device(name)

    def test_a_busy_second_does_not_decide_the_precision(self, monkeypatch):
        auto, device = replace(SETTINGS, precision="auto"), torch.device("cpu")
        for steps, chosen in (
            ({"bfloat16": [0.30, 0.10], "float32": [0.15, 0.16]}, "bfloat16"),
            ({"bfloat16": [0.10, 0.11], "float32": [0.09, 0.09]}, "float32"),
            ({"bfloat16": [0.10], "float32": [0.26]}, "bfloat16"),  # clear at once
            ({"bfloat16": [0.50], "float32": [0.10]}, "float32"),
        ):
            monkeypatch.setattr(trainer_module, "_step_time", lambda s, *_, steps=steps: steps[s.precision].pop(0))
            assert resolve_precision(auto, [], device).precision == chosen
            assert not any(steps.values())

    def test_precision_is_measured_once_and_kept(self, pair, tmp_path, monkeypatch):
        people = [load_person(faceset, 32, SETTINGS.coverage) for faceset in pair]
        auto = replace(SETTINGS, precision="auto")
        assert resolve_precision(auto, people, torch.device("cpu")).precision in ("float32", "bfloat16")
        assert resolve_precision(SETTINGS, people, torch.device("cpu")) is SETTINGS
        monkeypatch.setattr(loop, "resolve_precision", lambda settings, *_: replace(settings, precision="bfloat16"))
        train(tmp_path / "run", pair, auto, Budget(steps=2), device="cpu")
        monkeypatch.setattr(loop, "resolve_precision", lambda *_: pytest.fail("measured again"))
        train(tmp_path / "run", pair, auto, Budget(steps=3), device="cpu")
        assert "precision: bfloat16" in (tmp_path / "run" / "config.yaml").read_text()
        assert {value.dtype for value in weights(tmp_path / "run").values()} == {torch.float32}


def test_the_fixture_of_the_whole_session(trained, actor_facesets):
    """Faces of actors go in, a model comes out."""
    _, card = load_model(trained)
    assert card.people == ("anna", "ben")
    assert card.model == MODEL
    assert all(len(read_faceset(path).rows) >= 20 for path in actor_facesets)
