"""How a detector is trained, whatever the recipe."""

from __future__ import annotations

from dataclasses import dataclass

from stress.checks import require

OPTIMIZERS = ("adamw", "adam", "radam", "sgd")
SCHEDULES = ("cosine", "constant", "linear-tail", "step", "plateau")
REPLAYS = ("mixed", "alternating")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How to train.

    Args:
        epochs: Rounds in which each face of the larger class is seen about once; None trains for ``minutes``.
        minutes: Stop after this time, whichever comes first. With it, results depend on the machine's speed.
        batch: Faces a step, half of them fake.
        lr: Peak learning rate.
        optimizer: ``adamw``, ``adam``, ``radam``, or ``sgd`` with a momentum of 0.9.
        weight_decay: Of the optimizer.
        schedule: What the learning rate does after ``warmup``: fall to zero along a ``cosine``; stay ``constant``; stay
            for three quarters and then fall linearly to zero (``linear-tail``); or be multiplied by ``step_factor``
            every ``step_epochs`` epochs (``step``) or whenever ``patience`` runs out (``plateau``).
        step_epochs: Of the schedule ``step``.
        step_factor: Of the schedules ``step`` and ``plateau``.
        step_drops: Of the schedule ``plateau``: how often the rate is lowered; when patience runs out after that,
            training stops. Without held-out people the rate stays.
        warmup: Steps in which the rate rises linearly.
        augment: Whether to vary the faces as the recipe does (:func:`stress.training.augment.augment` unless it has
            its own way).
        layers: What is trained: ``"all"``, ``"last"``, or the number of last weight layers. What is not trained keeps
            its batch-norm statistics.
        replay: How old data come among the new, where there are any: half and half in every batch (``mixed``), or in
            batches of their own, old and new in turn (``alternating``).
        validation: Share of the people held out to choose the best epoch and the threshold; 0 for none.
        patience: Epochs without improvement on the held-out people after which training stops, or its rate is lowered
            (``plateau``).
        seed: Of the order, the augmentation, dropout and the choice of held-out people.

    Raises:
        ValueError: A value is outside its range.
    """

    epochs: int | None = 20
    minutes: float | None = None
    batch: int = 32
    lr: float = 1e-3
    optimizer: str = "adamw"
    weight_decay: float = 1e-2
    schedule: str = "cosine"
    step_epochs: int = 5
    step_factor: float = 0.5
    step_drops: int = 2
    warmup: int = 10
    augment: bool = True
    layers: str | int = "all"
    replay: str = "mixed"
    validation: float = 0.2
    patience: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "epochs": self.epochs is None or self.epochs >= 1,
            "minutes": (self.minutes is None and self.epochs is not None) or (self.minutes or 0) > 0,
            "batch": self.batch >= 2 and self.batch % 2 == 0,
            "lr": self.lr > 0,
            "optimizer": self.optimizer in OPTIMIZERS,
            "weight_decay": self.weight_decay >= 0,
            "schedule": self.schedule in SCHEDULES,
            "step_epochs": self.step_epochs >= 1,
            "step_factor": 0 < self.step_factor <= 1,
            "step_drops": self.step_drops >= 0,
            "warmup": self.warmup >= 0,
            "layers": self.layers in ("all", "last") or (isinstance(self.layers, int) and self.layers >= 1),
            "replay": self.replay in REPLAYS,
            "validation": 0 <= self.validation < 1,
            "patience": self.patience >= 1,
            "seed": self.seed >= 0,
        }
        require(self, checks)
