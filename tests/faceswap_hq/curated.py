"""What the tests of curating a cast share: two actors, a stand-in for measuring, and a data set made by hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from faceswap_hq import fakes, files, provenance
from faceswap_hq.curation import opening, publish, records, report
from faceswap_hq.curation.plan import HeldOut
from faceswap_hq.curation.run import run as curate
from faceswap_hq.curation.settings import CurateSettings
from faceswap_hq.curation.thresholds import WORDS, Criterion, Thresholds, judge
from faceswap_hq.masks import MaskWriter
from tests.faceswap_hq.clips import number_of
from tests.faceswap_hq.helpers import Shot, mark, write_clip

SEAM = Thresholds(fake={"seam": Criterion(max=2.0, best=0.0)}, plan={})


class KnowsBoth:
    """A backend that knows both actors, and tells from the picture which of them it shows."""

    name, points = "known", 478

    def __init__(self, shots) -> None:
        self.shots = shots

    def detect(self, image):
        number = number_of(image)
        nearest = min(self.shots, key=lambda shot: np.abs(shot.images[number].astype(float) - image).mean())
        return [nearest.landmarks[number].copy()]

    def reset(self) -> None:
        pass

    def close(self) -> None:
        pass


def measuring(found: dict[tuple[str, str, int], float]):
    """A stand-in for measuring: (source, target, round) ► seam; 1 where nothing is said."""

    def work(self, tools):
        key = self.entry["source"]["person"], self.entry["target"]["person"], self.number
        return {"values": {**dict.fromkeys(WORDS), "seam": found.get(key, 1.0)}, "quality": {"frames": 7}}

    return work


def curated(cast: Path, thresholds: Thresholds = SEAM, tools: records.Tools | None = None, **changes):
    settings = {"preset": str(cast.parent / "small.yaml"), "steps": 2, "retrain_steps": 1, "blend": "none",
                "held_out": HeldOut(share=0.3, gap=0.1)} | changes  # fmt: skip
    tools = tools or records.Tools(device="cpu")
    curation = opening.open_curation(cast, cast.parent / "out", CurateSettings(**settings), thresholds, tools=tools)
    return curate(curation, tools)


def unscored(cast: Path) -> Path:
    """``out/`` without what was measured and published: as after a kill between rendering and scoring."""
    out = cast.parent / "out"
    for path in out.iterdir():
        if path.name not in ("work", "curation.yaml"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(out / "work/round-0/scores")
    return out


def manifest(folder: Path) -> dict[tuple[str, str], dict]:
    return {(e["source"]["person"], e["target"]["person"]): e for e in fakes.Manifest(folder).read()}


PATCH = (slice(60, 132), slice(60, 132))
"""Rows and columns of a hand-made fake that differ from its target."""


def hand_made(out: Path, shots: tuple[Shot, Shot], names=("anna", "ben", "cem"), count: int = 50) -> Path:
    """A published curation of three people in all ordered pairs, without training: a fake is its target with a patch.

    Every frame carries its number. Seams are 0.5, 1.0 ... 3.0 in the order of the pairs, so that four are accepted.
    """
    first, second = (list(shot.images) + list(shot.images[::-1]) for shot in shots)
    films = dict(zip(names, (first, second, [image[:, ::-1] for image in first]), strict=True))
    judged, made = [], out / "work" / "round-0"
    for source in names:
        for target in set(names) - {source}:
            name = fakes.identifier(Path(f"{target}.mp4"), source, target, (0, count))
            onto = {"person": target, "clip": f"{target}.mp4", "sha256": 64 * str(names.index(target))}
            entry = {"id": name, "source": {"person": source}, "target": onto, "frames": [0, count]}
            entry["mask"] = f"{publish.KINDS['mask']}/{name}.zip"
            with MaskWriter(made / entry["mask"]) as writer:
                covered = np.zeros(films[target][0].shape[:2], np.uint8)
                covered[PATCH] = 255
                for i in range(count):
                    writer.write(i, covered)
            for kind in ("fake", "real", "control"):
                place = publish.KINDS[kind]
                images = [mark(films[target][i % 48], i) for i in range(count)]
                if kind == "fake":
                    for i, image in enumerate(images):
                        image[PATCH] = 255 - films[source][i % 48][PATCH] // 2
                entry[kind] = f"{place}/{name}.mp4"
                path = made / entry[kind]
                if kind == "fake" or not (shared := made / f"{kind}-{target}.mp4").exists():
                    write_clip(path if kind == "fake" else shared, images)
                if kind != "fake":
                    path.parent.mkdir(exist_ok=True)
                    shutil.copy(shared, path)
                provenance.sidecar_path(path).write_text("{}")
            entry["sha256"] = {kind: files.sha256_file(made / entry[kind]) for kind in publish.KINDS}
            judged.append((source, target, entry))
    judged.sort(key=lambda item: (names.index(item[0]), names.index(item[1])))
    items = []
    for place, (_, _, entry) in enumerate(judged):
        numbers = {**dict.fromkeys(WORDS), "seam": 0.5 + 0.5 * place, "mouth": 0.9 - 0.1 * place if place else None}
        items.append(
            publish.Judged(entry=entry, folder=made, number=0, values=numbers, quality={},
                           automatic=judge(numbers, SEAM))
        )  # fmt: skip
    order = publish.ranked(items)
    publish.publish(out, order)
    shutil.rmtree(out / "work")
    settings = {"cast": "cast", "model": None, "identity": None, "settings": {"seed": 0}, "thresholds": SEAM.to_dict()}
    files.write_yaml(out / publish.SETTINGS, settings)
    people = {
        name: {"consent": {"basis": "virtual actor"}, "clip": f"{name}.mp4", "faces": 20, "held_out": [0, count],
               "rate": 25.0}
        for name in names
    }  # fmt: skip
    rows = [report.fake_row(item, rank, {}, ()) for rank, item in enumerate(order, 1)]
    value = {"format": publish.FORMAT, "version": publish.VERSION, "toolkit": "test", "people": people, "rounds": [],
             "fakes": rows, "left_out": []}  # fmt: skip
    report.write(out, value, order)
    return out
