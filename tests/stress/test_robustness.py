from __future__ import annotations

import csv
import dataclasses
import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from faceswap_hq.errors import UserError
from faceswap_hq.faces import landmarks
from faceswap_hq.media import probe, read_frames
from stress.cli import main
from stress.data.crops import crop_clips
from stress.data.layouts import Clip
from stress.detectors import new_detector, save_detector
from stress.evaluation import codecs
from stress.evaluation.codecs import Encoding, recompress
from stress.evaluation.panel import Panel, clip_key, fingerprint
from stress.evaluation.perturbations import ClipKey, Perturbation, select
from stress.evaluation.perturbed_crops import look, perturbed_frames
from stress.evaluation.robustness_settings import RobustnessSettings
from stress.evaluation.score_store import ScoreStore
from stress.robustness import measure_robustness
from tests.stress.standin import quiet
from tests.stress.synthetic import crops

SHORT = RobustnessSettings(frames_per_clip=2, resamples=100)


@dataclasses.dataclass(frozen=True)
class _Card:
    input_size: int = 64
    crop_margin: float = 1.0
    alignment: str = "box"
    threshold: float = 0.5
    sha256: str | None = None


class FineDetail:
    """Calls a face fake where the median of its second differences is large: blur hides that, a few blocks do not."""

    name = "fine detail"

    def __init__(self, threshold=0.5, middle=12.0, sha256=None):
        self.card = _Card(threshold=threshold, sha256=sha256)
        self.middle = middle
        self.asked = 0

    def fake_probability(self, images):
        self.asked += len(images)
        grey = images.astype(float).mean(-1)
        detail = np.abs(grey[:, 1:-1, 1:-1] * 2 - grey[:, :-2, 1:-1] - grey[:, 2:, 1:-1])
        value = np.median(detail, axis=(1, 2))
        return value / (value + self.middle)


def whole(image):
    """A face finder for which every picture that is not black is one face, edge to edge."""
    height, width = image.shape[:2]
    return [np.array([[0, 0, 0], [width, height, 0]], np.float32)] if image.any() else []


@pytest.fixture(autouse=True)
def _backend(monkeypatch):
    class Backend:
        detect = staticmethod(whole)

        def close(self):
            pass

    monkeypatch.setattr(landmarks, "open_backend", lambda *_, **__: Backend())
    monkeypatch.setenv("COLUMNS", "200")


def _write(folder: Path, people: int, frames: int = 3, artefact: float = 24) -> list[Clip]:
    """A folder of pictures a clip; the fakes carry a diagonal texture, whose strength differs from person to person."""
    clips = []
    for item in crops(people, artefact=artefact, size=64, frames=frames):
        path = folder / ("fake" if item.clip.label else "real") / item.clip.id
        path.mkdir(parents=True)
        for at, image in enumerate(item.images):
            cv2.imwrite(str(path / f"{at}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        with (path.parent / "people.csv").open("a") as table:
            table.write("file,person\n" if table.tell() == 0 else "")
            table.write(f"{item.clip.id},{'|'.join(item.clip.people)}\n")
        clips.append(dataclasses.replace(item.clip, path=path))
    return clips


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return _write(tmp_path_factory.mktemp("clips"), 6)


def _measure(panels, clips, names, levels=(1, 5), settings=SHORT, **more):
    perturbations = select(names, levels, settings.mode)
    return measure_robustness(panels, clips, perturbations, settings, detect=whole, progress=quiet, **more)


def _auc(found, name, level, phase="before"):
    return _row(found, name, level, phase)["video"]["auc"]["value"]


def _row(found, name, level, phase="before"):
    rows = found.results["rows"]
    return next(row for row in rows if (row["name"], row["level"], row["phase"]) == (name, level, phase))


# ------------------------------------------------------------------------------------------------------------ figures


def test_blur_blinds_a_detector_of_detail_and_blocks_do_not(clips):
    found = _measure([Panel(detectors=(FineDetail(),))], clips, ("GB", "BW", "H264", "JPEG"))
    assert _auc(found, "GB", 0) == 1
    assert _auc(found, "GB", 5) < 0.8
    assert _auc(found, "BW", 5) == 1
    assert _row(found, "GB", 5)["drop"]["auc"]["value"] == pytest.approx(1 - _auc(found, "GB", 5))
    assert _row(found, "GB", 5)["video"]["detection_rate"]["value"] == 0
    clean, blurred = (_row(found, "GB", level) for level in (0, 5))
    assert blurred["drop"]["detection_rate"]["value"] == clean["video"]["detection_rate"]["value"] > 0
    assert _row(found, "H264", 5)["setting"] == "CRF 40"
    assert _auc(found, "H264", 1) == 1 > _auc(found, "H264", 5)
    for row in found.results["rows"]:
        assert row["n"]["all"] == {"clips": 12, "frames": 24, "people": 6}
        assert row["missed"] == {"frames": 0, "clips": 0}
        low, high = (row["video"]["auc"][end] for end in ("low", "high"))
        assert 0 <= low <= row["video"]["auc"]["value"] <= high <= 1
        assert ("drop" in row) == (row["level"] > 0)
    json.dumps(found.results, allow_nan=False)


def test_the_untouched_row_is_what_scoring_without_perturbation_gives(clips):
    detector = FineDetail()
    found = _measure([Panel(detectors=(detector,))], clips, ("CS",), (5,), dataclasses.replace(SHORT, mode="faithful"))
    used, _ = crop_clips(clips, detector.card, 2)
    scores = [detector.fake_probability(item.images).mean() for item in used]
    labels = [item.clip.label for item in used]
    assert _auc(found, "CS", 0) == pytest.approx(roc_auc_score(labels, scores))
    calls = [score >= 0.5 for score, label in zip(scores, labels, strict=True) if label]
    assert _row(found, "CS", 0)["video"]["detection_rate"]["value"] == pytest.approx(np.mean(calls))
    assert found.results["mode"] == "faithful"


def test_after_fine_tuning_each_clip_is_scored_by_the_detector_of_its_fold(clips):
    strict, loose = FineDetail(threshold=0.99), FineDetail(threshold=0.0)
    fold_of = {clip_key(clip): number % 2 for number, clip in enumerate(clips[:10])}
    after = Panel(phase="after", detectors=(strict, loose), fold_of=fold_of)
    found = _measure([Panel(detectors=(FineDetail(),)), after], clips, ("JPEGQ",), (3,))
    assert [(row["level"], row["phase"]) for row in found.results["rows"]] == [
        (0, "before"), (3, "before"), (0, "after"), (3, "after"),
    ]  # fmt: skip
    assert _row(found, "JPEGQ", 3, "after")["n"]["all"]["clips"] == 10
    assert strict.asked == loose.asked == 10 / 2 * 2 * 2
    folds = {label: np.mean([fold_of[clip_key(c)] for c in clips[:10] if c.label == label]) for label in (0, 1)}
    video = _row(found, "JPEGQ", 3, "after")["video"]
    assert video["detection_rate"]["value"] == pytest.approx(folds[1])  # the loose one calls everything fake
    assert video["false_alarm_rate"]["value"] == pytest.approx(folds[0])


def test_a_clip_is_read_once_and_perturbed_once_a_level_for_all_detectors(clips, monkeypatch):
    looked, perturbed = [], []

    def finding(image):
        looked.append(image)
        return whole(image)

    def applied(self, frames, key, rate=Fraction(25)):
        perturbed.append((key.clip, self.name, self.level))
        return apply(self, frames, key, rate)

    apply = Perturbation.apply
    monkeypatch.setattr(Perturbation, "apply", applied)
    fold_of = {clip_key(clip): number % 2 for number, clip in enumerate(clips)}
    after = Panel(phase="after", detectors=(FineDetail(middle=9.0), FineDetail(middle=15.0)), fold_of=fold_of)
    panels = [Panel(detectors=(FineDetail(),)), after]
    found = measure_robustness(panels, clips, select(("GB", "JPEG"), (1, 5)), SHORT, detect=finding, progress=quiet)
    assert {row["phase"] for row in found.results["rows"]} == {"before", "after"}
    assert len(looked) == 2 * len(clips)
    assert len(perturbed) == len(set(perturbed)) == 4 * len(clips)


def test_faces_found_again_are_counted_when_missed(clips):
    def needs_contrast(image):
        return whole(image) if image.std() > 14 else []

    settings = dataclasses.replace(SHORT, faces="again")
    perturbations = select(("CC",), (1, 5))
    panels = [Panel(detectors=(FineDetail(),))]
    found = measure_robustness(panels, clips, perturbations, settings, detect=needs_contrast, progress=quiet)
    row = _row(found, "CC", 5)
    assert row["missed"]["clips"] > 0
    assert row["n"]["all"]["clips"] == 12 - row["missed"]["clips"]
    assert row["missed"]["frames"] == 24 - row["n"]["all"]["frames"]
    assert _row(found, "CC", 1)["missed"]["clips"] == 0
    clean = measure_robustness(panels, clips, perturbations, SHORT, detect=needs_contrast, progress=quiet)
    assert _row(clean, "CC", 5)["missed"] == {"frames": 0, "clips": 0}


def test_larger_and_smaller_frames_keep_their_faces(clips):
    found = _measure([Panel(detectors=(FineDetail(),))], clips, ("UP", "DOWN", "SOCIAL"), (5,))
    assert _auc(found, "UP", 5) == 1
    assert _auc(found, "DOWN", 5) < 1
    assert all(row["n"]["all"]["frames"] == 24 for row in found.results["rows"])


def test_a_video_goes_through_the_codec_in_stretches(tmp_path, monkeypatch):
    from tests.faceswap_hq.helpers import write_clip

    given = []
    original = codecs._Coder.push

    def push(self, image):
        given.append(image)
        return original(self, image)

    monkeypatch.setattr(codecs._Coder, "push", push)
    item = crops(2, artefact=24, size=64, frames=90)[0]
    path = write_clip(tmp_path / "clip.mp4", list(item.images))
    looked = look(dataclasses.replace(item.clip, path=path), 2, whole)
    assert list(looked.frames) == [22, 67]
    (perturbation,) = select(("VC",), (5,))
    found = dict(perturbed_frames(looked, perturbation, ClipKey(clip="a", source="a")))
    every = [frame.image for frame in read_frames(path)]
    expected = [*range(35), *range(43, 80)]  # from 24 before to 12 after
    assert all((image == every[number]).all() for image, number in zip(given, expected, strict=True))
    for run, number in ((expected[:35], 22), (expected[35:], 67)):
        alone = list(recompress((every[i] for i in run), Encoding(codec="h264", crf=40), probe(path).rate))
        assert (found[number] == alone[run.index(number)]).all()


# -------------------------------------------------------------------------------------------------- going on, failing


def test_a_stopped_run_goes_on_and_a_cut_line_is_ignored(clips, tmp_path):
    path = tmp_path / "scores.jsonl"
    first = FineDetail(sha256="1" * 64)
    whole_run = _measure([Panel(detectors=(first,))], clips, ("GB", "MIX"), (2,), store=ScoreStore(path))
    assert whole_run.computed == 12 * 3
    assert first.asked == 12 * 3 * 2

    again = FineDetail(sha256="1" * 64)
    known = _measure([Panel(detectors=(again,))], clips, ("GB", "MIX"), (2,), store=ScoreStore(path))
    assert known.results == whole_run.results
    assert again.asked == 0

    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:20]) + lines[20][:50])
    store = ScoreStore(path)
    assert (len(store), store.ignored) == (20, 1)
    resumed = _measure([Panel(detectors=(again,))], clips, ("GB", "MIX"), (2,), store=store)
    assert resumed.computed == 16
    assert resumed.results == whole_run.results
    assert len(ScoreStore(path)) == 36

    for change in ({"sha256": "2" * 64}, {"sha256": "1" * 64, "threshold": 0.1}):
        other = _measure([Panel(detectors=(FineDetail(**change),))], clips, ("GB",), (1,), store=ScoreStore(path))
        assert other.computed == 24
    seeded = dataclasses.replace(SHORT, seed=1)
    other = _measure([Panel(detectors=(again,))], clips, ("GB",), (1,), seeded, store=ScoreStore(path))
    assert other.computed == 12  # the untouched clips are known


def test_other_content_under_the_same_name_is_scored_anew(clips, tmp_path):
    store, detector = ScoreStore(), FineDetail(sha256="1" * 64)
    _measure([Panel(detectors=(detector,))], clips, ("CC",), (1,), store=store)
    other = tmp_path / "other"
    other.mkdir()
    for number in range(3):
        cv2.imwrite(str(other / f"{number}.png"), np.full((64, 64, 3), 90 + number, np.uint8))
    changed = [dataclasses.replace(clips[0], path=other), *clips[1:]]
    assert _measure([Panel(detectors=(detector,))], changed, ("CC",), (1,), store=store).computed == 2


def test_a_detector_that_cannot_be_recognized_is_asked_anew(clips):
    store, detector = ScoreStore(), FineDetail()
    assert fingerprint(detector) is None
    for _ in range(2):
        assert _measure([Panel(detectors=(detector,))], clips, ("CC",), (1,), store=store).computed == 24
    assert len(store) == 0


def test_a_fingerprint_follows_weights_and_card():
    one, other = new_detector(device="cpu", seed=0), new_detector(device="cpu", seed=1)
    assert fingerprint(one) == fingerprint(new_detector(device="cpu", seed=0)) != fingerprint(other)
    before = fingerprint(one)
    one.card = dataclasses.replace(one.card, sha256="5" * 64)
    assert fingerprint(one) == before
    one.card = dataclasses.replace(one.card, mean=(0.1, 0.1, 0.1))
    assert fingerprint(one) != before


def test_what_cannot_be_used_is_named(clips, tmp_path):
    dark = tmp_path / "dark"
    dark.mkdir()
    cv2.imwrite(str(dark / "0.png"), np.zeros((64, 64, 3), np.uint8))
    bad = [
        dataclasses.replace(clips[0], id="dark", path=dark),
        dataclasses.replace(clips[0], id="gone", path=tmp_path / "gone.mp4"),
    ]
    found = _measure([Panel(detectors=(FineDetail(),))], [*clips, *bad], ("CC",), (1,))
    assert {row["clip"] for row in found.results["excluded"]} == {"dark", "gone"}
    assert _row(found, "CC", 1)["n"]["all"]["clips"] == 12
    with pytest.raises(UserError, match="nothing to compare"):
        _measure([Panel(detectors=(FineDetail(),))], bad, ("CC",), (1,))

    class Fails(FineDetail):
        def fake_probability(self, images):
            raise ValueError("no memory of faces")

    mixed = Panel(detectors=(FineDetail(), Fails()), fold_of={clip_key(c): int(c.id == "s0p0") for c in clips})
    found = _measure([mixed], clips, ("CC",), (1,))
    assert len(found.results["failures"]) == 4
    assert "no memory" in found.results["failures"][0]["reason"]
    assert _row(found, "CC", 1)["n"]["all"]["clips"] == 10


def test_a_missing_encoder_stops_the_run_before_it_starts(clips, monkeypatch):
    monkeypatch.setitem(codecs.ENCODERS, "h264", "libnothing")
    detector = FineDetail()
    with pytest.raises(UserError, match="libnothing"):
        _measure([Panel(detectors=(detector,))], clips, ("CC", "VC"), (1,))
    assert detector.asked == 0


# ------------------------------------------------------------------------------------------------------- command line


def test_from_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "data", 4)
    detector = new_detector(device="cpu")
    detector.card = dataclasses.replace(detector.card, input_size=64, crop_margin=1.0)
    save_detector(detector, tmp_path / "d.pt")
    arguments = ["robustness", "--detector", "d.pt", "--fakes", "data", "-o", "out", "--mode", "faithful"]
    arguments += ["--perturbations", "GB,JPEG", "--levels", "1,5", "--frames-per-clip", "1", "--seed", "2"]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "GB (Gaussian blur), before: video AUC 0:" in text
    document = json.loads((tmp_path / "out/robustness.json").read_text())
    assert (document["format"], document["version"]) == ("faceswap-hq robustness", 1)
    assert document["robustness"]["settings"]["seed"] == 2
    rows = document["robustness"]["rows"]
    assert [(row["name"], row["level"], row["setting"]) for row in rows] == [
        ("GB", 0, "untouched"), ("GB", 1, "kernel 7"), ("GB", 5, "kernel 21"),
        ("JPEG", 0, "untouched"), ("JPEG", 1, "scaled down and up by 2"), ("JPEG", 5, "scaled down and up by 6"),
    ]  # fmt: skip
    with (tmp_path / "out/robustness.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert [float(line["auc"]) for line in table] == [row["video"]["auc"]["value"] for row in rows]
    assert table[0]["drop_auc"] == ""
    assert table[1]["fakes"] == "4"
    kept = (tmp_path / "out/robustness-scores.jsonl").read_bytes()
    assert kept.count(b"\n") == 8 * 5
    assert main(arguments) == 0
    assert (tmp_path / "out/robustness-scores.jsonl").read_bytes() == kept


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--perturbations XX", "known: all"),
        ("--levels 9", "1 to 5"),
        ("--mode rough", "mode"),
        ("--faces any", "faces"),
    ],
)
def test_wrong_options_are_refused(tmp_path, capsys, option, message):
    assert main(f"robustness --detector d.pt --fakes {tmp_path} {option}".split()) == 2
    assert message in capsys.readouterr().err
