"""Module frames named by the model's tree, and trees that the trace contradicts (rule 12)."""

from __future__ import annotations

import pytest

from perfkit.trace.columns import HostKind
from tests.analysis.attribution.whereabouts import attributed, frames, where
from tests.builders import TraceBuilder

TREE = {"net": "Net", "net.a": "Linear", "net.b": "Linear"}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("Linear_0", "net.a"), ("Linear_1", "net.b"), ("Linear_2", "Net_0/Linear_2"), ("Conv_0", "Net_0/Conv_0"),
        ("Linear_x", "Net_0/Linear_x"), ("Linear", "Net_0/Linear"),
    ],
)  # fmt: skip
def test_frames_have_their_place_in_the_tree_or_none_has(name, path):
    found = attributed(frames("Net_0", name), modules=TREE)
    assert (where(found)["work"], found.qualified) == (path, "/" not in path)


def calls(*nested: str) -> TraceBuilder:
    """Frames one after the other, each as `Outer_0/Inner_0`; an outer frame holds those that follow it under it."""
    b, at = TraceBuilder(), 0
    for path in nested:
        names = path.split("/")
        for level, name in enumerate(names):
            b.range(f"nn.Module: {name}", at + level, at + 50 - level, HostKind.PYTHON)
        b.range(f"in {names[-1]}", at + 20, at + 21)
        at += 100
    return b


SWAPPED = {"net": "Net", "net.head": "Linear", "net.body": "Body", "net.body.fc": "Linear"}
"""The head stands first, and is called last."""


def test_a_tree_of_another_order_than_the_calls_is_not_used():
    found = attributed(calls("Net_0/Body_0/Linear_0", "Net_0/Linear_1"), modules=SWAPPED)
    assert not found.qualified
    assert where(found)["in Linear_0"] == "Net_0/Body_0/Linear_0"
    assert found.naming.tree_problem == (
        "modules are called in another order than it has them: net.body.fc would run inside net"
    )


def test_siblings_that_swap_their_parts_are_noticed():
    tree = {"net": "Net", "net.a": "A", "net.a.fc": "Linear", "net.b": "B", "net.b.fc": "Linear"}
    found = attributed(calls("Net_0/B_0/Linear_0", "Net_0/A_0/Linear_1"), modules=tree)
    assert "net.a.fc would run inside net.b" in found.naming.tree_problem
    fitting = attributed(calls("Net_0/A_0/Linear_0", "Net_0/B_0/Linear_1"), modules=tree)
    assert (fitting.qualified, fitting.naming.tree_problem) == (True, "")


def test_a_module_used_outside_its_parent_is_no_other_order():
    """GIVEN an embedding of the root that encoder and decoder call, as in T5 WHEN named THEN by the tree"""
    tree = {"T5": "T5", "shared": "Embedding", "encoder": "Stack", "encoder.fc": "Linear", "decoder": "Stack"}
    found = attributed(
        calls("T5_0/Stack_0/Embedding_0", "T5_0/Stack_0/Linear_0", "T5_0/Stack_1/Embedding_0"), modules=tree
    )
    assert (found.naming.tree_problem, where(found)["in Embedding_0"]) == ("", "shared")


def test_a_call_past_a_modules_parent_is_no_other_order():
    tree = {"Net": "Net", "body": "Body", "body.fc": "Linear", "head": "Linear"}
    b = calls("Net_0/Body_0/Conv_0", "Net_0/Linear_0", "Net_0/Linear_1")
    assert attributed(b, modules={**tree, "body.conv": "Conv"}).naming.tree_problem == ""


def test_frames_below_a_root_that_was_not_called():
    tree = {"Net": "Net", "a": "Linear", "layers": "ModuleList", "layers.0": "Linear"}
    found = attributed(calls("Linear_0", "Linear_1"), modules=tree)
    assert (found.naming.tree_problem, where(found)["in Linear_1"]) == ("", "layers.0")


def test_a_class_of_which_only_some_were_called_is_said_and_named_all_the_same():
    found = attributed(frames("Net_0", "Linear_0"), modules=TREE)
    assert (found.qualified, where(found)["work"]) == (True, "net.a")
    assert found.naming.tree_problem == (
        "the trace has 1 of 2 Linear: if one before the last was not called, names after it are shifted"
    )


def test_a_tree_without_frames_and_frames_without_a_tree():
    assert attributed(TraceBuilder().annotation("net", 0, 9), modules=TREE).naming.tree_problem == (
        "the trace has no module frames that it could name"
    )
    assert attributed(TraceBuilder().module("net", 0, 9), modules=TREE).naming.tree_problem == ""
    assert attributed(frames("Net_0")).naming.tree_problem == ""


def test_frames_that_run_again_in_backward_have_no_caller_there():
    """GIVEN a layer that runs again inside a node, which another module's frame holds WHEN named THEN it fits"""
    tree = {"Net": "Net", "a": "A", "a.fc": "Linear", "b": "B", "b.fc": "Linear"}
    b = calls("Net_0/A_0/Linear_0", "Net_0/B_0/Linear_1").range("aten::mm", 22, 23, sequence=1)
    b.range("nn.Module: B_0", 300, 400, HostKind.PYTHON).range("MmBackward", 310, 390, sequence=1, forward_thread=1)
    assert attributed(b.range("nn.Module: Linear_0", 320, 380, HostKind.PYTHON), modules=tree).naming.tree_problem == ""
