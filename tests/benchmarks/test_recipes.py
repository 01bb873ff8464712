"""The comparison of recipes: who is trained on and who is tested, and figures that can be done by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import recipes

from tests.stress.synthetic import clip

GROUPS = {"train": ["a", "b"], "test": ["c", "d"]}


def test_within_are_the_clips_that_show_nobody_else():
    both, one, other = clip("a", 1, ("b", "a")), clip("a", 0, ("a",)), clip("c", 1, ("a", "c"))
    assert recipes.within([both, one, other], {"a", "b"}) == [both, one]
    assert recipes.within([both, one, other], {"a"}) == [one]
    assert recipes.within([both, one, other], set()) == []


def made(folder: Path, pairs: list[tuple[str, str]]) -> Path:
    """An ``out/`` of empty files: every ordered pair a fake and its real."""
    entries = []
    for source, target in pairs:
        name = f"{source}-onto-{target}"
        for kind in ("fakes", "reals"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            (folder / kind / f"{name}.mp4").touch()
        entries.append(
            {
                "id": name, "fake": f"fakes/{name}.mp4", "real": f"reals/{name}.mp4", "frames": [0, 4],
                "source": {"person": source}, "target": {"person": target, "clip": f"{target}.mp4"},
            }
        )  # fmt: skip
    manifest = {"format": "faceswap-hq manifest", "version": 1, "entries": entries}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def data(tmp_path) -> Path:
    within_groups = [("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")]
    for method in ("crude", "fine"):
        made(tmp_path / "data" / method, [*within_groups, ("a", "c")])
    (tmp_path / "data/groups.json").write_text(json.dumps({"groups": GROUPS, "methods": ["crude", "fine"]}))
    return tmp_path / "data"


def people_of(clips) -> set[str]:
    return {person for item in clips for person in item.people}


def test_nobody_who_is_trained_on_is_tested_and_both_groups_take_both_parts(data):
    found = recipes.folds(data, "crude", None)
    assert [fold.name for fold in found] == ["train", "test"]
    for fold, other in zip(found, reversed(found), strict=True):
        assert people_of(fold.train) == set(GROUPS[fold.name])
        assert list(fold.tests) == ["crude", "fine"]
        for clips in fold.tests.values():
            assert people_of(clips) == set(GROUPS[other.name])
            assert sum(item.label for item in clips) == 2
        assert {item.path.parts[-3] for item in fold.train} == {"crude"}


def test_another_teams_fakes_are_tested_whole_in_both_folds(data, tmp_path):
    external = made(tmp_path / "external", [("x", "y"), ("y", "x")])
    found = recipes.folds(data, "crude", external)
    assert [people_of(fold.tests["external"]) for fold in found] == [{"x", "y"}] * 2


def test_faces_are_cut_once_for_all_detectors_that_want_them_alike(monkeypatch):
    asked = []
    monkeypatch.setattr(recipes, "_FACES", {})
    monkeypatch.setattr(recipes, "cut", lambda clips, card, *_: (asked.append((len(clips), card)) or [card], []))
    small, same, large = (
        SimpleNamespace(input_size=size, crop_margin=1.3, alignment="box") for size in (64, 64, 128)
    )
    assert recipes.faces([1], small, 4, "one") == recipes.faces([1], same, 4, "one") == ([small], [])
    assert recipes.faces([1], large, 4, "one") == ([large], [])
    assert recipes.faces([1, 2], small, 4, "another") == ([small], [])
    recipes.faces([1], small, 8, "one")
    assert len(asked) == 4


def table(people: str, scores: list[float]) -> pd.DataFrame:
    """Scores of two reals of two people, and of two fakes of one onto the other."""
    a, b = people
    return pd.DataFrame(
        {
            "dataset": "d", "label": [0, 0, 1, 1], "clip": [a, b, f"{a}{b}", f"{b}{a}"], "score": scores,
            "people": [a, b, f"{a}|{b}", f"{b}|{a}"],
        }
    )  # fmt: skip


ALL, THREE, HALF, NONE = [0.1, 0.4, 0.5, 0.9], [0.1, 0.4, 0.3, 0.9], [0.2, 0.4, 0.1, 0.9], [0.8, 0.9, 0.1, 0.2]
"""Scores with an AUC of 1, 3/4, 1/2 and 0."""


def test_an_auc_is_the_mean_over_groups_and_seeds_and_a_difference_that_of_the_means():
    found = recipes.figures(
        {
            "plain": [[table("ab", HALF), table("ab", THREE)], [table("cd", NONE), table("cd", THREE)]],
            "self-blended": [[table("ab", ALL), table("ab", THREE)], [table("cd", ALL), table("cd", HALF)]],
        },
        resamples=100,
    )
    assert found["by_seed"] == {"plain": [0.25, 0.75], "self-blended": [1.0, 0.625]}
    values = {name: estimate["value"] for name, estimate in found["auc"].items()}
    assert values == pytest.approx({"plain": 0.5, "self-blended": 0.8125, "self-blended - plain": 0.3125})
    assert found["n"]["people"] == 4
    assert (found["n"]["videos"], found["n"]["fakes"]) == (8, 4)


def test_each_recipe_is_compared_with_plain_training_of_its_own_network_if_that_was_tested():
    one = [[table("ab", ALL)], [table("cd", ALL)]]
    arms = ("plain", "frequency-mask", "plain, two streams", "locate-and-verify")
    found = recipes.figures(dict.fromkeys(arms, one), resamples=100)
    minus = {name for name in found["auc"] if " - " in name}
    assert minus == {"frequency-mask - plain", "locate-and-verify - plain, two streams"}
    alone = recipes.figures({"plain": one, "locate-and-verify": one}, resamples=100)
    assert set(alone["auc"]) == {"plain", "locate-and-verify"}


def test_videos_that_both_folds_are_tested_on_are_counted_once():
    found = recipes.figures({"plain": [[table("xy", ALL)], [table("xy", HALF)]]}, resamples=100)
    assert found["auc"]["plain"]["value"] == pytest.approx(0.75)
    assert (found["n"]["videos"], found["n"]["fakes"], found["n"]["people"]) == (4, 2, 2)
