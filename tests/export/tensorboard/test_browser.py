"""TensorBoard's own tabs show a run in a browser that has no network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from perfkit.analysis.reports import run as run_report
from perfkit.export.tensorboard.runs import RunEvents
from tests.export.tensorboard.reading import Events
from tests.export.tensorboard.serving import PATIENCE_S, tensorboard
from tests.export.tensorboard.test_events import PNG
from tests.runs import saved

pytestmark = pytest.mark.slow

SHOWN = {
    "scalars": "vz-line-chart2 svg",
    "distributions": "vz-distribution-chart svg",
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
        bands = pages["distributions"].locator("vz-distribution-chart .area")
        bands.first.wait_for(state="visible", timeout=PATIENCE_S * 1000)
        sizes = [band.bounding_box() for band in bands.all()]
        assert max(size["width"] * size["height"] for size in sizes if size) > 1_000, "bands of no length are not seen"
        drawn = "img => img.complete && img.naturalWidth"
        assert pages["images"].locator(SHOWN["images"]).first.evaluate(drawn) > 100
        for page in pages.values():
            page.close()
    assert [one for one in asked if not one.startswith((url, "data:", "blob:"))] == []


def test_the_axes_of_results_hold_their_points(tmp_path, browser):
    """GIVEN a run and its plain one, of other times WHEN SCALARS is opened THEN each axis reaches round both results"""
    record = saved()
    for folder, factor in (("one", 1.0), ("one/plain", 0.5)):
        (tmp_path / "traces" / folder).mkdir(parents=True)
        steps = [replace(step, wall_s=step.wall_s * factor) for step in record.steps]
        RunEvents(tmp_path / "traces" / folder).finish(replace(record, steps=tuple(steps)), [], {})
    with tensorboard(tmp_path / "traces", tmp_path / "log") as url:
        page = browser.new_page()
        page.goto(f"{url}#scalars")
        _see(page, SHOWN["scalars"])
        marks = page.locator("tf-scalar-card", has_text="tag: result/mean_ms").locator(".y-axis .tick-label")
        marks.first.wait_for(state="attached", timeout=PATIENCE_S * 1000)
        axis = [float(mark) for mark in marks.all_text_contents()]
        page.close()
    means = [Events(tmp_path / "traces" / folder).scalars("result/mean_ms")[0] for folder in ("one", "one/plain")]
    assert means == pytest.approx([30.0, 15.0])
    assert min(axis) <= 15.0
    assert max(axis) >= 30.0


def _see(page: Any, element: str) -> None:
    found = page.locator(element).first
    found.wait_for(state="visible", timeout=PATIENCE_S * 1000)
    box = found.bounding_box()
    assert box["width"] > 10
    assert box["height"] > 10
