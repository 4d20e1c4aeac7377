"""The finding on guessed links."""

from __future__ import annotations

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.findings.guesses import guessed_links
from perfkit.analysis.time.account import account_for
from perfkit.schema.finding import Cost, Finding
from perfkit.trace.columns import Trace
from tests.builders import TraceBuilder


def written(name: str) -> Trace:
    """Backward of 100 ns in two nodes: 75 ns in one by that name, whose number 2 lies between the operations' 1 and 3.

    The rest is in a node of number 1.
    """
    b = TraceBuilder().step(0, 0, 900).module("net", 0, 50)
    for start, number in ((10, 1), (20, 3)):
        b.range("aten::copy_", start, start + 5, sequence=number)
    b.node(name, 100, 200, 2).launched("gemm", 110, 1000, 1075)
    return b.node("CopyBackwards", 300, 400, 1).launched("gemm", 310, 1100, 1125).build()


def said(trace: Trace) -> Finding | None:
    return guessed_links(account_for(trace, attribute(trace)))


def test_guessed_links_say_how_many_and_how_much_time():
    finding = said(written("CopySlices"))
    assert finding is not None
    assert finding.what == (
        "1 of 2 backward nodes link to their forward operation by a guess, from the numbers next to theirs"
        " (views that were written to, TorchScript): 75.00 ns (75.0%) ran in them"
    )
    assert finding.cost == Cost(75, 0.75)
    assert finding.sure == "guessed"


def test_a_node_of_another_kind_is_not_linked_by_a_guess():
    assert said(written("MulBackward0")) is None
