"""Where training and rendering run: one device, or several processes that train together (Lightning Fabric)."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from faceswap_hq.errors import UserError

if TYPE_CHECKING:  # rendering needs the device alone, and Fabric takes a second to import
    from lightning_fabric import Fabric


def choose_device(name: str | None = None) -> torch.device:
    """The named device, or CUDA, Apple's GPU or the CPU, whichever is there first.

    Raises:
        UserError: If the named device is not there: there is no silent falling back.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"The device {name!r} cannot be used: {str(error).splitlines()[0]}", "See: faceswap-hq doctor"
        ) from None
    return device


def open_fabric(device: torch.device, precision: str, devices: int = 1) -> Fabric:
    """Device, precision and processes of a training, not launched yet.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: ``float32`` or ``bfloat16`` (autocast).
        devices: Processes; each has a device of its own, or the CPU. More than one train together (DDP; gloo on CPUs).
    """
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it would name the precision once more
    chosen: int | list[int] = devices
    if devices == 1 and device.type == "cuda" and device.index is not None:
        chosen = [device.index]
    return Fabric(
        accelerator=device.type,
        devices=chosen,
        strategy="ddp" if devices > 1 else "auto",
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
    )


_HELPER = "FACESWAP_HQ_HELPER"


def helped_facesets() -> list[Path]:
    """The facesets to train on, in a process that another of the same training started to share its work; or none."""
    given = os.environ.get(_HELPER)
    return [Path(part) for part in given.split(os.pathsep)] if given else []


def check_devices(device: torch.device, devices: int) -> None:
    """Raise a UserError for processes that cannot be had."""
    if devices == 1:
        return
    if device.type not in ("cpu", "cuda") or device.index is not None:
        raise UserError(f"--devices {devices} goes with --device cuda or cpu, not {device}.")
    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise UserError(f"There are {torch.cuda.device_count()} GPUs here, not {devices}.")
    if not helped_facesets() and "LOCAL_RANK" in os.environ:
        raise UserError(
            "This process is part of a distributed job already (LOCAL_RANK is set).",
            "Start the plain command once, without torchrun: --devices starts the other processes.",
        )


def launch(fabric: Fabric, facesets: list[Path]) -> None:
    """Start the other processes; they run this very program again and are told the facesets that were found."""
    if helped_facesets():
        fabric.launch()
        return
    os.environ[_HELPER] = os.pathsep.join(str(path.resolve()) for path in facesets)
    try:
        fabric.launch()
    finally:
        del os.environ[_HELPER]
