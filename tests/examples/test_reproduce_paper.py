"""Who is tested by whom in the reproduction of the paper, and what its figures are."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faceswap_hq import files
from faceswap_hq.errors import UserError
from stress.data.crops import Crops
from stress.data.layouts import Clip
from stress.evaluation.comparison import Bootstrap

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

from reproduce_paper import command, detect, measure, report
from reproduce_paper.data import CONTROLS, REALS, Faces, within
from reproduce_paper.options import parse, settings_of
from reproduce_paper.plan import Settings, Swap, both_tested, deal, named_counts, read_swaps, some

PEOPLE = [f"p{number:02}" for number in range(1, 11)]
QUICK = Bootstrap(resamples=100, confidence=0.95, seed=0)


def swap(source: str, target: str, accepted: bool = True) -> Swap:
    entry = {
        "id": f"{source}_{target}", "source": {"person": source}, "target": {"person": target}, "frames": [0, 9],
        "model": {"sha256": "0", "run": "run"},
    }  # fmt: skip
    return Swap(entry=entry, accepted=accepted)


SWAPS = [swap(a, b) for a, b in permutations(PEOPLE, 2)]


class TestPlan:
    def test_everybody_is_in_one_fold_and_folds_are_of_one_size(self):
        folds = deal(PEOPLE, 3, seed=4)
        assert sorted(name for fold in folds for name in fold) == PEOPLE
        assert sorted(map(len, folds)) == [3, 3, 4]
        assert deal(PEOPLE[::-1], 3, seed=4) == folds
        assert deal(PEOPLE, 3, seed=5) != folds
        with pytest.raises(UserError, match="2 people|10 people"):
            deal(PEOPLE, 6, seed=0)

    def test_only_fakes_of_two_people_of_one_fold_are_tested(self):
        folds = deal(PEOPLE, 3, seed=0)
        found = both_tested(SWAPS, folds)
        assert len(found) == 6 + 6 + 12
        assert all(sum(bool(fold & set(one.people)) for fold in folds) == 1 for one in found)

    def test_some_pairs_show_everybody(self):
        folds = deal(PEOPLE, 3, seed=0)
        assert some(SWAPS, None, 0) == SWAPS
        assert some(SWAPS, 0, 0) == []
        few = some(both_tested(SWAPS, folds), 4, 0)
        assert len({name for one in few for name in one.people}) == 8

    def test_more_than_there_is_becomes_all_once(self):
        assert named_counts((0, 5, 45, 90), [30, 42]) == {"0": 0, "5": 5, "all": 42}
        assert named_counts((5,), [30, 42]) == {"0": 0, "5": 5}
        assert named_counts((42,), [30, 42]) == {"0": 0, "all": 42}

    def test_quick_changes_defaults_and_not_what_is_given(self):
        options = parse(["actors", "-o", "x", "--quick", "--folds", "5"])
        assert (options.folds, options.frames) == (5, 6)
        with pytest.raises(UserError, match="folds"):
            settings_of(parse(["x", "-o", "y", "--folds", "1"]))

    def test_a_folder_that_is_no_curation_is_refused(self, tmp_path):
        with pytest.raises(UserError, match="no finished curation"):
            read_swaps(tmp_path)


def rows(group: str, label: int, people: str, scores: list[float], *, fold=0, seed=0, count="0", threshold=0.5):
    return pd.DataFrame({
        "clip": people, "frame": range(len(scores)), "label": label, "score": scores, "people": people,
        "source_clip": people, "method": "m", "dataset": "d", "group": group, "phase": "before", "strategy": "",
        "seed": seed, "fold": fold, "threshold": threshold, "calibrated": np.nan, "count": count,
    })  # fmt: skip


@pytest.fixture
def scores() -> pd.DataFrame:
    """Two folds of two people, whose detectors have scales of their own; count 1 finds what count 0 missed."""
    parts = []
    for fold, (a, b) in enumerate((("a", "b"), ("c", "d"))):
        for count in ("0", "1"):
            more = {"fold": fold, "count": count, "threshold": (0.5, 0.9)[fold]}
            low, high = ((0.2, 0.6), (0.8, 0.95))[fold]
            parts += [rows(REALS, 0, one, [low, low], **more) for one in (a, b)]
            parts += [rows("crude", 1, f"{one}|{two}", [high, high], **more) for one, two in ((a, b), (b, a))]
            parts.append(rows("good", 1, f"{a}|{b}", [high, high], **more))
            parts.append(rows("good", 1, f"{b}|{a}", [high, high] if count == "1" else [low - 0.1] * 2, **more))
            parts.append(rows("ladder:mask", 1, f"{a}|{b}", [high, high], **more))
    return pd.concat(parts, ignore_index=True)


def known(table: pd.DataFrame) -> dict:
    keys = table[["group", "dataset", "label", "clip", "people"]].drop_duplicates()
    return {tuple(key[:4]): tuple(key[4].split("|")) for key in keys.itertuples(index=False)}


class TestMeasure:
    def test_figures_are_those_counted_by_hand(self, scores):
        found = measure.figures(scores, known(scores), QUICK)
        good, crude = found["tests"]["good"], found["tests"]["crude"]
        assert (crude["0"]["detection_rate"]["value"], crude["0"]["false_alarm_rate"]["value"]) == (1, 0)
        assert (good["0"]["detection_rate"]["value"], good["1"]["detection_rate"]["value"]) == (0.5, 1)
        assert (good["0"]["auc"]["value"], good["1"]["auc"]["value"]) == (0.5, 1)  # in each fold by itself
        assert good["0"]["n"]["fakes"] == {"clips": 4, "frames": 8, "people": 4}
        changes = {name: row["detection_rate"]["value"] for name, row in found["changes"].items()}
        assert changes == {"drop": 0.5, "recovery@1": 0.5, "forgetting@1": 0, "transfer to ladder:mask@1": 0}
        assert found["by_seed"]["good"] == {"0": [0.5], "1": [1]}

    def test_the_ladders_ends_are_the_crude_and_good_fakes_of_its_pairs(self, scores):
        whole = measure.with_ends(scores, ("none", "temporal"))
        for name, group in (("none", "crude"), ("temporal", "good")):
            mine = whole[whole.group == f"ladder:{name}"]
            assert set(mine.people) == {"a|b", "c|d"}
            assert len(mine) == len(scores[(scores.group == group) & scores.people.isin({"a|b", "c|d"})])

    def test_seeds_are_averaged(self, scores):
        other = scores.assign(seed=1)
        other.loc[other.group == "good", "score"] = 0.0
        found = measure.figures(pd.concat([scores, other]), known(scores), QUICK)
        assert found["tests"]["good"]["1"]["detection_rate"]["value"] == 0.5
        assert found["by_seed"]["good"]["1"] == [1, 0]


def faces_of(people: list[str], size: int = 16) -> dict[str, list[Crops]]:
    """Noise; fakes carry a texture, crude ones more of it."""
    rng = np.random.default_rng(0)
    texture = np.indices((size, size)).sum(0)[..., None] % 2 * 2.0 - 1

    def item(group: str, label: int, who: tuple[str, ...], strength: float) -> Crops:
        noise = rng.normal(128, 8, (2, size, size, 3)) + strength * texture
        clip = Clip(
            id="_".join(who), path=Path("no.mp4"), label=label, people=who, source_clip=who[-1], method="m",
            dataset=group, matched=who[-1] if label else "",
        )  # fmt: skip
        return Crops(clip=clip, frames=np.arange(2), images=np.clip(noise, 0, 255).astype(np.uint8))

    pairs = list(permutations(people, 2))
    found = {REALS: [item(REALS, 0, (name,), 0) for name in people]}
    for group, strength in (("good", 10), ("crude", 60), ("ladder:mask", 40), ("mesh", 30)):
        found[group] = [item(group, 1, pair, strength) for pair in pairs]
    found[CONTROLS] = [replace(one, clip=replace(one.clip, method="control")) for one in found[REALS]]
    return found


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr(detect, "content_hash", lambda clip: f"{clip.dataset}/{clip.id}")
    settings = Settings(
        folds=2, archs=("small_cnn",), size=16, frames=2, epochs=1, batch=8, tune_steps=2, seeds=1, resamples=100
    )
    cut = faces_of(["a", "b", "c", "d"])
    faces = Faces(clips={name: [one.clip for one in items] for name, items in cut.items()}, frames=2)
    monkeypatch.setattr(Faces, "of", lambda self, card: self.known.setdefault(("all",), cut))
    return detect.Bench(
        faces=faces, folds=deal("abcd", 2, 0), settings=settings, counts={"0": 0, "1": 1, "all": 2}, work=tmp_path,
        failures=[],
    )  # fmt: skip


class TestDetectors:
    def test_nobody_is_both_learned_from_and_tested_and_nothing_is_done_twice(self, bench, monkeypatch):
        taught: list[tuple[set[str], int]] = []
        train = detect.train

        def watched(detector, real, fake, settings, **more):
            clips = [*real, *fake, *more.get("replay", ())]
            taught.append(({name for one in clips for name in one.clip.people}, len(fake)))
            return train(detector, real, fake, settings, **more)

        monkeypatch.setattr(detect, "train", watched)
        (contender,) = detect.contenders(bench.settings)
        first = pd.concat(list(bench.run(contender, lambda *_, **__: None)))
        assert [count for _, count in taught] == [2, 1, 2] * 2
        assert bench.jobs(contender) == len(taught)
        for number, fold in enumerate(bench.folds):
            people = {name for who in first[first.fold == number].people for name in who.split("|")}
            assert people == fold
            assert not any(learned & fold for learned, _ in taught[3 * number : 3 * number + 3])
        again = pd.concat(list(bench.run(contender, lambda *_, **__: None)))
        assert len(taught) == 6
        assert np.array_equal(again.score, first.score)

    def test_the_report_holds_every_test_and_says_that_four_people_are_few(self, bench, tmp_path):
        settings, counts = bench.settings, dict(bench.counts)
        found = {
            name: table
            for name, _, table in command._contend(bench.faces, list(bench.folds), settings, counts, tmp_path, [])
        }
        assert set(found["small_cnn"]["tests"]) == {
            "good", "crude", "mesh", "ladder:none", "ladder:mask", "ladder:temporal"
        }  # fmt: skip
        files.write_yaml(tmp_path / "curation.yaml", {"settings": {"preset": "tiny", "blend": "best"}})
        swaps = [swap(a, b) for a, b in permutations("abcd", 2)]
        result = report.result(
            every=swaps, swaps=swaps, test=both_tested(swaps, bench.folds), ladder=[], folds=bench.folds, counts=counts,
            settings=settings, options=parse(["actors", "-o", "x"]), good=tmp_path, faces=bench.faces,
            detectors=found, audit={"warnings": [], "notes": []}, seconds={"detectors": 1.0}, failures=[], models=["0"],
        )  # fmt: skip
        page = report.page(json.loads(json.dumps(result)))
        assert "<svg" in page
        assert "http" not in page.replace("http-equiv", "")
        assert any(line.startswith("4 people") for line in report.cautions(result))
        assert len(report.lines(result)) == 2


def test_within_takes_clips_of_nobody_else():
    cut = faces_of(["a", "b", "c"])
    assert {one.clip.people for one in within(cut["good"], frozenset("ab"))} == {("a", "b"), ("b", "a")}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_from_actors_to_the_report_and_again_without_work(tmp_path, capfd):
    arguments = [
        "actors", "-o", str(tmp_path / "out"), "--quick", "--actor-seconds", "3", "--steps", "60", "--ladder-pairs",
        "1", "--epochs", "2", "--tune-steps", "2", "--counts", "0,1", "--resamples", "100",
    ]  # fmt: skip
    assert command.main(arguments) == 0
    out = tmp_path / "out"
    result = files.read_json(out / "result.json")
    assert result["fakes"]["made"] == 12
    assert result["fakes"]["tested"] == 4
    tests = result["detectors"]["small_cnn"]["tests"]
    assert {"crude", "good", "mesh", "expression", "ladder:poisson", "ladder:none"} <= set(tests)
    assert (out / "report.html").is_file()
    made = {path: path.stat().st_mtime_ns for path in (out / "sets").rglob("*.mp4")}
    shutil.rmtree(out / "sets/mesh")
    assert command.main(arguments) == 0
    for path, moment in made.items():
        assert ("mesh" in path.parts) == (path.stat().st_mtime_ns != moment)
    again = files.read_json(out / "result.json")
    assert again["detectors"]["small_cnn"]["tests"]["good"] == tests["good"]


def test_an_architecture_that_does_not_take_such_pictures_is_refused_at_once():
    with pytest.raises(UserError, match="mesoinception4 does not take"):
        detect.check([detect.Contender(name="mesoinception4")], 128)
    detect.check([detect.Contender(name="mesoinception4"), detect.Contender(name="small_cnn")])
