"""Bands over each stream: step, phase, module; one inside the other, and together the account's busy time."""

from __future__ import annotations

from perfkit.analysis.time.breakdown import PHASES
from perfkit.analysis.time.trace_table import View
from tests.analysis.time.idle.traces import account_of
from tests.builders import TraceBuilder
from tests.export.perfetto.reading import exported, shown, timeline


def _bands(b: TraceBuilder) -> list[tuple[str, int, int, int]]:
    return [(s.name, s.start, s.end, s.depth) for s in shown(b).on("layers and phases")]


def two_layers() -> TraceBuilder:
    """Two layers of forward with two kernels and one, then two kernels outside of them, at the same time as another."""
    b = TraceBuilder().step(0, 0, 100)
    b.module("layers.0.attn", 0, 20).launched("a", 1, 10, 20).launched("b", 2, 25, 30)
    b.module("layers.1", 20, 40).launched("c", 21, 30, 50)
    return b.launched("d", 45, 60, 70).launched("e", 50, 65, 80)


def test_bands_nest_as_step_phase_and_modules():
    """GIVEN two layers WHEN exported THEN bands run from the first event to the last; `layers` alone has none"""
    assert _bands(two_layers()) == [
        ("step 0", 10, 80, 0),
        ("forward", 10, 50, 1),
        ("layers.0", 10, 30, 2),
        ("layers.0.attn", 10, 30, 3),
        ("layers.1", 30, 50, 2),
        ("other", 60, 80, 1),
    ]


def test_busy_time_of_bands_is_that_of_their_events():
    """GIVEN kernels with a pause and an overlap WHEN exported THEN bands have busy time alone, each instant once"""
    bands = {s.name: s.args for s in shown(two_layers()).on("layers and phases")}
    assert bands["layers.0.attn"] == {"busy_ns": 15, "events": 2}
    assert bands["other"] == {"busy_ns": 20, "events": 2}
    assert bands["step 0"] == {"busy_ns": 55, "events": 5}


def test_a_step_begins_a_new_band():
    b = TraceBuilder()
    for step in range(2):
        at = 100 * step
        b.step(step, at, at + 100).module("net", at, at + 50).launched("a", at + 1, at + 10, at + 90)
    assert [band[:3] for band in _bands(b)] == [
        ("step 0", 10, 90), ("forward", 10, 90), ("net", 10, 90),
        ("step 1", 110, 190), ("forward", 110, 190), ("net", 110, 190),
    ]  # fmt: skip


def test_phases_add_up_to_the_table():
    account = account_of(two_layers())
    table = PHASES.build(account.partial, View()).frame
    expected = {row["phase"]: row["exclusive_ns"] for row in table.to_dict("records") if row["exclusive_ns"]}
    phases = timeline(exported(account)).of("perfkit.phase")
    assert {s.name: s.args["busy_ns"] for s in phases} == expected == {"forward": 35, "other": 20}


def test_without_a_device_the_main_thread_has_bands():
    """GIVEN a recording of the host alone WHEN exported THEN ranges that change phase or module make the bands"""
    b = TraceBuilder().step(0, 0, 100).module("net", 10, 90).module("net.fc", 20, 40).range("aten::mm", 25, 30)
    bands = [(s.name, s.start, s.end) for s in shown(b).on("Layers and phases") if s.category == "perfkit.module"]
    assert bands == [("net", 10, 90), ("net.fc", 20, 40)]
