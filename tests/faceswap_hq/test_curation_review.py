"""A person's review: what is refused, what is moved, and that it lasts."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from pathlib import Path

import pytest

from faceswap_hq import fakes, files
from faceswap_hq.curation import publish
from faceswap_hq.curation.apply import apply_review
from faceswap_hq.curation.records import Tools
from faceswap_hq.curation.review import Decision
from faceswap_hq.curation.thresholds import Criterion, Thresholds, Verdict
from faceswap_hq.errors import UserError
from stress.data.layouts import read_manifest
from tests.faceswap_hq.curated import curated, hand_made, manifest, unscored
from tests.faceswap_hq.helpers import leftovers, tree

STRICT = Thresholds(fake={"seam": Criterion(max=0.5, best=0.0)}, plan={})


@pytest.fixture(scope="module")
def made(shots, tmp_path_factory) -> Path:
    return hand_made(tmp_path_factory.mktemp("made") / "out", shots, count=4)


@pytest.fixture
def out(made, tmp_path) -> Path:
    """Four fakes accepted and two rejected, and no ``work/``."""
    return Path(shutil.copytree(made, tmp_path / "out"))


def where(out: Path) -> dict[tuple[str, str], dict]:
    """Every fake's entry, accepted or not."""
    return manifest(out) | manifest(out / "rejected")


def review(out: Path, verdicts: dict[tuple[str, str], str], note: str = "", **changes) -> Path:
    entries = where(out)
    rows = [
        {"id": entries[who]["id"], "sha256": entries[who]["sha256"]["fake"], "verdict": verdict, "note": note,
         "time": "2026-01-02T03:04:05.678Z"} | changes
        for who, verdict in verdicts.items()
    ]  # fmt: skip
    path = out.parent / "review.json"
    path.write_text(json.dumps({"format": "faceswap-hq review", "version": 1, "fakes": rows}))
    return path


def whole(out: Path) -> None:
    """What holds at any moment: manifests name files that are there and unchanged, and no fake is in no manifest."""
    for folder in (out, out / "rejected"):
        for entry in manifest(folder).values():
            assert set(entry["sha256"]) == set(publish.KINDS)
            for kind, sha256 in entry["sha256"].items():
                assert files.sha256_file(folder / entry[kind]) == sha256
            assert all((folder / path).is_file() for path in fakes.paths_of(entry))
    assert len(where(out)) == 6


GOOD, BAD = ("anna", "ben"), ("cem", "ben")  # as the thresholds say


class TestApplied:
    def test_fakes_move_with_reals_and_controls_and_their_reasons(self, out):
        path = review(out, {GOOD: "reject"}, note="the glasses\nvanish")
        order, _ = apply_review(path, out)
        apply_review(review(out, {BAD: "accept"}), out)
        whole(out)
        assert GOOD in manifest(out / "rejected")
        assert BAD in manifest(out)
        assert {clip.people for clip in read_manifest(out) if clip.label} == set(manifest(out))  # what it is for
        said = where(out)[GOOD]["curation"]
        assert (said["accepted"], said["reasons"]) == (False, ["rejected by reviewer: the glasses vanish"])
        assert said["review"] == {
            "verdict": "reject", "note": "the glasses\nvanish", "time": "2026-01-02T03:04:05.678Z"
        }  # fmt: skip
        assert said["automatic"] == {"accepted": True, "reasons": []}
        said = where(out)[BAD]["curation"]
        assert (said["accepted"], said["reasons"]) == (True, ["accepted by reviewer"])
        assert "above 2" in said["automatic"]["reasons"][0]
        assert [item.id for item in order][-1] == where(out)[("cem", "ben")]["id"]  # its score is what was measured
        for kind, place in publish.KINDS.items():
            assert len([path for path in (out / place).iterdir() if path.suffix in (".mp4", ".zip")]) == 4
            assert not (out / where(out)[GOOD][kind]).exists()

    def test_every_record_says_the_same(self, out):
        apply_review(review(out, {GOOD: "reject", BAD: "accept"}, note="so"), out)
        rows = {(row["source"], row["target"]): row for row in json.loads((out / "curation.json").read_text())["fakes"]}
        assert [row["rank"] for row in rows.values()] == [1, 2, 3, 4, 5, 6]
        for who, entry in where(out).items():
            said = entry["curation"]
            assert said == {key: rows[who][key] for key in said}
        sums = dict(line.split("  ")[::-1] for line in (out / "SHA256SUMS").read_text().splitlines())
        assert set(sums) == set(tree(out)) - {"SHA256SUMS"}
        assert all(hashlib.sha256((out / name).read_bytes()).hexdigest() == sum_ for name, sum_ in sums.items())
        assert "rejected by reviewer: so" in (out / "README.md").read_text()
        assert f"rejected/{where(out)[GOOD]['fake']}" in (out / "review.html").read_text()

    def test_again_changes_nothing_and_taking_it_back_leaves_no_trace(self, out):
        before = tree(out)
        path = review(out, {GOOD: "reject", BAD: "accept"})
        apply_review(path, out)
        after = tree(out)
        apply_review(path, out)
        assert tree(out) == after != before
        apply_review(review(out, {GOOD: "automatic", BAD: "automatic"}), out)
        assert json.loads((out / "decisions.json").read_text())["fakes"] == []
        (out / "decisions.json").unlink()
        left = {name: data for name, data in tree(out).items() if name != "SHA256SUMS"}
        assert left == {name: data for name, data in before.items() if name != "SHA256SUMS"}

    def test_a_later_review_adds_to_an_earlier_one(self, out):
        apply_review(review(out, {GOOD: "reject"}), out)
        apply_review(review(out, {BAD: "accept"}), out)
        assert GOOD in manifest(out / "rejected")
        assert BAD in manifest(out)
        apply_review(out / "decisions.json", out)  # what is kept is a review, too
        assert BAD in manifest(out)

    def test_a_note_alone_is_kept_and_moves_nothing(self, out):
        apply_review(review(out, {GOOD: "automatic"}, note="look again"), out)
        said = manifest(out)[GOOD]["curation"]
        assert (said["accepted"], said["reasons"], said["review"]["note"]) == (True, [], "look again")

    def test_everybody_rejected_and_everybody_accepted(self, out):
        for verdict, folder in (("reject", out / "rejected"), ("accept", out)):
            apply_review(review(out, dict.fromkeys(where(out), verdict)), out)
            assert len(manifest(folder)) == 6
            assert not any((path / "fakes").exists() for path in (out, out / "rejected") if path != folder)
        assert not (out / "rejected").exists()

    def test_an_interruption_at_any_moment_is_mended_by_applying_again(self, made, tmp_path, monkeypatch):
        steps = [(files, "write_bytes"), (files, "put_link"), (Path, "unlink")]
        plain = shutil.copytree(made, tmp_path / "plain")
        path = review(plain, {GOOD: "reject", BAD: "accept"})
        apply_review(path, plain)
        for moment in range(0, 1000, 7):
            out = shutil.copytree(made, tmp_path / "out")
            left = moment
            with monkeypatch.context() as patch:
                for place, name in steps:

                    def stopping(*args, real=getattr(place, name), out=out, **options):
                        nonlocal left
                        whole(out)
                        left -= 1
                        if left < 0:
                            raise KeyboardInterrupt
                        return real(*args, **options)

                    patch.setattr(place, name, stopping)
                with contextlib.suppress(KeyboardInterrupt):
                    apply_review(path, out)
            whole(out)
            apply_review(path, out)
            assert not leftovers(out)
            assert tree(out) == tree(plain)
            shutil.rmtree(out)
            if left >= 0:
                break
        assert moment > 20


class TestRefused:
    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("{", "cannot be read as JSON"), ("[]", "no review"), ('{"format": "faceswap-hq curation"}', "no review"),
            ('{"format": "faceswap-hq review", "version": 2, "fakes": []}', "version 2"),
            ('{"format": "faceswap-hq review", "version": 1}', "no list"),
            ('{"format": "faceswap-hq review", "version": 1, "fakes": [7]}', "fake 1"),
        ],
    )  # fmt: skip
    def test_what_is_no_review(self, out, text, why):
        (out.parent / "review.json").write_text(text)
        self.refuses(out, out.parent / "review.json", why)

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"verdict": "maybe"}, "'maybe'"), ({"sha256": "0" * 63}, "64 hex"), ({"sha256": None}, "no text"),
            ({"note": 7}, "no text"), ({"note": "\ud800"}, "Unicode"), ({"time": "yesterday"}, "yesterday"),
            ({"id": ""}, "empty"), ({"more": 1}, "more"), ({"id": "x\ny"}, "x y"), ({"sha256": "0" * 64}, "earlier"),
        ],
    )  # fmt: skip
    def test_what_is_no_decision_on_these_fakes(self, out, change, why):
        self.refuses(out, review(out, {GOOD: "reject"}, **change), why)

    def test_a_fake_judged_twice(self, out):
        path = review(out, {GOOD: "reject"})
        value = json.loads(path.read_text())
        value["fakes"] *= 2
        path.write_text(json.dumps(value))
        self.refuses(out, path, "twice")

    def test_a_fake_that_is_not_what_was_scored_or_not_there(self, out):
        path = review(out, {GOOD: "reject"})
        video = out / where(out)[BAD]["fake"].replace("fakes", "rejected/fakes")
        video.write_bytes(b"else")
        self.refuses(out, path, "not what was scored")
        video.unlink()
        self.refuses(out, path, "missing")

    def test_damaged_records(self, out):
        path = review(out, {GOOD: "reject"})
        (out / "decisions.json").write_text("{}")
        self.refuses(out, path, "decisions.json is no review")
        (out / "decisions.json").unlink()
        (out / "rejected/manifest.json").unlink()
        self.refuses(out, path, "disagree")
        (out / "curation.json").write_text('{"format": "faceswap-hq curation", "version": 1, "fakes": [{}]}')
        self.refuses(out, path, "disagree")
        (out / "curation.json").unlink()
        self.refuses(out, path, "no finished curation")

    def refuses(self, out: Path, path: Path, why: str) -> None:
        before = tree(out)
        with pytest.raises(UserError) as caught:
            apply_review(path, out)
        assert why in caught.value.message
        assert "\n" not in caught.value.message
        assert tree(out) == before


AB, BA = ("anna", "ben"), ("ben", "anna")


class TestLasts:
    @pytest.fixture
    def reviewed(self, cast, seams) -> Path:
        """Two fakes of which the thresholds accept ben's, and a person the other one alone."""
        seams["anna", "ben", 0] = 3.0
        out = unscored(cast)
        curated(cast, retrain_rounds=0)
        apply_review(review(out, {AB: "accept", BA: "reject"}, note="blurred"), out)
        return out

    def test_running_again_changes_nothing(self, cast, reviewed, counted):
        before = tree(reviewed)
        curated(cast, retrain_rounds=0)
        assert tree(reviewed) == before
        assert (set(manifest(reviewed)), set(manifest(reviewed / "rejected"))) == ({AB}, {BA})
        assert counted == []

    def test_other_thresholds_and_a_further_round_overrule_nobody(self, cast, reviewed, seams, counted):
        curated(cast, STRICT, retrain_rounds=1)
        assert sorted(counted) == ["anna 1", "ben 1", "train 1"]
        assert manifest(reviewed)[AB]["curation"]["round"] == 0  # the very file that the person accepted
        assert manifest(reviewed / "rejected")[BA]["curation"]["reasons"] == ["rejected by reviewer: blurred"]

    def test_a_verdict_trains_nobody_further(self, cast, reviewed, seams, counted):
        curated(cast, retrain_rounds=1)
        assert counted == ["train 1", "anna 1"]  # whom the thresholds reject: as it would be without a person
        assert set(manifest(reviewed)) == {AB}

    def test_a_fake_made_anew_is_judged_anew_and_named(self, cast, reviewed):
        (cast / "consent.yaml").write_text("anna: virtual actor\nben: own footage\n")
        warned: list[str] = []
        curated(cast, retrain_rounds=0, tools=Tools(device="cpu", warn=warned.append))
        assert (set(manifest(reviewed)), set(manifest(reviewed / "rejected"))) == ({BA}, {AB})
        assert len(warned) == 1
        assert all(entry["id"] in warned[0] for entry in where(reviewed).values())
        assert len(json.loads((reviewed / "decisions.json").read_text())["fakes"]) == 2  # kept, should they come back

    def test_damaged_decisions_are_not_written_over(self, cast, reviewed):
        (reviewed / "decisions.json").write_text("damaged")
        with pytest.raises(UserError, match="decisions.json"):
            curated(cast, retrain_rounds=0)
        assert (reviewed / "decisions.json").read_text() == "damaged"


def judged(score: float, accepted: bool, said: str | None) -> publish.Judged:
    decision = None if said is None else Decision(id="x", sha256="0" * 64, verdict=said)
    verdict = Verdict(accepted=accepted, reasons=(), score=score, unmeasured=())
    return publish.Judged(
        entry={"id": "x"}, folder=Path(), number=0, values={}, quality={}, automatic=verdict, review=decision
    )


def test_the_version_that_is_published():
    order = [
        judged(-0.9, False, "accept"), judged(0.5, True, None), judged(0.4, True, None), judged(0.3, True, "automatic"),
        judged(0.9, True, "reject"), judged(0.1, False, "reject"), judged(0.8, False, None), judged(0.2, False, None),
    ]  # fmt: skip
    for place, item in enumerate(order):
        assert publish.preferred(order[place:][::-1]) is item
    twins = [judged(0.5, True, None), judged(0.5, True, None)]
    assert publish.preferred(twins) is twins[0]


class TestCommand:
    def test_it_applies_and_says_so(self, out, run):
        code, said, err = run("curate", "--apply", review(out, {GOOD: "reject"}), "-o", out)
        assert code == 0, err
        assert "0 accepted, 1 rejected" in said
        assert "3 fakes accepted, 3 rejected" in said

    def test_mistakes(self, out, run, tmp_path):
        path = review(out, {GOOD: "reject"})
        before = tree(out)
        for wrong in (("cast", "--apply", path, "-o", out), ("--apply", path, "-o", tmp_path / "none"), ("-o", out),
                      ("--apply", tmp_path / "none.json", "-o", out), ("--apply", tmp_path, "-o", out)):  # fmt: skip
            code, _, err = run("curate", *wrong)
            assert code == 2, err
        assert tree(out) == before
        assert not (tmp_path / "none").exists()
