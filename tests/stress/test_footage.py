from __future__ import annotations

import dataclasses
import gc
import weakref

import cv2
import numpy as np
import pytest

from faceswap_hq.errors import UserError
from faceswap_hq.faces import landmarks
from stress.api import FaceCrop
from stress.data.footage import Footage, clips_of, excluded_of
from stress.data.layouts import read_clips
from stress.experiment import ExperimentSettings, run
from stress.gather import gather
from stress.matrix import parse_dataset, run_matrix
from stress.report.gallery import gallery
from tests.stress.standin import Card, StandIn, quiet
from tests.stress.synthetic import WholePicture

PEOPLE = 8
QUICK = ExperimentSettings(resamples=100, finetune=False)


@dataclasses.dataclass(frozen=True)
class CutCard(Card):
    input_size: int = 24
    crop_margin: float = 1.0
    alignment: str = "box"


@pytest.fixture
def backend(monkeypatch, tmp_path):
    monkeypatch.setenv("FACESWAP_HQ_HOME", str(tmp_path / "home"))
    found = WholePicture()
    monkeypatch.setattr(landmarks, "open_backend", lambda *_, **__: found)
    return found


@pytest.fixture
def pictures(tmp_path):
    """Fakes and reals of eight people, a picture each; the last fake is dark."""
    rng = np.random.default_rng(0)
    for label, kind in enumerate(("real", "fake")):
        (tmp_path / kind).mkdir()
        for person in range(PEOPLE):
            dark = label and person == PEOPLE - 1
            image = np.zeros((24, 24, 3), np.uint8) if dark else rng.integers(60, 200, (24, 24, 3), np.uint8)
            cv2.imwrite(str(tmp_path / kind / f"p{person}.png"), image)
    return tmp_path


def test_a_clip_is_scored_before_the_others_are_cut_and_let_go_afterwards(backend, pictures):
    looked, alive = [], []

    class Watching(StandIn):
        def fake_probability(self, images):
            looked.append(backend.calls)
            alive.append(sum(reference() is not None for reference in seen))
            seen.append(weakref.ref(images))
            return super().fake_probability(images)

    seen: list[weakref.ref] = []
    fakes, reals = (Footage(read_clips(pictures / kind, label), CutCard(), workers=1) for label, kind in
                    ((1, "fake"), (0, "real")))  # fmt: skip
    assert backend.calls == 0
    outcome = run(Watching(card=CutCard()), fakes, reals, settings=QUICK, progress=quiet)
    assert looked[0] <= 3  # of 16: two a worker, and the one it works on
    assert max(alive) <= 1
    gc.collect()
    assert not any(reference() is not None for reference in seen)
    assert outcome.results["conditions"]["before"]["n"]["all"]["clips"] == 2 * PEOPLE - 1
    assert [row["clip"] for row in outcome.results["excluded"]] == [f"p{PEOPLE - 1}"]
    calls = backend.calls
    shown = gallery(outcome.results, outcome.scores, [*fakes, *reals])
    assert len(shown["items"]) == PEOPLE - 1
    assert backend.calls == calls  # read from the cache


@pytest.mark.parametrize("keep", [True, False])
def test_every_pass_gives_the_same_faces_in_the_same_order(backend, pictures, keep):
    clips, told = read_clips(pictures / "fake", 1), []
    footage = Footage(clips, FaceCrop(input_size=24), keep=keep, warn=told.append)
    assert (len(footage), excluded_of(footage)) == (PEOPLE, [])
    for _ in footage:  # left before its end
        break
    first = [(item.clip, item.images.copy(), item.landmarks.copy()) for item in footage]
    assert len(footage) == len(first) == PEOPLE - 1
    assert [item.clip for item in excluded_of(footage, [])] == clips[-1:]
    assert len(told) == 1
    assert "no face" in told[0]
    for item, (clip, images, points) in zip(footage, first, strict=True):
        assert item.clip == clip
        np.testing.assert_array_equal(item.images, images)
        np.testing.assert_array_equal(item.landmarks, points)
    assert clips_of(footage) == clips
    assert clips_of(list(footage)) == clips[:-1]
    assert len(told) == 1


def test_faces_that_are_gone_when_they_are_asked_for_again_are_said_to_be(backend, pictures):
    footage = Footage(read_clips(pictures / "real", 0), FaceCrop(input_size=24))
    item = next(item for item in [*footage])
    kept = next(iter(footage))
    assert kept.clip == item.clip
    kept.clip.path.unlink()
    with pytest.raises(UserError, match="p0"):
        _ = kept.images


def test_a_cell_that_is_done_is_not_even_cut(backend, pictures, tmp_path):
    (pictures / "all").mkdir()
    for kind in ("fake", "real"):
        (pictures / kind).rename(pictures / "all" / kind)
    detectors = {"a": lambda: StandIn(card=CutCard())}
    sets = [parse_dataset(str(pictures / "all"))]
    first = run_matrix(detectors, sets, tmp_path / "out", QUICK)
    assert "failed" not in first["cells"][0]
    calls = backend.calls
    assert calls >= 2 * PEOPLE
    for stored in (tmp_path / "home").rglob("*.npz"):
        stored.unlink()
    assert run_matrix(detectors, sets, tmp_path / "out", QUICK)["cells"] == first["cells"]
    assert backend.calls == calls
    image = np.full((24, 24, 3), 77, np.uint8)
    cv2.imwrite(str(pictures / "all" / "fake" / "p0.png"), image)  # other content under the old name
    assert run_matrix(detectors, sets, tmp_path / "out", QUICK)["cells"] != first["cells"]
    assert backend.calls > calls
    again = backend.calls
    for frames in (16, 3):
        run_matrix(detectors, sets, tmp_path / "out", QUICK, frames=frames)
    assert backend.calls > again


def test_a_detector_that_is_stopped_at_the_gate_has_cost_no_more_than_its_own_data(backend, pictures):
    base = [Footage(read_clips(pictures / kind, label), CutCard()) for label, kind in ((0, "fake"), (1, "real"))]
    own = [item for footage in base for item in footage]
    calls = backend.calls
    fakes, reals = (Footage(read_clips(pictures / "real", label), CutCard(crop_margin=1.5)) for label in (1, 0))
    detector = StandIn(card=CutCard(base_metrics={"video_auc": 1.0}))
    with pytest.raises(UserError, match="stopped at the gate"):
        run(detector, fakes, reals, own, QUICK, progress=quiet)
    assert backend.calls == calls


def test_what_is_trained_on_is_kept(backend, pictures):
    fakes, reals = (Footage(read_clips(pictures / "real", label), CutCard()) for label in (1, 0))
    with pytest.raises(ValueError, match="keep=True"):
        run(StandIn(card=CutCard()), fakes, reals, settings=dataclasses.replace(QUICK, finetune=True), progress=quiet)
    assert backend.calls == 0


def test_gathering_reads_folders_and_cuts_nothing(backend, pictures):
    found = gather(CutCard(), pictures / "fake", pictures / "real", frames=4, keep=False, warn=lambda text: None)
    assert backend.calls == 0
    assert (len(found.fakes), len(found.reals), len(found.base), len(found.controls)) == (PEOPLE, PEOPLE, 0, 0)
