"""Host ranges by name and wall time: which ranges count, under which name, in which order."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import Phase, attribute
from perfkit.analysis.time.account import Selection, account_for
from perfkit.analysis.time.ranges import RANGES, range_table
from perfkit.analysis.time.trace_table import View
from perfkit.schema.table import Table
from perfkit.trace.columns import HostKind
from perfkit.trace.load import load
from tests.analysis import columns
from tests.builders import TraceBuilder
from tests.corpus import corpus_file


def table_of(builder: TraceBuilder, phase: Phase | None = None, **options: bool) -> Table:
    trace = builder.build()
    return range_table(account_for(trace, attribute(trace), Selection(phase=phase)).partial, phase, **options)


def rows(table: Table, *wanted: str) -> list[tuple[object, ...]]:
    return [tuple(row[name] for name in wanted) for row in table.frame.to_dict("records")]


def two_steps() -> TraceBuilder:
    """Ranges before, at the edges of, inside, between and after two steps, 100 to 200 and 250 to 300."""
    b = TraceBuilder().step(0, 100, 200).step(1, 250, 300)
    b.annotation("before", 50, 60).annotation("first", 100, 150).annotation("inner", 110, 130)
    b.annotation("last", 199, 200).annotation("between", 200, 210).annotation("first", 250, 260)
    return b.annotation("after", 300, 310)


def test_ranges_that_start_in_a_step_count():
    table = table_of(two_steps())
    assert rows(table, "thread", "name", "count", "total_ns", "self_ns", "mean_ns", "min_ns", "max_ns") == [
        ("main", "ProfilerStep#0", 1, 100, 49, 100.0, 100, 100),
        ("main", "first", 2, 60, 40, 30.0, 10, 50),
        ("main", "ProfilerStep#1", 1, 50, 40, 50.0, 50, 50),
        ("main", "inner", 1, 20, 20, 20.0, 20, 20),
        ("main", "last", 1, 1, 1, 1.0, 1, 1),
    ]
    assert table.notes[-1] == "only ranges that start inside these steps"
    assert "self times of the main thread add up to the steps' wall time" in table.notes[0]
    assert sum(table.frame["self_ns"]) == 150


def test_everywhere_means_outside_the_steps_too():
    table = table_of(two_steps(), everywhere=True)
    assert {"before", "between", "after"} <= set(table.frame["name"])
    assert table.notes[-1] == "ranges inside and outside the steps"


def test_without_steps_every_range_counts():
    table = table_of(TraceBuilder().annotation("a", 0, 10).annotation("b", 20, 25))
    assert rows(table, "name", "total_ns") == [("a", 10), ("b", 5)]
    assert table.notes[-1] == "ranges inside and outside the steps"


def test_one_phase_alone():
    b = TraceBuilder().step(0, 0, 100).range("perfkit.phase::forward", 5, 40).module("fc", 10, 30)
    table = table_of(b.annotation("other", 50, 60), Phase.FORWARD)
    assert rows(table, "name", "total_ns", "self_ns") == [("phase::forward", 35, 15), ("fc", 20, 20)]
    assert "add up to the time of forward in the table of phases" in table.notes[0]


def test_the_main_threads_ranges_come_first_then_the_longest_then_by_name():
    b = TraceBuilder().step(0, 0, 100).annotation("b", 10, 20).annotation("c", 20, 40).annotation("a", 50, 60)
    b.annotation("long", 0, 90, thread=1)
    found = rows(table_of(b), "thread", "name")
    assert found == [
        ("main", "ProfilerStep#0"), ("main", "c"), ("main", "a"), ("main", "b"), ("other", "long"),
    ]  # fmt: skip


def test_one_name_on_two_threads_is_two_rows():
    b = TraceBuilder().step(0, 0, 100).annotation("a", 10, 20).annotation("a", 30, 33, thread=1)
    assert rows(table_of(b), "thread", "name", "count", "total_ns")[1:] == [("main", "a", 1, 10), ("other", "a", 1, 3)]


def test_calls_into_the_driver_are_no_ranges():
    b = TraceBuilder().annotation("a", 0, 10).range("cudaLaunchKernel", 2, 3, HostKind.RUNTIME)
    assert rows(table_of(b), "name", "self_ns") == [("a", 9)]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("perfkit.step::3", "step::*"),
        ("perfkit.warmup::0", "warmup::*"),
        ("perfkit.phase::backward", "phase::backward"),
        ("perfkit.backward::fc", "backward::fc"),
        ("perfkit::layers.0", "layers.0"),
        ("perfkit", "perfkit"),
    ],
)
def test_perfkits_own_ranges_go_by_their_names_in_nvtx(text, shown):
    assert shown in set(table_of(TraceBuilder().annotation(text, 0, 10)).frame["name"])


def test_steps_are_one_row():
    b = TraceBuilder().range("perfkit.step::0", 0, 10).range("perfkit.step::1", 10, 30)
    assert rows(table_of(b), "name", "count", "total_ns") == [("step::*", 2, 30)]


def on_device() -> TraceBuilder:
    """Two steps with a layer each, in which an operator launches; and a launch and a range outside them."""
    b = TraceBuilder()
    for number in (0, 1):
        at = 100 * number
        b.annotation(f"iteration {number}", at, at + 80).annotation("layer 0", at + 10, at + 50)
        b.range("aten::mm", at + 15, at + 40).launched("k", at + 20, at + 20, at + 27 + number)
        b.launched("copy", at + 60, at + 60, at + 65)
    return b.annotation("eval", 300, 350).launched("k", 310, 310, 313).launched("k", 400, 400, 440)


def test_ranges_have_the_time_of_what_is_launched_in_them():
    """GIVEN kernels in a layer in a step THEN both have it; operators are no ranges; what is outside steps counts"""
    table = table_of(on_device(), fold=True)
    assert rows(table, "name", "x", "count", "total_ns", "device_ns") == [
        ("iteration *", 2, 2, 160, 25), ("layer 0", 1, 2, 80, 15), ("eval", 1, 1, 50, 3),
    ]  # fmt: skip
    assert "x" in columns.names(table.seen_by("people"))
    assert table.notes == ("ranges inside and outside the steps",)
    assert table.remarks[0].endswith(
        "device: durations of what was launched in the range on its thread, inner ranges included"
    )
    assert [name for (name,) in rows(table_of(on_device()), "name")] == [
        "iteration 0",
        "iteration 1",
        "layer 0",
        "eval",
    ]


def test_only_one_steps_ranges():
    trace = on_device().build()
    partial = account_for(trace, attribute(trace), Selection(steps=1)).partial
    assert rows(range_table(partial), "name", "device_ns") == [("iteration 1", 13), ("layer 0", 8)]
    assert range_table(partial).notes[-1] == "only ranges that start inside these steps"


def test_whom_the_table_is_for():
    traces = (on_device(), TraceBuilder().range("aten::mm", 0, 10), TraceBuilder().module("net", 0, 10))
    partials = [account_for(trace := b.build(), attribute(trace)).partial for b in traces]
    assert [RANGES.audience(partial.facts) for partial in partials] == ["scripts", None, "scripts"]


def test_the_table_folds_the_users_names_and_no_modules():
    """GIVEN numbered steps, and modules THEN --no-fold keeps the first apart; the modules' names are whole"""
    trace = on_device().build()
    partial = account_for(trace, attribute(trace)).partial
    assert "iteration *" in set(RANGES.build(partial, View()).frame["name"])
    assert "iteration 1" in set(RANGES.build(partial, View(fold=False)).frame["name"])
    trace = TraceBuilder().module("layers.0", 0, 10).module("layers.1", 10, 20).build()
    partial = account_for(trace, attribute(trace)).partial
    assert set(RANGES.build(partial, View()).frame["name"]) == {"layers.0", "layers.1"}
    b = TraceBuilder().module("layers.0", 0, 10).module("layers.1", 10, 20).annotation("batch 0", 30, 40)
    trace = b.annotation("batch 1", 50, 60).build()
    partial = account_for(trace, attribute(trace)).partial
    assert set(RANGES.build(partial, View()).frame["name"]) == {"layers.0", "layers.1", "batch *"}


@pytest.mark.corpus
def test_the_wait_for_data_of_a_real_trace():
    """Issue 11: the DataLoader of resnet50_torch18_workers0 takes 272.769 ms."""
    trace = load(corpus_file("kineto/resnet50_torch18_workers0.json.gz"))
    frame = range_table(account_for(trace, attribute(trace)).partial).frame
    waits = frame[frame["name"].str.startswith("enumerate(DataLoader)")]
    assert waits[["count", "total_ns"]].to_numpy().tolist() == [[6, 272_769_000]]


def test_columns():
    table = table_of(two_steps())
    assert columns.names(table) == [
        "thread", "name", "x", "count", "total_ns", "self_ns", "mean_ns", "min_ns", "max_ns",
    ]  # fmt: skip
    assert columns.names(table.seen_by("people"))[:3] == ["thread", "name", "count"]
    assert columns.spare(table) == ["mean_ns", "min_ns", "max_ns"]
    assert columns.summed(table) == []  # inner ranges are in outer ones
    columns.assert_regular(table)
    assert (table.name, table.title) == ("ranges", "Host ranges, wall time")
