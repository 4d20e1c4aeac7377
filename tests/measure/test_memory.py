"""Memory round a run: peaks, the limit that turns a kill into an error, and what allocation failures say."""

from __future__ import annotations

import resource
from typing import NamedTuple

import psutil
import pytest
import torch

from perfkit.measure import memory
from perfkit.schema.config import RunConfig
from perfkit.schema.record import MemoryPeaks
from tests.runs import CPU_OOM, quick

GIB = 2**30
UNLIMITED = resource.RLIM_INFINITY

GPU_OOM = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 15.70 GiB of which 1.09 GiB is "
    "free. Including non-PyTorch memory, this process has 14.60 GiB memory in use."
)


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError(GPU_OOM),
        MemoryError(),
        RuntimeError(CPU_OOM),
        RuntimeError("std::bad_alloc"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("Storage size calculation overflowed with sizes=[2147483647, 2147483647]"),
        RuntimeError("[Errno 12] Cannot allocate memory"),
    ],
    ids=str,
)
def test_allocation_failures_are_recognised(error):
    assert memory.is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        ValueError("out of memory"),
        KeyboardInterrupt(),
    ],
    ids=str,
)
def test_other_failures_are_not_taken_for_one(error):
    assert not memory.is_out_of_memory(error)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (CPU_OOM, 64 * GIB),
        (GPU_OOM, 5 * GIB // 2),
        ("CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; ...)", 20 * 2**20),
        ("std::bad_alloc", None),
        ("Tried to allocate more than 1EB memory.", None),
    ],
)
def test_the_size_of_the_allocation_is_read_where_it_is_said(text, size):
    assert memory.requested_bytes(RuntimeError(text)) == size


def test_a_real_failure_of_this_pytorch_is_understood():
    # WHEN
    with pytest.raises(RuntimeError) as failed:
        torch.empty(2**50)

    # THEN
    assert memory.is_out_of_memory(failed.value)
    assert memory.requested_bytes(failed.value) == 4 * 2**50


def test_a_failure_says_what_was_asked_what_there_is_and_what_to_try():
    # GIVEN
    def suggest(config: RunConfig, available: int) -> tuple[str, ...]:
        return (f"--batch-size {config.batch_size // 2}", f"--fits {available // GIB}")

    # WHEN
    failure = memory.failure(quick(batch_size=8), RuntimeError(CPU_OOM), "measured step 2, forward", 16 * GIB, suggest)

    # THEN
    assert failure.message == (
        "out of memory in measured step 2, forward: an allocation of 64.0 GiB failed; "
        "this machine had 16.0 GiB available when the run began"
    )
    assert (failure.phase, failure.requested) == ("measured step 2, forward", 64 * GIB)
    assert failure.available == 16 * GIB
    assert failure.suggestions == ("--batch-size 4", "--fits 16")


def test_a_failure_without_a_size_does_not_make_one_up():
    failure = memory.failure(quick(), MemoryError(), "model", GIB, lambda *_: ())
    assert failure.message.startswith("out of memory in model: an allocation failed; this machine had 1.0 GiB")
    assert failure.requested is None


class Machine(NamedTuple):
    available: int


class Limits:
    """Stands in for the resource module and the process's data segment."""

    RLIMIT_DATA = resource.RLIMIT_DATA
    RLIM_INFINITY = UNLIMITED

    def __init__(self, soft: int, hard: int) -> None:
        self.now = (soft, hard)

    def getrlimit(self, _: int) -> tuple[int, int]:
        return self.now

    def setrlimit(self, kind: int, limits: tuple[int, int]) -> None:
        assert kind == resource.RLIMIT_DATA
        self.now = limits


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 10 GiB free, on which this process has 2 GiB of data."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Machine(10 * GIB))
    monkeypatch.setattr(memory.cgroups, "headroom", lambda: None)
    monkeypatch.setattr(memory, "_status_bytes", lambda _: 2 * GIB)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("soft", "hard", "limit"),
    [
        (UNLIMITED, UNLIMITED, 12 * GIB),
        (50 * GIB, 60 * GIB, 12 * GIB),
        (5 * GIB, UNLIMITED, 5 * GIB),
        (UNLIMITED, 6 * GIB, 6 * GIB),
    ],
)
@pytest.mark.parametrize("raises", [False, True])
def test_data_is_limited_to_what_is_available_and_set_back(monkeypatch, soft, hard, limit, raises):
    # GIVEN
    limits = Limits(soft, hard)
    monkeypatch.setattr(memory, "resource", limits)

    # WHEN
    try:
        with memory.limited_to_available("cpu") as free:
            inside = limits.now
            if raises:
                raise MemoryError
    except MemoryError:
        assert raises

    # THEN
    assert inside == (limit, hard)
    assert free == limit - 2 * GIB
    assert limits.now == (soft, hard)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(("container", "free"), [(None, 10 * GIB), (3 * GIB, 3 * GIB), (40 * GIB, 10 * GIB)])
def test_a_container_may_allow_less_than_the_machine_has(monkeypatch, container, free):
    monkeypatch.setattr(memory.cgroups, "headroom", lambda: container)
    assert memory.available("cpu") == free


def test_a_gpu_says_itself_what_is_free_and_nothing_is_limited(monkeypatch):
    # GIVEN
    limits = Limits(UNLIMITED, UNLIMITED)
    monkeypatch.setattr(memory, "resource", limits)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (7 * GIB, 16 * GIB))

    # WHEN
    with memory.limited_to_available("cuda") as free:
        inside = limits.now

    # THEN
    assert (free, inside) == (7 * GIB, (UNLIMITED, UNLIMITED))


def test_the_peak_of_a_cpu_run_is_that_of_the_process_since_the_reset():
    # GIVEN
    if memory._status_bytes("VmHWM") is None:
        pytest.skip("this system does not tell")
    memory.reset_peaks("cpu")
    before = memory.read_peaks("cpu")

    # WHEN
    block = bytearray(b"x") * (64 * 2**20)
    del block

    # THEN
    after = memory.read_peaks("cpu")
    assert (after.allocated, after.reserved) == (None, None)
    assert after.headline is not None
    assert before.headline is not None
    assert after.headline - before.headline > 48 * 2**20

    # WHEN
    memory.reset_peaks("cpu")

    # THEN
    again = memory.read_peaks("cpu").headline
    assert again is not None
    assert after.headline - again > 48 * 2**20


def test_the_peaks_of_a_gpu_run_are_those_of_its_allocator(monkeypatch):
    # GIVEN
    reset: list[str] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 6)
    monkeypatch.setattr(memory, "_status_bytes", lambda key: {"VmHWM": 7}[key])

    # WHEN
    memory.reset_peaks("cuda:1")

    # THEN
    assert reset == ["cuda:1"]
    assert memory.read_peaks("cuda:1") == MemoryPeaks(allocated=5, reserved=6, resident=7)


@pytest.mark.parametrize(
    ("text", "size"), [("VmPeak:\t 7 kB\nVmHWM:\t  100 kB\nVmRSS: 9 kB\n", 102_400), ("Name: x\n", None)]
)
def test_the_kernels_kilobytes_are_1024_bytes(monkeypatch, text, size):
    monkeypatch.setattr(memory.Path, "read_text", lambda *_, **__: text)
    assert memory._status_bytes("VmHWM") == size
