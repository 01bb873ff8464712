"""ONNX files: scored as onnxruntime's reference says, never fine-tuned, never reading outside their folder."""

from __future__ import annotations

import json

import numpy as np
import pytest

from faceswap_hq.errors import UserError
from stress.cli import main
from stress.detectors import load_detector, save_detector
from stress.detectors.draft import write_draft
from stress.experiment import ExperimentSettings, run

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

SIDE = 16
CARD = ["mean=[0,0,0]", "std=[1,1,1]", "color_order=RGB", "alignment=box", "crop_margin=1.3", "threshold=0.5",
        "threshold_source=none", "fake_index=1", f"input_size={SIDE}"]  # fmt: skip
FACES = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)
WEIGHTS = np.random.default_rng(1).normal(0, 2, (3, 2)).astype(np.float32)


def write_onnx(path, *, outputs=1, batch="n", last=False, head=None, weights=WEIGHTS, kind=np.float32, change=None):
    """Mean of the picture, a dense layer, and maybe a sigmoid or softmax."""
    weights = weights[:, :outputs].astype(kind)
    number = TensorProto.FLOAT if kind == np.float32 else TensorProto.FLOAT16
    shape = [batch, SIDE, SIDE, 3] if last else [batch, 3, SIDE, SIDE]
    axes = numpy_helper.from_array(np.array([1, 2] if last else [2, 3], np.int64), "axes")
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["mean", "w"], ["logit" if head else "y"]),
    ]
    nodes += [helper.make_node(head, ["logit"], ["y"])] if head else []
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("x", number, shape)],
        [helper.make_tensor_value_info("y", number, [batch, outputs])],
        [axes, numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if change is not None:
        change(model, path)
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"batch": 1},
        {"batch": 3, "last": True},
        {"outputs": 2},
        {"head": "Sigmoid", "kind": np.float16},
        {"outputs": 2, "head": "Softmax"},
    ],
)
def test_scores_are_those_of_the_graph_whatever_its_layout(tmp_path, how):
    path = tmp_path / "d.onnx"
    write_onnx(path, **how)
    card, missing = write_draft(path, CARD)
    assert missing == []
    assert json.loads(card.read_text())["architecture"] == "onnx"
    logits = FACES.mean((1, 2)) / 255 @ WEIGHTS
    expected = logits[:, 0] if how.get("outputs", 1) == 1 else logits[:, 1] - logits[:, 0]
    found = load_detector(path).fake_probability(FACES)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-expected)), atol=1e-5 if "kind" not in how else 2e-3)


def test_it_is_not_fine_tuned_and_that_is_said_before_anything_is_scored(tmp_path, capsys):
    path = tmp_path / "d.onnx"
    write_onnx(path)
    write_draft(path, CARD)
    detector = load_detector(path)
    detector.module.forward = None  # scoring would fail otherwise
    with pytest.raises(UserError, match="d cannot be fine-tuned") as caught:
        run(detector, [], [], settings=ExperimentSettings())
    assert "--no-finetune" in str(caught.value.hint)
    with pytest.raises(UserError, match="cannot be saved"):
        save_detector(detector, tmp_path / "copy")
    assert main(["--detector", str(path), "--fakes", str(tmp_path / "none")]) == 2
    assert "cannot be fine-tuned" in capsys.readouterr().err
    assert main(["--detector", str(path), "--fakes", str(tmp_path / "none"), "--no-finetune"]) == 2
    assert "none does not exist" in capsys.readouterr().err


def test_a_blank_stays_where_the_graph_leaves_doubt(tmp_path):
    path = tmp_path / "d.onnx"
    write_onnx(path, head="Identity")  # a logit, or a probability made elsewhere
    assert "output" in write_draft(path)[1]


def _external(location, content=None):
    def change(model, path):
        tensor = model.graph.initializer[1]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        if content is not None:
            (path.parent / location).write_bytes(content)

    return change


def _in_a_branch(model, path):
    """The same trick, in a constant inside a branch."""
    tensor = numpy_helper.from_array(np.zeros((1, 1), np.float32), "c")
    _external("/etc/passwd")(helper.make_model(helper.make_graph([], "g", [], [], [tensor, tensor])), path)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    value = helper.make_tensor_value_info("c", TensorProto.FLOAT, [1, 1])
    branch = helper.make_graph([helper.make_node("Constant", [], ["c"], value=tensor)], "branch", [], [value])
    model.graph.node.append(helper.make_node("If", ["k"], ["z"], then_branch=branch, else_branch=branch))


def _link(model, path):
    (path.parent / "w.bin").symlink_to("/etc/passwd")
    _external("w.bin")(model, path)


def _sizes(*sizes):
    def change(model, path):
        del model.graph.initializer[1].dims[:]
        model.graph.initializer[1].dims.extend(sizes)

    return change


def _open(path):
    write_draft(path, [*CARD, "output=logit"])
    return load_detector(path)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"change": _external("../secret")}, "'../secret', outside its folder"),
        ({"change": _external("/etc/passwd")}, "outside its folder"),
        ({"change": _external("a/../../x")}, "outside its folder"),
        ({"change": _in_a_branch}, "'../secret', outside its folder"),
        ({"change": _link}, "'w.bin', outside its folder"),
        ({"change": _external("w.bin")}, "w.bin, which is missing"),
        ({"change": _external("w.bin", b"1234")}, "is damaged"),
        ({"change": _sizes(-3, 1)}, "negative size"),
        ({"change": _sizes(1 << 30, 1 << 30)}, "is damaged"),
        ({"weights": np.full((3, 2), np.nan, np.float32)}, "w holds values that are not numbers"),
        ({"change": lambda m, p: m.graph.input[0].type.tensor_type.shape.dim.pop()}, "a detector takes pictures"),
        ({"change": lambda m, p: m.graph.input.append(m.graph.output[0])}, "has 2 inputs"),
        ({"change": lambda m, p: m.graph.output.append(m.graph.input[0])}, "has 2 outputs"),
        ({"change": lambda m, p: m.graph.node.pop()}, "cannot be run by onnxruntime"),
    ],
)
def test_hostile_onnx_is_one_clear_message(tmp_path, how, message):
    path = tmp_path / "d.onnx"
    write_onnx(path, **how)
    with pytest.raises(UserError, match=message):
        _open(path)


def test_weights_beside_the_file_are_read_and_are_part_of_its_checksum(tmp_path):
    path = tmp_path / "d.onnx"
    write_onnx(path, change=_external("w.bin", WEIGHTS[:, :1].tobytes()))
    write_draft(path, CARD)
    expected = 1 / (1 + np.exp(-(FACES.mean((1, 2)) / 255 @ WEIGHTS[:, 0])))
    np.testing.assert_allclose(load_detector(path).fake_probability(FACES), expected, atol=1e-5)
    (tmp_path / "w.bin").write_bytes(WEIGHTS[:, 1:].tobytes())
    with pytest.raises(UserError, match="is not the file its card describes"):
        load_detector(path)
    path.write_bytes(b"\x08\x07not really")
    with pytest.raises(UserError, match="damaged or not ONNX"):
        load_detector(path)
