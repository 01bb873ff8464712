from __future__ import annotations

import csv
import dataclasses
import json

import pytest

from faceswap_hq.errors import UserError
from stress import matrix
from stress.cli import main
from stress.experiment import ExperimentSettings
from stress.gather import Gathered, read_ladder
from stress.matrix import parse_dataset, run_matrix
from stress.strategies import Strategy
from tests.stress.standin import Card, StandIn, finetune, quiet, study

QUICK = ExperimentSettings(resamples=100, strategies=(Strategy(),), seeds=1, shuffles=0, finetune=False)


@pytest.fixture
def studies(monkeypatch):
    """Two data sets by name, and how often each was run."""
    runs = []
    data = {name: study(8, seed=seed, prefix=name) for seed, name in enumerate(("one", "two"))}

    def gather(card, fakes, reals=None, **_):
        stress, real, _ = data[fakes.name]
        return Gathered(fakes=stress, reals=real)

    def run(*arguments, **options):
        runs.append(arguments[0].name)
        return run_experiment(*arguments, progress=quiet, finetune=finetune, **options)

    run_experiment = matrix.run
    monkeypatch.setattr(matrix, "gather", gather)
    monkeypatch.setattr(matrix, "run", run)
    return runs


def _detector(name: str, green: float) -> StandIn:
    return StandIn(card=Card(sha256=name * 64), green=green, name=name)


def test_every_detector_meets_every_data_set(studies, tmp_path):
    detectors = {name: (lambda name=name, green=green: _detector(name, green)) for name, green in (("a", 0), ("b", 1))}
    found = run_matrix(detectors, [parse_dataset("one"), parse_dataset("two")], tmp_path, QUICK)
    assert [(cell["detector"], cell["dataset"]) for cell in found["cells"]] == [
        ("a", "one"), ("a", "two"), ("b", "one"), ("b", "two"),
    ]  # fmt: skip
    auc = [cell["before"]["video"]["auc"]["value"] for cell in found["cells"]]
    assert min(auc[2:]) > 0.99 > max(auc[:2])
    assert json.loads((tmp_path / "matrix.json").read_text()) == json.loads(json.dumps(found))
    rows = list(csv.DictReader((tmp_path / "matrix.csv").open()))
    assert len(rows) == 4 * 2 * len(matrix.METRICS)
    mine = [row for row in rows if (row["detector"], row["dataset"], row["level"]) == ("b", "two", "video")]
    assert float(next(row["value"] for row in mine if row["metric"] == "auc")) == auc[3]
    for cell in found["cells"]:
        results = json.loads((tmp_path / cell["results"]).read_text())
        assert results["conditions"]["before"]["video"]["auc"] == cell["before"]["video"]["auc"]


def test_a_run_that_was_cut_off_goes_on(studies, tmp_path):
    """Killed after the first cell: the others are run, the first is not; a changed detector is run again."""
    sets = [parse_dataset("one"), parse_dataset("two")]

    def killed():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_matrix({"a": lambda: _detector("a", 0), "b": killed}, sets, tmp_path, QUICK)
    assert studies == ["a", "a"]
    first = json.loads((tmp_path / "matrix.json").read_text())["cells"]
    both = {"a": lambda: _detector("a", 0), "b": lambda: _detector("b", 1)}
    found = run_matrix(both, sets, tmp_path, QUICK)
    assert studies == ["a", "a", "b", "b"]
    assert found["cells"][:2] == first
    run_matrix(both, sets, tmp_path, dataclasses.replace(QUICK, seed=1))
    assert len(studies) == 8
    run_matrix({"a": lambda: _detector("c", 0)}, sets, tmp_path, QUICK)
    assert len(studies) == 10


def test_each_detector_is_held_to_the_data_its_card_names_unless_others_are_given(studies, monkeypatch, tmp_path):
    asked = []

    def gather(*_, base, **__):
        asked.append(base)
        raise UserError("enough")

    monkeypatch.setattr(matrix, "gather", gather)
    own = dataclasses.replace(_detector("a", 0), own_data=tmp_path / "own")
    detectors = {"a": lambda: own, "b": lambda: _detector("b", 1)}
    for base in (None, tmp_path / "given"):
        run_matrix(detectors, [parse_dataset("one")], tmp_path, QUICK, base=base)
    assert asked == [tmp_path / "own", None, tmp_path / "given", tmp_path / "given"]


def test_fine_tuning_fills_the_second_half(studies, tmp_path):
    settings = dataclasses.replace(QUICK, finetune=True)
    found = run_matrix({"a": lambda: _detector("a", 0)}, [parse_dataset("one")], tmp_path, settings)
    cell = found["cells"][0]
    assert cell["after"]["video"]["auc"]["value"] > cell["before"]["video"]["auc"]["value"]
    assert list((tmp_path / "cells" / "a--one" / "fine-tunings").glob("*.json"))


def test_a_cell_that_fails_is_named_and_the_others_go_on(studies, tmp_path):
    def missing():
        raise UserError("c.pt does not exist.")

    warned = []
    found = run_matrix(
        {"c": missing, "a": lambda: _detector("a", 0)}, [parse_dataset("one")], tmp_path, QUICK, warn=warned.append
    )
    assert [cell.get("failed") for cell in found["cells"]] == ["c.pt does not exist.", None]
    assert "c on one" in warned[0]
    assert "failed: c.pt" in (tmp_path / "matrix.csv").read_text()


def test_names_that_would_be_lost_or_harmful(tmp_path):
    with pytest.raises(UserError, match="called one"):
        run_matrix({"a": lambda: None}, [parse_dataset("x/one"), parse_dataset("y/one")], tmp_path, QUICK)
    assert matrix._plain("../../etc") != matrix._plain(".._.._etc") != matrix._plain("/etc")
    assert "/" not in matrix._plain("../../etc")
    assert "'=1+1" in matrix._csv([{"detector": "=1+1", "dataset": "d", "failed": "no"}])
    for wrong in ("", "a=", "=b", "a=b:"):
        with pytest.raises(UserError, match="names no data set"):
            parse_dataset(wrong)


def test_a_ladder_is_read_in_order(tmp_path):
    for name in ("1-mask", "0-none", "2-color"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.mp4").write_bytes(b"x")
    assert list(read_ladder(tmp_path)) == ["none", "mask", "color"]
    with pytest.raises(UserError, match="--ladder makes one"):
        read_ladder(tmp_path / "0-none")
    with pytest.raises(UserError, match="not a folder"):
        read_ladder(tmp_path / "none")


def test_strategies_that_do_not_exist_are_refused(capsys):
    assert main(["--detector", "d", "--fakes", "f", "--strategies", "all,everything"]) == 2
    assert "no strategy is called 'everything'" in " ".join(capsys.readouterr().err.split())
    assert main(["--detector", "d", "--fakes", "f", "--video-score", "best"]) == 2
