"""Tables of a trace: whom they are for, and that nothing is computed before somebody asks."""

from __future__ import annotations

import pandas as pd
import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.reports.trace import TABLES, report
from perfkit.analysis.time.account import Selection, account_for
from perfkit.analysis.time.breakdown import KERNELS, LAYERS
from perfkit.analysis.time.partial import Partial
from perfkit.analysis.time.trace_table import TraceTable, View, everyone
from perfkit.errors import UsageError
from perfkit.schema.table import Column, Table
from tests.builders import TraceBuilder, host_step


@pytest.fixture
def partial() -> Partial:
    """Of a trace with one kernel."""
    trace = TraceBuilder().step(0, 0, 100).launched("kernel", 10, 20, 30).build()
    return account_for(trace, attribute(trace), Selection()).partial


def test_a_table_is_built_when_it_is_asked_for_and_of_what_was_given(partial):
    """GIVEN a table for everyone WHEN made of a trace THEN its function runs at the first look, with both"""
    # GIVEN
    asked = []

    def build(*given):
        asked.append(given)
        return Table("phases", "Phases", (Column("phase"),), pd.DataFrame({"phase": ["forward"]}))

    view = View(by="class")

    # WHEN
    table = TraceTable("phases", "a phase", "phase", build).of(partial, view)

    # THEN
    assert table is not None
    assert (table.name, table.audience, asked) == ("phases", "everyone", [])
    assert table.table.title == "Phases"
    assert asked == [(partial, view)]


def test_a_table_for_nobody_is_not_made(partial):
    """GIVEN an audience that depends on the trace WHEN it is nobody THEN there is no table, and nothing is built"""
    never = TraceTable("phases", "a phase", "phase", lambda *_: pytest.fail("built"), lambda _: None)
    assert never.of(partial, View()) is None


def test_the_facts_of_the_trace_decide_the_audience(partial):
    """GIVEN a table for scripts where there is device work WHEN made of a trace with a kernel THEN it is for scripts"""
    made = TraceTable("x", "a row", "x", lambda *_: pytest.fail("built"), lambda f: "scripts" if f.on_device else None)
    table = made.of(partial, View())
    assert table is not None
    assert table.audience == "scripts"
    assert everyone(partial.facts) == "everyone"


def test_a_table_by_device_has_the_rows_of_each_and_adds_up_to_the_same():
    """GIVEN two devices, one kernel on both and communication WHEN by device THEN shares are of the whole"""
    b = TraceBuilder().module("net", 0, 50).launched("a", 10, 0, 30).launched("a", 12, 0, 50, device=1)
    b.launched("b", 14, 60, 70, device=1).launched("ncclKernel", 16, 100, 110)
    account = account_for(trace := b.build(), attribute(trace))
    table = KERNELS.of(account.partial, View(by_device=True))
    assert table is not None
    assert table.table.frame[["device", "name", "total_ns", "share"]].to_numpy().tolist() == [
        ["1", "a", 50, 0.5], ["0", "a", 30, 0.3], ["0", "ncclKernel", 10, 0.1], ["1", "b", 10, 0.1],
    ]  # fmt: skip
    assert [column.name for column in table.table.columns][:2] == ["device", "name"]
    layers = LAYERS.of(account.partial, View(by_device=True))
    assert layers is not None
    assert layers.table.frame[["device", "scope", "total_ns"]].to_numpy().tolist() == [
        ["1", "net", 60], ["0", "net", 30], ["0", "<communication>", 10],
    ]  # fmt: skip
    assert layers.table.pinned == 1
    for table_ in TABLES:
        one, divided = (table_.of(account.partial, view) for view in (View(), View(by_device=True)))
        if one is not None and divided is not None and table_.divides:
            columns = {"count", "total_ns", "exclusive_ns"} & set(one.table.frame)
            assert divided.table.frame[list(columns)].sum().to_dict() == one.table.frame[list(columns)].sum().to_dict()


def test_host_times_cannot_be_told_by_device():
    with pytest.raises(UsageError, match="--by-device: built by a test has no device work: drop the flag"):
        report(host_step().build(), View(by_device=True))


@pytest.mark.parametrize(("steps", "title"), [("auto", "Phases, mean of 2 steps"), (1, "Phases, step 1 alone")])
def test_the_title_says_which_steps_the_times_are_of(steps, title):
    """GIVEN two steps WHEN all or one of them is asked for THEN the title says so: shares are of what it names"""
    trace = TraceBuilder().step(0, 0, 100).step(1, 100, 200).launched("k", 10, 20, 30).launched("k", 110, 120, 150)
    of = report(trace.build(), View(Selection(steps=steps))).table("phases")
    assert of is not None
    assert of.seen_by("people").title == title
