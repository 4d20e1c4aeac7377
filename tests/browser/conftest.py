"""A browser for the session: Debian's chromium, which Playwright drives; tests skip without either."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@dataclass
class Opened:
    """A report in the browser, and what it did there."""

    page: Page
    errors: list[str] = field(default_factory=list)
    """What the console and uncaught exceptions said."""
    requests: list[str] = field(default_factory=list)
    """What was asked for beside the file itself."""


@pytest.fixture
def opened(browser: Browser) -> Iterator[Any]:
    """Opens a file, and waits until all is drawn."""
    contexts = []

    def open_(path: Path, script: str = "", **context: Any) -> Opened:
        made = browser.new_context(**{"viewport": {"width": 1200, "height": 800}} | context)
        contexts.append(made)
        made.set_default_timeout(10_000)
        made.add_init_script(script)
        shown = Opened(made.new_page())
        shown.page.on("console", lambda said: shown.errors.append(said.text) if said.type == "error" else None)
        shown.page.on("pageerror", lambda error: shown.errors.append(str(error)))
        address = path.resolve().as_uri()
        shown.page.on("request", lambda asked: shown.requests.append(asked.url) if asked.url != address else None)
        shown.page.goto(address)
        shown.page.wait_for_selector("html[data-ready=yes]", timeout=60_000)
        return shown

    yield open_
    for context in contexts:
        context.close()
