"""Film strips: the faces of a clip beside each other in one JPEG, each fake's face marked in the picture itself."""

from __future__ import annotations

import base64
import io
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

SIDE = 112  # pixels of a face
BAND = 17  # pixels of the mark, over the lower edge of the face
MARK = "AI face swap"
_QUALITY = 80


def strip(images: Image, *, fake: bool) -> bytes:
    """Faces as one JPEG, left to right.

    Args:
        images: (n, S, S, 3) uint8 RGB, n >= 1.
        fake: Whether every face is marked "AI face swap", over its lower edge and before the picture is compressed:
            no unmarked picture of a fake is in the page.

    Returns:
        A JPEG of n * 112 by 112 pixels.
    """
    from PIL import Image as Pictures

    faces = [_sized(image) for image in images]
    if fake:
        for face in faces:
            face[-BAND:] = mark()
    buffer = io.BytesIO()
    Pictures.fromarray(np.concatenate(faces, axis=1)).save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return buffer.getvalue()


@lru_cache(maxsize=1)
def mark() -> Image:
    """The mark: (17, 112, 3) uint8, white on black."""
    from PIL import Image as Pictures
    from PIL import ImageDraw, ImageFont

    picture = Pictures.new("RGB", (SIDE, BAND), "black")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=13)  # comes with Pillow: no font of the machine is asked for
    draw.text((SIDE / 2, BAND / 2), MARK, fill="white", font=font, anchor="mm")
    return np.asarray(picture)


def data_uri(jpeg: bytes) -> str:
    """A JPEG as an address that needs no network."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def _sized(image: Image) -> Image:
    smaller = image.shape[0] > SIDE
    method = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.array(cv2.resize(image, (SIDE, SIDE), interpolation=method))
