"""Swap real people with the real commands, then measure the finished videos.

    python benchmarks/real_footage.py --shared ../shared --pairs p04:p01 p05:p07 --minutes 20 --work DIR --out FILE

Writes numbers only. Contact sheets (``--sheet``) show real people: they are refused inside this repository.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common
import cv2
import numpy as np

from faceswap_hq import media, quality
from faceswap_hq.errors import UserError

FLOORS = {"ratio": 0.75, "closer_to_source": 0.95, "mouth": 0.8}


def clip_path(shared: Path, name: str) -> Path:
    """A clip by path, or by stem under ``footage/``."""
    if Path(name).is_file():
        return Path(name)
    found = sorted((shared / "footage").glob(f"*/{name}.mp4"))
    if not found:
        raise SystemExit(f"There is no clip {name} under {shared / 'footage'}.")
    return found[0]


def command(log: Path, *arguments: str | Path) -> dict[str, Any]:
    """Run ``faceswap-hq`` with arguments; its output goes to ``log``."""
    line = [sys.executable, "-m", "faceswap_hq", *map(str, arguments)]
    print(f"  faceswap-hq {' '.join(Path(a).name if '/' in str(a) else str(a) for a in arguments)}", flush=True)
    started = time.perf_counter()
    with log.open("wb") as stream:
        code = subprocess.run(line, cwd=common.REPOSITORY, stdout=stream, stderr=subprocess.STDOUT).returncode
    if code:
        tail = log.read_text(errors="replace")[-2000:]
        raise SystemExit(f"faceswap-hq {arguments[0]} ended with {code}:\n{tail}")
    return {"seconds": round(time.perf_counter() - started, 1)}


def facts_of(video: Path) -> dict[str, Any]:
    """The renderer's own account beside a video: counts and model of its credentials JSON, where there is one."""
    for path in (video.with_name(video.name + ".credentials.json"), video.with_suffix(".credentials.json")):
        if path.is_file():
            value = json.loads(path.read_text(encoding="utf-8"))
            facts = value.get("facts", value)
            return {key: facts[key] for key in ("counts", "model", "frames") if key in facts}
    return {}


class SecondOpinion:
    """YuNet, a detector that has nothing to do with our landmarks: is there a face at all?"""

    def __init__(self, path: Path) -> None:
        self._detector = cv2.FaceDetectorYN.create(str(path), "", (320, 320), 0.6, 0.3, 50)

    def __call__(self, image: np.ndarray) -> bool:
        """Whether it sees a face in a uint8 (H, W, 3) RGB picture."""
        height, width = image.shape[:2]
        scale = 320 / max(height, width)
        small = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
        canvas = np.zeros((320, 320, 3), np.uint8)
        canvas[: small.shape[0], : small.shape[1]] = small[..., ::-1]
        return self._detector.detect(canvas)[1] is not None


def second_opinion(detector: SecondOpinion, target: Path, swap: Path) -> dict[str, Any]:
    """Frames in which YuNet sees a face: in the target, in the swap, in both."""
    found = [(detector(a.image), detector(b.image)) for a, b in pairs(target, swap)]
    real, fake = sum(a for a, _ in found), sum(b for _, b in found)
    both = sum(a and b for a, b in found)
    return {"frames": len(found), "target": real, "swap": fake, "share_kept": round(both / real, 4) if real else None}


def pairs(target: Path, swap: Path, every: int = 1) -> Iterator[tuple[media.Frame, media.Frame]]:
    """Frames of two clips in step."""
    for i, (a, b) in enumerate(zip(media.read_frames(target), media.read_frames(swap), strict=False)):
        if i % every == 0:
            yield a, b


def contact_sheet(target: Path, swap: Path, out: Path, every: int, cell: int = 320, per_row: int = 6) -> Path:
    """PNG of face crops at the clip's own scale, each target crop above its swap; scaled down only to fit ``cell``.

    Args:
        target: The real clip.
        swap: The fake made from it.
        out: PNG to write; must lie outside this repository.
        every: Take every so many frames.
        cell: Largest side of a crop, pixels.
        per_row: Crops beside one another.
    """
    from faceswap_hq.faces.landmarks import open_backend

    out = out.resolve()
    if out.is_relative_to(common.REPOSITORY):
        raise SystemExit(f"{out} lies in the repository; pictures of real people do not belong there.")
    backend = open_backend(static=True)
    columns = []
    for real, fake in pairs(target, swap, every):
        faces = backend.detect(real.image)
        if not faces:
            continue
        box = np.array([faces[0][:, :2].min(0), faces[0][:, :2].max(0)])
        center, half = box.mean(0), float(np.ptp(box, axis=0).max()) * 0.75
        matrix = np.array([[1, 0, half - center[0]], [0, 1, half - center[1]]])
        side = round(2 * half)
        crops = [cv2.warpAffine(f.image, matrix, (side, side)) for f in (real, fake)]
        if side != cell:
            crops = [cv2.resize(c, (cell, cell), interpolation=cv2.INTER_AREA if side > cell else 2) for c in crops]
        cv2.putText(crops[0], str(real.index), (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
        columns.append(np.concatenate(crops))
    backend.close()
    if not columns:
        raise SystemExit(f"No face in {target}.")
    columns += [np.zeros_like(columns[0])] * (-len(columns) % per_row)
    rows = [np.concatenate(columns[i : i + per_row], axis=1) for i in range(0, len(columns), per_row)]
    out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(out), np.concatenate(rows)[..., ::-1])
    return out


def run_pair(a: Path, b: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train, render and measure one pair: A's face onto B's clip."""
    name = f"{a.stem}_on_{b.stem}"
    model, video = options.work / f"{name}.model", options.work / f"{name}.mp4"
    result: dict[str, Any] = {"pair": f"{a.stem}:{b.stem}", "target": clip_facts(b)}
    if not options.measure_only:
        extra = ["--preset", options.preset] if options.preset else []
        result["train"] = {"minutes": options.minutes} | command(
            options.work / f"{name}.train.log",
            *("train", "--src", a, "--dst", b, "--model", model, "--minutes", f"{options.minutes:g}", *extra),
        )
        video.unlink(missing_ok=True)
        result["render"] = command(options.work / f"{name}.render.log", "render", b, "--model", model, "-o", video)
    if not video.is_file():
        raise SystemExit(f"{video} is missing; run without --measure-only.")
    result["renderer"] = facts_of(video)
    instrument = quality.IdentityModel(options.shared / "weights/mobilefacenet/MobileFaceNet.onnx")
    measured = quality.compare_clips(b, video, a, identity_model=instrument, every=options.every)
    result["quality"] = measured.to_dict()
    detector = SecondOpinion(options.shared / "weights/yunet/yunet_n_320_320.onnx")
    result["yunet"] = second_opinion(detector, b, video)
    result["floors"] = floors(measured)
    if options.sheet:
        sheet = contact_sheet(b, video, options.sheet / f"{name}.png", options.sheet_every)
        print(f"  look at {sheet}")
    return result


def clip_facts(path: Path) -> dict[str, Any]:
    """Size, codec and length of a clip."""
    info = media.probe(path)
    return {"size": f"{info.width}x{info.height}", "codec": info.codec, "frames": info.frames, "fps": float(info.rate)}


def floors(measured: quality.FakeQuality) -> dict[str, bool | None]:
    """Which of the floors are met; None where they could not be measured."""
    found = {
        "ratio": measured.identity and measured.identity.ratio,
        "closer_to_source": measured.identity and measured.identity.closer_to_source,
        "mouth": measured.mouth and measured.mouth.r,
    }
    return {key: None if value is None else bool(value >= FLOORS[key]) for key, value in found.items()}


COLUMNS = (
    "pair    cos A         cos B         ceiling ratio closer mouth r [95 %]          eyes r  pose°        "
    "in both/target yunet  sharp flick jit   seam"
)


def row(result: dict[str, Any]) -> str:
    """One line of the printed table."""
    q, identity = result["quality"], result["quality"]["identity"]

    def pm(value: dict[str, float] | None, digits: int = 2) -> str:
        return "-" if value is None else f"{value['mean']:.{digits}f} ± {value['std']:.{digits}f}"

    def number(value: float | None, digits: int = 2) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    cells = [f"{result['pair']:7}"]
    if identity:
        cells += [f"{pm(identity['source'], 3):13}", f"{pm(identity['target'], 3):13}"]
        cells += [f"{identity['ceiling']['mean']:.3f}  ", f"{identity['ratio']:.3f}"]
        cells += [f"{identity['closer_to_source']:5.1%}"]
    mouth, eyes = q["mouth"], q["eyes"]
    cells += [f"{mouth['r']:.3f} [{mouth['low']:.2f}, {mouth['high']:.2f}]  " if mouth else "-"]
    cells += [f"{eyes['r']:.3f}  " if eyes else "-", f"{pm(q['pose'], 1):12}"]
    cells += [f"{q['faces_both']}/{q['faces_target']}      "]
    cells += [number(result["yunet"]["share_kept"], 3), number(q["sharpness"] and q["sharpness"]["mean"])]
    return " ".join([*cells, number(q["flicker"]), number(q["jitter"]), number(q["seam"] and q["seam"]["mean"])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with footage/ and weights/")
    parser.add_argument("--pairs", nargs="+", default=["p04:p01"], metavar="A:B", help="A's face onto B's clip")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--preset", help="passed on to train")
    parser.add_argument("--work", type=Path, required=True, help="models, videos, logs (outside the repository)")
    parser.add_argument("--out", type=Path, help="JSON with the numbers")
    parser.add_argument("--every", type=int, default=1, help="measure every so many frames")
    parser.add_argument("--measure-only", action="store_true", help="measure the videos already in --work")
    parser.add_argument("--sheet", type=Path, help="folder for contact sheets (outside the repository)")
    parser.add_argument("--sheet-every", type=int, default=30)
    options = parser.parse_args()
    options.work = options.work.resolve()
    if options.work.is_relative_to(common.REPOSITORY):
        parser.error("--work must lie outside the repository: it will hold videos of real people")
    options.work.mkdir(parents=True, exist_ok=True)
    options.shared = options.shared.resolve()
    results = []
    for pair in options.pairs:
        a, _, b = pair.partition(":")
        print(f"{pair}", flush=True)
        results.append(run_pair(clip_path(options.shared, a), clip_path(options.shared, b), options))
        print(f"{COLUMNS}\n{row(results[-1])}", flush=True)
    print("\n" + "\n".join([COLUMNS, *map(row, results)]))
    if options.out:
        from faceswap_hq import files

        result = {"benchmark": "real footage", "floors": FLOORS, "machine": common.machine(), "pairs": results}
        files.write_json(options.out, result)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
