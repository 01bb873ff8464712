"""Training of detectors: one loop, many recipes."""

from stress.training.loop import train
from stress.training.recipe import Learner, Recipe
from stress.training.settings import TrainSettings

__all__ = ["Learner", "Recipe", "TrainSettings", "train"]
