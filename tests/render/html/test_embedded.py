"""A page in a frame. How it looks and what it may do in a browser: tests/browser/test_notebook.py."""

from __future__ import annotations

import html
import re

import numpy as np
import pytest

from perfkit.render.html import document as documents
from perfkit.render.html.document import document
from perfkit.render.html.embedded import embedded
from perfkit.render.html.library import packed
from perfkit.schema.page.figures import HeatMap, Lane, Timeline
from perfkit.schema.page.sections import Page, Part, Section
from tests.render.html.test_tables import made

LIBRARY = "// library"


@pytest.fixture(autouse=True)
def _small_library(monkeypatch):
    monkeypatch.setattr(documents, "javascript", lambda: LIBRARY)


def page(title: str = "<a run>") -> Page:
    """A table, a chart and a timeline."""
    empty = np.zeros(1, dtype=np.int64)
    lane = Lane(title="stream 7", kind="device", start=empty, length=empty + 1, name=empty, depth=empty, key=empty)
    figures = (
        HeatMap(rows=("a",), columns=("forward",), values=((1,),)),
        Timeline(span=1, lanes=(lane,), names=("gemm",), keys=("matmul",)),
    )
    section = Section(anchor="here", title="Here", figures=figures, tables=(made([("gemm", 1)]),))
    return Page(title=title, parts=(Part(title="one", findings=(), sections=(section,)),), command="c", version="1")


def shown(markup: str) -> str:
    """The page within the frame."""
    [source] = re.findall(r'srcdoc="([^"]*)"', markup)
    return html.unescape(source)


def test_the_frame_holds_the_whole_page_and_nothing_leaves_it():
    """GIVEN a page that fits THEN the frame's source is the page, its origin its own, its title the page's"""
    markup = embedded(page())
    assert shown(markup) == document(page())
    assert 'sandbox="allow-scripts"' in markup
    assert 'title="perfkit: &lt;a run&gt;"' in markup
    assert markup.endswith("</iframe>")


def test_a_page_that_is_too_large_goes_without_timeline_then_charts_then_tables():
    """GIVEN less and less room THEN the timeline goes first, charts next, tables last; what is missing is said

    Each time there is room for one byte less than the page before had.
    """
    kinds = ("figure timeline", "figure heat", "<table")
    seen = []
    most = len(document(page()).encode())
    for _ in range(4):
        markup = embedded(page(), most)
        kept = tuple(kind for kind in kinds if kind in shown(markup))
        seen.append((kept, markup.partition("</iframe>")[2]))
        most = len(shown(markup).encode()) - 1
    assert [kept for kept, _ in seen] == [kinds, kinds[1:], kinds[2:], ()]
    assert seen[0][1] == ""
    assert "Left out here, to keep a notebook small: the timeline, charts, tables. " in seen[3][1]


def test_a_page_without_charts_goes_without_what_draws_them():
    charts = re.compile(r'id="library">(.*?)</script>')
    whole, small = (shown(embedded(page(), most)) for most in (10**9, 0))
    assert charts.findall(whole)[0] == packed(LIBRARY)
    assert charts.findall(small)[0] == packed("")
