"""Annotations of graph nodes, as each version of PyTorch's tools writes them into the args of an event."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perfkit.trace.chrome.annotations import annotation
from perfkit.trace.chrome.events import Args
from perfkit.trace.chrome.reader import read_chrome_json
from tests.trace.trace_damage import device_event


@pytest.mark.parametrize(
    ("args", "scope"),
    [
        (Args(annotation="layers.3"), "layers.3"),
        (Args(text="layer 3"), "layer 3"),  # torch 2.12 and 2.13, of a string
        (Args(name="layer 3"), "layer 3"),  # torch 2.14, of a string
        (Args(module_fqn="layers.0.mlp"), "layers.0.mlp"),  # compilers, of a dictionary
        (Args(fqn="layers.0"), "layers.0"),
        (Args(module_fqn="layers.0", fqn="b", name="c", text="d", annotation="e"), "layers.0"),
        (Args(annotation="e", name="c", text="d"), "e"),
        (Args(name="c", text="d"), "c"),
        (Args(module_fqn="", text="d"), "d"),
        (Args(annotation=7), "7"),
        (Args(annotation='[{"name": "attn", "stream": 60}]'), "attn"),
        (Args(annotation='[{"name": "attn"}, {"module_fqn": "layers.1"}]'), "layers.1"),
        (Args(annotation='{"str": "attn"}'), "attn"),
        (Args(annotation='[{"In msg nelems": 5}]'), None),
        (Args(annotation="[not JSON"), "[not JSON"),
        (Args(annotation="[]"), "[]"),
        (Args(annotation=""), None),
        (Args(), None),
    ],
)
def test_the_scope_that_an_annotation_names(args, scope):
    assert annotation(args, in_graph=True) == scope


def test_names_that_other_events_have_too_count_in_graphs_only():
    assert annotation(Args(name="stream 7", text="x"), in_graph=False) is None
    assert annotation(Args(module_fqn="layers.0"), in_graph=False) == "layers.0"
    assert annotation(Args(annotation='[{"name": "attn"}]'), in_graph=False) == "attn"


def test_annotations_of_a_file():
    """GIVEN nodes with each spelling, a kernel outside graphs, one without any WHEN read THEN the nodes' are kept"""

    def node(number: int, **said: Any) -> dict[str, Any]:
        return device_event(number, args={"correlation": 1, "graph node id": number, **said})

    nodes = [node(1, str="a"), node(2, name="b"), node(3, module_fqn="layers.0"), node(4), node(0, str="no node")]
    events = [*nodes, node(5, annotation=json.dumps([{"name": "c"}])), node(6, str="a")]
    text = json.dumps({"traceEvents": [*events, device_event(9, args={"str": "x", "name": "y"})]}).encode()
    trace = read_chrome_json(iter([text]), "t.json")
    names = [*trace.names, ""]
    assert [names[code] for code in trace.device.annotation] == ["a", "b", "layers.0", "", "", "c", "a", ""]
