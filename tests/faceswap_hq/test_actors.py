"""Virtual actors: what is separate stays separate, what is exact is exact, and a face detector believes them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from faceswap_hq.actors import (
    cast_identities,
    ground_truth_swap,
    make_cast,
    make_identity,
    make_performance,
    make_scene,
    moments,
    plan_cast,
    render,
)
from faceswap_hq.actors.geometry import generic_head, refinement
from faceswap_hq.actors.head import mirror
from faceswap_hq.actors.identity import head_points
from faceswap_hq.actors.performance import Moment
from faceswap_hq.actors.render import cast_of, render_moment
from faceswap_hq.actors.voice import envelope, syllables, synthesize
from faceswap_hq.faces.raster import rasterize
from faceswap_hq.faces.regions import eye_opening, mouth_opening

SCENE = make_scene(3, width=224, height=224)
PERFORMANCE = make_performance(5, seconds=4.0)


@pytest.fixture(scope="module")
def people():
    return cast_identities(0, 10)[3:5]


@pytest.fixture(scope="module")
def mediapipe():
    from faceswap_hq.faces.landmarks import open_backend

    backend = open_backend("mediapipe", max_faces=1, static=True)
    yield backend
    backend.close()


def _rotation(rest, posed):
    """Kabsch: the rotation that best turns ``rest`` into ``posed``."""
    a, b = rest - rest.mean(0), posed - posed.mean(0)
    u, _, vt = np.linalg.svd(b.T @ a)
    return u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt


def test_the_same_seeds_give_the_same_bytes(people):
    first = render(people[0], PERFORMANCE, SCENE, 7)
    cast_of.cache_clear()
    again = render(replace(people[0]), make_performance(5, seconds=4.0), make_scene(3, width=224, height=224), 7)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.landmarks, again.landmarks)
    assert not np.array_equal(first.image, render(people[0], PERFORMANCE, SCENE, 8).image)


def test_identity_changes_neither_pose_nor_camera(people):
    scale = SCENE.scale
    for person in people:
        rest = np.asarray(head_points(person))[[6, 168, 10, 33, 263, 234, 454, 127, 356]]
        for frame in (3, 60):
            found = render(person, PERFORMANCE, SCENE, frame)
            pixels = found.landmarks[[6, 168, 10, 33, 263, 234, 454, 127, 356]] / scale
            turn = _rotation(rest, pixels.astype(np.float64))
            yaw = np.degrees(np.arctan2(-turn[0, 2], turn[0, 0]))  # R = Rz Rx Ry, small roll and pitch
            assert yaw == pytest.approx(found.moment.yaw, abs=6)
            assert found.moment == moments(PERFORMANCE)[frame]


def test_light_and_sensor_do_not_move_the_face(people):
    here = render(people[0], PERFORMANCE, SCENE, 20)
    elsewhere = render(
        people[0], PERFORMANCE, replace(SCENE, seed=99, key_azimuth=50.0, background="bokeh", noise=3.0), 20
    )
    assert np.array_equal(here.landmarks, elsewhere.landmarks)
    assert np.array_equal(here.face_mask > 0.5, elsewhere.face_mask > 0.5)
    assert np.abs(here.image.astype(int) - elsewhere.image).mean() > 5


@pytest.mark.parametrize("which", [0, 1])
def test_mediapipe_finds_the_face_where_it_is(people, mediapipe, which):
    for yaw, pitch, roll in ((-34, 0, 0), (-18, 12, 8), (0, 0, 0), (18, -12, -10), (34, 3, 0)):
        truth = render_moment(cast_of(people[which]), Moment(time=0, yaw=yaw, pitch=pitch, roll=roll, jaw=0.2), SCENE)
        faces = mediapipe.detect(truth.image)
        assert len(faces) == 1, (yaw, pitch, roll)
        away = np.linalg.norm(faces[0][:468, :2] - truth.landmarks[:468, :2], axis=1).mean()
        assert away / SCENE.scale < (0.15 if abs(yaw) > 30 else 0.085), (yaw, pitch, roll)


def test_mouth_and_eyes_are_read_back(people, mediapipe):
    read, true = [], []
    for jaw, blink in ((0, 0), (0.15, 0.9), (0.3, 0.1), (0.5, 0.7), (0.75, 0.3), (1, 1)):
        found = render_moment(cast_of(people[1]), Moment(time=0, yaw=5, jaw=jaw, blink=blink), SCENE)
        (points,) = mediapipe.detect(found.image)
        read.append((mouth_opening(points), eye_opening(points)))
        true.append((mouth_opening(found.landmarks), eye_opening(found.landmarks)))
    read, true = np.array(read), np.array(true)
    assert np.corrcoef(read[:, 0], true[:, 0])[0, 1] > 0.95
    assert np.corrcoef(read[:, 1], true[:, 1])[0, 1] > 0.8


def test_a_ground_truth_swap_is_the_target_outside_its_mask(people):
    source, target = people
    for frame in (0, 55):
        swap = ground_truth_swap(source, target, PERFORMANCE, SCENE, frame)
        plain = render(target, PERFORMANCE, SCENE, frame)
        assert np.array_equal(swap.target.image, plain.image)
        assert np.array_equal(swap.image, swap.swapped.image)  # rendered so, not pasted
        difference = np.abs(swap.image.astype(int) - plain.image).max(axis=2)
        assert difference[swap.changed == 0].max() == 0
        assert difference[swap.changed > 0].mean() > 8
        assert 0.08 < swap.changed.mean() < 0.45
        # inside, the shape is the source's: the eyes lie nearer to the source's own in the same place
        own = render(source, PERFORMANCE, SCENE, frame).landmarks
        eyes = [33, 133, 159, 145, 362, 263, 386, 374]
        to_source = np.linalg.norm(swap.swapped.landmarks[eyes, :2] - own[eyes, :2], axis=1).mean()
        assert to_source < 0.2 * np.linalg.norm(plain.landmarks[eyes, :2] - own[eyes, :2], axis=1).mean() + 0.05


def test_a_cast_is_written_with_sound_and_says_what_it_is(tmp_path, monkeypatch):
    import json

    import av

    from faceswap_hq.files import sha256_file
    from faceswap_hq.media import probe, read_frames
    from faceswap_hq.provenance import verify

    monkeypatch.setenv("FACESWAP_HQ_HOME", str(tmp_path / "home"))
    (clip,) = make_cast(tmp_path / "cast", 1, seconds=1.2, size=96, seed=2)
    info = probe(clip)
    assert (info.width, info.height, info.frames, info.has_audio) == (96, 96, 30, True)
    assert len(list(read_frames(clip))) == 30
    cast = json.loads((tmp_path / "cast" / "cast.json").read_text())
    assert cast["actors"][0]["clips"][0]["sha256"] == sha256_file(clip)
    with av.open(str(clip)) as file:
        sound = np.concatenate([f.to_ndarray().ravel() for f in file.decode(audio=0)])
    assert 1.1 < len(sound) / 16000 < 1.4
    assert sound.std() > 0.01
    proof = verify(clip)
    assert (proof.action, proof.source_type) == ("c2pa.created", "algorithmicMedia")
    said, wrote = proof.facts["facts"]["identity"], cast["actors"][0]["identity"]
    assert said["seed"] == wrote["seed"]
    assert [said["eye_color"][c] for c in ("red", "green", "blue")] == pytest.approx(wrote["eye_color"])


def test_the_mouth_follows_the_voice():
    spoken = syllables(7, 6.0)
    voice = synthesize(7, 6.0, pitch=120.0)
    times = np.arange(150) / 25
    loudness = np.array([voice[int(t * 16000) : int(t * 16000) + 640].std() for t in times])
    assert np.corrcoef(loudness, envelope(spoken, times + 0.02))[0, 1] > 0.7
    jaw = np.array([m.jaw for m in moments(make_performance(7, seconds=6.0, liveliness=0.0))])
    assert np.corrcoef(jaw, envelope(spoken, times))[0, 1] > 0.5
    assert jaw[envelope(spoken, times) == 0].max() < 0.25


def test_performances_stay_within_what_a_person_does():
    for seed in range(6):
        track = moments(make_performance(seed, seconds=12.0, fps=100.0))
        yaw, pitch, roll, blink = (np.array([getattr(m, n) for m in track]) for n in ("yaw", "pitch", "roll", "blink"))
        assert np.abs(yaw).max() <= 35
        assert max(np.abs(pitch).max(), np.abs(roll).max()) <= 20
        closed = np.flatnonzero(np.diff(np.concatenate([[0], blink > 0.05, [0]]).astype(int)))
        lengths = (closed[1::2] - closed[::2]) / 100
        assert 2 <= len(lengths) <= 12
        assert ((lengths > 0.1) & (lengths < 0.75)).all()
    slow = moments(make_performance(3, seconds=4.0, fps=25.0))
    fast = moments(make_performance(3, seconds=4.0, fps=50.0))
    assert fast[40].yaw == pytest.approx(slow[20].yaw)


def test_a_cast_is_varied_and_its_performances_differ():
    members = plan_cast(10, seconds=1.0)
    people = [m.identity for m in members]
    tones = sorted(p.tone for p in people)
    assert tones[0] < 0.35
    assert tones[-1] > 0.8
    assert {p.makeup > 0 for p in people} == {True, False}
    assert len({p.hair_style for p in people}) >= 5
    assert any(p.glasses for p in people)
    assert any(p.beard != "none" for p in people)
    assert len({m.performance.seed for m in members} | {m.held_out.seed for m in members}) == 20
    shapes = np.array([head_points(p)[:468] for p in people])
    apart = [np.abs(a - b).max() for i, a in enumerate(shapes) for b in shapes[:i]]
    assert min(apart) > 0.03


def test_settings_are_checked():
    with pytest.raises(ValueError, match="hair style"):
        replace(make_identity(1), hair_style="helmet")
    with pytest.raises(ValueError, match="tone"):
        replace(make_identity(1), tone=1.5)
    with pytest.raises(ValueError, match="positive"):
        make_performance(1, seconds=0)
    with pytest.raises(ValueError, match="background"):
        replace(SCENE, background="moon")
    with pytest.raises(IndexError):
        render(make_identity(1), PERFORMANCE, SCENE, PERFORMANCE.frames)


def test_subdivision_keeps_planes_and_the_mirror_is_one():
    rows = refinement().matrix.sum(axis=1)
    assert np.allclose(rows, 1, atol=1e-5)
    assert len(refinement().triangles) == 4 * len(generic_head().triangles)
    flip = mirror()
    assert np.array_equal(flip[flip], np.arange(478))
    face = generic_head().points[:468]
    assert np.abs(face[flip[:468]] * [-1, 1, 1] - face).max() < 0.01


def test_rasteriser_agrees_with_testing_every_pixel():
    rng = np.random.default_rng(4)
    width, height = 47, 33
    points = rng.uniform(-6, 52, (40, 2)).astype(np.float32)
    depth = rng.uniform(0, 1, 40).astype(np.float32)
    triangles = rng.integers(0, 40, (30, 3))
    triangles = triangles[[len(set(t)) == 3 for t in triangles.tolist()]]
    found = rasterize(points, depth, triangles, width, height, both_sides=True)
    y, x = np.mgrid[:height, :width]
    best = np.full((height, width), np.inf)
    for t in triangles:
        matrix = np.vstack([points[t].T.astype(np.float64), np.ones(3)])
        if abs(np.linalg.det(matrix)) < 1e-3:
            continue
        weights = np.linalg.solve(matrix, np.stack([x.ravel(), y.ravel(), np.ones(x.size)]))
        inside = (weights > 1e-3).all(axis=0).reshape(height, width)
        z = (depth[t].astype(np.float64) @ weights).reshape(height, width)
        best = np.where(inside, np.minimum(best, z), best)
    got = np.full(width * height, np.inf)
    got[found.pixel] = found.depth
    got = got.reshape(height, width)
    both = np.isfinite(best)
    assert np.isfinite(got[both]).all()
    assert (got[both] <= best[both] + 1e-4).all()  # pixels on an edge may belong to a nearer triangle
    assert np.isclose(got[both], best[both], atol=1e-4).mean() > 0.97
    assert np.isfinite(got[~both]).mean() < 0.03
