"""Switches for debugging that were left on: blocking launches, anomaly mode, recording of Python stacks."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.intervals import NONE, at, nearest
from perfkit.analysis.attribution.links import NEVER
from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.findings.performance.evidence import kernel_rows
from perfkit.analysis.findings.performance.units import base
from perfkit.analysis.kernels.calls import Call, kind_of
from perfkit.schema import units
from perfkit.schema.finding import Evidence, Finding, Rule
from perfkit.trace.columns import HostKind

LAUNCH_BLOCKING = Rule(
    "launch-blocking",
    "performance",
    "the host waits for each kernel: CUDA_LAUNCH_BLOCKING=1, or a synchronisation after each launch",
)
_MOST = 0.5
"""Share of the launches that wait, from which waiting is a setting and not a place in the program (nsys-ai)."""
_LAUNCHES = 20
"""Launches, from which a share can be told."""


def launch_blocking(case: Case) -> Finding | None:
    """Launches that return when their kernel has ended, or that the next call of their thread waits for.

    At stake: all idle time of the device inside the steps, which begins when a kernel ends and the host has to come
    back and launch the next.
    """
    account, host = case.account, case.host
    if not case.on_device:
        return None
    launch = account.attribution.events.launch[account.row]
    calls = case.ranges(lambda name: kind_of(name) is Call.KERNEL) & host.is_runtime
    rows = np.flatnonzero((launch != NONE) & at(calls, launch, absent=False) & case.is_inside)
    if len(rows) < _LAUNCHES:
        return None
    ended = case.trace.device.end[account.row[rows]] <= host.end[launch[rows]]
    waited = _waits_next(case)[launch[rows]]
    share = float((ended | waited).mean())
    if share < _MOST:
        return None
    idle = int(case.idle_before[case.is_inside].sum())
    how = "the launch returns only when the kernel has ended" if ended.mean() >= _MOST else "a synchronisation follows"
    text = (
        f"the host waits for {units.percent(share)} of the kernels before it goes on ({how}):"
        f" the device is idle for {case.each(idle)}"
    )
    advice = (
        "unset CUDA_LAUNCH_BLOCKING (and AMD_SERIALIZE_KERNEL, HIP_LAUNCH_BLOCKING); no synchronize() after each call"
    )
    return Finding(LAUNCH_BLOCKING, text, case.cost(idle), (), advice, "derived")


def _waits_next(case: Case) -> np.ndarray:
    """Calls into the driver whose thread's next call synchronises."""
    host = case.host
    waits = np.zeros(len(host.name), dtype=bool)
    calls = np.flatnonzero(host.is_runtime)
    if len(calls) > 1:
        calls = calls[np.lexsort((host.start[calls], host.thread[calls]))]
        synchronises = case.ranges(lambda name: "Synchronize" in name)
        same = host.thread[calls[1:]] == host.thread[calls[:-1]]
        waits[calls[:-1]] = synchronises[calls[1:]] & same
    return waits


ANOMALY_MODE = Rule(
    "anomaly-mode",
    "performance",
    "autograd looks for NaN in the result of each backward node: torch.autograd.detect_anomaly",
    costs_more=True,
)
_VIEWS = ("t", "transpose", "view", "permute", "expand", "unsqueeze", "squeeze", "select", "slice", "_unsafe_view")
"""Operators that move no data and make a node of their own."""


def anomaly_mode(case: Case) -> Finding | None:
    """Backward nodes followed by a test for NaN in the engine's range round them.

    At stake: the tests, and the Python stack that the mode keeps for each node: what a view in forward that made a node
    takes by itself, which is next to nothing otherwise. That is the least: a stack takes longer the deeper the calls
    are, and of most nodes it cannot be told from the operator's own time. Without the mode a step took 77% less where
    18% were at stake (docs/tune.md).
    """
    host, links = case.host, case.account.attribution.links
    test = case.units.named("isnan", "_is_any_true")
    if not test.any():
        return None
    rows = case.units.row[test]
    rows = rows[links.node[rows] != NONE]
    engine = case.ranges(lambda name: name.startswith("autograd::engine::"))
    around = nearest(host.forest.parent, engine)
    tested = np.unique(around[rows])
    tested = tested[tested != NONE]
    nodes = int((engine & ~case.ranges(lambda name: "AccumulateGrad" in name)).sum())
    if not nodes or len(tested) < _MOST * nodes:
        return None
    in_test = test | (case.units.named("item", "any", "isnan") & _beside(case, tested))
    counted = case.rows_of(in_test, backward=False)
    time = case.time(counted)
    stacks = _stack_ns(case) * nodes / case.step_count
    text = (
        f"autograd tests the gradients of {len(tested):,} of {nodes:,} backward nodes for NaN (anomaly mode):"
        f" {case.each(time)}, and keeps a Python stack for each node of forward"
        f"{f', {units.duration_ns(round(stacks))}' if stacks else ''}; it costs at least that, since most of what"
        " stacks take does not show in a recording"
    )
    advice = "without torch.autograd.detect_anomaly() and set_detect_anomaly(True)"
    cost = case.host_cost((time / case.share_of + stacks) * case.step_count)
    return Finding(ANOMALY_MODE, text, cost, kernel_rows(case, counted), advice, "derived")


def _stack_ns(case: Case) -> float:
    """What keeping a Python stack takes: the median self time of views in forward that made a node; 0 without any."""
    host, links = case.host, case.account.attribution.links
    made = links.is_forward_op & (links.last_use > NEVER) & (links.node == NONE)
    views = made & case.ranges(lambda name: base(name) in _VIEWS) & (case.steps_at(host.start) != NONE)
    return float(np.median(case.self_time[views])) if views.any() else 0.0


def _beside(case: Case, tested: np.ndarray) -> np.ndarray:
    """Units right inside these ranges of the engine."""
    parent = case.host.forest.parent
    return np.isin(parent[case.units.row], tested)


PYTHON_STACKS = Rule(
    "python-stacks",
    "performance",
    "the recording itself slows the program: it has many times more Python frames than operators",
)
_FRAME_NS = 500
"""What the profiler adds to a call of a Python function, about: two events of some 250 ns, as measured on one machine
(CPython 3.11, torch 2.13, with_stack=True against without, an empty function)."""
_LEAST = 0.1


def python_stacks(case: Case) -> Finding | None:
    """Python frames inside the steps.

    Nothing is at stake for the program: half a microsecond a frame, as the sentence says, is the recording's own.
    """
    host = case.host
    rows = np.flatnonzero((host.kind == HostKind.PYTHON) & (host.thread == case.account.attribution.main_thread))
    rows = rows[case.steps_at(host.start[rows]) != NONE]
    time = len(rows) * _FRAME_NS
    if not time or time < _LEAST * case.step_ns * case.step_count:
        return None
    whole = "step" if case.account.steps else "recording"
    text = (
        f"{case.count(len(rows))} Python frames{case.a_step} were recorded: at about half a microsecond each they"
        f" are {units.duration_ns(time / case.step_count)} of the {whole}, which the program does not take by itself"
    )
    evidence = (Evidence("steps", {"step": 0}),) if case.account.steps else ()
    advice = (
        "profile(with_stack=False) for times, and stacks only to find a place (perfkit run: without --profile-stack)"
    )
    return Finding(PYTHON_STACKS, text, evidence=evidence, advice=advice, sure="guessed")
