"""What the columns of a table promise to those who show it, asked of all tables alike."""

from __future__ import annotations

from perfkit.schema.table import Table

UTILISATIONS = ("efficiency", "mfu", "hfu")
COUNTS = ("count", "ranges", "x", "kernels", "copies", "memsets")


def assert_regular(table: Table) -> None:
    """Rows are numbered from 0; times end in _ns, rates in _per_s, shares say so; other numbers are counts or bytes."""
    assert table.frame.index.tolist() == list(range(len(table)))
    for column in table.columns:
        stem = column.name.removesuffix("_a").removesuffix("_b")
        expected = ("", "text")
        if stem.endswith("_ns"):
            expected = ("ns", "time")
        elif stem.endswith("share") or stem in UTILISATIONS:
            expected = ("1", "share")
        elif stem == "bytes" or stem.endswith("_bytes"):
            expected = ("B", "bytes")
        elif stem.endswith("_per_s"):
            expected = ("/s", "rate")
        elif stem.endswith("flops"):
            expected = ("FLOP", "flops")
        elif stem.endswith(("_per_byte", "_by_softmax")):
            expected = ("", "rate")
        elif stem.startswith(COUNTS):
            expected = ("", "count")
        assert (column.unit, column.kind) == expected, column.name


def names(table: Table) -> list[str]:
    return [column.name for column in table.columns]


def summed(table: Table) -> list[str]:
    """Columns whose rows add up to something: people get that sum in a last line."""
    return [column.name for column in table.columns if column.summed]


def spare(table: Table) -> list[str]:
    """Columns that a narrow terminal may leave out."""
    return [column.name for column in table.columns if column.spare]
