from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from faceswap_hq.errors import UserError
from faceswap_hq.faces.parsing import CLASSES, FaceParser

SIDE = 96
_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def _field(number: int, value: bytes | int) -> bytes:
    """One field of a Protocol Buffers message."""

    def varint(n: int) -> bytes:
        out = bytearray()
        while n > 127:
            out.append(n & 127 | 128)
            n >>= 7
        return bytes(out + bytes([n]))

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def write_network(path: Path, colors: dict[int, tuple[float, float, float]], classes: int = CLASSES) -> Path:
    """An ONNX network of one 1 × 1 convolution that gives each pixel to the class whose color is nearest.

    -|x - c|² = 2 c·x - |c|² - |x|², and the last is the same for all classes.
    """
    weights, bias = np.zeros((classes, 3, 1, 1), np.float32), np.full(classes, -1e4, np.float32)
    for label, color in colors.items():
        # The distance is taken in plain colors: x = mean + std · input
        weights[label, :, 0, 0] = 2 * np.array(color) * _STD
        bias[label] = 2 * np.array(color) @ _MEAN - np.array(color) @ np.array(color)

    def tensor(name: str, values: np.ndarray) -> bytes:
        sizes = b"".join(_field(1, n) for n in values.shape)
        return sizes + _field(2, 1) + _field(8, name.encode()) + _field(9, values.tobytes())

    def value(name: str, sizes: tuple[int, ...]) -> bytes:
        shape = b"".join(_field(1, _field(1, n)) for n in sizes)
        return _field(1, name.encode()) + _field(2, _field(1, _field(1, 1) + _field(2, shape)))

    node = b"".join(_field(1, name) for name in (b"x", b"w", b"b")) + _field(2, b"y") + _field(4, b"Conv")
    node += _field(5, _field(1, b"kernel_shape") + _field(8, 1) + _field(8, 1) + _field(20, 7))
    graph = (
        _field(1, node) + _field(2, b"g") + _field(5, tensor("w", weights)) + _field(5, tensor("b", bias))
        + _field(11, value("x", (1, 3, SIDE, SIDE))) + _field(12, value("y", (1, classes, SIDE, SIDE)))
    )  # fmt: skip
    path.write_bytes(_field(1, 8) + _field(7, graph) + _field(8, _field(1, b"") + _field(2, 11)))
    return path


SKIN, HAIR, GLASSES, HAND = (0.8, 0.6, 0.5), (0.1, 0.1, 0.1), (0.1, 0.1, 0.9), (0.2, 0.9, 0.2)
COLORS = {1: SKIN, 6: GLASSES, 17: HAIR, 0: HAND}


@pytest.fixture
def network(tmp_path) -> Path:
    return write_network(tmp_path / "parser.onnx", COLORS)


def picture() -> np.ndarray:
    """Hair around a round face with glasses across and a green hand before the chin."""
    image = np.empty((200, 200, 3), np.float32)
    image[:] = HAIR
    cv2.circle(image, (100, 100), 60, SKIN, -1)
    image[80:90, 60:140] = GLASSES
    image[130:170, 80:120] = HAND
    return (image * 255).round().astype(np.uint8)


class TestFaceParser:
    def test_face_is_face_and_what_is_in_front_is_not(self, network):
        matrix = np.float32([[0.8, 0, -16], [0, 0.8, -16]])  # the frame's 20 ... 180 in 128 pixels
        inside = FaceParser(network, side=SIDE).inside(picture(), matrix, 128)
        assert inside.shape == (128, 128)
        assert inside.dtype == np.float32
        truth = np.zeros((200, 200), np.float32)
        cv2.circle(truth, (100, 100), 60, 1, -1)
        truth[130:170, 80:120] = 0
        truth = cv2.warpAffine(truth, matrix, (128, 128))
        assert np.abs(inside - truth).mean() < 0.03
        assert (inside[(truth > 0.99) & (cv2.erode(truth, np.ones((7, 7))) > 0.99)] > 0.9).all()

    def test_glasses_are_face_or_not_as_one_likes(self, network):
        matrix = np.float32([[0.8, 0, -16], [0, 0.8, -16]])
        on, off = (
            FaceParser(network, side=SIDE, face=face).inside(picture(), matrix, 128)[52:55, 40:88].mean()
            for face in ((1, 6), (1,))
        )
        assert on > 0.9
        assert off < 0.35

    @pytest.mark.parametrize("kind", ["missing", "no network", "another network"])
    def test_what_is_no_parser(self, tmp_path, kind):
        path = tmp_path / "some.onnx"
        if kind == "no network":
            path.write_bytes(b"not a network")
        elif kind == "another network":
            write_network(path, {0: SKIN, 1: HAIR}, classes=2)
        with pytest.raises(UserError, match=r"some\.onnx"):
            FaceParser(path, side=SIDE)
