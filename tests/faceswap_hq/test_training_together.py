"""Two processes that train together are one with twice the batch."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from faceswap_hq.errors import UserError
from faceswap_hq.training import checkpoints
from faceswap_hq.training.data import load_person
from faceswap_hq.training.devices import check_devices, open_fabric
from faceswap_hq.training.trainer import Trainer
from tests.faceswap_hq.helpers import SETTINGS, SETTINGS_YAML, leftovers, write_faceset

ROOT = Path(__file__).parents[2]


class Pretending:
    """One of two processes, without the other."""

    def __init__(self, rank: int) -> None:
        self.device, self.global_rank, self.world_size = torch.device("cpu"), rank, 2

    def setup(self, module, optimizer):
        return module, optimizer


def test_their_batches_make_up_the_whole(tmp_path):
    """Faces, bending, light and mirroring: each process has its part of what one process would have."""
    sets = [write_faceset(tmp_path / f"{name}.faceset", seed=seed) for name, seed in (("anna", 1), ("ben", 2))]
    people = [load_person(faceset, 32, SETTINGS.coverage) for faceset in sets]
    whole = Trainer(replace(SETTINGS, batch=6), people, open_fabric(torch.device("cpu"), "float32")).batch(5)
    halves = [Trainer(replace(SETTINGS, batch=3), people, Pretending(rank)).batch(5) for rank in range(2)]
    for one, first, second in zip(whole, *halves, strict=True):
        expected = torch.cat([first[:3], second[:3], first[3:], second[3:]])
        torch.testing.assert_close(one, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("device", "environment", "message"),
    [
        ("mps", {}, "goes with --device cuda or cpu"),
        ("cuda:1", {}, "goes with --device cuda or cpu"),
        ("cuda", {}, "There are 0 GPUs here, not 2"),
        ("cpu", {"LOCAL_RANK": "0"}, "distributed job already"),
    ],
)
def test_processes_that_cannot_be_had(monkeypatch, device, environment, message):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    check_devices(torch.device(device), 1)
    with pytest.raises(UserError, match=message):
        check_devices(torch.device(device), 2)


def train(here: Path, model: str, batch: int, devices: int, steps: int) -> str:
    (here / f"{model}.yaml").write_text(re.sub(r"batch: \d+", f"batch: {batch}", SETTINGS_YAML))
    command = ["train", "--src", "anna.faceset", "--dst", "ben.faceset", "--preset", f"{model}.yaml", "--model", model]
    done = subprocess.run(
        [sys.executable, "-m", "faceswap_hq", *command,
         "--steps", str(steps), "--device", "cpu", "--devices", str(devices)],
        cwd=here, capture_output=True, text=True, timeout=150, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "FACESWAP_HQ_HOME": str(here / "home")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def curve(run: Path) -> dict[int, float]:
    """The loss at every step that the log tells of."""
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return {line["step"]: line["total"] for line in lines}


@pytest.mark.slow
def test_the_same_losses_and_weights(tmp_path):
    """By gloo on two CPU processes, stopped and resumed on the way, against one process."""
    for name, seed in (("anna", 1), ("ben", 2)):
        write_faceset(tmp_path / f"{name}.faceset", seed=seed)
    train(tmp_path, "one", batch=4, devices=1, steps=12)
    train(tmp_path, "two", batch=2, devices=2, steps=6)
    said = train(tmp_path, "two", batch=2, devices=2, steps=12)
    assert said.count("resuming at step 6") == 1  # only the first process speaks
    one, two = (curve(tmp_path / model) for model in ("one", "two"))
    # The learning rate follows the budget, which was shorter before the resumption: close, not equal.
    assert one[12] == pytest.approx(two[12], rel=0.1)
    straight = train(tmp_path, "three", batch=2, devices=2, steps=12)
    assert "× 2" in straight
    three = curve(tmp_path / "three")
    for step in one.keys() & three.keys():  # lines are written by the clock, the last one always
        assert three[step] == pytest.approx(one[step], rel=0.01)
    a, b = (load_file(checkpoints.found(tmp_path / model)[0] / "model.safetensors") for model in ("one", "three"))
    for key in a:
        if key.startswith(("encoder", "opening", "decoders")):
            # (Each process divides by the weights of its own pixels: almost, not exactly, the same gradient.)
            assert (a[key] - b[key]).abs().mean() < 1e-3
            # Biases begin at zero, and Adam's first steps are as long where the gradient is hardly more than rounding.
            alike = 0.99 if a[key].ndim > 1 else 0.95
            assert torch.nn.functional.cosine_similarity(a[key].flatten(), b[key].flatten(), 0) > alike
    assert not leftovers(tmp_path / "three")
