"""What analyze prints of a trace: which tables, which scalars, and why time has no scope."""

from __future__ import annotations

import typing
from pathlib import Path

import msgspec
import pytest

from perfkit.analysis.attribution.attribute import Phase, attribute
from perfkit.analysis.findings.integrity import NO_LAUNCH, UNKNOWN_KERNELS
from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.findings.performance.look import Look
from perfkit.analysis.findings.trace import UNATTRIBUTED_TIME
from perfkit.analysis.reports.trace import TABLES, View, findings_of, report
from perfkit.analysis.time.account import Account, Selection, account_for
from perfkit.analysis.time.cells import unattributed
from perfkit.analysis.time.partial import Partial
from perfkit.analysis.time.summary import Scalars
from perfkit.analysis.time.trace_table import By, TraceTable
from perfkit.commands.console import show
from perfkit.render.findings import lines
from perfkit.schema.finding import Rule
from perfkit.schema.report import Report
from perfkit.schema.table import Table
from perfkit.trace.columns import HostKind, Trace
from perfkit.trace.load import load
from tests.builders import TraceBuilder, device_step, host_step
from tests.nsys_export import NsysExport
from tests.reports import evidence_that_misses, lines_in
from tests.reports import tables_for_people as people
from tests.reports import tables_for_scripts as scripts


def account(trace: Trace, **selection) -> Account:
    return account_for(trace, attribute(trace), Selection(**selection))


def nsys_trace(folder: Path) -> Trace:
    export = NsysExport().domain("perfkit", 1).range("step::0", 0, 100, domainId=1).range("fc", 10, 30, domainId=1)
    return load(export.range("fc", 200, 205, domainId=1).write(folder / "a.sqlite"))


def remarks(account: Account) -> list[str]:
    return lines(findings_of(account))


PEOPLE = ["phases", "categories", "groups", "kernels"]
SCRIPTS = [*PEOPLE, "layers"]
SOMETIMES = ["copies", "ranges", "threads"]


def names(tables) -> list[str]:
    """Those of the tables that this file is about."""
    return [table.name for table in tables if table.name in (*SCRIPTS, *SOMETIMES)]


def test_tables_of_device_work():
    plain = report(TraceBuilder().launched("k", 0, 5, 10).build())
    copying = report(device_step().build())
    assert (names(scripts(plain)), names(people(plain))) == ([*SCRIPTS, "copies"], PEOPLE)
    assert (names(scripts(copying)), names(people(copying))) == (
        [*SCRIPTS, "copies", "ranges"],
        [*PEOPLE, "copies"],
    )


def test_tables_of_several_threads():
    """GIVEN a second thread WHEN reported THEN scripts have the threads, people only where they are the account"""
    device = report(device_step().range("other", 0, 10, thread=1).build())
    host = report(host_step().range("other", 0, 10, thread=1).build())
    assert (names(scripts(device))[-1], names(people(device))[-1]) == ("threads", "copies")
    assert (names(scripts(host)), names(people(host))) == (
        [*SCRIPTS, "ranges", "threads"],
        [*PEOPLE, "threads"],
    )


def test_tables_of_host_times():
    one = report(host_step().build())
    assert (names(scripts(one)), names(people(one))) == ([*SCRIPTS, "ranges"], PEOPLE)


def test_tables_of_an_export_without_device_work(tmp_path: Path):
    trace = nsys_trace(tmp_path)
    found = report(trace)
    assert (names(scripts(found)), names(people(found))) == (
        [*SCRIPTS, "ranges"],
        ["phases", "groups", "ranges"],
    )
    everywhere = report(trace, View(Selection(steps="all")))
    forward = report(trace, View(Selection(phase=Phase.FORWARD)))
    counts = [dict(zip(one.table("ranges").frame["name"], one.table("ranges").frame["count"], strict=True))
              for one in (found, everywhere, forward)]  # fmt: skip
    assert counts == [{"step::*": 1, "fc": 1}, {"step::*": 1, "fc": 2}, {"fc": 1}]
    assert "no GPU work was captured" in lines_in(found)[0]


def test_a_report_has_its_tables_by_name():
    found = report(host_step().build())
    assert found.table("layers") is next(table for table in found.tables if table.name == "layers")
    assert found.table("nonsense") is None
    assert lines_in(Report("nothing", {})) == ()


def test_views_fold_layers_by_component_unless_told_otherwise():
    b = TraceBuilder()
    for number in range(2):
        b.module(f"layers.{number}", 100 * number, 100 * number + 90).launched("k", 100 * number + 10, 10, 20)
    trace = b.build()
    assert report(trace).table("groups").frame["scope"].tolist() == ["layers.*"]
    shown = report(trace, View(by="module", fold=False)).table("groups")
    assert shown.title == "By module, self time"
    assert shown.frame["scope"].tolist() == ["layers.0", "layers.1"]


def test_a_tree_that_does_not_fit_is_said():
    trace = TraceBuilder().range("nn.Module: Net_0", 0, 50, HostKind.PYTHON).launched("k", 5, 10, 20).build()
    line = "the given module tree does not fit the trace"
    why = "a module frame of the trace is not in it: Net_0"
    assert f"{line}, so it is not used: {why}" in lines_in(report(trace, View(modules={"x": "Other"})))
    assert not any(line in said for said in lines_in(report(trace, View(modules={"net": "Net"}))))
    assert not any(line in said for said in lines_in(report(trace)))
    partly = lines_in(report(trace, View(modules={"net": "Net", "other": "Net"})))
    assert any(said.startswith(f"{line}: the trace has 1 of 2 Net: ") for said in partly)


# --- reasons ------------------------------------------------------------------------------------------------------


def test_every_reason_for_time_without_a_scope():
    """GIVEN kernels without a scope for each reason, of different lengths WHEN asked THEN the longest comes first"""
    b = TraceBuilder().module("net", 0, 50).launched("outside", 60, 0, 1).event("unlaunched", -9, -7)
    b.range("aten::mm", 70, 80, sequence=3)
    b.node("MmBackward0", 100, 110, 3, thread=1).launched("unscoped", 105, 0, 4, thread=1)
    b.node("LostBackward0", 120, 130, 9, thread=1).launched("unlinked", 125, 0, 8, thread=1)
    b.range("finaliser", 140, 150, thread=1).launched("engine", 145, 0, 16, thread=1)
    b.node("LostBackward0", 200, 230, 9, thread=1).range("aten::mul", 205, 220, sequence=12, thread=1)
    b.launched("again", 210, 0, 32, thread=1)
    assert unattributed(account(b.build()).partial) == {
        "unlinked": 40,
        "engine": 16,
        "unscoped": 4,
        "unlaunched": 2,
        "outside": 1,
    }
    assert list(unattributed(account(b.build()).partial)) == ["unlinked", "engine", "unscoped", "unlaunched", "outside"]


def test_accumulation_that_goes_with_a_node_outside_every_scope_is_unscoped():
    b = TraceBuilder().module("net", 0, 50).range("aten::mm", 70, 80, sequence=3)
    b.node("MmBackward0", 100, 110, 3, thread=1)
    b.range("autograd::engine::evaluate_function: torch::autograd::AccumulateGrad", 120, 140, thread=1)
    assert unattributed(account(b.launched("add", 130, 0, 8, thread=1).build()).partial) == {"unscoped": 8}


def test_perfkits_own_search_is_a_reason_on_the_host():
    b = TraceBuilder().step(0, 0, 100).module("net", 0, 90).range("perfkit.phase::hooks", 60, 80)
    assert unattributed(account(b.build()).partial) == {"hooks": 20, "outside": 10}
    b.range("perfkit.phase::hooks", 95, 97).launched("k", 96, 0, 5)
    assert unattributed(account(b.build()).partial) == {"outside": 5}


def test_reasons_of_no_time_are_not_given():
    b = TraceBuilder().module("net", 0, 50).launched("k", 60, 5, 5).launched("k", 70, 10, 13).event("early", -5, -5)
    assert unattributed(account(b.build()).partial) == {"outside": 3}


# --- what findings say for scripts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("by", typing.get_args(By))
def test_evidence_is_in_the_tables(by):
    """GIVEN time without a scope, without a launch, in kernels of no known name THEN rows show it, however grouped"""
    b = device_step().event("mystery", -30, -20)
    found = report(b.build(), View(by=by))
    assert {UNATTRIBUTED_TIME, NO_LAUNCH, UNKNOWN_KERNELS} <= {one.rule for one in found.findings if one.evidence}
    assert evidence_that_misses(found) == []


# --- what people are spared ---------------------------------------------------------------------------------------


def test_phases_that_do_not_occur_are_for_scripts():
    """GIVEN a trace of forward alone WHEN shown THEN people see that phase, scripts all seven"""
    found = report(TraceBuilder().module("net", 0, 50).launched("k", 5, 10, 20).build())
    people, scripts = found.seen_by("people").table("phases"), found.seen_by("scripts").table("phases")
    assert people is not None
    assert scripts is not None
    assert people.frame["phase"].tolist() == ["forward"]
    assert scripts.frame["phase"].tolist() == [phase.label for phase in Phase]


# --- what is computed -----------------------------------------------------------------------------------------------


def counting(calls: list[str], table: TraceTable) -> TraceTable:
    """The table, which notes when it is made."""

    def build(partial: Partial, view: View) -> Table:
        calls.append(table.name)
        return table.build(partial, view)

    return msgspec.structs.replace(table, build=build)


@pytest.mark.parametrize("form", typing.get_args(show.Format))
@pytest.mark.parametrize("name", [*SCRIPTS, "copies"])
def test_the_table_that_is_asked_for_is_the_only_one_computed(capsys, name, form):
    """GIVEN a trace WHEN one table is shown in any form THEN that one has been computed, once"""
    calls: list[str] = []
    made = report(device_step().build(), tables=[counting(calls, table) for table in TABLES])
    show.write(show.chosen([made], (name,)), form, top=20)
    assert capsys.readouterr().out
    assert calls == [name]


def test_findings_are_shown_without_any_table(capsys):
    """GIVEN a trace WHEN the tables that are made of findings are asked for THEN no other has been computed"""
    calls: list[str] = []
    made = report(device_step().build(), tables=[counting(calls, table) for table in TABLES])
    show.write(show.chosen([made], ("findings", "integrity")), "table", top=20)
    assert "<unattributed>: " in capsys.readouterr().out
    assert calls == []


def test_csv_computes_the_main_table_alone(capsys):
    calls: list[str] = []
    made = report(device_step().build(), tables=[counting(calls, table) for table in TABLES])
    show.write(show.chosen([made], ()), "csv", top=None)
    assert "--table chooses another: phases, categories" in capsys.readouterr().err
    assert calls == ["kernels"]


def test_a_report_without_device_work_has_no_table_of_copies_to_compute():
    calls: list[str] = []
    made = report(host_step().build(), tables=[counting(calls, table) for table in TABLES])
    assert "copies" not in made.names
    without = report(
        TraceBuilder().launched("k", 0, 5, 10).build(), tables=[counting(calls, table) for table in TABLES]
    )
    assert "copies" in without.names
    assert "copies" not in without.seen_by("people").names
    assert calls == []


def test_what_looks_for_findings_runs_once():
    """GIVEN a trace WHEN its report is read again and again, in parts and as a whole THEN each check has run once"""
    calls: list[str] = []

    def integrity(account: Account) -> None:
        calls.append("integrity")

    def find(account: Account, scalars: Scalars) -> None:
        calls.append("finding")

    def look(case: Case) -> None:
        calls.append("performance")

    looks = (Look(Rule("made-by-a-test", "performance", ""), look),)
    made = report(device_step().build(), findings=(find,), checks=(integrity,), looks=looks)
    for one in (made, made.only("phases"), made.seen_by("scripts"), made):
        assert [finding.rule.id for finding in one.findings] == ["clean"]
    assert calls == ["finding", "integrity", "performance"]
