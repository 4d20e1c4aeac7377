"""Measuring ceilings: how large and how often, what is switched on, and what is left out; no test of any speed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from perfkit.errors import UsageError
from perfkit.measure import ceilings
from perfkit.measure.ceilings import Bench, Effort
from perfkit.measure.environment import Machine
from perfkit.measure.timing import CpuClock
from tests.measure.clocks import FakeTime

GIB = 2**30


def bench(time: FakeTime, free: int = 64 * GIB, **effort: float) -> Bench:
    """Without a device: only operations take time."""
    clock = CpuClock(time.perf_counter_ns, time.process_time_ns)
    return Bench("cpu", clock, 2, free, Effort(**effort), lambda: time.wall / 1e9)  # type: ignore[arg-type]


def taking(time: FakeTime, milliseconds: Callable[[int], int], made: list[int]) -> ceilings.Maker:
    """Products whose time depends on n; half of the CPU time that two threads could have had."""

    def make(n: int, device: str) -> ceilings.Operation:
        made.append(n)
        return lambda: time.passes(milliseconds(n), cpu=milliseconds(n))

    return make


def test_matrices_grow_until_a_product_takes_long_enough():
    """GIVEN products of n^3 WHEN 512 takes 1 ms and 100 ms are long enough THEN 1024, 2048 and 4096 follow: 512 ms"""
    time = FakeTime()
    made: list[int] = []
    timing = bench(time, long_enough_s=0.1, samples=7, budget_s=0).product(
        taking(time, lambda n: (n // 512) ** 3, made)
    )
    assert made == [512, 1024, 2048, 4096]
    assert (timing.size, timing.work) == (4096, 2 * 4096**3)
    assert timing.samples_s == (0.512,) * 7
    assert timing.cpu_share == 0.5


@pytest.mark.parametrize(("limit", "last"), [({"largest": 1024}, 1024), ({"free": 8 * 8 * 2048**2}, 2048)])
def test_matrices_grow_no_further_than_the_effort_and_the_memory_allow(limit, last):
    """GIVEN products that take no time WHEN 1024 is the largest, or eight doubles of 2048 x 2048 fit THEN that is it"""
    time = FakeTime()
    made: list[int] = []
    found = bench(time, samples=5, budget_s=0, **limit).product(taking(time, lambda n: 1, made))
    assert (made[-1], found.size) == (last, last)


@pytest.mark.parametrize(
    ("milliseconds", "samples"),
    [
        (10, 100),  # a second's worth
        (100, 20),  # the least number
        (1000, 8),  # as long as anybody waits
        (5000, 5),  # and five of those that take longer
    ],
)
def test_there_are_enough_samples_and_not_too_many(milliseconds, samples):
    time = FakeTime()
    timing = bench(time, first=512, largest=512).product(taking(time, lambda n: milliseconds, []))
    assert len(timing.samples_s) == samples


def test_a_copy_reads_and_writes_each_byte():
    """GIVEN 8 MiB free WHEN a copy is timed THEN the tensor takes an eighth of it, and twice its bytes are moved"""
    timing = bench(FakeTime(), free=8 << 20, samples=5, budget_s=0, patience_s=0)
    timing.clock = CpuClock()
    found = timing.copy()
    assert (found.size, found.work) == (1 << 20, 2 << 20)


def test_a_cpu_is_measured_with_its_threads():
    """GIVEN this CPU WHEN measured with little effort THEN every precision has times, and it says what it was"""
    stages: list[str] = []
    effort = Effort(first=16, largest=16, copied=1 << 20, samples=5, budget_s=0)
    found = ceilings.measure("cpu", stages.append, threads=1, effort=effort)
    assert list(found.matmul) == ["fp64", "fp32", "bf16", "fp16"]
    assert stages == [*(f"{precision} matrix products" for precision in found.matmul), "copies"]
    assert {len(timing.samples_s) for timing in (*found.matmul.values(), found.copy)} == {5}
    assert (found.device, found.threads, found.multiprocessors, found.skipped) == ("cpu", 1, None, {})
    assert found.torch == torch.__version__
    assert found.created[10] == "T"


def test_what_pytorch_cannot_compute_is_left_out_with_the_reason():
    def fails(n: int, device: str) -> ceilings.Operation:
        raise RuntimeError("no kernel for this\nat line 3")

    def silent(n: int, device: str) -> ceilings.Operation:
        raise NotImplementedError

    effort = Effort(first=16, largest=16, copied=1 << 20, samples=5, budget_s=0)
    found = ceilings.measure("cpu", lambda _: None, effort=effort, only={"fp8": fails, "int8": silent})
    assert found.matmul == {}
    assert found.skipped == {"fp8": "no kernel for this", "int8": "no reason said"}


@pytest.mark.parametrize(
    ("capability", "cuda", "measured"),
    [
        ((7, 0), "12.4", "fp64 fp32 bf16 fp16 fp16-acc16 int8"),
        ((8, 0), "12.4", "fp64 fp32 tf32 bf16 fp16 fp16-acc16 int8"),
        ((8, 9), "12.4", "fp64 fp32 tf32 bf16 fp16 fp16-acc16 fp8 int8"),
        ((10, 0), "12.8", "fp64 fp32 tf32 bf16 fp16 fp16-acc16 fp8 int8"),
        ((9, 4), None, "fp64 fp32 bf16 fp16 fp8 int8"),
    ],
)
def test_a_gpu_is_asked_for_what_it_may_have(capability, cuda, measured):
    """GIVEN CUDA's compute capability, or ROCm WHEN asked THEN what needs other tensor cores is left out"""
    properties = SimpleNamespace(major=capability[0], minor=capability[1])
    backend = SimpleNamespace(
        cuda=SimpleNamespace(get_device_properties=lambda _: properties), version=SimpleNamespace(cuda=cuda)
    )
    assert list(ceilings.products("cuda", Machine(torch=backend))) == measured.split()


@pytest.mark.parametrize(
    ("precision", "rounding", "sums"),
    [("fp32", "highest", False), ("tf32", "high", False), ("fp16", "highest", False), ("fp16-acc16", "highest", True)],
)
def test_switches_are_as_the_precision_needs_them_and_then_as_they_were(precision, rounding, sums):
    matmul = SimpleNamespace(allow_fp16_accumulation="before")
    said = ["medium"]
    backend = SimpleNamespace(
        get_float32_matmul_precision=lambda: said[-1],
        set_float32_matmul_precision=said.append,
        backends=SimpleNamespace(cuda=SimpleNamespace(matmul=matmul)),
    )
    with contextlib.suppress(KeyError), ceilings.switched(precision, backend):
        assert (said[-1], matmul.allow_fp16_accumulation) == (rounding, sums)
        raise KeyError
    assert (said[-1], matmul.allow_fp16_accumulation) == ("medium", "before")


def test_products_of_small_types_can_be_made_here():
    """GIVEN int8 and fp8, which are timed on GPUs WHEN computed here THEN their shapes are right"""
    assert ceilings._int8(32, "cpu")().shape == (32, 32)  # type: ignore[attr-defined]
    assert ceilings._fp8(32, "cpu")().shape == (32, 32)  # type: ignore[attr-defined]


def test_seconds_are_the_devices_where_it_has_its_own():
    """GIVEN a clock that has a device's time WHEN an operation is timed THEN that counts, not the wall time"""
    sample = SimpleNamespace(wall_s=9.0, device_s=0.25, cpu_s=None)
    clock = SimpleNamespace(begin=lambda: None, phase=lambda _: None, end=lambda: sample)
    quick = Bench("cuda", clock, None, GIB, Effort(samples=5, budget_s=0, largest=512))
    timing = quick.product(lambda n, device: lambda: None)
    assert timing.samples_s == (0.25,) * 5
    assert timing.cpu_share is None


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match=r"sees no CUDA device|sees 1 CUDA devices"):
        ceilings.measure("cuda:99", lambda _: None)
