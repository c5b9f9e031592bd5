"""Chromium for tests, and the stand-in for the gateway."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.chat import Chat
from tests.browser.standin import Standin

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def chromium() -> str:
    """Return the browser's path: RUNBELL_CHROMIUM, or the first of the usual names on PATH."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("RUNBELL_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not found:
        pytest.fail("No Chromium found. Install it (Debian: apt install chromium) or set RUNBELL_CHROMIUM to its path.")
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages in contexts of their own; any error on the page's console fails the test."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def make(context: BrowserContext | None = None, **options: object) -> Page:
        if context is None:
            context = browser.new_context(**{"viewport": {"width": 1180, "height": 780}, "locale": "en-GB", **options})  # type: ignore[arg-type]
            contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if _is_fault(line.type, line.text) else None)
        return page

    yield make
    for context in contexts:
        context.close()
    assert not errors, errors


def _is_fault(kind: str, text: str) -> bool:
    """Tell faults of the page from lost connections, which Chromium itself reports on the console."""
    network = ("WebSocket connection to", "Failed to load resource")
    return kind == "error" and not text.startswith(network)


@pytest.fixture
def standin() -> Iterator[Standin]:
    server = Standin()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def chat(new_page: Callable[..., Page], standin: Standin) -> Chat:
    """The page, open and connected to the stand-in."""
    return Chat(new_page()).open(standin.url)


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where screenshots go: RUNBELL_SHOTS, or the test's own folder."""
    folder = Path(os.environ.get("RUNBELL_SHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
