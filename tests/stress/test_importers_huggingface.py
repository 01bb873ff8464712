"""Folders of the Hugging Face hub's form, made here; the hub itself is replaced by such a folder."""

from __future__ import annotations

import json

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from faceswap_hq.errors import UserError
from stress.detectors import load_detector, save_detector
from stress.detectors.draft import write_draft
from stress.detectors.zoo import build
from stress.training import TrainSettings, train
from tests.stress.synthetic import crops, sides

REST = ["crop_margin=1.3", "alignment=box", "threshold=0.5", "threshold_source=none", "color_order=RGB"]
FACES = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
ARCHITECTURE = "mobilenetv3_small_050"


@pytest.fixture
def folder(tmp_path):
    """A timm model as ``timm.push_to_hf_hub`` writes it, fake first."""
    path = tmp_path / "org--detector.v1"
    path.mkdir()
    torch.manual_seed(0)
    save_file(build(ARCHITECTURE, 2).state_dict(), path / "model.safetensors")
    settings = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 64, 64]}
    config = {"architecture": ARCHITECTURE, "num_classes": 2, "label_names": ["Deepfake", "Real"]}
    (path / "config.json").write_text(json.dumps(config | {"pretrained_cfg": settings}))
    return path


def _change(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def test_a_timm_folder_scores_as_the_model_does(folder, tmp_path):
    card, missing = write_draft(folder)
    assert card == tmp_path / "org--detector.v1.card.json"
    assert missing == ["color_order", "crop_margin", "alignment", "threshold", "threshold_source"]
    write_draft(folder, REST)
    detector = load_detector(folder, device="cpu")
    assert (detector.card.fake_index, detector.card.input_size, detector.name) == (0, 64, "org--detector.v1")
    torch.manual_seed(0)
    x = (torch.from_numpy(FACES).permute(0, 3, 1, 2) / 255 - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / (
        torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)
    )
    expected = build(ARCHITECTURE, 2).eval()(x).softmax(1)[:, 0].detach().numpy()
    np.testing.assert_allclose(detector.fake_probability(FACES), expected, atol=1e-5)
    save_detector(detector, tmp_path / "ours.safetensors")
    again = load_detector(tmp_path / "ours.safetensors", device="cpu")
    np.testing.assert_allclose(again.fake_probability(FACES), expected, atol=1e-5)
    _change(folder, num_features=1)
    with pytest.raises(UserError, match="is not the file its card describes"):
        load_detector(folder)


@pytest.mark.parametrize(
    ("labels", "index"),
    [
        ({"0": "Fake", "1": "Real"}, 0),
        ({"1": "fake", "0": "real"}, 1),
        ({"0": "Realism", "1": "Deepfake"}, 1),
        ({"0": "LABEL_0", "1": "LABEL_1"}, None),
        ({"0": "not real", "1": "real"}, None),
        ({"0": "fake", "1": "real fake"}, None),
    ],
)
def test_polarity_comes_from_labels_that_leave_no_doubt(folder, labels, index):
    _change(folder, id2label=labels)
    values = json.loads(write_draft(folder)[0].read_text())
    assert values["fake_index"] == index
    assert values["output"] == "two_logits"
    assert ("fake_index" in values["_filled_in_because"]) == (index is not None)


def test_the_preprocessor_fills_in_what_a_card_can_say(folder):
    settings = {"rescale_factor": 1 / 255, "size": {"height": 32, "width": 32}}
    settings |= {"image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    values = json.loads(write_draft(folder)[0].read_text())
    assert (values["mean"], values["std"], values["input_size"]) == ([0.5] * 3, [0.25] * 3, 32)
    odd = {"rescale_factor": 1 / 127.5, "size": {"height": 32, "width": 48}}  # a card cannot say either
    (folder / "preprocessor_config.json").write_text(json.dumps(settings | odd))
    folder.with_name(f"{folder.name}.card.json").unlink()
    reasons = json.loads(write_draft(folder)[0].read_text())["_filled_in_because"]
    assert "preprocessor_config.json" not in reasons.values()


def test_weights_in_parts_are_put_together(folder):
    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    write_draft(folder, REST)
    card = json.loads(folder.with_name(f"{folder.name}.card.json").read_text()) | {"sha256": None}
    folder.with_name(f"{folder.name}.card.json").write_text(json.dumps(card))
    whole = load_detector(folder, device="cpu").fake_probability(FACES)
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, mine in parts.items():
        save_file({name: tensors[name] for name in mine}, folder / file)
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {name: file for file, mine in parts.items() for name in mine}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    np.testing.assert_array_equal(load_detector(folder, device="cpu").fake_probability(FACES), whole)


def test_the_hub_is_asked_only_for_names_that_say_so(folder, tmp_path, monkeypatch):
    asked = []

    def download(name, *, revision, allow_patterns):
        asked.append((name, revision))
        assert not any(pattern.endswith((".bin", ".py", "*")) for pattern in allow_patterns)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    card, _ = write_draft("hf:org/detector@v2", REST)
    assert str(card) == "detector.card.json"
    detector = load_detector("hf:org/detector@v2", device="cpu")
    assert detector.name == "detector"
    assert asked == [("org/detector", "v2")] * 2
    for wrong in ("hf:detector", "hf:../x", "hf:org/a/b"):
        with pytest.raises(UserError, match="not the name of a model on the hub"):
            load_detector(wrong)
    with pytest.raises(UserError, match="does not exist") as caught:
        load_detector("org/detector")
    assert "hf:org/detector" in str(caught.value.hint)
    assert len(asked) == 2

    def offline(*_, **__):
        raise OSError("no connection\nlong story")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(UserError, match="could not be had from the hub: no connection") as caught:
        load_detector("hf:org/detector")
    assert "long story" not in str(caught.value)


def _index(name):
    def make(folder):
        (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
        text = json.dumps({"weight_map": {"a": name}})
        (folder / "model.safetensors.index.json").write_text(text)

    return make


def _huge(folder):
    with (folder / "config.json").open("wb") as stream:
        stream.truncate(1_000_000_000)


def _nan(folder):
    tensors = build(ARCHITECTURE, 2).state_dict()
    tensors["classifier.weight"][0, 0] = float("nan")
    save_file(tensors, folder / "model.safetensors")


def _only_pickle(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"x")


def _transformers(**values):
    def make(folder):
        plain = {"architectures": ["ViTForImageClassification"], "model_type": "vit"} | values
        (folder / "config.json").write_text(json.dumps(plain))

    return make


def _open(folder):
    write_draft(folder, [*REST, "output=logit", "fake_index=1"])
    return load_detector(folder)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_huge, "1000000000 bytes, far too many for settings"),
        (_index("../model.safetensors"), "names '../model.safetensors', which is no safetensors file of the folder"),
        (_index("/etc/passwd"), "names '/etc/passwd'"),
        (_index("..safetensors"), "names '..safetensors'"),
        (_index("sub/model.safetensors"), "which is no safetensors file"),
        (_index("gone.safetensors"), "lacks gone.safetensors"),
        (_nan, r"not numbers, e\.g\. classifier\.weight"),
        (_only_pickle, "has no model.safetensors"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be read as JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), "holds no settings"),
        (lambda folder: (folder / "config.json").unlink(), "folder without config.json"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 99), "is damaged"),
        (lambda folder: _change(folder, architecture="resnet50"), "do not fit the card's architecture"),
        (_transformers(auto_map={"AutoModel": "code.Model"}), "asks for code of its own"),
        (_transformers(architectures=["BertModel"]), "is not an image classifier"),
        (_transformers(num_hidden_layers=10**9), "num_hidden_layers = 1000000000, the files hold"),
    ],
)
def test_hostile_folders_are_one_clear_message(folder, make, message):
    make(folder)
    with pytest.raises(UserError, match=message):
        _open(folder)


@pytest.mark.slow
def test_a_transformers_folder_scores_as_the_model_does_and_can_be_fine_tuned(tmp_path):
    transformers = pytest.importorskip("transformers")
    folder, labels = tmp_path / "vit", {0: "Fake", 1: "Real"}
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=64, patch_size=16,
        id2label=labels, label2id={name: number for number, name in labels.items()},
    )  # fmt: skip
    model = transformers.ViTForImageClassification(config).eval()
    model.save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    values = json.loads(write_draft(folder, REST)[0].read_text())
    assert values["architecture"] == "transformers:ViTForImageClassification"
    detector = load_detector(folder, device="cpu")
    data = sides(crops(4, artefact=20, size=64))
    tuned = train(detector, *data, TrainSettings(epochs=1, batch=8, layers="last")).module.state_dict()
    before = detector.module.state_dict()
    assert [name for name in before if not torch.equal(before[name], tuned[name])] == [
        "model.classifier.weight", "model.classifier.bias",
    ]  # fmt: skip
    expected = model(torch.from_numpy(FACES).permute(0, 3, 1, 2) / 255 * 2 - 1).logits.softmax(1)[:, 0]
    np.testing.assert_allclose(detector.fake_probability(FACES), expected.detach().numpy(), atol=1e-5)
    with pytest.raises(UserError, match="cannot be saved"):
        save_detector(detector, tmp_path / "copy")
    sizes = json.loads((folder / "config.json").read_text())
    (folder.with_name("vit.card.json")).write_text(json.dumps(values | {"sha256": None}))
    for change, message in (({"hidden_size": 10**6}, "describes .* weights, the files hold"), ({"hidden_size": 8}, "")):
        (folder / "config.json").write_text(json.dumps(sizes | change))
        with pytest.raises(UserError, match=message):
            load_detector(folder)
