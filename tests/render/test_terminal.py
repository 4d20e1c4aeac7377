from __future__ import annotations

import io
import itertools
from dataclasses import replace

import pandas as pd
import pytest
from rich.cells import cell_len

from perfkit.render.terminal import open_console, print_tables, render
from perfkit.schema.table import Column, Table

LONG_NAME = (
    "void at::native::vectorized_elementwise_kernel<4, at::native::BinaryFunctor<float, float, float, "
    "at::native::binary_internal::MulFunctor<float> >, std::array<char*, 3ul> >(int, at::native::Binary"
    "Functor<float, float, float, at::native::binary_internal::MulFunctor<float> >, std::array<char*, 3ul>)"
)


@pytest.fixture
def long(kernels) -> Table:
    frame = kernels.frame.assign(kernel=[LONG_NAME, LONG_NAME.replace("Mul", "Add"), "copy", "fill"])
    return Table("long", "Long names", kernels.columns, frame)


def test_the_whole_picture(kernels):
    assert render(kernels, top=3, color=False) == (
        "Kernels by device time\n"
        "kernel        calls  total (ms)  of step                      peak (GiB)\n"
        "────────────────────────────────────────────────────────────────────────\n"
        "gemm          1,440       254.1    86.0%  █████████████████▎       25.52\n"
        "softmax         144        40.0    13.5%  ██▊                       0.50\n"
        "copy             12         1.5     0.5%  ▏                            -\n"
        "… 1 more row      1        <0.1    <0.1%\n"
        "────────────────────────────────────────────────────────────────────────\n"
        "total         1,597       295.6   100.0%\n"
        "2 launches were lost\n"
    )


def test_an_empty_table_says_so(empty):
    assert render(empty, color=False) == "Kernels by device time\nno rows\nnothing ran\n"


def test_ascii_where_the_output_cannot_hold_more(nasty, long):
    # WHEN
    text = render(long, width=70, top=1, color=False, unicode=False) + render(nasty, color=False, unicode=False)

    # THEN
    assert text.isascii()
    assert "... 3 more rows" in text
    assert "void at::native::vectorize...char*, 3ul>)" in text
    assert r"\u65e5\u672c" in text


@pytest.mark.parametrize("width", [60, 80, 120, 200, 400])
def test_lines_fit_and_numbers_are_whole(long, width):
    # WHEN
    text = render(long, width=width, top=2, color=False)

    # THEN
    assert max(map(cell_len, text.splitlines())) <= width
    for number in ("1,440", "254.1", "86.0%", "25.52", "1,597", "295.6"):
        assert number in text
    assert "Mul" in text
    assert "Add" in text


@pytest.mark.parametrize("width", [1, 10, 30])
def test_where_nothing_fits_numbers_stay_whole_and_names_recognisable(long, width):
    text = render(long, width=width, top=2, color=False)
    assert "void" in text
    assert "… 2 more rows" in text
    assert "254.1" in text
    assert "295.6" in text


def test_headings_of_numbers_wrap_before_names_suffer(long):
    lines = render(long, width=72, top=1, color=False).splitlines()
    assert lines[1].split() == ["total", "of", "peak"]
    assert lines[2].split() == ["kernel", "calls", "(ms)", "step", "(GiB)"]


def test_the_text_column_with_most_room_gives_way():
    # GIVEN
    frame = pd.DataFrame({"kernel": ["k" * 300], "category": ["elementwise"], "calls": [1]})
    columns = (Column("kernel"), Column("category"), Column("calls", kind="count"))

    # WHEN
    text = render(Table("t", "T", columns, frame), width=60, color=False)

    # THEN
    assert "  elementwise      1\n" in text


def test_short_names_give_way_after_spare_columns_and_other_texts():
    """GIVEN a short name of 38 characters, an operator of 60 and a spare column WHEN 90 wide THEN the name is whole"""
    name, operator = "n" * 38, "o" * 60
    frame = pd.DataFrame({"full": ["f" * 400], "short": [name], "operator": [operator], "calls": [1], "mean": [2]})
    columns = (
        Column("full", audience="scripts"),
        Column("short", short_for="full"),
        Column("operator"),
        Column("calls", kind="count"),
        Column("mean", kind="count", spare=True),
    )
    table = Table("t", "T", columns, frame)
    assert name in render(table.seen_by("people"), width=90, color=False)
    assert operator not in render(table.seen_by("people"), width=90, color=False)
    assert "no room in 70 columns for: mean" in render(table.seen_by("people"), width=70, color=False)
    assert "f" * 400 in render(table.in_full().seen_by("people"), width=70, color=False)


def test_decimal_points_and_right_edges_are_aligned(kernels):
    # WHEN
    lines = render(kernels, color=False).splitlines()
    rows = [line for line in lines[1:] if line.startswith(("kernel", "gemm", "softmax", "copy", "fill", "total"))]

    # THEN every number of a column ends where its heading ends
    ends = {row.index(text) + len(text) for row, text in zip(rows, _second_words(rows), strict=True)}
    assert len(rows) == 6
    assert len(ends) == 1


def _second_words(lines):
    return [line.split()[1] for line in lines]


def test_names_are_shown_as_they_are_and_obeyed_by_nothing(nasty):
    # WHEN
    text = render(nasty, color=True)

    # THEN
    assert "[red]not red[/red]" in text
    assert r"\x1b[31mred\x1b[0m" in text
    assert r"two\nlines\r\ttab" in text
    assert r"right\u202eto left" in text
    assert ":smile:" in text
    assert r"Title with | & % _x_ [b]\x1b[1m" in text
    assert "\x1b[31m" not in text
    assert len(text.splitlines()) == 1 + 2 + len(nasty)
    text.encode()


def test_wide_names_keep_the_columns_aligned(nasty):
    lines = render(nasty, color=False).splitlines()[1:]
    assert len({cell_len(line) for line in lines}) == 1


def test_color_only_where_asked(kernels):
    plain, styled = (render(kernels, top=1, color=color) for color in (False, True))
    assert "\x1b" not in plain
    assert "\x1b[1mKernels by device time\x1b[0m" in styled
    assert "\x1b[2m" in styled


def test_no_line_ends_in_blanks():
    frame = pd.DataFrame({"calls": [1, 2], "kernel": ["a long name", "b"]})
    table = Table("t", "T", (Column("calls", kind="count", summed=True), Column("kernel")), frame)
    for line in render(table, color=False).splitlines():
        assert line == line.rstrip()


def test_a_console_on_a_file_is_120_wide_and_plain(long, monkeypatch):
    # GIVEN
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    stream = io.StringIO()

    # WHEN
    print_tables(open_console(stream), [long, long], top=2)

    # THEN
    once = render(long, width=120, top=2, color=False)
    assert stream.getvalue() == once + "\n" + once


@pytest.mark.parametrize(("color", "unicode"), list(itertools.product([True, False], repeat=2)))
def test_a_console_decides_colour_and_characters(kernels, color, unicode):
    # GIVEN
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8" if unicode else "ascii")

    # WHEN
    print_tables(open_console(stream, width=80, color=color), [kernels], top=1)

    # THEN
    stream.seek(0)
    assert stream.read() == render(kernels, width=80, top=1, color=color, unicode=unicode)


def test_spare_columns_give_way_from_the_right_and_are_named(kernels):
    # GIVEN
    columns = [replace(c, spare=c.name in ("calls", "share", "peak")) for c in kernels.columns]
    spare = replace(kernels, columns=tuple(columns))

    def heading(width: int) -> str:
        return render(spare, width=width, color=False).splitlines()[1]

    # THEN only as many as it takes, however wide the others are
    assert heading(80).split() == ["kernel", "calls", "total", "(ms)", "of", "step", "peak", "(GiB)"]
    assert render(spare, width=40, color=False) == render(kernels, width=40, color=False)
    assert heading(36).split() == ["kernel", "calls", "total", "(ms)", "of", "step"]
    assert heading(30).split() == ["kernel", "calls", "total", "(ms)"]
    assert heading(20).split() == ["kernel", "total", "(ms)"]
    for width, left_out in ((36, "peak"), (30, "of step, peak")):
        assert render(spare, width=width, color=False).splitlines()[-1] == f"no room in {width} columns for: {left_out}"


def test_a_note_gives_way_with_its_column(kernels):
    """GIVEN a note on a spare column WHEN there is no room for it THEN the note is not shown either"""
    columns = [replace(c, spare=c.name == "peak", note="at most" if c.name == "peak" else "") for c in kernels.columns]
    table = replace(kernels, columns=tuple(columns))
    assert "peak: at most" in render(table, width=200, color=False)
    assert "at most" not in render(table, width=36, color=False)


def test_columns_that_are_not_spare_stay_however_narrow(kernels):
    assert "no room" not in render(kernels, width=10, color=False)


@pytest.mark.parametrize("heading", ["見出し見出し見出し見出し", "日本語 見出し見出し", "a 見出 of wide ones"])
def test_headings_of_wide_characters_stay_in_their_column(heading):
    """GIVEN headings of characters that take two columns WHEN there is little room THEN they take more lines"""
    # GIVEN
    columns = (Column("name"), Column("n", kind="count", title=heading), Column("other", title=heading))
    table = Table("wide", "Wide", columns, pd.DataFrame({"name": ["x" * 90], "n": [1], "other": ["y" * 90]}))

    # WHEN
    _, *lines = render(table, width=32, color=False).splitlines()

    # THEN
    rule = next(line for line in lines if line.startswith("─"))
    assert max(map(cell_len, lines)) <= cell_len(rule)
    assert "…" not in "".join(lines[: lines.index(rule)])


def test_rows_of_empty_text_at_the_end_are_shown():
    table = Table("t", "Names", (Column("name"),), pd.DataFrame({"name": ["a", "", ""]}))
    assert render(table, color=False) == "Names\nname\n────\na\n\n\n"
