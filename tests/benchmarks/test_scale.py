"""The arithmetic of scale: sums that can be done by hand, and which parts grow how."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import scale
import scale_tables

UNITS = {
    "extract_core_s_per_minute": 36.0, "clip_bytes_per_minute": 1000.0, "faceset_bytes_per_minute": 3000.0,
    "faceset_files_per_minute": 10.0, "train_core_s_per_step": 0.09, "train_core_s_per_step_per_person": 0.9,
    "model_bytes": 50.0, "model_bytes_per_person": 5.0, "checkpoint_bytes": 100.0, "checkpoint_bytes_per_person": 10.0,
    "weight_bytes": 7.0, "weight_bytes_per_person": 2.0, "load_core_s_per_person": 0.36,
    "render_core_s_per_frame": 0.144, "score_core_s_per_frame": 0.0144, "video_bytes_per_frame": 6.0,
    "mask_bytes_per_frame": 2.0, "sidecar_bytes": 500.0, "entry_bytes": 20.0, "hash_core_s_per_gib": 0.0,
    "net_crop_core_s_per_clip": 0.36, "net_core_s_per_clip": 3.6, "net_crop_bytes_per_clip": 9.0,
}  # fmt: skip


def test_ten_people_by_hand():
    found = scale.curation(UNITS, 10, 10)
    assert found["pairs"] == 90
    assert found["extraction_core_h"] == pytest.approx(10 * 36 / 3600)
    assert found["training_core_h"] == pytest.approx(4000 * 9.09 / 3600)
    assert found["loading_core_h"] == pytest.approx(90 * 10 * 0.36 / 3600)
    assert found["rendering_core_h"] == pytest.approx(90 * 250 * 0.144 / 3600)
    assert found["fake_bytes"] == 90 * (250 * 8 + 500)
    assert found["model_bytes"] == 100 + 3 * 200
    assert found["training_memory_bytes"] == 4 * 27
    assert found["files"] == 100 + 900
    assert found["read_bytes"] == 10_000 + 30_000 + 90 * (100 + 1000 + 2500)
    parts = ("extraction", "training", "loading", "rendering", "scoring", "checksums")
    assert found["core_h"] == pytest.approx(sum(found[f"{part}_core_h"] for part in parts))


def test_one_model_for_all_grows_with_the_square_of_the_people_and_what_it_reads_with_the_cube():
    some, many = scale.curation(UNITS, 100, 100), scale.curation(UNITS, 1000, 1000)
    assert many["rendering_core_h"] / some["rendering_core_h"] == pytest.approx(100, rel=0.02)
    assert many["manifest_bytes"] / some["manifest_bytes"] == pytest.approx(100, rel=0.02)
    assert many["read_models_bytes"] / some["read_models_bytes"] == pytest.approx(1000, rel=0.12)
    assert many["training_memory_bytes"] / some["training_memory_bytes"] == pytest.approx(10, rel=0.05)


def test_groups_make_everything_grow_with_the_people():
    some, many = scale.curation(UNITS, 10, 10), scale.curation(UNITS, 1000, 10)
    for name in ("pairs", "core_h", "bytes", "read_bytes", "manifest_bytes", "files"):
        assert many[name] == pytest.approx(100 * some[name])
    assert many["training_memory_bytes"] == some["training_memory_bytes"]


def test_a_scan_by_hand():
    found = scale.scan(UNITS, 1000, "net")
    assert found["core_h"] == pytest.approx(1000 * 3.96 / 3600)
    assert found["cache_bytes"] == 9000
    assert found["read_bytes"] == pytest.approx(1000 * 10 / 60 * 1000)


def test_figures_are_rounded_not_invented():
    assert [scale_tables.digits(value) for value in (0, 0.0872, 4.24, 99.6, 134, 75_400)] == [
        "0", "0.087", "4.2", "100", "130", "75 000",
    ]  # fmt: skip
    assert scale_tables.size(7.53e9) == "7.5 GB"
    assert scale_tables.size(2.5e18) == "2.5 EB"
    spoken = [scale_tables.spoken(value) for value in (0.5, 3, 72, 87_660)]
    assert spoken == ["30 minutes", "3 hours", "3 days", "10 years"]


def flat(value: dict, above: str = "") -> dict[str, float]:
    """Nested numbers by their paths."""
    found = {}
    for key, part in value.items():
        found |= flat(part, f"{above}/{key}") if isinstance(part, dict) else {f"{above}/{key}": part}
    return found


def test_the_documentation_shows_what_was_measured():
    root = Path(__file__).parents[2]
    result = json.loads((root / "benchmarks/results/scale.json").read_text())
    page = (root / "docs/scale.md").read_text()
    assert all(table in page for table in scale_tables.tables(result))
    again = scale.multiplied(result["units"])
    assert set(again) == {"assumed", "curations", "scans"}
    assert flat(again) == pytest.approx(flat({key: result[key] for key in again}))  # sums differ in their last digits
