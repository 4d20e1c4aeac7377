"""What every test stands on, wherever it runs: no settings of the user's, and no example chosen by chance."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pandas  # noqa: F401 - whole, before a command of some test loads it without pyarrow
import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_DISPLAY = (
    "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE",
)  # fmt: skip
"""Variables that change what a command prints."""

# Each run tries the same examples, and none has to be done within a time: a busy machine takes any time it likes.
# `pytest --hypothesis-profile fresh` looks at others.
settings.register_profile(
    "same", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("fresh", settings.get_profile("same"), derandomize=False)
settings.load_profile("same")


def pytest_configure() -> None:
    # A shell that starts pytest in the background has it ignore ctrl-C, nohup SIGHUP, and every process of its own too.
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in _DISPLAY:
        os.environ.pop(name, None)
    os.environ["TERM"] = "xterm"
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # else every process that compiles starts others


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Files with a slow test begin first, then those with many: no process is to begin one when others have none left.
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    count = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path not in slow, -count[item.path]))


def pytest_collection_finish() -> None:
    # What there is now stays: each run begins with a collection, which would look through all of it for 0.2 s or more.
    # Reading traces and torch's own lists of events make millions of objects that live: a third of the time went there.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


@pytest.fixture(autouse=True, scope="session")
def _cache_of_this_session(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No trace is taken from the user's cache, where an earlier perfkit may have put it, and none is left there."""
    os.environ["PERFKIT_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))


FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One for all tests of the session, without a network: it takes a second to start. They skip without it."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()
