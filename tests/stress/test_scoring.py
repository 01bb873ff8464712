from __future__ import annotations

import dataclasses
import types

import cv2
import numpy as np
import pandas as pd
import pytest

import stress
from faceswap_hq.errors import UserError
from faceswap_hq.faces import landmarks
from stress.api import FaceCrop
from stress.data.crops import crop_clips
from stress.detectors import new_detector
from stress.evaluation.metrics import to_videos
from stress.evaluation.scoring import COLUMNS, score, score_videos
from tests.stress.synthetic import clip, crops


def test_one_row_a_frame_with_everything_the_statistics_need(tmp_path):
    data = crops(3, artefact=0, frames=4)
    table = score(lambda images: images.mean((1, 2, 3)) / 255, data)
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 3 * 2 * 4
    fake = table[(table["clip"] == "s0p1") & (table.label == 1)]
    assert fake.frame.tolist() == [0, 7, 14, 21]
    assert set(fake.people) == {"s0p2|s0p1"}
    assert set(fake.source_clip) == {"s0p1"}
    expected = next(c for c in data if c.clip.id == "s0p1" and c.clip.label == 1).images.mean((1, 2, 3)) / 255
    np.testing.assert_array_equal(fake.score, expected)
    table.to_parquet(tmp_path / "scores.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "scores.parquet"), table)


def test_a_detector_scores_as_its_function_does():
    detector = new_detector(device="cpu")
    data = crops(2, artefact=0, size=128, frames=2)
    table = score(detector, data)
    np.testing.assert_allclose(table.score[:2], detector.fake_probability(data[0].images))


def test_no_clips_give_an_empty_table_with_the_columns():
    assert tuple(score(lambda images: images, []).columns) == COLUMNS


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda images: np.zeros((len(images), 2)), r"\(4,\), not \(4, 2\)"),
        (lambda images: np.full(len(images), np.nan), "finite"),
        (lambda images: np.full(len(images), 1.5), "between 0 and 1"),
    ],
)
def test_functions_that_answer_something_else_are_found_out(wrong, message):
    with pytest.raises(ValueError, match=message):
        score(wrong, crops(2, artefact=0, frames=4))


class _BrightFaces:
    """A landmark backend for which every picture that is not dark is one face, edge to edge."""

    def detect(self, image):
        height, width = image.shape[:2]
        return [np.array([[0, 0, 0], [width, height, 0]], np.float32)] if image.mean() > 20 else []

    def close(self):
        pass


@pytest.fixture
def pictures(monkeypatch, tmp_path):
    """Six clips of three pictures: in the third the face is missing in one, in the fifth in all."""
    monkeypatch.setattr(landmarks, "open_backend", lambda *_, **__: _BrightFaces())
    rng = np.random.default_rng(0)
    for label, kind in enumerate(("real", "fake")):
        for person in range(3):
            number = 3 * label + person
            folder = tmp_path / kind / f"p{person}"
            folder.mkdir(parents=True)
            for frame in range(3):
                dark = number == 4 or (number == 2 and frame == 1)
                image = np.zeros((24, 24, 3), np.uint8) if dark else rng.integers(60, 200, (24, 24, 3), np.uint8)
                cv2.imwrite(str(folder / f"{frame}.png"), image)
    return tmp_path


def _listed(folder):
    return [clip(f"p{i}", label, (f"p{i}",), folder / kind / f"p{i}") for label, kind in ((0, "real"), (1, "fake"))
            for i in range(3)]  # fmt: skip


def test_of_several_faces_in_a_frame_the_highest_score_counts_and_a_video_is_the_mean_over_frames():
    data = crops(1, artefact=0, frames=5, size=8)[0]
    several = dataclasses.replace(data, frames=np.array([3, 3, 3, 8, 9]))
    table = score(lambda images: np.array([0.2, 0.9, 0.1, 0.4, 0.5]), [several])
    assert table.frame.tolist() == [3, 8, 9]
    assert table.score.tolist() == [0.9, 0.4, 0.5]
    video = to_videos(table.assign(fold=0, group="fakes"))
    assert video.score.tolist() == [pytest.approx(0.6)]
    assert video.frames.tolist() == [3]


def test_videos_are_scored_by_all_their_large_faces(monkeypatch, tmp_path):
    """Two faces side by side, the right one bright: one person is followed, or the highest score counts."""
    half = np.array([[0, 0, 0], [24, 24, 0]], np.float32)
    sides = types.SimpleNamespace(detect=lambda image: [half, half + np.float32([24, 0, 0])], close=lambda: None)
    monkeypatch.setattr(landmarks, "open_backend", lambda *_, **__: sides)
    picture = np.full((24, 48, 3), 51, np.uint8)
    picture[:, 24:] = 204
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    clips, settings = [clip("a", 1, ("p",), tmp_path / "a.png")], FaceCrop(input_size=24, crop_margin=1.0)
    found = {
        faces: score_videos(lambda images: images.mean((1, 2, 3)) / 255, clips, card=settings, faces=faces).scores
        for faces in ("followed", "large")
    }
    assert found["followed"].score.tolist() == pytest.approx([0.2])
    assert found["large"].score.tolist() == pytest.approx([0.8])


@pytest.mark.parametrize("workers", [1, 3])
def test_scores_from_files_are_those_of_crops_cut_first(pictures, workers):
    def brightness(images):
        return images.mean((1, 2, 3)) / 255

    clips, settings, ticks = _listed(pictures), FaceCrop(input_size=24, crop_margin=1.0), []
    found = score_videos(
        brightness, clips, card=settings, workers=workers, keep=True, progress=lambda: ticks.append(1)
    )
    cut, excluded = crop_clips(clips, settings)
    pd.testing.assert_frame_equal(found.scores, score(brightness, cut))
    assert [item.clip for item in found.crops] == [item.clip for item in cut]
    assert [(item.clip, item.reason) for item in found.excluded] == [(e.clip, e.reason) for e in excluded]
    assert len(ticks) == 6
    stored = score_videos(brightness, clips, card=settings).crops
    for item, kept in zip(stored, cut, strict=True):
        np.testing.assert_array_equal(item.images, kept.images)
    assert not any(isinstance(value, np.ndarray) and value.ndim > 1 for item in stored for value in vars(item).values())
    with pytest.raises(UserError, match="no card"):
        score_videos(brightness, clips)


def test_a_fault_of_the_detector_is_raised_at_once(pictures):
    calls = []

    def broken(images):
        calls.append(1)
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        score_videos(broken, _listed(pictures), card=FaceCrop(input_size=24))
    assert len(calls) == 1


def test_a_clip_without_a_face_is_excluded_and_counted_and_has_no_score(pictures):
    outcome = stress.evaluate(
        lambda images: images.mean((1, 2, 3)) / 255, fakes=pictures, crop=FaceCrop(input_size=24, crop_margin=1.0)
    )
    assert [(row["clip"], row["label"]) for row in outcome.results["excluded"]] == [("p1", 1)]
    assert "no face" in outcome.results["excluded"][0]["reason"]
    assert not ((outcome.scores["clip"] == "p1") & (outcome.scores["label"] == 1)).any()
    assert not (outcome.scores["score"] == 0.5).any()
    n = outcome.results["conditions"]["before"]["n"]
    assert (n["fakes"]["clips"], n["reals"]["clips"]) == (2, 3)
    rows = {(row["clip"], row["label"]): (row["frames"], row["frames_missed"]) for row in outcome.results["clips"]}
    assert rows["p2", 0] == (2, 1)
    assert rows["p0", 0] == (3, 0)
