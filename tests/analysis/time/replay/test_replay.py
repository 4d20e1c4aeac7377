"""Replays of hand-built traces: each is right, and after an edit the step takes what can be said by hand."""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.time.replay.edit import Edit
from perfkit.analysis.time.replay.graph import Graph, graph_of
from perfkit.analysis.time.replay.replay import Gain, gain, replay
from perfkit.trace.columns import DeviceKind, HostKind, Trace
from perfkit.trace.load import load
from tests.builders import TraceBuilder
from tests.corpus import corpus_file
from tests.nsys_export import NsysExport

RUNTIME = HostKind.RUNTIME


def graph(b: TraceBuilder | Trace) -> Graph:
    trace = b.build() if isinstance(b, TraceBuilder) else b
    return graph_of(trace, attribute(trace))


def saved(one: Graph, edit: Edit) -> int:
    """ns a step that an edit saves; the replay itself must be exact."""
    base = replay(one)
    assert base.replayed.tolist() == base.measured.tolist()
    assert base.pace.tolist() == base.measured_pace.tolist()
    found = gain(one, edit, base)
    assert found is not None
    return found.ns_per_step


def without_kernels(one: Graph, *names: str) -> Edit:
    return Edit(device=np.isin(one.trace.device_names().astype(str), names))


def without_ranges(one: Graph, *names: str, factor: float = 0.0, keeps_work: bool = False) -> Edit:
    return Edit(host=one.attribution.host.matching(lambda name: name in names), factor=factor, keeps_work=keeps_work)


def host_bound() -> TraceBuilder:
    """A step of 100 ns whose two kernels are short: the device is idle most of the time."""
    b = TraceBuilder().step(0, 0, 100).range("aten::a", 0, 40).launched("k", 10, 12, 22)
    return b.range("aten::b", 40, 90).launched("k", 50, 52, 62)


def device_bound(kernel: int = 50) -> TraceBuilder:
    """A step of `kernel` + 50 ns: launches at 1 and 2; a kernel from 10, another of 35 right after it; a wait; 3 ns.

    A free launch's work starts 9 ns after the call began, and a wait returns 2 ns after the work.
    """
    end = 10 + kernel + 35
    b = TraceBuilder().step(0, 0, end + 5).launched("long", 1, 10, 10 + kernel).launched("second", 2, 10 + kernel, end)
    return b.range("cudaDeviceSynchronize", 5, end + 2, RUNTIME)


def test_a_step_that_the_host_paces():
    """GIVEN a device that waits for the host THEN kernels gain nothing, and an operator all of its own time"""
    one = graph(host_bound())
    assert saved(one, without_kernels(one, "k")) == 0
    assert saved(one, without_ranges(one, "aten::a")) == 40
    assert saved(one, without_ranges(one, "aten::a", "aten::b", factor=0.5)) == 45
    assert saved(one, without_ranges(one, "aten::a", "aten::b")) == 90


def test_a_step_that_the_device_paces():
    """GIVEN a host that waits THEN without the first kernel the second starts 9 ns after its launch at 2: at 11, not 60

    So 49 ns are saved, and not the 50 that it takes. Half of it saves 25. The launches' own time saves nothing where
    their work is kept.
    """
    one = graph(device_bound())
    assert saved(one, without_kernels(one, "long")) == 49
    assert saved(one, msgspec.structs.replace(without_kernels(one, "long"), factor=0.5)) == 25
    assert saved(one, msgspec.structs.replace(without_kernels(one, "long"), factor=2.0)) == -50
    assert saved(one, without_ranges(one, "cudaLaunchKernel", keeps_work=True)) == 1  # all starts 1 ns earlier


def test_a_wait_is_not_the_hosts_own_time():
    """GIVEN a wait of 92 ns WHEN its work is gone THEN what it costs besides is left: 2 ns, as it took to return"""
    one = graph(device_bound())
    assert saved(one, without_kernels(one, "long", "second")) == 90


def test_without_the_wait_the_step_takes_until_its_work_is_done():
    """GIVEN a wait at the end of the step WHEN it is gone THEN the work still has to be done: 2 + 3 ns are saved"""
    one = graph(device_bound())
    assert saved(one, without_ranges(one, "cudaDeviceSynchronize")) == 5


def test_a_wait_in_the_middle():
    """GIVEN an item() of a kernel's result WHEN it is gone THEN the host goes on at once, and the rest overlaps

    aten::item calls at 20 what returns at 82, 2 ns after the kernel and its copy: without it the operator behind it
    begins 65 ns earlier, at 20, and its launch is at 30, not at 95. Its kernel of 10 ns, so far from 100 to 110, waits
    for the first kernel, which ends at 75, and runs until 86 (1 ns from a kernel to the next): 24 ns earlier.
    """
    b = TraceBuilder().step(0, 0, 110).launched("k", 5, 10, 75)
    b.range("aten::item", 20, 85).range("cudaMemcpyAsync", 21, 23, RUNTIME, correlation=1)
    b.event("Memcpy DtoH (Device -> Pinned)", 76, 80, DeviceKind.MEMCPY, correlation=1)
    b.range("cudaStreamSynchronize", 24, 82, RUNTIME)
    b.range("aten::mul", 85, 108).launched("second", 95, 100, 110)
    one = graph(b)
    assert saved(one, without_ranges(one, "aten::item")) == 24


def test_a_copy_of_pageable_memory_that_returns_while_it_runs():
    """GIVEN a call that begins at 5, and whose copy has to wait until 51 for a kernel that ends at 50; it returns at 68

    The copy ends at 70, when the driver's buffer is empty. WHEN the kernel is gone THEN the call takes the 17 ns that
    it was busy for since 51, and returns at 22: the step takes 46 ns less. Without the call the kernel ends at 50.
    """
    b = TraceBuilder().step(0, 0, 100).launched("k", 1, 10, 50).range("cudaMemcpyAsync", 5, 68, RUNTIME, correlation=1)
    one = graph(b.event("Memcpy HtoD (Pageable -> Device)", 51, 70, DeviceKind.MEMCPY, correlation=1))
    assert saved(one, without_kernels(one, "k")) == 46
    assert saved(one, without_ranges(one, "cudaMemcpyAsync")) == 50


def test_the_first_of_several_steps_is_left_out():
    """GIVEN three steps, each with an item() of 60 ns, of 90 in the first WHEN they are gone THEN a step gains 60 ns

    The first may wait for work of before the recording. So it says little of how long a step takes.
    """
    b = TraceBuilder()
    for number, at in enumerate((0, 130, 230)):
        late = 30 if number == 0 else 0
        b.step(number, at, at + 100 + late).range("aten::item", at + 1, at + 61 + late)
        b.launched("k", at + 2, at + 30, at + 58 + late)
        b.range("cudaStreamSynchronize", at + 5, at + 60 + late, RUNTIME).range(
            "aten::mm", at + 62 + late, at + 100 + late
        )
    one = graph(b)
    base = replay(one)
    assert base.steady == slice(1, None)
    assert base.step_ns == int(base.pace[1:].mean())
    found = gain(one, without_ranges(one, "aten::item"), base)
    assert found is not None
    assert found.ns_per_step == 60


def test_two_streams_and_a_wait_between_them():
    """GIVEN a collective that waits for a kernel, and a kernel that waits for it THEN both pace the step

    gradient 10 to 50, all-reduce 52 to 82 (2 ns after what it waits for), update 84 to 94. Without the all-reduce the
    update waits for the gradient alone: 52 to 62, 32 ns earlier. The other kernel, launched last, runs beside them.
    """
    b = TraceBuilder().step(0, 0, 99).launched("gradient", 1, 10, 50)
    b.range("cudaStreamWaitEvent", 3, 4, RUNTIME).launched("all-reduce", 5, 52, 82, stream=20)
    b.range("cudaStreamWaitEvent", 7, 8, RUNTIME).launched("update", 9, 84, 94)
    b.range("aten::other", 40, 55).launched("other", 41, 50, 58, stream=30)
    b.range("cudaDeviceSynchronize", 56, 96, RUNTIME)
    one = graph(b)
    assert saved(one, without_kernels(one, "other")) == 0
    assert saved(one, without_kernels(one, "all-reduce")) == 32
    assert saved(one, msgspec.structs.replace(without_kernels(one, "all-reduce"), factor=0.5)) == 15


def backward() -> TraceBuilder:
    """Forward until 30, backward on another thread from 34 to 74, the optimizer from 80."""
    b = TraceBuilder().step(0, 0, 100).range("aten::forward", 5, 30, sequence=1)
    b.node("MulBackward0", 34, 48, 1, thread=1).launched("k1", 40, 42, 46, thread=1)
    b.range("aten::gradient", 55, 74, thread=1).launched("k2", 60, 62, 66, thread=1)
    return b.range("aten::adam", 80, 95)


def test_two_threads():
    """GIVEN a main thread that waits in backward THEN an operator of the other thread paces it, and is gained whole"""
    one = graph(backward())
    assert saved(one, without_ranges(one, "aten::gradient")) == 19
    assert saved(one, without_ranges(one, "aten::forward")) == 25
    assert saved(one, without_ranges(one, "aten::adam")) == 15
    assert saved(one, without_ranges(one, "autograd::engine::evaluate_function: MulBackward0", "aten::gradient")) == 35


def test_a_thread_that_nobody_waits_for():
    """GIVEN another thread that works while the main thread does, too THEN it gains nothing"""
    b = host_bound().range("aten::beside", 5, 60, thread=1).launched("k", 30, 32, 36, thread=1, stream=20)
    one = graph(b)
    assert saved(one, without_ranges(one, "aten::beside")) == 0


def test_the_host_runs_ahead():
    """GIVEN steps of 20 ns on the host that give a device 50 ns of work each THEN their pace is the device's

    The host saves nothing, and a kernel all that it takes. The wall times of the steps stay what they are.
    """
    b = TraceBuilder()
    for step in range(4):
        b.step(step, 20 * step, 20 * step + 20).range("aten::mm", 20 * step, 20 * step + 18)
        b.launched("a", 20 * step + 1, 10 + 50 * step, 40 + 50 * step)
        b.launched("b", 20 * step + 5, 40 + 50 * step, 60 + 50 * step)
    one = graph(b)
    base = replay(one)
    assert base.measured.tolist() == [20] * 4
    assert base.measured_pace.tolist() == [60, 50, 50, 50]
    assert saved(one, without_ranges(one, "aten::mm", keeps_work=True, factor=0.5)) == 0
    assert saved(one, without_kernels(one, "b")) == 20


def test_a_gain_is_a_share_of_the_pace():
    one = graph(device_bound())
    assert gain(one, without_kernels(one, "long")) == Gain(49, 0.49)


def test_gains_are_only_as_sure_as_the_replay():
    """GIVEN a trace with a device, and one without THEN gains are derived, and guessed"""
    assert replay(graph(device_bound())).sure == "derived"
    alone = graph(TraceBuilder().step(0, 0, 100).range("aten::mm", 10, 40))
    assert replay(alone).sure == "guessed"
    assert saved(alone, without_ranges(alone, "aten::mm")) == 30


@pytest.mark.parametrize(("late", "refused"), [(60_000, False), (70_000, True)])
def test_a_replay_that_misses_is_refused(late, refused):
    """GIVEN a kernel that starts `late` for no reason that the trace has THEN from 5% of the step on gains are refused

    Without an example of a launch the kernel is taken to start 5 us after its own, so that 55 or 65 us of 1.2 ms lack.
    """
    b = TraceBuilder().step(0, 0, 1_200_000).launched("k", 0, late, 1_100_000)
    b.range("cudaDeviceSynchronize", 10, 1_102_000, RUNTIME)
    one = graph(b)
    base = replay(one)
    assert base.error == pytest.approx((late - 5_000) / 1_200_000, abs=1e-4)
    assert bool(base.refused) is refused
    assert (gain(one, without_kernels(one, "k")) is None) is refused
    if refused:
        text = "its replay misses the recording by 5.4% (limit 5%); the longest wait that it cannot explain is 65.00 us"
        assert base.refused == f"{text}, before k"


def test_only_traces_of_the_profiler_are_replayed(tmp_path):
    """GIVEN an export of nsys WHEN asked for a gain THEN there is none, and the reason says so"""
    trace = load(
        NsysExport().kernel("k", 10, 20, correlation=1).call("cudaLaunchKernel", 1, 2, 1).write(tmp_path / "a")
    )
    one = graph(trace)
    assert replay(one).refused == "only traces of torch.profiler are replayed"
    assert gain(one, Edit()) is None


def test_a_trace_without_host_ranges_is_not_replayed():
    one = graph(dataclasses.replace(TraceBuilder().event("k", 0, 10).build(), threads=()))
    assert replay(one).refused == "the trace has no host thread to replay"
    assert replay(one).error == 0


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "steps", "error"),
    [
        ("a100_ddp_training", 3, 0.0),
        ("cpu_dlrm_old_format", 5, 0.0),
        ("cpu_only", 1, 0.0),
        ("cpu_rank_non_gpu", 1, 0.0),
        ("h100_bert_small_inference", 1, 0.0001),
        ("h100_qwen_0.5b_inference", 1, 0.007),
        ("mi300_resnet_checkpoint_training", 3, 0.006),
        ("resnet50_torch18_workers0", 6, 0.001),
        ("resnet50_torch19_workers4", 6, 0.003),
        ("sampled_rank0", 2, 0.0001),
        ("sglang_decode_capture", 1, 0.0),
        ("v100_training", 5, 0.002),
    ],
)
def test_real_traces_with_steps(name, steps, error):
    """GIVEN every trace of the corpus with steps WHEN replayed THEN the error is at most what docs/replay.md says"""
    base = replay(graph(load(corpus_file(f"kineto/{name}.json.gz"))))
    assert len(base.measured) == steps
    assert base.error <= error
    assert base.refused == ""
