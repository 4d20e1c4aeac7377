"""Rules that CPU recordings (tests/truth) revealed, tested on hand-made traces in both implementations."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.trace.load import load
from tests.analysis.attribution.test_attribute_reference import fast_rows
from tests.reference import attribution_reference as reference
from tests.reference import random_traces
from tests.reference.test_reference import Trace

ACCUMULATE = "torch::autograd::AccumulateGrad"


@pytest.fixture
def totals(tmp_path: Path):
    """Rows of a trace, which must be the same from both implementations."""

    def both(trace: Trace) -> dict[tuple[str, str], int]:
        slow = trace.totals()
        random_traces.write_json(trace.events, tmp_path / "trace.json")
        found = load(tmp_path / "trace.json")
        fast = {key: row[0] for key, row in fast_rows(found, attribute(found)).items()}
        assert fast == slow
        return slow

    return both


def _mul_in(trace: Trace, scope: str, ts: int, seq: int, cat: str = "cpu_op") -> None:
    trace.host(scope, ts, ts + 90, cat=cat)
    trace.op("aten::mul", ts + 10, ts + 20, seq=seq)


def test_a_number_that_no_operation_carries_goes_to_the_one_below(totals):
    """GIVEN a node made inside an operation with another number, and operations before and after it
    WHEN attributed THEN it goes with the operation that made it"""
    trace = Trace()
    _mul_in(trace, "perfkit::a", 0, seq=5)
    _mul_in(trace, "perfkit::b", 100, seq=6)
    trace.op("aten::copy_", 150, 160, seq=6)
    _mul_in(trace, "perfkit::c", 200, seq=8)
    trace.node("torch::autograd::CopySlices", 300, 350, seq=7, fwd=1)
    trace.op("MulBackward0", 320, 330, seq=5, fwd=1)
    trace.kernel("k", 305, 7)
    trace.kernel("k", 325, 11)
    assert totals(trace) == {("b", "backward"): 7, ("a", "backward"): 11}


def test_nothing_below_a_number_leaves_the_node_unlinked(totals):
    """GIVEN a node older than the recording WHEN attributed THEN it is not given to a later operation"""
    trace = Trace()
    _mul_in(trace, "perfkit::a", 0, seq=5)
    trace.node("MulBackward0", 300, 350, seq=4, fwd=1)
    trace.node("MulBackward0", 400, 450, seq=5, fwd=1)
    trace.kernel("k", 310, 7)
    assert totals(trace) == {("<unattributed>", "backward"): 7}


@pytest.mark.parametrize("scope", ["perfkit::a", "a"])
def test_a_forward_without_gradient_inside_a_node_is_recompute(scope, totals):
    """GIVEN a checkpoint run again inside another, so that its operations have no number
    WHEN attributed THEN its scopes still count"""
    cat = "cpu_op" if "::" in scope else "user_annotation"
    trace = Trace()
    _mul_in(trace, scope.replace("a", "b"), 0, seq=4, cat=cat)
    _mul_in(trace, scope, 100, seq=5, cat=cat)
    trace.node("CheckpointFunctionBackward", 300, 450, seq=4, fwd=1)
    trace.op("CheckpointFunction", 310, 400, seq=9)
    trace.host(scope, 320, 390, cat=cat)
    trace.host("aten::mul", 330, 380)
    trace.kernel("k", 340, 7)
    assert totals(trace) == {("a", "recompute"): 7}


def test_an_annotation_of_backward_alone_stays_transparent(totals):
    """GIVEN an annotation in a node, neither around nor inside a forward operation, whose name also occurs in forward
    WHEN attributed THEN the scope is the one that the node leads to"""
    trace = Trace()
    _mul_in(trace, "a", 0, seq=4, cat="user_annotation")
    _mul_in(trace, "b", 100, seq=5, cat="user_annotation")
    trace.node("MulBackward0", 300, 450, seq=5, fwd=1)
    trace.host("a", 320, 390, cat="user_annotation")
    trace.kernel("k", 340, 7)
    assert totals(trace) == {("b", "backward"): 7}


def test_a_checkpointed_plain_functions_own_work_is_its_callers(totals):
    """GIVEN a function between two modules' calls, run again inside the node of the second
    WHEN attributed THEN it goes to the scope around them that does not open again"""
    trace = Trace()
    trace.host("perfkit::m", 0, 200)
    _mul_in(trace, "perfkit::m.up", 5, seq=4)
    _mul_in(trace, "perfkit::m.down", 105, seq=6)
    trace.node("MulBackward0", 300, 500, seq=6, fwd=1)
    _mul_in(trace, "perfkit::m.up", 305, seq=7)
    trace.op("aten::sin", 396, 399, seq=8)
    trace.kernel("k", 397, 5)
    _mul_in(trace, "perfkit::m.down", 400, seq=9)
    trace.kernel("k", 495, 11)
    assert totals(trace) == {("m", "recompute"): 5, ("m.down", "backward"): 11}


@pytest.mark.parametrize("prefix", ["perfkit::", "perfkit.recompute::"])
def test_what_runs_again_may_say_so_in_its_name(prefix, totals):
    """GIVEN ranges named as recomputation, inside a node or outside every node, or named as in forward
    WHEN attributed THEN the name shows recomputation if no node does, and a plain function's caller is still found"""
    trace = Trace()
    trace.host("perfkit::m", 0, 200)
    _mul_in(trace, "perfkit::m.up", 5, seq=4)
    _mul_in(trace, "perfkit::m.down", 105, seq=6)
    trace.node("MulBackward0", 300, 500, seq=6, fwd=1)
    _mul_in(trace, f"{prefix}m.up", 305, seq=7)
    trace.kernel("k", 320, 3)
    trace.op("aten::sin", 396, 399, seq=8)
    trace.kernel("k", 397, 5)
    _mul_in(trace, f"{prefix}m.down", 400, seq=9)
    trace.kernel("k", 495, 11)
    _mul_in(trace, f"{prefix}m.up", 600, seq=10)
    trace.kernel("k", 620, 17)
    alone = "recompute" if "recompute" in prefix else "forward"
    rows = {("m", "recompute"): 5, ("m.down", "backward"): 11, ("m.up", "recompute"): 3}
    rows["m.up", alone] = rows.get(("m.up", alone), 0) + 17
    assert totals(trace) == rows


def _accumulation(trace: Trace, ts: int) -> None:
    trace.host(reference.EVALUATE_PREFIX + ACCUMULATE, ts, ts + 50)
    trace.host(ACCUMULATE, ts + 5, ts + 45)
    trace.kernel("k", ts + 1, 3)
    trace.kernel("k", ts + 10, 5)


def test_a_mark_says_whose_gradient_is_accumulated(totals):
    """GIVEN marks in two accumulations after one node WHEN attributed THEN each goes to the module that its first mark
    names, even if that never ran, and an accumulation without a mark goes with the node"""
    trace = Trace()
    _mul_in(trace, "perfkit::a", 0, seq=5)
    trace.node("MulBackward0", 300, 350, seq=5, fwd=1)
    for ts, labels in ((400, ["b", "c"]), (500, ["a"]), (600, [])):
        _accumulation(trace, ts)
        for number, label in enumerate(labels):
            trace.host(f"perfkit.grad::{label}", ts + 20 + number, ts + 21 + number)
    assert totals(trace) == {("b", "backward"): 8, ("a", "backward"): 16}


def test_a_mark_says_nothing_elsewhere(totals):
    """GIVEN marks in an ordinary node, in forward, and in a trace whose scopes are not perfkit's
    WHEN attributed THEN they are neither scopes nor owners"""
    trace = Trace()
    _mul_in(trace, "perfkit::a", 0, seq=5)
    trace.host("perfkit.grad::b", 30, 40)
    trace.kernel("k", 31, 3)
    trace.node("MulBackward0", 300, 350, seq=5, fwd=1)
    trace.host("perfkit.grad::b", 310, 320)
    trace.kernel("k", 311, 7)
    assert totals(trace) == {("a", "forward"): 3, ("a", "backward"): 7}

    foreign = Trace()
    _mul_in(foreign, "a", 0, seq=5, cat="user_annotation")
    foreign.node("MulBackward0", 300, 350, seq=5, fwd=1)
    _accumulation(foreign, 400)
    foreign.host("perfkit.grad::b", 420, 421, cat="user_annotation")
    assert totals(foreign) == {("a", "backward"): 8}
