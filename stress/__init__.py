"""The stress harness: how detectors of face swaps hold up against good fakes, and what fine-tuning wins back."""

from stress.api import FaceCrop, evaluate

__all__ = ["FaceCrop", "evaluate"]
