"""Faces in memory, and batches that depend on nothing but seed and step."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faceswap_hq.errors import UserError
from faceswap_hq.faces import expression, regions
from faceswap_hq.training.augmentation import central
from faceswap_hq.training.data import MARGIN, PersonData, batch_indices, generator, load_person, sampling_weights
from tests.faceswap_hq.helpers import NOSE_TIP, write_faceset


class TestBatches:
    @given(st.integers(1, 40), st.integers(1, 16), st.integers(0, 9), st.integers(0, 3))
    @settings(max_examples=40, deadline=None)
    def test_each_epoch_is_a_permutation(self, count, batch, seed, person):
        """No face twice before all were there once, whatever the batch; no remainder is left out."""
        steps = 3 * count // batch + 1
        drawn = torch.cat([batch_indices(np.ones(count), batch, step, seed, person) for step in range(steps)])
        assert drawn.dtype == torch.int64
        for start in range(0, len(drawn) - count + 1, count):
            assert sorted(drawn[start : start + count].tolist()) == list(range(count))

    def test_weights_are_how_often_a_face_is_shown(self):
        weights = np.array([0.25, 0.25, 0.5, 1.0, 3.0])
        drawn = torch.cat([batch_indices(weights, 5, step, 0, 0) for step in range(400)])
        counts = np.bincount(drawn.numpy(), minlength=5) / 400
        np.testing.assert_allclose(counts, weights, atol=0.08)
        for epoch in drawn.reshape(400, 5).tolist():
            assert [epoch.count(face) for face in (3, 4)] == [1, 3]
            assert epoch.count(2) in (0, 1)

    def test_no_history(self):
        forwards = [batch_indices(np.ones(20), 3, step, 1, 0).tolist() for step in range(30)]
        torch.rand(100)
        backwards = [batch_indices(np.ones(20), 3, step, 1, 0).tolist() for step in reversed(range(30))]
        assert forwards == backwards[::-1]

    def test_seeds_people_and_epochs_differ(self):
        def epoch(seed: int, person: int, number: int) -> list[int]:
            return batch_indices(np.ones(50), 50, number, seed, person).tolist()

        orders = [epoch(*key) for key in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))]
        assert all(a != b for i, a in enumerate(orders) for b in orders[:i])

    def test_generators(self):
        assert torch.equal(torch.rand(5, generator=generator(1, 2)), torch.rand(5, generator=generator(1, 2)))
        values = {
            float(torch.rand(1, generator=generator(*key)))
            for key in ((1, 2), (2, 1), (1,), (1, 2, 0), (0,), (2**40, 3))
        }
        assert len(values) >= 5  # (1, 2) and (1, 2, 0) may agree: trailing zeros add no entropy


class TestSamplingWeights:
    @staticmethod
    def person(poses: np.ndarray) -> PersonData:
        measures = np.zeros((len(poses), expression.COUNT), np.float32)
        measures[:, : expression.POSE] = poses
        empty = torch.zeros(len(poses), 1)
        habits = expression.Calibration.fit(measures)
        return PersonData(
            name="x", images=empty, weights=empty, measures=torch.from_numpy(measures), calibration=habits
        )  # fmt: skip

    def test_more_of_what_will_be_asked_for(self):
        rng = np.random.default_rng(0)
        anna = self.person(np.concatenate([rng.normal(0, 0.2, (50, 2)), rng.normal(1.5, 0.2, (150, 2))]))
        ben = self.person(rng.normal(0, 0.2, (80, 2)))
        ours, theirs = sampling_weights([anna, ben], 3.0)
        assert ours.mean() == pytest.approx(1)
        assert ours[:50].mean() > 2 * ours[50:].mean()
        assert ours.max() / ours.min() <= 9.1
        assert theirs.mean() == pytest.approx(1)

    def test_all_alike(self):
        rng = np.random.default_rng(0)
        for weights in sampling_weights([self.person(rng.normal(at, 0.3, (40, 2))) for at in (0, 1)], 1.0):
            np.testing.assert_allclose(weights, 1)

    def test_alone(self):
        (only,) = sampling_weights([self.person(np.zeros((5, 2)))], 3.0)
        np.testing.assert_array_equal(only, 1)


class TestLoading:
    def test_shapes_and_content(self, tmp_path):
        faceset = write_faceset(tmp_path / "anna.faceset", size=128)
        data = load_person(faceset, 64, 0.74)
        side = round(64 * MARGIN)
        assert data.name == "anna"
        assert data.images.shape == (6, 3, side, side)
        assert data.weights.shape == (6, 3, side, side)
        assert data.images.dtype == data.weights.dtype == torch.uint8
        # The middle of the crop, 0.74 of its side, is what the model sees.
        edge = round(128 * (1 - 0.74) / 2)
        crop = faceset.image(faceset.rows[2])[edge : 128 - edge, edge : 128 - edge]
        expected = cv2.resize(crop, (64, 64), interpolation=cv2.INTER_AREA)
        seen = central(data.images[2:3], 64)[0].permute(1, 2, 0).numpy() * 255
        assert np.abs(seen - expected).mean() < 12
        assert np.corrcoef(seen.ravel(), expected.ravel())[0, 1] > 0.95

    def test_areas_lie_on_the_face(self, tmp_path):
        faceset = write_faceset(tmp_path / "anna.faceset", size=128)
        data = load_person(faceset, 64, 0.74)
        row = faceset.rows[3]
        scale = 80 / (128 * 0.74 * MARGIN)
        points = (row.landmarks_crop - 64) * scale + 40
        face, eyes, mouth = data.weights[3].numpy()
        details = np.maximum(eyes, mouth)
        inner = regions.fill([points[list(regions.FACE_OVAL)]], 80) > 0
        assert (face[inner] > 100).all()
        assert face[[0, 0, -1, -1], [0, -1, 0, -1]].max() == 0
        assert 0.2 < (face > 127).mean() < 0.8
        for index in (159, 386, 13, 14):
            x, y = points[index].round().astype(int)
            assert (mouth if index in (13, 14) else eyes)[y, x] > 150
            assert (eyes if index in (13, 14) else mouth)[y, x] == 0
        x, y = points[NOSE_TIP].round().astype(int)
        assert details[y, x] < 60
        assert (details > 0).mean() < 0.5 * (face > 0).mean()

    def test_68_points(self, tmp_path):
        data = load_person(write_faceset(tmp_path / "anna.faceset", points=68), 64, 0.74)
        assert data.weights[0, 0].max() == 255
        assert data.weights[0, 1].max() == 255
        assert data.weights[0, 2].max() == 255

    def test_a_limit_takes_faces_evenly(self, tmp_path):
        faceset = write_faceset(tmp_path / "anna.faceset", count=9)
        whole, part = load_person(faceset, 32, 0.74), load_person(faceset, 32, 0.74, limit=3)
        assert torch.equal(part.images, whole.images[[0, 4, 8]])

    def test_one_face(self, tmp_path):
        assert len(load_person(write_faceset(tmp_path / "anna.faceset", count=1), 32, 0.74).images) == 1

    def test_a_damaged_picture_is_named(self, tmp_path):
        faceset = write_faceset(tmp_path / "anna.faceset")
        (faceset.path / faceset.rows[4].file).write_bytes(b"damaged")
        with pytest.raises(UserError, match=r"000004\.jpg"):
            load_person(faceset, 32, 0.74)
