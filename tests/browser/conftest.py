"""The report with all its sections, open in headless Chromium; whatever it logs or asks for is kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@dataclass
class Opened:
    """A page, and what it said and asked for since it was opened."""

    page: Any
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def names(self) -> list[str]:
        """Clips of the faces shown, in the order shown."""
        return self.page.eval_on_selector_all(".face:not([hidden])", "found => found.map(card => card.dataset.name)")

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser with a fresh profile (Playwright's launch); tests skip where Playwright or Chromium is missing."""
    api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install 'faceswap-hq[browser]'")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium; elsewhere name it in CHROMIUM)")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=list(_FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """report.html of an experiment with every section."""
    from stress.report import write_report
    from tests.stress.complete import experiment

    outcome, faces = experiment()
    return write_report(outcome.results, outcome.scores, tmp_path_factory.mktemp("report") / "report.html", crops=faces)


@pytest.fixture
def opened(chromium: Any) -> Iterator[Callable[..., Opened]]:
    """Open a file by itself: ``opened(path, width=..., **options of a Playwright context)``; closed after the test."""
    contexts = []

    def open_page(path: Path, width: int = 1280, height: int = 900, **options: Any) -> Opened:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        found = Opened(page)
        page.on("console", lambda message: found.messages.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: found.messages.append(f"error: {error}"))
        page.on("requestfailed", lambda request: found.failures.append(f"{request.failure}: {request.url[:200]}"))
        page.on("request", lambda request: found.requests.append(request.url[:200]))
        page.goto(path.as_uri())
        return found

    yield open_page
    for context in contexts:
        context.close()
