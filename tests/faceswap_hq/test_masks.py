"""The exact masks beside the fakes: what they say, how they are kept, and that detectors' crops find them again."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from blending import BEST, NONE
from faceswap_hq import fakes, files, render
from faceswap_hq.fakes import Manifest, Swap, open_swap
from faceswap_hq.masks import mask_of
from faceswap_hq.media import read_frames
from faceswap_hq.planning import RenderSettings
from stress.api import FaceCrop
from stress.data.crops import crop_clips, crop_face
from stress.data.layouts import read_dataset
from tests.faceswap_hq.helpers import Known, Shot, use_backend


@pytest.fixture
def swap(trained: Path, shots: tuple[Shot, Shot], monkeypatch) -> Swap:
    use_backend(monkeypatch, shots[1].knowing())
    return open_swap(trained, RenderSettings(blend=BEST, frames=(3, 9)), device="cpu")


def read_masks(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        data = {name: np.frombuffer(archive.read(name), np.uint8) for name in archive.namelist()}
    return {name: cv2.imdecode(png, cv2.IMREAD_UNCHANGED) for name, png in data.items()}


def test_a_mask_is_where_the_fake_differs_from_its_real_and_nowhere_else(swap, actor_clips, tmp_path) -> None:
    name, counts = fakes.render_pair(actor_clips[1], swap, tmp_path)
    (entry,) = Manifest(tmp_path).read()
    assert entry["mask"] == f"masks/{name}.zip"
    assert entry["sha256"]["mask"] == files.sha256_file(tmp_path / entry["mask"])
    masks = read_masks(tmp_path / entry["mask"])
    assert sorted(masks) == [f"{number:06d}.png" for number in range(counts.frames)]
    pairs = zip(read_frames(tmp_path / entry["fake"]), read_frames(tmp_path / entry["real"]), strict=True)
    for number, (fake, real) in enumerate(pairs):
        mask = masks[f"{number:06d}.png"]
        assert mask.dtype == np.uint8
        assert mask.shape == fake.image.shape[:2]
        assert mask.max() > 250
        change = np.abs(fake.image.astype(float) - real.image).mean(axis=2)
        near = cv2.dilate(mask, np.ones((17, 17))) > 0  # as far as the codec carries a change
        assert change[mask > 250].mean() > 4 * change[~near].mean()
        assert np.quantile(change[~near], 0.99) < 8


def test_before_the_codec_nothing_is_changed_outside_the_mask(swap, actor_clips) -> None:
    plan = swap.plan(actor_clips[1])
    for item in render.swapped_frames(plan, swap.model, swap.settings):
        mask = mask_of(item.blended)
        change = np.abs(item.image.astype(int) - item.frame.image).max(axis=2)
        assert change[mask == 0].max() <= 1
        assert change[mask == 255].mean() > 10
        np.testing.assert_array_equal(mask, np.rint(item.blended.full_alpha() * 255))


def test_every_rung_of_the_ladder_has_the_mask_of_its_own_blending(swap, actor_clips, tmp_path) -> None:
    few = replace(swap, settings=replace(swap.settings, frames=(0, 2)))
    made = fakes.render_ladder(actor_clips[1], few, tmp_path)
    shapes = []
    for path in made:
        entry = json.loads((path.parent.parent / "manifest.json").read_text())["entries"][0]
        shapes.append(read_masks(path.parent.parent / entry["mask"])["000000.png"])
    assert not np.array_equal(shapes[0], shapes[1])


def test_frames_that_are_passed_through_have_no_mask_and_no_masks_can_be_asked_for(
    swap, shots, actor_clips, tmp_path, monkeypatch
) -> None:
    seen = [[face] for face in shots[1].landmarks]
    seen[4:6] = [[], []]
    use_backend(monkeypatch, Known(seen, marked=True))
    plain = replace(swap, settings=replace(swap.settings, blend=NONE))
    name, counts = fakes.render_pair(actor_clips[1], plain, tmp_path / "with")
    assert (counts.frames, counts.swapped) == (6, 4)
    masks = read_masks(tmp_path / "with" / "masks" / f"{name}.zip")
    assert sorted(masks) == ["000000.png", "000003.png", "000004.png", "000005.png"]  # the fake begins at frame 3
    fakes.render_pair(actor_clips[1], plain, tmp_path / "without", masks=False)
    (entry,) = Manifest(tmp_path / "without").read()
    assert "mask" not in entry
    assert "mask" not in entry["sha256"]
    assert not (tmp_path / "without" / "masks").exists()


def test_a_detectors_crops_find_the_masks_of_their_frames(swap, shots, actor_clips, tmp_path, monkeypatch) -> None:
    from faceswap_hq.faces import landmarks

    name, _ = fakes.render_pair(actor_clips[1], swap, tmp_path)
    known = shots[1].knowing()
    monkeypatch.setattr(landmarks, "open_backend", lambda **_: known)
    clips = {clip.label: clip for clip in read_dataset(tmp_path)}
    assert clips[1].mask == tmp_path / "masks" / f"{name}.zip"
    assert clips[0].mask is None
    card = FaceCrop(input_size=48, crop_margin=1.5)
    (real, fake), excluded = crop_clips([clips[0], clips[1]], card, 3)
    assert not excluded
    assert real.masks is None
    masks = read_masks(clips[1].mask)
    for number, mask in zip(fake.frames, fake.masks, strict=True):
        want = crop_face(masks[f"{number:06d}.png"], shots[1].landmarks[3 + number], card)
        np.testing.assert_array_equal(mask, want)
        assert 0.1 < (mask > 127).mean() < 0.9
    calls = known.calls
    (again,), _ = crop_clips([clips[1]], card, 3)
    assert known.calls == calls  # from the cache
    np.testing.assert_array_equal(again.masks, fake.masks)
