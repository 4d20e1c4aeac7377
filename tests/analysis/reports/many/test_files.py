"""The report of many files: sums of all, what was left out and why, and what differs."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from perfkit.analysis.reports.many.files import report
from perfkit.analysis.reports.many.folded import Folded, failed, folded, joined
from perfkit.analysis.time.trace_table import View
from perfkit.errors import UsageError
from tests.analysis import columns
from tests.analysis.reports.many import jobs


def whole(*more: Folded, slow: int = 0) -> Folded:
    parts = [folded(jobs.trace(n, slow=slow if n == 5 else 0), View(), rank=n, size=10) for n in range(6)]
    return joined([*parts, *more])


def test_the_sums_are_those_of_all_files():
    """GIVEN 6 files of two steps, each with a kernel of 40 to 42 ns and one of 5 THEN the tables have their sums"""
    made = report("job", whole(), View())
    kernels = made.table("kernels")
    assert kernels is not None
    assert kernels.frame["total_ns"].sum() == made.summary["total_ns"] == 2 * (2 * (40 + 41 + 42) + 6 * 5)
    assert kernels.frame["count"].sum() == 24
    assert (made.summary["files"], made.summary["ranks"], made.summary["hosts"], made.summary["bytes"]) == (6, 6, 3, 60)
    assert made.findings[0].what == "6 traces with 12 steps, 552.0 ns of device time; median step 100.0 ns"
    assert len(made.findings) == 1
    for name in ("outliers", "files"):
        columns.assert_regular(made.table(name))


def test_files_that_were_left_out_come_first_with_their_reason():
    made = report("job", whole(failed("job/x.json", "job/x.json: is not JSON")), View())
    table = made.table("files")
    assert table is not None
    assert table.frame["name"].tolist()[:2] == ["x.json", "host0_0.1747000000001.pt.trace.json"]
    assert table.frame["why"].tolist()[0] == "job/x.json: is not JSON"
    assert [finding.what for finding in made.findings if finding.rule.id == "files-left-out"] == [
        "1 of 7 files are left out: x.json: is not JSON"
    ]


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "ends in the middle: cut0.json; "),
        (7, "7 files end in the middle: cut0.json, cut1.json, cut2.json, cut3.json, cut4.json, and 2 more; "),
    ],
)
def test_files_that_end_in_the_middle_are_named(count: int, said: str):
    """GIVEN traces that were cut off WHEN added to the others THEN their sums count, and it is said whose are short"""
    short = [jobs.trace(9) for _ in range(count)]
    cut = [
        folded(
            replace(one, source=f"job/cut{n}.json", facts=msgspec.structs.replace(one.facts, truncated_at=99)), View()
        )
        for n, one in enumerate(short)
    ]
    found = [one for one in report("job", whole(*cut), View()).findings if one.rule.id == "truncated-file"]
    assert [one.what for one in found] == [f"{said}what is missing is not in the tables, so copy or record it again"]


def test_a_step_that_is_odd_in_one_file_is_named_with_the_file_and_what_it_takes():
    """GIVEN two files, of which one has a sixth step of nine times the others THEN it takes so long, of that file"""
    one, other = (folded(jobs.trace(n), View()) for n in range(2))
    long = replace(one.rows[0], step_walls=(100, 100, 100, 100, 100, 900))
    made = report("job", joined([Folded((long,), one.parts), other]), View())
    name = long.file.split("/")[-1]
    assert made.findings[1].what == f"{name} step 5 differs most: it takes 900.0 ns, median 100.0 ns"


def test_the_others_that_are_left_out_are_where_their_reasons_are_whole():
    """GIVEN more files than are named THEN the line names the table with --wide, without which reasons are cut"""
    bad = [failed(f"job/x{n}.json", f"job/x{n}.json: is not JSON") for n in range(9)]
    [said] = [one.what for one in report("job", whole(*bad), View()).findings if one.rule.id == "files-left-out"]
    assert said.endswith("; --table files --wide has the others")


def test_a_slow_rank_is_the_first_thing_to_know_after_the_totals():
    made = report("job", whole(slow=50), View())
    assert made.findings[1].what.startswith("host2_5.1747000000001.pt.trace.json differs most: step 150.0 ns a step")
    table = made.table("outliers")
    assert table is not None
    assert set(table.frame["rank"]) == {5}
    assert {"step", "compute"} <= set(table.frame["what"])


def test_a_file_that_spells_scopes_otherwise_is_left_out():
    [row], parts = (one := folded(jobs.trace(9), View())).rows, one.parts
    other = Folded((type(row)(file="job/other", spelling="ranges"),), {"ranges": next(iter(parts.values()))})
    made = report("job", whole(other), View())
    assert made.summary["files_left_out"] == 1
    assert "its scopes are ranges, those of more files" in made.findings[-1].what


def test_without_any_file_the_first_reason_is_said():
    with pytest.raises(UsageError, match="not JSON"):
        report("job", joined([failed("a", "a: not JSON"), failed("b", "b: empty")]), View())


def test_fewer_ranks_than_the_job_has_are_said_first():
    """GIVEN ranks 0 to 5 that say they are of 64 THEN it is said; not where one is of another job, or says nothing"""
    ranks = whole().rows
    for rows, said in (
        ([replace(row, world=64) for row in ranks], True), ([replace(row, world=6) for row in ranks], False),
        ([replace(row, world=64 + (row.rank or 0)) for row in ranks], False), (ranks, False),
    ):  # fmt: skip
        first = report("job", Folded(tuple(rows), whole().parts), View()).findings[0]
        wanted = "the traces of only 6 of 64 ranks were read, ranks 0-5: they say nothing of ranks 6-63"
        assert (first.what == wanted) == said
