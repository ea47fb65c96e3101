"""A real browser set upon the live archive: headless Chromium, whose every complaint and every request is kept."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.live import Live

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
    "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
PATIENCE_MS = 30_000


@dataclass
class Tab:
    """A page, and what went wrong on it. complaints: errors of console and scripts; strangers: requests to others."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def go(self, path: str) -> Page:
        self.page.goto(f"{self.url}{path}")
        return self.page

    def wait_for_sky(self) -> None:
        self.page.wait_for_selector("#sky[data-ready=true]")

    def watch(self) -> None:
        here = urlsplit(self.url).netloc
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda asked: self._see(asked.url, here))

    def _hear(self, said: ConsoleMessage) -> None:
        # That a HiPS has no tile where it has no data is told by 404, and the browser notes each.
        is_tile = "/Norder" in str(said.location.get("url", "")) and "404" in said.text
        if said.type == "error" and not is_tile:
            self.complaints.append(f"{said.text} {said.location.get('url', '')}")

    def _see(self, url: str, here: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc != here:
            self.strangers.append(url)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    yield opened
    opened.close()


@pytest.fixture
def tab(context: BrowserContext, live: Live) -> Iterator[Tab]:
    """A page; when the test is over nothing may have gone wrong on it, and nothing been asked of another host."""
    opened = Tab(context.new_page(), live.url)
    opened.watch()
    yield opened
    assert not opened.complaints, opened.complaints
    assert not opened.strangers, opened.strangers
