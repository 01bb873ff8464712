"""Leakage audit: cheap shortcuts, shuffled labels, the processed-real control, names and metadata.

Where fakes and reals differ in size, bit rate, border or camera, a detector that learned only that would look as if it
had recovered.
"""

from stress.evaluation.audit.features import FEATURES, clip_facts, one_feature
from stress.evaluation.audit.verdict import audit

__all__ = ["FEATURES", "audit", "clip_facts", "one_feature"]
