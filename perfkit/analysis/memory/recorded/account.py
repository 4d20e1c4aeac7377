"""MemoryAccount: lifetimes, what else is known of the recording, and the moment that is looked at."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from perfkit.analysis.memory.lifetimes import Lifetimes
from perfkit.analysis.memory.recorded import live
from perfkit.analysis.memory.recorded.live import Peak
from perfkit.errors import UsageError
from perfkit.schema import units
from perfkit.schema.memory.estimate import MemoryEstimate
from perfkit.schema.memory.notes import MemoryNotes
from perfkit.trace.columns import MISSING, Int64s
from perfkit.trace.snapshot.columns import Snapshot

_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|ms|s)")
_STEP = re.compile(r"step:(\d+)")
_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}


def no_reason(_size: int, _row: int) -> str:
    """Of sizes whose shapes are not known."""
    return ""


@dataclass(frozen=True, slots=True)
class MemoryAccount:
    """What tables of memory are made of."""

    lives: Lifetimes
    at: Peak
    """The moment that is looked at: the peak, if nothing else was asked for."""
    snapshot: Snapshot | None = None
    """None for a profiler's trace, which knows neither segments nor blocks."""
    notes: MemoryNotes | None = None
    """None for recordings that are not of `perfkit run --profiler memory`."""
    why: Callable[[int, int], str] = no_reason
    """(bytes, row of `lives`) -> the shape that explains a size; empty where none does."""

    predicted: MemoryEstimate | None = None
    """The formula's peak, of a run of perfkit's own Transformer; None for other recordings, and for compiled steps."""

    @property
    def rows(self) -> Int64s:
        """What lives at the moment."""
        return live.alive(self.lives, self.at)


def the_peak(lives: Lifetimes) -> Peak:
    """The largest peak of all devices; of nothing, 0 bytes. The CPU's (MISSING) is meant only where it is alone."""
    found = live.peaks(lives)
    return next((peak for peak in found if peak.device != MISSING), found[0] if found else Peak(MISSING, 0, -1))


def moment(lives: Lifetimes, text: str) -> Peak:
    """The moment that `peak`, `12.5ms` (after the first event) or `step:3` (its peak) says, on the peak's device.

    Raises UsageError for anything else, for times in a recording without times, and for a step that it does not have.
    """
    peak = the_peak(lives)
    if text == "peak":
        return peak
    moments, used = live.line(lives, peak.device)
    step = _STEP.fullmatch(text)
    if step:
        chosen = _in_step(lives, peak.device, int(step[1]), moments)
        row = chosen[int(used[chosen].argmax())]
        return Peak(peak.device, int(used[row]), int(moments[row]))
    time = _TIME.fullmatch(text)
    if not time:
        raise UsageError(f"{text}: not a moment; write peak, 12.5ms or step:3")
    if not lives.has_times:
        raise UsageError(f"{text}: this recording has no times; write peak or step:3")
    at = live.times(lives, moments)
    row = int(np.searchsorted(at, at[0] + round(float(time[1]) * _NS[time[2]]), side="right")) - 1
    if at[-1] - at[0] < float(time[1]) * _NS[time[2]]:
        raise UsageError(f"{text}: the recording ends {units.duration_ns(float(at[-1] - at[0]))} after it begins")
    return Peak(peak.device, int(used[row]), int(moments[row]))


def _in_step(lives: Lifetimes, device: int, step: int, moments: Int64s) -> Int64s:
    """Rows of the moments in a step."""
    spans = [span for span in lives.spans if span.device == device and span.step != MISSING]
    within = [(moments >= span.first) & (moments <= span.last) for span in spans if span.step == step]
    rows = np.flatnonzero(np.any(within, axis=0)) if within else np.empty(0, np.int64)
    if not len(rows):
        numbers = sorted({span.step for span in spans})
        said = f"it has {units.many(len(numbers), 'step', 'steps')}: {numbers[0]} to {numbers[-1]}" if numbers else ""
        raise UsageError(f"step:{step}: no such step in this recording; {said or 'nothing in it says steps'}")
    return rows
