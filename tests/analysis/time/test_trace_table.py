"""Tables of a trace: whom they are for, and that nothing is computed before somebody asks."""

from __future__ import annotations

import pandas as pd
import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.time.account import Selection, account_for
from perfkit.analysis.time.partial import Partial
from perfkit.analysis.time.trace_table import TraceTable, View, everyone
from perfkit.schema.table import Column, Table
from tests.builders import TraceBuilder


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
