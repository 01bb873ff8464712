"""Landmark backends behind one interface."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from faceswap_hq.errors import UserError

BACKENDS = ("mediapipe", "face-alignment")

_BLANK = np.zeros((64, 64, 3), np.uint8)
_QUIET = threading.RLock()  # two threads that turn file descriptor 2 away at once would never turn it back

HEADLESS_OPENCV = "pip install --force-reinstall --no-deps opencv-contrib-python-headless==4.11.0.86"


class LandmarkBackend(Protocol):
    """Finds faces in a picture.

    Attributes:
        name: The backend's name, as written into facesets.
        points: Landmarks per face, 478 or 68.
    """

    name: str
    points: int

    def detect(self, image: np.ndarray) -> list[np.ndarray]:
        """Find faces.

        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            One float32 (points, 3) array a face: x and y in pixels of ``image`` (0 = left/top edge), z in the same
            unit, growing away from the camera (0 for backends without depth).
        """
        ...

    def reset(self) -> None:
        """Forget the faces followed so far (a cut, another clip)."""
        ...

    def close(self) -> None:
        """Give back the backend's memory."""
        ...


def open_backend(name: str = "mediapipe", *, max_faces: int = 4, static: bool = False) -> LandmarkBackend:
    """Open a landmark backend.

    Args:
        name: ``"mediapipe"`` (478 points, offline) or ``"face-alignment"`` (68 points, downloads weights at first use).
        max_faces: At most this many faces a picture.
        static: True for unrelated pictures: the detector runs on each. False follows faces from frame to frame.

    Raises:
        UserError: For an unknown name, or a backend whose package or weights are missing.
    """
    if name == "mediapipe":
        return MediaPipeBackend(max_faces=max_faces, static=static)
    if name == "face-alignment":
        return FaceAlignmentBackend(max_faces=max_faces)
    raise UserError(f"There is no landmark backend {name!r}.", f"Known backends: {', '.join(BACKENDS)}.")


class MediaPipeBackend:
    """MediaPipe Face Mesh with irises: 468 + 10 points, models in the wheel (Kartynnik et al. 2019, arXiv 1907.06724).

    Following a single face is cheap; looking for further faces costs a detector run a frame. So a second, separate
    detector looks, and the many-faces graph runs only while it sees several. It looks again after 3, 6, 12 and
    then every 24 frames (:attr:`pauses`), from 3 again after a cut, or when one has become several or several one.
    """

    name = "mediapipe"
    points = 478
    pauses = (3, 24)

    def __init__(self, *, max_faces: int = 4, static: bool = False) -> None:
        self._max_faces = max_faces
        self._static = static
        self._meshes: dict[int, Any] = {}
        self._pause = self.pauses[0]
        self._until_look = 0
        self._several = False
        self._met = False
        with _quiet_start():
            self._solutions = _import_mediapipe().solutions
        self._mesh(max_faces if static else 1)
        self._finder: Any = None if static or max_faces == 1 else self._open_finder()

    def _mesh(self, faces: int) -> Any:
        if faces not in self._meshes:
            with _quiet_start():
                self._meshes[faces] = self._solutions.face_mesh.FaceMesh(
                    static_image_mode=self._static,
                    max_num_faces=faces,
                    refine_landmarks=True,
                    min_detection_confidence=0.5,
                    min_tracking_confidence=0.5,
                )
                self._meshes[faces].process(_BLANK)  # builds the graph, which is when it chatters
        return self._meshes[faces]

    def _open_finder(self) -> Any:
        with _quiet_start():
            finder = self._solutions.face_detection.FaceDetection(model_selection=0, min_detection_confidence=0.5)
            finder.process(_BLANK)
        return finder

    def _look(self, image: np.ndarray) -> None:
        several = len(self._finder.process(image).detections or []) > 1
        if several != self._several:
            self._pause = self.pauses[0]
            self._drop(self._max_faces)
        self._several = several
        self._until_look, self._pause = self._pause, min(2 * self._pause, self.pauses[1])

    def detect(self, image: np.ndarray) -> list[np.ndarray]:
        """See :meth:`LandmarkBackend.detect`."""
        height, width = image.shape[:2]
        scale = np.array([width, height, width], np.float32)
        image = _frozen(image)
        if self._finder is None:
            mesh = self._mesh(self._max_faces)
        else:
            if self._until_look == 0:
                self._look(image)
            self._until_look -= 1
            mesh = self._mesh(self._max_faces if self._several else 1)
        with contextlib.nullcontext() if self._met else _quiet_start():  # it warns once, at the first face
            found = mesh.process(image).multi_face_landmarks or []
        self._met = self._met or bool(found)
        return [_points(face) * scale for face in found]

    def _drop(self, faces: int) -> None:
        mesh = self._meshes.pop(faces, None)
        if mesh is not None:
            mesh.close()

    def reset(self) -> None:
        """See :meth:`LandmarkBackend.reset`."""
        self._pause = self.pauses[0]
        self._until_look = 0
        self._met = False
        with _quiet_start():
            for mesh in self._meshes.values():
                mesh.reset()
                mesh.process(_BLANK)  # as in _mesh: the graph is built anew

    def close(self) -> None:
        """See :meth:`LandmarkBackend.close`."""
        for faces in list(self._meshes):
            self._drop(faces)
        if self._finder is not None:
            self._finder.close()
            self._finder = None


def _frozen(image: np.ndarray) -> np.ndarray:
    """A view that MediaPipe may read in place: it copies what could be written to."""
    view = np.ascontiguousarray(image).view()
    view.flags.writeable = False
    return view


def _points(face: Any) -> np.ndarray:
    """x, y, z of a ``NormalizedLandmarkList``, float32 (points, 3)."""
    # A landmark with nothing but x, y and z is 17 bytes on the wire: tag and length of the message, then three times
    # the field's tag and a little-endian float. Reading them there takes a tenth of the time of 1434 attributes.
    data = face.SerializeToString()
    if len(data) == 17 * len(face.landmark):
        wire = np.frombuffer(data, np.uint8).reshape(-1, 17)
        if (wire[:, (0, 1, 2, 7, 12)] == (0x0A, 15, 0x0D, 0x15, 0x1D)).all():
            return wire[:, 2:].reshape(-1, 3, 5)[:, :, 1:].copy().view("<f4")[..., 0]
    return np.array([(p.x, p.y, p.z) for p in face.landmark], np.float32)


class FaceAlignmentBackend:
    """The ``face-alignment`` package: 68 points by FAN (Bulat and Tzimiropoulos 2017); needs its extra, downloads."""

    name = "face-alignment"
    points = 68

    def __init__(self, *, max_faces: int = 4) -> None:
        try:
            import face_alignment
        except ImportError:
            raise UserError(
                "The face-alignment backend is not installed.", "pip install 'faceswap-hq[face-alignment]'"
            ) from None
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        kind = getattr(face_alignment.LandmarksType, "TWO_D", None) or face_alignment.LandmarksType._2D
        try:
            self._aligner = face_alignment.FaceAlignment(kind, device=device, flip_input=False)
        except OSError as error:  # urllib's errors are OSErrors: the download of the weights failed
            raise UserError(
                f"The weights of the face-alignment backend could not be loaded: {error}.",
                "They are downloaded at first use. Without a network use --backend mediapipe.",
            ) from error
        self._max_faces = max_faces

    def detect(self, image: np.ndarray) -> list[np.ndarray]:
        """See :meth:`LandmarkBackend.detect`."""
        found = self._aligner.get_landmarks_from_image(image) or []
        faces = [np.concatenate([f[:, :2], np.zeros((len(f), 1))], 1).astype(np.float32) for f in found]
        faces.sort(key=lambda face: -float(np.prod(np.ptp(face[:, :2], axis=0))))
        return faces[: self._max_faces]

    def reset(self) -> None:
        """See :meth:`LandmarkBackend.reset`."""

    def close(self) -> None:
        """See :meth:`LandmarkBackend.close`."""


def _import_mediapipe() -> Any:
    try:
        import mediapipe
    except ImportError as error:
        if "libGL" in str(error) or "libgthread" in str(error):
            raise UserError(
                f"OpenCV cannot start on this machine without a screen: {error}.", f"Run: {HEADLESS_OPENCV}"
            ) from error
        raise
    return mediapipe


@contextlib.contextmanager
def _quiet_start() -> Iterator[None]:
    """Send the C++ start-up chatter of MediaPipe (written straight to file descriptor 2) nowhere."""
    with _QUIET:
        try:
            sys.stderr.flush()
            saved = os.dup(2)
        except OSError:
            yield
            return
        try:
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 2)
                yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
