from __future__ import annotations

import csv
import io
import math
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from stress.report import write_tables
from stress.report.tidy import COLUMNS, tidy, to_csv, unformulaic
from tests.stress.complete import HOSTILE, experiment, rendered
from tests.stress.test_report import replaced

NUMBER = re.compile(r"(?<![\w.])[+−-]?\d+(?:\.\d+)?(?:e[+-]\d+)?(?![\w])")
#: Part of the page -> sections of the long table that hold its numbers.
SECTIONS = {
    "verdict": {"figures", "audit"},
    "gate": {"gate"},
    "figures": {"figures"},
    "strategies": {"strategies"},
    "ladder": {"ladder"},
    "robustness": {"robustness"},
    "audit": {"audit", "claims"},
    "faces": {"clips", "frames"},
    "clips": {"clips"},
    "method": {"folds"},
    "settings": {"settings", "detector", "environment", "hashes"},
}


class Cells(HTMLParser):
    """Texts that carry numbers, by the part of the page they stand in: cells that are not names, lists, captions."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {}
        self.part, self.open = "verdict", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        about = dict(attrs)
        if tag == "h2":
            self.part = about["id"]
        if tag not in ("meta", "img", "input"):
            kinds = (about.get("class") or "").split()
            self.open.append((tag, kinds))
            if self._read():
                self.found.setdefault(self.part, []).append("")

    def handle_endtag(self, tag):
        while self.open.pop()[0] != tag:
            pass

    def _read(self) -> bool:
        tags = [tag for tag, _ in self.open]
        kinds = {kind for _, part in self.open for kind in part}
        if self.part == "verdict":
            return "verdict" in kinds and "p" in tags
        if self.part == "faces":
            return "face" in kinds and bool({"before", "after", "frame", "figcaption"} & (kinds | set(tags)))
        if self.part in ("audit", "settings"):
            return ("td" in tags or "dd" in tags) and "name" not in kinds and "sup" not in tags
        return "td" in tags and "name" not in kinds and "sup" not in tags

    def handle_data(self, data):
        if self.open and self.open[-1][0] not in ("sup", "style", "script") and self._read():
            self.found[self.part][-1] += data


def written(value: float) -> set[str]:
    """Every way the page may write a number."""
    found = set()
    for number in (value, 100 * value):
        for digits in range(4):
            found.add(f"{abs(number):.{digits}f}")
        found |= {f"{abs(number):.4g}", f"{abs(number):g}"}
    return found


def missing(page: dict[str, list[str]], table: pd.DataFrame) -> dict[str, list[str]]:
    """Numbers of the page that the table does not have where they belong."""
    lost: dict[str, list[str]] = {}
    for part, cells in page.items():
        if part not in SECTIONS:
            continue
        rows = table[table["section"].isin(SECTIONS[part])]
        numeric = [name for name, kind in COLUMNS.items() if kind != "str"]
        numbers = [float(value) for name in numeric for value in rows[name].dropna()]
        known = set().union(*map(written, numbers)) if numbers else set()
        known |= {"0.001"}  # "< 0.001"
        texts = " ".join([*rows["text"], *rows["item"]])
        for cell in cells:
            for token in NUMBER.findall(cell):
                bare = token.lstrip("+−-")
                if bare not in known and not (part in ("settings", "audit") and bare in texts):
                    lost.setdefault(part, []).append(f"{token} in {cell!r}")
    return lost


@pytest.fixture(scope="module")
def made():
    return experiment()


@pytest.fixture(scope="module")
def page() -> dict[str, list[str]]:
    return Cells(rendered()).found


def test_every_number_of_the_page_is_in_the_tables(made, page) -> None:
    outcome, _ = made
    assert missing(page, tidy(outcome.results, outcome.scores)) == {}
    counts = {part: sum(len(NUMBER.findall(cell)) for cell in cells) for part, cells in page.items()}
    assert counts["robustness"] == 12 * 2 * 8 * 3  # value and both ends of each: nothing was skipped in reading
    assert counts["ladder"] == 6 * (1 + 4 * 3) + 5 * 3
    assert counts["strategies"] >= 4 * (5 * 3 + 1 + 2 + 3 * 2)
    assert min(counts[part] for part in SECTIONS) >= 3


@pytest.mark.parametrize(
    "section", ["gate", "figures", "strategies", "ladder", "robustness", "audit", "clips", "frames"]
)
def test_a_number_that_is_not_there_is_noticed(made, page, section: str) -> None:
    outcome, _ = made
    table = tidy(outcome.results, outcome.scores)
    assert missing(page, table[table["section"] != section])
    half = table[(table["section"] != section) | (table.index % 2 == 0)]
    assert missing(page, half) or section == "frames"  # a frame's score may also be another's


def test_tables_hold_what_results_hold(made, tmp_path) -> None:
    outcome, _ = made
    paths = write_tables(outcome.results, outcome.scores, tmp_path)
    assert [path.name for path in paths] == ["tables.csv", "tables.parquet"]
    stored, spoken = pd.read_parquet(paths[1]), pd.read_csv(paths[0], keep_default_na=False, na_values={"value": [""]})
    assert list(stored.columns) == list(spoken.columns) == list(COLUMNS)
    assert len(stored) == len(spoken)
    assert stored["value"].fillna(-1).tolist() == pytest.approx(spoken["value"].fillna(-1).tolist(), rel=1e-12)
    drop = stored[(stored.section == "figures") & (stored.condition == "drop") & (stored.by == "video")]
    found = drop.set_index("metric").loc["auc"]
    expected = outcome.results["changes"]["drop"]["video"]["auc"]
    assert (found["value"], found["low"], found["high"]) == (expected["value"], expected["low"], expected["high"])
    before = stored[(stored.section == "figures") & (stored.condition == "before")].iloc[0]
    assert (before.n_fakes, before.n_reals, before.n_people, before.n_frames) == (12, 12, 12, 96)
    curve = stored[(stored.section == "robustness") & (stored.metric == "auc")]
    assert len(curve) == len(outcome.results["robustness"]["rows"])
    assert set(curve["step"]) == set(range(6))
    hashes = stored[stored.section == "hashes"].set_index("item")["text"]
    assert hashes["detector"] == "ab" * 32
    assert len(hashes) == 1 + len(outcome.results["hashes"]["clips"])
    seeds = stored[stored.metric == "auc of one seed"]
    assert len(seeds) == 4 * 3 * 2


def test_older_results_make_tables_too(made) -> None:
    added = {"gate", "strategies", "ladder", "robustness", "hashes", "claims", "resampling"}
    table = tidy({key: value for key, value in made[0].results.items() if key not in added})
    assert {"figures", "clips", "audit", "settings"} <= set(table["section"])
    assert not {"gate", "ladder", "frames", "hashes"} & set(table["section"])


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1", '=HYPERLINK("http://x","y")']
)
def test_no_text_is_a_formula(text: str) -> None:
    assert unformulaic(text) == f"'{text}"
    assert unformulaic(f"a{text}") == f"a{text}"
    assert unformulaic("") == ""


def test_hostile_names_are_text_in_every_cell_of_the_csv(made) -> None:
    outcome, _ = made
    clips = [row["clip"] for row in outcome.results["clips"] if row["label"]]
    names = dict(zip(clips, [*HOSTILE, "line\nbreak", 'quo"te,comma', "\t=1+1", "+1", "-2"], strict=False))
    table = tidy(replaced(outcome.results, names))
    rows = list(csv.DictReader(io.StringIO(to_csv(table), newline="")))
    assert len(rows) == len(table)
    for row, (_, meant) in zip(rows, table.iterrows(), strict=True):
        for name, kind in COLUMNS.items():
            if kind == "str":
                assert row[name].lstrip("'") == meant[name].lstrip("'")
                assert not row[name].lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r"))
            elif row[name]:
                assert math.isfinite(float(row[name]))
    assert set(names.values()) <= set(table["item"])  # Parquet keeps the names as they are
