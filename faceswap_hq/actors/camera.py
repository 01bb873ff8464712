"""The projection from the scene to the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from faceswap_hq.actors.scene import Scene

DISTANCE = 8.5  # from the camera to the eyes at rest, in units of the eye distance: about 75 cm


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole that looks along z; the eyes at rest lie at z = 0 in the middle of its axis.

    Attributes:
        scale: Pixels a unit at z = 0.
        center: (x, y) pixel of the axis.
    """

    scale: float
    center: tuple[float, float]

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 3) in camera axes to pixels (N, 2)."""
        factor = self.scale * DISTANCE / (DISTANCE + points[:, 2:3])
        return points[:, :2] * factor + np.asarray(self.center, points.dtype)

    def scale_at(self, z: float) -> float:
        """Pixels a unit at depth ``z``."""
        return float(self.scale * DISTANCE / (DISTANCE + z))


def camera_of(scene: Scene) -> Camera:
    """The camera of a scene: eyes in the middle, slightly above the picture's center."""
    return Camera(scale=scene.scale, center=((scene.width - 1) / 2, (scene.height - 1) * 0.44))
