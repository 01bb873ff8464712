"""Curating a cast from end to end: what is published, what is used again, what a kill loses."""

from __future__ import annotations

import errno
import hashlib
import json
import random
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceswap_hq import fakes, files, media, provenance
from faceswap_hq.curation import records
from faceswap_hq.curation.tasks import TrainTask
from faceswap_hq.curation.thresholds import Criterion, Thresholds
from faceswap_hq.errors import UserError
from faceswap_hq.faceset import read_faceset
from stress.data.controls import read_controls
from stress.data.layouts import read_manifest
from tests.faceswap_hq.curated import curated, manifest, unscored
from tests.faceswap_hq.helpers import killed, leftovers, tree

PAIRS = {("anna", "ben"), ("ben", "anna")}


def published(out: Path) -> dict[str, bytes]:
    """Everything in ``out/`` but the work directory."""
    return {name: data for name, data in tree(out).items() if not name.startswith("work/")}


class TestWhatIsPublished:
    def test_fakes_reals_controls_as_the_stress_test_takes_them(self, cast, seams):
        seams["anna", "ben", 0] = 0.5
        out = unscored(cast)
        order = curated(cast)
        assert [item.entry["source"]["person"] for item in order] == ["anna", "ben"]  # the better one first
        clips = read_manifest(out)
        assert {clip.people for clip in clips if clip.label == 1} == PAIRS
        assert len([clip for clip in clips if clip.label == 0]) == len(read_controls(out)) == 2
        assert [clip.mask is not None for clip in clips] == [clip.label == 1 for clip in clips]
        assert not (out / "rejected").exists()
        for who, entry in manifest(out).items():
            assert entry["frames"] == [17, 24]
            assert entry["curation"]["accepted"]
            assert entry["quality"]["seam"] == (0.5 if who[0] == "anna" else 1.0)
            for kind in ("fake", "real", "control"):
                found = provenance.verify(out / entry[kind])
                assert found.state == "valid"
            for kind, sha256 in entry["sha256"].items():
                assert files.sha256_file(out / entry[kind]) == sha256
            basis = {"anna": {"basis": "virtual actor"}, "ben": {"basis": "virtual actor", "note": "drawn"}}
            facts = provenance.verify(out / entry["fake"]).facts["facts"]
            assert facts["source"] == entry["source"] == {"person": who[0], "consent": basis[who[0]]}
            assert facts["target"]["consent"] == entry["target"]["consent"] == basis[who[1]]
        sums = dict(line.split("  ")[::-1] for line in (out / "SHA256SUMS").read_text().splitlines())
        for name, sha256 in sums.items():
            assert hashlib.sha256((out / name).read_bytes()).hexdigest() == sha256
        listed = {name for name in tree(out) if not name.startswith("work/")}
        assert listed == set(sums) | {"SHA256SUMS"}
        report = json.loads((out / "curation.json").read_text())
        assert [fake["rank"] for fake in report["fakes"]] == [1, 2]
        assert not leftovers(out)

    def test_the_mask_is_where_the_fake_differs_from_its_real(self, fresh):
        for entry in manifest(fresh / "out").values():
            real, fake = (
                [frame.image.astype(int) for frame in media.read_frames(media.probe(fresh / "out" / entry[kind]))]
                for kind in ("real", "fake")
            )
            with zipfile.ZipFile(fresh / "out" / entry["mask"]) as archive:
                assert len(archive.namelist()) == entry["counts"]["swapped"] == 7
                for name in archive.namelist():
                    mask = cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_GRAYSCALE)
                    change = np.abs(fake[int(name[:6])] - real[int(name[:6])]).mean(2)
                    assert change[mask > 250].mean() > 10 * change[mask == 0].mean()

    def test_nothing_that_is_rendered_was_trained_on(self, fresh):
        for path in (fresh / "out/work/facesets").glob("*/*.faceset"):
            frames = [row.frame for row in read_faceset(path).rows]
            assert frames == list(range(16))  # of 24: one is the gap, seven are rendered

    def test_what_fails_is_trained_further_and_then_rejected_with_its_reason(self, cast, seams, counted):
        seams.update({("anna", "ben", 0): 3.0, ("anna", "ben", 1): 4.0})
        out = unscored(cast)
        curated(cast)
        assert counted == ["train 1", "anna 1"]
        assert set(manifest(out)) == {("ben", "anna")}
        entry = manifest(out / "rejected")["anna", "ben"]
        assert entry["curation"]["round"] == 0  # the less bad of the two
        assert "3, above 2" in entry["curation"]["reasons"][0]
        assert (out / "rejected" / entry["fake"]).is_file()
        assert (out / "rejected" / entry["mask"]).is_file()
        assert not (out / entry["fake"]).exists()
        assert not (out / entry["mask"]).exists()
        assert {clip.people for clip in read_manifest(out) if clip.label == 1} == {("ben", "anna")}

    def test_a_second_attempt_that_is_good_enough_is_taken(self, cast, seams):
        seams.update({("anna", "ben", 0): 3.0, ("anna", "ben", 1): 1.5})
        out = unscored(cast)
        curated(cast)
        entry = manifest(out)["anna", "ben"]
        assert entry["curation"]["round"] == 1
        assert entry["model"]["sha256"] != manifest(out)["ben", "anna"]["model"]["sha256"]

    def test_without_masks_none_are_written(self, cast, seams):
        out = unscored(cast)
        shutil.rmtree(out / "work/round-0")
        curated(cast, masks=False)
        assert len(read_manifest(out)) == 4
        assert not list(out.rglob("*.zip"))

    def test_a_pair_that_cannot_be_rendered_stops_nothing(self, cast, seams, monkeypatch):
        real = fakes.make_pair

        def refuse(video, swap, *args, **options):
            if swap.source == "anna":
                raise UserError("no face found")
            return real(video, swap, *args, **options)

        monkeypatch.setattr(fakes, "make_pair", refuse)
        out = unscored(cast)
        shutil.rmtree(out / "work/round-0")
        curated(cast)
        assert set(manifest(out)) == {("ben", "anna")}
        (left_out,) = json.loads((out / "curation.json").read_text())["left_out"]
        assert (left_out["source"], left_out["reasons"]) == ("anna", ["no face found"])


class TestAgain:
    def test_nothing_is_done_twice(self, cast, seams, counted):
        before = tree(cast.parent / "out")
        curated(cast)
        assert counted == []
        assert tree(cast.parent / "out") == before

    def test_other_thresholds_judge_anew_and_render_nothing(self, cast, seams, counted):
        seams["anna", "ben", 0] = 1.5
        out = unscored(cast)
        strict = Thresholds(fake={"seam": Criterion(max=1.2, best=0.0)}, plan={})
        curated(cast, strict, retrain_rounds=0)
        assert (set(manifest(out)), set(manifest(out / "rejected"))) == ({("ben", "anna")}, {("anna", "ben")})
        curated(cast, retrain_rounds=0)
        assert set(manifest(out)) == PAIRS
        assert not (out / "rejected").exists()
        assert counted == []

    def test_what_was_lost_or_changed_is_made_again_and_nothing_else(self, cast, seams, counted):
        out = cast.parent / "out"
        entries = manifest(out)
        (out / "work/round-0" / entries["anna", "ben"]["real"]).write_bytes(b"something else")
        (out / entries["ben", "anna"]["fake"]).unlink()  # still in the work directory
        curated(cast)
        assert counted == ["anna 0"]
        assert len(read_manifest(out)) == 4
        for entry in manifest(out).values():
            assert files.sha256_file(out / entry["real"]) == entry["sha256"]["real"]
            assert provenance.verify(out / entry["real"]).state == "valid"

    def test_masks_that_are_not_wanted_go_and_come_back_with_nothing_rendered(self, cast, seams, counted):
        out, before = cast.parent / "out", published(cast.parent / "out")
        curated(cast, masks=False)
        assert not (out / "masks").exists()
        assert not any("mask" in entry or "mask" in entry["sha256"] for entry in manifest(out).values())
        assert "masks/" not in (out / "SHA256SUMS").read_text()
        curated(cast)
        assert published(out) == before
        assert counted == []

    def test_masks_that_an_earlier_run_did_not_write_are_made(self, cast, seams, counted):
        out, name = cast.parent / "out", next(iter(manifest(cast.parent / "out").values()))["id"]
        path = out / "work/round-0/renders" / f"{name}.json"
        record = json.loads(path.read_text())
        record["result"]["entry"].pop("mask")
        record["result"]["entry"]["sha256"].pop("mask")
        path.write_text(json.dumps(record))
        curated(cast, masks=False)
        assert counted == []
        curated(cast)
        assert len(counted) == 1
        assert all((out / entry["mask"]).is_file() for entry in manifest(out).values())

    def test_other_consent_is_signed_anew(self, cast, seams, counted):
        (cast / "consent.yaml").write_text("anna: virtual actor\nben: own footage\n")
        curated(cast)
        assert sorted(counted) == ["anna 0", "ben 0"]
        out = cast.parent / "out"
        assert manifest(out)["anna", "ben"]["target"]["consent"] == {"basis": "own footage"}

    def test_fewer_pairs_take_the_others_out_without_losing_them(self, cast, seams, counted):
        out = cast.parent / "out"
        curated(cast, pairs="anna:ben")
        assert set(manifest(out)) == {("anna", "ben")}
        assert len(list((out / "fakes").glob("*.mp4"))) == 1
        curated(cast)
        assert set(manifest(out)) == PAIRS
        assert counted == []

    def test_a_run_that_fails_before_it_publishes_leaves_what_is_published_as_it_is(self, cast, seams, monkeypatch):
        before = published(cast.parent / "out")

        def refuse(self, tools):
            raise UserError("nobody can be trained")

        monkeypatch.setattr(TrainTask, "work", refuse)
        with pytest.raises(UserError, match="nobody"):
            curated(cast, seed=7)
        assert published(cast.parent / "out") == before

    @pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
    def test_an_interruption_loses_the_clip_in_hand_alone(self, cast, seams, counted, monkeypatch, failure):
        out = unscored(cast)
        shutil.rmtree(out / "work/round-0")
        real = provenance.sign_video
        with monkeypatch.context() as patch:
            patch.setattr(
                provenance, "sign_video",
                lambda *a, **o: (_ for _ in ()).throw(failure) if len(counted) == 2 else real(*a, **o),
            )  # fmt: skip
            with pytest.raises(type(failure)):
                curated(cast)
        assert not leftovers(out)
        assert not (out / "manifest.json").exists()
        last = counted[-1]
        counted.clear()
        curated(cast)
        assert counted == [last]
        assert len(read_manifest(out)) == 4


def test_a_folder_that_is_something_else_is_left_alone(cast, seams):
    shutil.rmtree(cast.parent / "out")
    (cast.parent / "out").mkdir()
    (cast.parent / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="not of an earlier curation"):
        curated(cast)
    assert tree(cast.parent / "out") == {"thesis.txt": b"years of work"}


class TestCommand:
    def test_without_consent_it_explains_and_writes_nothing(self, cast, run):
        (cast / "consent.yaml").unlink()
        code, _, err = run("curate", cast, "-o", cast.parent / "new")
        assert code == 2
        assert "anna:\n" in err
        assert "ben:\n" in err
        assert not (cast.parent / "new").exists()

    @pytest.mark.parametrize("place", [".", "fakes", "deep/../fakes"])
    def test_what_is_made_does_not_become_one_of_the_people(self, cast, run, place):
        before = tree(cast.parent)
        code, _, err = run("curate", cast, "-o", cast / place, "--plan")
        assert code == 2
        assert "would be taken for one of the people" in err
        assert tree(cast.parent) == before

    def test_a_plan_renders_nothing(self, cast, run, counted):
        code, out, _ = run(
            "curate", cast, "-o", cast.parent / "new", "--plan", "--preset", cast.parent / "small.yaml", "--steps", 5
        )
        assert code == 0
        assert "2 of 2 pairs" in out
        assert counted == []

    def test_a_plan_leaves_what_is_published_as_it_is_and_can_be_carried_out(self, cast, run, seams):
        options = ["--preset", cast.parent / "small.yaml", "--steps", 2, "--blend", "none", "--device", "cpu"]
        before = published(cast.parent / "out")
        assert run("curate", cast, "-o", cast.parent / "out", "--plan", "--seed", 7, *options)[0] == 0
        assert published(cast.parent / "out") == before
        new = cast.parent / "new"
        assert run("curate", cast, "-o", new, "--plan", *options)[0] == 0
        assert published(new) == {}
        assert run("curate", cast, "-o", new, "--retrain-rounds", 0, *options)[0] == 0
        assert {"curation.yaml", "SHA256SUMS"} <= set(published(new))

    def test_who_stops_it_is_told_how_to_go_on(self, cast, run, monkeypatch):
        def stopped(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr("faceswap_hq.curation.run.run", stopped)
        code, _, err = run("curate", cast, "-o", cast.parent / "new", "--preset", cast.parent / "small.yaml")
        assert code == 130
        assert "run the same command again" in err

    def test_with_a_model_given(self, cast, run, seams, trained):
        before = tree(trained)
        code, out, err = run(
            "curate", cast, "-o", cast.parent / "new", "--model", trained, "--blend", "none", "--pairs", 1,
            "--device", "cpu", "--retrain-rounds", 0, "--no-masks",
        )  # fmt: skip
        assert (code, "1 fakes accepted" in out) == (0, True), err
        assert not list((cast.parent / "new").rglob("*.zip"))
        assert tree(trained) == before
        assert run("curate", cast, "-o", cast.parent / "new", "--model", trained, "--steps", 1)[0] == 2
        (cast / "anna.mp4").rename(cast / "cem.mp4")
        (cast / "consent.yaml").write_text("cem: virtual actor\nben: virtual actor\n")
        code, _, err = run("curate", cast, "-o", cast.parent / "other", "--model", trained)
        assert code == 2
        assert "knows no 'cem'" in err


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again(cast, seams, counted):
    """The child is killed without warning, again and again; every run goes on where the last one was."""
    shutil.rmtree(cast.parent / "out")
    moments = random.Random(0)
    for _ in range(6):

        def work(tell):
            told = 0

            def say(message):
                nonlocal told
                told += 1
                tell(told)

            curated(cast, tools=records.Tools(device="cpu", say=say))
            tell(1000)

        last = killed(work, until=moments.randint(1, 6), delay=moments.uniform(0, 1.5))
        out = cast.parent / "out"
        assert not (out / "manifest.json").exists() or len(read_manifest(out)) in (2, 4)
        if last >= 1000:
            break
    curated(cast)
    out = cast.parent / "out"
    assert len(read_manifest(out)) == 4
    assert not leftovers(out)
    for entry in manifest(out).values():
        assert provenance.verify(out / entry["fake"]).state == "valid"
