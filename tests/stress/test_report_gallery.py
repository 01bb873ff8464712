from __future__ import annotations

import base64
import copy
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from stress.report.gallery import gallery
from stress.report.strips import BAND, SIDE, mark, strip
from tests.stress.complete import experiment


def pixels(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))), float)


@pytest.fixture(scope="module")
def made():
    outcome, faces = experiment()
    return outcome.results, outcome.scores, faces


def painted(faces, level: int = 128):
    """The same clips in one grey."""
    return [replace(item, images=np.full((len(item.frames), 16, 16, 3), level, np.uint8)) for item in faces]


def test_all_fakes_stand_beside_their_reals(made) -> None:
    results, scores, faces = made
    shown = gallery(results, scores, faces)
    fakes = [row for row in results["clips"] if row["label"]]
    assert [item["clip"] for item in shown["items"]] == [
        row["clip"] for row in sorted(fakes, key=lambda row: row["before"])
    ]
    by_clip = {(item.clip.label, item.clip.id): item for item in faces}
    above = slice(0, SIDE - BAND - 2)
    for item in shown["items"]:
        for key, label, clip in (("fake", 1, item["clip"]), ("real", 0, item["matched_real"])):
            images = by_clip[label, clip].images
            assert pixels(item[key]).shape == (SIDE, SIDE * len(images), 3)
            for k, image in enumerate(images):  # every frame is there, in order
                found = pixels(item[key])[above, k * SIDE : (k + 1) * SIDE].mean((0, 1))
                rows = int(64 * (SIDE - BAND - 2) / SIDE)
                assert found == pytest.approx(image[:rows].mean((0, 1)), abs=8)
        real = next(row for row in results["clips"] if not row["label"] and row["clip"] == item["matched_real"])
        assert (item["real_before"], item["real_after"]) == (real["before"], real["after"])
        assert item["difference"] == item["after"] - item["before"]
        assert [shown["people"][i] for i in item["who"]] == item["people"]
    assert (shown["frames"], shown["without"]) == (4, 0)


def test_each_face_of_a_fake_is_marked_in_the_picture_and_no_real_is(made) -> None:
    results, scores, faces = made
    item = gallery(results, scores, painted(faces))["items"][0]
    for level in (0, 128, 255):
        images = np.full((3, 40, 40, 3), level, np.uint8)
        fake, real = (np.asarray(Image.open(io.BytesIO(strip(images, fake=which))), float) for which in (True, False))
        for k in range(3):
            band = fake[-BAND:, k * SIDE : (k + 1) * SIDE]
            assert np.abs(band - mark()).mean() < 6  # the words, through JPEG
        assert np.abs(real - level).max() < 3
    assert mark().mean() > 20  # there are words on it
    assert (mark() > 200).mean() > 0.05
    assert np.abs(pixels(item["fake"])[-BAND:, :SIDE] - mark()).mean() < 6
    assert np.abs(pixels(item["real"]) - 128).max() < 3


def test_the_frame_shown_first_is_the_one_scored_like_the_clip(made) -> None:
    results, scores, faces = made
    assert gallery(results, scores, [])["items"] == []
    item = gallery(results, scores, faces)["items"][0]
    scores = scores.copy()
    mine = (scores["clip"] == item["clip"]) & (scores["label"] == 1) & (scores["phase"] == "before")
    scores.loc[mine, "score"] = [0.0, 1.0, item["before"], 1.0]
    shown = gallery(results, scores, faces)["items"][0]
    assert shown["at"] == 2
    assert shown["frame_scores"] == [0.0, 1.0, item["before"], 1.0]
    one = gallery(results, scores, faces, frames=1)["items"][0]  # also where only one has room
    assert (one["frame_numbers"], one["at"]) == ([2], 0)
    assert pixels(one["fake"]).shape == (SIDE, SIDE, 3)


def test_real_is_shown_at_the_same_moment(made) -> None:
    results, scores, faces = made
    results, scores, faces = copy.deepcopy(results), scores.copy(), painted(faces)
    item = gallery(results, scores, faces)["items"][0]
    place = next(i for i, each in enumerate(faces) if not each.clip.label and each.clip.id == item["matched_real"])
    images = np.full((6, 16, 16, 3), 30, np.uint8)
    images[4] = 220
    faces[place] = replace(faces[place], frames=np.array([-9, -8, -7, 0, 2, 40]), images=images)
    shown = gallery(results, scores, faces)["items"][0]
    means = [pixels(shown["real"])[:, k * SIDE : (k + 1) * SIDE].mean() for k in range(4)]
    assert means == pytest.approx([30, 30, 220, 220], abs=4)  # frames 0, 1 (nearer 0 than 2 by order), 2, 3


def test_the_pictures_keep_to_their_budget(made) -> None:
    results, scores, faces = made

    def size(shown) -> int:
        return sum(len(item["fake"]) + len(item["real"]) for item in shown["items"])

    whole = size(gallery(results, scores, faces))
    fewer = gallery(results, scores, faces, budget=int(0.6 * whole))
    assert 1 <= fewer["frames"] < 4
    assert size(fewer) <= 0.6 * whole
    assert len(fewer["items"]) >= 10
    least = gallery(results, scores, faces, budget=int(0.15 * whole))
    assert least["frames"] == 1
    assert 2 <= len(least["items"]) < 12
    assert least["without"] == 12 - len(least["items"])
    order = [item["clip"] for item in gallery(results, scores, faces)["items"]]
    kept = [item["clip"] for item in least["items"]]
    assert order[0] in kept  # the most missed
    assert order[-1] in kept  # and the most surely detected
    assert gallery(results, scores, faces, budget=10)["items"] == []


def test_long_clips_are_thinned_over_their_length(made) -> None:
    results, scores, faces = made
    first = gallery(results, scores, faces)["items"][0]["clip"]
    place = next(i for i, each in enumerate(faces) if each.clip.label and each.clip.id == first)
    longer = list(faces)
    longer[place] = replace(faces[place], frames=np.arange(0, 400, 10), images=np.repeat(faces[place].images, 10, 0))
    item = gallery(results, scores, longer)["items"][0]
    assert len(item["frame_numbers"]) == 12
    assert item["frame_numbers"] == sorted(item["frame_numbers"])
    assert item["frame_numbers"][0] < 40
    assert item["frame_numbers"][-1] > 350
