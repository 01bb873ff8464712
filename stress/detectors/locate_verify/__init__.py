"""Locate and Verify: a network of two streams that says whether a face is fake, and where.

C. Shuai et al., "Locate and Verify: A Two-Stream Network for Improved Deepfake Detection", ACM MM 2023,
arXiv 2309.11131. What is built here follows the authors' published code.
"""

from stress.detectors.locate_verify.network import LocateVerify, locate_verify, locate_verify_small

__all__ = ["LocateVerify", "locate_verify", "locate_verify_small"]
