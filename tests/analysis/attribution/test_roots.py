"""Outermost modules: what runs in them, and models that share the names of their modules."""

from __future__ import annotations

from perfkit.analysis.attribution.roots import Roots
from perfkit.trace.columns import HostKind
from tests.analysis.attribution.whereabouts import attributed
from tests.builders import ENGINE, TraceBuilder


def roots(b: TraceBuilder) -> Roots:
    return attributed(b).naming.roots


def call(b: TraceBuilder, at: int, number: int, root: str = "Sequential", *children: str) -> TraceBuilder:
    """A model's call of 100 ns at a time, with an operation in each module; their sequence numbers from `number` on."""
    b.module(root, at, at + 100)
    for index, child in enumerate(children or ("0", "1")):
        begin = at + 10 + 20 * index
        b.module(child, begin, begin + 15).range("aten::linear", begin + 2, begin + 10, sequence=number + index)
    return b


def backward(b: TraceBuilder, at: int, *numbers: int) -> TraceBuilder:
    """Nodes of these numbers, each followed by the accumulation of a gradient unless its number is below 0."""
    for index, number in enumerate(numbers):
        begin = at + 20 * index
        b.node("AddmmBackward0", begin, begin + 5, abs(number))
        if number > 0:
            b.range(f"{ENGINE}torch::autograd::AccumulateGrad", begin + 10, begin + 15)
    return b


def test_what_runs_in_a_root_though_its_name_does_not_say_so():
    b = call(TraceBuilder(), 0, 1, "Net", "body", "head").module("body.fc", 12, 20)
    assert roots(b) == Roots({"Net": ("body", "body.fc", "head")})
    assert roots(call(TraceBuilder(), 0, 1, "G", "G.0", "G.1")) == Roots()
    assert roots(TraceBuilder().module("fc", 0, 9)) == Roots()


def test_frames_named_by_a_tree_have_roots_too():
    b = TraceBuilder().range("nn.Module: Net_0", 0, 50, HostKind.PYTHON)
    b.range("nn.Module: Linear_0", 5, 40, HostKind.PYTHON)
    found = attributed(b, modules={"Net": "Net", "fc": "Linear"})
    assert found.naming.roots == Roots({"Net": ("fc",)})
    assert attributed(b).naming.roots == Roots()


def test_two_models_of_different_classes_share_the_names_that_run_in_both():
    b = call(call(TraceBuilder(), 0, 1, "Generator", "0", "1"), 200, 5, "Discriminator", "0", "head")
    assert roots(b).shared == ("0",)


def test_a_part_of_the_model_that_is_called_by_itself_too_is_no_second_model():
    """GIVEN an encoder that uses a shared embedding, once inside the model and once alone WHEN asked THEN one model"""
    b = call(TraceBuilder(), 0, 1, "Net", "encoder", "embed").module("embed", 12, 20)
    assert roots(call(b, 200, 5, "encoder", "embed", "embed")).shared == ()


def test_two_models_of_one_class_accumulate_the_gradients_of_a_name_for_two_calls():
    """GIVEN a model on the output of another WHEN one backward pass accumulates the gradients of both THEN it shows"""
    b = call(call(TraceBuilder(), 0, 1), 200, 3)
    assert roots(backward(b.range("aten::ones_like", 390, 395), 400, 4, -3, 2, -1)).shared == ("0", "1", "Sequential")


def test_one_model_that_is_called_twice_accumulates_after_the_last_of_its_nodes():
    b = call(call(TraceBuilder(), 0, 1), 200, 3)
    assert roots(backward(b, 400, -4, -3, 2, 1)).shared == ()


def test_passes_of_one_model_accumulate_apart():
    """GIVEN two calls and a pass for each, told by an operator between or by numbers that rise THEN one model"""
    b = call(call(TraceBuilder(), 0, 1), 200, 3)
    assert roots(backward(backward(b, 400, 2, 1), 500, 4, 3)).shared == ()
    b = backward(call(call(TraceBuilder(), 0, 1), 200, 3), 400, 4, 3)
    assert roots(backward(b.range("aten::ones_like", 450, 455), 500, 2, 1)).shared == ()
