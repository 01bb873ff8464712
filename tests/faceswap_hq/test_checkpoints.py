"""Checkpoints: bit-identical, whole or not there, and damage is passed over with a warning but never silently."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from faceswap_hq.errors import UserError
from faceswap_hq.training import checkpoints
from faceswap_hq.training.checkpoints import Progress
from tests.faceswap_hq.helpers import killed, leftovers, tree


def little(seed: int = 0, width: int = 6) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """A model and its optimizer after a few steps."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Linear(width, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, betas=(0.9, 0.99), fused=True)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
    return model, optimizer


def state_of(model, optimizer) -> list[torch.Tensor]:
    moments = optimizer.state_dict()["state"]
    return [
        *model.state_dict().values(),
        *(torch.as_tensor(v) for entry in moments.values() for _, v in sorted(entry.items())),
    ]


def same(first, second) -> bool:
    a, b = state_of(*first), state_of(*second)
    return len(a) == len(b) and all(torch.equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b, strict=True))


def no_warning(message: str) -> None:
    raise AssertionError(message)


@pytest.fixture
def run(tmp_path) -> Path:
    """A run with three checkpoints: of seeds 10, 20 and 30."""
    for step in (10, 20, 30):
        checkpoints.save(tmp_path, *little(step), Progress(step=step, seconds=step / 2), keep=3)
    return tmp_path


def restored(run: Path):
    target, warnings = little(99), []
    return checkpoints.restore(run, *target, warnings.append), target, warnings


def test_round_trip_is_bit_identical(tmp_path):
    saved, target = little(1), little(2)
    assert not same(saved, target)
    path = checkpoints.save(tmp_path, *saved, Progress(step=7, seconds=1.25), keep=2)
    assert path == tmp_path / "checkpoints" / "step-0000007"
    assert checkpoints.restore(tmp_path, *target, no_warning) == Progress(step=7, seconds=1.25)
    assert same(saved, target)
    for model, optimizer in (saved, target):  # and they go on alike
        torch.manual_seed(5)
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
    assert same(saved, target)


def test_an_optimizer_before_its_first_step(tmp_path):
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    checkpoints.save(tmp_path, model, optimizer, Progress(), keep=1)
    assert checkpoints.restore(tmp_path, model, optimizer, no_warning) == Progress()


def test_nothing_there_is_no_error(tmp_path):
    assert checkpoints.restore(tmp_path, *little(), no_warning) is None
    (tmp_path / "checkpoints").mkdir()
    assert checkpoints.restore(tmp_path, *little(), no_warning) is None


def test_only_the_newest_are_kept(tmp_path):
    for step in (5, 10, 100, 20):
        checkpoints.save(tmp_path, *little(), Progress(step=step), keep=2)
    assert [path.name for path in checkpoints.found(tmp_path)] == ["step-0000100", "step-0000020"]
    assert not leftovers(tmp_path)


def test_files_are_plain_safetensors_and_json(run):
    newest = checkpoints.found(run)[0]
    assert sorted(path.name for path in newest.iterdir()) == [
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
    ]
    state = json.loads((newest / "state.json").read_text())
    assert (state["step"], state["version"]) == (30, checkpoints.VERSION)


DAMAGE = {
    "weights cut short": lambda p: (p / "model.safetensors").write_bytes((p / "model.safetensors").read_bytes()[:-9]),
    "weights changed": lambda p: flip_byte(p / "model.safetensors"),
    "moments changed": lambda p: flip_byte(p / "optimizer.safetensors"),
    "weights missing": lambda p: (p / "model.safetensors").unlink(),
    "state missing": lambda p: (p / "state.json").unlink(),
    "state empty": lambda p: (p / "state.json").write_bytes(b""),
    "state binary": lambda p: (p / "state.json").write_bytes(b"\xff\xfe\x00"),
    "state a list": lambda p: (p / "state.json").write_text("[]"),
    "state null": lambda p: (p / "state.json").write_text("null"),
    "state without step": lambda p: edit_state(p, lambda s: s.pop("step")),
    "state without checksums": lambda p: edit_state(p, lambda s: s.update(sha256={})),
    "checksums a list": lambda p: edit_state(p, lambda s: s.update(sha256=[])),
    "step a word": lambda p: edit_state(p, lambda s: s.update(step="far")),
    "empty folder": lambda p: [file.unlink() for file in p.iterdir()],
}


def flip_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def edit_state(path: Path, change) -> None:
    state = json.loads((path / "state.json").read_text())
    change(state)
    (path / "state.json").write_text(json.dumps(state))


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_one_is_passed_over_with_a_warning(run, kind):
    DAMAGE[kind](checkpoints.found(run)[0])
    progress, target, warnings = restored(run)
    assert progress == Progress(step=20, seconds=10)
    assert same(target, little(20))
    assert len(warnings) == 1
    assert "step-0000030 is damaged" in warnings[0]
    assert "\n" not in warnings[0]


def test_weights_of_another_shape_are_damage(run):
    checkpoints.save(run, *little(4, width=9), Progress(step=40), keep=4)
    progress, target, warnings = restored(run)
    assert progress.step == 30
    assert same(target, little(30))
    assert len(warnings) == 1


def test_all_damaged_is_an_error_and_changes_nothing(run):
    for path in checkpoints.found(run):
        flip_byte(path / "model.safetensors")
    before = tree(run)
    with pytest.raises(UserError, match="All checkpoints in .* are damaged") as caught:
        restored(run)
    assert "--model" in str(caught.value)
    assert tree(run) == before


def test_a_newer_version_is_refused_not_passed_over(run):
    edit_state(checkpoints.found(run)[0], lambda s: s.update(version=checkpoints.VERSION + 1))
    before = tree(run)
    with pytest.raises(UserError, match="newer version"):
        restored(run)
    assert tree(run) == before


@pytest.mark.parametrize("keep", [1, 2])
def test_after_damage_new_checkpoints_are_not_lost(run, keep):
    """The damaged one has the highest number; it must neither push out the new ones nor pass for one of them."""
    flip_byte(checkpoints.found(run)[0] / "model.safetensors")
    restored(run)
    for step in (25, 30):
        saved = little(step + 1)
        checkpoints.save(run, *saved, Progress(step=step), keep=keep)
        progress, target, warnings = restored(run)
        assert progress.step == step
        assert same(target, saved)
        assert warnings == []
    kept = [path.name for path in (run / "checkpoints").iterdir() if path.name.startswith("damaged-step-0000030")]
    assert len(kept) == 1  # a damaged run is reported, not thrown away


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
def test_an_interruption_leaves_the_old_ones(run, monkeypatch, failure, name):
    before = tree(run)
    real = checkpoints.save_tensors

    def full(tensors, path):
        real(tensors, path)
        if path.name == name:
            path.write_bytes(path.read_bytes()[:20])
            raise failure

    monkeypatch.setattr(checkpoints, "save_tensors", full)
    with pytest.raises(type(failure)):
        checkpoints.save(run, *little(), Progress(step=40), keep=1)
    assert tree(run) == before
    assert not leftovers(run)


def test_a_full_disk_is_an_oserror(tmp_path, monkeypatch):
    def full(*args):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(OSError, match="No space left") as caught:
        checkpoints.save_tensors({}, tmp_path / "x.safetensors")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / "x.safetensors")


def test_clean_removes_what_a_crash_left(run):
    (run / "checkpoints" / ".step-0000040.part").mkdir()
    (run / "checkpoints" / ".step-0000040.part" / "model.safetensors").write_bytes(b"half")
    (run / ".model.abc.part.safetensors").write_bytes(b"half")
    (run / "previews").mkdir()
    (run / "previews" / ".latest.abc.part.png").write_bytes(b"half")
    checkpoints.clean(run)
    assert not leftovers(run)
    assert restored(run)[0].step == 30


def test_log_lines(tmp_path):
    for i in range(3):
        checkpoints.append_line(tmp_path / "log.jsonl", {"step": i})
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [0, 1, 2]


def test_kill_in_the_middle_of_saving(tmp_path):
    """Killed at any moment, what stands under a final name is whole, and training goes on from it."""
    model, optimizer = little(0, width=50_000)
    last = 0

    def save_on_and_on(tell) -> None:
        for step in range(last + 1, last + 9999):
            model[0].weight.data.fill_(step)
            checkpoints.save(tmp_path, model, optimizer, Progress(step=step), keep=2)
            tell(step)

    for attempt in range(10):
        told = killed(save_on_and_on, until=last + 1, delay=0.004 * attempt)
        checkpoints.clean(tmp_path)
        progress = checkpoints.restore(tmp_path, model, optimizer, no_warning)
        assert progress.step in (told, told + 1)
        assert (model[0].weight == progress.step).all()
        assert not leftovers(tmp_path)
        last = progress.step
