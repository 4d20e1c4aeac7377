"""A table within another page. Read back by Python's own HTML parser."""

from __future__ import annotations

from perfkit.render.html.inline import inline
from tests.render.html.test_tables import Reader, made


def test_the_first_rows_the_rest_and_the_total():
    """GIVEN three rows of which two are asked for THEN heading, both, the rest, and the total; no script, no button"""
    markup = inline(made([("<b>gemm</b>", 3_000), ("add", 1_000), ("mul", 500)]), 2)
    assert Reader(markup).rows == [
        ["name", "sum (us)"],
        ["<b>gemm</b>", "3.000"],
        ["add", "1.000"],
        ["… 1 more row", "0.500"],
        ["total", "4.500"],
    ]
    assert not any(tag in markup for tag in ("<script", "<button", "<style", "<b>"))


def test_a_long_name_has_its_whole_in_a_tip():
    assert f'title="{"k" * 300}"' in inline(made([("k" * 300, 1)]), 20)
