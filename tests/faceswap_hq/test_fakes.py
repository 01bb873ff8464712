"""What leaves the renderer: signed files, matched pairs, the manifest; all of it or nothing."""

from __future__ import annotations

import errno
import json
import shutil
import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from blending import NONE, settings_from_dict, settings_to_dict
from faceswap_hq import fakes, files, provenance, render
from faceswap_hq.errors import UserError
from faceswap_hq.faceset import read_faceset
from faceswap_hq.fakes import FORMAT, VERSION, Manifest, Swap, open_swap
from faceswap_hq.media import probe, read_frames
from faceswap_hq.planning import RenderSettings
from faceswap_hq.training.loop import Budget, train
from tests.faceswap_hq.clips import clicks
from tests.faceswap_hq.helpers import SETTINGS, Known, Shot, leftovers, tree, use_backend, write_clip, write_faceset

PLAIN = RenderSettings(blend=NONE)


@pytest.fixture
def backend(monkeypatch, shots: tuple[Shot, Shot]) -> Known:
    """Finds ben, onto whom anna's face is put."""
    return use_backend(monkeypatch, shots[1].knowing())


@pytest.fixture
def swap(trained: Path, backend: Known) -> Swap:
    return open_swap(trained, replace(PLAIN, frames=(0, 6)), device="cpu")


@pytest.fixture
def clip(actor_clips: tuple[Path, Path]) -> Path:
    return actor_clips[1]


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b).mean())


def test_the_ladder_is_the_same_swap_with_a_stage_more_on_each_rung(swap, clip, tmp_path) -> None:
    top = replace(swap, settings=replace(swap.settings, blend=settings_from_dict({}), frames=(0, 2)))
    made = fakes.render_ladder(clip, top, tmp_path / "ladder")
    stages = [path.parent.parent.name for path in made]
    assert stages == ["0-none", "1-mask", "2-color", "3-poisson", "4-detail", "5-temporal"]
    blends = [json.loads((path.parent.parent / "manifest.json").read_text())["entries"][0]["blending"] for path in made]
    assert blends[0] == settings_to_dict(NONE)
    assert blends[-1] == settings_to_dict(top.settings.blend)
    for lower, upper in pairwise(blends):
        changed = {section for section in upper if lower[section] != upper[section]}
        assert len(changed - {"occlusion"}) == 1
    for path in made:
        assert provenance.verify(path).state == "valid"
        assert (path.parent.parent / "reals" / path.name).is_file()


class TestOpenSwap:
    def test_two_people(self, trained):
        swap = open_swap(trained, PLAIN, device="cpu")
        assert (swap.source, swap.target, swap.settings.source) == ("anna", "ben", 0)
        swap = open_swap(trained, PLAIN, source="ben", device="cpu")
        assert (swap.source, swap.target, swap.settings.source) == ("ben", "anna", 1)
        assert not swap.model.training

    def test_several_people(self, tmp_path):
        people = [write_faceset(tmp_path / f"{name}.faceset", count=2, seed=i).path for i, name in enumerate("abc")]
        train(tmp_path / "run", [read_faceset(path) for path in people], SETTINGS, Budget(steps=1), device="cpu")
        with pytest.raises(UserError, match="knows 3 people; say which") as caught:
            open_swap(tmp_path / "run", PLAIN)
        assert "--target-person" in str(caught.value)
        swap = open_swap(tmp_path / "run", PLAIN, source="c", target="b", device="cpu")
        assert swap.settings.source == 2

    @pytest.mark.parametrize(
        ("source", "target", "message"),
        [("cem", None, "knows no 'cem'"), ("anna", "anna", "onto themselves"), (None, "anna", "onto themselves")],
    )
    def test_wrong_people(self, trained, source, target, message):
        with pytest.raises(UserError, match=message):
            open_swap(trained, PLAIN, source=source, target=target)

    def test_a_target_the_model_never_saw(self, trained):
        """The decoder is what matters; anyone can be the target, and is named for the evaluation."""
        swap = open_swap(trained, PLAIN, target="someone", device="cpu")
        assert swap.target == "someone"
        assert swap.settings.target is None
        assert open_swap(trained, PLAIN, target="ben", device="cpu").settings.target == 1

    def test_wrong_device(self, trained):
        with pytest.raises(UserError, match="cannot be used"):
            open_swap(trained, PLAIN, device="cuda:99")


class TestSingleFile:
    def test_signed_and_nothing_else(self, tmp_path, clip, swap):
        counts = fakes.render_file(clip, swap, tmp_path / "deep" / "x.mp4")
        assert counts.frames == counts.swapped == 6
        assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["x.mp4", "x.mp4.credentials.json"]
        found = provenance.verify(tmp_path / "deep" / "x.mp4")
        assert found.state == "valid"
        assert (found.action, found.source_type) == ("c2pa.edited", "compositeWithTrainedAlgorithmicMedia")
        assert [item.title for item in found.ingredients] == ["ben.mp4"]
        facts = found.facts["facts"]
        assert facts["source"] == {"person": "anna"}
        assert facts["target"] == {"person": "ben", "clip": "ben.mp4", "sha256": files.sha256_file(clip)}
        assert facts["model"]["sha256"] == swap.card.sha256
        assert facts["counts"]["frames"] == 6

    def test_whole_clip_with_sound(self, tmp_path, clip, swap):
        whole = replace(swap, settings=replace(swap.settings, frames=None))
        fakes.render_file(clip, whole, tmp_path / "x.mp4")
        assert probe(tmp_path / "x.mp4").frames == 24
        assert clicks(tmp_path / "x.mp4") == pytest.approx(clicks(clip), abs=1e-3)

    def test_compare(self, tmp_path, clip, swap):
        fakes.render_file(clip, swap, tmp_path / "x.mp4", compare=True)
        assert probe(tmp_path / "x.mp4").width == 2 * probe(clip).width
        assert provenance.verify(tmp_path / "x.mp4").source_type == "compositeWithTrainedAlgorithmicMedia"

    def test_an_old_file_is_replaced(self, tmp_path, clip, swap):
        (tmp_path / "x.mp4").write_bytes(b"old")
        fakes.render_file(clip, swap, tmp_path / "x.mp4")
        assert len(list(read_frames(tmp_path / "x.mp4"))) == 6

    def test_never_onto_the_input(self, tmp_path, clip, swap, backend):
        own = shutil.copy(clip, tmp_path / "ben.mp4")
        (tmp_path / "link.mp4").symlink_to(own)
        (tmp_path / "hard.mp4").hardlink_to(own)
        (tmp_path / "folder.mp4").mkdir()
        before = tree(tmp_path)
        for name, message in (
            ("ben", "is the input"),
            ("link", "is the input"),
            ("hard", "is the input"),
            ("folder", "a directory"),
        ):
            with pytest.raises(UserError, match=message):
                fakes.render_file(own, swap, tmp_path / f"{name}.mp4")
        with pytest.raises(UserError, match="is the input"):
            fakes.render_file(own, swap, tmp_path / ".." / tmp_path.name / "ben.mp4")
        assert tree(tmp_path) == before
        assert backend.calls == 0

    @pytest.mark.parametrize("name", ["x.avi", "x", "x.png", "x.mp4.txt"])
    def test_only_mp4(self, tmp_path, clip, swap, backend, name):
        with pytest.raises(UserError, match=r"\.mp4 file"):
            fakes.render_file(clip, swap, tmp_path / name)
        assert backend.calls == 0
        assert list(tmp_path.iterdir()) == []


class TestPair:
    def test_fake_real_and_entry(self, tmp_path, clip, swap):
        name, counts = fakes.render_pair(clip, swap, tmp_path / "out")
        assert name == "anna_onto_ben_0-6"
        assert sorted(tree(tmp_path / "out")) == [
            "fakes/anna_onto_ben_0-6.mp4", "fakes/anna_onto_ben_0-6.mp4.credentials.json", "manifest.json",
            "masks/anna_onto_ben_0-6.zip",
            "reals/anna_onto_ben_0-6.mp4", "reals/anna_onto_ben_0-6.mp4.credentials.json",
        ]  # fmt: skip
        assert not leftovers(tmp_path)
        fake, real = (tmp_path / "out" / kind / f"{name}.mp4" for kind in ("fakes", "reals"))
        for ours, theirs, original in zip(read_frames(fake), read_frames(real), read_frames(clip), strict=False):
            assert ours.pts == theirs.pts
            assert difference(theirs.image, original.image) < 2.5 < difference(ours.image, theirs.image)
        assert provenance.verify(real).source_type is None
        assert provenance.verify(real).action == "c2pa.transcoded"
        for path in (fake, real):
            found = provenance.verify(path)
            assert found.state == "valid"
            assert found.title == path.name
            assert [item.title for item in found.ingredients] == ["ben.mp4"]
        assert counts.frames == 6

    def test_the_manifest_as_docs_formats_describes_it(self, tmp_path, clip, swap, trained):
        fakes.render_pair(clip, swap, tmp_path)
        value = json.loads((tmp_path / "manifest.json").read_text())
        assert (value["format"], value["version"]) == (FORMAT, VERSION) == ("faceswap-hq manifest", 1)
        assert isinstance(value["toolkit"], str)
        (entry,) = value["entries"]
        assert entry["id"] == "anna_onto_ben_0-6"
        assert entry["frames"] == [0, 6]
        assert entry["source"] == {"person": "anna"}
        assert entry["target"] == {"person": "ben", "clip": "ben.mp4", "sha256": files.sha256_file(clip)}
        assert entry["counts"] == {"frames": 6, "with_face": 6, "swapped": 6, "passed": 0, "people": 1, "damaged": 0}
        assert entry["model"] == {
            "run": "anna-ben",
            "sha256": files.sha256_file(trained / "model.safetensors"),
            "step": 4,
        }
        assert settings_from_dict(entry["blending"]) == NONE
        for kind in ("fake", "real"):
            assert entry[kind] == f"{kind}s/{entry['id']}.mp4"
            assert entry["sha256"][kind] == files.sha256_file(tmp_path / entry[kind])

    def test_again_replaces_and_another_is_added(self, tmp_path, clip, swap):
        fakes.render_pair(clip, swap, tmp_path)
        first = Manifest(tmp_path).read()
        fakes.render_pair(clip, replace(swap, settings=replace(swap.settings, frames=(6, 9))), tmp_path)
        fakes.render_pair(clip, replace(swap, settings=replace(swap.settings, blend=settings_from_dict({}))), tmp_path)
        entries = {entry["id"]: entry for entry in Manifest(tmp_path).read()}
        assert sorted(entries) == ["anna_onto_ben_0-6", "anna_onto_ben_6-9"]
        assert entries["anna_onto_ben_0-6"]["blending"] != first[0]["blending"]
        for entry in entries.values():
            assert entry["sha256"]["fake"] == files.sha256_file(tmp_path / entry["fake"])

    def test_the_clip_is_named_where_it_is_not_the_person(self, tmp_path, clip, swap):
        other = shutil.copy(clip, tmp_path / "take 2 (b).mp4")
        name, _ = fakes.render_pair(other, swap, tmp_path / "out")
        assert name == "anna_onto_ben_take_2_b_0-6"
        assert (tmp_path / "out" / "fakes" / f"{name}.mp4").exists()

    @pytest.mark.parametrize(
        "content",
        [
            b"", b"{", b"[]", b"\xff\xfe", b'{"format": "faceswap-hq manifest", "version": 1}',
            b'{"format": "another", "version": 1, "entries": []}',
            b'{"format": "faceswap-hq manifest", "version": "x", "entries": []}',
            b'{"format": "faceswap-hq manifest", "version": 1, "entries": [1]}',
            b'{"format": "faceswap-hq manifest", "version": 2, "entries": []}',
            b'{"format": "faceswap-hq manifest", "version": 2, "entries": {"new": "shape"}}',
        ],
    )  # fmt: skip
    def test_a_damaged_manifest_is_never_written_over(self, tmp_path, clip, swap, backend, content):
        (tmp_path / "manifest.json").write_bytes(content)
        with pytest.raises(UserError, match=r"manifest\.json"):
            fakes.render_pair(clip, swap, tmp_path)
        assert tree(tmp_path) == {"manifest.json": content}
        assert backend.calls == 0  # before the work, not after
        with pytest.raises(UserError, match=r"manifest\.json"):
            Manifest(tmp_path).put({"id": "x"})
        assert tree(tmp_path) == {"manifest.json": content}

    def test_never_onto_the_input(self, tmp_path, clip, swap):
        (tmp_path / "reals").mkdir()
        (tmp_path / "reals" / "anna_onto_ben_0-6.mp4").symlink_to(clip)
        with pytest.raises(UserError, match="is the input itself"):
            fakes.render_pair(clip, swap, tmp_path)
        assert list(tree(tmp_path)) == ["reals/anna_onto_ben_0-6.mp4"]

    @pytest.mark.parametrize("moment", ["encoding", "signing the fake", "signing the real"])
    @pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
    def test_an_interruption_leaves_what_was(self, tmp_path, clip, swap, monkeypatch, moment, failure):
        """Neither half a pair nor an entry without files; a pair from before stays."""
        fakes.render_pair(clip, swap, tmp_path)
        before = tree(tmp_path)
        real_sign, real_write = provenance.sign_video, render.media.VideoWriter.write

        def sign(unsigned, final, **options):
            if moment == f"signing the {'fake' if options['claim'].source_type else 'real'}":
                raise failure
            return real_sign(unsigned, final, **options)

        def write(self, image, pts):
            if moment == "encoding" and pts > 1000:
                raise failure
            real_write(self, image, pts)

        monkeypatch.setattr(provenance, "sign_video", sign)
        monkeypatch.setattr(render.media.VideoWriter, "write", write)
        with pytest.raises(type(failure)):
            fakes.render_pair(clip, swap, tmp_path)
        assert tree(tmp_path) == before
        assert not leftovers(tmp_path)


class TestControl:
    def test_the_own_face_put_back(self, tmp_path, clip, swap):
        name, _ = fakes.render_pair(clip, swap, tmp_path, control=True)
        fake, real, own = (tmp_path / kind / f"{name}.mp4" for kind in ("fakes", "reals", "controls"))
        (entry,) = Manifest(tmp_path).read()
        assert entry["control"] == f"controls/{name}.mp4"
        assert entry["sha256"]["control"] == files.sha256_file(own)
        frames = list(zip(read_frames(fake), read_frames(real), read_frames(own), strict=True))
        assert len(frames) == 6
        for swapped, untouched, back in frames:
            changed = np.abs(swapped.image.astype(float) - untouched.image).max(axis=2) > 20
            assert changed.mean() > 0.02
            near = np.abs(back.image.astype(float) - untouched.image)
            assert near[changed].mean() < 0.4 * np.abs(swapped.image.astype(float) - untouched.image)[changed].mean()
            assert near.max() > 0  # warped there and back, it is not the very same
        found = provenance.verify(own)
        assert (found.state, found.action, found.source_type) == ("valid", "c2pa.edited", "algorithmicallyEnhanced")
        assert "own face" in found.facts["facts"]["note"]
        assert not leftovers(tmp_path)

    def test_an_interruption_leaves_nothing(self, tmp_path, clip, swap, monkeypatch):
        def refuse(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(fakes, "_sign_control", refuse)
        with pytest.raises(OSError, match="No space"):
            fakes.render_pair(clip, swap, tmp_path, control=True)
        assert tree(tmp_path) == {}


class TestPreview:
    def test_one_frame_side_by_side(self, tmp_path, clip, swap, shots):
        fakes.render_preview(clip, swap, 11, tmp_path / "p.png")
        picture = cv2.imread(str(tmp_path / "p.png"))[..., ::-1]
        assert picture.shape == (192, 384, 3)
        original = next(read_frames(clip, indices=[11])).image
        np.testing.assert_array_equal(picture[:, :192], original)
        low, high = shots[1].landmarks[11][:, :2].min(0).astype(int), shots[1].landmarks[11][:, :2].max(0).astype(int)
        changed = np.abs(picture[:, 192:].astype(int) - original).max(2) > 8
        assert changed[low[1] : high[1], low[0] : high[0]].mean() > 0.3
        found = provenance.verify(tmp_path / "p.png")
        assert (found.state, found.source_type) == ("valid", "compositeWithTrainedAlgorithmicMedia")
        assert found.facts["facts"]["frames"] == {"start": 11, "stop": 12}
        assert not leftovers(tmp_path)

    def test_no_such_frame(self, tmp_path, clip, swap):
        with pytest.raises(UserError, match="no frame in the range"):
            fakes.render_preview(clip, swap, 24, tmp_path / "p.png")
        assert list(tmp_path.iterdir()) == []

    def test_only_png(self, tmp_path, clip, swap, backend):
        for name in ("p.jpg", "p.mp4", "p"):
            with pytest.raises(UserError, match=r"\.png file"):
                fakes.render_preview(clip, swap, 3, tmp_path / name)
        with pytest.raises(UserError, match="is the input itself"):
            fakes.render_preview(clip, swap, 3, clip)
        assert backend.calls == 0


class TestManifest:
    def test_an_empty_folder_has_none(self, tmp_path):
        assert Manifest(tmp_path / "nowhere").read() == []
        assert list(tmp_path.iterdir()) == []

    def test_writers_at_the_same_time(self, tmp_path):
        """No entry is lost, and each id is there once."""
        threads = [
            threading.Thread(
                target=lambda i=i: [Manifest(tmp_path).put({"id": f"{i}-{k % 3}", "k": k}) for k in range(6)]
            )
            for i in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        entries = Manifest(tmp_path).read()
        assert sorted(entry["id"] for entry in entries) == sorted(f"{i}-{k}" for i in range(4) for k in range(3))
        assert {entry["k"] for entry in entries} == {3, 4, 5}


def test_a_clip_that_was_swapped_before_keeps_its_history(tmp_path, clip, swap):
    """The swap of a swap names the signed file it was made from."""
    fakes.render_file(clip, swap, tmp_path / "once.mp4")
    fakes.render_file(tmp_path / "once.mp4", swap, tmp_path / "twice.mp4")
    (parent,) = provenance.verify(tmp_path / "twice.mp4").ingredients
    assert (parent.title, parent.signed) == ("once.mp4", True)


def test_unreadable_endings_do_not_matter(tmp_path, shots, swap):
    """The target may be any video; its parent is known by its hash where its type carries no credentials."""
    clip = write_clip(tmp_path / "ben.mkv", shots[1].images[:6])
    fakes.render_file(clip, swap, tmp_path / "x.mp4")
    found = provenance.verify(tmp_path / "x.mp4")
    assert found.state == "valid"
    assert found.facts["parent"]["sha256"] == files.sha256_file(clip)
