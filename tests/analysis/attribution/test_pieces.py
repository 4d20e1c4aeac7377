"""Piecewise CUDA graphs (docs/attribution.md, CUDA graphs)."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.attribution.scopes import How
from perfkit.trace.columns import HostKind
from tests.builders import TraceBuilder


class Engine:
    """Serves steps of graphs with attention between them."""

    def __init__(self) -> None:
        self.trace = TraceBuilder()
        self.now = 0

    def graph(self) -> Engine:
        """One launch of a graph with two kernels."""
        t = self.now
        self.trace.range("cudaGraphLaunch", t, t + 5, HostKind.RUNTIME, correlation=t)
        self.trace.event("gemm", t + 5, t + 8, correlation=t).event("norm", t + 8, t + 9, correlation=t)
        self.now += 20
        return self

    def eager(self, kernel: str, operator: str = "") -> Engine:
        if operator:
            self.trace.range(operator, self.now, self.now + 10)
        self.trace.launched(kernel, self.now + 1, self.now + 3, self.now + 9)
        self.now += 20
        return self

    def step(self, layers: int, kernel: str = "unknown", operator: str = "vllm::unified_attention") -> Engine:
        for _ in range(layers):
            self.graph().eager(kernel, operator)
        return self.graph()

    def scopes(self) -> list[str]:
        found = attribute(self.trace.build())
        return [found.paths[path] if path >= 0 else "" for path in found.events.path]


def expected(layers: int, front: str = "") -> list[str]:
    graphs = [[f"{front}pieces/{piece}/graph"] * 2 for piece in range(layers + 1)]
    return [
        scope for piece in range(layers) for scope in (*graphs[piece], f"{front}pieces/{piece}/attention")
    ] + graphs[layers]


@pytest.mark.parametrize(("kernel", "operator"), [("unknown", "vllm::unified_attention"), ("flash_fwd_kernel", "")])
def test_pieces_and_attention_are_numbered_within_each_step(kernel, operator):
    """GIVEN two steps of three pieces, and sampling after each WHEN attributed THEN by place, sampling stays"""
    engine = Engine().step(2, kernel, operator).eager("argmax").step(2, kernel, operator)
    assert engine.scopes() == [*expected(2), "", *expected(2)]
    how = attribute(engine.trace.build()).events.how.tolist()
    assert how == [How.PIECE] * 8 + [How.NONE] + [How.PIECE] * 8


def test_whole_graphs_with_sampling_between_are_no_pieces():
    engine = Engine()
    for _ in range(4):
        engine.graph().eager("argmax", "aten::argmax")
    assert set(engine.scopes()) == {""}


def test_two_graphs_are_no_pieces():
    assert set(Engine().step(1).scopes()) == {""}


def test_pieces_stand_below_the_scope_that_they_share():
    engine = Engine().step(2)
    engine.trace.annotation("decode", 0, engine.now)
    assert engine.scopes() == expected(2, "decode/")


def test_a_range_of_the_users_round_a_step_ends_it():
    """GIVEN steps with attention between their last and first graph, too WHEN each has a range THEN numbers restart"""
    engine = Engine().step(2)
    engine.trace.annotation("decode", 0, engine.now)
    begin = engine.eager("x", "vllm::unified_attention").now
    engine.step(2)
    engine.trace.annotation("decode", begin, engine.now)
    assert engine.scopes() == [*expected(2, "decode/"), "", *expected(2, "decode/")]


def test_scopes_that_say_the_layer_stay():
    engine = Engine()
    for layer in range(3):
        begin = engine.graph().now
        engine.trace.module(f"layers.{layer}", begin - 20, begin)
        engine.eager("flash_fwd_kernel")
    assert engine.scopes() == [scope for layer in range(3) for scope in (*[f"layers.{layer}"] * 2, "")]
