"""Faces cut out of perturbed frames: the frames and, by default, the places that the untouched clip has.

An operation that needs time (a video codec) is given consecutive frames and not the few that are looked at: a stretch
around each of those, from 24 frames before to 12 after, stretches that meet being one. So a clip of up to some 20
seconds goes through the codec whole at 16 frames a clip. The frames before give the encoder something to predict from,
those after something to look ahead at: at CRF 40 a frame comes out 0.3 dB worse than in the whole clip, without those
after 1.3 dB, alone 3 dB (6 frames of a talking head, 400 frames of 512 x 512). A folder of pictures is taken as
consecutive frames, a single picture as a video of one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from stress.data.crops import Crops, CropSettings, crop_face, sample_frames
from stress.data.faces import same_person
from stress.data.layouts import PICTURE_SUFFIXES, Clip
from stress.evaluation.perturbations import ClipKey, Perturbation, needs_time
from stress.evaluation.perturbations.catalogue import Numbered

FACES = ("clean", "again")
BEFORE, AFTER = 24, 12
Detect = Callable[[np.ndarray], Sequence[np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What is looked at of a clip: some of its frames, and the face in each where there is one.

    Args:
        clip: Which one.
        frames: Frame number -> uint8 (H, W, 3) RGB.
        faces: Frame number -> landmarks (points, 3), of the frames with a face.
    """

    clip: Clip
    frames: dict[int, np.ndarray]
    faces: dict[int, np.ndarray]


def look(clip: Clip, frames_per_clip: int, detect: Detect) -> Looked:
    """Read the frames that are looked at and find the face in each that the crops of the untouched clip follow.

    Raises:
        UserError: The clip cannot be decoded.
    """
    frames = dict(sample_frames(clip, frames_per_clip))
    return Looked(clip=clip, frames=frames, faces=_followed((number, detect(frames[number])) for number in frames))


def _followed(found: Iterable[tuple[int, Sequence[np.ndarray]]]) -> dict[int, np.ndarray]:
    """One person's face in each frame that has any: the same whom :mod:`stress.data.crops` takes."""
    faces: dict[int, np.ndarray] = {}
    last = None
    for number, several in found:
        if len(several):
            faces[number] = last = same_person(several, last)
    return faces


def stretches(numbers: Iterable[int], before: int = BEFORE, after: int = AFTER) -> list[range]:
    """Consecutive frame numbers around each of ``numbers``; what meets or overlaps is one.

    >>> stretches([2, 100, 120])
    [range(0, 15), range(76, 133)]
    """
    found: list[range] = []
    for number in sorted(numbers):
        start, stop = max(0, number - before), number + after + 1
        if found and start <= found[-1].stop:
            found[-1] = range(found[-1].start, max(stop, found[-1].stop))
        else:
            found.append(range(start, stop))
    return found


def perturbed_frames(looked: Looked, perturbation: Perturbation, key: ClipKey) -> Iterator[Numbered]:
    """The frames that are looked at, perturbed, one at a time; they may have another size.

    Raises:
        ValueError: The clip's frames differ in size and a codec is asked for.
    """
    if not needs_time(perturbation.operations(key)):
        yield from perturbation.apply(looked.frames.items(), key)
        return
    runs = stretches(looked.frames)
    rate, frames = _consecutive(looked, runs)
    for _, run in itertools.groupby(frames, key=lambda item: next(i for i, r in enumerate(runs) if item[0] in r)):
        for number, image in perturbation.apply(run, key, rate):
            if number in looked.frames:
                yield number, image


def perturbed_crops(
    looked: Looked,
    perturbation: Perturbation | None,
    key: ClipKey,
    cards: Sequence[CropSettings],
    *,
    detect: Detect | None = None,
) -> list[Crops | None]:
    """Faces cut out of the perturbed frames, once for each card.

    Args:
        looked: Frames and faces of the untouched clip.
        perturbation: None leaves the clip untouched.
        key: What random draws depend on.
        cards: How to cut.
        detect: Looks for the faces anew in the perturbed frames; None takes the places of the untouched clip.

    Returns:
        Crops for each card, None where no face was found.
    """
    numbers: list[int] = []
    images: list[list[np.ndarray]] = [[] for _ in cards]
    frames = looked.frames.items() if perturbation is None else perturbed_frames(looked, perturbation, key)
    for number, image in frames:
        if detect is not None and perturbation is not None:
            several = detect(image)
            face = same_person(several, looked.faces.get(number)) if len(several) else None
        else:
            face = _scaled(looked.faces.get(number), looked.frames[number].shape, image.shape)
        if face is not None:
            numbers.append(number)
            for found, card in zip(images, cards, strict=True):
                found.append(crop_face(image, face, card))
    if not numbers:
        return [None for _ in cards]
    return [Crops(clip=looked.clip, frames=np.array(numbers, np.int64), images=np.stack(found)) for found in images]


def _scaled(face: np.ndarray | None, old: tuple[int, ...], new: tuple[int, ...]) -> np.ndarray | None:
    if face is None or old == new:
        return face
    across, down = new[1] / old[1], new[0] / old[0]
    factors = np.array([across, down, (across + down) / 2][: face.shape[1]])
    return (face * factors).astype(face.dtype)


def _consecutive(looked: Looked, runs: Sequence[range]) -> tuple[Fraction, Iterator[Numbered]]:
    """Frames a second, and the frames of the runs in order."""
    path = looked.clip.path
    wanted = list(itertools.chain.from_iterable(runs))
    if path.is_dir():
        pictures = sum(item.suffix.lower() in PICTURE_SUFFIXES for item in path.iterdir())
        inside = set(wanted)
        return Fraction(25), (item for item in sample_frames(path, pictures) if item[0] in inside)
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return Fraction(25), iter(looked.frames.items())
    from faceswap_hq.media import probe, read_frames

    info = probe(path)
    return info.rate, ((frame.index, frame.image) for frame in read_frames(info, indices=wanted))
