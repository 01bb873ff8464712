"""The study of Li, Sun, Poskitt and Wang, "How Generalizable are Deepfake Image Detectors?" (arXiv 2308.04177)."""

from stress.study.settings import StudySettings

__all__ = ["StudySettings"]
