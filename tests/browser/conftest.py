"""A browser for the session: Debian's chromium, which Playwright drives; tests skip without either."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.opening import Opened, open_in

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture
def opened(browser: Browser) -> Iterator[Any]:
    """Opens a file, and waits until all is drawn."""
    contexts = []

    def open_(path: Path, script: str = "", **context: Any) -> Opened:
        made = browser.new_context(**{"viewport": {"width": 1200, "height": 800}} | context)
        contexts.append(made)
        made.set_default_timeout(10_000)
        made.add_init_script(script)
        return open_in(made, path)

    yield open_
    for context in contexts:
        context.close()
