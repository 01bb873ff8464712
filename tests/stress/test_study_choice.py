from __future__ import annotations

import dataclasses

import pytest

from stress.study.augmentation import choose
from tests.stress.synthetic import crops


def test_fewer_clips_are_among_more_and_their_reals_come_first():
    clips = crops(8, artefact=0, frames=1)
    for seed in range(5):
        before: set[int] = set()
        for count in (1, 2, 5, 8):
            chosen = choose(clips, count, seed)
            fakes, reals = ({item.clip.source_clip for item in chosen if item.clip.label == k} for k in (1, 0))
            assert len(fakes) == count
            assert fakes == reals
            assert before <= {id(item) for item in chosen}
            before = {id(item) for item in chosen}
    assert len(choose(clips, 99, 0)) == 16


@pytest.mark.parametrize("told", [False, True])
def test_reals_show_the_targets_of_the_fakes_as_often(told):
    """Every fake has a stretch of its target's footage of its own, as curated casts have."""
    face = crops(1, artefact=0, frames=1)[0]
    pairs = [f"{source}{target}" for source in "abcd" for target in "abcd" if source != target]
    clips = [
        dataclasses.replace(
            face,
            clip=dataclasses.replace(
                face.clip, id=pair, label=label, people=tuple(pair) if label else (pair[1],), source_clip=pair[1],
                matched=pair if label and told else "",
            ),
        )
        for pair in pairs
        for label in (0, 1)
    ]  # fmt: skip
    for seed in range(10):
        for count in (1, 3, 7):
            chosen = choose(clips, count, seed)
            fakes, reals = ([item.clip for item in chosen if item.clip.label == k] for k in (1, 0))
            assert sorted(clip.source_clip for clip in reals) == sorted(clip.source_clip for clip in fakes)
            if told:
                assert [clip.id for clip in reals] == [clip.matched for clip in fakes]
        assert len({id(item) for item in choose(clips, 12, seed)}) == 24
    half = [item if i % 4 else dataclasses.replace(item, clip=dataclasses.replace(item.clip, matched=""))
            for i, item in enumerate(clips[::-1])]  # fmt: skip
    known = {item.clip.matched for item in half} - {""}
    for item, real in zip(*(lambda found: (found[:12], found[12:]))(choose(half, 12, 1)), strict=True):
        assert (item.clip.matched or real.clip.id) == real.clip.id
        assert (real.clip.id in known) == bool(item.clip.matched)
