"""Findings on CUDA graphs: whose scopes, without scope, and by which capture."""

from __future__ import annotations

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.attribution.captures import Capture, Captures
from perfkit.analysis.attribution.scopes import ScopeSource
from perfkit.analysis.time.account import Account, account_for
from perfkit.analysis.time.graphs import capture, cuda_graphs, graph_without_scope
from perfkit.schema.finding import Cost
from perfkit.trace.columns import HostKind
from tests.analysis.attribution.test_pieces import Engine
from tests.builders import TraceBuilder


def replayed(graphs: int = 1) -> TraceBuilder:
    """A kernel of 40 ns in a module, and graphs of two kernels, of 30 and 10 ns, that are launched outside it."""
    b = TraceBuilder().module("net", 0, 50).launched("gemm", 10, 100, 140)
    for number in range(graphs):
        at = 60 + 10 * number
        b.range("cudaGraphLaunch", at, at + 5, HostKind.RUNTIME, correlation=number)
        b.event("gemm", 200, 230, correlation=number).event("gelu", 230, 240, correlation=number)
    return b


def account(b: TraceBuilder, captures: Captures | None = None) -> Account:
    trace = b.build()
    return account_for(trace, attribute(trace, captures=captures))


def captured(*work: str, scopes: tuple[str, ...] = ("a", "b")) -> Captures:
    return Captures("folder/capture.json", (Capture(work, scopes),), ScopeSource.PERFKIT, qualified=True)


def test_graphs_without_a_scope_say_how_much_time_and_what_to_do():
    finding = graph_without_scope(account(replayed(2)), {})
    assert finding is not None
    assert finding.what == (
        "4 device events of 2 graph launches have no scope: 80.00 ns (66.7%);"
        " a replayed kernel does not say which code launched it"
    )
    assert finding.cost == Cost(80, 80 / 120)
    assert finding.advice.startswith("--capture with the trace of the run that captured the graph")


def test_graphs_with_a_scope_are_no_finding():
    assert graph_without_scope(account(replayed().annotation("decode", 55, 90)), {}) is None
    assert graph_without_scope(account(replayed().module("decode", 55, 90)), {}) is None
    assert graph_without_scope(account(TraceBuilder().launched("gemm", 10, 100, 140)), {}) is None
    assert graph_without_scope(account(replayed(), captured("gemm", "gelu")), {}) is None
    assert graph_without_scope(account(TraceBuilder().range("aten::mm", 0, 5)), {}) is None


def test_the_capture_says_how_many_launches_and_events_it_names():
    assert capture(account(replayed()), {}) is None
    finding = capture(account(replayed(2), captured("gemm", "gelu", scopes=("a", ""))), {})
    assert finding is not None
    assert (
        finding.what
        == "capture: 2 of 2 graph launches found in capture.json: 2 of their 4 device events have a module by it"
    )
    assert finding.sure == "measured"


def test_the_capture_says_where_names_could_not_be_compared():
    finding = capture(account(replayed(), captured("", "gelu")), {})
    assert finding is not None
    assert finding.what == (
        "capture: 1 of 1 graph launch found in capture.json: 2 of their 2 device events have a module by it;"
        " the names of 1 could not be compared (the capture does not name its kernels)"
    )
    assert finding.sure == "derived"


def test_graphs_say_where_their_scopes_are_from():
    def said(b: TraceBuilder, captures: Captures | None = None) -> str:
        finding = cuda_graphs(account(b, captures))
        assert finding is not None
        return finding.what.split("; ")[1]

    launch = "the scope of their launch, not of the code that was captured"
    assert said(replayed()) == f"they have {launch}"
    assert said(replayed(), captured("gemm", "gelu")) == "2 have the scope noted at capture"
    assert said(replayed(), captured("gemm", "gelu", scopes=("a", ""))) == (
        f"1 have the scope noted at capture, the others have {launch}"
    )
    assert said(Engine().step(2).trace) == "6 are in pieces of a step, numbered by the order of their launches"
