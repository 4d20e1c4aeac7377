"""Memory round a run: peaks, the limit that turns a kill into an error, and what allocation failures say."""

from __future__ import annotations

import resource
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from perfkit.measure import memory_limit
from tests.runs import CPU_OOM

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
    assert memory_limit.is_out_of_memory(error)


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
    assert not memory_limit.is_out_of_memory(error)


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
    assert memory_limit.requested_bytes(RuntimeError(text)) == size


def test_a_real_failure_of_this_pytorch_is_understood():
    # WHEN
    with pytest.raises(RuntimeError) as failed:
        torch.empty(2**50)

    # THEN
    assert memory_limit.is_out_of_memory(failed.value)
    assert memory_limit.requested_bytes(failed.value) == 4 * 2**50


def test_a_failure_says_what_was_asked_and_what_there_is():
    # WHEN
    failure = memory_limit.failure("cpu", RuntimeError(CPU_OOM), "measured step 2, forward", 16 * GIB)

    # THEN
    assert failure.message == (
        "out of memory in measured step 2, forward: an allocation of 64.0 GiB failed; "
        "this machine had 16.0 GiB available when the run began"
    )
    assert (failure.phase, failure.requested) == ("measured step 2, forward", 64 * GIB)
    assert failure.available == 16 * GIB
    assert "the GPU had 16.0 GiB" in memory_limit.failure("cuda:1", RuntimeError(GPU_OOM), "model", 16 * GIB).message


def test_a_failure_without_a_size_does_not_make_one_up():
    failure = memory_limit.failure("cpu", MemoryError(), "model", GIB)
    assert failure.message.startswith("out of memory in model: an allocation failed; this machine had 1.0 GiB")
    assert failure.requested is None


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
def process(tmp_path: Path) -> Path:
    """In place of /proc/self: a process that has 2 GiB of data."""
    (tmp_path / "status").write_text(f"VmPeak:\t 7 kB\nVmData:\t  {2 * GIB // 1024} kB\nVmRSS: 9 kB\n")
    return tmp_path


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
def test_data_is_limited_to_what_is_available_and_set_back(process, soft, hard, limit, raises):
    """GIVEN a machine with 10 GiB free, on which this process has 2 GiB of data"""
    # GIVEN
    limits = Limits(soft, hard)

    # WHEN
    try:
        with memory_limit.limited_to_available(
            "cpu", available=lambda _: 10 * GIB, limits=limits, process=process
        ) as free:
            inside = limits.now
            if raises:
                raise MemoryError
    except MemoryError:
        assert raises

    # THEN
    assert inside == (limit, hard)
    assert free == limit - 2 * GIB
    assert limits.now == (soft, hard)


@pytest.mark.parametrize(("container", "free"), [(None, 10 * GIB), (3 * GIB, 3 * GIB), (40 * GIB, 10 * GIB)])
def test_a_container_may_allow_less_than_the_machine_has(container, free):
    assert memory_limit.available("cpu", machine=lambda: 10 * GIB, container=lambda: container) == free


def test_a_gpu_says_itself_what_is_free():
    cuda = SimpleNamespace(mem_get_info=lambda device: {"cuda:1": (7 * GIB, 16 * GIB)}[device])
    assert memory_limit.available("cuda:1", cuda=cuda) == 7 * GIB


@pytest.mark.parametrize(("device", "told"), [("cuda", True), ("cpu", False)])
def test_nothing_is_limited_on_a_gpu_or_where_the_system_does_not_tell(process, device, told):
    # GIVEN
    limits = Limits(UNLIMITED, UNLIMITED)
    place = process if told else process / "nowhere"

    # WHEN
    with memory_limit.limited_to_available(device, available=lambda _: 7 * GIB, limits=limits, process=place) as free:
        inside = limits.now

    # THEN
    assert (free, inside) == (7 * GIB, (UNLIMITED, UNLIMITED))


def test_the_kernels_kilobytes_are_1024_bytes(process):
    assert memory_limit.status_bytes("VmPeak", process) == 7 * 1024
    assert memory_limit.status_bytes("VmHWM", process) is None
