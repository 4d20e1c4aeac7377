"""The tables of a sweep as people see them: columns, headings, order; from rows by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from perfkit.analysis.reports import sweep as sweep_report
from perfkit.errors import UsageError
from perfkit.render import terminal
from perfkit.schema.config import RunConfig, of_own
from perfkit.schema.table import Table
from tests import runs, sweeps
from tests.reports import lines_in, tables_for_people

QUICK: dict[str, Any] = dict(runs.QUICK, device="cpu", model_size="tiny")


def config(**changes):
    return RunConfig.of(**{**QUICK, **changes})


def row(*seconds: float, repeat: int = 1, outcome: Any = "", memory: int = 3 * 2**20, **changes):
    made = sweeps.row(config(**changes), *seconds, repeat=repeat)
    return dataclasses.replace(made, peak_memory_bytes=memory if seconds else None, outcome=outcome or made.outcome)


def shown(table: Table) -> list[str]:
    """The table's lines for people, without its title and rules."""
    lines = terminal.render(table, color=False, width=200, top=20).splitlines()
    return [line for line in lines[1:] if line.strip("─")]


def test_a_line_a_run_with_its_statistics():
    """GIVEN three steps of 20 ms and three of 40 WHEN shown THEN std sqrt(6 / 5) x 10 ms, 32 tokens / 30 ms"""
    assert shown(sweep_report.results([row(*[0.02, 0.04] * 3)], ["batch_size", "checkpoint"])) == [
        "batch  checkpoint  n  mean (ms)  std (ms)    CV%  median (ms)  median 95% low (ms)  median 95% high (ms)"
        "  tokens/s  peak memory (MiB)  outcome",
        "    2  no          6      30.00     10.95  36.5%        30.00                20.00                 40.00"
        "     1,067              3.000  ok",
    ]


def test_a_line_a_point_where_points_were_repeated():
    """GIVEN processes of 20 and 40 ms WHEN joined THEN sqrt(800) ms; 20 to 40 about 30 is a CV of sqrt(2) / 3"""
    # GIVEN
    rows = [row(*[0.02] * 6), row(*[0.04] * 6, repeat=2), row(repeat=3)]

    # WHEN
    table = sweep_report.results(rows, ["model_size"])

    # THEN
    head, line, *_ = shown(table)
    assert (table.name, table.title) == ("results", "Step time")
    for heading in ("size", "parameters", "processes", "median (", "95% low (", "95% high (", "CV% between",
                    "CV% within", "tokens/s", "peak memory (MiB)", "failed"):  # fmt: skip
        assert heading in head
    assert line.split()[:3] == ["tiny", "16,736", "2"]
    assert line.split()[-5:] == ["47.1%", "0.0%", "1,131", "3.000", "1"]


def test_columns_that_nobody_asked_for_may_be_left_out_on_a_narrow_terminal():
    # GIVEN
    once, twice = [row(0.1)], [row(0.1), row(0.1, repeat=2)]

    # THEN
    for rows, spare in ((once, ["mean_s", "std_s", "tokens_per_s"]), (twice, ["within_cv", "tokens_per_s"])):
        assert [c.name for c in sweep_report.results(rows, []).columns if c.spare] == spare
        asked = sweep_report.results(rows, [], ["median_s", "tokens_per_s"])
        assert not any(column.spare for column in asked.columns)
        assert list(asked.frame) == ["median_s", "tokens_per_s"]


def test_columns_of_a_repeated_sweep_are_of_the_point_or_of_its_configuration():
    rows = [row(0.1), row(0.1, repeat=2)]
    table = sweep_report.results(rows, [], ["size", "parameters", "context", "processes", "outcome", "batch", "pass"])
    assert table.frame.to_dict("records") == [
        {"model_size": "tiny", "parameters": 16_736, "context_length": 16, "processes": 2, "outcome": "ok",
         "batch_size": 2, "pass_type": "forward-backward"}
    ]  # fmt: skip
    with pytest.raises(UsageError, match="no such column"):
        sweep_report.results(rows, [], ["mean_s"])  # of one run, not of a point
    with pytest.raises(UsageError, match="no such column"):
        sweep_report.results(rows[:1], [], ["between_cv"])


@pytest.mark.parametrize(("name", "repeats", "there"), [("mean_s", 1, True), ("mean_s", 2, False),
                                                        ("processes", 1, False), ("processes", 2, True)])  # fmt: skip
def test_columns_can_be_checked_before_anything_runs(name, repeats, there):
    if there:
        sweep_report.check_columns([name], repeats)
    else:
        with pytest.raises(UsageError, match=f"--columns {name}"):
            sweep_report.check_columns([name], repeats)


def test_all_columns_are_there_for_programs_and_headed_in_words():
    # GIVEN
    [complete] = sweep_report.report([row(0.1)], []).seen_by("scripts").tables

    # THEN
    heading = {column.name: column.heading for column in complete.columns}
    assert (heading["sweep_version"], heading["d_ff"], heading["warmup_steps"]) == (
        "sweep version",
        "d ff",
        "warmup steps",
    )
    assert (heading["sdpa_backend"], heading["device_name"]) == ("sdpa backend", "device name")
    assert (heading["reserved_bytes"], heading["available_bytes"]) == ("reserved", "available")
    kinds = {column.name: (column.unit, column.kind) for column in complete.columns}
    assert kinds["context_length"] == ("", "count")
    assert kinds["reserved_bytes"] == ("B", "bytes")
    assert kinds["parameters"] == ("params", "params")
    assert kinds["process_s"] == ("s", "time")
    assert kinds["tokens_per_s"] == ("/s", "rate")
    assert kinds["cv"] == ("1", "share")
    assert (complete.name, complete.title, len(complete)) == ("sweep", "Sweep", 1)


def test_without_anything_that_varies_the_plain_columns_tell_a_point():
    assert list(sweep_report.results([row(0.1)], []).frame)[:5] == [
        "model_size", "parameters", "context_length", "batch_size", "pass_type"]  # fmt: skip


def test_a_sweep_that_has_nothing_yet_has_the_columns_of_single_runs():
    assert "mean_s" in sweep_report.results([], ["batch_size"]).frame


def test_rows_are_sorted_by_size_then_by_their_fields_then_by_repeat():
    # GIVEN
    rows = [
        row(0.4, model_size="small", d_model=16, num_layers=200, batch_size=2),  # narrow, and yet the largest
        row(0.3, batch_size=10),
        row(0.2, batch_size=2, num_threads=None),
        row(0.1, batch_size=1, num_threads=2),
    ]

    # THEN
    table = sweep_report.results(rows, ["model_size", "batch_size"])
    assert table.frame[["model_size", "batch_size"]].to_numpy().tolist() == [
        ["tiny", 1], ["tiny", 2], ["tiny", 10], ["small", 2]]  # fmt: skip


def test_repeats_of_a_warm_up_study_have_lines_of_their_own_in_order():
    # GIVEN
    rows = [row(0.1, repeat=2, warmup_steps=1), row(0.2, repeat=1, warmup_steps=1), row(repeat=1, warmup_steps=0)]

    # WHEN
    study = sweep_report.warmup_study(rows, ["warmup_steps", "batch_size"])

    # THEN
    assert list(study.frame)[:4] == ["batch_size", "repeat", "warmup_steps", "steps"]
    assert study.frame[["repeat", "first_step_s"]].to_numpy().tolist() == [[1, 0.2], [2, 0.1]]
    assert "repeat" not in sweep_report.warmup_study(rows[1:2], ["warmup_steps"]).frame
    assert [column.name for column in study.columns if column.note] == ["first_step_s"]


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([], "no results yet"), ([row(0.1)], "1 result: 1 ok"),
        ([row(0.1), row(0.1, repeat=2), row(batch_size=8, outcome="timeout")],
         "3 results: 2 ok, 1 stopped at the time limit"),
        ([row(outcome=one) for one in ("error", "host-killed", "predicted-oom", "spilled")],
         "4 results: 1 spilled into system memory, 1 predicted not to fit and not run (--force runs them),"
         " 1 killed from outside, 1 ended with an error"),
    ],
)  # fmt: skip
def test_outcomes_are_counted_in_words(rows, line):
    assert lines_in(sweep_report.report(rows, [])) == (line,)


def test_the_summary_counts_and_says_what_varies():
    summary = sweep_report.report([row(0.1), row(batch_size=8)], ["batch_size"]).summary
    assert summary == {"results": 2, "outcomes": {"ok": 1, "oom": 1}, "varied": ["batch_size"]}


@pytest.mark.parametrize(
    ("configs", "varied"),
    [
        ([{"batch_size": 1}, {"batch_size": 2}], ("batch_size",)),
        ([{"seed": 1}, {"seed": 1}], ()),
        ([{"num_threads": None}, {"num_threads": 2}], ()),  # what a row leaves open tells nothing
        ([{"device": "auto"}, {"device": "cpu"}], ()),
        ([{"d_model": 32}, {"d_model": 64}], ("d_model",)),
    ],
)
def test_what_a_file_varies_is_found(configs, varied):
    assert sweep_report.varied([dataclasses.replace(row(0.1), config=config(**one)) for one in configs]) == varied


def test_the_shape_of_a_named_size_does_not_vary_by_itself():
    # GIVEN
    def of(**fields):
        return dataclasses.replace(row(0.1), config=RunConfig.of(context_length=64, **fields).resolved("cpu"))

    sized = [of(model_size=size) for size in ("tiny", "small")]
    own = of(model_size="tiny", d_ff=7)

    # THEN
    assert sweep_report.varied(sized) == ("model_size",)
    assert "d_ff" in sweep_report.varied([*sized, own])
    assert sweep_report.varied([dataclasses.replace(row(0.1), config=RunConfig.of(seed=n)) for n in (1, 2)]) == (
        "seed",
    )


def test_failures_show_the_columns_that_hold_something():
    # GIVEN
    rows = [
        dataclasses.replace(row(batch_size=4, outcome="predicted-oom", repeat=n), phase=None, requested_bytes=None,
                            predicted_bytes=2**30) for n in (1, 2)
    ]  # fmt: skip
    rows += [row(batch_size=8, outcome="error"), row(batch_size=2, outcome="timeout"), row(batch_size=2, outcome="ok")]
    rows.append(row(0.1, batch_size=2, outcome="spilled"))

    # WHEN
    memory, other = sweep_report.failures(rows, ["batch_size"])

    # THEN
    assert list(memory.frame) == [
        "batch_size",
        "outcome",
        "available_bytes",
        "predicted_bytes",
        "try_first",
        "try_second",
    ]
    assert memory.frame["batch_size"].tolist() == [4]
    assert other.frame["outcome"].tolist() == ["timeout", "error"]
    assert sweep_report.failures(rows[-2:], ["batch_size"]) == []
    heading = {column.name: column.heading for column in memory.columns}
    assert (heading["try_first"], heading["try_second"], heading["predicted_bytes"]) == ("try", "or", "predicted")


def own(*arguments: str, **fields: Any) -> RunConfig:
    return of_own({"model": "m:a", "model_arg": arguments, "input": "m:b"}, device="cpu", **fields)


def test_arguments_of_an_own_model_are_columns_under_their_names():
    """GIVEN points of two arguments, one out of memory WHEN shown THEN each has its column, and none is of tokens"""
    rows = [
        sweeps.row(own("hidden=8", "act=relu"), 0.02), sweeps.row(own("hidden=2", "act=gelu"), 0.01),
        sweeps.row(own("hidden=99", "act=gelu")),
    ]  # fmt: skip
    varied = sweep_report.varied(rows)
    assert varied == ("model_arg.hidden", "model_arg.act")
    results, failed = tables_for_people(sweep_report.report(rows, varied))
    assert [column.heading for column in results.columns][:3] == ["hidden", "act", "n"]
    assert results.columns[0].kind == "count"
    assert results.frame["model_arg.hidden"].tolist() == [2, 8]
    assert "tokens_per_s" not in results.frame.columns
    assert (failed.frame["model_arg.hidden"].tolist(), failed.columns[0].heading) == ([99], "hidden")


def test_columns_of_arguments_are_chosen_by_their_names():
    rows = [
        sweeps.row(own("hidden=8", "seed=1", seed=seed), 0.02, repeat=repeat) for seed in (1, 2) for repeat in (1, 2)
    ]
    results = sweep_report.results(rows, ("seed",), ("hidden", "seed", "model arg seed", "median_s"))
    assert [column.name for column in results.columns] == ["model_arg.hidden", "seed", "model_arg.seed", "median_s"]
    with pytest.raises(UsageError, match=r"--columns hiden: there is no such column \(did you mean hidden\?\)"):
        sweep_report.results(rows, ("seed",), ("hiden",))


def test_a_single_point_of_an_own_model_says_which_it_is():
    [results] = tables_for_people(sweep_report.report([sweeps.row(own("hidden=8"), 0.02)], ()))
    assert results.frame.iloc[0][["model", "model_arg", "pass_type"]].tolist() == [
        "m:a", "hidden=8", "forward-backward"]  # fmt: skip


def test_what_failed_everywhere_is_still_a_table():
    results, failed = tables_for_people(sweep_report.report([sweeps.row(own("hiden=8"))], ("model_arg.hiden",)))
    assert results.frame.empty
    assert results.columns[0].heading == failed.columns[0].heading == "hiden"
