"""What was recorded is all there: names, times, places and arguments, and arrows from calls to their work."""

from __future__ import annotations

from collections import Counter

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.time.account import account_for
from perfkit.trace.columns import HostKind, Trace
from perfkit.trace.load import load
from tests.builders import TraceBuilder, device_step
from tests.corpus import corpus_file
from tests.export.perfetto.reading import Timeline, exported, shown, timeline

HOST = ("cpu_op", "user_annotation", "python_function", "cuda_runtime")
DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")


def test_ranges_nest_on_their_thread_and_work_is_on_its_stream():
    # GIVEN
    b = device_step().range("aten::add", 5, 9, thread=1).event("other", 3, 4, stream=9, device=2)

    # WHEN
    found = shown(b)

    # THEN
    main = [(s.name, s.start, s.end, s.depth) for s in found.on("Process 1", "thread 1")]
    assert main[:4] == [("ProfilerStep#0", 0, 100, 0), ("perfkit::net", 0, 90, 1), ("aten::mm", 5, 40, 2),
                        ("cudaLaunchKernel", 10, 11, 3)]  # fmt: skip
    assert [(s.name, s.start, s.end) for s in found.on("Process 1", "thread 2")] == [("aten::add", 5, 9)]
    assert [(s.name, s.start, s.end) for s in found.on("Device 2", "stream 9") if s.category == "kernel"] == [
        ("other", 3, 4)
    ]
    [copy] = found.of("gpu_memcpy")
    assert (copy.name, copy.start, copy.end, copy.args["stream"]) == ("Memcpy", 115, 120, 7)


def test_a_kernel_says_where_it_belongs():
    found = shown(device_step())
    gemm = next(kernel for kernel in found.of("kernel") if kernel.name == "gemm")
    assert {name: gemm.args[name] for name in ("scope", "phase", "operator", "step", "device")} == {
        "scope": "net", "phase": "forward", "operator": "aten::mm", "step": 0, "device": 0
    }  # fmt: skip


def test_arrows_join_each_call_and_its_work():
    """GIVEN calls with their kernels, one of a graph with three WHEN exported THEN each kernel shares an arrow with it

    A kernel without a call has none.
    """
    b = device_step().range("cudaGraphLaunch", 60, 61, HostKind.RUNTIME, correlation=77)
    for at in (130, 140, 150):
        b.event("node", at, at + 5, correlation=77)
    found = shown(b.event("stray without a call", 160, 165))
    calls = {flow: call for call in found.of("cuda_runtime") for flow in call.flows}
    joined = Counter((calls[flow].start, work.name) for work in found.of(*DEVICE) for flow in work.flows)
    assert joined == {(10, "gemm"): 1, (12, "gemm"): 1, (50, "Memcpy"): 1, (95, "stray"): 1, (60, "node"): 3}
    assert len(calls) == 7


def test_arrows_lead_from_forward_to_backward():
    found = shown(TraceBuilder().range("aten::mm", 0, 10, sequence=5).node("MmBackward0", 20, 30, 5))
    arrows = Counter(flow for s in found.slices for flow in s.flows)
    assert list(arrows.values()) == [2]
    assert {s.name for s in found.slices if s.flows} == {"aten::mm", "MmBackward0"}


def test_what_the_file_says_of_arguments():
    b = TraceBuilder().call("aten::mm", 0, 10, [[2, 3], [3, 4]], external_id=12).range("aten::t", 12, 13)
    mm, t = shown(b).of("cpu_op")
    assert mm.args["Input Dims"] == "[[2, 3], [3, 4]]"
    assert mm.args["External id"] == 12
    assert "Input Dims" not in t.args


def test_ranges_that_cross_keep_their_times():
    """GIVEN ranges that end in the order they began WHEN exported THEN both have their own times, on sibling tracks"""
    found = shown(TraceBuilder().annotation("a", 0, 10).annotation("b", 5, 15))
    assert [(s.name, s.start, s.end) for s in found.on("thread 1")] == [("a", 0, 10), ("b", 5, 15)]
    assert len({s.track for s in found.slices if s.category in HOST}) == 2


def test_a_zero_length_range_at_the_end_of_another():
    found = shown(TraceBuilder().range("a", 0, 10).range("mark", 10, 10).range("b", 11, 12))
    assert [(s.name, s.start, s.end, s.depth) for s in found.of("cpu_op")] == [
        ("a", 0, 10, 0), ("mark", 10, 10, 0), ("b", 11, 12, 0)
    ]  # fmt: skip


@pytest.mark.corpus
@pytest.mark.parametrize(
    "name",
    ["kineto/h100_bert_small_inference.json.gz", "kineto/b300_moe_decode.json.gz", "kineto/mtia_inference.json.gz",
     "kineto/mi300_compiled_triton.json.gz", "kineto/sampled_rank0.json.gz",
     "kineto/cpu_rank_non_gpu.json.gz", "nsys/rtx3090_2023_schema.sqlite",
     "nsys/h100_2gpu_1s.sqlite"],
)  # fmt: skip
def test_all_of_a_real_recording_is_there(name):
    """GIVEN a recording by others WHEN exported and read back THEN names, times, streams and launches are its own"""
    trace = load(corpus_file(name), use_cache=False)
    account = account_for(trace, attribute(trace))
    found = timeline(exported(account))
    assert_same(trace, found)
    flows = Counter(flow for s in found.of(*DEVICE) for flow in s.flows)
    assert len(flows) == int((account.attribution.events.launch >= 0).sum())
    calls = Counter(flow for s in found.of("cuda_runtime") for flow in s.flows if flow in flows)
    assert calls == flows
    if account.on_device:
        assert sum(s.args["busy_ns"] for s in found.of("perfkit.phase")) == account.exclusive.sum()
        assert sum(s.end - s.start for s in found.of("perfkit.idle")) == account.wall.pieces.ns.sum()


def assert_same(trace: Trace, found: Timeline) -> None:
    host, device = trace.host, trace.device
    assert Counter((s.name, s.start, s.end) for s in found.of(*HOST)) == Counter(
        zip(trace.host_names().tolist(), host.start.tolist(), host.end.tolist(), strict=True)
    )
    place = zip(trace.device_names().tolist(), *(getattr(device, c).tolist() for c in _PLACE), strict=True)
    assert Counter((s.name, s.start, s.end, s.args["device"], s.args["stream"]) for s in found.of(*DEVICE)) == Counter(
        place
    )


_PLACE = ("start", "end", "device", "stream")
