from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from faceswap_hq.errors import UserError
from stress.detectors import Detector, load_detector, new_detector, save_detector
from stress.detectors.card import card_path, read_card, write_card
from stress.detectors.detector import fake_logit
from stress.detectors.draft import write_draft
from stress.detectors.zoo import build, default_card

CARD = default_card("small_cnn")
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 128, 128, 3), np.uint8)


def _bare(path, detector: Detector | None = None, **changes):
    """A foreign checkpoint: a plain PyTorch state dict, with a card that has ``changes``."""
    detector = detector or new_detector(device="cpu")
    torch.save(detector.module.state_dict(), path)
    write_card(card_path(path), dataclasses.replace(CARD, **changes))
    return detector


# ------------------------------------------------------------------------------------------------- saving, loading


@pytest.mark.parametrize("name", ["ckpt.pt", "ckpt.safetensors", "ckpt"])
def test_what_was_saved_loads_under_any_name_and_scores_the_same(tmp_path, name):
    detector = new_detector(seed=3, device="cpu")
    changes = {"threshold": 0.25, "licence": "CC0-1.0", "base_metrics": {"frame_auc": 0.9}}
    detector.card = dataclasses.replace(detector.card, **changes)
    written = save_detector(detector, tmp_path / name)
    loaded = load_detector(tmp_path / name, device="cpu")
    assert loaded.card == written == read_card(card_path(tmp_path / name))
    assert np.array_equal(loaded.fake_probability(IMAGES), detector.fake_probability(IMAGES))
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads((tmp_path / name).read_bytes())  # no pickle is written, whatever the suffix
    card_path(tmp_path / name).unlink()
    alone = load_detector(tmp_path / name, device="cpu")  # the header has the card too
    assert alone.card == written


def test_a_card_beside_the_file_comes_before_the_header_and_a_given_one_before_both(tmp_path):
    path = tmp_path / "d.safetensors"
    save_detector(new_detector(device="cpu"), path)
    write_card(card_path(path), dataclasses.replace(CARD, threshold=0.1))
    assert load_detector(path, device="cpu").card.threshold == 0.1
    write_card(tmp_path / "other.json", dataclasses.replace(CARD, threshold=0.2))
    assert load_detector(path, tmp_path / "other.json", device="cpu").card.threshold == 0.2


def test_batches_and_mode_do_not_change_scores():
    detector = new_detector(device="cpu")
    detector.module.train()
    together, one_by_one = detector.fake_probability(IMAGES), detector.fake_probability(IMAGES, batch=1)
    assert detector.module.training
    np.testing.assert_allclose(together, one_by_one, atol=1e-5)
    assert detector.fake_probability(IMAGES[:0]).shape == (0,)


def test_inputs_follow_the_card():
    card = dataclasses.replace(CARD, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), color_order="BGR")
    x = Detector(card=card, module=build("small_cnn")).inputs(IMAGES)
    expected = (IMAGES[2, 7, 9, ::-1] / 255 - np.array(card.mean)) / np.array(card.std)
    np.testing.assert_allclose(x[2, :, 7, 9].numpy(), expected, atol=1e-6)
    with pytest.raises(ValueError, match="128"):
        Detector(card=CARD, module=build("small_cnn")).inputs(IMAGES[:, :64, :64])


@pytest.mark.parametrize("output", ["logit", "sigmoid", "two_logits", "softmax"])
@pytest.mark.parametrize("fake_index", [0, 1])
def test_every_head_gives_the_probability_of_fake(output, fake_index):
    probability = torch.tensor([0.1, 0.5, 0.93])  # of the output that is called 1
    raw = {
        "sigmoid": probability[:, None],
        "logit": torch.logit(probability)[:, None],
        "softmax": torch.stack([1 - probability, probability], 1),
        "two_logits": torch.log(torch.stack([1 - probability, probability], 1)) + 3,
    }[output]
    card = dataclasses.replace(CARD, output=output, fake_index=fake_index)
    expected = probability if fake_index == 1 else 1 - probability
    torch.testing.assert_close(torch.sigmoid(fake_logit(raw, card)), expected)
    with pytest.raises(UserError, match="head gives"):
        fake_logit(torch.zeros(3, 7), card)


def test_the_score_transform_acts_on_the_log_odds_of_fake():
    logits = torch.tensor([[-2.0], [0.5]])
    cooled = dataclasses.replace(CARD, score_transform=(0.5, 0.25), fake_index=0)
    torch.testing.assert_close(fake_logit(logits, cooled), torch.tensor([2.0, -0.5]) * 0.5 + 0.25)
    torch.testing.assert_close(fake_logit(logits, dataclasses.replace(cooled, score_transform=(1, 0))), -logits[:, 0])


# ------------------------------------------------------------------------------------------------------------ zoo


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("small_cnn", 264_129),
        ("timm:resnet18", 11_689_512 - 512 * 1000 - 1000 + 513),  # torchvision's count, with another head
    ],
)
def test_architectures_have_their_size_and_shape_and_pass_gradients(name, parameters):
    module = build(name, 1)
    assert sum(value.numel() for value in module.parameters()) == parameters
    size = 64 if name.startswith("timm:") else default_card(name).input_size
    output = module(torch.randn(2, 3, size, size))
    assert output.shape == (2, 1)
    output.sum().backward()
    weights = [value for value in module.parameters() if value.ndim > 1]
    assert all(value.grad is not None for value in weights)
    assert weights[0].grad.any()
    assert weights[-1].grad.any()
    assert build(name, 2).eval()(torch.zeros(1, 3, size, size)).shape == (1, 2)


@pytest.mark.parametrize("seed", range(5))
def test_small_cnn_sees_fine_texture_that_pooling_would_lose(seed):
    torch.manual_seed(seed)
    module = build("small_cnn").eval()
    module.head = torch.nn.Identity()  # the last layer could cancel two features by chance
    rows = torch.arange(128)
    checker = ((rows[:, None] + rows[None]) % 2 * 2.0 - 1) * 0.05
    grey = torch.zeros(1, 3, 128, 128)
    assert float((module(grey + checker) - module(grey)).norm()) > 1e-3
    torch.testing.assert_close(module(grey + 0.3), module(grey))  # and the light it does not see


def test_unknown_architecture_lists_what_is_known(tmp_path):
    path = tmp_path / "d.pt"
    _bare(path, architecture="timm:efficientnet_b77")
    with pytest.raises(UserError, match="no architecture 'timm:efficientnet_b77'") as caught:
        load_detector(path)
    assert "small_cnn, meso4, mesoinception4, shallownet, " in str(caught.value.hint)
    assert "efficientnet_b7" in str(caught.value.hint)


def test_pretrained_weights_that_cannot_be_had_are_a_clear_message(monkeypatch):
    import timm

    def offline(*_, **__):
        raise OSError("Cannot reach the hub")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match="could not be had: Cannot reach the hub"):
        build("resnet18", pretrained=True)
    with pytest.raises(UserError, match="no pretrained weights"):
        build("meso4", pretrained=True)


# --------------------------------------------------------------------------------------------------- foreign files


@pytest.mark.parametrize("key", [None, "state_dict", "model", "net"])
@pytest.mark.parametrize("prefix", [None, "module.", "backbone."])
def test_wrapped_and_prefixed_weights_load_as_the_card_says(tmp_path, key, prefix):
    detector = new_detector("small_cnn", seed=7, device="cpu")
    weights = {f"{prefix or ''}{name}": value for name, value in detector.module.state_dict().items()}
    path = tmp_path / "epoch_3.tar"
    torch.save({key: weights, "epoch": 3, "optimizer": {"lr": 0.1}} if key else weights, path)
    write_card(card_path(path), dataclasses.replace(CARD, weights_key=key, strip_prefix=prefix))
    scores = load_detector(path, device="cpu").fake_probability(IMAGES[:2])
    np.testing.assert_array_equal(scores, detector.fake_probability(IMAGES[:2]))
    # A resaved one needs neither.
    save_detector(load_detector(path, device="cpu"), tmp_path / "clean.pt")
    assert load_detector(tmp_path / "clean.pt", device="cpu").card.strip_prefix is None
    if key or prefix:
        write_card(card_path(path), CARD)
        with pytest.raises(UserError, match="more than weights" if key else "missing"):
            load_detector(path)


def test_weights_that_do_not_fit_are_listed(tmp_path):
    path = tmp_path / "d.pt"
    weights = new_detector(device="cpu").module.state_dict()
    weights = {name: value for name, value in weights.items() if not name.startswith("stages.2")}
    weights["head.weight"] = torch.zeros(1, 7)
    weights["extra"] = torch.zeros(1)
    torch.save(weights, path)
    write_card(card_path(path), CARD)
    with pytest.raises(UserError) as caught:
        load_detector(path)
    text = str(caught.value)
    assert "missing: stages.2." in text
    assert text.count("stages.2.") == 5
    assert "1 unexpected: extra" in text
    assert "head.weight is (1, 7) in the file, (1, 96) in the network" in text


class _Evil:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("kind", ["zip", "legacy", "protocol 0", "protocol 2", "protocol 5"])
def test_a_pickle_with_code_is_refused_and_the_code_is_not_run(tmp_path, kind):
    path, trace = tmp_path / "d.pt", tmp_path / "it_ran"
    content = {"state_dict": _Evil(trace)}
    if kind in ("zip", "legacy"):
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    else:
        path.write_bytes(pickle.dumps(content, int(kind[-1])))
    write_card(card_path(path), CARD)
    for read in (load_detector, write_draft):
        card_path(path).unlink(missing_ok=read is write_draft)
        if read is load_detector:
            write_card(card_path(path), CARD)
        with pytest.raises(UserError, match=r"posix\.system.*nothing in it was run"):
            read(path)
    assert not trace.exists()
    with contextlib.suppress(RuntimeError):
        torch.load(io.BytesIO(path.read_bytes()), weights_only=False)  # and it would have run
    assert trace.exists()


def test_whole_modules_and_torchscript_are_refused(tmp_path):
    path = tmp_path / "d.pt"
    torch.save(nn.Linear(2, 2), path)
    with pytest.raises(UserError, match=r"torch\.nn\.modules\.linear\.Linear"):
        load_detector(path)
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))
    with pytest.raises(UserError, match="TorchScript"):
        load_detector(path)


def _bomb(path):
    torch.save({"a": torch.zeros(4)}, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/9", bytes(20_000_000))


def _huge_header(path):
    path.write_bytes((2**60).to_bytes(8, "little") + b'{"a":1}')


def _bad_offsets(path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))


def _repeated(path):
    """A million million values for the price of one: strides of zero."""
    torch.save({"head.weight": torch.zeros(1).expand(10**6, 10**6)}, path)


def _sparse(path):
    torch.save({"a": torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.int64), torch.ones(1), (9**9, 9**9))}, path)


class _Rebuilt:
    """A tensor as a pickle that was written by hand may claim it."""

    def __init__(self, *sizes):
        self.sizes = sizes

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, (torch.zeros(4).storage(), 0, self.sizes, (1,), False, OrderedDict())


def _cut(path):
    _bare(path)
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "folder without config.json"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("not a checkpoint at all"), "damaged or not a PyTorch file"),
        (_cut, "damaged or not a PyTorch file"),
        (_bomb, "unpacks to far more"),
        (_repeated, "head.weight is not a plain tensor of the shape it declares"),
        (_sparse, "a is not a plain tensor|damaged or not"),
        (lambda path: torch.save({"a": _Rebuilt(-4)}, path), "damaged or not a PyTorch file"),
        (lambda path: torch.save({"a": _Rebuilt(1 << 40)}, path), "damaged or not a PyTorch file"),
        (_huge_header, "damaged"),
        (_bad_offsets, "damaged"),
        (lambda path: torch.save([torch.zeros(1)], path), "holds a list"),
        (lambda path: save_file({"a": torch.zeros(2)}, path), "has no card"),
    ],
)
def test_bad_files_are_one_clear_message(tmp_path, make, message):
    path = tmp_path / "d.pt"
    make(path)
    card = CARD if make in (_repeated, _sparse) else None
    with pytest.raises(UserError, match=message):
        load_detector(path, card)


def test_weights_that_are_not_numbers_are_refused(tmp_path):
    path = tmp_path / "d.pt"
    detector = new_detector(device="cpu")
    detector.module.head.weight.data[0, 3] = float("nan")
    _bare(path, detector)
    with pytest.raises(UserError, match=r"not numbers, e\.g\. head\.weight"):
        load_detector(path)


def test_a_size_the_network_cannot_take_is_found_out_at_once(tmp_path):
    path = tmp_path / "d.pt"
    torch.save(build("meso4").state_dict(), path)
    write_card(card_path(path), dataclasses.replace(default_card("meso4"), input_size=128))
    with pytest.raises(UserError, match="meso4 does not take 128 px"):
        load_detector(path)


def test_another_file_under_the_cards_checksum_is_refused(tmp_path):
    path = tmp_path / "d.pt"
    save_detector(new_detector(seed=1, device="cpu"), path)
    kept = card_path(path).read_text()
    save_detector(new_detector(seed=2, device="cpu"), path)
    load_detector(path)
    card_path(path).write_text(kept)
    with pytest.raises(UserError, match="is not the file its card describes"):
        load_detector(path)
