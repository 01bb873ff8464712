"""Following people, with a backend that is told where the faces are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from faceswap_hq.faces.tracking import MAX_GAP, CutDetector, follow
from tests.faceswap_hq.helpers import Known, face_at, frames_of, paint

SHAPE = (160, 240, 3)


def scene(faces: list[list[tuple[int, np.ndarray]]], backgrounds: list[int] | None = None):
    """Pictures of painted faces ((who, landmarks) a face), and the backend that knows them."""
    images = []
    for number, seen in enumerate(faces):
        image = np.full(SHAPE, 90 if backgrounds is None else backgrounds[number], np.uint8)
        for who, landmarks in seen:
            paint(image, landmarks, who)
        images.append(image)
    return images, Known([[landmarks for _, landmarks in seen] for seen in faces])


def test_one_person():
    faces = [[(1, face_at(60 + i, 80, 70))] for i in range(10)]
    images, backend = scene(faces)
    calls = []
    found = follow(frames_of(images), backend, lambda frame, track, landmarks: calls.append((frame.index, track)))
    assert [len(p.frames) for p in found.people] == [10]
    person = found.people[0]
    assert person.number == 1
    assert person.frames.tolist() == list(range(10))
    np.testing.assert_array_equal(person.landmarks, [seen[0][1] for seen in faces])
    assert person.track_starts.tolist() == [0]
    assert calls == [(i, 0) for i in range(10)]
    assert found.cuts == ()
    assert found.frames_with_face == 10
    np.testing.assert_allclose(found.times, np.arange(10) / 25)
    assert found.frames.tolist() == list(range(10))


def test_nobody():
    images, backend = scene([[]] * 5)
    found = follow(frames_of(images), backend)
    assert found.people == ()
    assert found.frames_with_face == 0
    assert len(found.times) == 5


@pytest.mark.parametrize("swapped_order", [False, True])
def test_two_people_who_pass_each_other_are_not_mixed_up(swapped_order):
    """Whatever order the backend lists them in, each stays on its own way."""
    first = [face_at(40 + 6 * i, 55, 60) for i in range(25)]
    second = [face_at(184 - 6 * i, 105, 60) for i in range(25)]
    faces = [[(1, a), (2, b)] for a, b in zip(first, second, strict=True)]
    if swapped_order:
        faces = [seen[:: 1 if i % 3 else -1] for i, seen in enumerate(faces)]
    found = follow(frames_of(scene(faces)[0]), scene(faces)[1])
    assert len(found.people) == 2
    ways = sorted((person.landmarks for person in found.people), key=lambda w: w[0, :, 1].mean())
    np.testing.assert_array_equal(ways[0], first)
    np.testing.assert_array_equal(ways[1], second)


@pytest.mark.parametrize(("missing", "tracks"), [(1, 1), (MAX_GAP, 1), (MAX_GAP + 1, 2)])
def test_lost_and_found(missing, tracks):
    """A short loss is bridged; after a longer one a new track begins, joined to the same person by looks."""
    seen = [(1, face_at(80, 80, 70))]
    faces = [[seen[0]]] * 10 + [[]] * missing + [[seen[0]]] * 10
    images, backend = scene(faces)
    found = follow(frames_of(images), backend)
    assert len(found.people) == 1
    assert len(found.people[0].track_numbers) == tracks
    assert found.people[0].frames.tolist() == [*range(10), *range(10 + missing, 20 + missing)]
    assert found.people[0].track_starts.tolist() == [0, 10][:tracks]
    assert found.frames_with_face == 20


def test_another_face_in_the_same_place_is_another_person():
    faces = [[(1, face_at(80, 80, 70))]] * 12 + [[]] * (MAX_GAP + 1) + [[(2, face_at(80, 80, 70))]] * 8
    images, backend = scene(faces)
    found = follow(frames_of(images), backend)
    assert [person.frames.tolist() for person in found.people] == [list(range(12)), list(range(21, 29))]
    assert [person.number for person in found.people] == [1, 2]


def test_cut_to_another_person_in_the_same_place():
    """At a cut the backend forgets, and a face in the same place is not the same track."""
    faces = [[(1, face_at(80, 80, 70))]] * 8 + [[(2, face_at(82, 80, 70))]] * 14
    images, backend = scene(faces, [20] * 8 + [230] * 14)
    found = follow(frames_of(images), backend)
    assert found.cuts == (8,)
    assert backend.resets == 1
    assert [person.frames.tolist() for person in found.people] == [list(range(8, 22)), list(range(8))]


def test_cuts_there_and_back_join_the_same_person():
    anna, ben = (1, face_at(80, 80, 70)), (2, face_at(150, 80, 70))
    faces = [[anna]] * 10 + [[ben]] * 8 + [[anna]] * 10
    images, backend = scene(faces, [20] * 10 + [230] * 8 + [20] * 10)
    found = follow(frames_of(images), backend)
    assert found.cuts == (10, 18)
    assert [person.frames.tolist() for person in found.people] == [[*range(10), *range(18, 28)], list(range(10, 18))]
    assert found.people[0].track_starts.tolist() == [0, 10]


def test_people_seen_together_are_never_joined():
    """Twins side by side look alike and are two."""
    faces = [[(1, face_at(60, 80, 70)), (1, face_at(170, 80, 70))]] * 6
    images, backend = scene(faces)
    assert [len(p.frames) for p in follow(frames_of(images), backend).people] == [6, 6]


@pytest.mark.parametrize("step", [5, 10, 30])
def test_every_nth_frame_is_followed_all_the_same(step):
    """Gaps are counted in frames looked at: taking each tenth frame must not cut a track at every one of them."""
    faces = [[(1, face_at(80 + 0.1 * i, 80, 70)), (2, face_at(180, 80, 70))] for i in range(10)]
    images, backend = scene(faces)
    found = follow(frames_of(images, range(0, 10 * step, step)), backend)
    assert [len(person.track_numbers) for person in found.people] == [1, 1]
    assert found.people[0].frames.tolist() == list(range(0, 10 * step, step))


def test_a_range_that_starts_late_is_followed_from_its_first_frame():
    faces = [[(1, face_at(80, 80, 70))]] * 6
    images, backend = scene(faces)
    found = follow(frames_of(images, range(100, 106)), backend)
    assert [len(person.track_numbers) for person in found.people] == [1]
    assert found.people[0].frames.tolist() == list(range(100, 106))


def test_track_starts_where_tracks_interleave():
    """A track may resume after a gap in which another track of the same person was seen elsewhere."""
    here, there = (1, face_at(70, 80, 70)), (1, face_at(180, 80, 70))
    faces = [[here]] * 8 + [[there]] * 4 + [[here]] * 8
    images, backend = scene(faces)
    found = follow(frames_of(images), backend)
    assert len(found.people) == 1
    person = found.people[0]
    assert person.frames.tolist() == list(range(20))
    middles = person.landmarks[:, :, 0].mean(1)
    jumps = (np.flatnonzero(np.abs(np.diff(middles)) > 50) + 1).tolist()
    assert jumps == [8, 12]
    assert person.track_starts.tolist() == [0, 8, 12]


class TestCutDetector:
    def pictures(self, seed: int, count: int, noise: float = 3.0) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        still = rng.integers(0, 256, (6, 8, 3)).repeat(20, 0).repeat(20, 1)
        return [np.clip(still + rng.normal(0, noise, still.shape), 0, 255).astype(np.uint8) for _ in range(count)]

    def cuts(self, images: list[np.ndarray]) -> list[int]:
        detect = CutDetector()
        return [i for i, image in enumerate(images) if detect(image)]

    def test_hard_cuts(self):
        images = self.pictures(1, 12) + self.pictures(2, 9) + self.pictures(1, 5)
        assert self.cuts(images) == [12, 21]

    def test_noise_and_fades_are_no_cuts(self):
        assert self.cuts(self.pictures(1, 30, noise=25)) == []
        fade = [(image * (1 - i / 40)).astype(np.uint8) for i, image in enumerate(self.pictures(3, 40))]
        assert self.cuts(fade) == []

    def test_a_violent_pan_is_no_cut_for_long(self):
        """Each frame differs from the one before as at a cut; that is what is usual then."""
        pan = [np.roll(self.pictures(4, 1, 0)[0], 4 * i, axis=1) for i in range(30)]
        assert all(np.abs(a.astype(float) - b).mean() > 18 for a, b in itertools.pairwise(pan))
        assert self.cuts(pan)[3:] == []
        assert self.cuts(pan + self.pictures(5, 12) + self.pictures(6, 12))[-1] == 42

    def test_tiny_pictures(self):
        assert self.cuts([np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)]) == [1]
