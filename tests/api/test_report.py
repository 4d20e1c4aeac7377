"""`perfkit.report` and `perfkit.compare`, as somebody at a prompt or in a notebook meets them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import perfkit
from perfkit.api import report as api
from perfkit.errors import UsageError
from perfkit.schema import record as records
from perfkit.schema.page.sections import Page
from perfkit.schema.table import Table
from tests import runs, sweeps
from tests.builders import TraceBuilder, device_step
from tests.commands.test_analyze import run as analyze
from tests.commands.test_analyze import trace
from tests.docs.pages import ROOT

__all__ = ["trace"]
SAMPLE = ROOT / "traces" / "samples" / "tiny_train_cpu"


def run_folder(path: Path, *seconds: float) -> Path:
    path.mkdir(parents=True)
    records.save(runs.saved(steps=sweeps.steps(*seconds)), path)
    return path


def test_a_trace_by_its_path_or_loaded_is_the_same(trace):
    """GIVEN a trace of one kernel of 20.5 us WHEN reported by path, and as perfkit.load gives it THEN its numbers"""
    for report in (perfkit.report(trace), perfkit.report(str(trace)), perfkit.report(perfkit.load(trace))):
        assert report.title == trace.name
        assert report.summary["kernel_time_ns"] == 20_500
        assert report.table("kernels").frame["total_ns"].tolist() == [20_500]
        assert report.findings[0].rule.id == "trace-totals"


def test_tables_say_their_units(trace):
    """GIVEN a table WHEN asked for its frame THEN attrs has a unit for each column, and for no other"""
    frame = perfkit.report(trace).table("layers").frame
    assert list(frame.attrs) == list(frame.columns)
    units = {name: frame.attrs[name] for name in ("scope", "count", "total_ns", "share")}
    assert units == {"scope": "", "count": "", "total_ns": "ns", "share": "1"}


def test_a_frame_is_the_readers_own(trace):
    """GIVEN a reader who changes a frame WHEN the table is asked for again THEN it is as it was"""
    report = perfkit.report(trace)
    frame = report.table("layers").frame
    frame["total_ns"] = 0
    assert report.table("layers").frame["total_ns"].tolist() == [20_500]


def test_tables_are_computed_when_they_are_asked_for(trace, monkeypatch):
    """GIVEN a report WHEN one table of it is asked for THEN no other was built, and no page was made"""
    built: list[str] = []
    check = Table.__post_init__

    def note(table: Table) -> None:
        built.append(table.name)
        check(table)

    monkeypatch.setattr(Table, "__post_init__", note)
    report = perfkit.report(trace)
    repr(report)
    assert built == []
    report.table("phases")
    assert set(built) == {"phases"}


def test_a_table_that_is_not_there_is_refused_with_what_was_meant(trace):
    report = perfkit.report(trace)
    said = r"no table 'kernel' here \(did you mean kernels\?\): choose from phases, "
    for ask in (report.table, report.show):
        with pytest.raises(UsageError, match=said):
            ask("kernel")


def test_findings_are_a_table_too(trace):
    report = perfkit.report(trace)
    rules = report.table("findings").frame["rule"].tolist()
    assert rules == [finding.rule.id for finding in report.findings]
    assert len(report.table("integrity").frame) == 0


def test_a_report_without_a_trace_has_no_table_of_its_integrity(tmp_path):
    with pytest.raises(UsageError, match="no table 'integrity' here"):
        perfkit.report(run_folder(tmp_path / "run", 0.1, 0.1)).table("integrity")


@pytest.mark.parametrize("tables", [(), ("kernels", "phases")])
def test_show_prints_what_analyze_prints(trace, capsys, tables):
    """GIVEN a trace WHEN shown THEN the lines are those of perfkit analyze, with and without names of tables"""
    _, expected, _ = analyze(capsys, str(trace), "--top", "3", *(("--table", *tables) if tables else ()))
    perfkit.report(trace).show(*tables, top=3)
    assert capsys.readouterr().out == expected


def test_arguments_are_the_flags_of_analyze(capsys):
    """GIVEN the sample's trace WHEN one step's forward is asked for, by layer THEN what the flags give"""
    [file] = SAMPLE.glob("*.gz")
    flags = ("--steps", "1", "--phase", "forward", "--by", "layer", "--no-fold")
    _, expected, _ = analyze(capsys, str(file), "--format", "json", *flags)
    report = perfkit.report(file, steps=1, phase="forward", by="layer", fold=False)
    assert report.summary["total_ns"] == json.loads(expected)["summary"]["total_ns"]
    rows = [(row["scope"], row["total_ns"]) for row in json.loads(expected)["tables"]["groups"]["rows"]]
    frame = report.table("groups").frame
    assert list(zip(frame["scope"], frame["total_ns"], strict=True)) == rows


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"phase": "forwards"}, r"phase='forwards' \(did you mean forward\?\): choose from forward, recompute, "),
        ({"by": "layers"}, r"by='layers' \(did you mean layer\?\): choose from layer, module, "),
        ({"steps": "last"}, "steps='last': choose 'auto', 'all', or a step's number"),
        ({"steps": -1}, "steps=-1: choose"),
        ({"depth": 0}, "depth=0: must be at least 1"),
    ],
)
def test_arguments_that_there_are_not_are_refused(arguments, said, trace):
    with pytest.raises(UsageError, match=said):
        perfkit.report(trace, **arguments)


def test_a_path_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match=r"nowhere\.json"):
        perfkit.report("nowhere.json")


def test_a_run_its_record_and_several_runs(tmp_path):
    """GIVEN runs of steps of 0.1 s WHEN reported as folder, file, record, folder of runs THEN the mean is 0.1 s"""
    folder = run_folder(tmp_path / "several" / "1", 0.1, 0.1)
    run_folder(tmp_path / "several" / "2", 0.1, 0.1)
    for source in (folder, folder / "record.json", records.load(folder)):
        report = perfkit.report(source)
        assert report.table("runs").frame["mean_s"].tolist() == pytest.approx([0.1])
        assert "Step times" in report._repr_html_()
    several = perfkit.report(tmp_path / "several")
    assert "Processes" in several._repr_html_()
    assert "process" in " ".join(several.names)


def test_a_profiled_run_has_the_tables_of_its_steps_and_of_its_trace():
    """GIVEN the sample WHEN reported THEN `steps` is the record's table, and `layers` the trace's"""
    report = perfkit.report(SAMPLE)
    assert "wall_s" in report.table("steps").frame
    assert report.table("layers").frame["total_ns"].sum() == report.summary["total_ns"]


def test_it_is_saved_in_the_format_of_the_extension(trace, tmp_path):
    """GIVEN a report WHEN saved under each extension THEN a page, the JSON of analyze, a table, text; else refused"""
    report = perfkit.report(trace)
    page = report.save(tmp_path / "out.html").read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert f"perfkit.report(&#x27;{trace}&#x27;)" in page
    assert json.loads(report.save(tmp_path / "out.json").read_text("utf-8"))["summary"] == report.summary
    assert "gemm" in report.save(str(tmp_path / "out.csv")).read_text("utf-8")
    assert "a step" in report.save(tmp_path / "out.md").read_text("utf-8")
    assert report.save(tmp_path / "out.xlsx").read_bytes().startswith(b"PK")
    with pytest.raises(UsageError, match=r"use \.html, \.htm, \.json, "):
        report.save(tmp_path / "out.pdf")


def test_the_page_is_made_once(trace, monkeypatch):
    report = perfkit.report(trace)
    made: list[str] = []

    def note(**parts: Any) -> Page:
        made.append(parts["title"])
        return Page(**parts)

    monkeypatch.setattr(api, "Page", note)
    assert report._repr_html_() == report._repr_html_()
    assert len(made) == 1


def test_its_repr_is_one_short_line():
    """GIVEN a trace whose name has control characters THEN one line without them"""
    made = perfkit.report(device_step().build())
    assert repr(made).startswith("<perfkit.report(")
    assert "tables; .show() prints it" in repr(made)
    odd = perfkit.report(TraceBuilder().step(0, 0, 100).range("aten::mm", 10, 20).build())
    assert "\n" not in repr(odd)
    assert len(repr(odd)) < 200


def test_two_runs_are_compared_with_a_verdict(tmp_path):
    """GIVEN A of 0.1 s and B of 0.2 s a step, five runs of each WHEN compared THEN B is slower; the page has pairs"""
    for side, seconds in (("a", 0.1), ("b", 0.2)):
        for number in range(5):
            run_folder(tmp_path / side / str(number), *(seconds * (1 + 0.001 * number * step) for step in range(3)))
    compared = perfkit.compare(tmp_path / "a", tmp_path / "b")
    assert repr(compared).startswith("<perfkit.compare(")
    [ratio] = compared.table("comparison").frame["ratio"]
    assert ratio == pytest.approx(2.0, rel=0.01)
    assert "B against A" in compared._repr_html_()


def test_two_traces_are_set_side_by_side(trace, tmp_path):
    other = tmp_path / "other.pt.trace.json.gz"
    other.write_bytes(trace.read_bytes())
    assert "phases" in perfkit.compare(trace, other).names


def test_what_cannot_be_compared_is_refused(trace, tmp_path):
    """GIVEN a trace and a run; a run on both sides THEN the reason"""
    folder = run_folder(tmp_path / "runs" / "1", 0.1, 0.1)
    with pytest.raises(UsageError, match="one is a trace: compare traces with traces"):
        perfkit.compare(trace, folder)
    with pytest.raises(UsageError, match="is on both sides"):
        perfkit.compare(tmp_path / "runs", folder)
