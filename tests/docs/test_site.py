"""The site that mkdocs makes of docs/: strict, the same pages as on a code host, and nothing from another host."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.docs import pages

DOCS = pages.ROOT / "docs"
NAMES = [page.relative_to(DOCS).as_posix() for page in sorted(DOCS.rglob("*.md"))]
TAGS = ("h1", "h2", "h3", "ul", "ol", "li", "tr", "td", "pre", "code", "img", "a")
_ARTICLE = re.compile(r"<article[^>]*>(.*)</article>", re.DOTALL)
_FETCHED = re.compile(r"""<(?!a[ >])[^>]*\s(?:src|srcset|href|poster|data)=["']?\s*((?:\w+:)?//[^"'\s>]+)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site. A warning (a broken link or anchor, a page without a place) fails the build."""
    if not importlib.util.find_spec("material"):
        pytest.skip("mkdocs-material is not installed: pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]  # --quiet: not strict
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=pages.ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_pages_have_on_the_site_what_they_have_on_a_code_host(site: Path):
    """GIVEN every page WHEN two renderers make HTML of it THEN headings, lists, tables, code and links are as many

    They differ in what begins a list or a table: a line that one takes for text is a fault of the page.
    """
    host = MarkdownIt("commonmark").enable("table")
    for name in NAMES:
        [article] = _ARTICLE.findall((site / name).with_suffix(".html").read_text(encoding="utf-8"))
        here = re.sub(r'<a class="headerlink".*?</a>|<a id="__code[^>]*></a>', "", article)
        there = host.render((DOCS / name).read_text(encoding="utf-8"))
        assert counted(here) == counted(there), name
        assert counted(here)["h1"] == 1, name


def counted(html: str) -> dict[str, int]:
    return {tag: len(re.findall(rf"<{tag}[ >]", html)) for tag in TAGS}


def test_the_site_asks_no_other_host_for_anything(site: Path):
    """GIVEN the built site WHEN looking for what a browser fetches by itself THEN all of it is of the site"""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not _FETCHED.findall(text), page
        assert 'class="mermaid' not in text, "the theme loads what draws such a block from another host"
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:\w+:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_what_would_be_fetched_is_seen():
    """GIVEN tags that fetch from another host, and a link WHEN looking THEN the tags are found, and the link is not"""
    fetching = (
        '<script src="https://a.b/c.js"></script><link rel="stylesheet" href="//a.b/c.css"><img alt="" src=http://a>'
    )
    assert _FETCHED.findall(fetching) == ["https://a.b/c.js", "//a.b/c.css", "http://a"]
    assert not _FETCHED.findall('<a href="https://a.b">a</a><script src="assets/c.js"></script>')
