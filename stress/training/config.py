"""A whole training as one YAML file: architecture, recipe and settings; the published ones come with the package."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from faceswap_hq import files
from faceswap_hq.errors import UserError
from faceswap_hq.training.settings import from_dict
from stress.checks import require
from stress.detectors.card import OUTPUTS
from stress.training.recipe import Recipe
from stress.training.recipes import make_recipe
from stress.training.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What ``stress-test train`` is told, but for the data.

    Args:
        arch: As for :func:`stress.detectors.new_detector`.
        input_size: Side of the crops in pixels; None for the architecture's customary one.
        crop_margin: See :class:`stress.detectors.DetectorCard`; None for the customary one.
        mean: Subtracted from the channels after division by 255; None for the architecture's customary one.
        std: Divided by after that; None for the customary one.
        output: Kind of head, see :class:`stress.detectors.DetectorCard`; None for ``logit``.
        pretrained: Whether to start from published weights, which are downloaded.
        frames_per_clip: Frames taken of each clip.
        recipe: Name of a recipe.
        options: The recipe's own settings.
        train: Settings of the training itself.
    """

    arch: str = "small_cnn"
    input_size: int | None = None
    crop_margin: float | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    output: str | None = None
    pretrained: bool = False
    frames_per_clip: int = 16
    recipe: str = Recipe.name
    options: dict[str, Any] = field(default_factory=dict)
    train: TrainSettings = field(default_factory=TrainSettings)

    def __post_init__(self) -> None:
        checks = {
            "input_size": self.input_size is None or self.input_size >= 16,
            "crop_margin": self.crop_margin is None or 0.2 <= self.crop_margin <= 10,
            "frames_per_clip": self.frames_per_clip >= 1,
            "std": self.std is None or min(self.std) > 0,
            "output": self.output is None or self.output in OUTPUTS,
        }
        require(self, checks)

    def make_recipe(self) -> Recipe:
        """The recipe with its options.

        Raises:
            UserError: It is not possible so.
        """
        return make_recipe(self.recipe, self.options)


def config_names() -> list[str]:
    """Names of the configurations that come with the package."""
    folder = resources.files("stress") / "recipes"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_config(name: str) -> TrainConfig:
    """A configuration that comes with the package, by name, or a YAML file, by path.

    Raises:
        UserError: There is none of this name, or the file is wrong.
    """
    if name.endswith((".yaml", ".yml")):
        return _config(files.read_yaml(Path(name)), name)
    if name not in config_names():
        raise UserError(f"There is no configuration {name!r}.", f"Known: {', '.join(config_names())}, or a YAML file.")
    text = (resources.files("stress") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
    return _config(yaml.safe_load(text), name)


def _config(values: Any, where: str) -> TrainConfig:
    try:
        return from_dict(TrainConfig, values, where)
    except ValueError as error:
        raise UserError(f"{where}: {error}.") from error
