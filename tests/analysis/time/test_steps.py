"""Steps, one row each and for each device."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.time.account import Selection, account_for
from perfkit.analysis.time.partial import merge
from perfkit.analysis.time.steps import STEPS, step_table
from perfkit.schema.table import Table
from perfkit.trace.columns import Thread, Trace
from perfkit.trace.load import load
from tests.analysis import columns
from tests.builders import TraceBuilder, host_step
from tests.corpus import corpus_file


def table_of(trace: Trace, selection: Selection | None = None) -> Table:
    return step_table(account_for(trace, attribute(trace), selection).partial)


def rows(table: Table) -> list[list[object]]:
    frame = table.frame[["step", "name", "device", "wall_ns", "busy_ns", "idle_ns"]]
    return frame.astype(object).where(frame.notna(), None).to_numpy().tolist()


def two_steps() -> TraceBuilder:
    """Steps of 100 and 50 ns; the kernels of the first run on into the second, side by side."""
    b = TraceBuilder().step(3, 0, 100).step(4, 100, 150)
    b.launched("a", 10, 20, 60).launched("b", 20, 50, 130, stream=8).launched("c", 30, 140, 190)
    return b


def test_a_device_is_busy_when_it_runs_whatever_was_launched_then():
    """GIVEN a device busy from 20 to 130 and from 140 to 190 THEN 80 ns of the first step and 40 of the second"""
    table = table_of(two_steps().build())
    assert rows(table) == [
        [0, "ProfilerStep#3", "0", 100, 80, 20],
        [1, "ProfilerStep#4", "0", 50, 40, 10],
    ]
    columns.assert_regular(table)
    assert columns.summed(table) == ["busy_ns", "idle_ns"]
    assert [column.name for column in table.columns if column.note] == ["busy_ns", "idle_ns", "pace_ns"]


def test_every_device_has_a_row_in_every_step():
    b = two_steps().launched("d", 110, 110, 125, device=1)
    assert [row[2:] for row in rows(table_of(b.build()))] == [
        ["0", 100, 80, 20], ["1", 100, 0, 100], ["0", 50, 40, 10], ["1", 50, 15, 35],
    ]  # fmt: skip
    assert [row[2:] for row in rows(table_of(b.build(), Selection(steps=1)))] == [["0", 50, 40, 10], ["1", 50, 15, 35]]


def test_a_process_has_its_own_devices():
    """GIVEN two processes with a step and a device each, and one without a device WHEN the file says whose they are"""
    b = TraceBuilder().step(0, 0, 100).annotation("ProfilerStep#0", 0, 90, thread=1)
    b.annotation("ProfilerStep#0", 0, 80, thread=2).event("k", 10, 40, process=1).event(
        "k", 10, 20, process=2, device=1
    )
    trace = dataclasses.replace(b.build(), threads=(Thread(1, 1), Thread(2, 2), Thread(3, 3)))
    assert [row[2:] for row in rows(table_of(trace))] == [
        ["0", 100, 30, 70], ["1", 90, 10, 80], [None, 80, None, None],
    ]  # fmt: skip


def test_launches_say_whose_a_device_is():
    """GIVEN two processes with a step and a device each WHEN the file does not say whose they are THEN launches do"""
    b = TraceBuilder().step(0, 0, 100).annotation("ProfilerStep#0", 0, 90, thread=1)
    b.launched("k", 5, 10, 40).launched("k", 5, 10, 20, thread=1, device=1)
    trace = dataclasses.replace(b.build(), threads=(Thread(1, 1), Thread(2, 2)))
    assert [row[2:] for row in rows(table_of(trace))] == [["0", 100, 30, 70], ["1", 90, 10, 80]]


def test_two_processes_may_share_a_device():
    """GIVEN a device that works for two processes THEN it is busy in the steps of both"""
    b = TraceBuilder().step(0, 0, 100).annotation("ProfilerStep#0", 0, 90, thread=1)
    b.event("k", 10, 40, process=1).event("k", 50, 60, process=2)
    trace = dataclasses.replace(b.build(), threads=(Thread(1, 1), Thread(2, 2)))
    assert [row[2:] for row in rows(table_of(trace))] == [["0", 100, 40, 60], ["0", 90, 40, 50]]


def test_without_a_device_there_is_wall_time_alone():
    table = table_of(host_step().build())
    assert rows(table) == [[0, "ProfilerStep#0", None, 100, None, None]]
    assert table.notes == ()


def test_without_steps_there_are_no_rows_and_it_says_so():
    table = table_of(TraceBuilder().launched("k", 0, 5, 10).build())
    assert (rows(table), table.notes) == ([], ("this trace has no steps",))


def test_parts_of_a_recording_know_the_devices_of_the_others():
    """GIVEN two files of one process, a device in each THEN both have a row in both steps"""
    files = (
        TraceBuilder().step(0, 0, 100).launched("k", 10, 10, 30),
        TraceBuilder().step(1, 200, 300).launched("k", 210, 210, 260, device=1),
    )
    partials = [account_for(trace := b.build(), attribute(trace)).partial for b in files]
    assert [row[2:] for row in rows(step_table(merge(partials)))] == [
        ["0", 100, 20, 80], ["1", 100, 0, 100], ["0", 100, 0, 100], ["1", 100, 50, 50],
    ]  # fmt: skip


def test_times_above_2_to_the_53_are_exact():
    end = 2**60 + 1
    found = rows(table_of(TraceBuilder().step(0, 0, 2**60 + 3).launched("k", 0, 0, end).build()))
    assert found == [[0, "ProfilerStep#0", "0", 2**60 + 3, end, 2]]
    assert pd.Int64Dtype() == table_of(two_steps().build()).frame["busy_ns"].dtype


def test_the_table_is_for_scripts_and_for_who_names_it():
    trace = two_steps().build()
    assert STEPS.audience(account_for(trace, attribute(trace)).partial.facts) == "scripts"


@pytest.mark.corpus
def test_steps_of_a_real_trace():
    """Six steps of 2021: wall times add up to issue 11's 917.731 ms; busy and idle to them."""
    frame = table_of(load(corpus_file("kineto/resnet50_torch18_workers0.json.gz"))).frame
    assert int(frame["wall_ns"].sum()) == 917_731_000
    assert (frame["busy_ns"] + frame["idle_ns"]).tolist() == frame["wall_ns"].tolist()
