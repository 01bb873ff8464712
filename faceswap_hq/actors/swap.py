"""The exact face swap that only virtual actors can have: rendered, not generated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from faceswap_hq.actors.canvas import SIZE
from faceswap_hq.actors.geometry import generic_head
from faceswap_hq.actors.head import build_head, fine_attributes, fine_triangles, swap_weight
from faceswap_hq.actors.identity import Identity, head_points
from faceswap_hq.actors.lighting import Transfer
from faceswap_hq.actors.performance import Performance
from faceswap_hq.actors.render import Cast, Rendered, cast_of, moment_of, render_moment, transfer_of
from faceswap_hq.actors.scene import Scene
from faceswap_hq.actors.texture import skin, skin_base
from faceswap_hq.faces.raster import rasterize


@dataclass(frozen=True, kw_only=True)
class Swap:
    """A ground-truth swap.

    Attributes:
        image: (H, W, 3) uint8 RGB, the source's face on the target's head.
        changed: (H, W) float32, 1 where the picture may differ from the target's and 0 where it is exactly the same.
        swapped: The swap with its own mask and landmarks.
        target: The untouched frame.
    """

    image: np.ndarray
    changed: np.ndarray
    swapped: Rendered
    target: Rendered


@lru_cache(maxsize=12)
def swapped_cast(source: Identity, target: Identity, match_skin: bool = False) -> Cast:
    """Prepare the person that a perfect swap would show: see :func:`ground_truth_swap`."""
    base = cast_of(target)
    weight = swap_weight()[:, None]
    head = build_head(weight * head_points(source) + (1 - weight) * head_points(target), *target.ears)
    changed = _changed_vertices()[:, None] > 0
    mixed = transfer_of(head, base.hair)[0]
    transfer = Transfer(
        seen=np.where(changed, mixed.seen, base.transfer.seen),
        ambient=np.where(changed, mixed.ambient, base.transfer.ambient),
    )
    share = _texture_weight()[..., None]
    skins = skin(source), skin(target)
    color = skins[0].color
    if match_skin:
        color = color * np.append(skin_base(target) / skin_base(source), 1.0).astype(np.float32)
    return replace(
        base,
        inner=source,
        head=head,
        transfer=transfer,
        color=skins[1].color + share * (color - skins[1].color),
        relief=skins[1].relief + share * (skins[0].relief - skins[1].relief),
    )


@lru_cache(maxsize=1)
def _texture_weight() -> np.ndarray:
    """:func:`swap_weight` for every texel, (S, S) float32; the holes of eyes and mouth count as inside."""
    mesh = generic_head()
    pixels = (mesh.uv * (SIZE - 1)).astype(np.float32)
    found = rasterize(pixels, np.zeros(len(pixels), np.float32), mesh.triangles, SIZE, SIZE, both_sides=True)
    out = np.full(SIZE * SIZE, -1.0, np.float32)
    out[found.pixel] = found.interpolate(swap_weight()[:, None].astype(np.float32), mesh.triangles)[:, 0]
    out = out.reshape(SIZE, SIZE)
    inner = cv2.morphologyEx((out > 0).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((61, 61), np.uint8))
    return np.where((out < 0) & (inner > 0), 1.0, np.maximum(out, 0)).astype(np.float32)


@lru_cache(maxsize=1)
def _changed_vertices() -> np.ndarray:
    """1 for refined vertices whose place or normal a swap can change, (V,) float32."""
    moved = fine_attributes()["swap"] != 0
    triangles = fine_triangles()
    out = np.zeros(len(moved), np.float32)
    out[triangles[moved[triangles].any(1)].ravel()] = 1.0
    return out


def ground_truth_swap(
    source: Identity, target: Identity, performance: Performance, scene: Scene, frame: int, *, match_skin: bool = False
) -> Swap:
    """Render the source's face giving the target's performance on the target's head in the target's scene.

    What is whose, exactly:

    * the source's: the shape of the inner face (forehead, brows, eyes, nose, cheeks, mouth, chin), the skin texture
      there with its brows, lips, beard, lines and moles, the eyeballs and the teeth;
    * the target's: skull, hair, ears, neck, clothes, glasses, the outline of the face and all that lies outside it;
    * between the two, over a band of about 2 cm inside the outline of the face, shape and texture pass smoothly from
      one to the other (:func:`faceswap_hq.actors.head.swap_weight`);
    * light, shadows, pose, expression, camera and sensor noise are the target's frame's. Light is computed anew on the
      mixed face; nothing is copied between pictures.

    To see the source alone in the target's place, call :func:`faceswap_hq.actors.render` with the source's identity
    and the target's performance and scene.

    Args:
        source: Whose face.
        target: Whose head.
        performance: The target's performance.
        scene: The target's scene.
        frame: Which frame.
        match_skin: Give the source's skin the target's base tone, as color transfer would; the pattern stays.
    """
    moment = moment_of(performance, frame)
    before = render_moment(cast_of(target), moment, scene, frame)
    after = render_moment(swapped_cast(source, target, match_skin), moment, scene, frame)
    changed = np.maximum(before.touched(_changed_vertices()), after.touched(_changed_vertices()))
    reach = 3 + int(np.ceil(4 * scene.softness * min(scene.width, scene.height) / 320))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    changed = cv2.dilate(changed, kernel)
    image = np.where(changed[..., None] > 0, after.image, before.image)
    return Swap(image=image, changed=changed, swapped=after, target=before)
