"""Fakes without learning: a mesh-warp swap and an expression warp, from the clip to the signed file."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from blending import NONE, settings_to_dict
from faceswap_hq import fakes, files, provenance
from faceswap_hq.errors import UserError
from faceswap_hq.faces import alignment, mesh, regions
from faceswap_hq.faceset import read_faceset
from faceswap_hq.media import read_frames
from faceswap_hq.methods.expression import (
    Driving,
    ExpressionSettings,
    ExpressionSwap,
    darkened,
    moved,
    offsets,
    open_expression,
    shares,
)
from faceswap_hq.methods.mesh import MeshSettings, MeshSwap, open_mesh
from faceswap_hq.planning import RenderSettings
from tests.faceswap_hq.helpers import (
    CHIN,
    NOSE_TIP,
    Known,
    Shot,
    face_at,
    generic_face,
    turned,
    use_backend,
    write_faceset,
)

PLAIN = RenderSettings(blend=NONE, frames=(0, 6))
STRAIGHT = np.zeros(2)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b).mean())


def inner(landmarks: np.ndarray) -> tuple[slice, slice]:
    """The box between brows and mouth."""
    points = landmarks[list(regions.RIGHT_EYE + regions.LEFT_EYE + regions.LIPS_OUTER), :2]
    (left, top), (right, bottom) = points.min(0).astype(int), points.max(0).astype(int)
    return slice(top, bottom), slice(left, right)


@pytest.fixture
def ben(monkeypatch, shots: tuple[Shot, Shot]) -> Known:
    """Who is filmed in the target clip."""
    return use_backend(monkeypatch, shots[1].knowing())


@pytest.fixture
def swap(ben: Known, actor_facesets: tuple[Path, Path]) -> MeshSwap:
    return open_mesh(read_faceset(actor_facesets[0]), PLAIN, target="ben")


class TestMesh:
    def test_a_signed_pair_with_its_control(self, swap, actor_clips, shots, tmp_path):
        name, counts = fakes.render_pair(actor_clips[1], swap, tmp_path, control=True)
        assert (name, counts.swapped) == ("anna_warped_onto_ben_0-6", 6)
        found = provenance.verify(tmp_path / f"fakes/{name}.mp4")
        assert (found.state, found.action, found.source_type) == ("valid", "c2pa.edited", "compositeSynthetic")
        (entry,) = fakes.Manifest(tmp_path).read()
        assert (entry["method"], entry["source"], entry["target"]["person"]) == ("mesh", {"person": "anna"}, "ben")
        assert found.facts["facts"]["method"] == "mesh"
        assert entry["faces"]["stiffness"] == MeshSettings().stiffness
        assert entry["faces"]["made_from"] == [files.sha256_file(actor_clips[0])]
        assert entry["blending"] == settings_to_dict(NONE)
        assert "model" not in entry
        assert provenance.verify(tmp_path / f"controls/{name}.mp4").facts["facts"]["method"] == "mesh"
        paths = [tmp_path / kind / f"{name}.mp4" for kind in ("fakes", "reals", "controls")]
        clips = [[frame.image for frame in read_frames(path)] for path in paths]
        for fake, real, control, face in zip(*clips, shots[1].landmarks[:6], strict=True):
            box = inner(face)
            assert difference(fake[box], real[box]) > 3 * difference(control[box], real[box])
            assert difference(fake[-12:], real[-12:]) < 2

    def test_the_ladder(self, swap, actor_clips, tmp_path):
        short = replace(swap, settings=RenderSettings(frames=(0, 1)))
        made = fakes.render_ladder(actor_clips[1], short, tmp_path)
        assert [path.parent.parent.name for path in made][::5] == ["0-none", "5-temporal"]

    def test_ones_own_faces_bent_onto_oneself_change_nothing(self, ben, actor_clips, actor_facesets, shots):
        """Each frame's nearest face is that very frame, whose net already lies right."""
        exact = MeshSettings(change=0, fade=0, stiffness=0)
        swap = open_mesh(read_faceset(actor_facesets[1]), PLAIN, source="twin", target="ben", mesh_settings=exact)
        for item in swap.frames(swap.plan(actor_clips[1])):
            box = inner(shots[1].landmarks[item.frame.index])
            assert item.face is not None
            assert difference(item.image[box], item.frame.image[box]) < 4

    def test_a_dear_change_holds_the_face_and_a_free_one_follows(self, swap, actor_clips):
        """Held, one picture is bent from frame to frame; free, another one in every frame."""
        plan = swap.plan(actor_clips[1])
        frames = list(read_frames(plan.info, start=plan.start, stop=plan.stop))
        calm = {}
        for change in (0.0, 1e9):
            chosen = replace(swap, mesh_settings=MeshSettings(change=change, fade=0))
            drawn = chosen.painter(plan)(frames, defaultdict(float))
            faces = [drawn[frame.index].face for frame in frames]
            calm[change] = np.mean([difference(a, b) for a, b in zip(faces, faces[1:], strict=False)])
        assert calm[1e9] < calm[0.0]

    def test_wrong_settings(self):
        for wrong in ({"change": -1}, {"fade": -1}, {"most": 0}, {"stiffness": float("nan")}):
            with pytest.raises(ValueError, match="at least"):
                MeshSettings(**wrong)

    def test_faces_of_68_points(self, ben, tmp_path):
        with pytest.raises(UserError, match="478 points"):
            open_mesh(write_faceset(tmp_path / "old.faceset", points=68), PLAIN, target="ben")


def still(at: np.ndarray | float = 0.0) -> Driving:
    """A driver who does the same all the time."""
    change = np.zeros((2, mesh.FACE_POINTS, 2)) + at
    return Driving(times=np.array([0.0, 1.0]), offsets=change, clip="driver.mp4", sha256="00")


class TestOffsets:
    def test_a_head_that_only_moves_and_turns_does_nothing(self):
        turns = [turned(4.0 * i - 12, 3.0, 2.0 * i).T for i in range(7)]
        faces = [generic_face() * (100 + 2 * i) @ turn + (90 + i, 80, 0) for i, turn in enumerate(turns)]
        assert np.abs(offsets(np.stack(faces).astype(np.float32), np.zeros(7, bool))).max() < 0.02

    def test_a_chin_that_falls_falls_by_its_centimetres(self):
        faces = np.stack([face_at() for _ in range(9)])
        unit = np.ptp(alignment.frontal(faces[0])[:, 0]) / np.ptp(faces[0, :, 0])
        faces[3:6, CHIN, 1] += 10
        found = offsets(faces, np.zeros(9, bool))
        assert found[4, CHIN, 1] == pytest.approx(10 * unit, rel=0.01)
        assert np.abs(found[4, NOSE_TIP]).max() < 0.01

    def test_between_frames_it_is_mixed_and_at_the_end_it_runs_back(self):
        ramp = np.arange(3.0)[:, None, None] * np.ones((3, mesh.FACE_POINTS, 2))
        driver = Driving(times=np.array([0.0, 1.0, 3.0]), offsets=ramp, clip="x", sha256="0")
        for time, value in ((0, 0), (0.25, 0.25), (2, 1.5), (3, 2), (4, 1.5), (6, 0), (6.25, 0.25)):
            assert driver.at(time)[0, 0] == pytest.approx(value)
        one = Driving(times=np.zeros(1), offsets=ramp[1:2], clip="x", sha256="0")
        assert one.at(7.0)[0, 0] == 1


class TestMoved:
    def points(self) -> np.ndarray:
        return mesh.resting()[: mesh.FACE_POINTS].copy()

    def test_no_change_moves_nothing(self):
        points = self.points()
        out = moved(points, np.zeros((mesh.FACE_POINTS, 2)), STRAIGHT, ExpressionSettings())
        assert np.abs(out - points).max() < 1e-3  # the generic mouth's lips cross by less

    def test_the_upper_outline_stays_and_the_chin_follows(self):
        change = np.zeros((mesh.FACE_POINTS, 2)) + (0, 0.3)
        free = ExpressionSettings(stiffness=0)
        step = moved(self.points(), change, STRAIGHT, free) - self.points()
        stiff = moved(self.points(), change, STRAIGHT, ExpressionSettings()) - self.points()
        assert max(np.abs(step[10]).max(), np.abs(stiff[10]).max()) < 1e-6  # the top of the forehead
        assert step[CHIN, 1] > 0.006
        assert shares()[mesh.FACE_POINTS :].max() == 0
        turned_away = moved(self.points(), change, np.array([0.0, 60.0]), free) - self.points()
        assert turned_away[CHIN, 1] == pytest.approx(step[CHIN, 1] / 2, rel=0.01)

    def test_no_point_moves_further_than_the_limit_and_no_mouth_opens_too_wide(self):
        change = np.zeros((mesh.FACE_POINTS, 2))
        upper, lower = mesh.opposite(regions.LIPS_INNER)
        change[lower, 1] = 5
        settings = ExpressionSettings(stiffness=0)
        out = (moved(self.points(), change, STRAIGHT, settings) - self.points()) * 25
        assert np.linalg.norm(out, axis=1).max() <= settings.limit + 1e-4
        assert np.mean(out[lower, 1] - out[upper, 1]) <= settings.opening + 1e-4
        assert np.mean(out[lower, 1] - out[upper, 1]) > 0.5 * settings.opening

    def test_lids_close_but_do_not_cross(self):
        change = np.zeros((mesh.FACE_POINTS, 2))
        upper, lower = mesh.opposite(regions.LEFT_EYE)
        change[upper, 1] = 2
        out = moved(self.points(), change, STRAIGHT, ExpressionSettings(stiffness=0))
        assert (out[lower, 1] - out[upper, 1]).min() >= -1e-6
        assert np.abs(out[lower, 1] - out[upper, 1]).max() < 1e-6

    def test_a_mouth_that_opens_is_dark_inside_and_nowhere_else(self):
        before = mesh.to_pixels(mesh.resting(), 200)
        after = before.copy()
        _, lower = mesh.opposite(regions.LIPS_INNER)
        after[lower, 1] += 12
        face = np.full((200, 200, 3), 0.6, np.float32)
        out = darkened(face, before, after, 8.0)
        x, y = after[list(regions.LIPS_INNER)].mean(0).astype(int)
        assert out[y, x].max() < 0.3
        assert difference(out[:60], face[:60]) == 0
        assert darkened(face, after, after, 8.0) is face
        assert darkened(face, after, before, 8.0) is face

    @pytest.mark.parametrize("wrong", [{"strength": 3}, {"limit": 0}, {"opening": 0}, {"stiffness": -1}])
    def test_wrong_settings(self, wrong):
        with pytest.raises(ValueError, match="lies between"):
            ExpressionSettings(**wrong)


class TestExpression:
    def open(self, driver, **options) -> ExpressionSwap:
        return open_expression(driver, PLAIN, source="anna", target="ben", **options)

    def test_a_signed_pair_that_says_whose_face_it_is(self, monkeypatch, actor_clips, shots, tmp_path):
        use_backend(monkeypatch, shots[0].knowing())
        swap = self.open(actor_clips[0])
        assert len(swap.driving.times) == 24
        use_backend(monkeypatch, shots[1].knowing())
        name, counts = fakes.render_pair(actor_clips[1], swap, tmp_path, control=True)
        assert (name, counts.swapped) == ("anna_moves_ben_0-6", 6)
        found = provenance.verify(tmp_path / f"fakes/{name}.mp4")
        assert (found.state, found.source_type) == ("valid", "compositeSynthetic")
        (entry,) = fakes.Manifest(tmp_path).read()
        assert entry["method"] == found.facts["facts"]["method"] == "expression"
        assert entry["driver"] == {"clip": "anna.mp4", "sha256": files.sha256_file(actor_clips[0])}
        assert entry["note"].startswith("The person's own face")

    def test_without_strength_the_face_stays_as_it_was(self, ben, actor_clips):
        swap = self.open(still(), expression_settings=ExpressionSettings(strength=0))
        for item in swap.frames(swap.plan(actor_clips[1])):
            assert item.face is not None
            assert difference(item.image, item.frame.image) < 1

    def test_who_is_driven_by_themselves_stays_as_they_are(self, ben, actor_clips, shots):
        own = offsets(np.stack(shots[1].landmarks[:6]), np.arange(6) == 0)
        driver = Driving(times=np.arange(6) / 25, offsets=own, clip="ben.mp4", sha256="00")
        assert np.abs(own).max() > 0.05
        swap = self.open(driver)
        calm = replace(swap, expression_settings=ExpressionSettings(strength=0))
        plan = swap.plan(actor_clips[1])
        for driven, undriven in zip(swap.frames(plan), calm.frames(plan), strict=True):
            assert difference(driven.image, undriven.image) < 1e-3

    def test_lips_that_the_driver_opens_open(self, ben, actor_clips, shots):
        points = mesh.resting()[: mesh.FACE_POINTS]
        change = np.zeros((mesh.FACE_POINTS, 2))
        change[points[:, 1] > points[14, 1] - 1e-3, 1] = 0.8  # the jaw falls
        swaps = [self.open(still(at)) for at in (0.0, change)]
        plan = swaps[0].plan(actor_clips[1])
        frames = list(read_frames(plan.info, start=plan.start, stop=plan.stop))
        closed, opened = (swap.painter(plan)(frames, defaultdict(float)) for swap in swaps)
        for frame in frames:
            a, b = closed[frame.index].face, opened[frame.index].face
            matrix = plan.matrices[frame.index]
            mouth = (shots[1].landmarks[frame.index][[13, 14], :2] @ matrix[:, :2].T + matrix[:, 2]).mean(0)
            x, y = mouth.astype(int)
            changed = np.abs(a - b)
            assert changed[y : y + plan.size // 20, x - 3 : x + 4].mean() > 0.02
            assert changed[: plan.size // 8].mean() < 0.002
