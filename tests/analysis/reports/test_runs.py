"""Runs of a folder, a row each."""

from __future__ import annotations

from perfkit.analysis.reports import runs as runs_report
from perfkit.render.terminal import render
from tests import runs


def test_each_run_is_a_row_with_what_tells_it_apart():
    """GIVEN a plain and a profiled run of steps of 20 and 40 ms WHEN listed THEN their folders, profilers and means"""
    profiled = runs.saved(config=runs.quick(profiler="torch", batch_size=4), status="interrupted")
    found = runs_report.report("traces", [("first", runs.saved()), ("second", profiled)])
    table = found.table("runs")
    assert table is not None
    wanted = ["run", "batch_size", "profiler", "mean_s", "status"]
    assert table.frame[wanted].to_numpy().tolist() == [
        ["first", 2, "none", 0.03, "ok"],
        ["second", 4, "torch", 0.03, "interrupted"],
    ]
    assert [finding.what for finding in found.findings] == ["2 runs, a row each: name one of them to see more"]


def test_people_can_copy_the_names_on_a_narrow_screen():
    name = "20261127-055958_tiny_forward-backward"
    found = runs_report.report("traces", [(name, runs.saved())], ["compare", "repeats"])
    [table] = found.seen_by("people").tables
    assert f"\n{name}  tiny " in render(table, width=80, color=False)
    assert found.findings[0].what.endswith("or a folder with runs of its own: compare, repeats")
