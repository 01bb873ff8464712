"""Losses that run away, averaged weights, the best checkpoint, profiles, and fifty kills."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from faceswap_hq import files
from faceswap_hq.errors import UserError
from faceswap_hq.training import checkpoints, loop
from faceswap_hq.training.checkpoints import Progress
from faceswap_hq.training.data import load_person
from faceswap_hq.training.devices import open_fabric
from faceswap_hq.training.loop import Budget, train
from faceswap_hq.training.profiling import PHASES, StepProfile
from faceswap_hq.training.run import load_model
from faceswap_hq.training.trainer import Trainer
from tests.faceswap_hq.helpers import SETTINGS, killed, leftovers, tree, write_faceset
from tests.faceswap_hq.test_training_loop import same, stop_at

CPU = open_fabric(torch.device("cpu"), "float32")


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> list:
    folder = tmp_path_factory.mktemp("facesets")
    return [write_faceset(folder / f"{name}.faceset", seed=seed) for name, seed in (("anna", 1), ("ben", 2))]


def failing(monkeypatch, at: list[int], how: float, times: int) -> list[tuple[int, float]]:
    """Let the loss of some steps be ``how`` the first few times; returns (step, learning rate) of every step tried."""
    real, tried = Trainer.step, []

    def step(self: Trainer, share: float) -> dict[str, float]:
        losses = real(self, share)
        tried.append((self.progress.step, self.optimizer.param_groups[0]["lr"]))
        if self.progress.step in at and sum(s == self.progress.step for s, _ in tried) <= times:
            losses["total"] = how
        return losses

    monkeypatch.setattr(Trainer, "step", step)
    return tried


class TestRunaway:
    @pytest.mark.parametrize(("how", "at"), [(float("nan"), [6]), (50.0, [5, 6, 7])])
    def test_it_goes_back_with_a_smaller_step(self, pair, tmp_path, monkeypatch, how, at):
        run, warnings = tmp_path / "run", []
        train(run, pair, SETTINGS, Budget(steps=10), device="cpu", report=stop_at(4))
        tried = failing(monkeypatch, at=at, how=how, times=1)
        result = train(run, pair, SETTINGS, Budget(steps=10), device="cpu", warn=warnings.append)
        assert [step for step, _ in tried] == [*range(4, at[-1] + 1), 4, 5, 6, 7, 8, 9]
        assert tried[at[-1] - 3][1] == pytest.approx(tried[0][1] / 2)
        assert len(warnings) == 1
        assert "back to step 4 with half the learning rate" in warnings[0]
        assert result.progress.slowdown == pytest.approx(0.5 * 2 ** (6 / 1000))  # it recovers slowly
        assert all(torch.isfinite(value).all() for value in load_file(run / "model.safetensors").values())

    def test_an_odd_batch_is_passed_over(self, pair, tmp_path, monkeypatch):
        tried = failing(monkeypatch, at=[3, 4, 6], how=50.0, times=1)
        result = train(tmp_path / "run", pair, SETTINGS, Budget(steps=8), device="cpu")
        assert [step for step, _ in tried] == list(range(8))
        assert result.progress.slowdown == 1
        assert result.progress.loss < 10

    def test_going_back_is_saved_though_no_step_was_gained(self, pair, tmp_path, monkeypatch):
        run = tmp_path / "run"
        train(run, pair, SETTINGS, Budget(steps=10), device="cpu", report=stop_at(3))
        failing(monkeypatch, at=[4], how=float("nan"), times=1)
        stop = lambda text: os.kill(os.getpid(), signal.SIGINT)  # noqa: E731
        result = train(run, pair, SETTINGS, Budget(steps=10), device="cpu", warn=stop)
        assert result.stopped
        assert result.progress.step == 3
        assert checkpoints.progress_of(checkpoints.found(run)[0]) == result.progress
        assert result.progress.slowdown == 0.5

    def test_the_smaller_step_is_remembered(self, pair, tmp_path, monkeypatch):
        run = tmp_path / "run"
        tried = failing(monkeypatch, at=[2], how=float("nan"), times=1)
        train(run, pair, SETTINGS, Budget(steps=10), device="cpu", report=stop_at(3), warn=lambda text: None)
        train(run, pair, SETTINGS, Budget(steps=10), device="cpu", report=stop_at(4))
        monkeypatch.undo()
        assert tried[-1][0] == 3
        fresh = tmp_path / "fresh"
        again = failing(monkeypatch, at=[], how=0.0, times=0)
        train(fresh, pair, SETTINGS, Budget(steps=10), device="cpu", report=stop_at(4))
        assert tried[-1][1] == pytest.approx(again[-1][1] / 2, rel=0.01)

    def test_without_a_checkpoint_it_starts_anew(self, pair, tmp_path, monkeypatch):
        tried = failing(monkeypatch, at=[2], how=float("nan"), times=2)
        result = train(
            tmp_path / "run", pair, SETTINGS, Budget(steps=4), device="cpu", warn=lambda text: None
        )
        assert [step for step, _ in tried] == [0, 1, 2, 0, 1, 2, 0, 1, 2, 3]
        assert result.progress.slowdown == pytest.approx(0.25, rel=0.01)

    def test_time_goes_on_when_steps_go_back(self, pair, tmp_path, monkeypatch):
        """A budget in minutes ends although the loss runs away again and again."""
        seconds = []
        failing(monkeypatch, at=[2], how=float("nan"), times=3)
        train(
            tmp_path / "run", pair, SETTINGS, Budget(steps=4), device="cpu", warn=lambda text: None,
            report=lambda progress, *_: seconds.append(progress.seconds),
        )  # fmt: skip
        assert len(seconds) == 2 * 3 + 4
        assert all(a < b for a, b in zip(seconds, seconds[1:], strict=False))

    def test_it_gives_up_and_keeps_what_was_good(self, pair, tmp_path, monkeypatch):
        run = tmp_path / "run"
        train(run, pair, SETTINGS, Budget(steps=10), device="cpu", report=stop_at(2))
        before = tree(run / "checkpoints")
        failing(monkeypatch, at=[3], how=float("nan"), times=99)
        with pytest.raises(UserError, match="loss became nan at step 3"):
            train(run, pair, SETTINGS, Budget(steps=10), device="cpu", warn=lambda text: None)
        assert tree(run / "checkpoints") == before
        assert load_model(run)[1].step == 2

    def test_gradients_that_are_no_numbers_never_reach_the_weights(self, pair, tmp_path, monkeypatch):
        real, calls = torch.nn.utils.clip_grad_norm_, []

        def clip(parameters, limit):
            parameters = list(parameters)
            calls.append(1)
            if len(calls) == 3:
                parameters[0].grad[:] = float("nan")
            return real(parameters, limit)

        monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clip)
        warnings = []
        train(tmp_path / "run", pair, SETTINGS, Budget(steps=5), device="cpu", warn=warnings.append)
        assert len(warnings) == 1
        assert len(calls) == 3 + 5
        assert all(torch.isfinite(v).all() for v in load_file(tmp_path / "run" / "model.safetensors").values())


def test_a_person_added_later(pair, tmp_path):
    """Their decoder alone is trained; everybody else is drawn exactly as before; stopped and resumed is the same."""
    base, grown = tmp_path / "base", tmp_path / "grown"
    train(base, pair, SETTINGS, Budget(steps=4), device="cpu")
    before = tree(base)
    cem = write_faceset(tmp_path / "cem.faceset", seed=3)
    train(grown, [cem], SETTINGS, Budget(steps=6), device="cpu", base=base)
    assert tree(base) == before
    old, new = (load_model(path)[0] for path in (base, grown))
    assert new.people == ("anna", "ben", "cem")
    image, measures = torch.rand(2, 3, 32, 32), torch.randn(2, old.seen.shape[-1])
    for person in range(2):
        assert torch.equal(old.swap(image, measures, person)[0], new.swap(image, measures, person)[0])
        assert torch.equal(old.rest[person], new.rest[person])
    assert not torch.equal(new.decoders[2].head.weight, old.decoders[0].head.weight)
    first = [decoder.stages[0].convolution.weight for decoder in new.decoders]
    assert torch.equal(first[0], first[1])  # those trained together share it
    assert not torch.equal(first[0], first[2])
    assert new.codes[2].abs().sum() > 0
    assert 0 < old.usual.max() < 1  # how wrong each is usually drawn was measured
    assert torch.equal(old.usual, new.usual[:2])
    assert 0 < new.usual[2].max() < 1
    begun = Trainer(SETTINGS, [load_person(cem, 32, SETTINGS.coverage)], CPU, base=old).model.decoders
    assert not torch.allclose(begun[2].views.pictures, begun[0].views.pictures, atol=0.1)  # cem's, not anna's
    again = tmp_path / "again"
    train(again, [cem], SETTINGS, Budget(steps=6), device="cpu", base=base, report=stop_at(2))
    train(again, [cem], SETTINGS, Budget(steps=6), device="cpu", base=base)
    assert same(grown, again)
    with pytest.raises(UserError, match="same name"):
        train(tmp_path / "twice", [pair[0]], SETTINGS, Budget(steps=1), device="cpu", base=base)
    # All together from there: nobody's first doublings are replaced by another's
    three = [*pair, cem]
    further, other = tmp_path / "further", tmp_path / "other"
    slow = replace(SETTINGS, learning_rate=1e-9)
    train(further, three, slow, Budget(steps=3), device="cpu", begin=grown)
    weights = [decoder.stages[0].convolution.weight for decoder in load_model(further)[0].decoders]
    torch.testing.assert_close(weights, first, atol=1e-6, rtol=0)
    for options in ({"begin": grown, "report": stop_at(1)}, {}):
        train(other, three, slow, Budget(steps=3), device="cpu", **options)
    assert same(further, other)



def test_begun_from_a_trained_model(pair, tmp_path):
    """Its weights are where training begins, for all of it; people it does not know begin as its first, looking like
    themselves; stopped and resumed is the same, with or without saying again what it began with."""
    cast, both = tmp_path / "cast", tmp_path / "both"
    train(cast, pair, SETTINGS, Budget(steps=4), device="cpu")
    before = tree(cast)
    cem = write_faceset(tmp_path / "cem.faceset", seed=3)
    data = [load_person(faceset, 32, SETTINGS.coverage) for faceset in (pair[1], cem)]
    old = load_model(cast)[0]
    begun = Trainer(SETTINGS, data, CPU, begin=old).model
    assert begun.people == ("ben", "cem")
    for mine, theirs in ((begun.encoder, old.encoder), (begun.decoders[0], old.decoders[1])):
        state = theirs.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in mine.state_dict().items())
    assert torch.equal(begun.decoders[1].head.weight, old.decoders[0].head.weight)
    own = Trainer(SETTINGS, data, CPU).model.decoders[1]
    assert torch.equal(begun.decoders[1].views.pictures, own.views.pictures)
    assert all(parameter.requires_grad for parameter in begun.parameters())

    train(both, [pair[1], cem], SETTINGS, Budget(steps=6), device="cpu", begin=cast)
    assert tree(cast) == before
    new = load_model(both)[0]
    assert not torch.equal(new.encoder.dense.weight, old.encoder.dense.weight)
    again = tmp_path / "again"
    for options in ({"begin": cast, "report": stop_at(2)}, {"begin": cast, "report": stop_at(4)}, {}):
        train(again, [pair[1], cem], SETTINGS, Budget(steps=6), device="cpu", **options)
    assert same(both, again)
    with pytest.raises(UserError, match="not begun from"):
        train(cast, pair, SETTINGS, Budget(steps=5), device="cpu", begin=both)
    other = replace(SETTINGS, model=replace(SETTINGS.model, bottleneck=24))
    with pytest.raises(UserError, match="another shape"):
        train(tmp_path / "other", pair, other, Budget(steps=1), device="cpu", begin=cast)


class TestAverage:
    SETTINGS = replace(SETTINGS, ema=0.9)

    def test_what_is_exported_is_the_average(self, pair, tmp_path):
        run = tmp_path / "run"
        train(run, pair, self.SETTINGS, Budget(steps=6), device="cpu")
        folder = checkpoints.found(run)[0]
        paths = (run / "model.safetensors", folder / "model.safetensors", folder / "average.safetensors")
        shown, last, average = (load_file(path) for path in paths)
        name = "decoders.0.head.weight"
        assert torch.equal(shown[name], average[name])
        assert not torch.equal(shown[name], last[name])

    def test_it_is_what_the_formula_says(self, pair, tmp_path):
        from faceswap_hq.training.data import load_person

        people = [load_person(faceset, 32, SETTINGS.coverage) for faceset in pair]
        trainer = Trainer(self.SETTINGS, people, CPU)
        expected = trainer.model.encoder.dense.weight.detach().clone()
        for step in range(4):
            trainer.progress = Progress(step=step)
            trainer.step(0.0)
            decay = min(0.9, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * trainer.model.encoder.dense.weight.detach()
        torch.testing.assert_close(trainer.shown.encoder.dense.weight.detach(), expected)

    def test_stopped_and_resumed_is_the_same(self, pair, tmp_path):
        train(tmp_path / "a", pair, self.SETTINGS, Budget(steps=8), device="cpu")
        train(tmp_path / "b", pair, self.SETTINGS, Budget(steps=8), device="cpu", report=stop_at(3))
        train(tmp_path / "b", pair, self.SETTINGS, Budget(steps=8), device="cpu")
        assert same(tmp_path / "a", tmp_path / "b")


def test_the_checkpoint_of_lowest_loss_is_kept(tmp_path):
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    for step, loss in enumerate((0.9, 0.2, 0.5, 0.4, None, 0.3), 1):
        checkpoints.save(tmp_path, model, optimizer, Progress(step=step, loss=loss), keep=2)
    assert [int(path.name[-7:]) for path in checkpoints.found(tmp_path)] == [6, 5, 2]


@pytest.fixture
def short_profile(monkeypatch) -> None:
    """2 steps that do not count, 3 that are timed, 4 under the profiler."""
    monkeypatch.setattr(loop, "StepProfile", partial(StepProfile, skip=2, plain=3, steps=4))


def test_profile(pair, tmp_path, short_profile):
    said = []
    run = tmp_path / "run"
    train(run, pair, SETTINGS, Budget(steps=9), device="cpu", say=said.append, profiled=True)
    text = (run / "profile.txt").read_text()
    assert "(median of 3;" in text
    assert "mean of 4 steps" in text
    shares = [float(re.search(rf"  {phase} .* ms +([\d.]+) %", text)[1]) for phase in PHASES]
    assert sum(shares) == pytest.approx(100, abs=1)
    assert all(share > 0.1 for share in shares)
    assert "convolution" in text
    assert any("profile.txt" in line for line in said)
    waits = re.search(r"waits for its batch ([\d.]+) ms \(95 % of batches: no more than ([\d.]+) ms", text)
    assert waits is not None
    assert 0 < float(waits[1]) <= float(waits[2])


def test_a_profile_that_training_outruns_is_given_up(pair, tmp_path, short_profile):
    run = tmp_path / "run"
    active = []
    train(
        run, pair, SETTINGS, Budget(steps=6), device="cpu", profiled=True,
        report=lambda *_: active.append(torch.autograd._profiler_enabled()),
    )  # fmt: skip
    assert active == [False] * 4 + [True] * 2
    assert not (run / "profile.txt").exists()
    assert not torch.autograd._profiler_enabled()
    train(tmp_path / "next", pair, SETTINGS, Budget(steps=1), device="cpu")


@pytest.mark.slow
def test_fifty_kills(pair, tmp_path):
    """Killed at random moments, in the middle of saving too: nothing lost but the last save, and the same weights."""
    run, settings = tmp_path / "run", replace(SETTINGS, save_minutes=1e-6, ema=0.9)
    moments = random.Random(0)
    done = 0
    for _ in range(50):
        told = killed(
            lambda tell: train(
                run, pair, settings, Budget(steps=9999), device="cpu",
                report=lambda progress, *_: tell(progress.step) or time.sleep(0.002),
            ) and None,
            until=done + 1, delay=moments.uniform(0, 0.15),
        )  # fmt: skip
        files.read_yaml(run / "config.yaml")
        newest = next(iter(checkpoints.found(run)), None)  # none: killed in the middle of the very first save
        done = 0 if newest is None else int(newest.name[-7:])
        assert done >= told - 1
    assert done >= 10  # it did go on between kills
    end = done + 2
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train(run, pair, settings, Budget(steps=9999), device="cpu", report=stop_at(end))
        train(tmp_path / "unbroken", pair, settings, Budget(steps=9999), device="cpu", report=stop_at(end))
    finally:
        torch.set_num_threads(threads)
    assert same(run, tmp_path / "unbroken")
    assert not leftovers(Path(run))
