"""Each block of Locate and Verify against loops and hand-computed values; shapes; saving and loading."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from faceswap_hq.errors import UserError
from stress.detectors import load_detector, new_detector, save_detector
from stress.detectors.locate_verify import locate_verify_small
from stress.detectors.locate_verify.blocks import (
    SRM,
    BilinearFusion,
    ForgeryAttention,
    cross_modality,
    patch_agreement,
    pooled,
    srm_kernels,
)
from stress.detectors.zoo import build
from stress.training.norms import refresh_norms


def test_the_three_residual_filters():
    square, large, across = (kernel.tolist() for kernel in srm_kernels())
    assert [row[1:4] for row in square[1:4]] == [[-0.25, 0.5, -0.25], [0.5, -1.0, 0.5], [-0.25, 0.5, -0.25]]
    rows = [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]]
    np.testing.assert_allclose(large, np.array(rows) / 12, rtol=1e-6)
    assert across[2] == [0, 0.5, -1.0, 0.5, 0]
    assert [sum(map(sum, kernel)) for kernel in (square, across)] == [0, 0]
    assert np.count_nonzero(square) == 9
    assert np.count_nonzero(across) == 3


def test_residuals_of_one_bright_pixel_and_of_flat_pictures():
    srm = SRM()
    assert srm(torch.full((1, 3, 9, 9), 0.7))[..., 2:-2, 2:-2].abs().max() < 1e-6
    x = torch.zeros(1, 3, 9, 9)
    x[0, 1, 4, 4] = 2.0  # whichever channel: they are added up
    found = srm(x)[0]
    np.testing.assert_allclose(found[:, 2:7, 2:7], 2 * srm_kernels(), atol=1e-6)  # the filters are symmetric
    assert srm(50 * x).max() == 3
    assert srm(50 * x).min() == -3
    assert not list(srm.parameters())
    assert not srm.state_dict()


def test_streams_take_from_each_other_where_they_agree():
    """As published the second stream gets the first as it is AFTER its change; corrected, as it was."""
    fa, fb = torch.randn(2, 5, 3, 4), torch.randn(2, 5, 3, 4)
    updated, corrected = cross_modality(fa, fb), cross_modality(fa, fb, "corrected")
    for n in range(2):
        for i in range(3):
            for j in range(4):
                a, b = fa[n, :, i, j].double().numpy(), fb[n, :, i, j].double().numpy()
                c = float(a @ b / math.sqrt((a @ a) * (b @ b)))
                first = a + c * b
                for found, want in (
                    (updated[0], first),
                    (updated[1], b + c * first),
                    (corrected[0], first),
                    (corrected[1], b + c * a),
                ):
                    np.testing.assert_allclose(found[n, :, i, j], np.maximum(want, 0), atol=1e-5)
    assert not torch.allclose(updated[1], corrected[1], atol=1e-3)


def test_attention_starts_as_nothing_and_its_rows_sum_to_one():
    block, y, x = ForgeryAttention(8), torch.randn(2, 8, 3, 2), torch.randn(2, 8, 3, 2)
    torch.testing.assert_close(block(y, x), torch.relu(y))
    attention = block.attention(x)
    assert attention.shape == (2, 6, 6)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 6))
    with torch.no_grad():
        block.gamma.fill_(0.7)
    found = block(y, x).detach()
    with torch.no_grad():
        query, key, value = (part.flatten(2) for part in (block.query(x), block.key(x), block.value(y)))
    for n in range(2):
        for here in range(6):
            weights = np.exp([float(query[n, :, here] @ key[n, :, there]) for there in range(6)])
            weights /= weights.sum()
            seen = sum(weight * value[n, :, there].numpy() for there, weight in enumerate(weights))
            want = np.maximum(0.7 * seen + y.flatten(2)[n, :, here].numpy(), 0)
            np.testing.assert_allclose(found.flatten(2)[n, :, here], want, atol=1e-5)


@pytest.mark.parametrize(("side", "window"), [(6, 2), (5, 2), (3, 1), (10, 4)])
def test_patches_agree_place_by_place(side, window):
    x, anchor = torch.randn(1, 4, side, side), torch.randn(1, 4, 3, 3)
    found = patch_agreement(x, anchor)
    assert found.shape == (1, window**2, 3, 3)
    before = (3 * window - side) // 2
    for i in range(3):
        for j in range(3):
            for u in range(window):
                for v in range(window):
                    row = min(max(i * window + u - before, 0), side - 1)  # edges are repeated
                    column = min(max(j * window + v - before, 0), side - 1)
                    want = sum(math.tanh(float(x[0, c, row, column] * anchor[0, c, i, j])) for c in range(4))
                    assert float(found[0, u * window + v, i, j]) == pytest.approx(want, abs=1e-5)


@pytest.mark.parametrize(("side", "cells"), [(12, 4), (150, 10), (75, 10), (19, 10), (299, 19)])
def test_pooling_takes_the_largest_of_each_cell(side, cells):
    x = torch.randn(1, 2, side, side)
    size = -(-side // cells)
    before = (cells * size - side) // 2
    edges = [(min(max(i * size - before, 0), side - 1), min((i + 1) * size - before, side)) for i in range(cells)]
    want = [[x[..., a:b, c:d].amax((2, 3)) for c, d in edges] for a, b in edges]
    torch.testing.assert_close(pooled(x, cells), torch.stack([torch.stack(row, -1) for row in want], -2))


def test_bilinear_fusion_is_the_formula():
    block, a, b = BilinearFusion(3, 4, 5, 6).eval(), torch.randn(1, 3, 1, 1), torch.randn(1, 4, 1, 1)
    w1, w2, w3 = (part.weight[:, :, 0, 0] for part in (block.first, block.second, block.fused))
    hidden = (w1 @ a.flatten() + block.first.bias) * (w2 @ b.flatten() + block.second.bias)
    torch.testing.assert_close(block(a, b).flatten(), w3 @ torch.tanh(hidden) + block.fused.bias)


@pytest.mark.parametrize(("side", "grid"), [(128, 8), (96, 6), (100, 7)])
def test_the_small_network_gives_a_verdict_and_a_map(side, grid):
    net = locate_verify_small(2).eval()
    x = torch.randn(3, 3, side, side)
    with torch.no_grad():
        found = net.both(x)
        torch.testing.assert_close(net(x), found.verdict)
        torch.testing.assert_close(net.locate(x), torch.softmax(found.cells, 1)[:, 1])
    assert found.verdict.shape == (3, 2)
    assert found.cells.shape == (3, 2, grid, grid)
    torch.testing.assert_close(found.patches.norm(dim=1), torch.ones(3, grid, grid))


def test_measuring_norms_measures_those_of_the_map_too():
    net = locate_verify_small().train()
    refresh_norms(net, [5 + torch.randn(4, 3, 64, 64)])
    for part in (net.cells[0], net.embed[0], net.agree[0][1], net.verdict[0]):
        assert float(part.running_mean.abs().max()) > 0


def test_the_mode_is_checked_and_changes_the_answer():
    with pytest.raises(ValueError, match="faithful, corrected"):
        locate_verify_small(mode="odd")
    nets = [locate_verify_small(mode=mode).eval() for mode in ("faithful", "corrected")]
    nets[1].load_state_dict(nets[0].state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.allclose(nets[0](x), nets[1](x))


def test_saved_and_loaded_it_says_the_same(tmp_path):
    detector = new_detector("locate_verify_small", device="cpu", seed=3)
    assert (detector.card.input_size, detector.card.mean) == (128, (0.5, 0.5, 0.5))
    save_detector(detector, tmp_path / "d.safetensors")
    again = load_detector(tmp_path / "d.safetensors", device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), np.uint8)
    np.testing.assert_array_equal(detector.fake_probability(images), again.fake_probability(images))
    x = detector.inputs(images)
    with torch.no_grad():
        torch.testing.assert_close(detector.module.locate(x), again.module.locate(x))
    other = dataclasses.replace(again.card, output="two_logits", sha256=None)
    with pytest.raises(UserError, match="do not fit"):
        load_detector(tmp_path / "d.safetensors", other, device="cpu")


def test_only_the_published_one_has_weights_to_start_from():
    with pytest.raises(UserError, match="no pretrained weights for locate_verify_small"):
        build("locate_verify_small", pretrained=True)


@pytest.mark.slow
def test_the_published_network_has_the_published_shapes():
    net = build("locate_verify", 2).eval()
    assert sum(value.numel() for value in net.parameters()) == 55_265_417
    assert sum(value.numel() for value in net.embed.parameters()) == 187_824  # only used without masks
    x = torch.randn(1, 3, 299, 299)
    with torch.no_grad():
        xs, ys = net._streams(x)
        found = net.both(x)
    assert [tuple(y.shape[1:3]) for y in ys] == [(64, 150), (128, 75), (256, 38), *[(728, 19)] * 3, (2048, 10)]
    assert [x.shape[2] for x in xs] == [150, 75, 38, 19, 19, 19]
    assert net.cells[0].num_features == 814
    assert net.fusion.first.in_channels == 1904
    assert found.cells.shape == (1, 2, 19, 19)
