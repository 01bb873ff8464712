"""What can be measured of one fake: identity, motion, picture; against target, source and, where there is one, truth.

Nothing here looks inside the model or the renderer: every number comes from the pictures.
"""

from faceswap_hq.quality.compare import FakeQuality, compare_clips, compare_frames, embed_clip, read_triples
from faceswap_hq.quality.features import clip_patches, faceset_patches, feature_likeness, feature_patches
from faceswap_hq.quality.identity import IdentityModel, IdentityScores, identity_scores
from faceswap_hq.quality.motion import (
    Correlation,
    Spread,
    correlation,
    flicker,
    jitter,
    pose_difference,
    rotation_matrix,
    spread,
)
from faceswap_hq.quality.picture import face_mask, psnr, seam, sharpness, ssim

__all__ = [
    "Correlation",
    "FakeQuality",
    "IdentityModel",
    "IdentityScores",
    "Spread",
    "clip_patches",
    "compare_clips",
    "compare_frames",
    "correlation",
    "embed_clip",
    "face_mask",
    "faceset_patches",
    "feature_likeness",
    "feature_patches",
    "flicker",
    "identity_scores",
    "jitter",
    "pose_difference",
    "psnr",
    "read_triples",
    "rotation_matrix",
    "seam",
    "sharpness",
    "spread",
    "ssim",
]
