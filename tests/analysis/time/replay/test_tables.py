"""The tables of a replay, and that nobody pays for them who does not ask."""

from __future__ import annotations

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.kernels.short_names.unique import short_names
from perfkit.analysis.reports.trace import report
from perfkit.analysis.time.account import Account, Selection, account_for
from perfkit.analysis.time.replay.tables import CRITICAL, REPLAY, critical_table, replay_table
from perfkit.analysis.time.trace_table import View
from perfkit.trace.columns import HostKind
from perfkit.trace.load import load
from tests.analysis.columns import assert_regular
from tests.analysis.time.replay.test_replay import device_bound
from tests.builders import TraceBuilder
from tests.nsys_export import NsysExport


def account(b: TraceBuilder, selection: Selection | None = None) -> Account:
    trace = b.build()
    return account_for(trace, attribute(trace), selection)


def two_steps() -> TraceBuilder:
    """Two steps of 50 ns with a module; the second waits for its kernel, which takes 30 ns of it."""
    b = TraceBuilder()
    for begin in (0, 50):
        b.step(begin // 50, begin, begin + 50).module("net", begin + 1, begin + 10)
        b.range("aten::mm", begin + 2, begin + 8).launched("gemm", begin + 3, begin + 6, begin + 36)
        b.range("cudaDeviceSynchronize", begin + 12, begin + 38, HostKind.RUNTIME)
    return b


def test_a_row_for_each_step():
    """GIVEN two steps THEN each has its times, no error, and the parts of its path, which add up to its pace"""
    table = replay_table(account(two_steps()).partial)
    assert_regular(table)
    assert table.frame.to_dict("records") == [
        {"step": step, "name": f"ProfilerStep#{step}", "wall_ns": 50, "replayed_ns": 50, "pace_ns": 50,
         "replayed_pace_ns": 50, "host_ns": 16, "device_ns": 30, "delay_ns": 4, "error_share": 0.0}
        for step in (0, 1)
    ]  # fmt: skip
    assert table.notes == ("mean error of the steps: 0.00%",)


def test_what_is_on_the_critical_path():
    """GIVEN the same THEN operators on the host stand for all that is in them, and kernels have their module"""
    table = critical_table(account(two_steps()).partial)
    assert_regular(table)
    rows = [tuple(row) for row in table.frame[["kind", "scope", "name", "total_ns"]].itertuples(index=False)]
    assert rows == [
        ("device", "net", "gemm", 60),
        ("host", "<unattributed>", "ProfilerStep#0", 13),
        ("host", "<unattributed>", "ProfilerStep#1", 13),
        ("host", "net", "aten::mm", 4),
        ("launch latency", "net", "gemm", 4),
        ("return of a wait", "<unattributed>", "cudaDeviceSynchronize", 4),
        ("host", "net", "perfkit::net", 2),
    ]
    assert int(table.frame["total_ns"].sum()) == 100


def test_kernels_on_the_critical_path_have_their_short_names():
    name = "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_bf16_128x128_32x5_tn_align8>(Params)"
    partial = account(TraceBuilder().range("aten::mm", 0, 40).launched(name, 10, 12, 90)).partial
    frame = critical_table(partial).frame
    assert frame.loc[frame["name"] == name, "short_name"].unique().tolist() == [short_names([name])[name]]
    assert "aten::mm" in set(frame["short_name"])


def test_one_step():
    """GIVEN the choice of one step THEN the tables are of it"""
    partial = account(two_steps(), Selection(steps=1)).partial
    assert replay_table(partial).frame["name"].tolist() == ["ProfilerStep#1"]
    assert int(critical_table(partial).frame["total_ns"].sum()) == 50


def test_a_trace_without_steps_is_one():
    table = replay_table(account(TraceBuilder().range("aten::mm", 0, 40).launched("gemm", 10, 12, 30)).partial)
    assert table.frame[["step", "name", "wall_ns"]].to_numpy().tolist() == [[None, "", 40]]


def test_only_a_part_is_replayed(monkeypatch):
    """GIVEN more launches than are replayed THEN a note says which steps the rows are"""
    monkeypatch.setattr("perfkit.analysis.time.replay.tables.MOST_LAUNCHES", 1)
    table = replay_table(account(two_steps()).partial)
    assert table.frame["step"].tolist() == [0]
    assert table.notes[-1] == "the first step is replayed, of 2"


def test_a_replay_that_is_refused_says_so():
    b = TraceBuilder().step(0, 0, 1_200_000).launched("k", 0, 100_000, 1_100_000)
    b.range("cudaDeviceSynchronize", 10, 1_102_000, HostKind.RUNTIME)
    [refused, _] = replay_table(account(b).partial).notes
    assert refused.startswith("no gain is derived from this trace: its replay misses the recording by 7.9% (limit 5%)")


def test_who_does_not_ask_does_not_pay(tmp_path):
    """GIVEN a report WHEN people or scripts look at it THEN the tables are not in it; asked for by name they are"""
    whole = report(device_bound().build())
    assert not {"replay", "critical"} & {*whole.seen_by("people").names, *whole.seen_by("scripts").names}
    assert whole.only("critical").names == ("critical",)
    export = load(NsysExport().kernel("k", 10, 20, correlation=1).write(tmp_path / "a.sqlite"))
    partial = account_for(export, attribute(export)).partial
    assert REPLAY.of(partial, View()) is CRITICAL.of(partial, View()) is None
