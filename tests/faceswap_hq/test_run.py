"""Run directories: made, resumed, and refused when they are something else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from faceswap_hq import files
from faceswap_hq.errors import UserError
from faceswap_hq.model import SwapAutoencoder
from faceswap_hq.training.checkpoints import Progress
from faceswap_hq.training.run import FORMAT, VERSION, export, load_model, prepare, read_config
from tests.faceswap_hq.helpers import MODEL, SETTINGS, leftovers, tree

PEOPLE = {"anna": "anna.faceset", "ben": "ben.faceset"}


@pytest.fixture
def run(tmp_path) -> Path:
    prepare(tmp_path / "run", SETTINGS, PEOPLE)
    return tmp_path / "run"


@pytest.fixture
def exported(run) -> Path:
    torch.manual_seed(3)
    export(run, SwapAutoencoder(MODEL, list(PEOPLE)), SETTINGS, Progress(step=5, seconds=2.0))
    return run


class TestPrepare:
    def test_a_new_run(self, tmp_path):
        for name in ("new", "deep/down/new", "empty"):
            (tmp_path / "empty").mkdir(exist_ok=True)
            assert prepare(tmp_path / name, SETTINGS, PEOPLE) == SETTINGS
            assert read_config(tmp_path / name) == (SETTINGS, PEOPLE)
            assert not leftovers(tmp_path)

    def test_the_same_run(self, run):
        before = tree(run)
        measured = replace(SETTINGS, precision="bfloat16", minutes=99)
        assert prepare(run, measured, PEOPLE) == SETTINGS  # what was measured then stays
        assert tree(run) == before

    def test_something_else_in_its_place(self, tmp_path):
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "thesis.txt").write_text("important")
        (tmp_path / "file").write_text("important")
        before = tree(tmp_path)
        with pytest.raises(UserError, match="not a model run, or a damaged one"):
            prepare(tmp_path / "thesis", SETTINGS, PEOPLE)
        with pytest.raises(UserError, match="is a file"):
            prepare(tmp_path / "file", SETTINGS, PEOPLE)
        assert tree(tmp_path) == before

    def test_other_people(self, run):
        before = tree(run)
        for people in ({"anna": "a", "cem": "c"}, {"ben": "b", "anna": "a"}, {"anna": "a"}):
            with pytest.raises(UserError, match="was trained on anna, ben, not on"):
                prepare(run, SETTINGS, people)
        assert tree(run) == before

    @pytest.mark.parametrize(
        "change", [{"seed": 1}, {"batch": 3}, {"coverage": 0.7}, {"model": replace(MODEL, bottleneck=17)}]
    )
    def test_other_settings(self, run, change):
        with pytest.raises(UserError, match=f"begun with another {next(iter(change))}"):
            prepare(run, replace(SETTINGS, **change), PEOPLE)

    @pytest.mark.parametrize(
        "content", ["", "a: [", "just words", "[1]", "format: another", f"format: {FORMAT}\nversion: 1"]
    )
    def test_a_damaged_run_is_reported_never_overwritten(self, run, content):
        (run / "config.yaml").write_text(content)
        before = tree(run)
        with pytest.raises(UserError, match=r"config\.yaml"):
            prepare(run, SETTINGS, PEOPLE)
        assert tree(run) == before

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("version", VERSION + 1, "newer version"),
            ("version", VERSION - 1, "older version"),
            ("version", "x", "no version"),
            ("people", None, "damaged"),
            ("people", ["anna"], "damaged"),
            ("people", [{"name": "anna"}], "damaged"),
            ("settings", 3, "table of settings"),
            ("settings", {"batch": "x"}, "batch"),
        ],
    )
    def test_damaged_entries(self, run, key, value, message):
        config = yaml.safe_load((run / "config.yaml").read_text())
        files.write_yaml(run / "config.yaml", {**config, key: value})
        with pytest.raises(UserError, match=message):
            prepare(run, SETTINGS, PEOPLE)


class TestExportAndLoad:
    def test_round_trip(self, exported):
        torch.manual_seed(3)
        expected = SwapAutoencoder(MODEL, list(PEOPLE)).state_dict()
        model, card = load_model(exported)
        assert not model.training
        assert model.people == card.people == ("anna", "ben")
        assert (card.step, card.seconds, card.coverage, card.preset) == (5, 2.0, SETTINGS.coverage, "test")
        assert card.model == MODEL
        assert card.sha256 == files.sha256_file(exported / "model.safetensors")
        assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())
        assert not leftovers(exported)
        assert load_model(str(exported))[1] == card

    def test_the_card_is_enough(self, exported, tmp_path):
        """A model can be passed on without its checkpoints and config."""
        (tmp_path / "passed").mkdir()
        for name in ("card.json", "model.safetensors"):
            shutil.copy(exported / name, tmp_path / "passed" / name)
        assert load_model(tmp_path / "passed")[1].people == ("anna", "ben")

    def test_what_is_no_model(self, tmp_path, run):
        (tmp_path / "empty").mkdir()
        (tmp_path / "file").write_text("x")
        for name, message in (
            ("missing", "no such directory"),
            ("file", "no such directory"),
            ("empty", "not a model run"),
        ):
            with pytest.raises(UserError, match=message):
                load_model(tmp_path / name)
        with pytest.raises(UserError, match="has not been trained yet"):
            load_model(run)

    def test_damaged_weights(self, exported):
        path = exported / "model.safetensors"
        content = path.read_bytes()
        for damaged in (content[:-1], content[:-1] + bytes([content[-1] ^ 1]), b""):
            path.write_bytes(damaged)
            with pytest.raises(UserError, match=r"does not match the checksum") as caught:
                load_model(exported)
            assert "train` again" in str(caught.value)
        path.unlink()
        with pytest.raises(UserError, match=r"model\.safetensors is missing"):
            load_model(exported)
        path.mkdir()
        with pytest.raises(UserError, match="damaged"):
            load_model(exported)

    @pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"null", b'{"format": "another"}'])
    def test_damaged_cards(self, exported, content):
        (exported / "card.json").write_bytes(content)
        with pytest.raises(UserError, match=r"card\.json"):
            load_model(exported)

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("version", VERSION + 1, "newer version"),
            ("version", VERSION - 1, "older version"),
            ("version", None, "no version"),
            ("people", ["anna"], "damaged"),  # one decoder too few
            ("people", [], "distinct names"),
            ("people", 5, "damaged"),
            ("model", {"resolution": 64}, "make"),
            ("model", {**json.loads(json.dumps(vars(MODEL))), "bottleneck": 17}, "damaged"),
            ("model", None, "table of settings"),
            ("coverage", "wide", "damaged"),
            ("sha256", "0" * 64, "checksum"),
        ],
    )
    def test_damaged_entries(self, exported, key, value, message):
        card = json.loads((exported / "card.json").read_text())
        (exported / "card.json").write_text(json.dumps({**card, key: value}))
        with pytest.raises(UserError, match=message):
            load_model(exported)

    def test_a_pickle_is_not_opened(self, exported, tmp_path):
        """Weights are safetensors or nothing: a pickle with code in it fails without the code being run."""

        class Bomb:
            def __reduce__(self):
                return Path.touch, (tmp_path / "exploded",)

        torch.save(Bomb(), exported / "model.safetensors")
        card = json.loads((exported / "card.json").read_text())
        card["sha256"] = files.sha256_file(exported / "model.safetensors")
        (exported / "card.json").write_text(json.dumps(card))
        with pytest.raises(UserError, match="damaged"):
            load_model(exported)
        assert not (tmp_path / "exploded").exists()
