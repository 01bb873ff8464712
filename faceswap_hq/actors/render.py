"""One frame: an identity giving a performance in a scene, with everything that is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from faceswap_hq.actors import eyes as eyeballs
from faceswap_hq.actors.body import body_layer
from faceswap_hq.actors.camera import Camera, camera_of
from faceswap_hq.actors.canvas import SIZE
from faceswap_hq.actors.ears import ear_triangles
from faceswap_hq.actors.geometry import FACE_POINTS, UPPER_LIDS, generic_head, refinement
from faceswap_hq.actors.glasses import curves, draw_glasses
from faceswap_hq.actors.hair import Hair, build_hair, hair_color
from faceswap_hq.actors.hair_pass import PlacedHair, draw_hair
from faceswap_hq.actors.head import PIVOT, Head, build_head, fine_attributes, fine_triangles, normals, rotation
from faceswap_hq.actors.identity import Identity, head_points
from faceswap_hq.actors.lighting import Transfer, bake, directions, smooth, transfer
from faceswap_hq.actors.mouth import draw_mouth
from faceswap_hq.actors.performance import Moment, Performance, moments
from faceswap_hq.actors.scene import Scene, background, environment, expose, kelvin_rgb, key_direction
from faceswap_hq.actors.shading import Light, sample, shade_skin, soften_edges
from faceswap_hq.actors.texture import skin
from faceswap_hq.faces.raster import Fragments, rasterize
from faceswap_hq.faces.regions import LEFT_EYE, LIPS_INNER, RIGHT_EYE


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A picture and the truth about it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        face_mask: (H, W) float32 in [0, 1]: the visible part of the face inside MediaPipe's oval (eyes and mouth
            included; hair and glasses in front of it excluded).
        landmarks: (478, 3) float32 pixels in MediaPipe's order; z in pixels, negative toward the camera, 0 at the
            depth of the head's middle.
        moment: Pose and expression.
        fragments: Which triangle of the head is visible where.
    """

    image: np.ndarray
    face_mask: np.ndarray
    landmarks: np.ndarray
    moment: Moment
    fragments: Fragments

    def touched(self, vertices: np.ndarray) -> np.ndarray:
        """Where triangles with any of the marked refined vertices (V,) are visible, (H, W) float32 of 0 and 1."""
        marked = (vertices > 0)[fine_triangles()].any(1)
        out = np.zeros(self.face_mask.size, np.float32)
        out[self.fragments.pixel[marked[self.fragments.triangle]]] = 1.0
        out = out.reshape(self.face_mask.shape)
        for loop in (RIGHT_EYE, LEFT_EYE, LIPS_INNER):
            cv2.fillPoly(out, [np.round(self.landmarks[list(loop), :2]).astype(np.int32)], (1.0,))
        return out


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Everything that does not change from frame to frame for one (perhaps mixed) person.

    Attributes:
        identity: Whose skull, hair, ears, neck, clothes and glasses.
        inner: Whose eyes and teeth.
        head: The head that moves.
        transfer: How light reaches its vertices.
        color: Skin texture, see :class:`faceswap_hq.actors.texture.Skin`.
        relief: The same.
        hair: Layers of hair from the inside out.
        hair_transfer: How light reaches each of them.
        spectacles: Curves of the glasses, empty for none.
    """

    identity: Identity
    inner: Identity
    head: Head
    transfer: Transfer
    color: np.ndarray
    relief: np.ndarray
    hair: tuple[Hair, ...]
    hair_transfer: tuple[Transfer, ...]
    spectacles: dict[str, list[np.ndarray]]


@lru_cache(maxsize=24)
def cast_of(identity: Identity) -> Cast:
    """Prepare a person for rendering (about a second; kept for the last few people)."""
    points = head_points(identity)
    head = build_head(points, *identity.ears)
    hair = build_hair(identity, points.tobytes())
    texture = skin(identity)
    skin_transfer, hair_transfer = transfer_of(head, hair)
    spectacles = {}
    if identity.glasses:
        ears = points[[127, 356]] + np.array([[0.0, 0.06, 0.16]])
        spectacles = curves(identity, head.eyes, points[168], ears)
    return Cast(
        identity=identity,
        inner=identity,
        head=head,
        transfer=skin_transfer,
        color=texture.color,
        relief=texture.relief,
        hair=hair,
        hair_transfer=hair_transfer,
        spectacles=spectacles,
    )


def transfer_of(head: Head, hair: tuple[Hair, ...]) -> tuple[Transfer, tuple[Transfer, ...]]:
    """How light reaches a head that wears this hair, and how it reaches the layers of hair."""
    mesh, fine = generic_head(), len(refinement().matrix)
    # shadows need no refined head: the old vertices of the refined mesh lie on the same surface
    blockers = [(head.rest[: len(mesh.points)], mesh.triangles), (head.rest[fine:], ear_triangles())]
    blockers += [(h.points, h.triangles) for h in hair]
    parts = [(head.rest, normals()(head.rest), fine_triangles()), *((h.points, h.normals, h.triangles) for h in hair)]
    seen = bake(np.concatenate([p for p, _, _ in parts]), np.concatenate([n for _, n, _ in parts]), blockers)
    out, start = [], 0
    for k, (points, toward, faces) in enumerate(parts):
        own = smooth(seen[start : start + len(points)], faces, 2 if k == 0 else 3)
        out.append(transfer(own, toward))
        start += len(points)
    return out[0], tuple(out[1:])


def render(identity: Identity, performance: Performance, scene: Scene, frame: int) -> Rendered:
    """Render one frame.

    Args:
        identity: Who.
        performance: Does what.
        scene: Where.
        frame: 0 .. ``performance.frames - 1``.

    Raises:
        IndexError: ``frame`` is outside the performance.
    """
    moment = moment_of(performance, frame)
    return render_moment(cast_of(identity), moment, scene, frame)


def moment_of(performance: Performance, frame: int) -> Moment:
    """The moment of one frame; :class:`IndexError` outside the performance."""
    if not 0 <= frame < performance.frames:
        raise IndexError(f"frame {frame} is outside 0..{performance.frames - 1}")
    return moments(performance)[frame]


def render_moment(cast: Cast, moment: Moment, scene: Scene, frame: int = 0) -> Rendered:
    """Render a prepared person at a moment; ``frame`` only seeds the sensor's noise."""
    camera = camera_of(scene)
    turn = rotation(moment.yaw, moment.pitch, moment.roll)
    sway = np.array([moment.x, moment.y, moment.z])
    offset = PIVOT + sway - turn @ PIVOT
    local = cast.head.posed(moment)
    points = _pose(local, fine_attributes()["body"], turn, offset, sway)
    light = Light(
        key=key_direction(scene, moment.light),
        color=kelvin_rgb(scene.key_kelvin) * np.float32(scene.key_strength),
        turn=turn,
    )
    in_head = (light.key @ turn).astype(np.float32)
    sky = environment(scene, directions() @ turn.T.astype(np.float32))
    seen, ambient = cast.transfer.key(in_head), cast.transfer.ambient @ sky
    truth = _landmarks(cast, local, moment, turn, offset, camera)

    canvas = background(scene).copy()
    depth = body_layer(cast.identity, scene).place(canvas, scene, sway)
    _close_holes(depth, truth, cast, turn, offset)
    _draw_behind(canvas, cast, moment, truth, offset, camera, light, seen, ambient)
    found = rasterize(camera.project(points), points[:, 2], fine_triangles(), scene.width, scene.height)
    found = found.keep(found.depth < depth.ravel()[found.pixel])
    depth.ravel()[found.pixel] = found.depth
    face = _draw_skin(canvas, cast, found, normals()(points), seen, ambient, light)
    _draw_lashes(canvas, cast, truth, camera)
    cover = np.zeros(depth.shape, np.float32)
    if cast.spectacles:
        glow = 0.8 * sky.mean(0) + 0.7 * light.color * max(0.1, -float(in_head[2]))
        cover = draw_glasses(canvas, depth, cast.spectacles, cast.identity, turn, offset, camera, glow)
    if cast.hair:
        placed = []
        for hair, reach in zip(cast.hair, cast.hair_transfer, strict=True):
            where = _pose(hair.points, hair.hanging * 0.8, turn, offset, sway)
            lit = np.concatenate([reach.ambient @ sky, reach.key(in_head)[:, None]], 1).astype(np.float32)
            placed.append(PlacedHair(hair=hair, points=where, lit=lit))
        cover = np.maximum(cover, draw_hair(canvas, depth, placed, hair_color(cast.identity), light, camera))
    canvas = soften_edges(canvas, depth)
    mask = _face_mask(found, face, truth, scene) * (1 - cover)
    return Rendered(image=expose(canvas, scene, frame), face_mask=mask, landmarks=truth, moment=moment, fragments=found)


def _pose(local: np.ndarray, body: np.ndarray, turn: np.ndarray, offset: np.ndarray, sway: np.ndarray) -> np.ndarray:
    """Turn vertices (V, 3) with the head, but leave those of weight ``body`` on the shoulders; camera axes."""
    turned = local @ turn.T.astype(np.float32) + offset.astype(np.float32)
    return turned + body[:, None] * (local + sway.astype(np.float32) - turned)


def _landmarks(
    cast: Cast, local: np.ndarray, moment: Moment, turn: np.ndarray, offset: np.ndarray, camera: Camera
) -> np.ndarray:
    axes = eyeballs.gaze_axes(moment.gaze_x, moment.gaze_y)
    irises = np.concatenate([eyeballs.iris_points(center, axes) for center in cast.head.eyes])
    space = np.concatenate([local[:FACE_POINTS].astype(np.float64), irises]) @ turn.T + offset
    depth = (space[:, 2] - (turn @ np.array([0, 0.3, 0.25]) + offset)[2]) * camera.scale
    return np.concatenate([camera.project(space), depth[:, None]], 1).astype(np.float32)


def _draw_behind(
    canvas: np.ndarray, cast: Cast, moment: Moment, truth: np.ndarray, offset: np.ndarray, camera: Camera, light: Light,
    seen: np.ndarray, ambient: np.ndarray,
) -> None:  # fmt: skip
    """Eyeballs and the inside of the mouth."""
    turn = light.turn
    axes = eyeballs.gaze_axes(moment.gaze_x, moment.gaze_y) @ turn.T
    texture = eyeballs.eye_texture(cast.inner)
    up = truth[10, :2] - truth[152, :2]
    up = up / (np.linalg.norm(up) + 1e-6)
    for k, (loop, corner) in enumerate(((RIGHT_EYE, 133), (LEFT_EYE, 362))):
        around = list(loop)
        color = light.color * float(np.clip(seen[around].mean() * 1.3, 0, 1))
        eyeballs.draw_eye(
            canvas, texture, truth[around, :2], turn @ cast.head.eyes[k] + offset, axes, camera, light.key, color,
            ambient[around].mean(0) * 1.5, truth[corner, :2], up,
        )  # fmt: skip
    rest = cast.head.rest
    jaw = moment.jaw * cast.head.shapes[0].reshape(-1, 3)[14].astype(np.float64)
    facing = max(0.15, float(-(light.key @ turn)[2]))
    glow = ambient[[13, 14]].mean(0) * 1.2 + light.color * float(seen[[0, 17]].mean()) * facing * 0.8
    draw_mouth(
        canvas, cast.inner, truth[list(LIPS_INNER), :2], rest[13].astype(np.float64), rest[14].astype(np.float64), jaw,
        (turn, offset), camera, glow,
    )  # fmt: skip


def _draw_skin(
    canvas: np.ndarray, cast: Cast, found: Fragments, n: np.ndarray, seen: np.ndarray, ambient: np.ndarray, light: Light
) -> np.ndarray:
    """Skin at the fragments into ``canvas``; returns whether each fragment belongs to the face (N,)."""
    attributes = fine_attributes()
    table = np.concatenate([attributes["uv"] * (SIZE - 1), n, ambient, seen[:, None], attributes["face"][:, None]], 1)
    pixel = found.interpolate(table.astype(np.float32), fine_triangles())
    color, relief = sample(cast.color, pixel[:, :2]), sample(cast.relief, pixel[:, :2])
    canvas.reshape(-1, 3)[found.pixel] = shade_skin(color, relief, pixel[:, 2:9], light)
    return pixel[:, 9] > 0.5


def _draw_lashes(canvas: np.ndarray, cast: Cast, truth: np.ndarray, camera: Camera) -> None:
    away = truth[10, :2] - truth[152, :2]
    away = away / (np.linalg.norm(away) + 1e-6)
    strength = 0.45 + 0.5 * cast.inner.makeup
    far = truth[33, 2] - truth[263, 2]  # the eye that is turned away hides its outer lashes
    for lid, hidden in zip(UPPER_LIDS, (far > 0.75 * camera.scale, far < -0.75 * camera.scale), strict=True):
        if not hidden:
            eyeballs.draw_lashes(canvas, truth[list(lid), :2].astype(np.float64), away, camera.scale, strength)


def _close_holes(depth: np.ndarray, truth: np.ndarray, cast: Cast, turn: np.ndarray, offset: np.ndarray) -> None:
    """Give eyes and mouth, which are drawn rather than rasterised, a depth: no ear or hair shows through them."""
    eyes = cast.head.eyes @ turn.T + offset
    for loop, z in ((RIGHT_EYE, eyes[0, 2]), (LEFT_EYE, eyes[1, 2]), (LIPS_INNER, eyes[:, 2].mean())):
        outline = np.round(truth[list(loop), :2]).astype(np.int32)
        x0, y0 = np.maximum(outline.min(0), 0)
        x1, y1 = np.minimum(outline.max(0) + 1, depth.shape[::-1])
        if x1 <= x0 or y1 <= y0:
            continue
        hole = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillPoly(hole, [outline - (x0, y0)], (1,))
        region = depth[y0:y1, x0:x1]
        np.copyto(region, np.minimum(region, np.float32(z)), where=hole > 0)


def _face_mask(found: Fragments, face: np.ndarray, truth: np.ndarray, scene: Scene) -> np.ndarray:
    mask = np.zeros(scene.width * scene.height, np.uint8)
    mask[found.pixel[face]] = 255
    mask = mask.reshape(scene.height, scene.width)
    for loop in (RIGHT_EYE, LEFT_EYE, LIPS_INNER):
        cv2.fillPoly(mask, [np.round(truth[list(loop), :2]).astype(np.int32)], (255,))
    return mask.astype(np.float32) / 255
