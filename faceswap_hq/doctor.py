"""Is everything here that the toolkit needs?"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from faceswap_hq import __version__, places
from faceswap_hq.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing looked at."""

    name: str
    ok: bool
    detail: str
    optional: bool = False
    """True if the toolkit works without it."""


def examine() -> Iterator[Check]:
    """Look at versions, devices, codecs, backends and directories, one after the other."""
    yield Check(
        name="faceswap-hq",
        ok=True,
        detail=f"{__version__} on Python {platform.python_version()}, {platform.platform()}",
    )
    for package in ("torch", "torchvision", "timm", "mediapipe", "numpy", "av", "c2pa-python"):
        yield _version(package)
    yield from _devices()
    yield _encoder()
    yield _ffmpeg()
    yield _landmarks()
    yield Check(
        name="face-alignment", optional=True, ok=_installed("face-alignment"),
        detail="installed (downloads its weights at first use)" if _installed("face-alignment")
        else "not installed (optional): pip install 'faceswap-hq[face-alignment]'",
    )  # fmt: skip
    yield _signing()
    for name, path in (
        ("models are kept in", Path("models").resolve()),
        ("facesets are cached in", places.cache_dir()),
    ):
        yield Check(name=name, ok=True, detail=f"{path} ({_free(path)} free)")


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _version(package: str) -> Check:
    if not _installed(package):
        return Check(name=package, ok=False, detail=f"missing: pip install {package}")
    return Check(name=package, ok=True, detail=metadata.version(package))


def _devices() -> Iterator[Check]:
    try:
        import torch
    except ImportError:  # named above
        return
    features = torch.backends.cpu.get_cpu_capability()
    yield Check(
        name="CPU", ok=True, detail=f"{os.cpu_count()} cores, {features}, {torch.get_num_threads()} threads for torch"
    )
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(i)
            memory = properties.total_memory / 2**30
            yield Check(name=f"cuda:{i}", ok=True, detail=f"{properties.name}, {memory:.0f} GiB")
    else:
        yield Check(
            name="CUDA", ok=False, optional=True, detail="no GPU that torch can use; everything works on the CPU"
        )


def _encoder() -> Check:
    try:
        import av
    except ImportError as error:
        return Check(name="H.264 encoder", ok=False, detail=str(error))
    try:
        av.codec.Codec("libx264", "w")
    except av.error.FFmpegError as error:
        return Check(name="H.264 encoder", ok=False, detail=f"PyAV has no libx264: {error}")
    return Check(name="H.264 encoder", ok=True, detail=f"libx264 in PyAV {av.__version__}")


def _ffmpeg() -> Check:
    try:
        import imageio_ffmpeg

        return Check(name="ffmpeg", ok=True, detail=f"{imageio_ffmpeg.get_ffmpeg_version()} (bundled)")
    except (ImportError, RuntimeError) as error:
        return Check(name="ffmpeg", ok=False, optional=True, detail=str(error))


def _landmarks() -> Check:
    try:
        import numpy as np

        from faceswap_hq.faces.landmarks import open_backend

        backend = open_backend("mediapipe", static=True)
        backend.detect(np.zeros((128, 128, 3), np.uint8))
        backend.close()
    except (UserError, ImportError, RuntimeError, OSError) as error:
        return Check(name="mediapipe landmarks", ok=False, detail=str(error))
    return Check(name="mediapipe landmarks", ok=True, detail="478 points, models inside the package")


def _signing() -> Check:
    from faceswap_hq.provenance import load_key

    try:
        load_key(None, None)
    except (UserError, OSError) as error:
        return Check(name="signing key", ok=False, detail=str(error))
    return Check(name="signing key", ok=True, detail=f"in {places.config_dir()}")


def _free(path: Path) -> str:
    while not path.exists():
        path = path.parent
    return f"{shutil.disk_usage(path).free / 2**30:.0f} GiB"
