"""Which of the changes that were tried is worth it: those shown to be faster that compute the same, alone or together.

A process counts once, by the median of its steps. Each round has the original and every change once, and a change is
judged against the original of its round. It is faster where that is shown at 5%, adjusted by Holm's method for all
changes that were tried.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from perfkit.analysis.runs import comparison
from perfkit.analysis.runs.comparison import Row
from perfkit.analysis.runs.processes import Side, side_of
from perfkit.analysis.runs.summary import STEP
from perfkit.analysis.statistics import welch
from perfkit.analysis.statistics.welch import Welch
from perfkit.analysis.tuning.candidates import Candidate
from perfkit.analysis.tuning.equality import Equality
from perfkit.schema.record import RunRecord

Clock = Literal["wall", "cpu"]
"""What a step takes: by the clock on the wall, or the CPU time of all the process's threads."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One change, and what came of it."""

    candidate: Candidate
    row: Row | None = None
    """Its processes (B) against the original's (A); None where nothing was measured."""
    equality: Equality | None = None
    """None where no result could be compared; `failed` says why."""
    memory_bytes: int | None = None
    """Peak memory, less the original's: tensors on a GPU, the resident set on a CPU."""
    memory_share: float | None = None
    """That, as a share of the original's."""
    failed: str = ""
    """Why it could not run."""
    untried: str = ""
    """Why it was not tried, or not to its end."""

    @property
    def verdict(self) -> str:
        """One word or two."""
        if self.failed:
            return "failed"
        if self.equality is not None and not self.equality.same:
            return "refused"
        if self.row is None:
            return "not tried"
        return "undecided" if self.row.welch is None else self.row.verdict

    @property
    def is_worth_it(self) -> bool:
        """Whether it is shown to be faster, and to compute the same: a larger batch does not."""
        return self._is_faster and self.candidate.times == 1

    @property
    def is_worth_training_otherwise(self) -> bool:
        """Whether it is a larger batch that is shown to be faster, by the time for as many rows."""
        return self._is_faster and self.candidate.times > 1

    @property
    def _is_faster(self) -> bool:
        return self.verdict == "faster" and self.equality is not None and self.equality.same

    @property
    def gain(self) -> tuple[float, float, float]:
        """The share of the step that it saves, and the 95% interval of it; nan where it is not known."""
        if self.row is None:
            return math.nan, math.nan, math.nan
        low, high = self.row.interval
        return 1 - self.row.ratio, 1 - high, 1 - low


_MOST = 0.99
"""Share of a step that a prediction can be: nothing takes no time."""


def rows(
    original: Sequence[RunRecord | None],
    tried: Mapping[str, Sequence[RunRecord | None]],
    clock: Clock = "wall",
    margin: float = 0.01,
    times: Mapping[str, int] | None = None,
) -> dict[str, Row]:
    """Each change's processes against the original's, round by round, judged together.

    original, and each of tried: one of each round, None where it did not finish; only rounds with both count, and a
    change without one is left out. times: of larger batches, how many of the original's steps one of theirs is worth.
    """
    found = {}
    for name, records in tried.items():
        worth = (times or {}).get(name, 1)
        both = [(_timed(a, clock), _timed(b, clock, worth)) for a, b in zip(original, records, strict=False) if a and b]
        both = [(a, b) for a, b in both if a.steps and b.steps]
        if not both:
            continue
        before, after = (_side(name, side) for side in zip(*both, strict=True))
        [row] = comparison.compare(before, after, margin=margin, force=True).steps
        found[name] = row if row.welch is None else dataclasses.replace(row, welch=_by_round(before, after))
    judged = comparison.judged(list(found.values()), margin, in_any_order=False)
    return dict(zip(found, judged, strict=True))


def _side(name: str, records: Iterable[RunRecord]) -> Side:
    return side_of(name, name, [(str(place), record) for place, record in enumerate(records, 1)])


def _by_round(before: Side, after: Side) -> Welch:
    """Whether a change is faster than the original in its round: what slows a machine for a minute slows both."""
    a, b = (np.log([process.medians[STEP] for process in side.processes]) for side in (before, after))
    return welch.paired(a, b)


def _timed(record: RunRecord, clock: Clock, times: int = 1) -> RunRecord:
    """The record with the time of so much of each step; of CPU time without steps where it was not counted."""
    taken = [(step, step.wall_s if clock == "wall" else step.cpu_s) for step in record.steps]
    steps = [dataclasses.replace(step, wall_s=time / times, phases_s={}) for step, time in taken if time]
    return dataclasses.replace(record, steps=tuple(steps))


def peak(records: Iterable[RunRecord | None]) -> float | None:
    """The median peak memory, bytes; None where none was measured."""
    peaks = [record.memory.headline for record in records if record is not None and record.memory.headline is not None]
    return float(np.median(peaks)) if peaks else None


def best_together(trials: Iterable[Trial]) -> Candidate | None:
    """The changes that are worth it, as one: the largest gain first, and none that sets what a larger one sets.

    None where there are not two such changes.
    """
    chosen: list[Candidate] = []
    for trial in sorted((trial for trial in trials if trial.is_worth_it), key=lambda one: -one.gain[0]):
        if not any(trial.candidate.touches & other.touches for other in chosen):
            chosen.append(trial.candidate)
    if len(chosen) < 2:
        return None
    known = [one.predicted for one in chosen if one.predicted is not None]
    changes = tuple(change for one in chosen for change in one.changes)
    rules = tuple(dict.fromkeys(rule for one in chosen for rule in one.rules))
    total = min(sum(known), _MOST) if len(known) == len(chosen) else None
    at_least = any(one.at_least for one in chosen)
    return Candidate(" ".join(one.name for one in chosen), changes, rules, total, at_least)


def recommended(trials: Sequence[Trial], together: Trial | None = None) -> Trial | None:
    """The best alone or all together, whichever is worth it and saves more; None where nothing is worth it."""
    worth = [trial for trial in (*trials, *filter(None, (together,))) if trial.is_worth_it]
    return max(worth, key=lambda trial: trial.gain[0], default=None)


def larger_batch(trials: Iterable[Trial]) -> Trial | None:
    """The larger batch that saves most of the time for as many rows; None where none is shown to save any."""
    worth = [trial for trial in trials if trial.is_worth_training_otherwise]
    return max(worth, key=lambda trial: trial.gain[0], default=None)


def affordable(order: Sequence[str], seconds: Mapping[str, float], original: float, left: float) -> list[str]:
    """As many of the changes, in this order, as one more round of them and the original has time for.

    seconds: what a process of each took last; original: of the original; left: what is left.
    """
    kept = []
    left -= original
    for name in order:
        left -= seconds[name]
        if left < 0:
            break
        kept.append(name)
    return kept
