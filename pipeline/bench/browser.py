"""The real Chromium in which pages are measured."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.errors import UserError

if TYPE_CHECKING:
    from playwright.sync_api import Page

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def why_no_browser() -> str | None:
    """Return why no page can be measured here and what mends it; None where one can."""
    if not any(shutil.which(name) for name in _NAMES):
        return "there is no Chromium (install it: apt-get install chromium)"
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed (pip install playwright)"
    return None


@contextmanager
def browser_page(*, offline: bool = False) -> Iterator[Page]:
    """Open an empty page of 1280 x 800 in a headless Chromium without GPU, with or without a network.

    Raises:
        UserError: there is no browser.
    """
    if missing := why_no_browser():
        raise UserError(f"no page can be measured: {missing}")
    from playwright.sync_api import sync_playwright

    chromium = next(path for name in _NAMES if (path := shutil.which(name)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        try:
            context = browser.new_context(viewport={"width": 1280, "height": 800})
            context.set_offline(offline)
            yield context.new_page()
        finally:
            browser.close()
