"""The MesoNet authors' Keras files against an independent numpy and scipy run of the Keras graph."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import torch
from scipy.ndimage import correlate
from scipy.special import expit

from faceswap_hq.errors import UserError
from stress.detectors import load_detector
from stress.detectors.draft import write_draft

MESO4 = [("conv2d", (3, 3, 3, 8)), ("bn", 8), ("conv2d", (5, 5, 8, 8)), ("bn", 8), ("conv2d", (5, 5, 8, 16)),
         ("bn", 16), ("conv2d", (5, 5, 16, 16)), ("bn", 16), ("dense", (1024, 16)), ("dense", (16, 1))]  # fmt: skip


def _branches(inputs, a, b, c, d):
    """The seven convolutions of an inception block in the order in which the authors' code makes them."""
    pairs = [((1, 1, inputs, width), (3, 3, width, width)) for width in (b, c, d)]
    return [("conv2d", (1, 1, inputs, a)), *(("conv2d", shape) for pair in pairs for shape in pair)]


INCEPTION = [*_branches(3, 1, 4, 4, 2), ("bn", 11), *_branches(11, 2, 4, 4, 2), ("bn", 12), ("conv2d", (5, 5, 12, 16)),
             ("bn", 16), ("conv2d", (5, 5, 16, 16)), ("bn", 16), ("dense", (1024, 16)), ("dense", (16, 1))]  # fmt: skip
NAMES = {"bn": "batch_normalization"}


def write_keras(path, layers, *, first=8, seed=0, shuffled=True):
    """Random weights in Keras 2's layout; numbers go over 9 to 10, and layers are listed in another order."""
    rng = np.random.default_rng(seed)
    counts = {}
    entries = []
    for kind, shape in layers:
        kind_name = NAMES.get(kind, kind)
        counts[kind_name] = number = counts.get(kind_name, first - 1) + 1
        if kind == "bn":
            values = {
                "gamma": rng.uniform(0.5, 1.5, shape), "beta": rng.normal(0, 0.3, shape),
                "moving_mean": rng.normal(0, 0.1, shape), "moving_variance": rng.uniform(0.05, 0.3, shape),
            }  # fmt: skip
        else:
            scale = (0.05 if kind == "dense" else 1) / np.sqrt(np.prod(shape[:-1]))
            values = {"kernel": rng.normal(0, scale, shape), "bias": rng.normal(0, 0.1, shape[-1])}
        entries.append((f"{kind_name}_{number}", {key: value.astype(np.float32) for key, value in values.items()}))
    order = rng.permutation(len(entries)) if shuffled else range(len(entries))
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"input_1", *(entries[i][0].encode() for i in order)]
        file.create_group("input_1").attrs["weight_names"] = np.zeros(0)
        for layer, values in entries:
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{key}:0".encode() for key in values]
            for key, value in values.items():
                group[f"{layer}/{key}:0"] = value


class Graph:
    """The authors' classifiers.py as arithmetic on (rows, columns, channels) in float64."""

    def __init__(self, path):
        self.kinds = {}
        with h5py.File(path) as file:
            for layer in file:
                kind, _, number = layer.rpartition("_")
                values = {k.partition(":")[0]: np.float64(v) for k, v in file[layer].get(layer, {}).items()}
                if values:
                    self.kinds.setdefault(kind, []).append((int(number), values))
        self.kinds = {kind: [v for _, v in sorted(found, key=lambda x: x[0])] for kind, found in self.kinds.items()}

    def conv(self, x, dilation=1):
        layer = self.kinds["conv2d"].pop(0)
        kernel, sums = layer["kernel"], 0
        spread = np.zeros([(n - 1) * dilation + 1 for n in kernel.shape[:2]] + list(kernel.shape[2:]))
        spread[::dilation, ::dilation] = kernel
        out = np.empty((*x.shape[:2], kernel.shape[3]))
        for o in range(kernel.shape[3]):
            sums = sum(correlate(x[..., i], spread[..., i, o], mode="constant") for i in range(x.shape[2]))
            out[..., o] = np.maximum(sums + layer["bias"][o], 0)
        return out

    def norm_pool(self, x, side):
        layer = self.kinds["batch_normalization"].pop(0)
        x = (x - layer["moving_mean"]) / np.sqrt(layer["moving_variance"] + 1e-3) * layer["gamma"] + layer["beta"]
        rows, columns, channels = x.shape
        return x.reshape(rows // side, side, columns // side, side, channels).max((1, 3))

    def dense(self, x):
        layer = self.kinds["dense"].pop(0)
        return x @ layer["kernel"] + layer["bias"]

    def inception(self, x):
        parts = [self.conv(x), *(self.conv(self.conv(x), dilation) for dilation in (1, 2, 3))]
        return np.concatenate(parts, -1)

    def __call__(self, x, inception):
        for side in (2, 2):
            x = self.norm_pool(self.inception(x) if inception else self.conv(x), side)
        for side in (2, 4):
            x = self.norm_pool(self.conv(x), side)
        x = self.dense(x.reshape(-1))  # rows, columns, channels
        return expit(self.dense(np.where(x > 0, x, 0.1 * x)))[0]


FILL = ["crop_margin=1.1", "licence=none"]


def _compare(path, image, inception):
    write_draft(path, FILL)
    detector = load_detector(path, device="cpu")
    expected = 1 - Graph(path)(image / 255, inception)  # the sigmoid means real
    assert detector.fake_probability(image[None]) == pytest.approx([expected], abs=1e-5)
    return expected


@pytest.mark.parametrize("layers", [MESO4, INCEPTION], ids=["meso4", "mesoinception4"])
def test_random_weights_give_what_the_keras_graph_gives(tmp_path, layers):
    path = tmp_path / "weights.h5"
    write_keras(path, layers)
    image = np.random.default_rng(1).integers(0, 256, (256, 256, 3), np.uint8)
    value = _compare(path, image, layers is INCEPTION)
    assert 0.01 < value < 0.99  # else the sigmoid would hide differences


@pytest.mark.footage
@pytest.mark.parametrize("name", ["Meso4_DF", "Meso4_F2F", "MesoInception_DF", "MesoInception_F2F"])
def test_the_authors_files_give_what_the_keras_graph_gives(shared, tmp_path, name):
    path = tmp_path / f"{name}.h5"
    path.write_bytes((shared / f"detectors/mesonet/{name}.h5").read_bytes())
    rng = np.random.default_rng(2)
    smooth = rng.uniform(40, 220, (8, 8, 3)).repeat(32, 0).repeat(32, 1) + rng.normal(0, 6, (256, 256, 3))
    _compare(path, np.clip(smooth, 0, 255).astype(np.uint8), "Inception" in name)
    card = json.loads(path.with_name(f"{name}.card.json").read_text())
    assert card["training_data"].startswith("Face2Face" if "F2F" in name else "the authors' deepfakes")
    assert "Apache-2.0" in card["_filled_in_because"]["licence"]


def test_the_draft_says_what_the_format_implies_and_why(tmp_path):
    path = tmp_path / "weights.h5"
    write_keras(path, MESO4)
    card, missing = write_draft(path)
    values = json.loads(card.read_text())
    assert missing == ["crop_margin"]
    assert (values["architecture"], values["fake_index"], values["input_size"]) == ("meso4", 0, 256)
    assert set(values["_filled_in_because"]) == {
        key for key, value in values.items() if value is not None and not key.startswith("_")
    } - {"format", "version", "sha256"}
    assert values["licence"] is None  # whose weights these are, nobody knows


def test_a_whole_model_file_is_read_too(tmp_path):
    write_keras(tmp_path / "weights.h5", MESO4)
    with h5py.File(tmp_path / "weights.h5") as old, h5py.File(tmp_path / "model.h5", "w") as new:
        group = new.create_group("model_weights")
        group.attrs.update(old.attrs)
        for name in old:
            old.copy(name, group)
    for name in ("weights.h5", "model.h5"):
        write_draft(tmp_path / name, FILL)
    a, b = (load_detector(tmp_path / name, device="cpu").module.state_dict() for name in ("weights.h5", "model.h5"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def _change(change):
    def make(path):
        write_keras(path, MESO4, shuffled=False)
        with h5py.File(path, "a") as file:
            change(file, path)

    return make


def _replace(file, **how):
    del file["dense_8/dense_8/kernel:0"]
    file["dense_8/dense_8"].create_dataset("kernel:0", dtype="f4", **how)


def _link(link):
    def change(file, path):
        with h5py.File(path.with_name("secret.h5"), "w") as other:
            other["kernel"] = np.zeros((1024, 16), np.float32)
        del file["dense_8/dense_8/kernel:0"]
        file["dense_8/dense_8/kernel:0"] = link

    return change


def _virtual(file, path):
    layout = h5py.VirtualLayout((1024, 16), "f4")
    layout[:] = h5py.VirtualSource(str(path.with_name("secret.h5")), "kernel", (1024, 16))
    del file["dense_8/dense_8/kernel:0"]
    file["dense_8/dense_8"].create_virtual_dataset("kernel:0", layout)


def _nan(file, path):
    file["dense_8/dense_8/kernel:0"][3, 3] = np.nan


def _cut(path):
    write_keras(path, MESO4)
    path.write_bytes(path.read_bytes()[:40_000])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_change(_link(h5py.ExternalLink("secret.h5", "kernel"))), "a link to elsewhere .ExternalLink"),
        (_change(_link(h5py.SoftLink("/dense_9/dense_9/kernel:0"))), "a link to elsewhere .SoftLink"),
        (_change(_virtual), "keeps its numbers in another file"),
        (_change(lambda f, p: _replace(f, shape=(1024, 16), external=[("/dev/zero", 0, 65536)])), "in another file"),
        (_change(lambda f, p: _replace(f, shape=(1 << 20, 1 << 20))), "more than the file can hold"),
        (_change(lambda f, p: _replace(f, shape=(1 << 40,), chunks=(1 << 20,), compression="gzip")), "more than"),
        (_change(lambda f, p: _replace(f, shape=(10, 16))), "has 10 inputs, not 1024"),
        (_change(lambda f, p: _replace(f, shape=(1024,))), "no fitting kernel"),
        (_change(_nan), r"not numbers, e\.g\. fc1\.weight"),
        (_change(lambda f, p: f["dense_8"].attrs.__setitem__("weight_names", [b"../../x:0"])), "link to elsewhere"),
        (_change(lambda f, p: f.attrs.__delitem__("layer_names")), "without Keras' list of layers"),
        (lambda path: write_keras(path, MESO4[2:]), r"not known here \(3 conv2d"),
        (_cut, "damaged or not Keras 2's"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "damaged or not Keras 2's"),
    ],
)
def test_hostile_hdf5_is_one_clear_message(tmp_path, make, message):
    path = tmp_path / "weights.h5"
    make(path)
    with pytest.raises(UserError, match=message) as caught:
        write_draft(path)
    assert "\n" not in str(caught.value).split("\n  ")[0]
