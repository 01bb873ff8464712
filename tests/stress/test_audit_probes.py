from __future__ import annotations

import json
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceswap_hq.media import VideoInfo, VideoWriter
from stress.data.layouts import read_clips
from stress.evaluation.audit import audit, measure, pixels
from stress.evaluation.audit.container import FileFacts, file_facts
from stress.evaluation.audit.names import metadata_differences, name_differences, pair_differences
from stress.evaluation.audit.pairs import match

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import audit_power
from audit_power import clip

SIZE = 64
EVERYWHERE = np.ones((SIZE, SIZE), bool)


def picture(seed=0, noise=3.0):
    rng = np.random.default_rng(seed)
    smooth = cv2.resize(rng.uniform(60, 190, (5, 5, 3)), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, noise, smooth.shape), 0, 255).astype(np.uint8)


def write(path, crf=20, count=6, rate=25, noise=3.0):
    info = VideoInfo(
        path=path, width=SIZE, height=SIZE, rotation=0, rate=Fraction(rate), time_base=Fraction(1, rate), frames=None,
        duration=None, has_audio=False, codec="h264", pixel_format="yuv420p",
    )  # fmt: skip
    with VideoWriter(path, like=info, crf=crf, threads=1) as writer:
        for pts in range(count):
            writer.write(picture(pts, noise), pts)
    return path


def test_facts_of_a_file(tmp_path) -> None:
    fine, coarse = (file_facts(write(tmp_path / f"{crf}.mp4", crf)) for crf in (18, 34))
    assert (fine.words["codec"], fine.words["pixels"], fine.words["sound"]) == ("h264", "yuv420p", "none")
    assert fine.numbers["frames"] == 6
    assert fine.numbers["duration"] == pytest.approx(0.24)
    assert fine.numbers["keyframe_spacing"] == 6
    assert fine.numbers["bits_per_pixel"] > 1.5 * coarse.numbers["bits_per_pixel"]
    assert fine.words == coarse.words
    assert file_facts(tmp_path) is None
    (tmp_path / "no.mp4").write_bytes(b"nothing of a video")
    assert file_facts(tmp_path / "no.mp4") is None


def test_bits_are_the_pictures_and_not_what_else_lies_in_the_file(tmp_path) -> None:
    path = write(tmp_path / "a.mp4")
    before = file_facts(path).numbers
    path.write_bytes(path.read_bytes() + b"\x00\x00\x20\x00free" + bytes(8192 - 8))
    assert file_facts(path).numbers == before


def test_noise_and_colour_are_measured_where_asked() -> None:
    calm, noisy = (pixels.frame_numbers(picture(1, noise), EVERYWHERE) for noise in (2, 6))
    assert noisy["noise_luma"] > 2 * calm["noise_luma"]
    flat = np.full((SIZE, SIZE, 3), 128, np.uint8)
    spoiled = flat.copy()
    spoiled[:30] = picture(2)[:30]
    outside = EVERYWHERE.copy()
    outside[:34] = False
    assert pixels.frame_numbers(spoiled, outside) == pixels.frame_numbers(flat, outside)
    assert set(pixels.frame_numbers(flat, EVERYWHERE)) == set(pixels.FRAME)
    warm = np.clip(picture(3) * np.array([1.2, 1, 1]), 0, 255).astype(np.uint8)
    assert pixels.frame_numbers(warm, EVERYWHERE)["red_to_green"] == pytest.approx(
        1.2 * pixels.frame_numbers(picture(3), EVERYWHERE)["red_to_green"], rel=0.03
    )


def test_a_border_shows() -> None:
    image = picture(4)
    image[:2] = 0
    found = pixels.border_numbers(image)
    assert found["border_top_2"] < -40 < -20 < found["border_bottom_2"]
    assert set(found) | set(pixels.texture_numbers(image, EVERYWHERE)) == set(pixels.OUTSIDE)


def test_blocks_show_in_the_grid_and_in_coefficients() -> None:
    plain = picture(5, 6)
    coarse = cv2.imdecode(cv2.imencode(".jpg", plain, [cv2.IMWRITE_JPEG_QUALITY, 25])[1], cv2.IMREAD_COLOR)
    before, after = (pixels.block_numbers(image, EVERYWHERE) for image in (plain, coarse))
    assert after["grid8_columns"] > 1.3 * before["grid8_columns"]
    assert after["small_high"] > before["small_high"] + 0.2
    assert after["period_01"] > before["period_01"]
    assert set(after) == set(pixels.BLOCKS)


def test_local_patterns_agree_with_scikit_image() -> None:
    from skimage.feature import local_binary_pattern

    y = np.random.default_rng(0).integers(0, 200, (20, 22)).astype(np.float32)
    oracle = local_binary_pattern(y - 1, 8, 1, "uniform")  # its eight neighbours are interpolated, ours are not
    ours = pixels._local_patterns(y)
    assert np.mean(np.abs(ours - oracle[1:-1, 1:-1]) <= 1) > 0.5
    brute = np.zeros(ours.shape, int)
    ring = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
    for r in range(1, 19):
        for c in range(1, 21):
            bits = [y[r + a, c + b] >= y[r, c] + 1 for a, b in ring]
            changes = sum(bits[k] != bits[k - 1] for k in range(8))
            brute[r - 1, c - 1] = sum(bits) if changes <= 2 else 9
    np.testing.assert_array_equal(ours, brute)


def test_what_lies_in_the_face_is_in_no_number(tmp_path) -> None:
    """Two pictures that differ in the face only measure alike; with no face found nothing is measured."""
    face = np.array([[24.0, 24], [40, 24], [40, 40], [24, 40]])
    base, other = picture(6), picture(6)
    other[24:41, 24:41] = 255
    items = []
    for label, image in ((1, other), (0, base)):
        path = tmp_path / f"{label}.png"
        assert cv2.imwrite(str(path), image)
        items.append(clip(str(label), (0, 1) if label else (1,), path))
    tables = measure.pixel_tables(items, find_faces=lambda _: [face], advance=lambda: None)
    for table in tables:
        assert np.isfinite(table.raw).mean() > 0.9
        np.testing.assert_array_equal(table.raw[0], table.raw[1])
    for table in measure.pixel_tables(items, find_faces=lambda _: [], advance=lambda: None):
        assert np.isnan(table.raw).all()


def test_words_become_columns() -> None:
    facts = [FileFacts(words={"codec": "h264"}), FileFacts(words={"codec": "hevc"}), None]
    table = measure.codec_table(facts)
    column = table.labels.index("share with codec h264")
    np.testing.assert_array_equal(table.raw[:, column], [1, 0, np.nan])


def test_names_that_give_fakes_away() -> None:
    def items(fakes, reals):
        return [
            *(clip("x", (i, i + 1), Path(name)) for i, name in enumerate(fakes)),
            *(clip("y", (i,), Path(name)) for i, name in enumerate(reals)),
        ]  # fmt: skip

    same = ["p0.mp4", "p1.mp4"]
    assert name_differences(items(same, same)) is None
    assert name_differences(items(["000_003.mp4", "003_000.mp4"], ["000.mp4", "003.mp4"])) is None
    assert "'.avi'" in name_differences(items(["a.avi", "b.avi"], ["a.mp4", "b.mp4"]))
    assert "'swap'" in name_differences(items(["a_swap.mp4", "b_swap.mp4"], ["a.mp4", "b.mp4"]))
    assert "named like" in name_differences(items(["17.mp4", "18.mp4"], ["q.mp4", "z.mp4"]))


def test_metadata_and_footage_that_differ(tmp_path) -> None:
    facts = [FileFacts(words={"codec": "h264"}, tags=frozenset({"comment=swap"})) for _ in range(3)]
    facts += [FileFacts(words={"codec": "h264"}, tags=frozenset()) for _ in range(3)]
    assert "comment=swap" in metadata_differences(facts, [1, 1, 1, 0, 0, 0])
    assert metadata_differences(facts[:3] * 2, [1, 1, 1, 0, 0, 0]) is None
    found = match([clip("f", (0, 1), Path("f"))], [clip("r", (1,), Path("r"))])
    numbers = {"width": 64.0, "height": 64.0, "frames": 9.0, "rate": 25.0}
    two = [FileFacts(numbers=numbers), FileFacts(numbers=numbers | {"frames": 7.0})]
    said = pair_differences(two, found)
    assert "9 against 7" in said["duration"]
    assert said["resolution"] is None


def test_credentials_are_said_to_mark_fakes_by_design(tmp_path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    fakes, reals = audit_power.write_pairs(folder, None, people=2)
    assert audit(fakes, reals, find_faces=lambda _: [])["names"]["credentials"] is None
    (folder / "f0.mp4.credentials.json").write_text("{}")
    found = audit(fakes, reals, find_faces=lambda _: [])
    assert "by design" in found["names"]["credentials"]
    assert not any(row["enough"] or row["flag"] for row in found["probes"])
    assert any("Not enough" in note for note in found["notes"])
    assert json.loads(json.dumps(found)) == found


@pytest.mark.slow
@pytest.mark.parametrize("shortcut", [*audit_power.SHORTCUTS, None])
def test_shortcuts_planted_in_videos_are_caught_and_none_is_none(shortcut) -> None:
    found = audit_power.video_run(shortcut, 3)
    flags = audit_power.flagged([*found["features"], *found["probes"]])
    expected = {"bit rate": "bit_rate", "border": "outside", "camera": "frame", "length": "codec", None: None}[shortcut]
    assert (expected in flags) if expected else (flags == [])
    assert found["suspect"] == bool(expected)
    if shortcut == "border":
        assert any("edge" in warning for warning in found["warnings"])


@pytest.mark.footage
@pytest.mark.slow
def test_another_teams_fakes_are_longer_than_their_reals(shared) -> None:
    """What the audit found of ../shared/external-fakes: cut from one video each, the fakes' halves run on."""
    from stress.evaluation.audit.pairs import paired_test

    folder = shared / "external-fakes"
    fakes, reals = (read_clips(folder / name, label) for name, label in (("fake", 1), ("real", 0)))
    found = match(fakes, reals)
    table = measure.codec_table([file_facts(item.path) for item in found.clips])
    test = paired_test(table.values, found)
    assert test.auc > 0.9
    assert table.labels[int(np.argmax(test.weights))] in ("length (s)", "number of frames")
    assert replace(fakes[0], label=1) == fakes[0]
