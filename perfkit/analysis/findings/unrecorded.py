"""Threads whose operators the profiler did not record: it records the thread that started it, and autograd's."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.attribution.intervals import NONE, at
from perfkit.analysis.time.account import Account
from perfkit.schema import units
from perfkit.schema.finding import Cost, Finding, Rule
from perfkit.trace.columns import HostKind

UNRECORDED_THREADS = Rule(
    "unrecorded-threads", "integrity", "operators ran in threads that the profiler did not record: backward, for one"
)

_ADVICE = "profile(experimental_config=torch._C._profiler._ExperimentalConfig(profile_all_threads=True))"


def unrecorded_threads(account: Account) -> Finding | None:
    """Threads that launched work, or must have run backward, and of which the file has no operator and no range.

    PyTorch's profiler keeps its state by thread. Launches are recorded of all threads, by the GPU's own profiler, and
    so are Python frames; operators and ranges are not.
    """
    if not account.trace.recording.capabilities.operators:
        return None
    return _of_launches(account) if account.on_device else _of_backward(account)


def _of_launches(account: Account) -> Finding | None:
    host, launch = account.attribution.host, account.attribution.events.launch[account.row]
    is_recorded = (host.kind == HostKind.OP) | (host.kind == HostKind.ANNOTATION)
    recorded = np.unique(host.thread[is_recorded])
    thread = at(host.thread.astype(np.int64), launch, absent=NONE)
    lost = (launch != NONE) & ~np.isin(thread, recorded)
    if not len(recorded) or not account.total[lost].any():  # without any, operators were not asked for
        return None
    time, whole, threads = int(account.total[lost].sum()), int(account.total.sum()), len(np.unique(thread[lost]))
    where, many = f"{threads} threads" if threads > 1 else "a thread", int(lost.sum())
    what = units.many(many, "device event", "device events")
    what += f" ({units.duration_ns(time)}, {units.percent(time / whole)})"
    was, has = ("was", "it has") if many == 1 else ("were", "they have")
    text = f"{what} {was} launched in {where} whose operators the profiler did not record: {has} no scope"
    return _finding(account, text, time, whole)


def _of_backward(account: Account) -> Finding | None:
    """Forward operations and an optimizer's step, and not one backward node: it ran in another thread."""
    host, links = account.attribution.host, account.attribution.links
    step = np.flatnonzero(host.matching(lambda name: name.startswith("Optimizer.step")))
    forward = np.flatnonzero(links.is_forward_op & (account.attribution.ranges.phase == Phase.FORWARD))
    if not len(step) or not len(forward) or links.is_node.any():
        return None
    forward = forward[np.argsort(host.start[forward], kind="stable")]
    before = np.searchsorted(host.start[forward], host.start[step])
    done = np.concatenate((host.start[step][:1], np.maximum.accumulate(host.end[forward])))[before]
    done = np.maximum(done, np.concatenate((done[:1], host.end[step][:-1])))
    waited = np.maximum(host.start[step] - done, 0)
    time = int(waited.sum())
    stepped = f"{len(step):,} times" if len(step) > 1 else "once"
    text = (
        f"no backward node is in the file, though an optimizer stepped {stepped}: backward ran in a thread that the"
        f" profiler did not record; {units.duration_ns(time)} passed between the last forward operation and the step"
    )
    return _finding(account, text, time, int(account.total.sum()))


def _finding(account: Account, text: str, time: int, whole: int) -> Finding:
    cost = Cost(round(time / max(len(account.steps), 1)), time / whole if whole else None)
    return Finding(UNRECORDED_THREADS, text, cost, advice=_ADVICE, sure="derived")
