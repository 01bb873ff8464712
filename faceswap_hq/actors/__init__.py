"""Virtual actors: procedural talking heads with exact ground truth, and no photograph inside.

Who (:class:`Identity`), what (:class:`Performance`) and where (:class:`Scene`) are separate and seeded, so that any
identity can give any performance in any scene: :func:`render`; and so that a face swap can be rendered exactly:
:func:`ground_truth_swap`.
"""

from faceswap_hq.actors.clip import Member, make_cast, plan_cast, render_clip
from faceswap_hq.actors.identity import Identity, cast_identities, make_identity
from faceswap_hq.actors.performance import Moment, Performance, make_performance, moments
from faceswap_hq.actors.render import Rendered, render
from faceswap_hq.actors.scene import Scene, make_scene
from faceswap_hq.actors.swap import Swap, ground_truth_swap

__all__ = [
    "Identity",
    "Member",
    "Moment",
    "Performance",
    "Rendered",
    "Scene",
    "Swap",
    "cast_identities",
    "ground_truth_swap",
    "make_cast",
    "make_identity",
    "make_performance",
    "make_scene",
    "moments",
    "plan_cast",
    "render",
    "render_clip",
]
