from __future__ import annotations

import base64
import copy
import dataclasses
import hashlib
import html
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from stress.experiment import ExperimentSettings, run
from stress.report import drawings, render_report, sections, verdict, words, write_report
from stress.report.tidy import tidy
from tests.stress.complete import HOSTILE, PERTURBATIONS, STAGES, experiment, rendered
from tests.stress.standin import StandIn, finetune, quiet, study

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
        if not {"style", "script"} & set(self.open):
            self.text.append(data)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


@pytest.fixture(scope="module")
def made():
    return experiment()


@pytest.fixture(scope="module")
def text() -> str:
    return rendered()


def test_the_page_says_what_the_results_say(made, text) -> None:
    outcome, _ = made
    page = Page(text).words
    before = outcome.results["conditions"]["before"]["video"]["detection_rate"]
    assert words.within(before) in page
    assert "n = 12 fakes, 12 people" in page
    for name in ("Drop", "Recovery", "Forgetting", "could it be a shortcut?", "Every fake", "Fine-tuning"):
        assert name in page
    for row in outcome.results["clips"]:
        assert row["label"] == 0 or f"{row['before']:.3f}" in page
    for definition in outcome.results["definitions"].values():
        assert definition in page
    change = outcome.results["changes"]["drop"]["video"]["auc"]["value"]
    assert f"{change:+.3f}" in page
    assert not re.search(r"[+−]0\.0+(?!\d)", page.split("Figures")[2].split("Scores")[0])  # nothing has no sign


def test_every_section_is_there_and_in_the_contents(text) -> None:
    page = Page(text)
    ids = {value for _, name, value in page.attributes if name == "id"}
    links = [value[1:] for tag, name, value in page.attributes if (tag, name) == ("a", "href")]
    assert set(links) <= ids
    for anchor in ("gate", "figures", "strategies", "ladder", "robustness", "audit", "faces", "settings"):
        assert anchor in links
    labels = [label for family in PERTURBATIONS.values() for label in family.values()]
    for words_of in (labels, STAGES, ("last-3", "all+replay", "pixels outside the face", "Processed reals", "ab" * 32)):
        assert not [word for word in words_of if word not in page.words]
    assert text.count('class="small-chart"') == len(labels)


def test_nothing_is_fetched_from_anywhere(text) -> None:
    page = Page(text)
    assert "http" not in text.replace("http-equiv", "")
    assert not {"link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), tag
        if name == "src":
            assert value.startswith("data:image/jpeg;base64,")
        if name == "href":
            assert value.startswith("#")
    assert "url(" not in re.sub(r"url\(#[\w]+\)", "", text)
    assert page.tags.count("svg") == 5 + 12


def test_only_the_one_script_may_run(text) -> None:
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert html.unescape(policy).split("; ") == [
        "default-src 'none'", f"script-src 'sha256-{digest}'", "style-src 'unsafe-inline'", "img-src data:",
        "base-uri 'none'", "form-action 'none'",
    ]  # fmt: skip
    assert not re.search(r"fetch|XMLHttp|import|eval|innerHTML|localStorage|cookie", script)


def test_drawings_refer_only_to_what_they_hold(text) -> None:
    ids = re.findall(r'\bid="([^"]+)"', text)
    wanted = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    assert wanted <= set(ids)
    assert "#0101" not in text  # every stand-in colour became the page's own
    assert "var(--before)" in text


def test_hostile_names_are_only_names(made) -> None:
    outcome, faces = made
    names = dict(zip([row["clip"] for row in outcome.results["clips"] if row["label"]], HOSTILE, strict=False))
    results = replaced(outcome.results, names)
    scores = outcome.scores.assign(clip=outcome.scores["clip"].replace(names))
    faces = [renamed(item, names) for item in faces]
    first = HOSTILE[0]
    results["detector"] |= {"name": first, "architecture": first, "threshold_source": first}
    results["failures"] = [{"what": first, "reason": first}]
    results["excluded"] = [{"clip": first, "label": 1, "path": first, "reason": first}]
    results["warnings"] = [first]
    for step, name in zip(results["ladder"], HOSTILE, strict=False):
        step["stage"] = name
    for item, name in zip(results["strategies"], HOSTILE, strict=False):
        item["name"] = name
    for row in results["robustness"]["rows"]:
        row["label"] = row["setting"] = first
    results["audit"]["probes"][0]["label"] = results["audit"]["names"]["metadata"] = first
    results["gate"]["reason"] = first
    text = render_report(results, scores, crops=faces)
    page = Page(text)
    assert page.tags.count("script") == 1
    assert text.count("</script") == 1
    assert page.tags.count("img") == 24  # twelve fakes and their reals, nothing else
    assert all(value.startswith("data:") for _, name, value in page.attributes if name == "src")
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    for name in HOSTILE:
        assert name in "".join(page.text)


def replaced(value, names: dict):
    """The same results in which clips have other names."""
    if isinstance(value, dict):
        return {names.get(key, key): replaced(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [replaced(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value


def renamed(item, names: dict):
    name = names.get(item.clip.id, item.clip.id) if item.clip.label else item.clip.id
    return dataclasses.replace(item, clip=dataclasses.replace(item.clip, id=name))


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
    found = Page(path.read_text(encoding="utf-8"))
    links = [value[1:] for tag, name, value in found.attributes if (tag, name) == ("a", "href")]
    assert {"figures", "audit", "faces", "clips"} < set(links)
    for name in ("gate", "strategies", "ladder", "robustness"):  # only where there are such data
        assert (name in links) == bool(outcome.results.get(name))
    page = found.words
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


def test_the_verdict_is_one_sentence_with_drop_recovery_and_forgetting(made) -> None:
    results = copy.deepcopy(made[0].results)
    changes = results["changes"]
    changes["drop"]["video"]["auc"] = {"value": 0.321, "low": 0.204, "high": 0.437}
    changes["recovery"]["video"]["auc"] = {"value": 0.25, "low": 0.1, "high": 0.4}
    changes["recovery_share"]["video"]["auc"] = {"value": 0.78, "low": 0.5, "high": 0.9}
    changes["forgetting"]["video"]["auc"] = {"value": 0.03, "low": 0.01, "high": 0.05}
    said = verdict.verdict(results)
    assert said.startswith("meso loses 0.321 [0.20, 0.44] of AUC on these fakes (from 1.000")
    assert "wins back 0.250 [0.10, 0.40], 78 % [50, 90] of the drop" in said
    assert "forgets 0.030 [0.01, 0.05]" in said
    assert said.endswith("the audit found a shortcut, so this recovery is suspect.")
    assert not re.search(r"[.!?] [A-Z]", said)  # one sentence
    results["audit"]["suspect"] = False
    assert "suspect" not in verdict.verdict(results)
    changes["drop"]["video"]["auc"] = {"value": -0.05, "low": -0.08, "high": -0.02}
    changes["recovery"]["video"]["auc"] = {"value": 0.02, "low": -0.03, "high": 0.08}
    said = verdict.verdict(results)
    assert "gains 0.050 [0.02, 0.08] of AUC" in said
    assert "no sure change (+0.020 [−0.03, +0.08])" in said
    results["gate"] |= {"passed": False, "reason": "it reaches 0.7"}
    assert "misses its card's claims" in verdict.verdict(results)
    assert any("it reaches 0.7" in line for line in verdict.caution(results))
    del changes["drop"], results["conditions"]["after"], changes["recovery"]
    assert "nothing is said about recovery" in verdict.verdict(results)


def test_details_compare_in_the_right_direction(made) -> None:
    results = copy.deepcopy(made[0].results)
    assert "down from" in verdict.details(results)[0]
    results["conditions"]["reference"]["video"]["detection_rate"]["value"] = 0.0
    assert "up from" in verdict.details(results)[0]
    results["conditions"]["before"]["video"]["detection_rate"]["value"] = 0.01
    assert "much like" in verdict.details(results)[0]


def test_what_is_not_known_is_a_dash(made) -> None:
    results = copy.deepcopy(made[0].results)
    nothing = {"value": None, "low": None, "high": None}
    results["strategies"][0] |= {"changes": {}, "conditions": {}, "p": {}, "by_seed": []}
    results["ladder"][0]["after"] = None
    for row in results["robustness"]["rows"][2:5]:
        row["video"]["auc"] = nothing
    results["audit"]["probes"][0] |= {"p": None, "low": None, "high": None, "enough": False}
    results["audit"]["processed_real"] = None
    assert sections.strategies(results)[0]["spread"] == "–"
    page = Page(render_report(results, made[0].scores))
    assert "too few clips to tell" in page.words
    assert "Processed reals" not in page.words
    chart = sections.robustness(results)["items"][0]["chart"]
    assert chart.count("<circle") == 9  # a level without a value leaves a gap ...
    assert chart.count('stroke="var(--before)"') == 2  # ... that no line bridges


def luminance(color: str) -> float:
    """WCAG 2.2, relative luminance."""
    color = color.lstrip("#")
    color = "".join(2 * c for c in color) if len(color) == 3 else color
    parts = [int(color[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(parts, (0.2126, 0.7152, 0.0722)))


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_enough_in_light_dark_and_on_paper(text) -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#fff") == pytest.approx(4.54, abs=0.01)  # WCAG's own example
    style = text[text.index("<style>") : text.index("</style>")]
    palettes = [dict(re.findall(r"--([\w-]+): (#\w+)", part)) for part in re.findall(r":root \{(.*?)\}", style, re.S)]
    assert len(palettes) == 3
    for colors in palettes:
        for ground in ("paper", "wash"):
            for ink in ("ink", "muted", "own", "before", "after"):
                assert contrast(colors[ink], colors[ground]) >= 4.5, (ink, ground, colors)
            assert contrast(colors["real"], colors[ground]) >= 3  # marks only
        assert contrast(colors["warn-ink"], colors["warn"]) >= 4.5


def test_drawings_show_the_main_way_of_fine_tuning_alone(made) -> None:
    outcome, _ = made
    results = copy.deepcopy(outcome.results)
    results["finetune"]["strategy"] = "all"
    after = outcome.scores[outcome.scores.phase == "after"]
    other = after.assign(score=0.0, strategy="last")
    before = outcome.scores[outcome.scores.phase == "before"].assign(strategy=None)
    scores = pd.concat([before, after.assign(strategy="all"), other], ignore_index=True)
    kept = drawings.of_main(results, scores)
    assert len(kept) == len(before) + len(after)
    assert set(kept.strategy.dropna()) == {"all"}
    p = {"recovery": {"video": {"auc": 0.0123}}, "forgetting": {"video": {"auc": 0.4567}}}
    results["strategies"][0] |= {"p": p, "label": "the last layer"}
    row = sections.strategies(results)[0]
    assert (row["p"], row["label"]) == ("0.012", "the last layer")
    values = tidy(results).query("metric == 'auc: p' and item == 'last'").set_index("condition")["value"]
    assert values.to_dict() == {"recovery": 0.0123, "forgetting": 0.4567}
