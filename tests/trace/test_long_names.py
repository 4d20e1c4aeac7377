"""Names far longer than any real one: kept short, kept apart, and no work that grows faster than they do."""

from __future__ import annotations

import json
import re
import sys
import tracemalloc
from pathlib import Path

import pandas as pd
import pytest

from perfkit.analysis.kernels import fused, kernel_table, operator_table
from perfkit.analysis.kernels.spelling import spelling
from perfkit.analysis.reports import trace as trace_report
from perfkit.render.terminal import render
from perfkit.schema.table import Column, Table
from perfkit.trace.columns import LONGEST_NAME
from perfkit.trace.load import load
from tests.nsys_export import NsysExport


def kernels(path: Path, *names: str) -> Path:
    events = [
        {"ph": "X", "cat": "kernel", "name": name, "pid": 0, "tid": 7, "ts": 10 * row, "dur": 4, "args": {"stream": 7}}
        for row, name in enumerate(names)
    ]
    path.write_text(json.dumps({"schemaVersion": 1, "traceEvents": events}))
    return path


@pytest.mark.parametrize("kind", ["json", "sqlite"])
def test_names_that_differ_behind_what_is_kept_stay_apart(tmp_path: Path, kind: str) -> None:
    """GIVEN names of a million characters that differ in the last WHEN read THEN two, of the length of the bound"""
    names = ["k" * 10**6 + end for end in "ab"]
    if kind == "json":
        path = kernels(tmp_path / "t.json", *names, "short")
    else:
        export = NsysExport()
        for row, name in enumerate([*names, "short"]):
            export.kernel(name, 10 * row, 10 * row + 4, None)
        path = export.write(tmp_path / "t.sqlite")
    found = [str(name) for name in load(path).device_names()]
    assert [len(name) for name in found] == [LONGEST_NAME, LONGEST_NAME, 5]
    assert len(set(found)) == 3
    for name in found[:2]:
        assert re.fullmatch(r"k+\.\.\. \(1,000,001 characters, hash [0-9a-f]{16}\)", name)


def test_a_name_as_long_as_what_is_kept_is_whole(tmp_path: Path) -> None:
    names = ["k" * LONGEST_NAME, "k" * (LONGEST_NAME - 1)]
    assert load(kernels(tmp_path / "t.json", *names)).device_names().tolist() == names


def test_a_name_that_no_file_can_hold_is_kept_too(tmp_path: Path) -> None:
    """GIVEN half a surrogate pair in a long name WHEN read THEN it has a hash like any other"""
    [name] = load(kernels(tmp_path / "t.json", "\ud800" * 10**5)).device_names().tolist()
    assert len(name) == LONGEST_NAME


def test_no_pattern_looks_to_the_end_from_every_place() -> None:
    """GIVEN the patterns of categories THEN none has an endless `.*` behind a word, which costs the square"""
    tables = (operator_table.OPERATORS, kernel_table.QUALIFIED, kernel_table.KERNELS, kernel_table.GENERAL)
    for pattern in (*(row for table in tables for row in table), *fused.WEIGHTIEST):
        assert not re.search(r"\.[*+]", pattern.regex.pattern), pattern.regex.pattern


def test_lambdas_within_lambdas_stay() -> None:
    name = "{lambda(" * 500 + "int" + ")" * 500
    assert spelling(name + "(int, long)") == name


def test_a_wide_column_gives_way_at_once() -> None:
    """GIVEN names of 1,000 and of 50,000 characters WHEN shown in 120 THEN Python is called about as often for both"""
    calls = []
    for length in (1000, 50_000):
        frame = pd.DataFrame({"name": ["a" * length, "b" * length], "n": [1, 2]})
        table = Table("t", "T", (Column("name"), Column("n", "", "count")), frame)
        count = 0

        def called(*_: object) -> None:
            nonlocal count
            count += 1

        render(table, color=False)
        sys.setprofile(called)
        try:
            render(table, color=False)
        finally:
            sys.setprofile(None)
        calls.append(count)
    assert calls[1] < 2 * calls[0]


def test_a_path_of_many_parts_is_not_written_out_at_each(tmp_path: Path) -> None:
    """GIVEN a module 5,000 deep, of 10 kB WHEN shown THEN in some MB: all of its fronts together have 25"""
    path = "layers.3." + "a." * 5000 + "z"
    export = NsysExport().domain("perfkit", 1).range("step::0", 0, 900, domainId=1)
    export.range(path, 10, 800, domainId=1).launched("k", 20, 30, 40, correlation=1)
    trace = load(export.write(tmp_path / "t.sqlite"))
    trace_report.report(trace)  # whatever is loaded at its first use
    tracemalloc.start()
    try:
        report = trace_report.report(trace)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    layers = next(table for table in report.tables if table.name == "layers").frame
    assert layers["scope"].tolist()[0] == path
    assert peak < 10_000_000
