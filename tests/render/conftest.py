"""Hand-made tables for the writers."""

from __future__ import annotations

import pandas as pd
import pytest

from perfkit.schema.table import Column, Table

COLUMNS = (
    Column("kernel"),
    Column("calls", kind="count", summed=True),
    Column("total_ns", "ns", "time", summed=True),
    Column("share", "1", "share", title="of step", summed=True),
    Column("peak", "B", "bytes"),
)


@pytest.fixture
def kernels() -> Table:
    """Four kernels whose times span five orders of magnitude; one peak is unknown."""
    frame = pd.DataFrame(
        {
            "kernel": ["gemm", "softmax", "copy", "fill"],
            "calls": [1440, 144, 12, 1],
            "total_ns": [254_123_456, 40_000_000, 1_500_000, 1_207],
            "share": [0.8596, 0.1353, 0.0051, 0.0000041],
            "peak": [27_400_000_000, 512 * 2**20, None, 0],
        }
    )
    return Table("kernels", "Kernels by device time", COLUMNS, frame, ("2 launches were lost",))


@pytest.fixture
def empty() -> Table:
    frame = pd.DataFrame({column.name: [] for column in COLUMNS})
    return Table("kernels", "Kernels by device time", COLUMNS, frame, ("nothing ran",))


NASTY_NAMES = [
    "a|b",
    "a\\|b\\",
    "x & y_z % w # v $ u ^ t ~ s {r}",
    "[red]not red[/red]",
    "\x1b[31mred\x1b[0m",
    "two\nlines\r\ttab",
    "*star* __init__ _edge_ `tick` ``two``",
    "foo<float, 4>(char*, int const&)",
    "日本語のカーネル",
    "right\u202eto left",
    "half a pair \ud800",
    ":smile: &lt; -- --- '' \"\"",
]


@pytest.fixture
def nasty() -> Table:
    """Names that mean something to a terminal, rich, Markdown, LaTeX or CSV."""
    frame = pd.DataFrame({"name": pd.Series(NASTY_NAMES, dtype=object), "calls": range(len(NASTY_NAMES))})
    columns = (Column("name"), Column("calls", kind="count"))
    return Table("nasty", "Title with | & % _x_ [b]\x1b[1m", columns, frame)
