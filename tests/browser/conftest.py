"""A headless Chromium, and pages that must neither complain nor ask for anything."""

import os
import shutil

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = (
    "--no-sandbox",  # which root, as in a container, can't have
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def browser():
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and "CI" not in os.environ:
        pytest.skip("no Chromium: install Debian's chromium, or name one in CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, tmp_path):
    """Opens HTML from disk; at the end no page may have logged, failed or requested anything."""
    pages: list[Page] = []
    complaints: list[str] = []

    def visit(html: str, *, width=1280, scheme="light"):
        path = tmp_path / f"page {len(pages)}.html"
        path.write_text(html, encoding="utf-8")
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        pages.append(page)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(request.url))
        page.goto(path.as_uri())
        asked = [url for url in complaints if not url.startswith("data:")]
        assert asked == [path.as_uri()]
        complaints.clear()
        return page

    yield visit
    for page in pages:
        page.close()
    assert complaints == []
