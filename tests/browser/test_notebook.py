"""A report in the output of a notebook's cell, as a browser shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

import perfkit
from tests.browser.opening import DRAWN
from tests.browser.test_report import HOSTILE, trace


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a report's frame in it, as Jupyter puts it there, and a table; names are hostile."""
    folder = tmp_path_factory.mktemp("notebook")
    report = perfkit.report(trace(folder, [*HOSTILE, *(f"gemm_{number}" for number in range(30))]))
    file = folder / "notebook.html"
    file.write_text(
        '<!doctype html><html lang="en" data-ready="yes"><head><meta charset="utf-8"><title>Notebook</title></head>'
        f"<body><p>Out[1]:</p>{report._repr_html_()}{report.table('kernels')._repr_html_()}</body></html>",
        encoding="utf-8",
    )
    return file


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_frame_draws_without_a_request_and_follows_the_theme(notebook, opened, scheme):
    """GIVEN a light, or dark, system WHEN the notebook is opened THEN the frame has drawn in those, all is text"""
    shown = opened(notebook, color_scheme=scheme)
    frame = shown.page.frame_locator("iframe")
    frame.locator("html[data-ready=yes]").wait_for(timeout=60_000)
    assert frame.locator("html").get_attribute("data-drawn") == scheme
    figures = frame.locator("figure").all()
    assert {figure.get_attribute("class").split()[-1] for figure in figures} >= {"bars", "tree", "heat", "timeline"}
    assert min(figure.evaluate(DRAWN) for figure in figures) > 3
    assert (shown.errors, shown.requests) == ([], [])
    assert shown.page.title() == "Notebook"
    assert shown.page.locator("img, script").count() == 0
    assert "a step" in frame.locator(".about").inner_text()


def test_links_stay_within_the_frame(notebook, opened):
    """GIVEN the frame WHEN its link to the timeline is followed THEN it has scrolled there, and the page has stayed"""
    page = opened(notebook).page
    frame = page.frame_locator("iframe")
    frame.locator("html[data-ready=yes]").wait_for(timeout=60_000)
    address = page.url
    frame.locator("nav a[href='#timeline']").click()
    assert frame.locator("html").evaluate("document.getElementById('timeline').getBoundingClientRect().top") < 50
    assert page.url == address


def test_the_frame_cannot_reach_the_page_round_it(notebook, opened):
    """GIVEN the frame WHEN asked for the document round it, or for storage THEN the browser refuses"""
    page = opened(notebook).page
    frame = page.frame_locator("iframe").locator("html")
    for reach in ("parent.document.title", "localStorage.length"):
        assert frame.evaluate(f"() => {{ try {{ return {reach}; }} catch (error) {{ return error.name; }} }}") == (
            "SecurityError"
        )
