"""What is left of a file, and of several: the same sums in whatever grouping, as those of all files at once."""

from __future__ import annotations

import functools
import random

import pandas as pd
import pytest

from perfkit.analysis.reports.many import files
from perfkit.analysis.reports.many.folded import FOLDS, Folded, failed, folded, host_of, joined
from perfkit.analysis.reports.trace import account_of
from perfkit.analysis.time.cells import BY_STEP
from perfkit.analysis.time.partial import Partial, merge
from perfkit.analysis.time.trace_table import View
from tests.analysis.reports.many import jobs

VIEW = View()


@functools.cache
def parts(count: int) -> tuple[Folded, ...]:
    return tuple(folded(jobs.trace(number, steps=1 + number % 3), VIEW) for number in range(count))


def assert_same(one: Folded, other: Folded) -> None:
    assert one.rows == other.rows
    assert one.parts.keys() == other.parts.keys()
    for key, partial in one.parts.items():
        assert partial.facts == other.parts[key].facts
        for fold in FOLDS:
            pd.testing.assert_frame_equal(partial.of(fold), other.parts[key].of(fold))


def test_a_row_has_the_numbers_of_its_trace():
    """GIVEN two steps of 100 ns with kernels of 41 and 5 ns THEN they are in the row, by rank and host of the name"""
    [row] = folded(jobs.trace(1), VIEW, size=77, rank=1).rows
    assert (row.rank, row.host, row.bytes, row.step_walls, row.total_ns) == (1, "host0", 77, (100, 100), 92)
    assert row.times["step"] == 100
    assert row.times["compute"] == 46
    assert sum(row.times.values()) - row.times["step"] == 100  # every instant of a step is something


@pytest.mark.parametrize("seed", range(2))
def test_files_joined_in_any_grouping_are_the_same(seed: int) -> None:
    """GIVEN 10 files WHEN they are joined in groups of any size THEN all is the same, to the last bit"""
    several, rng = parts(10), random.Random(seed)
    grouped = list(several)
    while len(grouped) > 1:
        at = rng.randrange(len(grouped) - 1)
        width = rng.randint(2, 5)
        grouped[at : at + width] = [joined(grouped[at : at + width])]
    assert_same(grouped[0], joined(several))


@functools.cache
def at_once() -> tuple[Partial, Partial]:
    """The sums of 12 files, folded and joined, and their whole partials merged."""
    whole = merge([account_of(jobs.trace(number, steps=1 + number % 3), VIEW).partial for number in range(12)])
    several = parts(12)
    [sums] = joined([joined(several[:8]), joined(several[8:])]).parts.values()
    return sums, whole


@pytest.mark.parametrize("name", [table.name for table in files.TABLES])
def test_tables_are_those_of_all_files_merged_at_once(name: str) -> None:
    """GIVEN 12 files THEN a table of their folded sums is that of their whole partials merged"""
    sums, whole = at_once()
    [table] = (table for table in files.TABLES if table.name == name)
    ours, theirs = table.of(sums, VIEW), table.of(whole, VIEW)
    assert (ours is None) == (theirs is None)
    if ours and theirs:
        assert ours.table.steps == theirs.table.steps
        pd.testing.assert_frame_equal(ours.table.frame, theirs.table.frame)


def test_sums_do_not_grow_with_the_number_of_steps():
    few, many = (folded(jobs.trace(0, steps=steps), VIEW) for steps in (2, 50))
    assert [len(part.of(BY_STEP)) for one in (few, many) for part in one.parts.values()] == [2, 2]


def test_files_that_spell_scopes_otherwise_stay_apart():
    other = Folded((jobs_row := parts(1)[0]).rows, {"otherwise": next(iter(jobs_row.parts.values()))})
    found = joined([*parts(2), other, failed("x", "not there")])
    assert len(found.parts) == 2
    assert [row.why for row in found.rows] == ["", "", "", "not there"]


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("job/node-7_1234.1747000000001.pt.trace.json.gz", "node-7"),
        ("s3://b/job/node_7_1234.pt.trace.json", "node_7"),
        ("rank3.json.gz", ""),
    ],
    ids=["handler", "no-time", "other"],
)
def test_the_host_is_in_the_names_of_torchs_handler(name: str, host: str) -> None:
    assert host_of(name) == host
