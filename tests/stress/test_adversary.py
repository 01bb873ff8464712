"""What the adversary is made of: width generators, attacks by gradient, DiffAugment, norms of their own."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from stress.training.adversary.attacks import blur_by_gradient, signed_steps
from stress.training.adversary.diff_augment import diff_augment
from stress.training.adversary.generator import WidthGenerator, constrained
from stress.training.adversary.own_norms import OwnNorms
from stress.training.adversary.pixel_blur import pixel_blur


def _texture(x):
    """A loss that rises as the picture grows smoother: minus the energy of its fine residual, per picture."""
    residual = x - functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    return -residual.square().flatten(1).mean(1)


def _linear(towards):
    return lambda x: (x * towards).flatten(1).sum(1)


# ------------------------------------------------------------------------------------------------- generators


def test_constraints_hold():
    o = 3 * torch.randn(4, 1, 16, 16)
    clamped = constrained(o, "clamp", 0)
    assert float(clamped.min()) == 1
    assert torch.equal(clamped[o.abs() > 1], o.square()[o.abs() > 1])
    assert torch.isfinite(constrained(1e7 * o, "clamp", 0)).all()
    assert float(constrained(1e7 * o, "clamp", 0).max()) <= 1e12
    scaled = constrained(o, "norm", 100.0)
    assert scaled.flatten(1).norm(dim=1) == pytest.approx(torch.full((4,), 100.0), rel=1e-5)
    assert torch.allclose(scaled[0] / scaled[0, 0, 0, 0], o[0].square() / o[0, 0, 0, 0].square(), rtol=1e-3)
    assert torch.equal(constrained(o, "none", 0), o.square())
    assert torch.isfinite(constrained(torch.zeros(1, 1, 4, 4), "norm", 100.0)).all()


def test_generator_has_the_published_layers_and_takes_any_size():
    generator = WidthGenerator(width=64)
    convolutions = [part for part in generator.modules() if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d))]
    shapes = [(part.in_channels, part.out_channels, part.kernel_size[0], part.stride[0]) for part in convolutions]
    blocks = [(256, 256, 3, 1)] * 6
    assert shapes == [
        (3, 64, 7, 1), (64, 128, 3, 2), (128, 256, 3, 2), *blocks, (256, 128, 3, 2), (128, 64, 3, 2), (64, 1, 7, 1)
    ]  # fmt: skip
    assert sum(isinstance(part, nn.BatchNorm2d) for part in generator.modules()) == 11
    small = WidthGenerator(width=4)
    for size in ((32, 32), (33, 30), (299, 8)):
        assert small(torch.randn(2, 3, *size)).shape == (2, 1, *size)


@pytest.mark.parametrize("learned", [True, False])
def test_the_norm_is_learned_only_when_asked(learned):
    generator = WidthGenerator(width=2, constraint="norm", norm=50.0, learn_norm=learned)
    s = generator(torch.randn(2, 3, 16, 16))
    assert s.detach().flatten(1).norm(dim=1) == pytest.approx(torch.full((2,), 50.0), rel=1e-4)
    (s * torch.rand_like(s)).sum().backward()
    assert (generator.norm.grad is not None) == learned


# --------------------------------------------------------------------------------------------------- gradient


def test_faithful_gradient_blur_is_one_step_on_the_inverse_variance():
    x, step, norm = torch.rand(2, 3, 4, 4), 500.0, 10.0
    start = norm / (3 * 4 * 4) ** 0.5
    s, rise = torch.full_like(x, start).double(), torch.zeros_like(x)
    for place in itertools.product(*map(range, x.shape)):  # the gradient of the batch's mean, by differences
        around = []
        for shift in (1e-4, -1e-4):
            moved = s.clone()
            moved[place] += shift
            around.append(_texture(pixel_blur(x.double(), moved)).mean())
        rise[place] = (around[0] - around[1]) / 2e-4
    expected = start + step * rise
    expected *= norm / expected.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    blurred, found = blur_by_gradient(x, _texture, window=3, norm=norm, step=step, mode="faithful")
    assert torch.allclose(found, expected, rtol=1e-3)
    assert float(found.std()) > 0.01
    assert torch.allclose(blurred, pixel_blur(x, found))


def test_corrected_gradient_blur_raises_the_loss_at_the_same_norm_of_sigma_and_does_not_depend_on_the_batch():
    x, norm = torch.rand(4, 3, 16, 16), 40.0
    start = norm / (3 * 16 * 16) ** 0.5
    blurred, s = blur_by_gradient(x, _texture, window=3, norm=norm, step=0.3, mode="corrected")
    assert s.shape == (4, 1, 16, 16)
    uniform = pixel_blur(x, torch.full((4, 1, 16, 16), start))
    assert (_texture(blurred) > _texture(uniform)).all()
    assert (s**-0.5).flatten(1).norm(dim=1) == pytest.approx(torch.full((4,), start**-0.5 * 16), rel=1e-4)
    alone = blur_by_gradient(x[1:2], _texture, window=3, norm=norm, step=0.3, mode="corrected")[1]
    assert torch.allclose(alone, s[1:2], rtol=1e-3)


# ---------------------------------------------------------------------------------------------------- FGSM, PGD


def test_fgsm_moves_every_pixel_by_epsilon_along_the_sign_within_the_picture_range():
    x, towards = torch.rand(4, 3, 6, 6) * 2 - 1, torch.randn(4, 3, 6, 6)
    labels = torch.tensor([1.0, 0, 1, 0])
    moved = signed_steps(x, _linear(towards), labels, epsilon=0.1, step=0.1, steps=1, mode="corrected")
    assert torch.allclose(moved, (x + 0.1 * towards.sign()).clamp(-1, 1))


def test_pgd_stays_within_epsilon_and_goes_further_than_a_step():
    x, centre = torch.zeros(2, 3, 6, 6), torch.randn(2, 3, 6, 6)
    labels = torch.tensor([1.0, 0])

    def losses(pictures):
        return -(pictures - centre).square().flatten(1).sum(1)

    moved = [
        signed_steps(x, losses, labels, epsilon=0.1, step=0.04, steps=steps, mode="corrected") for steps in (1, 3, 9)
    ]
    assert float(moved[2].abs().max()) == pytest.approx(0.1)
    rising = [float(losses(pictures).sum()) for pictures in [x, *moved]]
    assert rising[0] < rising[1] < rising[2] <= rising[3] + 1e-4


def test_faithful_steps_add_up_and_fakes_move_by_the_real_beside_them():
    x = torch.zeros(2, 1, 1, 4)
    towards = torch.tensor([[1.0, 1, -1, -1], [1, -1, 1, -1]]).view(2, 1, 1, 4)  # a real's, a fake's
    labels = torch.tensor([0.0, 1])
    once, twice = (
        signed_steps(x, _linear(towards), labels, epsilon=0.1, step=0.1, steps=steps, mode="faithful")
        for steps in (1, 2)
    )
    assert once[0].flatten().tolist() == pytest.approx([0.1, 0.1, -0.1, -0.1])
    assert once[1].flatten().tolist() == pytest.approx([0.1, 0, 0, -0.1])  # only where both agree
    assert twice[0].flatten().tolist() == pytest.approx([0.2, 0.2, -0.2, -0.2])  # beyond epsilon
    # Second turn: the real's change of 0.2, plus the fake's own 0.1, cut off at 0.1, on top of the first.
    assert twice[1].flatten().tolist() == pytest.approx([0.2, 0.1, -0.1, -0.2])
    with pytest.raises(ValueError, match="reals"):
        signed_steps(x, _linear(towards), torch.ones(2), epsilon=0.1, step=0.1, steps=1, mode="faithful")


# ------------------------------------------------------------------------------------------- pictures and norms


def test_diff_augment_changes_colour_place_and_holes_as_often_as_published():
    x = torch.rand(2, 3, 16, 16) * 1.2 - 0.6
    shifted = cut = same = 0
    for _ in range(300):
        y = diff_augment(x)
        assert y.shape == x.shape
        assert float(y.abs().max()) <= 1
        zeros = (y == 0).all(1)
        hole = functional.avg_pool2d(zeros.float()[:, None], 4, 1).flatten(1).max(1).values == 1
        edge = zeros[:, [0, -1]].all(-1).any(1) | zeros[:, :, [0, -1]].all(1).any(-1)
        shifted, cut, same = shifted + int(edge.any()), cut + int(hole.any()), same + int(torch.equal(x, y))
    assert 0.40 < shifted / 300 < 0.60  # a shift of nought by nought is rare
    assert 0.40 < cut / 300 < 0.60
    assert 0.03 < same / 300 < 0.13  # 0.3 x 0.5 x 0.5


def test_own_norms_measure_and_learn_apart():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Sequential(nn.BatchNorm2d(4)))
    own = OwnNorms(network)
    before = copy.deepcopy(network.state_dict())
    names = [name for name, _ in network.named_modules()]
    with own.in_place():
        network(5 + 3 * torch.randn(8, 3, 8, 8)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [name for name, _ in network.named_modules()] == names
    assert network[1].weight.grad is None
    assert len(own.parameters()) == 4
    assert all(value.grad is not None for value in own.parameters())
    network.eval()
    x = torch.randn(2, 3, 8, 8)
    plain = network(x)
    with own.in_place():
        assert not torch.allclose(network(x), plain)
    assert torch.equal(network(x), plain)
