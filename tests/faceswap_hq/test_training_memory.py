"""Memory that ends: the GPU's, the processor's, and what is done about it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from faceswap_hq.errors import UserError
from faceswap_hq.model.autoencoder import Encoder
from faceswap_hq.training import checkpoints
from faceswap_hq.training.data import load_person
from faceswap_hq.training.devices import open_fabric
from faceswap_hq.training.loop import Budget, train
from faceswap_hq.training.run import load_model, read_config
from faceswap_hq.training.trainer import Trainer, resolve_precision
from tests.faceswap_hq.helpers import MODEL, SETTINGS, tree, write_faceset

CPU = open_fabric(torch.device("cpu"), "float32")


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> list:
    folder = tmp_path_factory.mktemp("facesets")
    return [write_faceset(folder / f"{name}.faceset", seed=seed) for name, seed in (("anna", 1), ("ben", 2))]


class TestMemory:
    @staticmethod
    def memory(monkeypatch, rows: int) -> list[int]:
        """Let no more than ``rows`` faces go through the encoder at once; how many went, each time."""
        real, seen = Encoder.forward, []

        def forward(self, image):
            if torch.is_grad_enabled() and len(image) > rows:
                raise torch.OutOfMemoryError("CUDA out of memory")
            if torch.is_grad_enabled():
                seen.append(len(image))
            return real(self, image)

        monkeypatch.setattr(Encoder, "forward", forward)
        return seen

    def test_out_of_memory_takes_the_batch_in_parts(self, pair, tmp_path, monkeypatch):
        seen = self.memory(monkeypatch, 4)
        warnings = []
        settings = replace(SETTINGS, batch=5)
        result = train(tmp_path / "run", pair, settings, Budget(steps=2), device="cpu", warn=warnings.append)
        assert result.progress.step == 2
        assert len(warnings) == 2
        assert "does not hold 5 faces a person at once" in warnings[0]
        assert "in 4 parts" in warnings[1]
        assert seen == [4, 2, 2, 2] * 2
        assert read_config(tmp_path / "run")[0].batch == 5

    def test_out_of_memory_while_adam_makes_its_moments(self, pair, monkeypatch):
        people = [load_person(faceset, MODEL.resolution, SETTINGS.coverage) for faceset in pair]
        trainer = Trainer(SETTINGS, people, CPU)
        real, made = torch.zeros_like, []

        def zeros_like(x, **options):
            made.append(x)
            if len(made) == 6:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return real(x, **options)

        monkeypatch.setattr(torch, "zeros_like", zeros_like)
        with pytest.raises(torch.OutOfMemoryError):
            trainer.step(0.0)
        trainer.halve()
        trainer.step(0.0)
        moments = trainer.optimizer.state.values()
        assert len(moments) == len(list(trainer.model.parameters()))
        assert all(float(moment["step"]) == 1 for moment in moments)

    def test_out_of_memory_with_one_face_says_what_to_try(self, pair, tmp_path, monkeypatch):
        self.memory(monkeypatch, 1)
        with pytest.raises(UserError, match="too small for this model") as caught:
            train(tmp_path / "run", pair, SETTINGS, Budget(steps=1), device="cpu")
        assert "smaller --preset" in str(caught.value)

    @pytest.mark.parametrize("error", [MemoryError, RuntimeError, ValueError])
    def test_the_processors_memory_ends(self, pair, tmp_path, monkeypatch, error):
        def forward(self, image):
            if torch.is_grad_enabled():
                if error is RuntimeError:
                    torch.empty(10**15)  # PyTorch's own words
                raise error("other")
            return real(self, image)

        real = Encoder.forward
        train(tmp_path / "run", pair, SETTINGS, Budget(steps=1), device="cpu")
        monkeypatch.setattr(Encoder, "forward", forward)
        expected = ValueError if error is ValueError else UserError
        with pytest.raises(expected, match="other|computer's memory is too small"):
            train(tmp_path / "run", pair, SETTINGS, Budget(steps=3), device="cpu")
        monkeypatch.undo()
        assert train(tmp_path / "run", pair, SETTINGS, Budget(steps=3), device="cpu").progress.step == 3

    def test_precision_is_found_without_memory_for_either(self, pair, monkeypatch):
        self.memory(monkeypatch, 1)
        people = [load_person(faceset, MODEL.resolution, SETTINGS.coverage) for faceset in pair]
        found = resolve_precision(replace(SETTINGS, precision="auto"), people, torch.device("cpu"))
        assert found.precision == "bfloat16"

    @pytest.mark.parametrize("parts", [2, 3])
    def test_parts_add_up_to_the_whole_step(self, pair, parts):
        """Where every face weighs the same, the gradient is that of the undivided batch."""
        people = [load_person(faceset, MODEL.resolution, SETTINGS.coverage) for faceset in pair]
        people = [replace(person, weights=torch.full_like(person.weights, 255)) for person in people]
        gradients, losses = [], []
        for count in (1, parts):
            trainer = Trainer(replace(SETTINGS, batch=4, clip=1e9), people, CPU)
            trainer.parts = count
            losses.append(trainer.step(0.0))
            gradients.append([p.grad for p in trainer.model.parameters()])
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
        for whole, divided in zip(*gradients, strict=True):
            torch.testing.assert_close(divided, whole, atol=1e-6, rtol=1e-3)

    def test_memory_that_ends_while_a_run_is_read_is_no_damage(self, pair, tmp_path, monkeypatch):
        run = tmp_path / "run"
        train(run, pair, SETTINGS, Budget(steps=2), device="cpu")
        before = tree(run)
        for name, read in (("checkpoints", lambda: train(run, pair, SETTINGS, Budget(steps=4), device="cpu")),
                           ("run", lambda: load_model(run))):  # fmt: skip
            monkeypatch.setattr(f"faceswap_hq.training.{name}.load_file", lambda *_: torch.empty(10**15))
            with pytest.raises((UserError, RuntimeError), match="memory"):
                read()
            monkeypatch.undo()
        assert tree(run) == before
        assert len(checkpoints.found(run)) == 1

    def test_a_precision_that_does_not_fit_is_not_chosen(self, pair, monkeypatch):
        real = Trainer.step

        def step(self, share):
            if self.settings.precision == "float32":
                torch.empty(10**15)
            return real(self, share)

        monkeypatch.setattr(Trainer, "step", step)
        people = [load_person(faceset, MODEL.resolution, SETTINGS.coverage) for faceset in pair]
        found = resolve_precision(replace(SETTINGS, precision="auto"), people, torch.device("cpu"))
        assert found.precision == "bfloat16"
