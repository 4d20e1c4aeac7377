"""Scopes that were noted at capture (docs/attribution.md, CUDA graphs)."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import Attribution, attribute
from perfkit.analysis.attribution.scopes import How
from perfkit.trace.columns import HostKind
from tests.builders import TraceBuilder


def noted(*annotations: str, b: TraceBuilder | None = None) -> Attribution:
    """A graph of a kernel for each annotation, launched in the range `decode`; "" stands for no annotation."""
    b = (b or TraceBuilder()).annotation("decode", 0, 50)
    b.range("cudaGraphLaunch", 10, 15, HostKind.RUNTIME, correlation=1)
    for node, text in enumerate(annotations):
        b.event("k", 100 + node, 101 + node, correlation=1, graph_node=node, annotation=text)
    return attribute(b.build())


def test_a_node_has_the_scope_that_was_noted_and_else_that_of_the_launch():
    found = noted("layers.0", "", "perfkit::layers.1", "layers.0")
    assert [found.paths[path] for path in found.events.path] == ["layers.0", "decode", "layers.1", "layers.0"]
    assert found.events.how.tolist() == [How.GRAPH, How.SCOPE, How.GRAPH, How.GRAPH]


@pytest.mark.parametrize(
    ("annotation", "qualified"),
    [("layers.0", True), ("model.layers.0.attn", True), ("attn", False), ("phase A", False), ("v2.0 of it", False)],
)
def test_qualified_names_are_known_by_the_number_of_a_layer(annotation, qualified):
    assert noted(annotation, "").qualified is qualified


def test_module_frames_keep_their_spelling():
    """GIVEN frames `Model_0/Linear_3` in the file WHEN nodes are annotated, too THEN paths are joined as the frames'"""
    frames = TraceBuilder().range("nn.Module: Model_0", 60, 70, HostKind.PYTHON)
    assert not noted("layers.0", b=frames).qualified
