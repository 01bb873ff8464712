"""Checkpoints of DeepfakeBench, Self-Blended Images, timm and TorchScript, made here with the published key layouts."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from faceswap_hq.errors import UserError
from stress.cli import main
from stress.detectors import load_detector, require_savable, require_trainable, save_detector
from stress.detectors.draft import write_draft
from stress.detectors.importers import deepfakebench, efficientnet_pytorch, read_detector
from stress.detectors.importers.suggest import suggest
from stress.detectors.zoo import build
from stress.training import TrainSettings, train
from stress.training.freezing import freeze
from tests.stress.synthetic import crops, sides

REST = ["crop_margin=1.3", "threshold=0.5", "threshold_source=none"]
FACE = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)


def _random(shape, name):
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    value = torch.randn(shape) * (0.1 if len(shape) < 2 else 1.4 / np.sqrt(np.prod(shape[1:])))
    return value.abs() + 0.5 if name.endswith("running_var") else value


# -------------------------------------------------------------------------------------------------- DeepfakeBench


def _norm(name, width):
    values = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (width,)) | {"num_batches_tracked": ()}
    return {f"{name}.{key}": shape for key, shape in values.items()}


def _separable(name, inputs, outputs):
    return {f"{name}.conv1.weight": (inputs, 1, 3, 3), f"{name}.pointwise.weight": (outputs, inputs, 1, 1)}


def xception_layout():
    """Names and shapes of DeepfakeBench's Xception, from Chollet's figure 5 and the FaceForensics++ naming."""
    shapes = {"conv1.weight": (32, 3, 3, 3), **_norm("bn1", 32), "conv2.weight": (64, 32, 3, 3), **_norm("bn2", 64)}
    widths = [(64, 128, 128), (128, 256, 256), (256, 728, 728), *[(728,) * 4] * 8, (728, 728, 1024)]
    for number, block in enumerate(widths, start=1):
        for i, (a, b) in enumerate(zip(block, block[1:], strict=False)):
            place = 3 * i + (number > 1)  # the first block starts without a ReLU
            shapes |= _separable(f"block{number}.rep.{place}", a, b) | _norm(f"block{number}.rep.{place + 1}", b)
        if block[0] != block[-1]:
            shapes[f"block{number}.skip.weight"] = (block[-1], block[0], 1, 1)
            shapes |= _norm(f"block{number}.skipbn", block[-1])
    shapes |= _separable("conv3", 1024, 1536) | _norm("bn3", 1536) | _separable("conv4", 1536, 2048)
    shapes |= _norm("bn4", 2048) | {"last_linear.weight": (2, 2048), "last_linear.bias": (2,)}
    shapes |= {"adjust_channel.0.weight": (512, 2048, 1, 1), "adjust_channel.0.bias": (512,)}
    return shapes | _norm("adjust_channel.1", 512)


def xception_forward(w, x):
    """Chollet's figure 5 as functions of the named weights."""

    def norm(x, name):
        mean, var, weight, bias = (w[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, weight, bias)

    def separable(x, name):
        x = F.conv2d(x, w[f"{name}.conv1.weight"], padding=1, groups=x.shape[1])
        return F.conv2d(x, w[f"{name}.pointwise.weight"])

    x = F.relu(norm(F.conv2d(x, w["conv1.weight"], stride=2), "bn1"))
    x = F.relu(norm(F.conv2d(x, w["conv2.weight"]), "bn2"))
    for number in range(1, 13):
        name, strided, y = f"block{number}", number in (1, 2, 3, 12), x
        for i in range(2 if strided else 3):
            place = 3 * i + (number > 1)
            y = y if number == 1 and i == 0 else F.relu(y)
            y = norm(separable(y, f"{name}.rep.{place}"), f"{name}.rep.{place + 1}")
        if strided:
            y = F.max_pool2d(y, 3, 2, 1)
            x = norm(F.conv2d(x, w[f"{name}.skip.weight"], stride=2), f"{name}.skipbn")
        x = x + y
    x = F.relu(norm(separable(x, "conv3"), "bn3"))
    x = F.relu(norm(separable(x, "conv4"), "bn4"))
    return F.linear(x.mean((2, 3)), w["last_linear.weight"], w["last_linear.bias"])


@pytest.fixture(scope="module")
def xception():
    torch.manual_seed(0)
    return {name: _random(shape, name) for name, shape in xception_layout().items()}


def test_a_deepfakebench_xception_scores_as_its_definition_does(tmp_path, xception):
    path = tmp_path / "xception_best.pth"
    torch.save({f"module.backbone.{name}": value for name, value in xception.items()}, path)
    card, missing = write_draft(path, ["crop_margin=1.3"])
    values = json.loads(card.read_text())
    assert (values["architecture"], values["input_size"], values["fake_index"]) == ("timm:legacy_xception", 256, 1)
    assert missing == ["threshold", "threshold_source"]
    assert values["_filled_in_because"]["fake_index"] == "DeepfakeBench's labels: 1 = fake"
    card.write_text(json.dumps(values | {"input_size": 64} | {"threshold": 0.5, "threshold_source": "none"}))
    x = torch.from_numpy(FACE).permute(0, 3, 1, 2).float() / 255 * 2 - 1
    expected = xception_forward(xception, x).softmax(1)[:, 1]
    assert 0.01 < float(expected) < 0.99
    found = load_detector(path, device="cpu")
    assert found.fake_probability(FACE) == pytest.approx(expected.numpy(), abs=1e-5)


def test_xceptions_names_map_one_to_one(xception):
    there = deepfakebench.xception_from(xception)
    with torch.device("meta"):
        ours = build("timm:legacy_xception", 2).state_dict()
    assert {name: tuple(value.shape) for name, value in there.items()} == {n: tuple(v.shape) for n, v in ours.items()}
    same = {name: value for name, value in xception.items() if not name.startswith(("adjust_channel", "last_linear"))}
    assert all(there[name] is value for name, value in same.items())
    assert len(there) == len(same) + 2
    behind_dropout = {"last_linear.1.weight": there["fc.weight"], "last_linear.1.bias": there["fc.bias"]}
    assert set(deepfakebench.xception_from(behind_dropout)) == {"fc.weight", "fc.bias"}


def test_deepfakebenchs_other_networks_are_told_apart(tmp_path):
    meso = {"conv1.weight": (8, 3, 3, 3), **_norm("bn1", 8), "fc1.weight": (16, 1024)}
    torch.save({f"backbone.{n}": torch.zeros(s) for n, s in meso.items()}, tmp_path / "meso.pth")
    with pytest.raises(UserError, match="shares batch norms"):
        write_draft(tmp_path / "meso.pth")
    bare = {n.removeprefix("backbone."): torch.zeros(s) for n, s in xception_layout().items()}
    torch.save(bare, tmp_path / "bare.pth")
    assert read_detector(tmp_path / "bare.pth").format == "weights"  # another training's: nothing is assumed of it


def test_deepfakebenchs_efficientnet_pads_for_380_px():
    with torch.device("meta"):
        ours = build("efficientnet_b4_dfb", 2).state_dict()
    theirs = {f"efficientnet.{name}": None for name in efficientnet_layout("b4") if not name.startswith("_fc.")}
    theirs |= {"last_layer.weight": None, "last_layer.bias": None, "adjust_channel.0.weight": None}
    assert set(deepfakebench.efficientnet_from(theirs)) == set(ours)
    with torch.device("meta"):
        module = build("efficientnet_b4_dfb", 2)
    strided = [part for part in module.modules() if isinstance(part, nn.Conv2d) and part.stride[0] == 2]
    # TensorFlow's rule for 190, 95, 48 and 24 px with kernels of 3, 5, 3 and 5; none at the stem
    assert [part.sides for part in strided] == [(0, 0, 0, 0), (0, 1, 0, 1), (2, 2, 2, 2), (0, 1, 0, 1), (1, 2, 1, 2)]


# ------------------------------------------------------------------------------------------- EfficientNet-PyTorch

_TABLE = [(1, 3, 16, 1), (6, 3, 24, 2), (6, 5, 40, 2), (6, 3, 80, 3), (6, 5, 112, 3), (6, 5, 192, 4), (6, 3, 320, 1)]
"""Expansion, kernel, width and repeats of Tan and Le 2019, table 1."""
_SCALING = {"b0": (1.0, 1.0), "b4": (1.4, 1.8), "b7": (2.0, 3.1)}


def _round(width, factor):
    scaled = width * factor
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def efficientnet_layout(variant, outputs=2):
    """Names and shapes in EfficientNet-PyTorch's naming, from the paper's table and its compound scaling."""
    wide, deep = _SCALING[variant]
    inputs, number = _round(32, wide), 0
    shapes = {"_conv_stem.weight": (inputs, 3, 3, 3), **_norm("_bn0", inputs)}
    for expansion, kernel, width, repeats in _TABLE:
        outs = _round(width, wide)
        for _ in range(int(np.ceil(repeats * deep))):
            name, middle, squeezed = f"_blocks.{number}", inputs * expansion, max(1, inputs // 4)
            if expansion > 1:
                shapes |= {f"{name}._expand_conv.weight": (middle, inputs, 1, 1), **_norm(f"{name}._bn0", middle)}
            shapes |= {f"{name}._depthwise_conv.weight": (middle, 1, kernel, kernel), **_norm(f"{name}._bn1", middle)}
            shapes |= {f"{name}._se_reduce.weight": (squeezed, middle, 1, 1), f"{name}._se_reduce.bias": (squeezed,)}
            shapes |= {f"{name}._se_expand.weight": (middle, squeezed, 1, 1), f"{name}._se_expand.bias": (middle,)}
            shapes |= {f"{name}._project_conv.weight": (outs, middle, 1, 1), **_norm(f"{name}._bn2", outs)}
            inputs, number = outs, number + 1
    head = _round(1280, wide)
    shapes |= {"_conv_head.weight": (head, inputs, 1, 1), **_norm("_bn1", head)}
    return shapes | {"_fc.weight": (outputs, head), "_fc.bias": (outputs,)}


@pytest.mark.parametrize("variant", ["b0", "b4", "b7"])
def test_efficientnets_names_map_one_to_one(variant):
    theirs = {name: torch.empty(shape, device="meta") for name, shape in efficientnet_layout(variant).items()}
    ours = efficientnet_pytorch.to_timm(theirs, variant)
    with torch.device("meta"):
        expected = build(f"timm:tf_efficientnet_{variant}", 2).state_dict()
    assert {n: v.shape for n, v in ours.items()} == {n: v.shape for n, v in expected.items()}
    assert len(ours) == len(theirs)


def test_only_an_efficientnet_b4_under_net_is_taken_for_self_blended_images():
    layout = {name: torch.zeros(shape, dtype=torch.float16) for name, shape in efficientnet_layout("b0").items()}
    for prefix in ("", "net.", "module."):
        found = efficientnet_pytorch.recognise("x.tar", {prefix + name: value for name, value in layout.items()})
        assert set(found.facts) == {"architecture"}
        assert found.facts["architecture"][0] == "timm:tf_efficientnet_b0"
    layout.pop("_conv_head.weight")
    assert efficientnet_pytorch.recognise("x.tar", layout) is None
    layout["_conv_head.weight"] = torch.zeros(7, 320, 1, 1)
    with pytest.raises(UserError, match="16 blocks, which none of B0 to B7"):
        efficientnet_pytorch.recognise("x.tar", layout)


@pytest.mark.slow
def test_a_self_blended_images_checkpoint_loads_and_its_card_is_drafted(tmp_path):
    path = tmp_path / "FFc23.tar"
    weights = {f"net.{name}": _random(shape, name) for name, shape in efficientnet_layout("b4").items()}
    torch.save({"model": weights, "optimizer": {"param_groups": []}, "epoch": 99}, path)
    card, missing = write_draft(path, ["crop_margin=1.3"])
    values = json.loads(card.read_text())
    assert missing == ["threshold", "threshold_source"]
    facts = {name: values[name] for name in ("architecture", "input_size", "mean", "std", "output", "fake_index")}
    assert facts == {
        "architecture": "timm:tf_efficientnet_b4", "input_size": 380, "mean": [0, 0, 0], "std": [1, 1, 1],
        "output": "two_logits", "fake_index": 1,
    }  # fmt: skip
    values |= {"input_size": 64, "threshold": 0.5, "threshold_source": "none"}
    card.write_text(json.dumps(values))
    module = load_detector(path, device="cpu").module
    expected = {name.removeprefix("net."): value for name, value in weights.items()}
    expected = efficientnet_pytorch.to_timm(expected, "b4")
    assert all(torch.equal(value, expected[name]) for name, value in module.state_dict().items())
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    assert {part.eps for part in norms} == {1e-3}
    assert type(module.conv_stem).__name__ == "Conv2dSame"
    card.write_text(json.dumps(values | {"architecture": "timm:efficientnet_b4"}))
    with pytest.raises(UserError, match="for timm:tf_efficientnet_b4; its card says timm:efficientnet_b4"):
        load_detector(path)


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "side"), [("b0", 224), ("b4", 380)])
def test_timm_gives_what_efficientnet_pytorch_gives(variant, side):
    theirs = pytest.importorskip("efficientnet_pytorch").EfficientNet.from_name(f"efficientnet-{variant}")
    theirs.load_state_dict({name: _random(shape, name) for name, shape in efficientnet_layout(variant, 1000).items()})
    ours = build(f"timm:tf_efficientnet_{variant}", 1000).eval()
    ours.load_state_dict(efficientnet_pytorch.to_timm(theirs.state_dict(), variant))
    x = torch.rand(1, 3, side, side)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs.eval()(x), rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------------------------------------------ bare timm


def test_bare_weights_get_a_remark_and_no_architecture(tmp_path):
    path = tmp_path / "found.pth"
    with torch.device("meta"):
        planned = build("timm:resnet18", 1).state_dict()
    names = {f"module.{name}": torch.zeros(value.shape) for name, value in planned.items()}
    torch.save({"state_dict": names}, path)
    values = json.loads(write_draft(path)[0].read_text())
    assert values["architecture"] is None
    assert values["_architecture_could_be"] == ["timm:resnet18"]
    with torch.device("meta"):
        several = suggest(build("timm:tf_efficientnet_b0", 3).state_dict())
        ours = {name: suggest(build(name, 2).state_dict()) for name in ("meso4", "mesoinception4", "small_cnn")}
        odd = build("timm:resnet18", 2).state_dict() | {"extra.weight": torch.empty(2, 2)}
    assert several == ["timm:efficientnet_b0", "timm:tf_efficientnet_b0"]
    assert ours == {name: [name] for name in ours}
    assert suggest(odd) == []


# ---------------------------------------------------------------------------------------------------- TorchScript


class _Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3), nn.Linear(4, 1)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)).mean((2, 3)))


TORCHSCRIPT = ["input_size=64", "mean=[0,0,0]", "std=[1,1,1]", "color_order=RGB", "alignment=box", "output=logit",
               "fake_index=1", *REST]  # fmt: skip


def test_torchscript_runs_only_when_its_code_is_trusted(tmp_path, capsys):
    path, net = tmp_path / "d.pt", _Net().eval()
    torch.jit.script(net).save(str(path))
    write_draft(path, TORCHSCRIPT)  # a draft runs nothing
    with pytest.raises(UserError, match="TorchScript, which runs code") as caught:
        load_detector(path)
    assert "--trust-code" in str(caught.value.hint)
    for arguments, message in (([], "runs code"), (["--trust-code"], "none does not exist")):
        assert main(["--detector", str(path), "--fakes", str(tmp_path / "none"), *arguments]) == 2
        assert message in capsys.readouterr().err
    detector = load_detector(path, device="cpu", trust_code=True)
    x = torch.from_numpy(FACE).permute(0, 3, 1, 2).float() / 255
    assert detector.fake_probability(FACE) == pytest.approx(net(x).sigmoid().detach().numpy()[:, 0], abs=1e-6)
    require_trainable(detector)
    before = {name: value.clone() for name, value in detector.module.named_parameters()}
    settings = TrainSettings(epochs=1, batch=8, layers="last")
    trained = train(detector, *sides(crops(4, artefact=20, size=64)), settings).module
    changed = [name for name, value in trained.named_parameters() if not torch.equal(value, before[name])]
    assert changed == ["program.last.weight", "program.last.bias"]
    assert len(freeze(detector.module, "last")) == 1  # its layers are seen: only the dense one is trained
    assert [name for name, value in detector.module.named_parameters() if value.requires_grad] == [
        "program.last.weight", "program.last.bias",
    ]  # fmt: skip
    for run in (lambda: require_savable(detector), lambda: save_detector(detector, tmp_path / "out")):
        with pytest.raises(UserError, match="cannot be saved"):
            run()
    torch.jit.freeze(torch.jit.script(net)).save(str(path))
    path.with_name("d.card.json").unlink()
    write_draft(path, TORCHSCRIPT)
    with pytest.raises(UserError, match="cannot be fine-tuned"):
        require_trainable(load_detector(path, device="cpu", trust_code=True))
