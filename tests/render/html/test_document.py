"""A page as one file, read back by Python's own HTML parser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from html.parser import HTMLParser
from typing import Any

import pytest

from perfkit.render.html import document as documents
from perfkit.render.html.document import document
from perfkit.schema.finding import Cost, Finding, Rule
from perfkit.schema.page.figures import HeatMap
from perfkit.schema.page.sections import Page, Part, Section

_RULE = Rule("own", "performance", "")
_VOID = {"meta", "link", "input", "br", "img"}


@pytest.fixture(autouse=True)
def _small_library(monkeypatch):
    monkeypatch.setattr(documents, "javascript", lambda: "// library")


class Outline(HTMLParser):
    """Identifiers, links, and whether every element ends where it should."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(markup)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        said = dict(attrs)
        self.ids += [said["id"]] if "id" in said else []
        self.links += [said["href"]] if tag == "a" else []
        self.addresses += [said[name] for name in ("src", "href") if name in said]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page(*parts: Part) -> Page:
    return Page(title="<a run>", parts=parts, command="perfkit report '<x>'", version="1")


def part(title: str = "one", **changes) -> Part:
    finding = Finding(_RULE, "it is <slow>", Cost(2_000_000, 0.1), advice="--faster")
    heat = HeatMap(rows=("a",), columns=("forward",), values=((1,),))
    sections = (Section(anchor="here", title="Here", takeaway="a < b", figures=(heat,), **changes),
                Section(anchor="there", title="There", lacking="record <it>"))  # fmt: skip
    return Part(title=title, findings=(finding,), sections=sections)


def test_elements_nest_and_links_lead_somewhere():
    """GIVEN two parts with the same sections THEN identifiers differ, and each link has its target in the page"""
    outline = Outline(document(page(part("one"), part("two"))))
    assert len(set(outline.ids)) == len(outline.ids)
    assert {link.removeprefix("#") for link in outline.links} <= set(outline.ids)
    assert {"here", "here-2", "there", "figure-0", "figure-1"} <= set(outline.ids)
    assert all(address.startswith(("#", "data:")) for address in outline.addresses)


def test_texts_are_escaped_and_the_answer_comes_first():
    text = document(page(part()))
    assert "it is &lt;slow&gt;" in text
    assert "<slow>" not in text
    assert "record &lt;it&gt;" in text
    assert text.index("it is &lt;slow&gt;") < text.index("a &lt; b")
    assert "<span>2.00 ms</span> <span>10.0%</span>" in text or "2.000 ms" in text
    assert "Try --faster" in text


def test_only_scripts_of_known_hashes_run():
    """GIVEN the page THEN its policy names the hash of its one script and of the library, and allows no request"""
    text = document(page(part()))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    scripts = [*re.findall(r"<script>(.*?)</script>", text, re.DOTALL), "// library"]
    assert len(scripts) == 2
    for script in scripts:
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy[1]
    assert "default-src 'none'" in policy[1]
    assert "unsafe-eval" not in policy[1]


def test_folded_sections_wait_to_be_opened():
    assert "<details>" in document(page(part(folded=True)))
    assert "<details>" not in document(page(part()))


def test_many_long_names_are_cut_until_the_page_is_small(monkeypatch):
    """GIVEN a heat map of 400 modules with names of 400 letters, no two alike, and a tenth of their bytes for a page
    THEN names are cut to 48 letters, and the page says so; with room they are whole"""
    names = tuple(hashlib.sha512(bytes([n // 256, n % 256])).hexdigest() * 3 for n in range(400))
    heat = HeatMap(rows=names, columns=("forward",), values=((1,),) * 400)
    large = Part(title="one", findings=(), sections=(Section(anchor="a", title="A", figures=(heat,)),))
    whole = document(page(large))
    monkeypatch.setattr(documents, "MOST_BYTES", 60_000)
    small = document(page(large))
    assert "Tables hold up to 2,000 rows, names up to 400 characters" in whole
    assert "Tables hold up to 100 rows, names up to 48 characters" in small
    [rows] = [figure["rows"] for figure in data_of(small)["figures"]]
    assert {len(row) for row in rows} == {48}
    assert len(set(rows)) == 400


def data_of(markup: str) -> dict[str, Any]:
    """The data that the page unpacks."""
    [found] = re.findall(r'id="data">([^<]*)<', markup)
    unpacked: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(found)))
    return unpacked
