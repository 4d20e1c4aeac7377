"""Graph launches without some of their events. A graph is a string, a kernel a letter of it, of 4 ns every 5 ns."""

from __future__ import annotations

from typing import Any

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.findings import losses
from perfkit.analysis.time.account import account_for
from perfkit.analysis.time.launches import Launches, Place, launch_table, launches
from perfkit.trace.columns import DeviceKind, HostKind, Trace
from tests.builders import TraceBuilder

GRAPH = "cudaGraphLaunch"


def replays(*graphs: str, pause: int = 5, nodes: bool = False) -> TraceBuilder:
    """A launch of each graph, `pause` ns after the one before has run; `.` is a kernel that was lost.

    A text in brackets is a kernel of its own, outside all graphs. `nodes`: a kernel's letter is its node's number, and
    all have one name.
    """
    b, now = TraceBuilder(), 10
    for graph in graphs:
        number = 1000 + len(b.host)
        alone = graph.startswith("[")
        b.range("cudaLaunchKernel" if alone else GRAPH, now - 8, now - 6, HostKind.RUNTIME, correlation=number)
        for kernel in [graph[1:-1]] if alone else graph:
            if kernel != ".":
                columns: Any = {"graph_node": ord(kernel)} if nodes and not alone else {}
                b.event("k" if columns else kernel, now, now + 4, correlation=number, **columns)
            now += 5
        now += pause
    return b


def found(b: TraceBuilder) -> Launches:
    trace: Trace = b.build()
    return launches(trace, attribute(trace))


def lacking(b: TraceBuilder) -> list[int]:
    return found(b).lacks.tolist()


@pytest.mark.parametrize("nodes", [False, True])
@pytest.mark.parametrize("part", ["a..", ".b.", "..c", "ab.", "a.c", ".bc"])
def test_a_replay_without_some_of_its_kernels(part, nodes):
    """GIVEN ten replays of three kernels, one of which has fewer THEN so many events are missing, in the middle"""
    one = found(replays(*["abc"] * 5, part, *["abc"] * 4, nodes=nodes))
    assert one.lacks.tolist() == [0] * 5 + [part.count(".")] + [0] * 4
    assert one.is_missing.tolist() == (one.lacks > 0).tolist()
    assert (one.place[5], bool(one.at_edge[5])) == (Place.MIDDLE, False)


def test_replays_with_other_losses_beside_each_other():
    assert lacking(replays("abc", "abc", "a..", ".b.", "..c", "abc", "a.c", "abc")) == [0, 0, 2, 2, 2, 0, 1, 0]


def test_a_replay_that_the_end_of_the_recording_cut_off():
    """GIVEN a last replay with its first kernel only THEN the rest may have come later"""
    one = found(replays("abc", "abc", "abc", "a.."))
    assert one.lacks.tolist() == [0, 0, 0, 2]
    assert (one.place[3], bool(one.at_edge[3])) == (Place.END, True)


def test_what_happened_as_often_each_way_is_no_loss():
    """GIVEN two graphs of which one is a part of the other WHEN launched as often as that THEN it is its own"""
    assert lacking(replays("abc", "ab", "abc", "ab")) == [0, 0, 0, 0]
    assert lacking(replays("abc", "a", "abc", "d", "abc")) == [0, 2, 0, 0, 0]


def test_pieces_of_a_model_are_graphs_of_their_own():
    """GIVEN a model captured in pieces between attentions WHEN the last piece begins as all others do THEN it is whole

    So is the first one, which ends as they do: what runs before the one, and after the other, is another kernel.
    """
    middle = ["abcd", "[attention]"] * 4
    step = ["[embedding]", "cd", "[attention]", *middle, "ab", "[sampling]"]
    assert not any(lacking(replays(*step)))
    assert lacking(replays(*step, *step[:5], "ab..", *step[6:])).count(2) == 1


def test_nodes_tell_a_graph_wherever_it_runs():
    """GIVEN a short replay between kernels that stand beside no other one WHEN nodes are numbered THEN it is of theirs

    Without the numbers it may be another graph.
    """
    graphs = ("abc", "abc", "[x]", "a..", "[y]", "abc")
    assert lacking(replays(*graphs, nodes=True)) == [0, 0, 0, 2, 0, 0]
    assert not any(lacking(replays(*graphs)))
    assert not any(lacking(replays("abc", "abc", "de", "abc", nodes=True)))


def test_a_loss_leaves_a_gap():
    """GIVEN a graph without a kernel of another one, which takes 4 ns WHEN no time is free THEN it is not lost

    As with another batch, for which a library needs no second kernel.
    """
    assert lacking(replays("abc", "ab", "abc", "abc", pause=0)) == [0, 0, 0, 0]
    assert lacking(replays("abc", "ab.", "abc", "abc", pause=0)) == [0, 1, 0, 0]


def test_a_memset_that_is_missing_is_usual():
    b = replays("ab", "ab", "ab")
    for number, at in ((1000, 19), (1001, 34)):
        b.event("Memset", at, at + 1, kind=DeviceKind.MEMSET, correlation=number)
    assert lacking(b) == [0, 0, 0]


def test_the_table_and_the_sentence():
    trace = replays("abc", "abc", "a..", "abc").build()
    account = account_for(trace, attribute(trace))
    row = launch_table(account.partial).frame.iloc[0]
    assert row[["call", "count", "count_with_event", "count_in_middle"]].tolist() == ["graph launch", 4, 3, 1]
    finding = losses.lost_device_events(account)
    assert finding is not None
    assert finding.rule is losses.LOST_DEVICE_EVENTS
    assert finding.what == (
        "1 of 4 graph launches lack 2 device events that others of their graph have: 1 in the middle of the recording;"
        " the profiler lost them, and every sum lacks their time"
    )


def test_a_sentence_of_both_losses():
    b = replays("abc", "abc", "a..", "abc")
    b.range(GRAPH, 45, 46, HostKind.RUNTIME, correlation=999)
    trace = b.build()
    finding = losses.lost_device_events(account_for(trace, attribute(trace)))
    assert finding is not None
    assert finding.what.startswith(
        "1 of 5 graph launches have no device event, and 1 of 5 graph launches lack 2 device events that others"
    )
