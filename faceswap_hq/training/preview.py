"""The preview sheet: what each decoder makes of each person, side by side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from faceswap_hq import files
from faceswap_hq.model import SwapAutoencoder
from faceswap_hq.training.augmentation import central
from faceswap_hq.training.data import PersonData


@torch.no_grad()
def sheet(model: SwapAutoencoder, people: list[PersonData], rows: int = 6, first: int = 0) -> np.ndarray:
    """Render the preview sheet.

    Each row shows, for each pair of neighbours A, B among the people: A, A→A, A→B, B, B→B, B→A, where X→Y is the face
    of X drawn as Y. Faces are spread evenly over each faceset.

    Args:
        model: Draws.
        people: Whose faces.
        rows: How many of each.
        first: The decoder of the first of ``people``; others' faces are not shown.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    resolution = model.settings.resolution
    device = next(model.parameters()).device
    columns: list[tuple[str, torch.Tensor]] = []
    with model.evaluating():
        for i, data in enumerate(people, first):
            other = (i + 1) % len(model.people)
            picks = torch.linspace(0, len(data.images) - 1, rows + 2)[1:-1].round().long()
            picks = picks.to(data.images.device)
            faces = central(data.images[picks].to(device), resolution)
            measures = data.measures[picks].to(device)
            columns.append((data.name, faces))
            columns.append((f"{data.name} > {data.name}", model(faces, measures, i)[0]))
            if other != i:
                habit = data.measures.cpu().numpy()
                wanted = torch.from_numpy(model.adapted(measures.cpu().numpy(), habit, other)).to(device)
                columns.append((f"{data.name} > {model.people[other]}", model.swap(faces, wanted, other)[0]))
    header = np.full((22, len(columns) * resolution, 3), 24, np.uint8)
    for n, (title, _) in enumerate(columns):
        place = (n * resolution + 4, 15)
        cv2.putText(header, title[: resolution // 8], place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (235,) * 3, 1, cv2.LINE_AA)
    grid = torch.stack([faces.clamp(0, 1) for _, faces in columns], 1)  # (rows, columns, 3, S, S)
    picture = grid.permute(0, 3, 1, 4, 2).reshape(rows * resolution, len(columns) * resolution, 3)
    return np.concatenate([header, (picture.cpu().numpy() * 255).round().astype(np.uint8)])


def write_sheet(model: SwapAutoencoder, people: list[PersonData], folder: Path, step: int, first: int = 0) -> Path:
    """Write ``step-NNNNNNN.png`` and ``latest.png`` into ``folder``; returns the latter."""
    data = cv2.imencode(".png", cv2.cvtColor(sheet(model, people, first=first), cv2.COLOR_RGB2BGR))[1].tobytes()
    files.write_bytes(folder / f"step-{step:07d}.png", data)
    files.write_bytes(folder / "latest.png", data)
    return folder / "latest.png"
