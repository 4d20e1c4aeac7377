"""What ranges cost, by a clock by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from perfkit.workload import annotation_cost
from perfkit.workload.annotate import annotate
from perfkit.workload.annotation_cost import seconds_per_range


def test_the_cost_of_a_range_is_the_time_with_ranges_less_the_time_without():
    # GIVEN a clock that says 3 s without ranges and 5 s with them
    readings = iter([10.0, 13.0, 20.0, 25.0])

    # THEN
    assert seconds_per_range(4, lambda: next(readings)) == 0.5


def test_the_cost_of_a_range_is_never_negative():
    readings = iter([0.0, 3.0, 4.0, 5.0])
    assert seconds_per_range(1, lambda: next(readings)) == 0


def test_the_cost_of_a_node_is_that_of_its_range_and_never_negative():
    # GIVEN a clock that says 3 s without ranges and 5 s with them, and then the other way round
    readings = iter([10.0, 13.0, 20.0, 25.0, 10.0, 15.0, 20.0, 23.0])

    # THEN
    assert annotation_cost.seconds_per_node(4, lambda: next(readings)) == 0.5
    assert annotation_cost.seconds_per_node(4, lambda: next(readings)) == 0


@pytest.mark.parametrize("measured", [seconds_per_range, annotation_cost.seconds_per_node])
def test_the_cost_is_that_of_what_a_run_puts_in(monkeypatch, measured):
    # GIVEN
    asked: list[bool] = []

    def noted(model: nn.Module, *, backward: bool = False) -> Any:
        asked.append(backward)
        return annotate(model, backward=backward)

    monkeypatch.setattr(annotation_cost, "annotate", noted)

    # THEN a range is set against nothing, and a node's range against forward's
    measured(count=1)
    assert asked == ([False] if measured is seconds_per_range else [False, True])


def test_a_chain_has_as_many_nodes_as_it_is_told():
    x = torch.ones((), requires_grad=True)
    made, nodes = annotation_cost._Chain()(x, 3), 0
    node = made.grad_fn
    while node is not None and "Mul" in type(node).__name__:
        node, nodes = node.next_functions[0][0], nodes + 1
    assert (nodes, made.item()) == (3, 1.0)
