"""What is left of one trace of many, and of several: a row for each file, and sums that can be merged.

    file -> account -> Folded (its row, its sums) -> joined, a few at a time -> Folded of all -> tables

Sums are additive: joined in any grouping they are the same to the last bit, as long as files keep their order. They do
not grow with the number of steps, as a trace's own do, but for three numbers a step; so the whole of a job fits where
one of its traces does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np

from perfkit.analysis.costs.flops.collectives import MESSAGES
from perfkit.analysis.reports.trace import View, account_of
from perfkit.analysis.time.cells import BY_STEP, CELLS
from perfkit.analysis.time.idle import causes
from perfkit.analysis.time.idle.folds import WAITING_CALLS, WALL_TIME
from perfkit.analysis.time.idle.kinds import Cause, Kind
from perfkit.analysis.time.launches import CALLS
from perfkit.analysis.time.paces import STEP_PACES, step_time
from perfkit.analysis.time.partial import Facts, Fold, Partial, columns_of, merge
from perfkit.analysis.time.passes import PASSES
from perfkit.analysis.time.summary import SPANS
from perfkit.analysis.time.unlaunched import UNLAUNCHED_WORK
from perfkit.trace.columns import Trace

FOLDS: tuple[Fold, ...] = (
    BY_STEP, CELLS, PASSES, SPANS, STEP_PACES, WALL_TIME, WAITING_CALLS, CALLS, UNLAUNCHED_WORK, MESSAGES,
)  # fmt: skip
"""What the tables of many files are made of."""
_HOST = re.compile(r"(.+?)_\d+(?:\.\d{10,})?\.pt\.trace\.json(?:\.gz)?")
"""As torch.profiler.tensorboard_trace_handler names files, by host and process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """One file: what it is, and its times per step, in ns."""

    file: str
    why: str = ""
    """Why it could not be read; empty where it was."""
    rank: int | None = None
    world: int | None = None
    """Ranks of its job, where the file says."""
    host: str = ""
    bytes: int = 0
    events: int = 0
    step_walls: tuple[int, ...] = ()
    """Of each step."""
    total_ns: int = 0
    times: Mapping[str, float] = field(default_factory=dict)
    """What of a step is compared between files; without steps, of all of it."""
    spelling: str = ""
    """How its scopes are spelled: sums are added up only of files that spell them alike."""
    is_cut: bool = False
    """Whether the file ends in the middle, and what was before that was read."""


@dataclass(frozen=True, slots=True)
class Folded:
    """Files in their order, and the sums of those that were read: merged for each way in which they spell scopes."""

    rows: tuple[FileRow, ...]
    parts: Mapping[str, Partial]


def folded(trace: Trace, view: View, *, size: int = 0, rank: int | None = None) -> Folded:
    """What is left of a trace. Raises UsageError where the view selects a step or a phase without work."""
    account = account_of(trace, view)
    partial = account.partial
    row = FileRow(
        file=trace.source,
        rank=trace.recording.rank if rank is None else rank,
        world=trace.recording.world_size,
        host=host_of(trace.source),
        bytes=size,
        events=trace.facts.events,
        step_walls=partial.facts.steps,
        total_ns=int(partial.of(CELLS)["total_ns"].sum()),
        times=_times(partial),
        spelling=_spelling(partial.facts),
        is_cut=trace.facts.truncated_at is not None,
    )
    return Folded((row,), {row.spelling: _coarse(partial)})


def failed(file: str, why: str, size: int = 0) -> Folded:
    """A file that could not be read."""
    return Folded((FileRow(file=file, why=why, host=host_of(file), bytes=size),), {})


def joined(several: Sequence[Folded]) -> Folded:
    """Several in their order, as one."""
    parts: dict[str, list[Partial]] = {}
    for one in several:
        for spelling, partial in one.parts.items():
            parts.setdefault(spelling, []).append(partial)
    merged = {key: some[0] if len(some) == 1 else _coarse(merge(some)) for key, some in parts.items()}
    return Folded(tuple(row for one in several for row in one.rows), merged)


def host_of(file: str) -> str:
    """The host in the name of a file of torch.profiler's own handler, `HOST_PID.TIME.pt.trace.json`; else empty."""
    named = _HOST.fullmatch(PurePath(file).name)
    return named[1] if named else ""


def _times(partial: Partial) -> dict[str, float]:
    """What is compared between files, in ns a step: the step, what devices did in it, and why they were idle."""
    step = step_time(partial)
    times = {"step": step.ns} if step else {}
    if partial.facts.on_device:
        times |= {kind.label: float(causes.cost_of(partial, kind).ns or 0) for kind in Kind if kind is not Kind.IDLE}
        times |= {f"idle, {cause.label}": float(causes.cost_of(partial, cause).ns or 0) for cause in Cause}
    return times


def _spelling(facts: Facts) -> str:
    return f"{facts.scope_source.value}{' modules' if facts.qualified else ''} by {facts.layers_by.value}"


def _coarse(partial: Partial) -> Partial:
    """The sums that the tables of many files need, with all steps as one, but for the numbers of steps themselves."""
    made = {fold.name: partial.of(fold) for fold in FOLDS}
    by_step = made[BY_STEP.name]
    made[BY_STEP.name] = BY_STEP.added(columns_of(by_step.assign(step=np.minimum(by_step["step"], 0))))
    return Partial.made(partial.facts, made)
