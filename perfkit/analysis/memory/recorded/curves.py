"""Live bytes over time, of a part of what is recorded or of a part of the time."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.lifetimes import ALWAYS, STILL, Lifetimes
from perfkit.analysis.memory.recorded import live
from perfkit.analysis.memory.recorded.live import Peak
from perfkit.trace.columns import Int64s


def held_at(lives: Lifetimes, rows: Int64s, moments: Int64s) -> Int64s:
    """Bytes of these rows that live just after each of the moments, which ascend."""
    begin, end, size = lives.begin[rows], lives.end[rows], lives.size[rows]
    first = np.searchsorted(moments, begin, side="left")
    until = np.searchsorted(moments, end, side="left")
    first[begin == ALWAYS], until[end == STILL] = 0, len(moments)
    change = np.zeros(len(moments) + 1, np.int64)
    np.add.at(change, first, size)
    np.subtract.at(change, until, size)
    return np.cumsum(change)[:-1]


def by_phase(lives: Lifetimes, device: int) -> dict[Phase, Peak]:
    """The peak of each phase of a device, in the order in which they begin."""
    moments, used = live.line(lives, device)
    found: dict[Phase, Peak] = {}
    for span in lives.spans:
        if span.device != device:
            continue
        inside = slice(*np.searchsorted(moments, [span.first, span.last + 1]).tolist())
        if inside.start == inside.stop:
            continue
        row = inside.start + int(used[inside].argmax())
        if span.phase not in found or used[row] > found[span.phase].bytes:
            found[span.phase] = Peak(device, int(used[row]), int(moments[row]))
    return found
