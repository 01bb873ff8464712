"""Cards: what is checked, what is refused, and drafts for checkpoints that came without one."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from faceswap_hq.errors import UserError
from stress.detectors import load_detector, new_detector, save_detector
from stress.detectors.card import HEADER_KEY, read_card, write_card
from stress.detectors.draft import write_draft
from stress.detectors.zoo import default_card

CARD = default_card("small_cnn")
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 128, 128, 3), np.uint8)


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_size": 0},
        {"input_size": 128.0},
        {"mean": (0.5, 0.5)},
        {"std": (0.5, 0.0, 0.5)},
        {"mean": (0.5, float("nan"), 0.5)},
        {"color_order": "rgb"},
        {"crop_margin": 0},
        {"alignment": "tilted"},
        {"output": "probability"},
        {"fake_index": 2},
        {"fake_index": True},
        {"score_transform": (1.0,)},
        {"score_transform": (-1.0, 0.0)},
        {"threshold": 1.5},
        {"threshold_source": ""},
        {"base_metrics": {"frame_auc": 98.0}},
        {"sha256": "abc"},
    ],
)
def test_cards_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        dataclasses.replace(CARD, **wrong)


def test_cards_survive_json_and_say_what_is_wrong_with_them(tmp_path):
    path = tmp_path / "a.card.json"
    card = dataclasses.replace(CARD, base_metrics={"frame_auc": 0.97}, sha256="0" * 64, weights_key="state_dict")
    write_card(path, card)
    assert read_card(path) == card
    good = json.loads(path.read_text())
    cases = [
        ({"version": 99}, "version 99; this toolkit reads up to version 3"),
        ({"version": "x"}, "damaged"),
        ({"format": "recipe"}, "is not a faceswap-hq detector card"),
        ({"colour": 1}, "does not know: colour"),
        ({"output": None, "mean": None}, "not filled in: mean, output"),
        ({"threshold": 7}, r"threshold = 7"),
    ]
    for change, message in cases:
        path.write_text(json.dumps(good | change))
        with pytest.raises(UserError, match=message):
            read_card(path)
    path.write_text("{")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        read_card(path)


def test_a_damaged_card_in_the_header_is_a_clear_message(tmp_path):
    path = tmp_path / "d.safetensors"
    save_file({"a": torch.zeros(2)}, path, {HEADER_KEY: "{"})
    with pytest.raises(UserError, match="header"):
        load_detector(path)


def test_without_a_card_the_message_says_how_to_write_one_and_that_way_works(tmp_path):
    path = tmp_path / "found.pth"
    detector = new_detector(seed=4, device="cpu")
    torch.save({"net": {f"module.{n}": v for n, v in detector.module.state_dict().items()}, "epoch": 1}, path)
    with pytest.raises(UserError, match="no card") as caught:
        load_detector(path)
    assert f"stress-test card {path}" in str(caught.value)
    card, missing = write_draft(path)
    values = json.loads(card.read_text())
    assert (values["weights_key"], values["strip_prefix"]) == ("net", "module.")
    assert json.loads(values["_read_off_the_file"]["last"]) == ["module.head.weight", [1, 96]]
    blank = {name for name in CARD.to_dict() if values[name] is None}
    optional = {"licence", "training_data", "base_metrics", "base_data", "score_transform", "map_trained"}
    assert set(missing) == blank - optional
    with pytest.raises(UserError, match="not filled in: architecture, input_size"):
        load_detector(path)
    with pytest.raises(UserError, match="is there already"):
        write_draft(path)
    with pytest.raises(UserError, match="not FIELD=VALUE"):
        write_draft(path, ["color_order"])
    with pytest.raises(UserError, match="no field 'colour'"):
        write_draft(path, ["colour=RGB"])
    settings = ["architecture=small_cnn", "input_size=128", "crop_margin=1.3"]
    settings += ["mean=[0.5,0.5,0.5]", "std=[0.5,0.5,0.5]", "color_order=RGB"]
    assert write_draft(path, settings)[1] == ["alignment", "output", "fake_index", "threshold", "threshold_source"]
    settings = ["alignment=box", "output=logit", "fake_index=1", "threshold=0.5", "threshold_source=by hand"]
    assert write_draft(path, settings)[1] == []
    loaded = load_detector(path, device="cpu")
    np.testing.assert_array_equal(loaded.fake_probability(IMAGES), detector.fake_probability(IMAGES))
    with pytest.raises(UserError, match="fake_index = 5"):
        write_draft(path, ["fake_index=5"])


def test_a_card_is_not_filled_in_for_another_file_of_the_same_name(tmp_path):
    first, second = tmp_path / "net.pt", tmp_path / "net.pth"
    for seed, path in enumerate((first, second)):
        torch.save(new_detector(seed=seed, device="cpu").module.state_dict(), path)
    card, _ = write_draft(first, ["input_size=128"])
    before = card.read_bytes()
    with pytest.raises(UserError, match="describes another file"):
        write_draft(second, ["input_size=64"])
    assert card.read_bytes() == before
    write_draft(first, ["input_size=64"])
    assert json.loads(card.read_text())["input_size"] == 64


def test_own_data_are_looked_for_from_the_folder_of_the_card_that_names_them(tmp_path):
    detector = new_detector(device="cpu")
    detector.card = dataclasses.replace(detector.card, base_data="own", threshold=0.5, threshold_source="by hand")
    path = tmp_path / "weights" / "d.safetensors"
    path.parent.mkdir()
    save_detector(detector, path)
    elsewhere = tmp_path / "cards" / "other.card.json"
    elsewhere.parent.mkdir()
    shutil.copy(path.with_name("d.card.json"), elsewhere)
    assert load_detector(path, device="cpu").own_data == path.parent / "own"
    assert load_detector(path, elsewhere, device="cpu").own_data == elsewhere.parent / "own"
    path.with_name("d.card.json").unlink()  # the one in the header is left
    assert load_detector(path, device="cpu").own_data == path.parent / "own"
    assert load_detector(path, dataclasses.replace(CARD, base_data=None), device="cpu").own_data is None
