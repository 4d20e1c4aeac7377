"""What a slow rank costs the job: the same job replayed with the others' work in its place.

Between two of its collectives a rank works for as long as it did. A collective begins to move data when its last
participant has come, takes what its shortest participant took, and ends for all together. To ask what a rank costs,
its work before each collective becomes the median of what the other participants do there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from perfkit.analysis.attribution.intervals import Ints
from perfkit.analysis.ranks.matching import Matched

_LOOKED_AT = 4
"""Ranks that are replayed without: those with the most work beyond the others'."""


@dataclass(frozen=True, slots=True)
class Job:
    """The work of each rank round its collectives, in ns."""

    found: Matched
    begin: Ints
    """[ranks] when each begins, on the common clock."""
    work: Ints
    """[matches, ranks] from the end of its last collective (or its beginning) until it comes to this one; negative
    where two run side by side."""
    tail: Ints
    """[ranks] from its last collective until its end."""


@dataclass(frozen=True, slots=True)
class Straggler:
    """A rank, and what the job would save with the others' work in its place."""

    rank: int
    cost: int
    """ns of the whole recording."""
    step_costs: dict[str, int]
    """ns by step, in order."""


def job_of(found: Matched, begin: Ints, end: Ints) -> Job:
    """The work of each rank, of aligned matches, and when each rank begins and ends (ns, the common clock)."""
    work, last = np.zeros_like(found.start), begin.astype(np.int64).copy()
    for row in range(len(found.start)):
        part = found.takes_part[row]
        work[row, part] = found.start[row, part] - last[part]
        last[part] = found.end[row, part]
    return Job(found, begin, work, np.maximum(end - last, 0))


def replayed(job: Job) -> tuple[int, Ints]:
    """When the job ends (ns, the common clock), and when each match does."""
    clock, transfer = job.begin.astype(np.int64).copy(), job.found.transfer
    ends = np.zeros(len(transfer), np.int64)
    for row in range(len(transfer)):
        part = job.found.takes_part[row]
        ends[row] = (clock[part] + job.work[row, part]).max() + transfer[row]
        clock[part] = ends[row]
    return int((clock + job.tail).max()), ends


def without(job: Job, column: int) -> Job:
    """The job with the median of the others' work in place of one rank's; where it has no others, its own."""
    others = job.found.takes_part.copy()
    others[:, column] = False
    known = np.where(others, job.work, np.nan).astype(np.float64)
    has_others = others.any(axis=1) & job.found.takes_part[:, column]
    work, tail = job.work.copy(), job.tail.copy()
    work[has_others, column] = np.rint(np.nanmedian(known[has_others], axis=1)).astype(np.int64)
    tail[column] = round(float(np.median(np.delete(job.tail, column))))
    return replace(job, work=work, tail=tail)


def stragglers(job: Job) -> list[Straggler]:
    """Ranks without which the job would be shorter, the dearest first."""
    if len(job.found.ranks) < 2 or not len(job.work):
        return []
    whole, ends = replayed(job)
    candidates = [without(job, column) for column in range(len(job.found.ranks))]
    excess = np.array([(job.work - other.work).clip(min=0).sum() for other in candidates])
    slow = np.argsort(-excess, kind="stable")[:_LOOKED_AT].tolist()
    made = []
    for column in slow:
        end, ends_without = replayed(candidates[column])
        if whole > end:
            costs = by_step(job.found.calls["step"].tolist(), ends - ends_without, whole - end)
            made.append(Straggler(job.found.ranks[column], whole - end, costs))
    return sorted(made, key=lambda one: -one.cost)


def by_step(steps: Sequence[str], saved: npt.NDArray[np.int64], total: int) -> dict[str, int]:
    """What each step adds to what was saved by the end of its last match; the last has what follows it, too."""
    until = dict(zip(steps, saved.tolist(), strict=True))
    names = list(until)
    until[names[-1]] = total
    before = [0, *(until[name] for name in names[:-1])]
    return {name: until[name] - earlier for name, earlier in zip(names, before, strict=True)}
