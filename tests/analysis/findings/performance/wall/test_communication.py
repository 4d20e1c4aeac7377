"""Communication that nothing hides, that comes too late, in small messages, or that waits for one rank."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.wall.communication import (
    exposed_communication,
    missed_overlap,
    of_ranks,
    overlapped,
    small_messages,
    unbalanced_ranks,
)
from perfkit.trace.columns import DeviceKind
from tests.analysis.findings.performance.cases import MS, US, case_of, found
from tests.builders import TraceBuilder, saying

REDUCE = "ncclDevKernel_AllReduce_Sum_f32_RING_LL"


def exchanging(length: int = 600 * US, hidden: int = 100 * US, *, step: int = 10 * MS) -> TraceBuilder:
    """A step with an all-reduce of this length on a stream of its own, whose begin a kernel hides."""
    b = TraceBuilder().step(0, 0, step).launched("gemm", 1, 10, 10 + hidden)
    return b.launched(REDUCE, 3, 10, 10 + length, stream=20)


def test_communication_that_nothing_hides():
    """GIVEN an all-reduce of 600 us, 100 of which a kernel hides, in 10 ms THEN 500 us are exposed"""
    finding = found(exposed_communication, exchanging())
    assert (finding.cost.ns, finding.cost.share) == (500 * US, 0.05)
    assert "takes 600.0 us a step, and for 500.0 us a step of it (83.3%)" in finding.what


@pytest.mark.parametrize("case", ["hidden", "under", "none", "host"])
def test_communication_that_is_fine(case):
    b = {
        "hidden": lambda: exchanging(hidden=600 * US),
        "under": lambda: exchanging(length=600 * US - 1),
        "none": lambda: TraceBuilder().step(0, 0, MS).launched("gemm", 1, 10, 900 * US),
        "host": lambda: TraceBuilder().step(0, 0, MS).range("aten::mm", 0, MS),
    }[case]()
    assert found(exposed_communication, b) is None


def backward(reduced_at: int, *, reductions: int = 2) -> TraceBuilder:
    """A step of 10 ms with backward nodes from 1 to 3 ms, and all-reduces of 1 ms that are launched at `reduced_at`."""
    b = TraceBuilder().step(0, 0, 10 * MS).range("aten::mm", 10, 20, sequence=1)
    b.node("MmBackward0", MS, 3 * MS, 1).launched("gemm", MS + 10, MS + 20, 3 * MS)
    for number in range(reductions):
        b.launched(REDUCE, reduced_at + number, 4 * MS + number * MS, 5 * MS + number * MS, stream=20)
    return b


def test_gradients_that_are_reduced_after_backward():
    """GIVEN two all-reduces of 1 ms that are launched when backward is over THEN up to its 2 ms could hide them"""
    late = backward(3 * MS + 10)
    finding = found(missed_overlap, late)
    assert finding.cost.ns == pytest.approx(2 * MS, rel=0.001)
    assert "only after backward, 2 times a step" in finding.what
    assert found(exposed_communication, late) is None


def test_gradients_that_are_reduced_while_backward_runs():
    """GIVEN the same, launched from inside backward THEN they are exposed communication, and not late"""
    assert found(missed_overlap, backward(2 * MS)) is None
    assert found(exposed_communication, backward(2 * MS)).cost.ns == 2 * MS


def test_backward_can_hide_no_more_than_it_takes():
    assert found(missed_overlap, backward(3 * MS + 10, reductions=4)).cost.ns == pytest.approx(2 * MS, rel=0.001)


def test_without_backward_nothing_is_late():
    assert found(missed_overlap, exchanging(5 * MS)) is None


def messages(*sizes_mib: int, each: int = 100 * US) -> TraceBuilder:
    """A step of 10 ms with an all-reduce for each of these sizes: 64 MiB take 0.4 ms, others `each` ns."""
    b, at = TraceBuilder().step(0, 0, 10 * MS), 10
    for number, mib in enumerate(sizes_mib):
        length = 400 * US if mib == 64 else each
        elements = mib << 18
        b.collective(at, at + 5, ["allreduce", elements, elements, 8, "Float"])
        b.launched(REDUCE, at + 1, at + 10, at + 10 + length, stream=20)
        at += length + 20 + number % 2
    return b


def test_small_messages_take_longer_than_their_bytes():
    """GIVEN 20 messages of 1 MiB in 100 us each, and one of 64 MiB in 400 us THEN at its rate they take 6.25 us each"""
    finding = found(small_messages, messages(*[1] * 20, 64))
    assert finding.cost.ns == pytest.approx(20 * (100 - 6.25) * US, rel=0.001)
    assert "20 of 21 collectives a step move less than 16 MiB" in finding.what


@pytest.mark.parametrize("case", ["few", "large", "quick", "unknown"])
def test_messages_that_are_fine(case):
    b = {
        "few": lambda: messages(*[1] * 19, 64),
        "large": lambda: messages(*[16] * 20, 64),
        "quick": lambda: messages(*[1] * 20, 64, each=7 * US),
        "unknown": lambda: exchanging(5 * MS),
    }[case]()
    assert found(small_messages, b) is None


def ranks(*computing_us: int) -> TraceBuilder:
    """A step of 1 ms in which each device computes for so long, and then all reduce until 900 us."""
    b = TraceBuilder().step(0, 0, MS)
    for device, time in enumerate(computing_us):
        b.launched("gemm", 1 + device, 10, 10 + time * US, device=device)
        b.launched(REDUCE, 20 + device, 10 + time * US, 900 * US, device=device, stream=20)
    return b


def test_one_device_computes_longer():
    """GIVEN devices that compute for 500, 600 and 700 us of 1 ms THEN the others wait for the last: 700 - 550"""
    finding = found(unbalanced_ranks, ranks(500, 600, 700))
    assert (finding.cost.ns, finding.where) == (150 * US, "device 2")


@pytest.mark.parametrize(("slowest", "said"), [(600, True), (599, False)])
def test_the_least_difference(slowest, said):
    assert (found(unbalanced_ranks, ranks(500, slowest)) is not None) == said


def test_one_device_alone_and_devices_that_exchange_nothing():
    assert found(unbalanced_ranks, ranks(500)) is None
    b = TraceBuilder().step(0, 0, MS).launched("gemm", 1, 10, 500 * US).launched("gemm", 2, 10, 20, device=1)
    assert found(unbalanced_ranks, b) is None


def test_ranks_of_several_recordings():
    finding = of_ranks(["rank 0", "rank 1", "rank 2"], [10.0, 30.0, 12.0], 100.0)
    assert finding is not None
    assert (finding.cost.ns, finding.where) == (19, "rank 1")
    assert of_ranks(["rank 0"], [10.0], 100.0) is None
    assert of_ranks([], [], 0.0) is None


def test_advice_on_communication_fits_the_program():
    """GIVEN training in fp32, in bf16, without gradients, of one rank THEN none is told what it cannot change"""
    training = backward(2 * MS)
    assert "gradients in bf16" in found(exposed_communication, training).advice
    half = TraceBuilder().step(0, 0, 10 * MS).range("aten::mm", 10, 20, sequence=1)
    half.node("MmBackward0", MS, 3 * MS, 1).launched("gemm", MS + 10, MS + 20, 3 * MS)
    half.launched("ncclDevKernel_AllReduce_Sum_bf16_RING_LL", 2 * MS, 4 * MS, 6 * MS, stream=20)
    advice = found(exposed_communication, half).advice
    assert "bucket_cap_mb" in advice
    assert "bf16" not in advice
    inference = exchanging().range("aten::mm", 0, 5)
    assert "tensor parallelism" in found(exposed_communication, inference).advice
    alone = found(exposed_communication, saying(exchanging().build(), world_size=1))
    assert "there is one rank" in alone.advice
    assert "slower ranks" not in alone.what


def test_a_loss_that_is_reduced_after_backward_is_no_gradient():
    """GIVEN an all-reduce of one number after backward, which waits for other ranks THEN no gradients come late"""
    b = backward(3 * MS + 10, reductions=0)
    b.collective(3 * MS + 5, 3 * MS + 20, ["allreduce", 1, 1, 8, "Float"])
    b.launched(REDUCE, 3 * MS + 10, 4 * MS, 6 * MS, stream=20)
    assert found(missed_overlap, b) is None
    assert found(exposed_communication, b).cost.ns == 2 * MS


def test_copies_are_hidden_by_no_more_than_there_is():
    """GIVEN 8 ms of copies on the stream of 1 ms of kernels THEN 1 ms of them could run beside"""
    b = TraceBuilder().step(0, 0, 10 * MS).launched("gemm", 1, 10, MS + 10)
    b.launched("Memcpy HtoD (Pinned -> Device)", 3, MS + 10, 9 * MS + 10, kind=DeviceKind.MEMCPY)
    finding = found(missed_overlap, b)
    assert finding.cost.ns == MS
    assert "hold it up for 8.000 ms a step, of which computation can hide 1.000 ms a step" in finding.what
    assert overlapped(case_of(b), finding).factor == pytest.approx(7 / 8)
