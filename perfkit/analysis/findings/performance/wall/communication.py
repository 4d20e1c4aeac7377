"""Communication between devices, and what of it nothing hides."""

from __future__ import annotations

import re

import msgspec
import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools, at
from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.costs.flops.collectives import MESSAGES, message_bytes
from perfkit.analysis.findings.performance.case import Case, amount
from perfkit.analysis.findings.performance.evidence import kernel_rows
from perfkit.analysis.kernels import copies, kinds
from perfkit.analysis.kernels.copies import host_memory
from perfkit.analysis.time.idle.kinds import Kind
from perfkit.analysis.time.replay.edit import Edit
from perfkit.regex import Regex
from perfkit.schema import units
from perfkit.schema.finding import Cost, Evidence, Finding, Rule

EXPOSED_COMMUNICATION = Rule(
    "exposed-communication", "performance", "collectives during which the device computes nothing"
)
_LEAST = 0.05
"""Share of the step (TraceLens's agent has the same for exposed communication)."""


def exposed_communication(case: Case) -> Finding | None:
    """Collectives, those that `missed-overlap` is about aside.

    At stake: the time of theirs in which nothing is computed. It includes waiting for the slowest rank.
    """
    rows = _exchange(case) & ~late_reductions(case)
    one_rank = case.trace.recording.world_size == 1
    total, exposed = int(case.account.total[rows].sum()), int(case.account.exclusive[rows].sum())
    if not case.is_worth(exposed, _LEAST):
        return None
    text = (
        f"communication takes {case.each(total)}, and for {case.each(exposed)} of it"
        f" ({units.percent(exposed / total)}) the device computes nothing"
        f"{'' if one_rank else '; waiting for slower ranks is part of it'}"
    )
    advice = "no process group: there is one rank" if one_rank else _instead(case, rows)
    return Finding(EXPOSED_COMMUNICATION, text, case.cost(exposed), kernel_rows(case, rows), advice, "measured")


_SHORT_NUMBERS = Regex(r"bf16|bfloat16|_half|[^b]f16|fp8|f8e")
"""In the names of collectives that move 16 bits or fewer a number."""


def _instead(case: Case, rows: Bools) -> str:
    """What makes communication shorter or hides it: in training, and in a program without gradients."""
    if len(case.units) and not bool((case.account.phase == Phase.BACKWARD).any()):
        return (
            "fewer exchanges (tensor parallelism over fewer devices, one exchange for several results), computation of"
            " another batch beside them, ranks with equal work"
        )
    names = {case.trace.names[index] for index in np.unique(case.account.name[rows]).tolist()}
    shorter = "" if any(map(_SHORT_NUMBERS.search, names)) else " gradients in bf16,"
    return (
        "larger buckets that start earlier (DistributedDataParallel(bucket_cap_mb=...), FSDP's prefetch),"
        f"{shorter} no_sync() while gradients accumulate, ranks with equal work"
    )


def _exchange(case: Case) -> Bools:
    """Rows of the account that are communication, in the steps."""
    return case.in_phase(Phase.COMMUNICATION) & case.is_inside if case.on_device else np.zeros(len(case.account), bool)


def _gone(case: Case, rows: Bools, factor: float = 0.0) -> Edit:
    device = np.zeros(len(case.trace.device.start), dtype=bool)
    device[case.account.row[rows]] = True
    return Edit(device=device, factor=factor)


def hidden_communication(case: Case, _: Finding) -> Edit:
    """Collectives that take no time, as if computation hid them."""
    return _gone(case, _exchange(case) & ~late_reductions(case))


MISSED_OVERLAP = Rule(
    "missed-overlap",
    "performance",
    "communication or copies that could run beside computation, but are launched too late, or on its stream",
)
_LEAST_MISSED = 0.02
"""Share of the step at stake."""
_FEW_NUMBERS = 1024
"""Bytes of a message, below which it is no bucket of gradients."""
_REDUCTION = Regex(r"all_?reduce|reduce_?scatter", re.IGNORECASE)


def missed_overlap(case: Case) -> Finding | None:
    """Reductions launched when backward is over, which could begin with the last layer's gradients; and copies to the
    device, of pinned memory, on a stream that computes.

    At stake: their time in which the device does nothing else; of reductions at most the time of backward, of copies
    that of all computation.
    """
    late, copying = late_reductions(case), _on_computing_streams(case)
    time_late, time_copying = _hidden(case, late, copying)
    time = time_late + time_copying
    if not case.is_worth(time, _LEAST_MISSED):
        return None
    said, advice = [], []
    if time_late:
        said.append(
            f"gradients are reduced only after backward, {case.times_a_step(int(late.sum()))},"
            f" and the device computes nothing for {case.each(time_late)}"
        )
        advice.append("DistributedDataParallel or FSDP, which reduce buckets while backward goes on")
    if time_copying:
        said.append(
            f"{case.count(int(copying.sum()))} copies to the device{case.a_step} run on the stream that computes, and"
            f" hold it up for {case.each(int(case.account.exclusive[copying].sum()))}, of which computation can hide"
            f" {case.each(time_copying)}"
        )
        advice.append("a stream of its own for the next batch's copy (with torch.cuda.stream(...), non_blocking=True)")
    rows = late | copying
    return Finding(
        MISSED_OVERLAP, "; ".join(said), case.cost(time), kernel_rows(case, rows), ", ".join(advice), "derived"
    )


def _hidden(case: Case, late: Bools, copying: Bools) -> tuple[int, int]:
    """ns of late reductions that backward can hide, and of copies that computation can."""
    alone = case.account.exclusive
    backward, computing = case.time(case.in_phase(Phase.BACKWARD)), case.wall_ns(Kind.COMPUTE)
    return min(int(alone[late].sum()), backward), min(int(alone[copying].sum()), computing)


def late_reductions(case: Case) -> Bools:
    """Rows of reductions that the host launches after the last backward node of their step, before its end.

    A message of a few numbers is a loss or a norm, and no gradients.
    """
    account, host = case.account, case.host
    rows = _exchange(case)
    if not rows.any():
        return rows
    nodes = np.flatnonzero(account.attribution.links.is_node)
    step = case.steps_at(host.start[nodes])
    last = np.full(case.step_count + 1, np.iinfo(np.int64).max)
    first = last[:-1].copy()
    np.minimum.at(first, step[step != NONE], host.start[nodes[step != NONE]])
    ends = np.full(case.step_count, np.iinfo(np.int64).min)
    np.maximum.at(ends, step[step != NONE], host.end[nodes[step != NONE]])
    last[:-1] = np.where(first == np.iinfo(np.int64).max, first, ends)  # without nodes nothing is late
    launch = account.attribution.events.launch[account.row]
    called = at(host.start, launch, absent=np.iinfo(np.int64).min)
    reduces = np.array([_REDUCTION.search(name) is not None for name in case.trace.names], dtype=bool)
    size = message_bytes(account)[account.row]
    late: Bools = rows & reduces[account.name] & (called >= last[case.steps_at(called)])
    return late & ~((size != NONE) & (size < _FEW_NUMBERS))


def _on_computing_streams(case: Case) -> Bools:
    """Rows of copies to the device from memory that is not pageable, on a stream that has kernels, too."""
    account, events = case.account, case.trace.device
    if not case.on_device:
        return np.zeros(len(account), dtype=bool)
    to_device = np.array(
        [copies.direction(name) == kinds.HOST_TO_DEVICE and host_memory(name) == "pinned" for name in case.trace.names],
        dtype=bool,
    )
    lane = events.device.astype(np.int64) << 32 | events.stream.astype(np.int64)
    computes = np.unique(lane[case.is_kernel])
    rows = case.is_copy[account.row] & to_device[account.name] & case.is_inside
    return rows & np.isin(lane[account.row], computes)


def overlapped(case: Case, _: Finding) -> Edit:
    """These collectives and copies take so much less."""
    late, copying = late_reductions(case), _on_computing_streams(case)
    time = int(case.account.exclusive[late | copying].sum())
    return _gone(case, late | copying, 1 - sum(_hidden(case, late, copying)) / time if time else 0.0)


SMALL_MESSAGES = Rule(
    "small-messages", "performance", "many small messages between devices, which take longer than their bytes would"
)
_SMALL_BYTES = 16 << 20
"""msprof's advisor: below 16 MB a message does not use the links, and a fifth of such messages is too many."""
_SMALL_SHARE, _SMALL_COUNT = 0.2, 20


def small_messages(case: Case) -> Finding | None:
    """Collectives of less than 16 MiB, where they are a fifth of all, and 20 a step.

    At stake: what they take beyond their bytes at the best rate that a collective of the recording has; of it the part
    that nothing hides.
    """
    small = _small(case)
    if small is None or small.count < _SMALL_COUNT * case.share_of or small.count < _SMALL_SHARE * small.of:
        return None
    rows = _exchange(case)
    total = int(case.account.total[rows].sum())
    time = small.excess_ns * int(case.account.exclusive[rows].sum()) / total if total else 0.0
    if not case.is_worth(time, _LEAST_MISSED):
        return None
    text = (
        f"{amount(small.count / case.share_of)} of {amount(small.of / case.share_of)} collectives{case.a_step} move"
        f" less than 16 MiB, {units.size(small.bytes / small.count)} on average: at the best rate of this recording"
        f" they would take {case.each(small.excess_ns)} less"
    )
    advice = "one collective for many tensors: bucket_cap_mb, FSDP units of several layers, all_reduce_coalesced"
    evidence = (Evidence("collectives", {"collective": small.name}),)
    return Finding(SMALL_MESSAGES, text, case.cost(time), evidence, advice, "derived")


class _Small(msgspec.Struct, frozen=True):
    """Small messages of the recording: how many, of how many, their bytes, and what they take too long."""

    count: int
    of: int
    bytes: int
    excess_ns: float
    name: str


def _small(case: Case) -> _Small | None:
    """None where the file does not say what collectives move, or none of them is small."""
    if not case.account.partial.facts.has_collectives or not case.on_device:
        return None
    frame = case.account.partial.of(MESSAGES)
    frame = frame[(frame["size"] > 0) & (frame["total_ns"] > 0)]
    small = frame[frame["size"] < _SMALL_BYTES]
    if not int(small["count"].sum()):
        return None
    best = float((frame["bytes"] / frame["total_ns"]).max())
    excess = float(small["total_ns"].sum()) - float(small["bytes"].sum()) / best
    name = str(small.groupby("collective")["total_ns"].sum().idxmax())
    return _Small(int(small["count"].sum()), int(frame["count"].sum()), int(small["bytes"].sum()), excess, name)


def joined_messages(case: Case, _: Finding) -> Edit | None:
    """All collectives take so much less."""
    small, rows = _small(case), _exchange(case)
    total = int(case.account.total[rows].sum())
    return _gone(case, rows, max(1 - small.excess_ns / total, 0.0)) if small and total else None


UNBALANCED_RANKS = Rule(
    "unbalanced-ranks", "performance", "one rank computes longer than the others, which wait for it in collectives"
)
_LEAST_WAIT = 0.1
"""What the slowest computes beyond the median, as a share of the step (TraceML warns from 10% on)."""


def unbalanced_ranks(case: Case) -> Finding | None:
    """Devices of one recording that take part in collectives: how long each computes.

    At stake: what the slowest computes beyond the median, which the others wait for. Of recordings in files of their
    own, `perfkit analyze FOLDER` compares the ranks.
    """
    rows = _exchange(case)
    devices = np.unique(case.account.device[rows])
    if len(devices) < 2:
        return None
    computing = case.is_inside & ~rows & case.is_kernel[case.account.row]
    time = np.bincount(case.account.device[computing], weights=case.account.exclusive[computing])
    time = np.append(time, np.zeros(max(int(devices.max()) + 1 - len(time), 0)))[devices] / case.step_count
    labels = [f"device {case.account.device_labels[index]}" for index in devices.tolist()]
    return of_ranks(labels, time.tolist(), case.step_ns, case.a_step)


def of_ranks(labels: list[str], computing_ns: list[float], step_ns: float, a_step: str = " a step") -> Finding | None:
    """The same of any ranks, by name: ns in which each computes, and ns of a step. None for a single one."""
    times = np.array(computing_ns)
    if len(times) < 2 or not step_ns:
        return None
    slowest, median = int(times.argmax()), float(np.median(np.delete(times, times.argmax())))
    excess = float(times[slowest]) - median
    if excess < _LEAST_WAIT * step_ns:
        return None
    text = (
        f"{labels[slowest]} computes for {units.duration_ns(times[slowest])}{a_step}, the others for"
        f" {units.duration_ns(median)} (median): they wait for it in collectives"
    )
    advice = "batches of equal work for all ranks (sequences of similar length, equal shards), and a look at its clocks"
    cost = Cost(round(excess), min(excess / step_ns, 1.0))
    return Finding(UNBALANCED_RANKS, text, cost, (), advice, "derived", where=labels[slowest])
