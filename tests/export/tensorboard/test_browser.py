"""TensorBoard's own tabs show a run in a browser that has no network."""

from __future__ import annotations

from typing import Any

import pytest

from perfkit.analysis.reports import run as run_report
from perfkit.export.tensorboard.runs import RunEvents
from tests.export.tensorboard.serving import PATIENCE_S, tensorboard
from tests.export.tensorboard.test_events import PNG
from tests.runs import saved

pytestmark = pytest.mark.slow

SHOWN = {
    "scalars": "vz-line-chart2 svg",
    "histograms": "vz-histogram-timeseries svg",
    "text": "tf-markdown-view table",
    "images": "tf-image-loader img",
    "hparams": "text=median step (ms)",
}
"""Tab -> what is on it; Playwright looks into shadow roots."""


def test_each_tab_shows_the_run(tmp_path, browser):
    """GIVEN a run's events WHEN each tab is opened THEN its part is seen, and no other machine is asked for anything"""
    record = saved()
    (tmp_path / "traces" / "one").mkdir(parents=True)
    RunEvents(tmp_path / "traces" / "one").finish(record, [run_report.report(record)], {"steps": PNG})
    with tensorboard(tmp_path / "traces", tmp_path / "log") as url:
        pages = {tab: browser.new_page() for tab in SHOWN}
        asked: list[str] = []
        for tab, page in pages.items():
            page.on("request", lambda request: asked.append(request.url))
            page.goto(f"{url}#{tab}")
        for tab, element in SHOWN.items():
            _see(pages[tab], element)
        drawn = "img => img.complete && img.naturalWidth"
        assert pages["images"].locator(SHOWN["images"]).first.evaluate(drawn) > 100
        for page in pages.values():
            page.close()
    assert [one for one in asked if not one.startswith((url, "data:", "blob:"))] == []


def _see(page: Any, element: str) -> None:
    found = page.locator(element).first
    found.wait_for(state="visible", timeout=PATIENCE_S * 1000)
    box = found.bounding_box()
    assert box["width"] > 10
    assert box["height"] > 10
