from __future__ import annotations

import re

import pytest

from tests.stress.complete import HOSTILE, experiment
from tests.stress.test_report import contrast, renamed, replaced

pytestmark = pytest.mark.browser

MOVED = "at => document.querySelector('.face').style.getPropertyValue('--at').trim() !== at"
SHIFT = "card => Number(getComputedStyle(card).getPropertyValue('--at'))"


def at(page, clip: str) -> int:
    return page.eval_on_selector(f'.face[data-name="{clip}"]', SHIFT)


def offset(page, clip: str) -> float:
    """How far the film is pushed to the left, in widths of a face."""
    return page.eval_on_selector(
        f'.face[data-name="{clip}"] .film',
        "f => (f.getBoundingClientRect().x - f.firstElementChild.getBoundingClientRect().x) / f.clientWidth",
    )


def clips(key: str = "before", **wanted) -> list[str]:
    rows = [row for row in experiment()[0].results["clips"] if row["label"]]
    rows = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    difference = {row["clip"]: row["after"] - row["before"] for row in rows}
    order = (lambda row: difference[row["clip"]]) if key == "difference" else (lambda row: row[key])
    return [row["clip"] for row in sorted(rows, key=order)]


def test_it_says_nothing_to_the_console_and_asks_for_nothing(opened, report) -> None:
    found = opened(report)
    found.page.click("#all")
    found.page.wait_for_timeout(500)
    assert found.messages == []
    beyond = [url for url in found.requests if not url.startswith("data:image/jpeg;base64,")]
    assert beyond == [report.as_uri()]
    loaded = found.page.eval_on_selector_all("img", "all => all.every(i => i.complete && i.naturalWidth === 448)")
    assert loaded  # four faces of 112 pixels each
    assert found.page.locator("img").count() == 24


def test_the_policy_stops_what_is_not_the_page(opened, report, tmp_path) -> None:
    other = tmp_path / "other.html"
    text = report.read_text(encoding="utf-8")
    planted = '<script>document.title = "taken"</script><img src="https://example.invalid/x.png">'
    other.write_text(text.replace("</main>", f"{planted}</main>"), encoding="utf-8")
    found = opened(other)
    assert found.page.title() != "taken"
    assert len([line for line in found.messages if "Content Security Policy" in line]) == 2
    assert found.failures == ["csp: https://example.invalid/x.png"]  # refused before it left
    changed = tmp_path / "changed.html"
    changed.write_text(text.replace('"use strict";', '"use strict"; document.title = "taken";'), encoding="utf-8")
    assert opened(changed).page.title() != "taken"  # the script's hash is the script's


@pytest.mark.parametrize("key", ["before", "after", "difference"])
def test_sorting_by_a_score(opened, report, key: str) -> None:
    found = opened(report)
    button = found.page.locator(f"[data-sort={key}]")
    if key != "before":
        assert button.get_attribute("aria-pressed") == "false"
        button.click()
    assert found.names() == clips(key)
    assert f"sorted by {key}, lowest first" in found.text("#shown")
    button.click()
    assert found.names() == clips(key)[::-1]
    assert f"sorted by {key}, highest first" in found.text("#shown")
    pressed = found.page.eval_on_selector_all("[data-sort][aria-pressed=true]", "all => all.map(b => b.dataset.sort)")
    assert pressed == [key]
    assert button.inner_text().endswith("↓")


def test_sorting_by_name_counts_as_people_do(opened, report) -> None:
    found = opened(report)
    found.page.click("[data-sort=name]")
    expected = sorted(clips(), key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
    assert found.names() == expected
    assert expected.index("p2_p3") < expected.index("p10_p11")


def test_filters_show_what_they_say(opened, report) -> None:
    found = opened(report)
    page = found.page
    assert found.text("#shown").startswith("12 of 12 fakes")
    page.select_option("#person", label="p3")
    assert sorted(found.names()) == ["p2_p3", "p3_p2"]
    assert found.text("#shown").startswith("2 of 12 fakes")
    page.select_option("#person", "")
    page.select_option("#called", label="missed before")
    missed = clips(called_fake_before=False)
    assert 0 < len(missed) < 12
    assert found.names() == missed
    page.select_option("#called", label="detected before")
    assert found.names() == clips(called_fake_before=True)
    page.select_option("#called", label="missed after")
    assert found.names() == clips(called_fake_after=False)
    page.select_option("#called", "")
    page.fill("#text", "P10")
    assert sorted(found.names()) == ["p10_p11", "p11_p10"]
    page.select_option("#person", label="p3")
    assert found.names() == []  # filters add up
    assert page.get_attribute("#shown", "aria-live") == "polite"
    assert found.text("#shown").startswith("0 of 12 fakes")


def test_playing_steps_the_strip_and_pausing_stops_it(opened, report) -> None:
    found = opened(report)
    page, clip = found.page, clips()[0]
    card = page.locator(f'.face[data-name="{clip}"]')
    first = at(page, clip)
    assert offset(page, clip) == pytest.approx(first, abs=0.01)
    play = card.locator(".play")
    page.mouse.move(0, 0)
    play.dispatch_event("click")
    page.wait_for_function(MOVED, arg=str(first))
    assert play.inner_text() == "Pause"
    assert play.get_attribute("aria-pressed") == "true"
    now = at(page, clip)
    assert offset(page, clip) == pytest.approx(now, abs=0.01)
    play.dispatch_event("click")
    stopped, caption = at(page, clip), card.locator(".frame").inner_text()
    page.wait_for_timeout(700)
    assert at(page, clip) == stopped
    assert card.locator(".frame").inner_text() == caption
    scores = card.get_attribute("data-scores").split()
    frames = card.get_attribute("data-frames").split()
    assert caption == f"frame {frames[stopped]}, before {scores[stopped]}"


def test_pointing_plays_and_leaving_goes_back(opened, report) -> None:
    found = opened(report)
    page, clip = found.page, clips()[0]
    first = at(page, clip)
    page.locator(".face .film").first.hover()
    page.wait_for_function(MOVED, arg=str(first))
    page.mouse.move(2, 2)
    page.wait_for_timeout(50)
    assert at(page, clip) == first
    page.wait_for_timeout(500)
    assert at(page, clip) == first


def test_play_all_plays_those_shown_and_pauses_them(opened, report) -> None:
    found = opened(report)
    page = found.page
    page.select_option("#person", label="p3")
    page.click("#all")
    page.mouse.move(2, 2)
    assert found.text("#all") == "Pause all"
    playing = page.eval_on_selector_all(".play[aria-pressed=true]", "all => all.map(b => b.getAttribute('aria-label'))")
    assert sorted(playing) == ["Pause p2_p3", "Pause p3_p2"]
    page.select_option("#person", label="p5")  # what is filtered away stops
    assert page.locator(".play[aria-pressed=true]").count() == 0
    assert found.text("#all") == "Play all"
    page.click("#all")
    page.click("#all")
    assert page.locator(".play[aria-pressed=true]").count() == 0


def test_who_wants_less_motion_gets_it_only_by_a_button(opened, report) -> None:
    found = opened(report, reduced_motion="reduce")
    page, clip = found.page, clips()[0]
    first = at(page, clip)
    page.locator(".face .film").first.hover()
    page.wait_for_timeout(700)
    assert at(page, clip) == first
    page.locator(".face .play").first.click()
    page.wait_for_timeout(500)
    assert at(page, clip) != first


def test_everything_can_be_done_by_keyboard(opened, report) -> None:
    found = opened(report)
    page = found.page

    def tab_to(selector: str, most: int = 80) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"{selector} is not reached")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Gate"  # the contents come first
    tab_to("[data-sort=name]")
    outline = page.evaluate("(s => s.outlineStyle + ' ' + s.outlineWidth)(getComputedStyle(document.activeElement))")
    assert outline == "solid 2px"
    page.keyboard.press("Enter")
    assert found.names()[0] == "p0_p1"
    tab_to("#person")
    page.keyboard.press("p")  # a list is chosen from by typing
    assert found.text("#shown").startswith("2 of 12")
    page.select_option("#person", "")
    tab_to("#text")
    page.keyboard.type("p11")
    assert found.names() == ["p10_p11", "p11_p10"]
    tab_to(".play")
    clip = found.names()[0]
    page.wait_for_function("document.activeElement.getAttribute('aria-pressed') === 'true'")  # focus plays
    page.keyboard.press("ArrowRight")  # steps, and thereby pauses
    one = at(page, clip)
    page.wait_for_timeout(500)
    assert at(page, clip) == one
    page.keyboard.press("ArrowLeft")
    assert at(page, clip) == (one - 1) % 4
    page.keyboard.press("Space")
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('.play')")  # next card in the order shown
    assert page.evaluate("document.activeElement.closest('.face').dataset.name") == found.names()[1]


def test_only_boxes_that_scroll_are_stops(opened, report) -> None:
    read = "all => all.map(b => [b.tabIndex >= 0, b.scrollWidth > b.clientWidth || b.scrollHeight > b.clientHeight])"
    wide, narrow = (opened(report, width=width).page.eval_on_selector_all(".scroll", read) for width in (1440, 360))
    for boxes in (wide, narrow):
        assert all(stop == scrolls for stop, scrolls in boxes)
    assert sum(stop for stop, _ in wide) < sum(stop for stop, _ in narrow)


@pytest.mark.parametrize("width", [320, 360, 768, 1280, 1440])
def test_no_width_makes_the_page_scroll_sideways(opened, report, width: int) -> None:
    page = opened(report, width=width).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    beyond = page.evaluate(
        """width => [...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll, .film, svg"))
        .filter(e => e.getBoundingClientRect().right > width + 0.5).map(e => e.tagName + "." + e.className)""",
        width,
    )
    assert beyond == []


def test_dark_is_dark_and_drawings_follow(opened, report) -> None:
    def colors(page) -> list[str]:
        found = page.evaluate(
            """[document.documentElement, "color", document.documentElement, "backgroundColor",
             document.querySelector("figure svg text"), "fill"].reduce((all, e, i, list) =>
             i % 2 ? [...all, getComputedStyle(list[i - 1])[e]] : all, [])"""
        )
        return ["#" + bytes(map(int, re.findall(r"\d+", color)[:3])).hex() for color in found]

    light, dark = colors(opened(report).page), colors(opened(report, color_scheme="dark").page)
    assert light != dark
    for ink, paper, drawn in (light, dark):
        assert contrast(ink, paper) > 7
        assert contrast(drawn, paper) >= 4.5
    assert contrast(dark[1], "#000000") < 1.3


def test_on_paper_all_is_there_and_nothing_to_press(opened, report, tmp_path) -> None:
    found = opened(report)
    page = found.page
    page.emulate_media(media="print")
    for selector in (".contents", ".controls", ".play", "footer a"):
        assert not page.locator(selector).first.is_visible(), selector
    for selector in ("#gate", "#robustness", "#faces", "#settings", ".small-chart", ".film img"):
        assert page.locator(selector).first.is_visible(), selector
    cut = page.eval_on_selector_all(".scroll", "all => all.filter(b => b.scrollHeight > b.clientHeight + 1).length")
    assert cut == 0
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    data = page.pdf(path=tmp_path / "report.pdf", format="A4")
    pages = len(re.findall(rb"/Type\s*/Page\b", data))
    assert data.startswith(b"%PDF")
    assert len(data) > 50_000
    assert 3 <= pages <= 30


def test_without_script_it_is_a_grid(opened, report) -> None:
    found = opened(report, java_script_enabled=False)
    page = found.page
    assert page.locator(".face:visible").count() == 12
    assert page.locator(".film img:visible").count() == 24
    for selector in (".controls", ".play", "#all"):
        assert page.locator(selector).first.is_hidden()
    assert "before" in found.text(".face .frame")
    page.locator(".contents a").last.focus()
    page.keyboard.press("Tab")
    assert page.locator(".scroll:focus").count() == 1  # every box can be reached, since none could say that it fits


def test_hostile_names_do_nothing(opened, tmp_path) -> None:
    from stress.report import write_report

    outcome, faces = experiment()
    names = dict(zip(clips(), HOSTILE, strict=False))
    scores = outcome.scores.assign(clip=outcome.scores["clip"].replace(names))
    faces = [renamed(item, names) for item in faces]
    path = write_report(replaced(outcome.results, names), scores, tmp_path / "hostile.html", crops=faces)
    found = opened(path)
    dialogs: list[str] = []
    found.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    found.page.click("[data-sort=name]")
    found.page.fill("#text", "</script>")
    assert set(found.names()) == {name for name in HOSTILE if "</script>" in name}
    found.page.locator(".face:not([hidden]) .play").first.click()
    found.page.wait_for_timeout(400)
    assert (found.messages, dialogs) == ([], [])
    assert not [url for url in found.requests if not url.startswith(("data:", path.as_uri()))]
    assert found.page.locator("svg[onload], img[onerror]").count() == 0
