"""One frame: an identity giving a performance in a scene, with everything that is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from faceswap_hq.actors import eyes as eyeballs
from faceswap_hq.actors.camera import Camera, camera_of
from faceswap_hq.actors.geometry import FACE_POINTS, generic_head, refinement
from faceswap_hq.actors.head import PIVOT, Head, build_head, fine_attributes, normals, rotation, swap_weight
from faceswap_hq.actors.identity import Identity, head_points
from faceswap_hq.actors.lighting import Transfer, bake, directions, smooth
from faceswap_hq.actors.mouth import draw_mouth
from faceswap_hq.actors.performance import Moment, Performance, moments
from faceswap_hq.actors.raster import Fragments, rasterize
from faceswap_hq.actors.scene import Scene, background, environment, expose, kelvin_rgb, key_direction
from faceswap_hq.actors.texture import SIZE, skin
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
        marked = (vertices > 0)[refinement().triangles].any(1)
        out = np.zeros(self.face_mask.size, np.float32)
        out[self.fragments.pixel[marked[self.fragments.triangle]]] = 1.0
        out = out.reshape(self.face_mask.shape)
        for loop in (RIGHT_EYE, LEFT_EYE, LIPS_INNER):
            cv2.fillPoly(out, [np.round(self.landmarks[list(loop), :2]).astype(np.int32)], 1.0)
        return out


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Everything that does not change from frame to frame for one (perhaps mixed) person."""

    identity: Identity  # whose hair, eyes' surroundings, ears, neck and clothes
    inner: Identity  # whose eyes, teeth and inner face
    head: Head
    transfer: Transfer
    color: np.ndarray
    relief: np.ndarray


@lru_cache(maxsize=24)
def cast_of(identity: Identity) -> Cast:
    """Prepare a person for rendering (about a second; kept for the last few people)."""
    head = build_head(head_points(identity))
    texture = skin(identity)
    return Cast(
        identity=identity,
        inner=identity,
        head=head,
        transfer=transfer_of(head, identity),
        color=texture.color,
        relief=texture.relief,
    )


def transfer_of(head: Head, identity: Identity) -> Transfer:
    """How light reaches a head that wears this person's hair."""
    triangles = refinement().triangles
    baked = bake(head.rest, normals()(head.rest), [(head.rest, triangles)])
    return Transfer(seen=smooth(baked.seen, triangles, 2), ambient=smooth(baked.ambient, triangles, 2))


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
    return render_moment(cast_of(identity), moment_of(performance, frame), scene, frame)


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
    local = cast.head.posed(moment)
    points, offset = _pose(local, turn, sway)
    xy = camera.project(points)
    n = normals()(points)
    key, key_color = key_direction(scene, moment.light), kelvin_rgb(scene.key_kelvin) * np.float32(scene.key_strength)
    in_head = (key @ turn).astype(np.float32)
    seen = cast.transfer.key(in_head)
    sky = environment(scene, directions() @ turn.T.astype(np.float32))
    ambient = cast.transfer.ambient @ sky

    canvas = background(scene).copy()
    truth = _landmarks(cast, local, moment, turn, offset, camera)
    _draw_behind(canvas, cast, moment, truth, local, turn, offset, camera, key, key_color, seen, ambient)
    found = rasterize(xy, points[:, 2], refinement().triangles, scene.width, scene.height)
    face = _shade_skin(canvas, cast, found, n, seen, ambient, key, key_color, turn)
    mask = _face_mask(found, face, truth, scene)
    canvas = _soften_edges(canvas, found, scene)
    return Rendered(image=expose(canvas, scene, frame), face_mask=mask, landmarks=truth, moment=moment, fragments=found)


def _pose(local: np.ndarray, turn: np.ndarray, sway: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn the head on the shoulders: (V, 3) float32 in camera axes, and the offset of the fully turned part."""
    turned = (local - PIVOT.astype(np.float32)) @ turn.T.astype(np.float32) + (PIVOT + sway).astype(np.float32)
    body = fine_attributes()["body"][:, None]
    return turned + body * (local + sway.astype(np.float32) - turned), PIVOT + sway - turn @ PIVOT


def _landmarks(
    cast: Cast, local: np.ndarray, moment: Moment, turn: np.ndarray, offset: np.ndarray, camera: Camera
) -> np.ndarray:
    axes = eyeballs.gaze_axes(moment.gaze_x, moment.gaze_y)
    irises = np.concatenate([eyeballs.iris_points(center, axes) for center in cast.head.eyes])
    space = np.concatenate([local[:FACE_POINTS].astype(np.float64), irises]) @ turn.T + offset
    depth = (space[:, 2] - (turn @ np.array([0, 0.3, 0.25]) + offset)[2]) * camera.scale
    return np.concatenate([camera.project(space), depth[:, None]], 1).astype(np.float32)


def _draw_behind(
    canvas: np.ndarray, cast: Cast, moment: Moment, truth: np.ndarray, local: np.ndarray, turn: np.ndarray, offset: np.ndarray,
    camera: Camera, key: np.ndarray, key_color: np.ndarray, seen: np.ndarray, ambient: np.ndarray,
) -> None:  # fmt: skip
    """Eyeballs and the inside of the mouth."""
    axes = eyeballs.gaze_axes(moment.gaze_x, moment.gaze_y) @ turn.T
    texture = eyeballs.eye_texture(cast.inner)
    up = truth[10, :2] - truth[152, :2]
    up = up / (np.linalg.norm(up) + 1e-6)
    for k, (loop, corner) in enumerate(((RIGHT_EYE, 133), (LEFT_EYE, 362))):
        around = list(loop)
        light = key_color * float(np.clip(seen[around].mean() * 1.3, 0, 1))
        eyeballs.draw_eye(
            canvas, texture, truth[around, :2], turn @ cast.head.eyes[k] + offset, axes, camera, key, light,
            ambient[around].mean(0) * 1.5, truth[corner, :2], up,
        )  # fmt: skip
    rest = cast.head.rest
    jaw = moment.jaw * cast.head.shapes[0].reshape(-1, 3)[14].astype(np.float64)
    glow = ambient[[13, 14]].mean(0) * 1.2 + key_color * float(seen[[0, 17]].mean() * max(0.15, -(key @ turn)[2])) * 0.8
    draw_mouth(
        canvas, cast.inner, truth[list(LIPS_INNER), :2], rest[13].astype(np.float64), rest[14].astype(np.float64), jaw,
        (turn, offset), camera, glow,
    )  # fmt: skip
    del local


_WRAP = np.array([0.34, 0.16, 0.10], np.float32)


def _shade_skin(
    canvas: np.ndarray, cast: Cast, found: Fragments, n: np.ndarray, seen: np.ndarray, ambient: np.ndarray, key: np.ndarray,
    key_color: np.ndarray, turn: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Skin at the fragments into ``canvas``; returns whether each fragment belongs to the face (N,)."""
    attributes = fine_attributes()
    table = np.concatenate([attributes["uv"] * (SIZE - 1), n, ambient, seen[:, None], attributes["face"][:, None]], 1)
    pixel = found.interpolate(table.astype(np.float32), refinement().triangles)
    count = len(pixel)
    rows = (count + 255) // 256
    uv = np.zeros((2, rows * 256), np.float32)
    uv[:, :count] = pixel[:, :2].T
    u, v = uv.reshape(2, rows, 256)
    color = cv2.remap(cast.color, u, v, cv2.INTER_LINEAR).reshape(-1, 4)[:count]
    relief = cv2.remap(cast.relief, u, v, cv2.INTER_LINEAR).reshape(-1, 3)[:count]
    soft = pixel[:, 2:5]
    soft /= np.sqrt((soft * soft).sum(1, keepdims=True)) + 1e-6
    fine = soft + relief @ turn.T.astype(np.float32)
    fine /= np.sqrt((fine * fine).sum(1, keepdims=True)) + 1e-6
    smooth_cos, fine_cos = soft @ key, fine @ key
    # light that enters the skin comes out again nearby, red the farthest: wrap it around the terminator, blur its relief
    bumpy = np.array([0.35, 0.75, 0.9], np.float32)
    cosine = smooth_cos[:, None] + (fine_cos - smooth_cos)[:, None] * bumpy
    diffuse = np.clip((cosine + _WRAP) / (1 + _WRAP), 0, None)
    diffuse *= diffuse
    diffuse = 0.35 * diffuse + 0.65 * np.clip((cosine + _WRAP * 0.6) / (1 + _WRAP * 0.6), 0, None)
    shadow = pixel[:, 8:9]
    through = np.concatenate([shadow**0.75, shadow, shadow**1.06], 1)
    relit = 1 + (fine[:, 1:2] - soft[:, 1:2]) * -0.5
    lit = color[:, :3] * (pixel[:, 5:8] * relit + key_color * diffuse * through)
    # gloss: a broad and a narrow lobe of the key light, and a Fresnel edge of the surroundings
    half = key + np.array([0, 0, -1], np.float32)
    half /= np.linalg.norm(half)
    shine = np.clip(fine @ half, 0, 1)
    facing = np.clip(-fine[:, 2], 0, 1)
    fresnel = 0.045 + 0.5 * (1 - facing) ** 5
    gloss = 0.085 * np.exp(12 * (shine - 1)) + 0.11 * np.exp(55 * (shine - 1))
    lit += (gloss * color[:, 3] * shadow[:, 0])[:, None] * key_color
    lit += (fresnel * color[:, 3] * 0.55)[:, None] * pixel[:, 5:8]
    canvas.reshape(-1, 3)[found.pixel] = lit
    return pixel[:, 9] > 0.5


def _face_mask(found: Fragments, face: np.ndarray, truth: np.ndarray, scene: Scene) -> np.ndarray:
    mask = np.zeros(scene.width * scene.height, np.uint8)
    mask[found.pixel[face]] = 255
    mask = mask.reshape(scene.height, scene.width)
    for loop in (RIGHT_EYE, LEFT_EYE, LIPS_INNER):
        cv2.fillPoly(mask, [np.round(truth[list(loop), :2]).astype(np.int32)], 255)
    return mask.astype(np.float32) / 255


def _soften_edges(canvas: np.ndarray, found: Fragments, scene: Scene) -> np.ndarray:
    """Anti-aliasing: blur across depth edges only."""
    depth = np.full(scene.width * scene.height, 9.0, np.float32)
    depth[found.pixel] = found.depth
    depth = depth.reshape(scene.height, scene.width)
    edge = cv2.morphologyEx(depth, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0.06
    where = np.flatnonzero(edge)
    if len(where):
        blurred = cv2.GaussianBlur(canvas, (3, 3), 0.8)
        canvas.reshape(-1, 3)[where] = blurred.reshape(-1, 3)[where]
    return canvas


