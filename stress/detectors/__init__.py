"""Detectors: cards, safe loading, importers of published checkpoints, and the architectures."""

from stress.detectors.card import DetectorCard
from stress.detectors.detector import Detector, new_detector, require_savable, require_trainable, save_detector
from stress.detectors.loading import load_detector
from stress.detectors.maps import locates, map_trained, maps

__all__ = [
    "Detector",
    "DetectorCard",
    "load_detector",
    "locates",
    "map_trained",
    "maps",
    "new_detector",
    "require_savable",
    "require_trainable",
    "save_detector",
]
