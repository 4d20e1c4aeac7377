"""Lifetimes from an allocator's snapshot: by perfkit's stamps where a run has them, else by frames and annotations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfkit.analysis.attribution import phase_words
from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.lifetimes import ALWAYS, Kind, Lifetimes
from perfkit.analysis.memory.recorded import blocks, kinds, stacks, timeline
from perfkit.analysis.memory.recorded import pieces as recorded_pieces
from perfkit.analysis.memory.recorded.pieces import Pieces
from perfkit.analysis.memory.recorded.stacks import Mark, StackFacts
from perfkit.analysis.memory.recorded.timeline import Timeline
from perfkit.schema import range_names
from perfkit.trace.columns import MISSING, Bytes, Int32s, Int64s
from perfkit.trace.snapshot.columns import Action, Snapshot

_AROUND = ("step", "warmup", "phase", "measure")
"""Ranges that are no scopes."""
_NO_STACKS = "the recording has no stacks"


@dataclass(frozen=True, slots=True)
class _Stamps:
    """What each text of the snapshot says, as a stamp of perfkit's; the last row is of having none."""

    phase: Bytes
    scope: Int32s
    step: Int32s
    scopes: tuple[str, ...]


def lifetimes(snapshot: Snapshot) -> Lifetimes:
    """Every piece of memory of a snapshot, with what its recording tells of it. Sizes are requested bytes."""
    pieces, stack = recorded_pieces.of_snapshot(snapshot)
    facts, stamps = stacks.facts(snapshot), _stamps(snapshot)
    events = snapshot.events
    phase = _phases(snapshot, facts, stamps)
    steps = stamps.step[events.metadata]
    times = timeline.timeline(
        events.device, phase, _carried(steps, events.device) if (steps != MISSING).any() else None
    )

    made = pieces.begin != ALWAYS
    at = pieces.begin[made]
    own = facts.phase[stack]
    own[made] = phase[at]
    scope, scopes = _scopes(snapshot, pieces, stack, times, stamps)
    marks = facts.marks[stack]
    kind = kinds.by_lifetimes(pieces, times, own, _has(marks, Mark.BUILDS), _has(marks, Mark.WORKSPACE))
    step = np.full(len(pieces), MISSING, np.int32)
    step[made] = times.steps()[at]
    around = np.full(len(pieces), Phase.OTHER, np.uint8)
    around[made] = times.phases()[at]
    operators = tuple(dict.fromkeys(filter(None, facts.operator)))
    numbers = {text: number for number, text in enumerate(operators)} | {"": MISSING}
    operator = np.array([numbers[text] for text in facts.operator], np.int32)[stack]
    return Lifetimes(
        pieces.device, pieces.address, pieces.size, pieces.begin, pieces.end, kind, scope,
        np.where(own == Phase.OTHER, around, own), step, operator, stack, scopes, operators,
        events.time if snapshot.has_times else np.arange(len(events)), facts.place[:-1], times.spans,
        _reasons(snapshot, kind, made, times),
    )  # fmt: skip


def _carried(step: Int32s, device: Int32s) -> Int32s:
    """Give events that say no step, as those of autograd's own thread, that of the one before them."""
    rows = np.arange(len(step))
    starts = np.append(True, device[1:] != device[:-1])
    return step[np.maximum.accumulate(np.where((step != MISSING) | starts, rows, 0))]


def _has(marks: np.ndarray, mark: Mark) -> np.ndarray:
    return marks & mark != 0


def _reasons(snapshot: Snapshot, kind: Bytes, made: np.ndarray, times: Timeline) -> tuple[str, ...]:
    unknown = kind == Kind.UNKNOWN
    if not times.knows and unknown.any():
        return (kinds.NO_PHASES if len(snapshot.stacks) else _NO_STACKS,)
    said = ((unknown & ~made, kinds.BEFORE), (unknown & made, kinds.OUTSIDE))
    return tuple(text for rows, text in said if rows.any())


def _stamps(snapshot: Snapshot) -> _Stamps:
    rows = len(snapshot.texts) + 1
    phase, scope = np.full(rows, Phase.OTHER, np.uint8), np.full(rows, MISSING, np.int32)
    step = np.full(rows, MISSING, np.int32)
    scopes: dict[str, int] = {}
    for row, text in enumerate(snapshot.texts):
        for name in range_names.parse_stamp(text):
            said = phase_words.of_range(name.trace_text)
            phase[row] = phase[row] if said is None else said
            if name.kind == "step" and name.label.isdigit():
                step[row] = int(name.label)
            elif name.kind not in _AROUND:
                scope[row] = scopes.setdefault(name.label, len(scopes))
    return _Stamps(phase, scope, step, tuple(scopes))


def _phases(snapshot: Snapshot, facts: StackFacts, stamps: _Stamps) -> Bytes:
    """The phase that each event says: by its stamp, else its stack, else an annotation that was open."""
    events = snapshot.events
    phase = stamps.phase[events.metadata]
    phase = np.where(phase == Phase.OTHER, facts.phase[events.stack], phase)
    if _only_python(facts):  # autograd's own threads have no Python frames
        silent = (events.stack == MISSING) & (events.action == Action.ALLOC)
        phase[silent & (phase == Phase.OTHER)] = Phase.BACKWARD
    if snapshot.has_times:
        open_now = _by_annotations(snapshot)
        phase = np.where(phase == Phase.OTHER, open_now, phase)
    return phase.astype(np.uint8)


def _only_python(facts: StackFacts) -> bool:
    together = int(np.bitwise_or.reduce(facts.marks))
    return bool(together & Mark.MODULE) and not together & Mark.NATIVE


def _by_annotations(snapshot: Snapshot) -> Bytes:
    """The phase of the innermost annotation that is open at each event and says one."""
    events = snapshot.events
    phase = np.full(len(events), Phase.OTHER, np.uint8)
    for one in sorted(snapshot.annotations, key=lambda annotation: annotation.start):
        said = phase_words.of_range(one.name)
        if said is not None:
            phase[(events.device == one.device) & (events.time >= one.start) & (events.time < one.end)] = said
    return phase


def _scopes(
    snapshot: Snapshot, pieces: Pieces, stack: Int32s, times: Timeline, stamps: _Stamps
) -> tuple[Int32s, tuple[str, ...]]:
    """The layer that made each piece: by its stamp, else the block of the model, where blocks can be told."""
    scope = np.full(len(pieces), MISSING, np.int32)
    made = np.flatnonzero(pieces.begin != ALWAYS)
    at: Int64s = pieces.begin[made]
    if stamps.scopes:
        scope[made] = stamps.scope[snapshot.events.metadata[at]]
        return scope, stamps.scopes
    forward = made[times.phases()[at] == Phase.FORWARD]
    scope[forward] = blocks.of_forward(snapshot, stack[forward], times.run[pieces.begin[forward]])
    return blocks.named(blocks.of_backward(pieces, scope, times))
