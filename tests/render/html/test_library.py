"""The library comes from its package, packed so that a browser can unpack it."""

from __future__ import annotations

import base64
import importlib.util
import zlib

import pytest

from perfkit.errors import UsageError
from perfkit.render.html import library


def test_packed_text_is_what_decompression_stream_reads():
    """GIVEN a text WHEN packed THEN zlib's own format in base64, without what HTML acts on"""
    packed = library.packed("</script>\u2028" * 100)
    assert zlib.decompress(base64.b64decode(packed)).decode() == "</script>\u2028" * 100
    assert "<" not in packed


def test_the_library_has_the_part_that_makes_figures():
    assert "Plotting" in library.javascript()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match="pip install bokeh"):
        library.javascript()
