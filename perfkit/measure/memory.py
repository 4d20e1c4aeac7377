"""Memory around a run: its peaks, a limit that turns a kill into an error, and what an allocation failure says."""

from __future__ import annotations

import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

from perfkit.measure import cgroups
from perfkit.schema import units
from perfkit.schema.config import RunConfig
from perfkit.schema.record import Failure, MemoryPeaks

_MESSAGES = re.compile(
    r"can(?:'t|not) allocate memory|out of memory|bad_alloc|ALLOC_FAILED|Storage size calculation overflow",
    re.IGNORECASE,
)
"""PyTorch on a CPU, CUDA, C++, the system, cuBLAS and cuDNN, and a tensor of more bytes than a number can count."""
_REQUESTED = re.compile(r"[Tt]ried to allocate ([\d.]+) (bytes|[KMGT]iB)")
_BYTES_IN = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

Suggest = Callable[[RunConfig, int], tuple[str, ...]]
"""From a configuration that ran out of memory and the bytes there were: flags that would fit. The model of memory
that knows is an analysis, which measuring does not import."""


def reset_peaks(device: str) -> None:
    """Start counting peaks anew."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM to the present resident set
    except OSError:
        return  # then the peak covers the process's whole life, which is still an upper bound


def read_peaks(device: str) -> MemoryPeaks:
    """Peaks since `reset_peaks`."""
    resident = _status_bytes("VmHWM")
    if device == "cpu":
        return MemoryPeaks(resident=resident)
    return MemoryPeaks(
        allocated=torch.cuda.max_memory_allocated(device),
        reserved=torch.cuda.max_memory_reserved(device),
        resident=resident,
    )


def _status_bytes(key: str) -> int | None:
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(rf"^{key}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def available(device: str) -> int:
    """Bytes that can still be allocated: what the GPU has free, or the machine (or its container) available."""
    if device != "cpu":
        free, _ = torch.cuda.mem_get_info(device)
        return free
    machine: int = psutil.virtual_memory().available
    container = cgroups.headroom()
    return machine if container is None else min(machine, container)


@contextmanager
def limited_to_available(device: str) -> Iterator[int]:
    """On a CPU, cap the process's data segment at what is available now; yields those bytes.

    Linux promises more memory than there is and then kills the process that uses it. With RLIMIT_DATA at the memory
    that is available, the allocation itself fails and can be reported.
    """
    free = available(device)
    in_use = _status_bytes("VmData")
    if device != "cpu" or in_use is None:
        yield free
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    ceiling = min([in_use + free, *limits])
    resource.setrlimit(resource.RLIMIT_DATA, (ceiling, hard))
    try:
        yield ceiling - in_use
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def is_out_of_memory(error: BaseException) -> bool:
    """True for an allocation failure of any allocator in play."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _MESSAGES.search(str(error)) is not None


def requested_bytes(error: BaseException) -> int | None:
    """The size of the allocation that failed, where the message says so."""
    found = _REQUESTED.search(str(error))
    return round(float(found[1]) * _BYTES_IN[found[2]]) if found else None


def failure(config: RunConfig, error: BaseException, phase: str, free: int, suggest: Suggest) -> Failure:
    """Describe an allocation failure: what was asked for, what there was, what to try."""
    requested = requested_bytes(error)
    place = "the GPU" if config.device != "cpu" else "this machine"
    asked = f"an allocation of {units.size(requested)} failed" if requested else "an allocation failed"
    return Failure(
        phase=phase,
        message=f"out of memory in {phase}: {asked}; {place} had {units.size(free)} available when the run began",
        requested=requested,
        available=free,
        suggestions=suggest(config, free),
    )
