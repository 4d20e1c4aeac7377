"""Replays of CUDA graphs and the captures that they are of (docs/attribution.md, CUDA graphs)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from perfkit.analysis.attribution.attribute import Attribution, Phase, attribute
from perfkit.analysis.attribution.captures import Captures, captures_of, work_of
from perfkit.analysis.attribution.scopes import How, ScopeSource
from perfkit.errors import UsageError
from perfkit.trace.columns import DeviceKind, HostKind, Trace
from perfkit.trace.detail_columns import Calls
from perfkit.trace.details import read_details
from perfkit.trace.load import load
from tests.builders import TraceBuilder
from tests.corpus import corpus_file

Launch = tuple[str, str]
"""Module, and kernel; a copy or memset is `copy` or `memset`."""
LAYER = [("attn", "flash"), ("mlp", "gemm"), ("mlp", "gelu")]
COPY, MEMSET = DeviceKind.MEMCPY, DeviceKind.MEMSET


class Recorder:
    """A trace of captures, and what its calls say of their kernels."""

    def __init__(self) -> None:
        self.trace = TraceBuilder()
        self.kernels: list[str] = []
        self.now = 0

    def call(self, name: str, kernel: str = "", **columns: int) -> None:
        self.trace.range(name, self.now, self.now + 1, HostKind.RUNTIME, **columns)
        self.kernels += [""] * (len(self.trace.host) - len(self.kernels) - 1) + [kernel]
        self.now += 2

    def launch(self, module: str, kernel: str, thread: int = 0) -> None:
        """A launch in a module's range; "" stands for no module."""
        begin = self.now
        self.now += 1
        names = {"copy": "cudaMemcpyAsync", "memset": "cudaMemsetAsync"}
        named = kernel not in names
        self.call(names.get(kernel, "cudaLaunchKernel"), kernel if named else "", thread=thread, correlation=begin)
        if module:
            self.trace.module(module, begin, self.now, thread=thread)
        self.now += 1

    def capture(self, *launches: Launch) -> Recorder:
        self.call("cudaStreamBeginCapture")
        for module, kernel in launches:
            self.launch(module, kernel)
        self.call("cudaStreamEndCapture")
        return self

    def captures(self, *, named: bool = True) -> Captures:
        trace = self.trace.build()
        kernels = self.kernels + [""] * (len(trace.host) - len(self.kernels))
        texts = tuple(dict.fromkeys(kernel for kernel in kernels if kernel))
        codes = [texts.index(kernel) if kernel and named else -1 for kernel in kernels]
        return captures_of(trace, attribute(trace), Calls(np.array(codes, dtype=np.int32), texts))


def replay(*graphs: Sequence[str], nodes: Sequence[int] | None = None) -> Trace:
    """Launches of graphs, each with these kernels, one after the other, below a range `decode`."""
    b = TraceBuilder().annotation("decode", 0, 10_000)
    for number, kernels in enumerate(graphs):
        b.range("cudaGraphLaunch", 100 * number, 100 * number + 5, HostKind.RUNTIME, correlation=number)
        for place, kernel in enumerate(kernels):
            kind = {"copy": COPY, "memset": MEMSET}.get(kernel, DeviceKind.KERNEL)
            start = 1000 * number + 10 * place
            node = nodes[place] if nodes else -1
            b.event(kernel, start, start + 5, kind, correlation=number, graph_node=node)
    return b.build()


def scopes(found: Attribution) -> list[str]:
    return [found.paths[path] if path >= 0 else "" for path in found.events.path]


def layers(count: int) -> list[Launch]:
    return [(f"layers.{number}.{module}", kernel) for number in range(count) for module, kernel in LAYER]


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("cudaLaunchKernel", DeviceKind.KERNEL), ("cudaLaunchKernelExC", DeviceKind.KERNEL),
        ("cuLaunchKernelEx", DeviceKind.KERNEL), ("cudaLaunchCooperativeKernel", DeviceKind.KERNEL),
        ("hipExtModuleLaunchKernel", DeviceKind.KERNEL), ("hipMemcpyWithStream", COPY), ("cudaMemcpy2DAsync", COPY),
        ("cuMemsetD8Async", MEMSET), ("cudaGraphLaunch", None), ("cudaMalloc", None), ("cudaLaunchHostFunc", None),
    ],
)  # fmt: skip
def test_calls_that_put_work_on_a_stream(call, kind):
    assert work_of(call) is kind


def test_replayed_kernels_have_the_modules_of_the_captured_launches():
    """GIVEN a capture of two layers WHEN its graph is replayed twice THEN kernels have modules, and forward with them

    Nothing says the phase of the launch, nor that of a captured launch outside every module.
    """
    captures = Recorder().capture(*layers(2), ("", "sample")).captures()
    kernels = [kernel for _, kernel in layers(2)] + ["sample"]
    found = attribute(replay(kernels, kernels), captures=captures)
    once = [module for module, _ in layers(2)] + ["decode"]  # a launch without a module keeps what it has here
    assert scopes(found) == once * 2
    assert found.events.how.tolist() == ([How.GRAPH] * 6 + [How.SCOPE]) * 2
    assert found.events.phase.tolist() == ([Phase.FORWARD] * 6 + [Phase.OTHER]) * 2
    assert found.events.is_evident.tolist() == ([True] * 6 + [False]) * 2
    assert (found.scope_source, found.qualified) == (ScopeSource.PERFKIT, True)
    replays = found.replays
    assert replays is not None
    assert (replays.launches, replays.joined, replays.unnamed) == (2, 2, 0)


def test_a_phase_that_the_launch_says_stays():
    """GIVEN a replay in a range of the optimizer WHEN joined with a capture of modules THEN it is the optimizer's"""
    captures = Recorder().capture(*layers(1)).captures()
    trace = replay([kernel for _, kernel in layers(1)])
    names = tuple("optimizer" if name == "decode" else name for name in trace.names)
    found = attribute(replace(trace, names=names), captures=captures)
    assert scopes(found)[0] == layers(1)[0][0]
    assert set(found.events.phase.tolist()) == {Phase.OPTIMIZER}


def test_launches_that_ran_or_belong_to_others_are_not_captured():
    """GIVEN a kernel that ran, a launch before and after, and one on another thread WHEN captured THEN it is in order

    Backward is launched by autograd's own thread and captured all the same; what has a device event ran by itself.
    """
    r = Recorder()
    r.launch("warmup", "gemm")
    r.call("cudaStreamBeginCapture")
    r.launch("a", "flash")
    r.trace.event("elsewhere", 500, 510, correlation=r.now)
    r.launch("loader", "elsewhere")
    r.launch("b", "gemm", thread=1)
    r.call("cudaStreamEndCapture")
    r.launch("after", "gemm")
    captures = r.captures()
    assert [graph.work for graph in captures.graphs] == [("flash", "gemm")]
    assert [graph.scopes for graph in captures.graphs] == [("a", "b")]


def test_a_trace_without_a_capture_is_refused():
    r = Recorder()
    r.launch("a", "gemm")
    with pytest.raises(UsageError, match=r"^built by a test captures no graph: .* give the trace of the run"):
        r.captures()
    with pytest.raises(UsageError, match="captures no graph"):
        Recorder().capture().captures()


@pytest.mark.parametrize(
    ("kernels", "difference"),
    [
        (["flash", "gemm", "relu"], "kernel 2 (counted from 0) is 'relu' in the replay (3 in all) and 'gelu' in the"),
        (["flash", "gemm"], "kernel 2 (counted from 0) is 'nothing' in the replay (2 in all) and 'gelu' in the"),
        (["flash", "gemm", "gelu", "x"], "kernel 3 (counted from 0) is 'x' in the replay (4 in all) and 'nothing' in"),
        (["gemm", "flash", "gelu"], "kernel 0 (counted from 0) is 'gemm' in the replay (3 in all) and 'flash' in the"),
    ],
)
def test_another_graph_is_refused_with_the_first_difference(kernels, difference):
    captures = Recorder().capture(*LAYER).captures()
    with pytest.raises(UsageError) as error:
        attribute(replay(kernels), captures=captures)
    assert difference in str(error.value)
    assert "\n" not in str(error.value)


def test_long_names_are_shown_where_they_differ():
    captures = Recorder().capture(("a", "x" * 500 + "<float>")).captures()
    with pytest.raises(UsageError, match=r"x{39}<half>.* and 'x{39}<float>'"):
        attribute(replay(["x" * 500 + "<half>"]), captures=captures)


def test_a_trace_without_a_graph_launch_is_refused():
    captures = Recorder().capture(*LAYER).captures()
    with pytest.raises(UsageError, match="built by a test has no launch of a graph with events: drop it"):
        attribute(TraceBuilder().launched("gemm", 0, 5, 10).build(), captures=captures)


def test_of_several_captures_the_one_whose_names_agree():
    """GIVEN captures of two batch sizes WHEN both and a third graph are replayed THEN each is joined for itself"""
    r = Recorder().capture(("big", "gemm_128"), ("big", "gelu")).capture(("small", "gemm_8"), ("small", "gelu"))
    found = attribute(replay(["gemm_8", "gelu"], ["other"], ["gemm_128", "gelu"]), captures=r.captures())
    assert scopes(found) == ["small", "small", "decode", "big", "big"]
    replays = found.replays
    assert replays is not None
    assert (replays.launches, replays.joined) == (3, 2)


def test_captures_of_equal_names_and_scopes_are_one():
    r = Recorder().capture(*layers(1)).capture(*layers(1))
    assert scopes(attribute(replay(["flash", "gemm", "gelu"]), captures=r.captures())) == [
        "layers.0.attn", "layers.0.mlp", "layers.0.mlp",
    ]  # fmt: skip


def test_captures_of_equal_names_and_other_scopes_are_refused():
    r = Recorder().capture(("a", "gemm")).capture(("b", "gemm"))
    with pytest.raises(UsageError, match="its names fit 2 captures with different scopes"):
        attribute(replay(["gemm"]), captures=r.captures())


def test_pieces_of_a_step_are_told_apart_by_their_order():
    """GIVEN pieces of which all but the first, or the last, have the same names WHEN replayed THEN order tells them"""
    pieces = [[(f"layers.{number}", "gemm")] for number in range(3)]
    first = Recorder().capture(("embedding", "gather"))
    for piece in pieces:
        first.capture(*piece)
    found = attribute(replay(["gather"], ["gemm"], ["gemm"], ["gemm"]), captures=first.captures())
    assert scopes(found) == ["embedding", "layers.0", "layers.1", "layers.2"]
    last = Recorder()
    for piece in pieces:
        last.capture(*piece)
    last.capture(("head", "softmax"))
    found = attribute(replay(["gemm"], ["gemm"], ["gemm"], ["softmax"]), captures=last.captures())
    assert scopes(found) == ["layers.0", "layers.1", "layers.2", "head"]


def test_copies_and_memsets_join_where_the_profiler_recorded_all_of_them():
    launches = [("a", "memset"), ("a", "flash"), ("b", "copy"), ("b", "gemm")]
    captures = Recorder().capture(*launches).captures()
    assert scopes(attribute(replay(["memset", "flash", "copy", "gemm"]), captures=captures)) == ["a", "a", "b", "b"]
    assert scopes(attribute(replay(["flash", "copy", "gemm"]), captures=captures)) == ["a", "b", "b"]
    twice = attribute(replay(["memset", "memset", "flash", "copy", "gemm"]), captures=captures)
    assert scopes(twice) == ["decode", "decode", "a", "b", "b"]


def test_amds_runtime_copies_and_sets_memory_with_kernels():
    captures = Recorder().capture(("a", "memset"), ("b", "copy"), ("c", "gemm")).captures()
    kernels = ["__amd_rocclr_fillBufferAligned", "__amd_rocclr_copyBuffer", "gemm"]
    assert scopes(attribute(replay(kernels), captures=captures)) == ["a", "b", "c"]


def test_a_capture_that_does_not_name_its_kernels_joins_by_order_and_kind():
    """GIVEN calls of CUDA, which do not say what they launch WHEN as many kernels are replayed THEN they are joined"""
    captures = Recorder().capture(*LAYER, ("mlp", "copy")).captures(named=False)
    found = attribute(replay(["flash", "gemm", "gelu", "copy"]), captures=captures)
    assert scopes(found) == ["attn", "mlp", "mlp", "mlp"]
    assert found.replays is not None
    assert found.replays.unnamed == 3
    with pytest.raises(UsageError, match=r"kernel 1 .* is 'a copy' in the replay"):
        attribute(replay(["flash", "copy", "copy"]), captures=captures)


def test_branches_of_a_graph_are_told_by_their_nodes():
    """GIVEN two branches that start in another order than they were captured WHEN joined THEN by the nodes' numbers"""
    captures = Recorder().capture(("router", "topk"), ("shared", "gemm"), ("experts", "moe")).captures()
    found = attribute(replay(["topk", "moe", "gemm"], nodes=[1, 3, 2]), captures=captures)
    assert scopes(found) == ["router", "experts", "shared"]


@pytest.mark.corpus
def test_a_served_model_has_its_modules_by_its_capture():
    """GIVEN the capture and a replay of a served model WHEN joined THEN all 544 kernels have a module (SOURCES.md)

    They are 9,656,036 ns of 9,778,984: 98.7%, and the sampler has its module in the replay itself.
    """
    capture = load(corpus_file("kineto/sglang_decode_capture.json.gz"))
    captures = captures_of(capture, attribute(capture), read_details(capture).calls)
    trace = load(corpus_file("kineto/sglang_decode_replay.json.gz"))
    found = attribute(trace, captures=captures)
    by_capture = found.events.how == How.GRAPH
    assert int(by_capture.sum()) == 544
    time = trace.device.end - trace.device.start
    assert time[found.events.path >= 0].sum() / time.sum() > 0.99
    assert len({text.split("/")[1] for text in scopes(found) if "DecoderLayer" in text}) == 36
