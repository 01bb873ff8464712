"""Where an actor is filmed: lights, background and camera."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

BACKGROUNDS = ("studio", "room", "window", "bokeh", "shelves")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A place with a camera in it.

    Attributes:
        seed: Seeds the background's details, the light's path and the sensor's noise.
        width: Picture width in pixels, at least 64.
        height: Picture height in pixels, at least 64.
        face: Distance of the outer eye corners as a share of the smaller side of the picture.
        key_azimuth: Where the key light stands, degrees; 0 at the camera, positive at the picture's right.
        key_elevation: Degrees above the eyes.
        key_strength: Irradiance of the key light; about 1.
        key_kelvin: Its color temperature.
        fill: Strength of the fill light opposite the key.
        rim: Strength of a light from behind.
        ambient: Strength of the light from everywhere.
        ambient_kelvin: Its color temperature.
        drift: How far the key light wanders, degrees.
        background: One of :data:`BACKGROUNDS`.
        exposure: Gain before the tone curve.
        contrast: Slope of the tone curve, about 1.
        saturation: About 1.
        noise: Standard deviation of the sensor's noise in the middle tones, in units of 1/255.
        softness: Standard deviation of the camera's blur at 320 pixels, in pixels.
        vignette: Loss of light in the corners, 0 to 1.
    """

    seed: int
    width: int = 320
    height: int = 320
    face: float = 0.27
    key_azimuth: float = -35.0
    key_elevation: float = 30.0
    key_strength: float = 1.0
    key_kelvin: float = 5200.0
    fill: float = 0.25
    rim: float = 0.3
    ambient: float = 0.35
    ambient_kelvin: float = 6500.0
    drift: float = 8.0
    background: str = "studio"
    exposure: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    noise: float = 2.0
    softness: float = 0.5
    vignette: float = 0.25

    def __post_init__(self) -> None:
        if self.width < 64 or self.height < 64:
            raise ValueError("a scene is at least 64 x 64 pixels")
        if self.background not in BACKGROUNDS:
            raise ValueError(f"unknown background {self.background!r}; there are {', '.join(BACKGROUNDS)}")

    @property
    def scale(self) -> float:
        """Pixels a unit of length at the distance of the eyes."""
        return self.face * min(self.width, self.height)


def make_scene(seed: int, *, width: int = 320, height: int = 320) -> Scene:
    """Draw a place, its light and its camera."""
    rng = np.random.default_rng([seed, 41])
    return Scene(
        seed=int(seed),
        width=int(width),
        height=int(height),
        face=float(rng.uniform(0.255, 0.30)),
        key_azimuth=float(rng.choice([-1, 1]) * rng.uniform(18, 58)),
        key_elevation=float(rng.uniform(14, 46)),
        key_strength=float(rng.uniform(0.85, 1.2)),
        key_kelvin=float(rng.uniform(3600, 6300)),
        fill=float(rng.uniform(0.14, 0.4)),
        rim=float(rng.uniform(0.1, 0.7)),
        ambient=float(rng.uniform(0.26, 0.46)),
        ambient_kelvin=float(rng.uniform(4800, 8800)),
        drift=float(rng.uniform(3, 14)),
        background=str(rng.choice(BACKGROUNDS)),
        exposure=float(rng.uniform(0.88, 1.12)),
        contrast=float(rng.uniform(0.94, 1.12)),
        saturation=float(rng.uniform(0.85, 1.1)),
        noise=float(rng.uniform(0.8, 3.6)),
        softness=float(rng.uniform(0.35, 0.75)),
        vignette=float(rng.uniform(0.1, 0.35)),
    )


def kelvin_rgb(kelvin: float) -> np.ndarray:
    """Linear RGB of a light of this color temperature, mean 1; Tanner Helland's fit to the black body's locus."""
    t = kelvin / 100
    if t <= 66:
        red, green = 255.0, 99.4708 * np.log(t) - 161.1196
        blue = 0.0 if t <= 19 else 138.5177 * np.log(t - 10) - 305.0448
    else:
        red, green, blue = 329.6987 * (t - 60) ** -0.13320, 288.1222 * (t - 60) ** -0.07551, 255.0
    rgb = (np.clip([red, green, blue], 1, 255) / 255) ** 2.2
    # film and sensors are balanced half-way: keep half of the cast
    rgb = (rgb / rgb.mean()) ** 0.5
    return (rgb / rgb.mean()).astype(np.float32)


def key_direction(scene: Scene, light: float) -> np.ndarray:
    """Unit vector toward the key light, (3,) float32; ``light`` in -1..1 is where on its path it stands."""
    azimuth = np.radians(scene.key_azimuth + scene.drift * light)
    elevation = np.radians(scene.key_elevation + 0.4 * scene.drift * light)
    direction = [np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), -np.cos(azimuth) * np.cos(elevation)]
    return np.array(direction, np.float32)


def environment(scene: Scene, directions: np.ndarray) -> np.ndarray:
    """Light from directions (D, 3) other than the key's, linear RGB (D, 3) float32."""
    cool = kelvin_rgb(scene.ambient_kelvin)
    up = 0.5 - 0.5 * directions[:, 1:2]
    ground = np.array([1.05, 0.95, 0.85], np.float32)
    base = scene.ambient * (cool * up * 1.25 + ground * (1 - up) * 0.55)
    opposite = key_direction(scene, 0.0) * [-1, 0.25, 1]
    opposite /= np.linalg.norm(opposite)
    lobe = np.exp(4 * (directions @ opposite - 1))[:, None]
    behind = key_direction(scene, 0.0) * [-1.0, 1.2, -0.6]
    behind /= np.linalg.norm(behind)
    edge = np.exp(6 * (directions @ behind - 1))[:, None]
    return (base + 2.0 * scene.fill * lobe * cool + 3.0 * scene.rim * edge * kelvin_rgb(scene.key_kelvin)).astype(
        np.float32
    )


@lru_cache(maxsize=12)
def background(scene: Scene) -> np.ndarray:
    """The picture behind the actor, (H, W, 3) float32 linear light, out of focus."""
    rng = np.random.default_rng([scene.seed, 42])
    w, h = scene.width, scene.height
    y, x = np.mgrid[:h, :w].astype(np.float32)
    x, y = x / w, y / h
    hue = rng.uniform(0, 1)
    wall = np.array([0.30 + 0.07 * np.cos(6.28 * (hue + k / 3)) for k in range(3)], np.float32) * rng.uniform(0.5, 1.15)
    sway = -np.sign(scene.key_azimuth)
    shade = 0.55 + 0.55 * np.exp(-(((x - 0.5 - 0.22 * sway) / 0.5) ** 2 + ((y - 0.4) / 0.6) ** 2))
    out = wall * shade[..., None]
    sigma = 0.02 * min(w, h)
    kind = scene.background
    if kind == "room":
        corner, floor = rng.uniform(0.15, 0.85), rng.uniform(0.78, 0.9)
        out *= np.where(x < corner, 1.0, 0.72)[..., None]
        out = np.where((y > floor)[..., None], wall * [0.75, 0.55, 0.4], out)
        for _ in range(int(rng.integers(2, 4))):
            x0, y0 = rng.uniform(0, 0.85), rng.uniform(0.02, 0.4)
            x1, y1 = x0 + rng.uniform(0.12, 0.26), y0 + rng.uniform(0.14, 0.3)
            inside = (x > x0) & (x < x1) & (y > y0) & (y < y1)
            frame = (x > x0 - 0.015) & (x < x1 + 0.015) & (y > y0 - 0.015) & (y < y1 + 0.015)
            out[frame] = wall * 0.35
            out[inside] = rng.uniform(0.15, 0.5) * rng.uniform(0.75, 1.2, 3)
        sigma = 0.014 * min(w, h)
    elif kind == "window":
        x0 = 0.02 if sway > 0 else 0.58
        pane = (x > x0) & (x < x0 + 0.40) & (y > 0.04) & (y < 0.75)
        sky = np.array([0.75, 0.9, 1.1], np.float32) * rng.uniform(0.7, 1.1)
        trees = 0.5 + 0.5 * np.sin(9 * x + 5 * np.sin(7 * y + rng.uniform(0, 6)))
        view = np.where(
            (y > 0.42)[..., None], np.array([0.25, 0.38, 0.18], np.float32) * (0.5 + 0.7 * trees[..., None]), sky
        )
        bars = (np.abs(x - x0 - 0.2) < 0.012) | (np.abs(y - 0.4) < 0.012)
        out = np.where((pane & ~bars)[..., None], view, out)
        curtain = np.abs(x - (x0 + (0.43 if sway > 0 else -0.03))) < 0.05
        out = np.where(curtain[..., None], wall * (1.15 + 0.3 * np.sin(x * 240))[..., None], out)
        sigma = 0.018 * min(w, h)
    elif kind == "bokeh":
        out *= 0.35
        lights = np.zeros((h, w, 3), np.float32)
        for _ in range(int(rng.integers(18, 40))):
            color = np.array([1.0, rng.uniform(0.5, 1.0), rng.uniform(0.2, 0.9)]) * rng.uniform(0.15, 0.7)
            disk = np.zeros((h, w, 3), np.float32)
            radius = int(min(w, h) * rng.uniform(0.02, 0.055))
            cv2.circle(
                disk, (int(rng.uniform(0, w)), int(rng.uniform(0, h * 0.85))), radius, color.tolist(), -1, cv2.LINE_AA
            )
            lights += disk
        out += lights
        sigma = 0.006 * min(w, h)
    elif kind == "shelves":
        out *= 0.5
        for row in range(5):
            top = 0.03 + 0.21 * row
            at = rng.uniform(-0.03, 0.0)
            while at < 1:
                thick, tall = rng.uniform(0.012, 0.04), rng.uniform(0.11, 0.165)
                book = (x > at) & (x < at + thick * 0.92) & (y < top + 0.18) & (y > top + 0.18 - tall)
                shade = rng.uniform(0.06, 0.34)
                out[book] = shade * np.array([1.15, 0.95, 0.8]) * rng.uniform(0.75, 1.25, 3)
                at += thick if rng.random() > 0.07 else thick + 0.06
            out[(y > top + 0.18) & (y < top + 0.2)] = (0.22, 0.14, 0.08)
        sigma = 0.016 * min(w, h)
    out = cv2.GaussianBlur(out.astype(np.float32), (0, 0), max(sigma, 0.8))
    return np.ascontiguousarray(out * kelvin_rgb(0.5 * (scene.key_kelvin + scene.ambient_kelvin)) * 0.8)


@lru_cache(maxsize=12)
def _sensor(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Tile of sensor noise (larger than the picture), and exposure with vignette in steps of the tone curve."""
    rng = np.random.default_rng([scene.seed, 43])
    shape = (scene.height + 64, scene.width + 64)
    luma = rng.standard_normal(shape).astype(np.float32)
    luma = 0.75 * luma + 0.9 * cv2.GaussianBlur(luma, (0, 0), 0.8)
    chroma = cv2.GaussianBlur(rng.standard_normal((*shape, 3)).astype(np.float32), (0, 0), 1.1) * 1.6
    tile = (luma[..., None] * 0.8 + chroma * 0.6) * scene.noise
    y, x = np.mgrid[: scene.height, : scene.width].astype(np.float32)
    r2 = ((x / scene.width - 0.5) ** 2 + (y / scene.height - 0.5) ** 2) * 2
    fade = 1 - scene.vignette * r2**1.2
    return tile, np.repeat((fade * scene.exposure * 2047.5)[..., None], 3, axis=2).astype(np.float32)


@lru_cache(maxsize=12)
def _curve(contrast: float) -> np.ndarray:
    """Tone curve from linear light 0..2 (4096 steps) to 0..255: a soft shoulder, then the sRGB curve."""
    x = np.linspace(0, 2, 4096)
    x = np.where(x > 0.6, 0.6 + 0.4 * np.tanh((x - 0.6) / 0.62), x)
    s = np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055)
    s = 0.5 + (s - 0.5) * contrast + 0.05 * (contrast - 1)
    return (np.clip(s, 0, 1) * 255).astype(np.float32)


def expose(picture: np.ndarray, scene: Scene, frame: int) -> np.ndarray:
    """What the camera makes of linear light (H, W, 3): vignette, blur, tone curve, noise; uint8 RGB.

    The noise depends on the scene and the frame's number only, so two pictures that were equal before stay equal.
    """
    tile, fade = _sensor(scene)
    sigma = scene.softness * min(scene.width, scene.height) / 320
    if sigma > 0.25:
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    index = cv2.multiply(picture, fade, dtype=cv2.CV_16U)
    toned = np.take(_curve(scene.contrast), np.minimum(index, 4095))
    if scene.saturation != 1:
        keep, gray = scene.saturation, (1 - scene.saturation) * np.array([0.299, 0.587, 0.114])
        toned = cv2.transform(toned, np.eye(3) * keep + gray)
    dx, dy = (int(v) for v in np.random.default_rng([scene.seed, 44, frame]).integers(0, 64, 2))
    noise = tile[dy : dy + scene.height, dx : dx + scene.width]
    return cv2.addWeighted(toned, 1.0, noise, 1.0, 0.0, dtype=cv2.CV_8U)
