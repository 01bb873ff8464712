"""Detectors: cards, safe loading, and the architectures."""

from stress.detectors.card import DetectorCard
from stress.detectors.detector import Detector, load_detector, new_detector, save_detector

__all__ = ["Detector", "DetectorCard", "load_detector", "new_detector", "save_detector"]
