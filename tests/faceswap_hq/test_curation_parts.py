"""Curating a cast, its pure parts: consent, the plan, thresholds, ranking, keys, estimates."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import yaml

from faceswap_hq import files
from faceswap_hq.curation import consent, estimate, plan, records
from faceswap_hq.curation.plan import HeldOut, Pair, Person, around, chosen_pairs, examine, ordered_pairs, pose_coverage
from faceswap_hq.curation.report import plan_lines
from faceswap_hq.curation.tasks import RenderTask, ScoreTask, TrainTask, values
from faceswap_hq.curation.thresholds import Criterion, Limit, Thresholds, judge, read_thresholds
from faceswap_hq.errors import UserError
from faceswap_hq.faceset import FaceRow

PEOPLE = ["anna", "ben", "2024-05-01"]


class TestConsent:
    def test_every_way_of_writing_it(self, tmp_path):
        (tmp_path / consent.FILE).write_text(
            "anna: own footage\n"
            "ben: {basis: Research  license, date: 2024-05-01, note: corpus X}\n"
            "2024-05-01: {basis: virtual actor, note: }\n"
            "nobody: {basis: found on the internet}\n"
        )
        found = consent.read_consent(tmp_path, PEOPLE)
        assert {name: item.facts() for name, item in found.items()} == {
            "anna": {"basis": "own footage"},
            "ben": {"basis": "research licence", "date": "2024-05-01", "note": "corpus X"},
            "2024-05-01": {"basis": "virtual actor"},
        }

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "is missing"), ("", "no table"), ("[anna, ben]", "no table"), ("anna: [", "cannot be read"),
            ("anna: own footage", "says nothing of ben, 2024-05-01"),
            ("{anna: own footage, ben: CHOOSE, 2024-05-01: own footage}", "ben: basis 'choose' is none"),
            ("{anna: own footage, ben: {note: x}, 2024-05-01: own footage}", "ben: basis '' is none"),
            ("{anna: own footage, ben: null, 2024-05-01: own footage}", "ben: basis '' is none"),
            ("{anna: own footage, ben: {basis: own footage, bases: 1}, 2024-05-01: x}", "unknown key 'bases'"),
        ],
    )  # fmt: skip
    def test_without_a_basis_for_each_nothing_begins(self, tmp_path, content, message):
        if content is not None:
            (tmp_path / consent.FILE).write_text(content)
        with pytest.raises(UserError, match=message):
            consent.read_consent(tmp_path, PEOPLE)

    def test_the_example_is_for_exactly_these_people_and_says_nothing_for_them(self, tmp_path):
        text = consent.example(PEOPLE)
        (tmp_path / consent.FILE).write_text(text)
        assert [str(name) for name in yaml.safe_load(text)] == PEOPLE
        with pytest.raises(UserError, match="anna: basis"):  # as it is, it is refused
            consent.read_consent(tmp_path, PEOPLE)
        (tmp_path / consent.FILE).write_text(text.replace("CHOOSE", "written consent"))
        assert {item.basis for item in consent.read_consent(tmp_path, PEOPLE).values()} == {"written consent"}


class TestHeldOut:
    def test_by_hand(self):
        assert HeldOut(share=0.3, gap=0.5, seconds=10).split(1000, 25) == (700 - 12, 700, 950)
        assert HeldOut(share=0.25, gap=0, seconds=100).split(400, 30) == (300, 300, 400)
        assert HeldOut(share=0.3).split(24, 25) == (16, 17, 24)  # of a short clip the gap takes a tenth at most

    @pytest.mark.parametrize("frames", [2, 3, 7, 24, 999])
    @pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
    def test_something_is_always_left_for_both(self, frames, share):
        train, start, stop = HeldOut(share=share, gap=3, seconds=0.001).split(frames, 25)
        assert 1 <= train <= start < stop <= frames

    @pytest.mark.parametrize("wrong", [{"share": 0}, {"share": 1}, {"gap": -1}, {"seconds": 0}, {"seconds": np.inf}])
    def test_wrong_settings(self, wrong):
        with pytest.raises(UserError):
            HeldOut(**wrong)


class TestPairs:
    def test_all_ordered_pairs_once(self):
        names = list("abcde")
        found = ordered_pairs(names, names, 3)
        assert sorted(found) == sorted(itertools.permutations(names, 2))
        assert found == ordered_pairs(names[::-1], names, 3)
        assert found != ordered_pairs(names, names, 4)

    def test_first_everybody_is_put_onto_their_neighbour(self):
        assert ["".join(pair) for pair in around("abc")] == ["ab", "bc", "ca", "ac", "ba", "cb"]

    def test_so_many_treat_everybody_alike(self):
        names = list("abcdef")
        for rounds in (1, 2, 3):
            some = chosen_pairs(str(6 * rounds), names, names, 0)
            for side in (0, 1):
                assert sorted(pair[side] for pair in some) == sorted(names * rounds)

    def test_who_has_no_clip_is_only_a_source(self):
        assert {target for _, target in chosen_pairs("all", list("abc"), ["a", "b"], 0)} == {"a", "b"}
        with pytest.raises(UserError, match="a cannot be put onto c"):
            chosen_pairs("a:c", list("abc"), ["a", "b"], 0)

    def test_by_name(self):
        assert chosen_pairs("a:b, c:b,a:b", list("abc"), list("abc"), 0) == [("a", "b"), ("c", "b")]
        for wrong in ("a", "a:b:c", "a:a", "a:x", "", "0", "-1", "a:b,"):
            with pytest.raises(UserError):
                chosen_pairs(wrong, list("abc"), list("abc"), 0)


def rows(poses, size=100.0):
    return tuple(
        FaceRow(
            file=f"{i}.jpg", source="x.mp4", frame=i, time=i / 25, landmarks=np.zeros((478, 3)), matrix=np.eye(2, 3),
            landmarks_crop=np.zeros((478, 2)), yaw=yaw, pitch=pitch, roll=0.0, sharpness=1.0, size=size,
        )
        for i, (yaw, pitch) in enumerate(poses)
    )  # fmt: skip


def spread_poses(center, width, count=200):
    return np.random.default_rng(0).uniform(-width, width, (count, 2)) + center


class TestExamine:
    def test_poses_that_meet_and_poses_that_do_not(self):
        narrow, wide = spread_poses((0, 0), 8), spread_poses((0, 0), 60)
        assert pose_coverage(narrow, wide) > 0.95
        assert pose_coverage(wide, narrow) < 0.35
        away = spread_poses((20, 0), 8)  # of the same width: rendering turns them to where the source was seen
        assert pose_coverage(away, narrow) == 1
        assert pose_coverage(np.zeros((0, 2)), narrow) == pose_coverage(narrow, np.zeros((0, 2))) == 0

    def test_doubts_and_what_is_left_out(self):
        source = Person(name="a", training=rows(spread_poses((0, 0), 10)), held_out=(), frames=None)
        target = Person(name="b", training=(), held_out=rows(spread_poses((0, 0), 10, 40), 400.0), frames=(50, 100))
        limits = {"detail": Limit(leave_out=0.1, doubt=0.5), "seen": Limit(leave_out=0.5, doubt=0.8)}
        pair = examine(source, target, limits)
        assert pair.known == {"poses": 1.0, "seen": 0.8, "detail": 0.25, "faces": 200.0}
        assert len(pair.doubts) == 1
        assert "0.25, below 0.5" in pair.doubts[0]
        assert pair.left_out == ()
        pair = examine(source, replace(target, held_out=target.held_out[:10]), limits)
        assert len(pair.left_out) == 1
        assert "0.2, below 0.5" in pair.left_out[0]
        nobody = examine(source, replace(target, held_out=()), limits)  # no number is not a number
        assert nobody.known["detail"] == nobody.known["poses"] == 0


BOTH = Criterion(min=0.5, max=2.0, best=1.0)


class TestThresholds:
    @pytest.mark.parametrize(
        ("criterion", "value", "quality", "failure"),
        [
            (BOTH, 1.0, 1.0, None), (BOTH, 0.75, 0.5, None), (BOTH, 0.5, 0.0, None), (BOTH, 0.25, -0.5, "below 0.5"),
            (BOTH, 1.5, 0.5, None), (BOTH, 2.0, 0.0, None), (BOTH, 9.0, -1.0, "above 2"),
            (Criterion(min=0.0, best=1.0), 3.0, 1.0, None), (Criterion(max=4.0, best=0.0), -1.0, 1.0, None),
            (Criterion(max=4.0, best=0.0), 1.0, 0.75, None), (Criterion(max=4.0, best=0.0), 5.0, -0.25, "above 4"),
        ],
    )  # fmt: skip
    def test_one_criterion(self, criterion, value, quality, failure):
        assert criterion.quality(value) == pytest.approx(quality)
        assert criterion.failure(value) == failure

    def test_a_verdict_by_hand(self):
        wanted = Thresholds(
            fake={"seam": Criterion(max=2.0, best=0.0, weight=3), "mouth": Criterion(min=0.5, best=1.0),
                  "eyes": Criterion(min=0.5, best=1.0, weight=5), "pose": Criterion(max=1.0, best=0.0, weight=0)},
            plan={},
        )  # fmt: skip
        good = judge({"seam": 1.0, "mouth": 1.0, "eyes": None, "pose": 0.0}, wanted)
        assert (good.accepted, good.reasons, good.unmeasured) == (True, (), ("eyes",))
        assert good.score == pytest.approx((3 * 0.5 + 1) / 4)
        bad = judge({"seam": 3.0, "mouth": 0.5, "pose": 5.0}, wanted)
        assert not bad.accepted
        assert [reason.rpartition(": ")[2] for reason in bad.reasons] == ["3, above 2", "5, above 1"]
        assert bad.score == pytest.approx(-0.375)
        nothing = judge({}, wanted)
        assert (nothing.accepted, nothing.score) == (True, None)

    def test_the_packages_own_go_through_yaml(self, tmp_path):
        own = read_thresholds()
        files.write_yaml(tmp_path / "t.yaml", own.to_dict())
        assert read_thresholds(tmp_path / "t.yaml") == own
        assert set(own.fake) == set(
            values({"faces_target": 0, "faces_both": 0, "flicker": None, "jitter": None}
                   | dict.fromkeys(("identity", "features", "mouth", "eyes", "pose", "seam", "sharpness")),
                   {"frames": 0, "swapped": 0})
        )  # fmt: skip

    @pytest.mark.parametrize(
        "content",
        [
            "version: 2", "[]", "fake: {}", "{version: 1, fake: {beauty: {min: 0, best: 1}}}",
            "{version: 1, fake: {seam: {best: 1}}}", "{version: 1, fake: {seam: {max: 1, best: 2}}}",
            "{version: 1, fake: {seam: {max: .nan, best: 0}}}", "{version: 1, fake: {seam: {max: high, best: 0}}}",
            "{version: 1, fake: {seam: {max: 1, best: 0, weight: -1}}}", "{version: 1, fake: {seam: 3}}",
            "{version: 1, plan: {poses: {leave_out: 1, doubt: 0}}}", "{version: 1, other: {}}",
        ],
    )  # fmt: skip
    def test_wrong_files(self, tmp_path, content):
        (tmp_path / "t.yaml").write_text(content)
        with pytest.raises(UserError, match=r"t\.yaml"):
            read_thresholds(tmp_path / "t.yaml")


def test_the_plan_names_a_few_of_many_pairs_and_none_where_it_means_all():
    def lines(count, doubtful):
        pairs = [
            Pair(source=f"s{i}", target="t", known={}, doubts=("soft",) if i < doubtful else (), left_out=())
            for i in range(count)
        ]
        return plan_lines(pairs, 100, {"training": 60.0})

    assert "  doubtful: all 90 pairs (soft)" in lines(90, 90)
    six = ", ".join(f"s{i} onto t" for i in range(6))
    assert f"  doubtful: {six} and 83 more (soft)" in lines(90, 89)
    assert "  doubtful: s0 onto t, s1 onto t (soft)" in lines(90, 2)
    assert "  doubtful: s0 onto t (soft)" in lines(1, 1)


def test_what_is_tested_of_a_measured_fake():
    telling, not_telling = {"r": 0.5, "effective": 10.0}, {"r": -0.9, "effective": 9.9}
    measured = {
        "faces_target": 8, "faces_both": 6, "identity": {"ratio": 0.7, "closer_to_source": 1.0}, "mouth": telling,
        "eyes": not_telling, "pose": {"mean": 3, "std": 1}, "seam": None, "sharpness": {"mean": 1}, "flicker": 1,
        "jitter": None, "features": 0.8,
    }  # fmt: skip
    assert values(measured, {"frames": 10, "swapped": 9}) == {
        "swapped": 0.9, "tracked": 0.75, "identity": 0.7, "nearer": 1.0, "features": 0.8, "mouth": 0.5, "eyes": None,
        "pose": 1.0, "turn": 3.0, "seam": None, "sharpness": 1.0, "flicker": 1.0, "jitter": None,
    }  # fmt: skip


RENDER = RenderTask(
    number=0, source="a", target="b", clip="/x/b.mp4", clip_sha256="1", frames=(5, 9), model="/m", model_sha256="2",
    blend={"x": 1}, backend="mediapipe", seed=0, consent={"a": {"basis": "own footage"}}, work_dir="/w",
)  # fmt: skip
TRAIN = TrainTask(
    number=0, people=("p",), digests=("1",), settings={"seed": 0}, steps=5, minutes=None, begin=None, begin_sha256="",
    work_dir="/w",
)  # fmt: skip
SCORE = ScoreTask(
    number=0, entry={"id": "x", "sha256": {"fake": "1", "real": "2"}}, source_faces="/f", source_digest="3",
    identity="/n", identity_sha256="4", work_dir="/w",
)  # fmt: skip


class TestKeys:
    @pytest.mark.parametrize(
        ("task", "changes"),
        [
            (RENDER, {"clip": "/y/b.mp4", "model": "/n", "work_dir": "/v", "number": 1}),
            (TRAIN, {"people": ("q",), "begin": "/m", "work_dir": "/v"}),
            (SCORE, {"source_faces": "/g", "identity": "/o", "work_dir": "/v", "number": 1}),
        ],
    )
    def test_do_not_depend_on_where_things_lie(self, task, changes):
        for name, value in changes.items():
            assert replace(task, **{name: value}).key() == task.key(), name

    @pytest.mark.parametrize(
        ("task", "changes"),
        [
            (RENDER, {"clip_sha256": "x", "frames": (5, 8), "model_sha256": "x", "blend": {}, "seed": 1, "source": "c",
                      "consent": {}, "backend": "x"}),
            (TRAIN, {"digests": ("2",), "settings": {}, "steps": 6, "minutes": 1.0, "begin_sha256": "x"}),
            (SCORE, {"entry": {"id": "x", "sha256": {"fake": "1", "real": "3"}}, "source_digest": "x",
                     "identity_sha256": ""}),
        ],
    )  # fmt: skip
    def test_depend_on_contents_and_settings(self, task, changes):
        keys = {replace(task, **{name: value}).key() for name, value in changes.items()}
        assert len(keys | {task.key()}) == len(changes) + 1

    def test_more_steps_go_on_with_the_same_training_and_other_people_begin_another(self):
        assert replace(TRAIN, steps=9).model == TRAIN.model
        assert replace(TRAIN, digests=("2",)).model != TRAIN.model
        assert replace(TRAIN, settings={"seed": 1}).model != TRAIN.model


def test_a_damaged_record_is_no_record(tmp_path):
    path = tmp_path / "r.json"
    assert records.recall(path, "k") is None
    for content in ("{", "[]", '{"key": "k"}', '{"key": "k", "result": 1}', '{"key": "j", "result": {}}'):
        path.write_text(content)
        assert records.recall(path, "k") is None
    path.write_text('{"key": "k", "result": {"a": 1}}')
    assert records.recall(path, "k") == {"a": 1}


def test_estimates_are_of_what_was_seen_here(tmp_path):
    assert estimate.observed(tmp_path, 4) == estimate.Costs()
    entry = {"counts": {"frames": 50}}
    for number, seconds in enumerate((10.0, 30.0)):
        result = {"key": "k", "result": {"entry": entry, "seconds": seconds}}
        files.write_json(tmp_path / "round-0" / "renders" / f"{number}.json", result)
    files.write_json(tmp_path / "round-0" / "renders" / "none.json", {"result": {"entry": None, "seconds": 1.0}})
    files.write_json(tmp_path / "models" / "m.json", {"result": {"seconds": 60.0, "step": 10, "people": 3}})
    costs = estimate.observed(tmp_path, 4)
    assert costs.frame == pytest.approx(41 / 100)
    assert costs.face == pytest.approx(60 / 120)
    assert costs.score == estimate.Costs().score
    stages = estimate.seconds(costs, frames=100, people=2, batch=4, steps=5, minutes=None)
    assert stages == pytest.approx({"training": 20, "rendering": 41, "scoring": 5})
    assert estimate.seconds(costs, frames=0, people=2, batch=4, steps=None, minutes=2)["training"] == 120
    assert [estimate.spoken(value) for value in (40, 600, 9000)] == ["40 s", "10 minutes", "2.5 hours"]


def test_pose_units_are_those_of_training():
    from faceswap_hq.faces import expression

    assert expression.Calibration.fit(np.zeros((2, expression.COUNT), np.float32)).spread[0] == plan.POSE_UNIT
