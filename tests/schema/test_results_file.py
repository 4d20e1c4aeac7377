"""Results files of older and later versions, through other programs' hands, and damaged."""

from __future__ import annotations

import csv
import dataclasses
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.errors import UsageError
from perfkit.schema import results_file, sweep
from perfkit.schema.config import RunConfig
from perfkit.schema.sweep import SweepRow
from tests import runs

FIXTURE = Path(__file__).parents[1] / "fixtures" / "sweep_v1.csv"
ROWS = [
    SweepRow(key="k", repeat=n, isolation="fresh", outcome="ok", config=runs.quick(), message="a, b") for n in (1, 2, 3)
]
HEADER = sweep.header_line()
LINES = [sweep.to_line(row) for row in ROWS]
WHOLE = HEADER + "".join(LINES)


def read(text: str | bytes) -> results_file.Results:
    return results_file.read(Path("r.csv"), text.encode() if isinstance(text, str) else text)


def test_results_of_version_1_keep_loading():
    """GIVEN a file of version 1, whose values were chosen by hand THEN each is read as it stands there"""
    # WHEN
    found = results_file.read(FIXTURE, FIXTURE.read_bytes())
    ok, oom, error = found.rows

    # THEN
    assert found.torn == 0
    assert found.text == FIXTURE.read_text()
    assert (ok.sweep_version, ok.key, ok.repeat, ok.isolation, ok.outcome) == (
        1, "small_train_69523874", 1, "fresh", "ok",
    )  # fmt: skip
    asked = RunConfig.of(
        model_size="small", pass_type="train", precision="bf16", optimizer="adamw-fused", checkpoint=True,
        target_ci=0.01, max_time=60.0,
    )  # fmt: skip
    assert ok.config == asked.resolved("cuda:1")
    assert (ok.parameters, ok.steps, ok.median_s, ok.cv) == (128_625_408, 25, 0.1 + 0.2, 0.0133)
    assert (ok.peak_memory_bytes, ok.reserved_bytes, ok.message) == (2**53 + 1, 2**40, None)
    assert (ok.device_name, ok.record) == ("NVIDIA H100 80GB HBM3", "old.runs/small.1")
    assert (oom.isolation, oom.outcome, oom.phase) == ("shared", "oom", "warm-up step 1, backward")
    assert oom.message == 'out of memory in "backward", an allocation of 2.0 GiB failed'
    assert (oom.try_first, oom.try_second, oom.requested_bytes) == ("--checkpoint", "--batch-size 1", 2**31)
    assert (error.config, error.message, error.repeat) == (RunConfig(), "=1+1 is what it said", 2)


def test_columns_are_read_by_their_names():
    """GIVEN columns in another order, with others between them WHEN read THEN the rows are the same"""
    # GIVEN
    table = list(csv.reader([HEADER, *LINES]))
    odd = ["colour" if index == 3 else "" for index in range(len(table))]
    shuffled = [[*reversed(cells), mark] for cells, mark in zip(table, odd, strict=True)]
    shuffled[0][-1] = "note"

    # WHEN
    found = read("".join(sweep._line(cells) for cells in shuffled))

    # THEN
    assert found.rows == ROWS
    assert found.columns[-1] == "note"


def test_any_column_may_be_missing_but_those_that_name_a_row():
    text = "key,repeat,isolation,outcome\nk,1,fresh,ok\n"
    [row] = read(text).rows
    assert row == SweepRow(sweep_version=1, key="k", repeat=1, isolation="fresh", outcome="ok", config=RunConfig())
    for name in sweep.REQUIRED:
        with pytest.raises(UsageError, match=rf"^r\.csv: not the results of a perfkit sweep \(no column {name}\)"):
            read(text.replace(name, "other"))


def test_a_column_that_was_removed_is_what_the_key_says_and_one_that_was_changed_is_refused():
    """GIVEN rows of a forward pass and of training WHEN column pass_type is removed THEN each is still of its own"""
    configs = [RunConfig.of(model_size="medium", pass_type=kind) for kind in ("forward", "train")]
    rows = [SweepRow(key=sweep.key_of(c), repeat=1, isolation="fresh", outcome="ok", config=c) for c in configs]
    whole = sweep.header_line() + "".join(map(sweep.to_line, rows))
    table = list(csv.reader(whole.splitlines()))
    for name in ("pass_type", "model_size"):
        place = table[0].index(name)
        removed = "".join(sweep._line(cells[:place] + cells[place + 1 :]) for cells in table)
        assert read(removed).rows == rows
    with pytest.raises(UsageError, match=r"line 3: the key medium_train_\w+ says pass_type train, but .* 'forward'"):
        read(whole.replace(",train,", ",forward,"))


def test_a_byte_order_mark_stays():
    assert read(b"\xef\xbb\xbf" + WHOLE.encode()).text.encode() == b"\xef\xbb\xbf" + WHOLE.encode()


def through_pandas(text: str, folder: Path) -> bytes:
    (folder / "p.csv").write_text(text)
    pd.read_csv(folder / "p.csv").to_csv(folder / "p.csv")
    return (folder / "p.csv").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda text, _: text.replace("\n", "\r\n").encode(),
        lambda text, _: b"\xef\xbb\xbf" + text.encode(),
        lambda text, _: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(),
        lambda text, _: text.replace("\n", "\n\n").encode(),
        lambda text, _: text.replace("false", "FALSE").replace(",2,", ",2.0,").encode(),
        lambda text, _: "".join(f'"{line.rstrip()}"\n'.replace(",", '","') for line in text.splitlines()).encode(),
        through_pandas,
    ],
    ids=["line ends of Windows", "byte order mark", "both", "empty lines", "Excel's FALSE", "quotes", "pandas"],
)
def test_what_other_programs_make_of_it_is_read(tmp_path, change):
    rows = [dataclasses.replace(row, message=None) for row in ROWS]
    text = HEADER + "".join(map(sweep.to_line, rows))
    assert read(change(text, tmp_path)).rows == rows


def test_pandas_reads_it():
    frame = pd.read_csv(FIXTURE)
    assert frame["outcome"].tolist() == ["ok", "oom", "error"]
    assert frame["sweep_version"].tolist() == [1, 1, 1]


def test_a_quoted_cell_of_another_column_may_have_line_ends():
    text = HEADER.rstrip() + ",note\n" + LINES[0].rstrip() + ',"two\nlines"\n' + LINES[1].rstrip() + ",\n"
    assert read(text).rows == ROWS[:2]
    assert read(text).text == text
    with pytest.raises(UsageError, match="line 4: a second result of k, repeat 2"):
        read(text.replace(LINES[0][:6], LINES[1][:6]))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (WHOLE.replace("fresh,ok", "fresh,fine"), "line 2: column outcome holds 'fine'"),
        (HEADER + LINES[0] + LINES[1].replace("fresh,ok", "fresh,fine"), "line 3: column outcome holds 'fine'"),
        (HEADER + LINES[0] + LINES[1].replace(",", "", 1) + LINES[2], "line 3: 74 values for 75 columns"),
        (HEADER + LINES[0] + "," + LINES[1], "line 3: 76 values for 75 columns"),
        (HEADER + LINES[0] + HEADER + LINES[1], "line 3: the header is repeated: repair or remove the line"),
        (HEADER.replace("mean_s", "std_s") + LINES[0], "line 1: two columns std_s"),
        (HEADER + LINES[0] + LINES[1].replace("k,", 'k,"', 1) + LINES[2], "line 3: is not CSV"),
        (HEADER + LINES[0] + LINES[1].replace("k,", 'k,"', 1) + LINES[2].rstrip(), "line 3: is not CSV"),
        (HEADER + LINES[0].replace('"a, b"', '"a" b') + LINES[1], "line 2: is not CSV"),
        (HEADER + LINES[0] + LINES[1].replace("k,", "k\r,", 1), "line 3: is not CSV"),
        (WHOLE.encode().replace(b"a, b", b"a, \xe9", 1), "line 2: not UTF-8: save the file as UTF-8"),
        (WHOLE.encode("utf-16"), "line 1: holds NUL bytes: repair or remove the line"),
        (WHOLE.replace("k,2,", "k\0,2,"), "line 3: holds NUL bytes"),
        (WHOLE.replace(",", ";"), "not the results of a perfkit sweep"),
        (WHOLE.replace("\n", "\r"), "not the results of a perfkit sweep"),
        (HEADER + LINES[0].replace("2,k", "1000000000000,k"), "line 2: column sweep_version"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(content, complaint):
    with pytest.raises(UsageError, match=complaint) as refused:
        read(content)
    assert str(refused.value).startswith("r.csv")
    assert "\n" not in str(refused.value)


def test_a_later_version_is_named_before_anything_else_of_it():
    """GIVEN a version of which nothing else is known WHEN read THEN one line says to upgrade"""
    with pytest.raises(UsageError, match=r"^r\.csv: results of version 3, and this perfkit reads up to 2: upgrade"):
        read("sweep_version,point,tries\n3,k,1\n")


def _without_empty_lines(data: bytes) -> bytes:
    return re.sub(rb"(\r?\n)+", b"\n", data.lstrip(b"\r\n"))


@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_whatever_is_damaged_is_refused_or_still_there(place, put, over):
    """GIVEN a file with some bytes changed THEN it is refused, or nothing is missing from the text but what is torn"""
    whole = WHOLE.encode()
    damaged = whole[:place] + put + whole[place + over :]
    try:
        found = read(damaged)
    except UsageError:
        return
    kept = found.text.encode() + damaged[len(damaged) - found.torn :]
    assert _without_empty_lines(kept) == _without_empty_lines(damaged)
    assert len(found.entries) >= damaged[: len(damaged) - found.torn].count(b"\n") - 2


@pytest.mark.parametrize(("tail", "torn"), [("", 0), ("2,k", 3), (LINES[2].rstrip(), len(LINES[2]) - 1), ("\0" * 9, 9),
                                            ("2,k,\0\0\n", 7), ('2,"', 3), ("\udce9", 1)])  # fmt: skip
def test_a_last_line_without_its_end_is_torn_and_not_wrong(tail, torn):
    found = read((HEADER + LINES[0] + tail).encode("utf-8", "surrogateescape"))
    assert (found.rows, found.torn) == (ROWS[:1], torn)
    assert found.text == HEADER + LINES[0]


def test_a_version_counts_by_its_newest_row_wherever_it_stands():
    """GIVEN rows of several versions, and cells that are no version THEN the newest one decides"""
    text = "key,repeat,isolation,outcome,sweep_version\n"
    assert len(read(text + "k,1,fresh,ok,1\nk,2,fresh,ok,2\n").rows) == 2
    for lines in ("k,1,fresh,ok,3\nk,2,fresh,ok,1\n", "k,1,fresh,ok,1\nk,2,fresh,ok,3\n", "short\n,,,,999999999\n"):
        with pytest.raises(UsageError, match=r"results of version [39]+, and this perfkit reads up to 2"):
            read(text + lines)
    for odd in ("x", "3x", "1234567890", "-3", "3.0"):
        with pytest.raises(UsageError, match="line 2: column sweep_version"):
            read(text + f"k,1,fresh,ok,{odd}\n")


def test_rows_are_left_out_and_columns_added_without_another_change():
    """GIVEN a file of Windows with a mark and a column of its own THEN its lines are extended before their ends"""
    text = "\ufeffkey,repeat,isolation,outcome,note\r\nk,1,fresh,ok,a\r\nk,2,fresh,ok,b\r\n"
    found = read(text)
    missing = [name for name in sweep.COLUMNS if name not in ("key", "repeat", "isolation", "outcome")]

    # WHEN
    done = found.only(lambda row: row.repeat == 2).completed()

    # THEN
    header, line, end = done.text.split("\r\n")
    assert header == "\ufeffkey,repeat,isolation,outcome,note," + ",".join(missing)
    assert (line, end) == ("k,2,fresh,ok,b" + "," * len(missing), "")
    assert done.columns == (*found.columns, *missing)
    assert done.completed() is done
    assert read(done.text).rows == found.rows[1:]


def test_a_column_of_others_may_be_there_twice():
    assert read("key,repeat,isolation,outcome,n,n\nk,1,fresh,ok,1,2\n").columns[-2:] == ("n", "n")


@pytest.mark.parametrize("content", ["", "\0" * 5, HEADER[:1], HEADER[:-1], HEADER[:9] + "\0\0"])
def test_a_header_that_was_cut_short_is_an_empty_file(content):
    found = read(content)
    assert (found.columns, found.rows, found.torn, found.text) == (sweep.COLUMNS, [], 0, HEADER)


@pytest.mark.parametrize(("text", "line"), [("\0\n" + WHOLE, 1), (HEADER + "\0\n" + LINES[0], 2),
                                            (HEADER + LINES[0] + "k\0\n" + LINES[1], 3)])  # fmt: skip
def test_nul_bytes_before_the_last_line_are_damage_in_their_line(text, line):
    with pytest.raises(UsageError, match=rf"^r\.csv, line {line}: holds NUL bytes"):
        read(text)


def test_a_row_that_ends_before_its_version_is_refused_by_its_line():
    text = "key,repeat,isolation,outcome,sweep_version\n"
    for cells in ("k,1,fresh", "k,1,fresh,ok"):
        with pytest.raises(UsageError, match=f"line 2: {cells.count(',') + 1} values for 5 columns"):
            read(text + cells + "\n")
