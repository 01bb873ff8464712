"""Masks on their way from the archive to the batch: the same geometry as the picture's, and nothing hostile."""

from __future__ import annotations

import dataclasses
import zipfile

import cv2
import numpy as np
import pytest

from faceswap_hq.errors import UserError
from faceswap_hq.faces import landmarks
from stress.api import FaceCrop
from stress.data.crops import Crops, crop_clips, crop_face
from stress.data.layouts import read_dataset
from stress.data.masks import open_masks
from stress.training import Recipe
from stress.training.augment import augment, augment_with
from stress.training.batches import BalancedBatches, ReplayBatches
from tests.stress.synthetic import clip, crops, sides
from tests.stress.test_data_layouts import _entry, _out
from tests.stress.test_data_layouts_hostile import _refused


def png(mask: np.ndarray) -> bytes:
    return cv2.imencode(".png", mask)[1].tobytes()


def archive(path, **members: bytes):
    with zipfile.ZipFile(path, "w") as found:
        for name, data in members.items():
            found.writestr(f"{name}.png", data)
    return path


def painted(box: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A grey frame with a white square, and the square's mask."""
    mask = np.zeros((240, 320), np.uint8)
    left, top, right, bottom = box
    mask[top:bottom, left:right] = 255
    return np.where(mask[..., None] > 0, mask[..., None], 90).astype(np.uint8).repeat(3, axis=2), mask


@pytest.mark.parametrize("alignment", ["box", "aligned"])
@pytest.mark.parametrize("box", [(130, 70, 170, 110), (0, 0, 60, 90), (250, 180, 320, 240)])
def test_a_painted_square_stays_where_the_crop_shows_it(alignment, box):
    from tests.faceswap_hq.helpers import face_at

    image, mask = painted(box)
    face = face_at(150, 90, 120, angle=20)
    card = FaceCrop(input_size=96, crop_margin=2.5, alignment=alignment)
    shown = (crop_face(image, face, card)[..., 0].astype(float) - 90) / (255 - 90)
    cut = crop_face(mask, face, card) / 255
    assert 0.01 < cut.mean() < 0.9
    assert np.abs(shown - cut).max() < 0.02


def test_masks_are_cut_with_the_faces_and_frames_without_one_were_left_alone(tmp_path, monkeypatch):
    from tests.stress.test_crops import _StandIn

    folder = tmp_path / "pictures"
    folder.mkdir()
    _, mask = painted((100, 40, 150, 90))
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((240, 320, 3), 90, np.uint8))
    square = np.array([[100, 40, 0], [200, 40, 0], [200, 140, 0], [100, 140, 0]], np.float32)
    monkeypatch.setattr(landmarks, "open_backend", lambda **_: _StandIn([square]))
    where = archive(tmp_path / "m.zip", **{"000000": png(mask), "000002": png(mask)})
    one = dataclasses.replace(clip("a", 1, ("x", "y"), folder), mask=where)
    card = FaceCrop(input_size=50, crop_margin=1.0)
    ((found,), _) = crop_clips([one], card, 3)
    corner = np.zeros((50, 50), np.uint8)
    corner[:25, :25] = 255
    assert (found.masks[[0, 2]] == corner).all()
    assert (found.masks[1] == 0).all()
    archive(where, **{"000001": png(mask)})  # another mask is another entry of the cache
    ((found,), _) = crop_clips([one], card, 3)
    assert [part.any() for part in found.masks] == [False, True, False]
    where.write_bytes(b"no archive")
    _, (left_out,) = crop_clips([one], card, 3)
    assert "is not an archive of masks" in left_out.reason


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"x", "no PNG of 12 x 10"),
        (png(np.zeros((10, 11), np.uint8)), "no PNG of 12 x 10"),
        (png(np.zeros((10, 12), np.uint8))[:40], "cannot be decoded"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 9000, "larger than its pixels"),
    ],
)
def test_what_is_no_mask_of_the_frame_is_refused_on_one_line(tmp_path, data, match):
    with open_masks(archive(tmp_path / "m.zip", **{"000007": data})) as read:
        _refused(lambda: read(7, (10, 12, 3)), match)
        assert not read(8, (10, 12, 3)).any()


def test_a_mask_of_the_manifest_is_there_and_inside_its_folder(tmp_path):
    out = _out(tmp_path / "out", [_entry("ann", "bob", "c1") | {"mask": "masks/a.zip"}])
    _refused(lambda: read_dataset(out), "which is missing")
    (out / "masks").mkdir()
    archive(out / "masks" / "a.zip")
    assert [item.mask for item in read_dataset(out)] == [None, out / "masks" / "a.zip"]
    _out(out, [_entry("ann", "bob", "c1") | {"mask": "../m.zip"}])
    archive(tmp_path / "m.zip")
    _refused(lambda: read_dataset(out), "outside its folder")
    _out(out, [_entry("ann", "bob", "c1") | {"mask": 7}])
    _refused(lambda: read_dataset(out), "misstates|is not a name")


def _with_masks(data: list[Crops]) -> list[Crops]:
    """Fakes whose mask is their left half."""
    size = data[0].images.shape[1]
    half = np.zeros((len(data[0].frames), size, size), np.uint8)
    half[:, :, : size // 2] = 255
    return [dataclasses.replace(item, masks=half) if item.clip.label else item for item in data]


def test_batches_bring_exact_masks_zeros_for_reals_and_nan_where_nobody_knows():
    known, unknown = _with_masks(crops(4, artefact=0)), crops(4, artefact=0, seed=1)
    draw = [BalancedBatches(*sides(data), 8, np.random.default_rng(0), masks=True) for data in (known, unknown)]
    batch = draw[0].draw()
    assert batch.masks.dtype == np.float32
    assert (batch.masks[batch.labels == 1] == np.repeat([1, 0], 16)).all()
    assert (batch.masks[batch.labels == 0] == 0).all()
    both = ReplayBatches(draw[0], draw[1]).draw()
    assert np.isnan(both.masks[8:][both.labels[8:] == 1]).all()
    assert (both.masks[8:][both.labels[8:] == 0] == 0).all()
    assert BalancedBatches(*sides(known), 8, np.random.default_rng(0)).draw().masks is None


def test_the_part_of_the_face_that_is_asked_for_comes_from_the_landmarks():
    data = [dataclasses.replace(c, landmarks=np.full((6, 4, 2), 3, np.float32)) for c in crops(2, artefact=0)]
    asked = []

    def region(points, side):
        asked.append((points.shape, side))
        return np.ones((side, side), np.float32)

    batch = BalancedBatches(*sides(data), 4, np.random.default_rng(0), region=region).draw()
    assert batch.regions.shape == (4, 32, 32)
    assert asked == [((4, 2), 32)] * 4


def test_maps_move_with_the_picture_and_the_picture_does_not_notice_them():
    """The mask is drawn into the picture: after mirroring and shifting it is still there where the mask says."""
    mask = np.zeros((64, 64), np.float32)
    mask[10:34, 6:24] = 1
    image = (60 + 120 * mask[..., None]).astype(np.uint8).repeat(3, axis=2)
    unknown = np.full((64, 64), np.nan, np.float32)
    different = 0
    for seed in range(40):
        moved, (there, nowhere) = augment_with(image, [mask, unknown], np.random.default_rng(seed))
        np.testing.assert_array_equal(moved, augment(image, np.random.default_rng(seed)))
        assert np.isnan(nowhere).all()
        contrast = moved.astype(float).mean(axis=2)
        low, high = np.median(contrast[there < 0.01]), np.median(contrast[there > 0.99])
        assert np.abs((contrast - low) / (high - low) - there).mean() < 0.03  # blur and JPEG leave a little
        different += not np.array_equal(there, mask)
    assert different > 20


def test_a_recipe_varies_masks_and_regions_like_the_pictures():
    data = sides(_with_masks(crops(4, artefact=0)))
    region = lambda points, side: np.repeat([1, 0], side // 2).astype(np.float32)[None].repeat(side, 0)  # noqa: E731
    batch = BalancedBatches(*data, 8, np.random.default_rng(0), masks=True, region=region).draw()
    varied = Recipe().vary(batch, np.random.default_rng(1))
    fakes = batch.labels == 1
    np.testing.assert_array_equal(varied.masks[fakes], varied.regions[fakes])
    assert not np.array_equal(varied.masks, batch.masks)
    plain = Recipe().vary(dataclasses.replace(batch, masks=None, regions=None), np.random.default_rng(1))
    np.testing.assert_array_equal(varied.images, plain.images)


def test_masks_of_another_shape_are_refused():
    item = crops(2, artefact=0)[0]
    with pytest.raises(ValueError, match="masks of these crops"):
        dataclasses.replace(item, masks=np.zeros((6, 31, 32), np.uint8))
    with pytest.raises(UserError, match="is not an archive"), open_masks(item.clip.path):
        pass
