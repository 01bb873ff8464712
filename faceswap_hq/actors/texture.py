"""The skin of a person as a texture, painted once: color, gloss and fine relief."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from faceswap_hq.actors.canvas import SIZE, closed, fixed, layout, linear, noise, polygon, smooth_curve, spot, strokes
from faceswap_hq.actors.geometry import FACE_POINTS, LOWER_LIDS, UPPER_LIDS, generic_head, smoothstep
from faceswap_hq.actors.identity import Identity
from faceswap_hq.faces.regions import LEFT_BROW, LIPS_INNER, LIPS_OUTER, RIGHT_BROW

# Fair to deep brown, sRGB; between them the tone interpolates.
_TONES = np.array(
    [
        (0.27, 0.165, 0.115),
        (0.42, 0.27, 0.19),
        (0.58, 0.395, 0.285),
        (0.73, 0.535, 0.41),
        (0.83, 0.65, 0.53),
        (0.90, 0.745, 0.655),
    ],
    np.float32,
)


@dataclass(frozen=True, kw_only=True)
class Skin:
    """Textures in the layout of :attr:`Mesh.uv`.

    Attributes:
        color: (S, S, 4) float32; linear RGB reflectance and gloss (1 is plain skin).
        relief: (S, S, 3) float32; what to add to a unit normal, in the head's axes at rest.
    """

    color: np.ndarray
    relief: np.ndarray


def skin_base(identity: Identity) -> np.ndarray:
    """Linear RGB reflectance of a person's plain skin, (3,) float32."""
    at = np.linspace(0, 1, len(_TONES))
    return linear(np.array([np.interp(identity.tone, at, _TONES[:, k]) for k in range(3)], np.float32))


class _Painter:
    """Color (sRGB), gloss and height of one person's skin under the brush."""

    def __init__(self, identity: Identity) -> None:
        self.who = identity
        self.rng = np.random.default_rng([identity.seed, 31])
        self.layout = layout()
        self.at = self.layout.pixels
        self.unit = self.layout.scale
        base = np.stack([np.interp(identity.tone, np.linspace(0, 1, len(_TONES)), _TONES[:, k]) for k in range(3)])
        self.color = np.broadcast_to(base.astype(np.float32), (SIZE, SIZE, 3)).copy()
        self.gloss = np.ones((SIZE, SIZE), np.float32)
        self.height = np.zeros((SIZE, SIZE), np.float32)
        p = self.layout.position
        self.inside = (
            1 - smoothstep(0.9, 1.35, np.hypot(p[..., 0] / 0.85, (p[..., 1] - 0.3) / 0.95)).astype(np.float32) * 0.85
        )
        self.inside *= 1 - 0.85 * smoothstep(0.25, 0.6, p[..., 2]).astype(np.float32)

    def tint(self, mask: np.ndarray, factor: tuple[float, float, float]) -> None:
        """Multiply the color by ``factor`` where ``mask`` is 1."""
        self.color *= 1 + mask[..., None] * (np.array(factor, np.float32) - 1)

    def cover(self, mask: np.ndarray, color: np.ndarray | tuple[float, float, float]) -> None:
        """Paint an opaque color through ``mask``."""
        self.color += mask[..., None] * (np.asarray(color, np.float32) - self.color)

    def spots(self, landmarks: tuple[int, ...], rx: float, ry: float | None = None) -> np.ndarray:
        """Largest of soft spots at landmarks; radii in units of length."""
        return np.maximum.reduce([spot(self.at[i], rx * self.unit, (ry or rx) * self.unit) for i in landmarks])

    # -- layers, in the order they are painted -------------------------------------------------------------------

    def blood_and_mottling(self) -> None:
        who, rng, u = self.who, self.rng, self.unit
        red = 0.9 * self.spots((50, 280, 205, 425), 0.16) * (0.3 + 0.75 * who.ruddiness)
        red += 0.7 * self.spots((1, 4), 0.1) * (0.3 + who.ruddiness) + 0.5 * self.spots((98, 327), 0.06)
        red += 0.35 * self.spots((152, 200), 0.12) + 0.3 * self.spots((9, 151), 0.16) * who.ruddiness
        red += self.inside * (0.15 * noise(rng, 0.09 * u) + 0.10 * noise(rng, 0.03 * u))
        depth = 0.5 + 0.5 * who.tone
        self.tint(red.clip(-0.6, 1.3), (1.0 - 0.02 / depth, 1 - 0.15 * depth, 1 - 0.14 * depth))
        around_eyes = self.spots((159, 386, 145, 374, 23, 253), 0.12, 0.085)
        self.tint(around_eyes, (0.90, 0.845, 0.845))
        self.tint(self.spots((230, 450, 231, 451), 0.075, 0.035) * (0.35 + 0.65 * who.age), (0.84, 0.78, 0.80))
        yellow = self.spots((9, 8, 151, 107, 336), 0.2)
        self.tint(yellow, (1.015, 1.005, 0.965))
        self.color *= 1 + (self.inside * (0.016 * noise(rng, 0.16 * u) + 0.014 * noise(rng, 0.012 * u)))[..., None]
        for corner in ((0.05, 0.05), (0.95, 0.05)):  # the ears
            self.tint(spot(np.array(corner) * SIZE, 0.028 * SIZE, 0.03 * SIZE), (1.0, 0.80, 0.80))

    def pores(self) -> None:
        rng, u = self.rng, self.unit
        fine = noise(rng, 2.2) + 0.8 * noise(rng, 3.5) + 0.7 * noise(rng, 0.022 * u)
        rough = 0.45 + 0.75 * self.spots((1, 50, 280, 195, 9, 151), 0.16) + 0.5 * self.who.age
        self.height += fine * rough * 0.26 * self.inside
        self.gloss *= 0.78 + 0.65 * self.spots((1, 4, 5), 0.085) + 0.4 * self.spots((9, 151, 108, 337), 0.16)
        self.gloss *= 1 + 0.3 * self.spots((50, 280), 0.11) + 0.12 * noise(rng, 2.5)

    def freckles_and_moles(self) -> None:
        who, rng, u = self.who, self.rng, self.unit
        mask = np.zeros((SIZE, SIZE), np.uint8)
        for _ in range(int(520 * who.freckles)):
            middle = self.at[int(rng.choice((50, 280, 5, 117, 346, 6, 205, 425, 151)))]
            x, y = middle + rng.normal(0, (0.13 * u, 0.09 * u))
            cv2.circle(
                mask,
                (int(x * 16), int(y * 16)),
                int(16 * rng.uniform(0.5, 1.9)),
                (int(rng.integers(50, 170)),),
                -1,
                cv2.LINE_AA,
                4,
            )
        self.tint(cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 0.8), (0.70, 0.55, 0.45))
        for _ in range(who.moles):
            index = int(rng.integers(0, FACE_POINTS))
            radius = float(rng.uniform(0.010, 0.021)) * u
            mask2 = spot(self.at[index] + rng.normal(0, 3, 2), radius, radius)
            self.cover(
                np.clip(mask2 * 1.2, 0, 0.82), self.color[tuple(self.at[index][::-1].astype(int))] * (0.42, 0.33, 0.3)
            )
            self.height += mask2 * 2.0

    def lips(self) -> None:
        who, rng, u = self.who, self.rng, self.unit
        outer, inner = self.at[list(LIPS_OUTER)], self.at[list(LIPS_INNER)]
        red = polygon(closed(outer), 0.011 * u)
        self.cover(red * (0.72 + 0.2 * who.makeup), who.lip_color)
        self.tint(strokes([closed(inner, True)], max(2, int(0.02 * u)), 0.012 * u) * 0.9, (0.55, 0.42, 0.42))
        self.tint(red * (0.5 + 0.5 * noise(rng, 3.0)).clip(0, 1), (0.93, 0.9, 0.9))
        wrinkles = noise(rng, 3.2)
        wrinkles = cv2.resize(wrinkles[: SIZE // 5], (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        self.height += red * wrinkles * (0.5 + 0.5 * who.age) * 0.7
        self.gloss *= 1 + red * (0.9 + 1.1 * who.makeup)
        rim = strokes([closed(outer, True)], max(1, int(0.008 * u)), 0.006 * u)
        self.color *= 1 + 0.10 * rim[..., None] * (1 - who.makeup)
        self.tint(self.spots((18,), 0.12, 0.022) * 0.8, (0.84, 0.80, 0.80))
        corners = self.spots((61, 291), 0.025)
        self.tint(corners, (0.72, 0.62, 0.6))

    def nose(self) -> None:
        for side in ((79, 20, 238, 242, 141), (309, 250, 458, 462, 370)):
            middle = self.at[list(side)].mean(0)
            hole = spot(middle + (0, 1.5), 0.036 * self.unit, 0.017 * self.unit)
            self.cover((hole * 1.25).clip(0, 0.93), self.color.mean((0, 1)) * (0.20, 0.11, 0.10))
        crease = self.spots((64, 294, 129, 358, 102, 331), 0.022, 0.03)
        self.tint(crease * 0.75, (0.74, 0.64, 0.62))
        self.tint(self.spots((2,), 0.07, 0.02) * 0.6, (0.8, 0.72, 0.7))

    def eyelids(self) -> None:
        who, u = self.who, self.unit
        for upper, lower in zip(UPPER_LIDS, LOWER_LIDS, strict=True):
            top, bottom = self.at[list(upper)], self.at[list(lower)]
            crease = self.at[[130 if upper[0] == 33 else 359, *_CREASE[upper[0]]]]
            curve = smooth_curve(crease)
            fold = strokes([curve], max(1, int(0.012 * u)), 0.007 * u)
            self.tint(fold * 1.1, (0.66, 0.56, 0.54))
            self.height -= 5.0 * strokes([curve], max(1, int(0.014 * u)), 0.012 * u)
            self.tint(strokes([top], max(1, int(0.016 * u)), 0.006 * u), (0.42, 0.34, 0.34))
            self.cover(strokes([bottom], 2, 0.006 * u) * 0.35, (0.78, 0.5, 0.47))
            self.gloss += 2.0 * strokes([bottom], 2, 0.006 * u)
            if who.makeup > 0:
                region = np.concatenate([top, curve[::-1]])
                shade = np.array(((0.42, 0.28, 0.30), (0.35, 0.33, 0.42), (0.5, 0.35, 0.25))[who.seed % 3], np.float32)
                self.cover(polygon(region, 0.02 * u) * 0.55 * who.makeup, shade * (0.5 + 0.6 * who.tone))
                self.cover(
                    strokes([top], max(2, int(0.026 * u)), 0.005 * u).clip(0, 1) * who.makeup, (0.08, 0.06, 0.06)
                )

    def wrinkles(self) -> None:
        who, u, rng = self.who, self.unit, self.rng
        age = who.age
        folds = [self.at[[129, 203, 206, 216]], self.at[[358, 423, 426, 436]]]
        mask = strokes([smooth_curve(f) for f in folds], max(2, int(0.02 * u)), 0.022 * u)
        self.tint(mask * (0.25 + 0.75 * age), (0.80, 0.74, 0.72))
        self.height -= mask * (3 + 12 * age)
        bags = [self.at[[112, 232, 231, 230, 229]], self.at[[341, 452, 451, 450, 449]]]
        mask = strokes([smooth_curve(b) for b in bags], max(1, int(0.012 * u)), 0.014 * u)
        self.tint(mask * (0.15 + 0.7 * age), (0.80, 0.72, 0.73))
        self.height -= mask * 8 * age
        if age > 0.3:
            lines = []
            for k, row in enumerate(((109, 10, 338), (108, 151, 337), (69, 108, 151, 337, 299), (66, 9, 296))):
                curve = smooth_curve(self.at[list(row)])
                curve[:, 1] += 0.012 * u * np.sin(np.linspace(0, 6, len(curve)) + k) + rng.normal(0, 3)
                lines.append(curve)
            for outer, sign in ((33, -1), (263, 1)):
                for slope in (-0.5, -0.1, 0.3):
                    start = self.at[outer] + (sign * 0.045 * u, slope * 0.05 * u)
                    lines.append(np.stack([start, start + (sign * 0.09 * u, slope * 0.09 * u)]))
            mask = strokes(lines, 2, 0.008 * u)
            self.tint(mask * (age - 0.2), (0.76, 0.69, 0.67))
            self.height -= mask * 11 * (age - 0.2)

    def brows(self) -> None:
        who, rng, u = self.who, self.rng, self.unit
        color = np.array(who.hair_color) * (0.5 if max(who.hair_color) > 0.35 else 0.8)
        soft, hairs = np.zeros((SIZE, SIZE), np.uint8), np.zeros((SIZE, SIZE), np.uint8)
        for brow in (RIGHT_BROW, LEFT_BROW):
            low, high = self.at[list(brow[:5])], self.at[list(brow[5:])][::-1]
            middle = smooth_curve((0.45 * low + 0.55 * high).astype(np.float64), 60)
            t = np.linspace(1, 0, len(middle))  # 0 at the nose, 1 at the temple
            middle[:, 1] += who.brow_arch * u * (0.030 * t**2.5 - 0.034 * np.exp(-(((t - 0.62) / 0.28) ** 2)))
            thick = (
                0.030
                * u
                * who.brow_thickness
                * (0.75 + 0.5 * np.exp(-(((t - 0.3) / 0.3) ** 2)) - 0.75 * t**2).clip(0.12)
            )
            lift = np.stack([np.zeros_like(thick), thick], -1)
            cv2.fillPoly(soft, [fixed(np.concatenate([middle - lift, (middle + lift)[::-1]]))], (255,), cv2.LINE_AA, 4)
            lines = []
            for _ in range(int(300 * (0.5 + 0.5 * who.brow_thickness))):
                k = int(rng.integers(0, len(middle)))
                across = float(rng.normal(0, 0.55))
                start = middle[k] + (0, np.clip(across, -1.1, 1.1) * thick[k])
                upright = np.exp(-((t[k] / 0.22) ** 2))
                direction = middle[max(k - 3, 0)] - middle[min(k + 3, 59)]
                direction /= np.linalg.norm(direction) + 1e-6
                way = direction * (1 - 0.75 * upright) + np.array(
                    [0.0, -0.9 * upright - 0.32 * np.sign(-across) * (1 - upright)]
                )
                length = rng.uniform(0.022, 0.05) * u * (0.7 + 0.3 * who.brow_thickness) * (1 - 0.35 * t[k])
                lines.append(
                    np.stack([start, start + way * length * 0.55, start + way * length + direction * length * 0.3])
                )
            cv2.polylines(hairs, [fixed(line) for line in lines], False, (210,), 1, cv2.LINE_AA, 4)
        body = cv2.GaussianBlur(soft.astype(np.float32) / 255, (0, 0), 0.014 * u)
        hair = cv2.GaussianBlur(hairs.astype(np.float32) / 255, (0, 0), 0.6)
        self.cover(body * 0.5 * min(1.0, 0.4 + 0.6 * who.brow_thickness), color * 0.85 + self.color.mean((0, 1)) * 0.15)
        self.cover((hair * 0.62).clip(0, 1), color * 0.8)
        self.height += hair * 1.2
        self.gloss *= 1 - 0.6 * body

    def beard(self) -> None:
        who, rng, u = self.who, self.rng, self.unit
        if who.beard == "none":
            if who.makeup == 0 and who.brow_thickness > 0.75:  # a shaved shadow
                self.tint(self._beard_region("full") * 0.22, (0.80, 0.84, 0.88))
            return
        region = self._beard_region("full" if who.beard == "stubble" else who.beard)
        dense = {"stubble": 0.40, "mustache": 0.7, "goatee": 0.7, "full": 0.85}[who.beard]
        region = cv2.GaussianBlur(region, (0, 0), 2.5 if who.beard != "full" else 1.5)
        color = np.array(who.hair_color) * 0.62
        count = {"stubble": 16000, "full": 15000, "goatee": 5200, "mustache": 2600}[who.beard]
        reach = 0.016 if who.beard == "stubble" else 0.045
        ys, xs = np.nonzero(region > 0.25)
        pick = rng.integers(0, len(xs), count)
        starts = np.stack([xs[pick], ys[pick]], -1) + rng.uniform(-0.5, 0.5, (count, 2))
        keep = region[ys[pick], xs[pick]] > rng.random(count) * 0.85 + 0.1
        starts = starts[keep]
        length = rng.uniform(0.6, 1.3, len(starts)) * reach * u
        way = np.stack(
            [
                (starts[:, 0] - self.at[13][0]) / (0.55 * u) + rng.normal(0, 0.35, len(starts)),
                np.full(len(starts), 1.0),
            ],
            -1,
        )
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        middle = starts + way * length[:, None] * 0.5
        ends = starts + way * length[:, None] + rng.normal(0, 0.15, way.shape) * length[:, None]
        lines = fixed(np.stack([starts, middle, ends], 1))
        dark, light = np.zeros((SIZE, SIZE), np.uint8), np.zeros((SIZE, SIZE), np.uint8)
        half = len(lines) * 2 // 3
        cv2.polylines(dark, list(lines[:half]), False, (255 if who.beard != "stubble" else 150,), 1, cv2.LINE_AA, 4)
        cv2.polylines(light, list(lines[half:]), False, (210 if who.beard != "stubble" else 120,), 1, cv2.LINE_AA, 4)
        self.cover(region * dense * (0.55 if who.beard == "stubble" else 0.8), color * 0.7 + self.color * 0.3)
        self.cover(dark.astype(np.float32) / 255 * 0.75, color * 0.55)
        self.cover(light.astype(np.float32) / 255 * 0.6, color * 1.5 + 0.03)
        self.height += (light.astype(np.float32) - dark) / 255 * (0.8 if who.beard == "stubble" else 2.6)
        self.gloss *= 1 - 0.55 * region

    def _beard_region(self, kind: str) -> np.ndarray:
        p, u = self.layout.position, self.unit
        x, y = np.abs(p[..., 0]), p[..., 1]
        ragged = 0.02 * noise(self.rng, 0.02 * u) + 0.02 * noise(self.rng, 0.08 * u)
        lips = polygon(closed(self.at[list(LIPS_OUTER)]), 0.008 * u)
        mouth = generic_head().points[[0, 13, 61, 2, 17]]
        mouth_y, corner, nose_y = mouth[1, 1], abs(mouth[2, 0]), mouth[3, 1]
        top = nose_y + 0.055 + 0.06 * np.clip(x / corner, 0, 2) ** 2
        mustache = smoothstep(-0.02, 0.04, y - top + ragged * 0.6) * (
            1 - smoothstep(0.85, 1.15, x / corner + 2 * ragged)
        )
        mustache = mustache * (1 - smoothstep(0.0, 0.07, y - mouth_y - 0.02 - 0.03 * smoothstep(0.8, 1.2, x / corner)))
        mustache = mustache * (1 - 0.45 * np.exp(-((x / 0.03) ** 2)))
        goatee = smoothstep(0.06, 0.13, y - mouth_y + ragged + 0.06 * (np.abs(x - corner * 1.05) < 0.06)) * (
            1 - smoothstep(0.24, 0.33, x + ragged)
        )
        cheek_line = 0.16 + 0.62 * smoothstep(0.0, 0.55, 0.78 - x)
        full = smoothstep(-0.06, 0.10, y - cheek_line + ragged) * smoothstep(
            0.12, 0.30, x + (y - mouth_y) * 0.9 + ragged
        )
        full = full * (1 - smoothstep(1.06, 1.24, y + ragged))
        goatee = goatee * (1 - smoothstep(1.06, 1.22, y + ragged))
        out = {
            "mustache": mustache,
            "goatee": np.maximum(mustache * 0.9, goatee),
            "full": np.maximum.reduce([mustache, full, goatee]),
        }[kind]
        return (out * (1 - lips) * (p[..., 2] < 0.85)).astype(np.float32).clip(0, 1)

    def scalp(self) -> None:
        who, rng, u = self.who, self.rng, self.unit
        shaved = 0.25 if who.beard != "none" else 0.12
        shade = shaved if who.hair_style == "bald" else 0.93
        p = self.layout.position
        mask = hairline(p, who) + 0.08 * noise(rng, 0.012 * u) + 0.06 * noise(rng, 0.05 * u)
        mask = smoothstep(-0.15, 0.55, mask).astype(np.float32)
        mask *= p[..., 1] < 0.95
        color = np.array(who.hair_color) * 0.55
        self.cover(cv2.GaussianBlur(mask, (0, 0), 2.0) * shade, color)
        self.gloss *= 1 - 0.6 * mask * shade

    def finish(self) -> Skin:
        height = cv2.GaussianBlur(self.height, (0, 0), 0.7)
        gx = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3) / 8
        gy = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3) / 8
        # to the head's axes at rest: along u runs (cos a, 0, sin a) around the head, along v runs y
        p = self.layout.position
        around = np.arctan2(p[..., 0], 0.80 - p[..., 2])
        strength = 0.16
        relief = np.stack([-gx * np.cos(around), -gy, -gx * np.sin(around)], -1) * strength
        color = np.concatenate([linear(self.color.clip(0.01, 0.97)), self.gloss.clip(0.05, 4)[..., None]], -1)
        return Skin(
            color=np.ascontiguousarray(color, np.float32),
            relief=np.ascontiguousarray(relief.clip(-0.8, 0.8), np.float32),
        )


_CREASE = {33: (247, 30, 29, 27, 28, 56, 190), 263: (467, 260, 259, 257, 258, 286, 414)}


def hairline(points: np.ndarray, identity: Identity) -> np.ndarray:
    """Signed distance-like value at rest positions (..., 3): above 0 hair grows, below 0 is skin."""
    x, y, z = np.abs(points[..., 0]), points[..., 1], points[..., 2]
    recede = 0.10 * identity.age * (identity.makeup == 0)
    front = -0.64 - recede + 0.10 * (x / 0.5) ** 2 - 0.16 * recede * 8 * np.exp(-(((x - 0.38) / 0.14) ** 2))
    side = z - (0.50 - 0.26 * smoothstep(-0.1, -0.5, y) + 0.10 * smoothstep(0.0, 0.3, y))
    above = (front - y) * 3.5
    return np.maximum(above, np.minimum(side * 3.5, (1.0 - y) * 4))


@lru_cache(maxsize=24)
def skin(identity: Identity) -> Skin:
    """Paint a person's skin (about half a second; kept for the last few people)."""
    painter = _Painter(identity)
    for layer in (
        painter.blood_and_mottling, painter.pores, painter.freckles_and_moles, painter.nose, painter.wrinkles,
        painter.lips, painter.eyelids, painter.beard, painter.brows, painter.scalp,
    ):  # fmt: skip
        layer()
    return painter.finish()
