"""Bars: how long, and where."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from perfkit.render.bars import bar
from perfkit.render.terminal import render
from perfkit.schema.table import Column, Table

COLUMNS = (Column("phase"), Column("share", "1", "share", summed=True), Column("n", "", "count"))


def table(*shares: float) -> Table:
    names = ["forward", "backward", "rest"][: len(shares)]
    frame = pd.DataFrame({"phase": names, "share": shares, "n": range(1, len(shares) + 1)})
    return Table("phases", "Phases", COLUMNS, frame)


@pytest.mark.parametrize(
    ("share", "blocks", "ascii_"),
    [(0.0, "", ""), (0.5, "█" * 4, "####"), (0.55, "████▍", "####"), (1.0, "█" * 8, "########"), (0.01, "▏", ""),
     (1.3, "█" * 8, "########"), (-0.5, "", ""), (math.nan, "", "")],
)  # fmt: skip
def test_a_bar_is_a_share_of_its_cells_to_an_eighth(share, blocks, ascii_):
    """GIVEN 8 characters WHEN a share is drawn THEN so much of them: 0.55 is 4.4, and 3 eighths; 0.01 is one eighth"""
    assert (bar(share, 8), bar(share, 8, unicode=False)) == (blocks, ascii_)


def test_a_bar_stands_beside_the_share():
    """GIVEN 40 characters, 21 of them for the rest WHEN shown THEN 19 are 100%: 14.25; where fewer than 8 are, none"""
    lines = render(table(0.75, 0.25), width=40, color=False).splitlines()
    assert lines[3] == "forward    75.0%  ██████████████▎  1"
    assert "█" not in render(table(0.75, 0.25), width=20, color=False)
    assert "####" in render(table(0.75, 0.25), width=40, color=False, unicode=False)


def test_rows_without_a_share_have_no_bar():
    text = render(table(0.5, 0.3, 0.2), width=80, top=1, color=False)
    assert [line.count("█") for line in text.splitlines()] == [0, 0, 0, 10, 0, 0, 0]


def test_phases_and_their_bars_have_their_colour():
    """GIVEN colours WHEN shown THEN forward is bright blue (94), backward green (32): names and bars alone"""
    text = render(table(0.75, 0.25), width=60, color=True)
    assert text.count("\x1b[94m") == text.count("\x1b[32m") == 2
    assert "\x1b" not in render(table(0.75, 0.25), width=60, color=False)
