"""Calls into the driver's allocator inside the steps, where PyTorch's cache should have what is needed."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.kernels.calls import Call, kind_of
from perfkit.regex import Regex
from perfkit.schema.finding import Finding, Rule

_LEAST = 0.01
"""Share of the step from which the finding is made."""
_FEW = 3
"""Calls, in a recording without steps, below which the program may have been starting."""
_MAKES = Regex(r"^(cuda|hip|cu)_?(Malloc(?!Host)|MemAlloc(?!Host)|MallocAsync|MemCreate|MemMap|MemSetAccess)")
_MAPS = Regex(r"^(cu|hip)_?Mem(Map|SetAccess)")
_FREES = Regex(r"^(cuda|hip|cu)_?(Free(?!Host)|MemFree(?!Host)|MemRelease|MemUnmap)")
_PINS = Regex(r"^(cuda|hip|cu)_?(HostAlloc|MallocHost|HostMalloc|HostRegister|MemHostAlloc|MemAllocHost)")
_FROM_POOL = Regex(r"Async")

ALLOCATOR_CALLS = Rule(
    "allocator-calls",
    "performance",
    "cudaMalloc, cudaFree or pinning of memory inside the steps: a cache that was emptied, fragmented, or still grows",
)


def allocator_calls(case: Case) -> Finding | None:
    """Calls that get memory from the driver or give it back; those of its own pool (Async) aside.

    Calls before the first kernel was launched start the device, and are no part of a step.

    At stake: their time on the host; cudaFree also waits for the device.
    """
    host = case.host
    launches = np.flatnonzero(host.is_runtime & case.ranges(lambda name: kind_of(name) is Call.KERNEL))
    begin = int(host.start[launches].min()) if len(launches) else 0

    def rows_of(pattern: Regex[str]) -> np.ndarray:
        flagged = host.is_runtime & case.ranges(lambda name: bool(pattern.search(name)) and not _FROM_POOL.search(name))
        rows = np.flatnonzero(flagged & (host.start >= begin))
        return rows[case.steps_at(host.start[rows]) != NONE]

    made, freed, pinned = rows_of(_MAKES), rows_of(_FREES), rows_of(_PINS)
    rows = np.concatenate((made, freed, pinned))
    time = int((host.end - host.start)[rows].sum())
    if len(rows) < (1 if case.account.steps else _FEW) or time < _LEAST * case.step_ns * case.step_count:
        return None
    counts = {"allocations": len(made), "frees": len(freed), "pinned allocations": len(pinned)}
    said = ", ".join(f"{what} {case.count(count)}" for what, count in counts.items() if count)
    text = f"calls to the driver's allocator take {case.each_of_host(time)} of the host ({said})"
    mapped = case.ranges(lambda name: _MAPS.search(name) is not None).any()  # what expandable segments do
    setting = "" if mapped else "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True, "
    advice = f"{setting}shapes that repeat, and steps before recording"
    if len(freed) and len(made):
        text += ": memory is given back and asked for again (empty_cache in the loop, or retries of a full device)"
        advice = f"no torch.cuda.empty_cache() in the loop, {setting}less memory"
    if len(pinned) and 2 * int((host.end - host.start)[pinned].sum()) > time:
        advice = "buffers that are pinned once, DataLoader(pin_memory=True) in place of pin_memory() in the loop"
    return Finding(ALLOCATOR_CALLS, text, case.host_cost(time), (), advice, "measured")
