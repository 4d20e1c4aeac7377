"""Python's garbage collector, recorded or inferred from silence."""

from __future__ import annotations

import re

import msgspec
import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools, union_length
from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.time.account import is_operator
from perfkit.regex import Regex
from perfkit.schema import units
from perfkit.schema.finding import Finding, Rule
from perfkit.trace.columns import HostKind

_COLLECTS = Regex(r"^Python GC|<built-in function collect>|^gc\.py\(\d+\): collect|^gc(\.collect)?$", re.IGNORECASE)
_LEAST = 0.01
"""Share of the step from which recorded collections are a finding."""
_LEAST_SILENT = 0.02
_SILENT_NS = 10_000_000
"""A silence is at least 10 ms, what a full collection needs for some 100,000 objects."""
_OF_STEP = 0.25
"""A silence is at least this share of a usual step: other programs on the processor take shorter slices of it."""
_LONG_NS = 200_000_000
"""A single silence counts from 200 ms on, as in the TensorBoard plugin's rule."""
_ALIKE = 3
"""Several are alike, within this factor: a full collection looks at the same heap each time."""
_STEPS = 3
"""Steps, from which it can be told whether a silence is part of each."""
_ALWAYS = 0.7
"""A silence at the same place in more than this share of the steps is the program's own work."""
_LONG_ENOUGH_NS = 1_000_000
"""Besides the outermost operators, calls and library's ranges of 1 ms break a silence of ten."""
_WAITS = Regex(r"DataLoader|data_?load|next_batch|get_batch|Synchronize", re.IGNORECASE)

GARBAGE_COLLECTION = Rule(
    "garbage-collection",
    "performance",
    "Python collects garbage in the steps: recorded, or inferred from silences of the host that come now and then",
)


def garbage_collection(case: Case) -> Finding | None:
    """Recorded collections, else long silences: nothing runs on any thread, in some steps and not in others.

    At stake: their time.
    """
    host = case.host
    rows = np.flatnonzero(case.ranges(lambda name: _COLLECTS.search(name) is not None))
    rows = rows[case.steps_at(host.start[rows]) != NONE]
    time = union_length(host.start[rows], host.end[rows])
    advice = (
        "gc.freeze() after warm-up, gc.disable() in the loop and gc.collect() between epochs (perfkit run: --gc off)"
    )
    if time and time >= _LEAST * case.step_ns * case.step_count:
        text = f"Python collects garbage {case.times_a_step(len(rows))},"
        text += f" for {units.duration_ns(time / case.step_count)}"
        return Finding(GARBAGE_COLLECTION, text, case.host_cost(time), (), advice, "measured")
    if case.step_count < _STEPS or not case.account.steps:
        return None
    silences = _silences(case)
    time = int(sum(silence.ns for silence in silences))
    if not _are_collections(silences) or time < _LEAST_SILENT * case.step_ns * case.step_count:
        return None
    steps = sorted({silence.step for silence in silences})
    often = f"{len(silences)} times" if len(silences) > 1 else "once"
    longest = max(silence.ns for silence in silences)
    text = (
        f"the host is silent {often}, for up to {units.duration_ns(longest)}, in {len(steps)} of"
        f" {case.step_count} steps: no operator runs on any thread, as when Python collects garbage"
    )
    where = f"step {', '.join(map(str, steps[:4]))}"
    return Finding(GARBAGE_COLLECTION, text, case.host_cost(time), (), advice, "guessed", where)


class _Silence(msgspec.Struct, frozen=True):
    """Time without anything on any thread."""

    step: int
    ns: int
    before: int
    """Name of what ran before it."""
    after: int


def _silences(case: Case) -> list[_Silence]:
    """Silences inside the steps, of operators and calls of all threads. A range that waits for data is no silence, nor
    is one of the user's that holds no operator, such as `save_checkpoint`: it says what the host does.

    Neither is what the profiler itself does: start in the first step, and stop behind the last operator.
    """
    host = case.host
    waits = case.ranges(_WAITS.search).copy()
    long = np.flatnonzero(host.end - host.start >= _LONG_ENOUGH_NS)
    works = is_operator(case.account.attribution)[long] & ~case.ranges(_is_wrapper)[long]
    works = (works & ~host.is_step[long]) | host.is_runtime[long] | (host.kind[long] == HostKind.LIBRARY)
    waits[long[works]] = True
    waits[case.units.row] = True
    waits |= _says_what_it_is(case)
    rows = np.flatnonzero(waits)
    rows = rows[np.argsort(host.start[rows], kind="stable")]
    if not len(rows):
        return []
    start, reach = host.start[rows], np.maximum.accumulate(host.end[rows])
    length = np.append(0, start[1:] - reach[:-1])
    starts, ends = case.bounds
    least = max(_SILENT_NS, _OF_STEP * float(np.median(ends - starts)))
    found = []
    for place in np.flatnonzero(length >= _SILENT_NS).tolist():
        names = host.name[rows[place - 1]], host.name[rows[place]]
        inside = np.minimum(ends, start[place]) - np.maximum(starts, reach[place - 1])
        step = int(inside.argmax())
        if step and inside[step] >= least:
            found.append(_Silence(step, int(inside[step]), int(names[0]), int(names[1])))
    return _only_inside(found, case.step_count)


def _says_what_it_is(case: Case) -> Bools:
    """The user's ranges without an operator in them, steps aside."""
    host = case.host
    silent = (host.kind == HostKind.ANNOTATION) & ~host.is_step
    above = case.units.row
    while len(above := np.unique(host.forest.parent[above])) and above[-1] != NONE:
        above = above[above != NONE]
        silent[above] = False
    return silent


def _are_collections(silences: list[_Silence]) -> bool:
    """Whether there are several, in several steps and alike, or a single long one."""
    lengths = [silence.ns for silence in silences]
    if not lengths:
        return False
    several = len({silence.step for silence in silences}) > 1 and max(lengths) <= _ALIKE * min(lengths)
    return several or min(lengths) >= _LONG_NS


def _is_wrapper(name: str) -> bool:
    """Whether a range holds other work, and Python: `DistributedDataParallel.forward`, `Optimizer.step`."""
    return "::" not in name and not name[:1].islower()


def _only_inside(silences: list[_Silence], steps: int) -> list[_Silence]:
    """Those that are not at the same place, between operators of the same names, in nearly every step."""
    by_place: dict[tuple[int, int], set[int]] = {}
    for one in silences:
        by_place.setdefault((one.before, one.after), set()).add(one.step)
    return [one for one in silences if len(by_place[one.before, one.after]) <= _ALWAYS * steps]
