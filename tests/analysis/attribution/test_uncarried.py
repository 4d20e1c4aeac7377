"""Nodes whose own number tells nothing: writes into views, and TorchScript (rule 7 of docs/attribution.md)."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.attribution.scopes import How
from perfkit.analysis.attribution.uncarried import is_in_place, is_scripted
from perfkit.trace.load import load
from tests.analysis.attribution.test_links import Linked, node, op
from tests.builders import ENGINE, TraceBuilder
from tests.corpus import corpus_file

SCRIPTED = "torch::jit::(anonymous namespace)::DifferentiableGraphBackward"


def test_the_kinds_of_node_by_their_names():
    in_place = ["CopySlices", "torch::autograd::CopySlices", ENGINE + "CopySlices", "AsStridedBackward0"]
    scripted = [SCRIPTED, ENGINE + SCRIPTED, "torch::jit::DifferentiableGraphBackward"]
    others = ["CopyBackwards", "MulBackward0", "MyCopySlices", "torch::autograd::CppNode<CopySlices>", ""]
    assert [[is_in_place(name), is_scripted(name)] for name in (*in_place, *scripted, *others)] == [
        *[[True, False]] * 4, *[[False, True]] * 3, *[[False, False]] * 5,
    ]  # fmt: skip


# --- writes into views --------------------------------------------------------------------------------------------


def assignment() -> TraceBuilder:
    """Operations 5, 6 (twice) and 9: the second 6 is an assignment that made the nodes 6, 7 and 8."""
    b = TraceBuilder()
    for start, name, number in ((0, "mul", 5), (10, "select", 6), (20, "copy_", 6), (30, "sum", 9)):
        op(b, name, start, number)
    return b


def test_the_operation_below_made_the_nodes_of_a_view():
    b = node(node(node(assignment(), "CopySlices", 100, 7), "CopyBackwards", 110, 6), "AsStridedBackward0", 120, 8)
    found = Linked(b)
    assert found.targets == {"CopySlices": "copy_", "CopyBackwards": "copy_", "AsStridedBackward0": "copy_"}
    assert found.flags(found.attribution.guessed) == {"CopySlices", "AsStridedBackward0"}


def test_the_engines_range_round_such_a_node_links_as_it_does():
    found = Linked(node(node(assignment(), "SelectBackward0", 100, 6), "x", 105, 5).node("CopySlices", 120, 150, 7))
    assert found.targets[ENGINE + "CopySlices"] == found.targets["CopySlices"] == "copy_"
    assert found.flags(found.attribution.guessed) == {ENGINE + "CopySlices", "CopySlices"}


def test_a_number_that_an_operation_carries_is_no_guess():
    b = op(assignment(), "as_strided", 25, 8)
    found = Linked(node(node(b, "AsStridedBackward0", 100, 8), "CopyBackwards", 110, 6))
    assert found.targets["AsStridedBackward0"] == "as_strided"
    assert not found.attribution.guessed.any()


@pytest.mark.parametrize("number", [4, 10])
def test_without_operations_on_both_sides_there_is_no_link(number):
    """GIVEN a view's node below or above all numbers of the file WHEN linked THEN its forward may lie outside"""
    b = node(node(assignment(), "CopySlices", 100, number), "SumBackward0", 110, 9)
    assert Linked(b).targets == {"SumBackward0": "sum"}


def test_another_kind_of_node_in_between_shows_that_an_operation_is_missing():
    """GIVEN node 7 of an operation that is not in the file WHEN 8 is a CopySlices THEN 6 did not make it"""
    b = node(node(node(assignment(), "CopySlices", 100, 8), "MulBackward0", 110, 7), "CopyBackwards", 120, 6)
    assert Linked(b).targets == {"CopyBackwards": "copy_"}


@pytest.mark.parametrize(("at", "target"), [(100, {"CopySlices": "below"}), (101, {})])
def test_what_made_it_ran_before_it(at, target):
    b = op(op(TraceBuilder(), "below", at, 6), "above", 10, 8)
    found = Linked(node(node(b, "CopySlices", 100, 7, thread=1), "C", 300, 8, thread=1))
    assert found.targets == {**target, "C": "above"}
    assert found.flags(found.attribution.guessed) == set(target)


def test_numbers_below_and_above_are_those_of_the_nodes_thread():
    b = op(op(TraceBuilder(), "below here", 0, 6), "above there", 10, 8, thread=1)
    node(node(b, "CopySlices", 100, 7, thread=2), "A", 90, 6, thread=2)
    assert Linked(b).targets == {"A": "below here"}


def test_perfkits_range_round_a_node_comes_before_a_guess():
    b = assignment().range(ENGINE + "CopySlices", 100, 150, sequence=7, forward_thread=1)
    node(b.range("perfkit.backward::layers.0", 110, 140), "CopySlices", 115, 7, end=135)
    found = Linked(node(b, "SumBackward0", 160, 9))
    assert found.owners == dict.fromkeys((ENGINE + "CopySlices", "CopySlices"), "perfkit.backward::layers.0")


# --- TorchScript --------------------------------------------------------------------------------------------------


def script(inside: str = "<forward op>") -> TraceBuilder:
    """zero_grad's detach_ carries 3; the graph's node takes 3; detach, and linear in the graph, carry 4; then relu."""
    b = op(TraceBuilder().annotation("zero_grad", 0, 10), "aten::detach_", 2, 3)
    b.annotation("net", 20, 60)
    op(b, "aten::detach", 22, 4, length=1)
    return op(op(b.range(inside, 25, 40), "aten::linear", 26, 4), "aten::relu", 45, 4)


@pytest.mark.parametrize("inside", ["<forward op>", "<foward op>"])
def test_a_script_begins_with_the_next_number(inside):
    """GIVEN a graph's node of 3 and a relu of 4 WHEN linked THEN 3 is not detach_'s in zero_grad, nor 4 linear's"""
    found = Linked(node(node(script(inside), "ReluBackward0", 100, 4), SCRIPTED, 110, 3))
    assert found.targets == {"ReluBackward0": "aten::relu", SCRIPTED: "aten::detach"}
    assert found.flags(found.attribution.guessed) == {SCRIPTED}


def test_what_runs_in_a_script_makes_no_node():
    """GIVEN node 4, whose operation is missing, WHEN only the script's operations carry it THEN it has no link"""
    b = op(TraceBuilder().range("<forward op>", 25, 40), "aten::linear", 26, 4)
    assert Linked(node(node(b, "LayerNormBackward0", 100, 4), SCRIPTED, 110, 3)).targets == {SCRIPTED: "aten::linear"}


def test_a_script_without_an_operation_in_the_file_links_nowhere():
    assert Linked(node(node(script(), "ReluBackward0", 100, 4), SCRIPTED, 110, 8)).targets == {
        "ReluBackward0": "aten::relu"
    }
    assert SCRIPTED not in Linked(node(script(), SCRIPTED, 21, 3)).targets  # the next number began after the node


def test_time_with_a_guessed_scope_is_marked():
    b = node(node(script(), "ReluBackward0", 100, 4), SCRIPTED, 110, 3).launched("k", 112, 200, 230)
    found = attribute(b.build())
    assert [found.paths[path] for path in found.events.path] == ["net"]
    assert found.events.how.tolist() == [How.GUESSED]


# --- the engine's own node ----------------------------------------------------------------------------------------


def test_the_root_of_several_losses_has_no_operation_and_is_not_missed():
    """GIVEN a GraphRoot, which takes a number that ones_like saw, WHEN linked THEN it is nobody's, nor counted"""
    b = op(op(TraceBuilder(), "sum", 0, 5), "aten::ones_like", 10, 6)
    found = Linked(b.node("torch::autograd::GraphRoot", 100, 110, 6).node("SumBackward0", 120, 130, 5))
    assert found.targets == {ENGINE + "SumBackward0": "sum", "SumBackward0": "sum"}
    assert found.flags(found.attribution.numbered) == {"SumBackward0"}


# --- real traces --------------------------------------------------------------------------------------------------


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "nodes", "guessed"),
    [("cpu_dlrm_old_format", 60, 10), ("sampled_rank0", 271, 25), ("v100_training", 905, 0)],
)
def test_guesses_in_real_traces(name, nodes, guessed):
    """GIVEN a real trace WHEN linked THEN only TorchScript's nodes are guessed, into the script or its detaching

    The numbers were counted by hand in the files: numbered nodes, and those of TorchScript whose next number some
    operation carries. All of cpu_dlrm's stand in `## forward ##`, not in `## zero_grad ##`.
    """
    found = attribute(load(corpus_file(f"kineto/{name}.json.gz")))
    host, links = found.host, found.links
    rows = (links.guessed & links.numbered).nonzero()[0]
    assert (int(links.numbered.sum()), len(rows)) == (nodes, guessed)
    assert {is_scripted(host.name_of(row)) for row in rows.tolist()} <= {True}
    ancestors = set()
    for target in links.target[rows].tolist():
        row = target
        while row != NONE:
            ancestors.add(host.name_of(row))
            row = int(host.forest.parent[row])
    assert "## zero_grad ##" not in ancestors
    assert ("## forward ##" in ancestors) == bool(guessed)
