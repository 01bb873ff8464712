from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch

from blending import BEST, OcclusionSettings
from faceswap_hq import drawing, media
from faceswap_hq.faces import alignment
from faceswap_hq.model.autoencoder import UNKNOWN
from faceswap_hq.planning import Plan, RenderSettings

SIDE = 64
COUNT = 8
SETTINGS = RenderSettings(source=1, target=0, blend=replace(BEST, occlusion=OcclusionSettings()))


class Perfect:
    """Stands in for a model: number 0's decoder draws every frame's bare face exactly, and counts how often."""

    retargets = 1.0

    def __init__(self, bare: np.ndarray) -> None:
        self.bare, self.drawn = bare, 0
        self.settings = type("Settings", (), {"resolution": SIDE})
        self.usual = torch.zeros(2, SIDE, SIDE)

    def swap(self, image, measures, source, retarget):
        assert source == 1
        return 1 - self.expected(measures), torch.ones(len(measures), 1, SIDE, SIDE)

    def __call__(self, image, measures, person):
        assert person == 0
        assert image.shape == (len(measures), 3, SIDE, SIDE)
        self.drawn += len(measures)
        return self.expected(measures), torch.ones(len(measures), 1, SIDE, SIDE)

    def expected(self, measures):
        return torch.from_numpy(self.bare[measures[:, 0].long().numpy()]).permute(0, 3, 1, 2)


@pytest.fixture
def shown() -> tuple[list[media.Frame], np.ndarray]:
    """Frames of smooth noise that are their own crops, and the same as float32."""
    random = np.random.default_rng(0)
    coarse = random.uniform(60, 190, (COUNT, 4, 4, 3)).astype(np.float32)
    images = [alignment.warp(x.round().astype(np.uint8), np.float32([[16, 0, 8], [0, 16, 8]]), SIDE) for x in coarse]
    frames = [media.Frame(index=i, time=i / 25, pts=i, image=image) for i, image in enumerate(images)]
    return frames, np.stack(images).astype(np.float32) / 255


def planned(known: bool = True) -> Plan:
    """A plan in which the first measure is the frame's number."""
    numbers = {i: np.full(21, i, np.float32) for i in range(COUNT)}
    straight = {i: np.float32([[1, 0, 0], [0, 1, 0]]) for i in range(COUNT)}
    empty = dict.fromkeys(("info", "faces", "person", "polygons", "brows", "new", "damage", "measured"))
    return Plan(
        **empty, matrices=straight, measures=numbers, bare=numbers if known else {},
        size=SIDE, start=0, stop=COUNT, whole=True, too_small=0,
    )  # fmt: skip


def cover(frames: list[media.Frame], which: range) -> None:
    for i in which:
        frames[i].image[30:50, 20:44] = (0, 255, 0)


def drawn(frames, model, settings=SETTINGS, plan=None):
    return drawing.draw(frames, plan or planned(), model, settings, torch.device("cpu"), defaultdict(float))


def test_what_is_in_front_is_found_in_every_frame_of_a_batch_that_shows_it(shown):
    frames, bare = shown
    model = Perfect(bare)
    cover(frames, range(2, COUNT))
    found = drawn(frames, model)
    assert model.drawn == COUNT
    for i in range(COUNT):
        covered = found[i].visible < 0.5
        assert covered[32:48, 22:42].mean() == (i >= 2)
        assert covered[:26].sum() == covered[54:].sum() == 0
        np.testing.assert_allclose(found[i].face, 1 - bare[i], atol=1e-6)


def test_a_decoder_that_is_usually_wrong_by_anything_finds_nothing(shown):
    frames, bare = shown
    cover(frames, range(COUNT))
    model = Perfect(bare)
    model.usual[0] = UNKNOWN
    assert all(found.visible is None for found in drawn(frames, model).values())
    assert model.drawn == 0


def test_a_bare_face_costs_one_look_a_batch(shown):
    frames, bare = shown
    model = Perfect(bare)
    found = drawn(frames, model)
    assert model.drawn == 1
    assert all(found[i].visible is None for i in range(COUNT))


def test_a_short_batch_is_looked_at_too(shown):
    frames, bare = shown
    cover(frames, range(COUNT))
    assert all(drawn(frames[:1], Perfect(bare))[0].visible[32:48, 22:42].ravel() < 0.5)


@pytest.mark.parametrize("why", ["switched off", "target unknown", "not planned"])
def test_without_what_it_takes_nothing_is_looked_for(shown, why):
    frames, bare = shown
    model, settings, plan = Perfect(bare), SETTINGS, planned(known=why != "not planned")
    cover(frames, range(COUNT))
    if why == "switched off":
        settings = replace(settings, blend=BEST)
    if why == "target unknown":
        settings = replace(settings, target=None)
    assert all(found.visible is None for found in drawn(frames, model, settings, plan).values())
    assert model.drawn == 0


def test_what_a_parser_does_not_call_face_is_not_swapped(shown):
    frames, bare = shown
    cover(frames, range(COUNT))

    class Left:
        """Stands in for a face parser: only the left half is face."""

        def inside(self, frame, matrix, size):
            out = np.zeros((size, size), np.float32)
            out[:, : size // 2] = 1
            return out

    found = drawing.draw(
        frames, planned(), Perfect(bare), SETTINGS, torch.device("cpu"), defaultdict(float), Left()
    )
    for item in found.values():
        assert item.visible[:, SIDE // 2 :].max() == 0
        assert item.visible[:26, : SIDE // 2].min() == 1
        assert item.visible[34:46, 24:32].max() < 0.5
