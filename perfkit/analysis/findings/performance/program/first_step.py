"""A first step that is slower than the others."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.findings.performance.program.compiling import is_compiling
from perfkit.schema import units
from perfkit.schema.finding import Evidence, Finding, Rule

_STEPS = 3
"""Steps, from which a typical one can be told."""
_FAR, _FAR_FOR_A_REASON = 2.0, 1.3
"""The first step is slow from this many medians of the others on; from fewer, if something in it says why."""
_LEAST_NS = 1_000_000
"""What the profiler itself adds to its first step is less."""

SLOW_FIRST_STEP = Rule(
    "slow-first-step", "performance", "the first recorded step is far slower than the others: it was not warmed up"
)


def slow_first_step(case: Case) -> Finding | None:
    """The first step's wall time against the others'.

    At stake: what it takes beyond their median, spread over all recorded steps: the mean is too high by so much.
    """
    starts, ends = case.bounds
    if case.step_count < _STEPS or not case.account.steps:
        return None
    wall = ends - starts
    median, slowest = float(np.median(wall[1:])), int(wall[1:].max())
    excess = float(wall[0] - median)
    if excess < _LEAST_NS or wall[0] < _FAR_FOR_A_REASON * median or wall[0] < 1.2 * slowest:
        return None
    causes = _causes(case, int(starts[0]), int(ends[0]))
    far = _FAR_FOR_A_REASON if causes else _FAR
    if wall[0] < far * median:
        return None
    text = (
        f"the first step takes {units.duration_ns(int(wall[0]))}, the others {units.duration_ns(round(median))}"
        f"{causes and f' ({causes})'}: the mean of {case.step_count} steps is too high by"
        f" {units.duration_ns(excess / case.step_count)}"
    )
    advice = "more steps before recording: schedule(warmup=...) of torch.profiler (perfkit run: --warmup-steps 5)"
    evidence = (Evidence("steps", {"step": 0}),)
    return Finding(SLOW_FIRST_STEP, text, case.host_cost(excess), evidence, advice, where="step 0")


def _causes(case: Case, start: int, end: int) -> str:
    """What in the first step tells why: compilation, loading of modules, allocations."""
    host = case.host
    inside = (host.start >= start) & (host.start < end)
    signs = {
        "it compiles": lambda name: is_compiling(name) and not _loads(name),
        "it loads modules": _loads,
        "it allocates memory": lambda name: name.startswith(("cudaMalloc", "hipMalloc")),
    }
    return ", ".join(text for text, sign in signs.items() if (case.ranges(sign) & inside).any())


def _loads(name: str) -> bool:
    return "ModuleLoad" in name or "LibraryLoad" in name
