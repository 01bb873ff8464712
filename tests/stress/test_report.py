from __future__ import annotations

import base64
import copy
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from stress.experiment import ExperimentSettings, run
from stress.report import render_report, words, write_report
from stress.report.gallery import gallery
from tests.stress.standin import Card, StandIn, crops, finetune, quiet, study

HOSTILE = "<script>alert('x')</script>\"><img src=http://evil.example/x onerror=alert(1)>"
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Elements, attributes and text of a page; fails on tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


@pytest.fixture(scope="module")
def made():
    fakes, reals, own = study(12)
    outcome = run(
        StandIn(name="meso"), fakes, reals, own, ExperimentSettings(resamples=100), progress=quiet, finetune=finetune
    )
    return outcome, [*fakes, *reals]


@pytest.fixture(scope="module")
def text(made) -> str:
    outcome, faces = made
    return render_report(outcome.results, outcome.scores, crops=faces)


def test_the_page_says_what_the_results_say(made, text) -> None:
    outcome, _ = made
    page = Page(text).words
    before = outcome.results["conditions"]["before"]["video"]["detection_rate"]
    assert words.within(before) in page
    assert "n = 12 fakes, 12 people" in page
    for name in ("Drop", "Recovery", "Forgetting", "Could it be a shortcut?", "Every fake", "Fine-tuning"):
        assert name in page
    for row in outcome.results["clips"]:
        assert row["label"] == 0 or f"{row['before']:.3f}" in page
    for definition in outcome.results["definitions"].values():
        assert definition in page
    change = outcome.results["changes"]["drop"]["video"]["auc"]["value"]
    assert f"{change:+.3f}" in page
    assert not re.search(r"[+−]0\.0+(?!\d)", page.split("Figures")[1].split("Scores")[0])  # nothing has no sign


def test_nothing_is_fetched_from_anywhere(text) -> None:
    page = Page(text)
    assert "http" not in text.replace("http-equiv", "")
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), tag
        if name == "src":
            assert value.startswith("data:image/jpeg;base64,")
        if name == "href":
            assert value.startswith("#")
    assert "url(" not in re.sub(r"url\(#[\w]+\)", "", text)
    assert "default-src 'none'" in text
    assert page.tags.count("svg") == 3


def test_drawings_refer_only_to_what_they_hold(text) -> None:
    ids = re.findall(r'\bid="([^"]+)"', text)
    wanted = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    assert wanted <= set(ids)
    assert "#0101" not in text  # every stand-in colour became the page's own
    assert "var(--before)" in text


def test_hostile_names_are_only_names() -> None:
    fakes, reals, own = study(4)
    named = [
        crops(f"{HOSTILE}{i}", 1, item.clip.people, item.clip.source_clip, 0.4, 0.8) for i, item in enumerate(fakes)
    ]
    card = Card(threshold_source=HOSTILE, architecture=HOSTILE)
    outcome = run(
        StandIn(name=HOSTILE, card=card), named, reals, own, ExperimentSettings(resamples=100), progress=quiet,
        finetune=finetune,
    )  # fmt: skip
    results = copy.deepcopy(outcome.results)
    results["failures"] = [{"what": HOSTILE, "reason": HOSTILE}]
    results["excluded"] = [{"clip": HOSTILE, "label": 1, "path": HOSTILE, "reason": HOSTILE}]
    results["warnings"] = [HOSTILE]
    page = Page(render_report(results, outcome.scores, crops=named))
    assert "script" not in page.tags
    assert page.tags.count("img") == len(named)  # the faces of the fakes (no reals were passed), nothing else
    assert all(value.startswith("data:") for _, name, value in page.attributes if name == "src")
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert HOSTILE in "".join(page.text)


def test_faces_are_the_ones_of_the_clips(made, text) -> None:
    outcome, faces = made
    pictures = [value for _, name, value in Page(text).attributes if name == "src"]
    assert len(pictures) == 24  # twelve fakes, each beside its real
    first = min((row for row in outcome.results["clips"] if row["label"]), key=lambda row: row["before"])
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[0].split(",")[1]))), float)
    expected = next(item for item in faces if item.clip.id == first["clip"] and item.clip.label == 1)
    assert shown.mean((0, 1)) == pytest.approx(expected.images.mean((0, 1, 2)), abs=12)


def test_the_frame_shown_is_the_one_scored_like_the_clip(made) -> None:
    outcome, faces = made
    part = gallery(outcome.results, outcome.scores, faces)[0]["items"][0]
    assert gallery(outcome.results, outcome.scores, []) == []
    scores = outcome.scores.copy()
    mine = (scores["clip"] == part["clip"]) & (scores["label"] == 1) & (scores["phase"] == "before")
    scores.loc[mine, "score"] = [0.0, 1.0, part["before"], 1.0]
    marked = [_first(item, slice(None)) for item in faces]
    chosen = next(item for item in marked if item.clip.id == part["clip"] and item.clip.label == 1)
    chosen.images[:] = 0
    chosen.images[2] = 255
    shown = gallery(outcome.results, scores, marked)[0]["items"][0]["fake"]
    assert np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.split(",")[1])))).min() > 250


@pytest.mark.parametrize("case", ["few", "no base", "no finetune", "left out", "many"])
def test_every_kind_of_result_can_be_shown(case: str, tmp_path) -> None:
    fakes, reals, own = study(4, pairs="all") if case in ("left out", "many") else study(6)
    settings = ExperimentSettings(resamples=100, folds=2 if case == "left out" else 6, finetune=case != "no finetune")
    if case == "few":
        fakes, reals, own = fakes[:2], reals[:2], None
    if case == "no base":
        own = None
    if case == "no finetune":  # and a frame a clip, as from pictures
        fakes, reals, own = ([_first(item) for item in part] for part in (fakes, reals, own))
    outcome = run(StandIn(), fakes, reals, own, settings, progress=quiet, finetune=finetune)
    path = write_report(outcome.results, outcome.scores, tmp_path / "report.html", crops=[*fakes, *reals])
    page = Page(path.read_text(encoding="utf-8")).words
    expected = {
        "few": "Nothing is said about recovery: the fakes show 2 people",
        "no base": "No data of its own kind was given",
        "no finetune": "Nothing is said about recovery: not asked for",
        "left out": "could not be tested after fine-tuning",
        "many": "each fold holds out two of them",
    }
    assert expected[case] in page
    assert "nan" not in page.lower().split()


def _first(item, kept=slice(0, 1)):
    return type(item)(clip=item.clip, frames=item.frames[kept], images=item.images[kept].copy())


def test_percentages_do_not_round_to_certainty() -> None:
    assert words.percent(0.999) == "99.9 %"
    assert words.percent(0.001) == "0.1 %"
    assert words.percent(1.0) == "100 %"
    assert words.percent(None) == "–"
    assert words.within({"value": 0.267, "low": 0.12, "high": 0.44}) == "27 % [12, 44]"
    assert words.within({"value": 0.5, "low": None, "high": None}) == "50 %"


def test_headline_compares_in_the_right_direction(made) -> None:
    results = copy.deepcopy(made[0].results)
    assert "down from" in words.headline(results)[0]
    results["conditions"]["reference"]["video"]["detection_rate"]["value"] = 0.0
    assert "up from" in words.headline(results)[0]
    results["conditions"]["before"]["video"]["detection_rate"]["value"] = 0.01
    assert "much like" in words.headline(results)[0]
