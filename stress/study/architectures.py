"""The study's five architectures as their authors' code trains them (Li et al., arXiv 2308.04177)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Published:
    """How one architecture is trained, augmented and divided.

    Args:
        last: Weight layers that the transfer approach trains. The published numbers (Xception 5, Meso 4, ...) count
            Keras layers, among them dropouts, norms, activations and pools; these are the convolutions and dense
            layers among the last so many.
        rate: Learning rate of the first training, of Adam.
        augmenting_rate: Learning rate of the augmentation.
        loss: Of the first training: ``"squared"`` or ``"cross-entropy"``.
        augmenting_loss: Of the augmentation.
        units_into: Module whose input are the units that are intervened on; None for the last dense layer.
        real_first: Whether its only output is the probability of a real, so that the published heat maps of "class 0"
            are of that.
    """

    last: int
    rate: float = 1e-3
    augmenting_rate: float = 1e-3
    loss: str = "squared"
    augmenting_loss: str = "squared"
    units_into: str | None = None
    real_first: bool = False


PUBLISHED = {
    "meso4": Published(last=2, real_first=True),  # of 4: dense 16, leaky ReLU, dropout, dense 1
    "mesoinception4": Published(last=2, real_first=True),
    # of 4: dense 1024, norm, dropout, dense 1; the units are the first one's, before the norm
    "shallownet": Published(last=2, rate=5e-5, loss="cross-entropy", units_into="bn", real_first=True),
    # of 5: separable convolution (two modules here), norm, ReLU, pool, dense
    "xception": Published(
        last=3, rate=5e-5, augmenting_rate=5e-5, loss="cross-entropy", augmenting_loss="cross-entropy"
    ),
    # of 6: convolution, norm, swish, pool, dropout, dense
    "efficientnet_b0": Published(
        last=2, rate=5e-5, augmenting_rate=5e-5, loss="cross-entropy", augmenting_loss="cross-entropy"
    ),
}

_OTHER = Published(last=3, rate=1e-3, augmenting_rate=3e-4, loss="cross-entropy", augmenting_loss="cross-entropy")


def published(architecture: str) -> Published:
    """The published way of an architecture; for any other one cross entropy and the last three weight layers."""
    name = architecture.removeprefix("timm:")
    return PUBLISHED.get("xception" if name == "legacy_xception" else name, _OTHER)
