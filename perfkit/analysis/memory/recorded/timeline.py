"""The phases of a recording's events, one after the other, and the steps that they make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.lifetimes import Span
from perfkit.trace.columns import MISSING, Bytes, Int32s, Int64s


@dataclass(frozen=True, slots=True)
class Timeline:
    """One row an event, by its number."""

    phase: Bytes
    """Phase, as the event itself says it; OTHER where it says nothing."""
    run: Int32s
    """Index into `spans`: the stretch of events of one phase around it."""
    spans: tuple[Span, ...]
    """Recomputation is a part of backward, and what lies between forward and backward, the loss, one of forward."""

    @property
    def knows(self) -> bool:
        """Whether any event says its phase."""
        return any(span.phase != Phase.OTHER for span in self.spans)

    def phases(self) -> Bytes:
        """The phase of each event's span."""
        return np.array([span.phase for span in self.spans], np.uint8)[self.run]

    def steps(self) -> Int32s:
        """The step of each event's span; MISSING where unknown."""
        return np.array([span.step for span in self.spans], np.int32)[self.run]

    def last(self) -> Int64s:
        """The number of the last event of each event's span."""
        return np.array([span.last for span in self.spans], np.int64)[self.run]


def timeline(device: Int32s, phase: Bytes, step: Int32s | None = None) -> Timeline:
    """The stretches of events, whose numbers run device by device. `step` is given where the recording says it.

    An event that says no phase belongs to the stretch around it; between forward and backward to forward. Steps that
    the recording does not say begin with forward, after backward or the optimizer.
    """
    coarse = np.where(phase == Phase.RECOMPUTE, np.uint8(Phase.BACKWARD), phase)
    run = np.zeros(len(phase), np.int32)
    spans: list[Span] = []
    for one in np.unique(device).tolist():
        rows = np.flatnonzero(device == one)
        filled = _filled(coarse[rows])
        said = np.full(len(rows), MISSING, np.int32) if step is None else step[rows]
        begins = np.append(True, (filled[1:] != filled[:-1]) | (said[1:] != said[:-1]))
        first = np.flatnonzero(begins)
        last = np.append(first[1:] - 1, len(rows) - 1)
        run[rows] = len(spans) + np.cumsum(begins) - 1
        phases = filled[first].tolist()
        steps = _counted(phases) if step is None else said[first].tolist()
        where = zip(rows[first].tolist(), rows[last].tolist(), phases, steps, strict=True)
        spans += [Span(one, start, end, Phase(name), number) for start, end, name, number in where]
    return Timeline(phase, run, tuple(spans))


def _filled(phase: Bytes) -> Bytes:
    """Give events that say nothing the phase around them."""
    rows = np.arange(len(phase))
    known = phase != Phase.OTHER
    before = np.maximum.accumulate(np.where(known, rows, -1))
    after = np.minimum.accumulate(np.where(known, rows, len(phase))[::-1])[::-1]
    padded = np.append(phase, np.uint8(Phase.OTHER))
    before, after = padded[before], padded[after]  # -1 and one beyond the last both find the OTHER behind the end
    loss = (before == Phase.FORWARD) & (after == Phase.BACKWARD)
    return np.where(known, phase, np.where((before == after) | loss, before, np.uint8(Phase.OTHER)))


def _counted(phases: list[int]) -> list[int]:
    """Number the steps of one device: the first forward or backward after the optimizer begins one.

    Without an optimizer the first forward after backward does. With one, several passes are one step.
    """
    if not set(phases) & {Phase.FORWARD, Phase.BACKWARD, Phase.OPTIMIZER}:
        return [MISSING] * len(phases)
    has_optimizer = Phase.OPTIMIZER in phases
    ends = Phase.OPTIMIZER if has_optimizer else Phase.BACKWARD
    begins = {Phase.FORWARD, Phase.BACKWARD} if has_optimizer else {Phase.FORWARD}
    steps, number, is_over = [], 0, False
    for phase in phases:
        if phase in begins and is_over:
            number, is_over = number + 1, False
        is_over |= phase == ends
        steps.append(number)
    return steps
