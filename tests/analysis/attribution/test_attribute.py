"""Phase, scope and step of host ranges and device events, by the rules of docs/attribution.md, one case each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from perfkit.analysis.attribution.attribute import (
    COMMUNICATION,
    UNATTRIBUTED,
    Attribution,
    Phase,
    attribute,
    external_ids_are_correlations,
)
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.attribution.scopes import How
from perfkit.trace.columns import DeviceKind, HostKind, Thread, Trace
from tests.builders import ENGINE, TraceBuilder


def phases(b: TraceBuilder) -> dict[str, str]:
    """Host range -> phase."""
    found = attribute(b.build())
    return {found.host.name_of(row): Phase(value).label for row, value in enumerate(found.ranges.phase)}


def device(trace: TraceBuilder | Trace) -> dict[str, tuple[str, str, str]]:
    """Device event -> scope, phase, and how that was found."""
    trace = trace if isinstance(trace, Trace) else trace.build()
    found = attribute(trace)
    scopes = found.path_names(found.events.path, found.events.phase)
    how = [How(value).name for value in found.events.how]
    labels = [Phase(value).label for value in found.events.phase]
    return dict(zip(trace.device_names(), zip(scopes, labels, how, strict=True), strict=True))


def test_phases_are_numbered_in_the_order_of_tables():
    assert [phase.label for phase in Phase] == [
        "forward", "recompute", "backward", "optimizer", "communication", "other", "unlaunched",
    ]  # fmt: skip
    assert [int(phase) for phase in Phase] == list(range(7))


# --- host ranges (rule 10) ----------------------------------------------------------------------------------------


def test_phases_of_host_ranges():
    """GIVEN a range for each rule WHEN attributed THEN it has the phase of the first rule that holds"""
    b = TraceBuilder().module("net", 0, 100).range("in a scope", 10, 20)
    b.range("aten::mul", 110, 150, sequence=1).range("in an operation", 120, 130)
    b.range("nowhere", 160, 170)
    b.range("MulBackward0", 200, 290, sequence=1, forward_thread=1).range("in a node", 210, 220)
    b.range("perfkit::again", 230, 250).range("in a scope in a node", 235, 240)
    b.range("aten::sin", 255, 270, sequence=9).range("in an operation in a node", 260, 265)
    b.range("Optimizer.step#SGD.step", 300, 390).range("in the optimizer", 310, 320)
    b.range("perfkit::late", 330, 340).range("aten::add_", 350, 360, sequence=11)
    b.range("AddBackward0", 370, 380, sequence=99, forward_thread=1)
    b.range("perfkit.recompute::net", 400, 450).range("in a recomputation", 410, 420)
    b.range("B", 430, 440, sequence=98, forward_thread=1)
    assert phases(b) == {
        "perfkit::net": "forward", "in a scope": "forward", "aten::mul": "forward", "in an operation": "forward",
        "nowhere": "other", "MulBackward0": "backward", "in a node": "backward", "perfkit::again": "recompute",
        "in a scope in a node": "recompute", "aten::sin": "recompute", "in an operation in a node": "recompute",
        "Optimizer.step#SGD.step": "optimizer", "in the optimizer": "optimizer", "perfkit::late": "forward",
        "aten::add_": "optimizer", "AddBackward0": "backward", "perfkit.recompute::net": "recompute",
        "in a recomputation": "recompute", "B": "backward",
    }  # fmt: skip


def test_what_lies_outside_every_scope_is_no_recomputation_though_one_ends_the_trace():
    assert phases(TraceBuilder().range("before", 0, 5).range("perfkit.recompute::net", 10, 20)) == {
        "before": "other", "perfkit.recompute::net": "recompute",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        ("forward", "forward"), ("loss", "forward"), ("backward", "backward"), ("optimizer", "optimizer"),
        ("zero_grad", "optimizer"), ("hooks", "other"), ("made up", "other"),
    ],
)  # fmt: skip
def test_perfkits_phases_tell_where_nothing_else_does(phase, expected):
    found = phases(TraceBuilder().range(f"perfkit.phase::{phase}", 0, 50).range("plain", 10, 20).range("out", 60, 70))
    assert (found["plain"], found["out"]) == (expected, "other")


@pytest.mark.parametrize("name", ["Optimizer.step#AdamW.step", "Optimizer.zero_grad#AdamW.zero_grad"])
def test_pytorchs_optimizer_ranges(name):
    found = phases(TraceBuilder().annotation(name, 0, 50).annotation("Optional.step", 60, 90).range("in", 65, 70))
    assert (found[name], found["in"]) == ("optimizer", "other")


def test_what_runs_beside_the_nodes_of_a_backward_thread_is_backward():
    """GIVEN threads with nodes, without forward, with it, and with neither WHEN attributed THEN only the first's rest
    is backward, and recomputation inside a node is no forward"""
    b = TraceBuilder().range("aten::mul", 0, 10, sequence=1).range("main", 20, 30)
    b.range("A", 100, 150, sequence=1, forward_thread=1, thread=1).range("aten::sin", 110, 120, sequence=9, thread=1)
    b.range("around", 155, 175, thread=1).range("finaliser", 160, 170, thread=1)
    b.range("B", 100, 150, sequence=1, forward_thread=1, thread=2)
    b.range("forward too", 200, 210, sequence=3, thread=2).range("mixed", 220, 230, thread=2)
    b.range("idle", 300, 310, thread=3)
    found = phases(b)
    assert [found[name] for name in ("main", "finaliser", "mixed", "idle")] == ["other", "backward", "other", "other"]


def test_where_only_perfkits_ranges_tell_nodes_scopes_tell_forward():
    b = TraceBuilder().module("net", 0, 50).range("perfkit.backward::net", 60, 70).range("main", 80, 90)
    b.range("perfkit.backward::net", 100, 150, thread=1).range("perfkit::net2", 110, 120, thread=1)
    found = phases(b.range("between", 160, 170, thread=1))
    assert (found["main"], found["between"]) == ("other", "backward")


def test_nodes_of_autograd_tell_backward_threads_whatever_scopes_run_there():
    b = TraceBuilder().range("aten::mul", 0, 10, sequence=1)
    b.range("A", 100, 150, sequence=1, forward_thread=1, thread=1).module("beside", 200, 210, thread=1)
    assert phases(b.range("rest", 220, 230, thread=1))["rest"] == "backward"


def test_perfkits_search_for_nodes_is_of_no_scope_and_no_phase():
    b = TraceBuilder().step(0, 0, 100).module("net", 0, 90).range("perfkit.phase::hooks", 50, 80)
    b.range("search", 60, 70).module("net.a", 5, 12).module("net.b", 15, 40).range("work", 20, 30)
    found = attribute(b.build())
    rows = {found.host.name_of(row): row for row in range(len(found.ranges.phase))}
    names = found.path_names(found.ranges.path, found.ranges.phase)
    for name in ("search", "perfkit.phase::hooks"):
        row = rows[name]
        assert (names[row], found.ranges.phase[row], found.ranges.how[row]) == (UNATTRIBUTED, Phase.OTHER, How.NONE)
    row = rows["work"]
    assert (names[row], found.ranges.phase[row], found.ranges.how[row]) == ("net.b", Phase.FORWARD, How.SCOPE)


# --- device events (rules 3 and 13) -------------------------------------------------------------------------------


def test_device_events_have_the_scope_and_phase_of_their_launch():
    b = TraceBuilder().module("net", 0, 50).launched("inside", 10, 0, 5).launched("outside", 60, 0, 5)
    assert device(b.event("lost", 0, 5)) == {
        "inside": ("net", "forward", "SCOPE"),
        "outside": (UNATTRIBUTED, "other", "NONE"),
        "lost": (UNATTRIBUTED, "unlaunched", "UNLAUNCHED"),
    }


def test_a_trace_of_device_events_alone():
    assert device(TraceBuilder().event("k", 0, 5)) == {"k": (UNATTRIBUTED, "unlaunched", "UNLAUNCHED")}


def test_the_first_call_of_a_correlation_is_the_launch():
    """GIVEN a number that three calls have, the first in the file not being the first in time WHEN attributed THEN
    the first in time launched it; and no call without a number launches what has none"""
    b = TraceBuilder().module("b", 100, 190).range("launch", 110, 111, HostKind.RUNTIME, correlation=5)
    b.module("a", 0, 90).range("launch", 10, 11, HostKind.RUNTIME, correlation=5)
    b.module("c", 200, 290).range("launch", 210, 211, HostKind.RUNTIME, correlation=5)
    b.range("no number", 20, 21, HostKind.RUNTIME)
    b.range("an operator", 30, 31, correlation=6)
    found = device(b.event("k", 0, 5, correlation=5).event("none", 5, 6).event("of no call", 7, 8, correlation=6))
    assert found["k"] == ("a", "forward", "SCOPE")
    assert found["none"] == found["of no call"] == (UNATTRIBUTED, "unlaunched", "UNLAUNCHED")


def test_correlations_belong_to_their_process():
    """GIVEN two processes with a call of the same number each WHEN events name theirs THEN they go with its call"""
    b = TraceBuilder().module("a", 0, 90).range("launch", 50, 51, HostKind.RUNTIME, correlation=5)
    b.module("b", 0, 90, thread=1).range("launch", 10, 11, HostKind.RUNTIME, thread=1, correlation=5)
    b.event("x", 0, 5, correlation=5, process=1).event("y", 0, 5, correlation=5, process=2)
    trace = replace(b.build(), threads=(Thread(1, 1), Thread(2, 2)))
    assert {name: row[0] for name, row in device(trace).items()} == {"x": "a", "y": "b"}


def test_without_a_launch_the_operator_of_the_external_id_tells():
    """GIVEN events without a launch WHEN their External id is an operator's THEN its scope is theirs, the first's in
    the file; an id of nothing, of a range that is no operator, or beyond all tells nothing"""
    b = TraceBuilder().module("late", 100, 190).range("aten::mm", 110, 120, external_id=7)
    b.module("early", 0, 90).range("aten::mm", 10, 20, external_id=7).range("aten::add", 30, 40, external_id=1)
    b.annotation("mine", 50, 60, external_id=8).range("aten::zero", 70, 80, external_id=0)
    for number in (7, 1, 8, 0, 6, 99):
        b.event(f"id {number}", 0, 5, external_id=number)
    found = device(b)
    assert found["id 7"] == ("late", "forward", "SCOPE")
    assert found["id 1"] == ("early", "forward", "SCOPE")
    assert {found[f"id {number}"] for number in (8, 0, 6, 99)} == {(UNATTRIBUTED, "unlaunched", "UNLAUNCHED")}


def test_an_event_with_a_launch_does_not_go_by_its_external_id():
    b = TraceBuilder().module("a", 0, 90).range("aten::mm", 10, 20, external_id=7)
    b.module("b", 100, 190).launched("k", 110, 0, 5, external_id=7)
    assert device(b)["k"][0] == "b"


@pytest.mark.parametrize(("equal", "others", "old"), [(2, 1, True), (1, 1, False), (1, 2, False), (0, 0, False)])
def test_external_ids_of_old_profilers_are_not_used(equal, others, old):
    """GIVEN calls of which more than half, half or fewer repeat the correlation WHEN asked THEN by more than half"""
    b = TraceBuilder().module("a", 0, 90).range("aten::mm", 10, 20, external_id=7)
    for number in range(equal + others):
        external = number if number < equal else 1000
        b.range("launch", 30 + number, 31 + number, HostKind.RUNTIME, correlation=number, external_id=external)
    trace = b.event("k", 0, 5, external_id=7).build()
    assert external_ids_are_correlations(trace) is old
    assert device(trace)["k"][1] == ("unlaunched" if old else "forward")


def test_collectives_are_communication_whatever_launched_them():
    b = TraceBuilder().module("net", 0, 50).launched("ncclDevKernel_AllReduce", 10, 0, 5).event("ncclKernel", 5, 9)
    b.launched("ncclMemcpy", 20, 0, 5, kind=DeviceKind.MEMCPY)
    assert device(b) == {
        "ncclDevKernel_AllReduce": (COMMUNICATION, "communication", "SCOPE"),
        "ncclKernel": (COMMUNICATION, "communication", "UNLAUNCHED"),
        "ncclMemcpy": ("net", "forward", "SCOPE"),
    }
    found = attribute(b.build()).events
    assert [Phase(value).label for value in found.launched_in] == ["forward", "unlaunched", "forward"]
    assert found.path[:2].tolist() == [NONE, NONE]


@pytest.mark.parametrize(("hooked", "phase"), [(True, "backward"), (False, "other")])
def test_a_bare_launch_has_its_threads_phase_where_perfkits_ranges_are_all_there_is_of_nodes(hooked, phase):
    b = TraceBuilder().module("net", 0, 50)
    node: Any = {"sequence": 99, "forward_thread": 1, "thread": 1}
    if hooked:
        b.range("perfkit.backward::net", 100, 150, thread=1)
    else:
        b.range(ENGINE + "A", 95, 155, **node).range("perfkit.backward::net", 100, 150, thread=1)
    b.launched("between", 200, 0, 5, thread=1).launched("main", 300, 0, 5).event("lost", 0, 1)
    found = device(b)
    assert found["between"] == (UNATTRIBUTED, phase, "NONE")
    assert found["main"] == (UNATTRIBUTED, "other", "NONE")
    assert found["lost"] == (UNATTRIBUTED, "unlaunched", "UNLAUNCHED")


def test_nodes_of_graphs_go_to_the_scope_noted_at_capture():
    """GIVEN a replay with notes: a scope known, one not known, perfkit's name, and a collective WHEN attributed THEN
    by the notes but for the collective, and without one as launched"""
    b = TraceBuilder().module("net", 0, 50)
    notes = {"known": "net", "new": "layers.7", "own": "perfkit::layers.8", "plain": "", "ncclKernel": "net"}
    for number, (name, note) in enumerate(notes.items()):
        b.launched(name, 10 + number, 0, 5, graph_node=number, annotation=note)
    assert device(b.launched("after", 60, 0, 5, annotation="layers.7")) == {
        "known": ("net", "forward", "GRAPH"),
        "new": ("layers.7", "forward", "GRAPH"),
        "own": ("layers.8", "forward", "GRAPH"),
        "plain": ("net", "forward", "SCOPE"),
        "ncclKernel": (COMMUNICATION, "communication", "SCOPE"),
        "after": ("layers.7", "other", "GRAPH"),
    }


def test_compute_hides_communication_and_that_hides_copies_on_each_device():
    b = TraceBuilder().event("copy", 0, 100, DeviceKind.MEMCPY).event("ncclKernel", 10, 60).event("gemm", 20, 40)
    b.event("memset", 30, 50, DeviceKind.MEMSET).event("copy elsewhere", 0, 10, DeviceKind.MEMCPY, device=1)
    b.event("third", 5, 12, device=2)
    trace = b.build()
    exclusive = dict(zip(trace.device_names(), attribute(trace).events.exclusive.tolist(), strict=True))
    assert exclusive == {"gemm": 20, "memset": 10, "ncclKernel": 20, "copy": 50, "copy elsewhere": 10, "third": 7}


# --- steps and the main thread ------------------------------------------------------------------------------------


def test_the_step_in_which_an_event_was_launched():
    b = TraceBuilder().step(0, 100, 200).step(1, 250, 300)
    for at in (99, 100, 199, 200, 250, 299, 300):
        b.launched(f"at {at}", at, 1000, 1001)
    trace = b.event("lost", 110, 120).build()
    steps = dict(zip(trace.device_names(), attribute(trace).events.step.tolist(), strict=True))
    assert steps == {
        "at 99": NONE, "at 100": 0, "at 199": 0, "at 200": NONE, "at 250": 1, "at 299": 1, "at 300": NONE, "lost": NONE,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pids", "steps"), [((1, 1, 1), [0, 0]), ((1, 1, 2), [0, 0]), ((1, 2, 3), [0, NONE]), ((1, 2, 2), [0, 1])]
)
def test_where_several_processes_have_steps_each_has_its_own(pids, steps):
    """GIVEN a launch on thread 0 and one on thread 2, and steps on thread 0 alone or on threads 0 and 1 WHEN asked
    THEN with one process's steps all launches are in them, else those of their own process"""
    b = TraceBuilder().step(0, 0, 100).launched("k", 10, 0, 5)
    if pids[1] != pids[0]:
        b.annotation("ProfilerStep#1", 5, 100, thread=1)
    b.launched("other", 20, 0, 5, thread=2)
    trace = replace(b.build(), threads=tuple(Thread(pid, 10 + index) for index, pid in enumerate(pids)))
    assert attribute(trace).events.step.tolist() == steps


def main_thread(trace: Trace) -> int:
    return attribute(trace).main_thread


def test_the_main_thread():
    """GIVEN steps on two threads, or none, or no ranges WHEN asked THEN it is the one with most step time, else the
    process's first, else that of the first range, else none"""
    b = TraceBuilder().step(0, 0, 10).annotation("ProfilerStep#1", 0, 50, thread=1).step(2, 20, 40)
    assert main_thread(b.build()) == 1
    b.annotation("ProfilerStep#3", 100, 130)
    assert main_thread(b.build()) == 0
    plain = TraceBuilder().range("x", 0, 9, thread=2).range("y", 0, 5, thread=1).build()
    first = (Thread(1, 7), Thread(1, 1), Thread(1, 9))
    assert main_thread(replace(plain, threads=first)) == 1
    assert main_thread(replace(plain, threads=(Thread(1, 7), Thread(1, 8), Thread(1, 9)))) == 2
    assert main_thread(TraceBuilder().event("k", 0, 5).build()) == NONE


# --- the whole ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recorded", [None, 7, {}, {"modules": None}, {"modules": [1]}])
def test_a_recording_without_a_usable_tree_has_none(recorded):
    trace = TraceBuilder(metadata={"perfkit": recorded}).module("net", 0, 5).build()
    assert attribute(trace).modules == {}


def test_the_tree_given_comes_before_the_one_recorded():
    trace = TraceBuilder(metadata={"perfkit": {"modules": {"net": "Net"}}}).module("net", 0, 5).build()
    assert attribute(trace).modules == {"net": "Net"}
    assert attribute(trace, modules={"x": "X"}).modules == {"x": "X"}
    assert attribute(trace, modules={}).modules == {}


def test_names_of_rows_without_a_scope():
    found: Attribution = attribute(TraceBuilder().module("net", 0, 5).build())
    names = found.path_names(np.array([0, NONE, NONE]), np.array([Phase.FORWARD, Phase.OTHER, Phase.COMMUNICATION]))
    assert list(names) == ["net", UNATTRIBUTED, COMMUNICATION]
