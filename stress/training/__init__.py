"""Training recipes for detectors."""

from stress.training.supervised import TrainSettings, train

__all__ = ["TrainSettings", "train"]
