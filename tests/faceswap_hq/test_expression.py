"""Expression in numbers: free of pose, place, size and person; mirrored faces give mirrored numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceswap_hq.faces import alignment, expression
from faceswap_hq.faces.expression import COUNT, NAMES, POSE, Calibration, measured, meeting_point
from tests.faceswap_hq.helpers import generic_face, turned

OPEN = NAMES.index("lips apart")
GAZE = NAMES.index("left gaze x")
ANGLES = st.floats(-20, 20)


def head(
    x: float, y: float, height: float, rotation: np.ndarray | None = None, points: int = 478
) -> np.ndarray:
    """Landmarks float32 (points, 3) of the generic face, turned."""
    turn = np.eye(3) if rotation is None else rotation
    return (generic_face(points) * height @ turn.T + (x, y, 0)).astype(np.float32)


def moved(face: np.ndarray, points: list[int], x: float = 0.0, y: float = 0.0) -> np.ndarray:
    out = face.copy()
    out[points, :2] += (x, y)
    return out


class TestMeasured:
    @given(ANGLES, ANGLES, ANGLES, st.floats(60, 400))
    @settings(max_examples=30, deadline=None, derandomize=True)
    def test_pose_place_and_size_do_not_matter(self, yaw, pitch, roll, height):
        straight = measured(head(200, 200, 200))
        other = measured(head(500, 300, height, rotation=turned(yaw, pitch, roll)))
        np.testing.assert_allclose(other[:POSE], (yaw, pitch), atol=7)
        np.testing.assert_allclose(other[POSE:], straight[POSE:], atol=0.15)

    @pytest.mark.parametrize("points", [478, 68])
    def test_an_open_mouth_and_little_else(self, points):
        face = head(200, 200, 200, points=points)
        lower = [57, 66] if points == 68 else [14, 17]
        change = measured(moved(face, lower, y=20)) - measured(face)
        named = dict(zip(NAMES, change, strict=True))
        assert named["lips apart"] > 1
        assert named["mouth height"] > 1
        still = [name for name in NAMES if any(part in name for part in ("eye", "brow", "gaze", "yaw", "pitch"))]
        assert max(abs(named[name]) for name in still) < 0.01

    def test_gaze_and_brows(self):
        face = head(200, 200, 200)
        left = measured(moved(face, [468, 473], x=4)) - measured(face)
        assert left[NAMES.index("right gaze x")] == pytest.approx(left[GAZE], abs=1e-4)
        assert left[GAZE] > 0.1
        raised = measured(moved(face, [107, 55], y=-5)) - measured(face)
        assert raised[NAMES.index("right inner brow")] < -0.2
        assert np.abs(np.delete(raised, NAMES.index("right inner brow"))).max() < 1e-3

    @pytest.mark.parametrize("points", [478, 68])
    def test_a_mirrored_face(self, points):
        """The numbers of the mirrored face are those that the table of mirror images says."""
        face = head(200, 200, 200, rotation=turned(15, 10, 0), points=points).astype(np.float64)
        rng = np.random.default_rng(0)
        face[:, :2] += rng.normal(0, 1.5, (len(face), 2))
        values = measured(face)
        mirrored = face * (-1, 1, 1) + (640, 0, 0)
        # The mirror image of each point has another number: pair them by where they lie on the symmetric face.
        straight = head(0, 0, 200, points=points).astype(np.float64)
        squares = ((straight[:, None, :2] - straight[None, :, :2] * (-1, 1)) ** 2).sum(-1)
        order = squares.argmin(1)
        got = measured(mirrored[order])
        wanted = values[list(expression.MIRROR_ORDER)] * np.array(expression.MIRROR_SIGN)
        np.testing.assert_allclose(got, wanted, atol=0.12)
        assert np.abs(values - wanted).max() > 0.3

    def test_mirroring_twice_changes_nothing(self):
        order, sign = np.array(expression.MIRROR_ORDER), np.array(expression.MIRROR_SIGN)
        np.testing.assert_array_equal(order[order], np.arange(COUNT))
        np.testing.assert_array_equal(sign[order] * sign, 1)


class TestCalibration:
    def test_two_people_doing_the_same_give_the_same_numbers(self):
        """Another face, another resting mouth, twice the swing: the same calibrated numbers."""
        rng = np.random.default_rng(0)
        does = rng.normal(size=(400, COUNT))
        pose = rng.uniform(-20, 20, (400, 2))
        anna = 3 + 0.2 * does
        ben = 6 + 0.4 * does
        absolute = [i for i, name in enumerate(NAMES) if "gaze" in name or i in expression.JAW]
        anna[:, absolute] = ben[:, absolute]  # measured in centimetres, not in a person's own swings
        anna[:, :POSE] = ben[:, :POSE] = pose
        np.testing.assert_allclose(Calibration.fit(anna)(anna), Calibration.fit(ben)(ben), atol=0.02)

    def test_open_eyes_rest_whatever_they_do_most(self):
        """Somebody who reads most of the time does not look down when somebody else looks ahead."""
        rng = np.random.default_rng(4)
        eyes = [i for i, name in enumerate(NAMES) if name.endswith("eye")]
        gaze = [i for i, name in enumerate(NAMES) if name.endswith("gaze y")]
        values = rng.normal(0, 0.01, (300, COUNT))
        reading = np.arange(300) < 190
        values[:, eyes] += np.where(reading, 0.5, 1.0)[:, None]
        values[:, gaze] += np.where(reading, 0.15, -0.05)[:, None]
        calibrated = Calibration.fit(values)(values)
        np.testing.assert_allclose(calibrated[~reading][:, [*eyes, *gaze]], 0, atol=0.4)
        assert calibrated[reading][:, eyes].max() < -1
        assert calibrated[reading][:, gaze].min() > 1

    def test_habits_of_moving_are_no_shape(self):
        """Somebody who looks down by tilting the head and the lids: lids are read alike at every tilt."""
        rng = np.random.default_rng(1)
        lids = [i for i, name in enumerate(NAMES) if name.endswith("eye")]
        values = rng.normal(0, 0.02, (600, COUNT))
        values[:, 1] = rng.uniform(-15, 15, 600)
        values[:, lids] += (1 + 0.02 * values[:, 1])[:, None]
        shown = np.zeros((3, COUNT))
        shown[:, 1] = (-15, 0, 15)
        shown[:, lids] = 0.7
        read = Calibration.fit(values)(shown)
        assert np.ptp(read[:, lids], axis=0).max() == 0
        np.testing.assert_allclose(read[:, 1], (-1, 0, 1), rtol=1e-5)

    def test_closed_lips_rest_however_rarely(self):
        """Somebody who talks all the time and somebody who hardly does: closed is 0, a centimetre is a centimetre."""
        rng = np.random.default_rng(5)
        talker, silent = (np.abs(rng.normal(0, 0.02, (400, COUNT))) for _ in range(2))
        talker[80:, OPEN] += 1.5 * rng.random(320)
        silent[380:, OPEN] += 1.0
        for values in (talker, silent):
            shown = np.zeros((2, COUNT))
            shown[:, OPEN] = (0, 1)
            closed, wide = Calibration.fit(values)(shown)[:, OPEN]
            assert closed == pytest.approx(0, abs=0.15)
            assert wide == pytest.approx(1 / 0.75, abs=0.15)

    def test_lips_that_never_close_are_not_taken_for_closed(self):
        values = np.zeros((100, COUNT))
        values[:, OPEN] = np.linspace(1, 2, 100)
        assert Calibration.fit(values)(values)[:, OPEN].min() > 1

    def test_trembling_is_not_blown_up(self):
        values = np.random.default_rng(2).normal(1, 0.001, (100, COUNT)).astype(np.float32)
        values[:, OPEN] -= 1
        assert np.abs(Calibration.fit(values)(values)[:, POSE:]).max() < 0.2

    def test_one_face_rests(self):
        values = measured(head(200, 200, 200, rotation=turned(20, 0, 0)))[None]
        calibrated = Calibration.fit(values)(values)
        assert np.isfinite(calibrated).all()
        np.testing.assert_allclose(calibrated[0, POSE:], 0, atol=1e-5)

    def test_limits(self):
        values = np.random.default_rng(3).normal(0, 1, (100, COUNT))
        habits = Calibration.fit(values)
        assert np.abs(habits(values * 100)).max() == 4


class TestJawReach:
    def test_only_the_jaw_and_only_less(self):
        rng = np.random.default_rng(0)
        wide, narrow = rng.random((2, 200, COUNT)) * np.array([[[4.0]], [[1.0]]])
        factors = expression.jaw_reach(wide, narrow)
        np.testing.assert_array_equal(np.delete(factors, expression.JAW), 1)
        np.testing.assert_allclose(factors[list(expression.JAW)], 0.5, atol=0.03)
        np.testing.assert_array_equal(expression.jaw_reach(narrow, wide), 1)

    def test_a_source_that_never_speaks(self):
        rng = np.random.default_rng(0)
        factors = expression.jaw_reach(rng.random((50, COUNT)), np.zeros((50, COUNT)))
        assert factors.min() == pytest.approx(0.1**0.5)


class TestMixture:
    def test_shares(self):
        rng = np.random.default_rng(0)
        known, wanted = rng.normal(size=(2, 60, COUNT))
        shares = expression.mixture(wanted, known)
        assert shares.shape == (60, 60)
        assert shares.min() >= 0
        np.testing.assert_allclose(shares.sum(1), 1, atol=1e-5)

    def test_better_than_any_one_face(self):
        """No known face comes as near, in what counts, as their mixture does."""
        rng = np.random.default_rng(1)
        known, wanted = rng.normal(size=(200, COUNT)), rng.normal(0, 0.4, (30, COUNT))
        scale = np.array(expression.IMPORTANCE)
        missed = np.linalg.norm((expression.mixture(wanted, known) @ known - wanted) * scale, axis=1)
        alone = np.linalg.norm((known[None] - wanted[:, None]) * scale, axis=2).min(1)
        assert (missed < alone).all()

    def test_small_changes_change_little(self):
        rng = np.random.default_rng(2)
        known, wanted = rng.normal(size=(200, COUNT)), rng.normal(0, 1, (30, COUNT))
        first, second = (expression.mixture(x, known) @ known for x in (wanted, wanted + 1e-3))
        assert np.abs(first - second).max() < 0.05


class TestMeetingPoint:
    def test_people_who_meet_stay(self):
        poses = np.random.default_rng(0).normal(0, 0.5, (200, 2))
        np.testing.assert_allclose(meeting_point(poses, poses), 0, atol=0.11)

    def test_the_way_to_what_was_seen(self):
        rng = np.random.default_rng(0)
        known, poses = rng.normal((0.5, -1.2), 0.2, (200, 2)), rng.normal(0, 0.2, (200, 2))
        turn = meeting_point(poses, known)
        assert np.linalg.norm(poses.mean(0) + turn - known.mean(0)) < np.linalg.norm(poses.mean(0) - known.mean(0)) / 2
        assert turn @ (0.5, -1.2) > 0

    def test_the_nearer_of_two_places(self):
        rng = np.random.default_rng(0)
        known = np.concatenate([rng.normal((1.0, 0), 0.2, (100, 2)), rng.normal((-1.8, 0), 0.2, (100, 2))])
        assert meeting_point(rng.normal(0, 0.1, (50, 2)), known)[0] > 0.5


def test_the_frontal_face_is_in_centimetres():
    face = head(300, 200, 150, rotation=turned(20, -15, 30))
    front = alignment.frontal(face)
    assert front.shape == (478, 2)
    assert np.linalg.norm(front[33] - front[263]) == pytest.approx(8.9, abs=0.5)
    assert front[152, 1] > front[10, 1]
