"""review.html of a hand-made curation in headless Chromium: playing in step, deciding by key, exporting, sorting."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceswap_hq import files
from faceswap_hq.curation.apply import apply_review
from tests.faceswap_hq.clips import number_of
from tests.faceswap_hq.curated import PATCH, hand_made, manifest
from tests.stress.test_report import contrast

pytestmark = pytest.mark.browser

FRAMES, RATE = 50, 25
GAP = "document.getElementById('target').currentTime - document.getElementById('fake').currentTime"


@pytest.fixture(scope="module")
def made(shots, tmp_path_factory) -> Path:
    return hand_made(tmp_path_factory.mktemp("review") / "out", shots, count=FRAMES)


@pytest.fixture
def review(made, opened):
    """The page, open and with its first fake on the screen."""

    def open_page(**options):
        found = opened(made / "review.html", **options)
        ready(found.page)
        return found

    return open_page


def ready(page) -> None:
    page.wait_for_function(
        "() => ['fake', 'target'].map(id => document.getElementById(id)).every(v => v.readyState >= 2 && !v.seeking)"
    )
    page.wait_for_timeout(150)


def picture(page, selector: str) -> np.ndarray:
    """What is on the screen there, uint8 (192, 192, 3) RGB."""
    data = page.screenshot(clip=page.locator(selector).bounding_box())
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    return cv2.resize(image, (192, 192), interpolation=cv2.INTER_AREA)


def both(page) -> tuple[int, int]:
    """The frames of fake and target that one screenshot shows."""
    page.evaluate("scrollTo(0, 0)")
    boxes = [page.locator(selector).bounding_box() for selector in ("#fake", "#target")]
    x, y = (min(box[key] for box in boxes) for key in "xy")
    right, bottom = (max(box[a] + box[b] for box in boxes) for a, b in (("x", "width"), ("y", "height")))
    data = page.screenshot(clip={"x": x, "y": y, "width": right - x, "height": bottom - y})
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    found = []
    for box in boxes:
        left, top = round(box["x"] - x), round(box["y"] - y)
        part = image[top : top + round(box["height"]), left : left + round(box["width"])]
        found.append(number_of(cv2.resize(part, (192, 192), interpolation=cv2.INTER_AREA)))
    return found[0], found[1]


def names(page) -> list[str]:
    return page.eval_on_selector_all("#fakes li:not([hidden]) .who", "all => all.map(who => who.textContent)")


def export(page, path: Path) -> dict:
    with page.expect_download() as waiting:
        page.keyboard.press("x")
    waiting.value.save_as(path)
    assert waiting.value.suggested_filename == "review.json"
    return json.loads(path.read_text())


def test_it_says_nothing_to_the_console_and_asks_for_its_videos_alone(review, made) -> None:
    found = review()
    page = found.page
    for key in ("Space", "j", "k", "s", "b", "z", "m", "ArrowRight", "a", "u"):
        page.keyboard.press(key)
    for _ in range(6):
        page.keyboard.press("j")
        ready(page)
    assert found.messages == []
    folder = made.as_uri() + "/"
    asked = {url.removeprefix(folder) for url in found.requests}
    videos = {("rejected/" if who in manifest(made / "rejected") else "") + entry[kind]
              for who, entry in (manifest(made) | manifest(made / "rejected")).items()
              for kind in ("fake", "real")}  # fmt: skip
    assert asked - videos == {"review.html"}
    assert len([url for url in asked if url.startswith("rejected/fakes/")]) == 2


def test_playing_keeps_fake_and_target_in_step(review) -> None:
    page = review().page
    page.keyboard.press("Space")
    page.wait_for_timeout(1000)
    for _ in range(5):
        fake, target = both(page)
        assert abs(fake - target) <= 1
        assert abs(page.evaluate(GAP)) < 1 / RATE
    assert page.evaluate("document.getElementById('fake').paused") is False
    first = page.inner_text("#frame")
    page.wait_for_function("before => document.getElementById('frame').textContent !== before", arg=first)


@pytest.mark.parametrize("shift", [-0.5, 0.15])
def test_a_target_that_falls_behind_or_runs_ahead_is_pulled_back(review, shift: float) -> None:
    page = review().page
    page.keyboard.press("s")  # half speed: no end of the clip, which would set both to the start, comes to help
    page.keyboard.press("Space")
    page.wait_for_function("() => document.getElementById('fake').currentTime > 0.6")
    page.evaluate(f"document.getElementById('target').currentTime += {shift}")
    page.wait_for_function(f"() => Math.abs({GAP}) < {0.5 / RATE}", timeout=2500)
    assert page.evaluate("document.getElementById('fake').currentTime") < 1.95
    page.wait_for_function("() => document.getElementById('target').playbackRate === 0.5")


def test_it_begins_anew_at_the_end_and_the_next_fake_plays_on(review) -> None:
    page = review().page
    page.evaluate("window.ends = 0; document.getElementById('fake').addEventListener('ended', () => window.ends++)")
    page.keyboard.press("Space")
    page.wait_for_function("() => window.ends > 0 && document.getElementById('fake').currentTime > 0.3")
    assert abs(page.evaluate(GAP)) < 1 / RATE
    page.keyboard.press("j")
    page.wait_for_function("() => (v => v.currentTime > 0.3 && !v.paused)(document.getElementById('fake'))")


def test_stepping_shows_the_very_next_frame_of_both(review) -> None:
    page = review().page
    expected = 0
    for key, count in (("ArrowRight", 1), ("ArrowRight", 1), ("Shift+ArrowRight", 10), ("ArrowLeft", -1)):
        page.keyboard.press(key)
        expected += count
        ready(page)
        assert both(page) == (expected, expected)
        assert page.inner_text("#frame") == f"{expected + 1} / {FRAMES}"
    for _ in range(7):  # faster than it can show them
        page.keyboard.press("Shift+ArrowRight")
    ready(page)
    assert both(page) == (FRAMES - 1, FRAMES - 1)
    page.locator("#seek").fill("7")
    ready(page)
    assert both(page) == (7, 7)


def test_pausing_shows_the_same_frame_of_both(review) -> None:
    page = review().page
    page.keyboard.press("Space")
    page.wait_for_timeout(700)
    page.keyboard.press("Space")
    ready(page)
    fake, target = both(page)
    assert fake == target == int(page.inner_text("#frame").split()[0]) - 1


def test_the_difference_is_that_of_the_two_frames(review) -> None:
    page = review().page
    for _ in range(2):
        fake, target, difference = (picture(page, id_).astype(int) for id_ in ("#fake", "#target", "#difference"))
        expected = np.clip(4 * np.abs(fake - target), 0, 255)
        inner = np.abs(difference - expected)[PATCH]
        assert expected[PATCH].mean() > 100
        assert np.median(inner) < 30  # the screen's rounding, four times brightened
        outside = difference.copy()
        outside[50:142, 50:142] = 0
        assert outside.mean() < 8
        page.keyboard.press("ArrowRight")
        ready(page)
    page.keyboard.press("b")
    page.keyboard.press("b")
    plain = picture(page, "#difference")[PATCH].astype(int)
    fake, target = (picture(page, selector)[PATCH].astype(int) for selector in ("#fake", "#target"))
    assert np.median(np.abs(plain - np.abs(fake - target))) < 10


def test_zoom_keeps_what_is_pointed_at_and_moves_all_three(review) -> None:
    page = review().page
    box = page.locator("#target").bounding_box()
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 0.5 * box["height"])
    assert page.inner_text("#zoom") == "zoom 2×"
    origins = page.evaluate(
        "['fake', 'target', 'difference'].map(id => getComputedStyle(document.getElementById(id)))"
        ".map(style => [style.transform, parseFloat(style.transformOrigin) / parseFloat(style.width)])"
    )
    for transform, origin in origins:
        assert transform.startswith("matrix(2,")
        assert origin == pytest.approx(0.25, abs=0.01)


def test_deciding_by_key_and_what_is_exported_is_obeyed(review, made, tmp_path) -> None:
    page = review().page
    assert page.locator("#export").is_disabled()
    first, second, *_, last = names(page)
    page.keyboard.press("r")
    assert page.inner_text("#standing") == "rejected by you"
    page.keyboard.press("e")
    page.keyboard.type("ears, a & <b>j</b>")  # keys are letters here
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("a")
    page.keyboard.press("u")
    page.keyboard.press("k")
    page.keyboard.press("k")  # from the first to the last
    assert page.inner_text("#name") == last
    page.keyboard.press("a")
    assert "2 of 6 judged by you: 1 accepted, 1 rejected" in page.inner_text("#progress")
    page.keyboard.press("n")  # the first is judged
    assert page.inner_text("#name") == second
    path = tmp_path / "review.json"
    value = export(page, path)
    said = [(row["verdict"], row["note"]) for row in value["fakes"]]
    assert said == [("reject", "ears, a & <b>j</b>"), ("accept", "")]
    out = shutil.copytree(made, tmp_path / "out")
    apply_review(path, out)
    rejected, accepted = (tuple(name.split(" onto ")) for name in (first, last))
    assert manifest(out / "rejected")[rejected]["curation"]["reasons"] == ["rejected by reviewer: ears, a & <b>j</b>"]
    assert accepted in manifest(out)


def test_what_was_applied_is_shown_and_can_be_taken_back(made, opened, tmp_path) -> None:
    out = shutil.copytree(made, tmp_path / "out")
    entry = next(iter(manifest(out).values()))
    decision = {"id": entry["id"], "sha256": entry["sha256"]["fake"], "verdict": "reject", "note": "no", "time": ""}
    path = tmp_path / "review.json"
    files.write_json(path, {"format": "faceswap-hq review", "version": 1, "fakes": [decision]})
    apply_review(path, out)
    page = opened(out / "review.html").page
    ready(page)
    page.fill("#text", entry["id"])
    page.locator("#fakes li:not([hidden]) a").click()
    ready(page)  # it plays from rejected/
    assert page.inner_text("#standing") == "rejected by you"
    assert page.input_value("#note") == "no"
    page.keyboard.press("u")
    page.fill("#note", "")
    page.keyboard.press("Escape")
    assert [row["verdict"] for row in export(page, path)["fakes"]] == ["automatic"]
    apply_review(path, out)
    assert len(manifest(out)) == 4


def test_decisions_outlive_the_page(review, made) -> None:
    page = review().page
    page.keyboard.press("r")
    page.reload()
    ready(page)
    assert page.inner_text("#standing") == "rejected by you"
    page.keyboard.press("u")
    page.reload()
    ready(page)
    assert page.inner_text("#standing") == "accepted by thresholds"


def test_without_storage_it_says_so_and_works(made, chromium, tmp_path) -> None:
    context = chromium.new_context()
    try:
        page = context.new_page()
        page.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('denied'); }})")
        page.goto((made / "review.html").as_uri())
        ready(page)
        assert "export before you close" in page.inner_text("#care")
        page.keyboard.press("r")
        assert len(export(page, tmp_path / "review.json")["fakes"]) == 1
    finally:
        context.close()


def test_sorting_and_filtering(review, made) -> None:
    page = review().page
    report = json.loads((made / "curation.json").read_text())
    rows = {f"{row['source']} onto {row['target']}": row for row in report["fakes"]}
    assert names(page) == list(rows)
    page.select_option("#sort", "id")
    assert names(page) == sorted(rows)
    page.select_option("#sort", "seam")
    assert names(page) == sorted(rows, key=lambda name: rows[name]["values"]["seam"])
    page.click("#order")
    assert names(page) == sorted(rows, key=lambda name: -rows[name]["values"]["seam"])
    assert page.locator("#fakes .number").first.inner_text() == "3"
    page.select_option("#sort", "mouth")  # one has none: it stays last
    assert names(page)[-1] == next(name for name, row in rows.items() if row["values"]["mouth"] is None)
    page.select_option("#show", "rejected")
    assert set(names(page)) == {name for name, row in rows.items() if not row["accepted"]}
    page.keyboard.press("Escape")
    page.locator("#fakes li:not([hidden]) a").first.click()
    page.keyboard.press("a")
    page.select_option("#show", "judged")
    assert len(names(page)) == 1
    page.select_option("#show", "")
    page.select_option("#person", label="cem")
    assert set(names(page)) == {name for name in rows if "cem" in name}
    page.fill("#text", "CEM onto b")
    assert names(page) == ["cem onto ben"]
    assert page.inner_text("#shown").startswith("1 of 6")


def test_scores_say_what_fails(review) -> None:
    page = review().page
    assert page.locator("tr.failed").count() == 0
    page.keyboard.press("k")  # the worst
    failed = page.locator("tr.failed").inner_text()
    assert "seam" in failed
    assert "3 ✗" in failed
    assert "≤ 2" in failed
    assert "above 2" in page.inner_text("#reasons")


@pytest.mark.parametrize("width", [320, 390, 768, 1440])
def test_no_width_makes_the_page_scroll_sideways(review, width: int) -> None:
    page = review(width=width).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for selector in ("#accept", "#reject", "#fake", *(["#play"] if width > 1000 else [])):  # without scrolling
        box = page.locator(selector).bounding_box()
        assert box["y"] + box["height"] <= 900


def test_dark_is_dark(review) -> None:
    def colors(page) -> list[str]:
        found = page.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.documentElement))")
        return ["#" + bytes(int(part) for part in color[4:-1].split(",")).hex() for color in found]

    light, dark = colors(review().page), colors(review(color_scheme="dark").page)
    assert contrast(*light) > 7
    assert contrast(*dark) > 7
    assert contrast(dark[1], "#000000") < 1.3 < contrast(light[1], "#000000")


def test_buttons_do_what_keys_do_and_leave_the_space_bar(review) -> None:
    page = review().page
    page.click("#reject")
    assert page.get_attribute("#reject", "aria-pressed") == "true"
    page.keyboard.press("Space")
    assert page.inner_text("#play") == "Pause"
    page.keyboard.press("Space")
    page.focus("#accept")
    page.keyboard.press("Space")  # for those who go by Tab a button is a button
    assert page.get_attribute("#accept", "aria-pressed") == "true"
    assert page.inner_text("#play") == "Play"


def test_a_video_that_is_gone_is_named(made, opened, tmp_path) -> None:
    out = shutil.copytree(made, tmp_path / "out")
    entry = next(iter(manifest(out).values()))
    (out / entry["fake"]).unlink()
    page = opened(out / "review.html").page
    page.wait_for_selector("#trouble:not([hidden])")
    assert entry["fake"] in page.inner_text("#trouble")
    page.keyboard.press("j")
    ready(page)
    assert page.locator("#trouble").is_hidden()


def test_hostile_names_do_nothing(shots, opened, tmp_path) -> None:
    people = ("<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "a'b\"c & d#e?f%g")
    out = hand_made(tmp_path / "out", shots, names=people, count=3)
    found = opened(out / "review.html")
    ready(found.page)
    dialogs: list[str] = []
    found.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    for _ in range(6):
        found.page.keyboard.press("j")
        ready(found.page)
    assert (found.messages, dialogs, found.failures) == ([], [], [])
    assert {part for name in names(found.page) for part in name.split(" onto ")} == set(people)


def test_the_policy_stops_what_is_not_the_page(made, opened, tmp_path) -> None:
    out = shutil.copytree(made, tmp_path / "out")
    text = (out / "review.html").read_text(encoding="utf-8")
    planted = '<script>document.title = "taken"</script><img src="https://example.invalid/x.png">'
    (out / "review.html").write_text(text.replace("</main>", f"{planted}</main>"), encoding="utf-8")
    found = opened(out / "review.html")
    assert found.page.title() != "taken"
    assert [line for line in found.failures if "example.invalid" in line] == ["csp: https://example.invalid/x.png"]
