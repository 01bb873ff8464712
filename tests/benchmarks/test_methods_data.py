"""Who is in which group, and which pairs and frames the study's data sets are made of."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.faceswap_hq.clips import synthetic_clip

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import methods_data

PEOPLE = ["p1", "p2", "p3", "p4", "p5"]


def test_groups_share_nobody():
    assert methods_data.groups_of(PEOPLE, None) == {"train": ["p1", "p2", "p3"], "test": ["p4", "p5"]}
    assert methods_data.groups_of(PEOPLE, ["p1,p5", "p2,p3"]) == {"train": ["p1", "p5"], "test": ["p2", "p3"]}
    for wrong in (["p1,p2", "p2,p3"], ["p1", "p2,p3"], ["p1,p2", "p3,p9"], ["p1,p1", "p2,p3"]):
        with pytest.raises(SystemExit):
            methods_data.groups_of(PEOPLE, wrong)


def test_pairs_are_all_ordered_pairs_and_the_first_few_are_balanced():
    pairs = methods_data.ordered_pairs(PEOPLE, None)
    assert len(pairs) == len(set(pairs)) == 20
    assert all(a != b for a, b in pairs)
    few = methods_data.ordered_pairs(PEOPLE, 5)
    assert sorted(a for a, _ in few) == sorted(b for _, b in few) == PEOPLE


def test_a_stretch_lies_inside_the_clip_and_is_as_long_as_can_be(tmp_path):
    clip = synthetic_clip(tmp_path / "clip.mp4", count=20)
    assert methods_data.stretch(clip, 0, 8) == (0, 8)
    assert methods_data.stretch(clip, 5, 8) == (5, 13)
    assert methods_data.stretch(clip, 15, 8) == (12, 20)
    assert methods_data.stretch(clip, 5, 100) == (0, 20)
