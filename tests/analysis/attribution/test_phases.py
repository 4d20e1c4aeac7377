"""A phase needs evidence: each kind of it, and which is the stronger (rule 10 of docs/attribution.md)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perfkit.analysis.attribution.attribute import Phase, attribute
from perfkit.trace.columns import HostKind, Thread
from tests.builders import ENGINE, TraceBuilder


def phases(b: TraceBuilder, *processes: int) -> dict[str, str]:
    """Host range -> phase, with a question mark where nothing says it. `processes`: the process of each thread."""
    trace = b.build()
    if processes:
        trace = replace(trace, threads=tuple(Thread(pid, number) for number, pid in enumerate(processes)))
    found = attribute(trace)
    return {
        found.host.name_of(row): Phase(value).label + ("" if evident else "?")
        for row, (value, evident) in enumerate(zip(found.ranges.phase, found.ranges.is_evident, strict=True))
    }


def call(b: TraceBuilder, name: str, start: int, thread: int) -> TraceBuilder:
    return b.range(name, start, start + 1, HostKind.RUNTIME, thread=thread)


def test_a_users_range_says_no_phase_by_being_there():
    """GIVEN ranges without words, and ranges with them WHEN attributed THEN only words say a phase, for all inside"""
    b = TraceBuilder().annotation("step", 0, 100).annotation("layer 0", 5, 8).annotation("forward", 10, 20)
    b.annotation("attention scores", 12, 18).annotation("backward pass", 30, 40).annotation("optimizer_step", 50, 60)
    b.range("FusedAdam", 52, 58).annotation("enumerate(DataLoader)#Iter.__next__", 70, 80).range("aten::stack", 72, 75)
    assert phases(b) == {
        "step": "other?", "layer 0": "other?", "forward": "forward", "attention scores": "forward",
        "backward pass": "backward", "optimizer_step": "optimizer", "FusedAdam": "optimizer",
        "enumerate(DataLoader)#Iter.__next__": "other", "aten::stack": "other",
    }  # fmt: skip


def test_the_innermost_word_counts():
    b = TraceBuilder().annotation("backward", 0, 100).annotation("optimizer", 10, 90).range("a", 20, 30)
    assert phases(b.annotation("forward_backward", 40, 50).range("b", 42, 45)) == {
        "backward": "backward", "optimizer": "optimizer", "a": "optimizer", "forward_backward": "optimizer",
        "b": "optimizer",
    }  # fmt: skip


def test_operations_and_nodes_are_stronger_than_words():
    """GIVEN a numbered operation and a node in a range with another word WHEN attributed THEN what they are counts"""
    b = TraceBuilder().annotation("## backward ##", 0, 100).range("aten::ones_like", 5, 10)
    b.range("aten::cross_entropy_loss", 20, 30, sequence=4)
    b.annotation("## forward ##", 200, 300).range(f"{ENGINE}MulBackward0", 210, 220, sequence=4, forward_thread=1)
    assert phases(b) == {
        "## backward ##": "backward", "aten::ones_like": "backward", "aten::cross_entropy_loss": "forward",
        "## forward ##": "forward", f"{ENGINE}MulBackward0": "backward",
    }  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), [("nn.Module: Net_0", HostKind.PYTHON), ("perfkit::net", HostKind.OP)])
def test_a_modules_call_is_stronger_than_words_round_it_and_in_it(name, kind):
    b = TraceBuilder().annotation("eval", 0, 100).range(name, 10, 90, kind).range("a", 20, 30)
    found = phases(
        b.annotation("metrics", 40, 60).range("b", 45, 50).range("script.py(3): forward", 92, 95, HostKind.PYTHON)
    )
    assert [found[row] for row in (name, "a", "metrics", "b", "eval", "script.py(3): forward")] == [
        "forward", "forward", "forward", "forward", "other", "other",
    ]  # fmt: skip


def test_of_a_modules_call_and_the_optimizers_own_range_the_inner_one_counts():
    """GIVEN an optimizer's step with a closure, and a module that steps an optimizer WHEN attributed THEN inner wins"""
    b = TraceBuilder().annotation("Optimizer.step#LBFGS.step", 0, 100).module("net", 10, 50).range("a", 20, 30)
    b.range("aten::add_", 60, 70)
    b.module("trainer", 200, 300).annotation("Optimizer.step#SGD.step", 210, 290).range("aten::mul_", 220, 230)
    found = phases(b)
    assert [found[name] for name in ("perfkit::net", "a", "aten::add_", "perfkit::trainer", "aten::mul_")] == [
        "forward", "forward", "optimizer", "forward", "optimizer",
    ]  # fmt: skip


def test_numbered_operations_of_an_optimizer_are_forward_only_in_a_closure():
    """GIVEN operations in Optimizer.step whose nodes run in it, after it, and never WHEN attributed THEN only the first
    are a closure's forward: the others only read the number of the node that the next forward makes"""
    b = TraceBuilder().annotation("Optimizer.step#A.step", 0, 100).range("closure", 10, 20, sequence=1)
    b.range("ABackward0", 30, 40, sequence=1, forward_thread=1)
    b.range("p.data.add_", 50, 60, sequence=2).range("decay", 70, 80, sequence=3)
    b.range("aten::mm", 110, 120, sequence=2).range("MmBackward0", 130, 140, sequence=2, forward_thread=1)
    b.annotation("optimizer loop", 200, 300).range("aten::t", 210, 220, sequence=9)
    found = phases(b)
    assert [found[name] for name in ("closure", "p.data.add_", "decay", "aten::mm", "aten::t")] == [
        "forward", "optimizer", "optimizer", "forward", "forward",
    ]  # fmt: skip


def test_a_number_that_a_later_operation_takes_is_no_sign_of_forward_against_words():
    """GIVEN transforms in a loader's range with the number of the next real operation, and a composite operation with
    one that needs no gradient and one that does WHEN attributed THEN only the transforms have the range's phase"""
    b = TraceBuilder().annotation("load batch", 0, 100).range("aten::div", 10, 30, sequence=7)
    b.range("aten::true_divide", 15, 20, sequence=7)
    b.annotation("logging", 200, 300).range("aten::linear", 210, 290, sequence=7).range("aten::t", 220, 230, sequence=7)
    b.range("aten::addmm", 240, 250, sequence=7).range("aten::detach", 260, 270, sequence=8)
    b.range("aten::mul", 310, 320, sequence=8).range("aten::item", 330, 340, sequence=9)
    b.range("aten::sum", 350, 360, sequence=9)
    found = phases(b)
    assert [found[name] for name in ("aten::div", "aten::true_divide")] == ["other", "other"]
    assert [found[name] for name in ("aten::linear", "aten::t", "aten::addmm", "aten::detach")] == ["forward"] * 4
    assert [found[name] for name in ("aten::mul", "aten::item")] == ["forward", "forward"]  # no word says another phase


def test_fused_optimizers_and_backwards_are_known_by_their_operators():
    b = TraceBuilder().range("aten::_fused_adamw_", 0, 10).range("aten::convolution_backward", 20, 30)
    assert list(phases(b.range("aten::mm", 40, 50)).values()) == ["optimizer", "backward", "other?"]


def test_launches_of_a_thread_without_ranges_take_the_word_that_is_open_in_their_process():
    """GIVEN a thread of driver calls beside a thread with ranges WHEN attributed THEN the innermost open word counts;
    a word of another process does not, and outside of words nothing does"""
    b = TraceBuilder().annotation("step", 0, 100).annotation("forward", 10, 30).annotation("backward", 40, 60)
    b.annotation("optimizer", 45, 50)
    for name, start in (
        ("in forward", 15),
        ("in backward", 41),
        ("in optimizer", 47),
        ("after it", 55),
        ("at its end", 60),
    ):
        call(b, name, start, thread=1)
    b.annotation("loss", 12, 100, thread=2)
    found = phases(b, 1, 1, 2)
    assert [found[name] for name in ("in forward", "in backward", "in optimizer", "after it", "at its end")] == [
        "forward", "backward", "optimizer", "backward", "other?",
    ]  # fmt: skip


def test_where_words_of_several_threads_differ_none_counts():
    b = (
        TraceBuilder()
        .annotation("forward", 0, 50)
        .annotation("backward", 20, 80, thread=2)
        .annotation("fwd", 5, 9, thread=3)
    )
    for name, start in (("one", 7), ("both", 30), ("the other", 60)):
        call(b, name, start, thread=1)
    found = phases(b)
    assert [found[name] for name in ("one", "both", "the other")] == ["forward", "other?", "backward"]


def test_ranges_that_libraries_open_do_not_make_a_thread_have_its_own():
    """GIVEN driver calls inside ranges of NCCL and CUB, and in a range of the program WHEN attributed THEN only the
    thread with the program's range keeps to itself"""
    b = TraceBuilder().annotation("backward", 0, 100).annotation("cub::DeviceReduce", 10, 20, thread=1)
    call(b, "in a library", 15, thread=1)
    call(b, "beside it", 30, thread=1)
    b.annotation("worker", 10, 20, thread=2)
    call(b, "in a worker", 15, thread=2)
    found = phases(b)
    assert [found[name] for name in ("in a library", "beside it", "in a worker")] == ["backward", "backward", "other?"]


def test_a_kernel_takes_the_phase_of_a_call_outside_every_range():
    """GIVEN kernels of a thread without ranges, launched while backward is open, and later WHEN attributed THEN so"""
    b = (
        TraceBuilder()
        .annotation("backward", 0, 100)
        .launched("k", 50, 60, 70, thread=1)
        .launched("late", 150, 160, 170, thread=1)
    )
    found = attribute(b.build()).events
    assert [Phase(phase).label for phase in found.phase] == ["backward", "other"]
    assert found.is_evident.tolist() == [True, False]


def test_words_come_before_what_the_thread_says():
    """GIVEN a thread that runs nodes and no forward operation WHEN attributed THEN what has a word keeps to it"""
    b = TraceBuilder().range("aten::mm", 0, 5, sequence=1).range("A", 10, 20, sequence=1, forward_thread=1, thread=1)
    b.annotation("optimizer", 30, 50, thread=1).range("x", 35, 40, thread=1).range("rest", 60, 70, thread=1)
    found = phases(b)
    assert [found[name] for name in ("A", "x", "rest")] == ["backward", "optimizer", "backward"]
