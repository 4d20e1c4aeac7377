"""Memory of a run: what is available, a limit that turns a kill into an error, and allocation failures."""

from __future__ import annotations

import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch

from perfkit.measure import cgroups
from perfkit.schema import units
from perfkit.schema.record import Failure

_MESSAGES = re.compile(
    r"can(?:'t|not) allocate memory|out of memory|bad_alloc|ALLOC_FAILED|Storage size calculation overflow",
    re.IGNORECASE,
)
"""Messages of PyTorch on a CPU, CUDA, C++, the system, cuBLAS and cuDNN, and for a size that overflows an integer."""
_REQUESTED = re.compile(r"[Tt]ried to allocate ([\d.]+) (bytes|[KMGT]iB)")
_BYTES_IN = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

PROCESS = Path("/proc/self")


def status_bytes(key: str, process: Path = PROCESS) -> int | None:
    """A size of this process's memory from its `status`, such as VmHWM; None if the system does not report it."""
    try:
        text = (process / "status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    match = re.search(rf"^{key}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _machine() -> int:
    return psutil.virtual_memory().available


def available(
    device: str,
    *,
    cuda: Any = torch.cuda,
    machine: Callable[[], int] = _machine,
    container: Callable[[], int | None] = cgroups.headroom,
) -> int:
    """Bytes that can still be allocated: free on the GPU, or available on the machine (or in its container)."""
    if device != "cpu":
        free, _ = cuda.mem_get_info(device)
        return int(free)
    allowed = container()
    return machine() if allowed is None else min(machine(), allowed)


@contextmanager
def limited_to_available(
    device: str,
    *,
    available: Callable[[str], int] = available,
    limits: Any = resource,
    process: Path = PROCESS,
) -> Iterator[int]:
    """On a CPU, cap the process's data segment at what is available now; yields those bytes.

    Linux overcommits memory and later kills a process that uses it. With RLIMIT_DATA set to the available memory, the
    allocation itself fails and can be reported. `limits` is the module resource, and `process` is /proc/self, or test
    substitutes for them.
    """
    free = available(device)
    in_use = status_bytes("VmData", process)
    if device != "cpu" or in_use is None:
        yield free
        return
    soft, hard = limits.getrlimit(limits.RLIMIT_DATA)
    ceiling = min([in_use + free, *(limit for limit in (soft, hard) if limit != limits.RLIM_INFINITY)])
    limits.setrlimit(limits.RLIMIT_DATA, (ceiling, hard))
    try:
        yield ceiling - in_use
    finally:
        limits.setrlimit(limits.RLIMIT_DATA, (soft, hard))


def is_out_of_memory(error: BaseException) -> bool:
    """True for an allocation failure of any allocator that a run uses."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _MESSAGES.search(str(error)) is not None


def requested_bytes(error: BaseException) -> int | None:
    """The size of the allocation that failed, if the message contains it."""
    match = _REQUESTED.search(str(error))
    return round(float(match[1]) * _BYTES_IN[match[2]]) if match else None


def failure(device: str, error: BaseException, phase: str, free: int) -> Failure:
    """Describe an allocation failure: the bytes requested and the bytes available."""
    requested = requested_bytes(error)
    place = "the GPU" if device != "cpu" else "this machine"
    asked = f"an allocation of {units.size(requested)} failed" if requested else "an allocation failed"
    return Failure(
        phase=phase,
        message=f"out of memory in {phase}: {asked}; {place} had {units.size(free)} available when the run began",
        requested=requested,
        available=free,
    )
