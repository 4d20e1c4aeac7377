"""Which phase of the step every host range is in, and whether anything in the file says so (rule 10)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from perfkit.analysis.attribution import phase_words
from perfkit.analysis.attribution.host_view import HostView, present
from perfkit.analysis.attribution.intervals import NONE, ROW, Bools, Ints, at, nearest, pair_keys, strictly_above
from perfkit.analysis.attribution.links import Links, in_closure, run_again
from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.attribution.user_ranges import is_of_library
from perfkit.schema import range_names
from perfkit.trace.columns import HostKind, Trace

_OF_OWN_PHASES = {
    "data": Phase.OTHER,
    "zero_grad": Phase.OPTIMIZER,
    "forward": Phase.FORWARD,
    "loss": Phase.FORWARD,
    "backward": Phase.BACKWARD,
    "optimizer": Phase.OPTIMIZER,
    range_names.HOOKS.label: Phase.OTHER,
}
"""Any other is what a loop's author calls a part of it, `p.phase("clip")`: none of these, and said."""
_SILENT = 255
"""In a column of phases: no word says one."""
_CONTRADICTED = 254
"""Words on several threads say different phases."""


class Phases(msgspec.Struct, frozen=True):
    """Rows are host ranges in the forest's order."""

    phase: Ints
    """Phase."""
    is_evident: Bools
    """Something in the file says the phase; elsewhere it is OTHER."""


def find_phases(trace: Trace, host: HostView, links: Links, scope: Ints) -> Phases:
    """Give every host range its phase. `scope` is the row of the nearest enclosing scope, NONE for none.

    Evidence, the strongest first: a backward node; a forward operation; a module's call, or the optimizer's own range
    if it is the inner one; the innermost range whose words say a phase; a thread that runs nodes and no forward; for
    a thread without ranges, the words open in the process at that time.
    """
    node, operation = links.node, links.operation
    in_node = node != NONE
    said = _said(host)
    word = nearest(host.forest.parent, said != _SILENT)
    phase = at(said, word, absent=_SILENT)

    call = nearest(host.forest.parent, _is_call(host))
    own = nearest(host.forest.parent, _is_optimizers_own(host))
    phase[(call != NONE) & (call > own)] = Phase.FORWARD
    forward = _in_forward(host, links, operation, np.where(call > own, NONE, own))
    worded = (phase != _SILENT) & (phase != Phase.FORWARD)
    phase[forward & ~(worded & _made_no_node(host, links, forward & worded))] = Phase.FORWARD
    phase[in_node] = Phase.BACKWARD
    recompute = host.own("recompute")[scope]  # without scopes none is inside a node, whatever this says
    phase[run_again(host, links) | ((in_node | recompute) & (scope > node))] = Phase.RECOMPUTE
    # Work of a backward thread outside every node is backward's: for example, a data-parallel wrapper's finaliser.
    by_thread = (phase == _SILENT) & _backward_only_thread(host, links, call)
    if not (links.is_hooked & links.is_node).any():  # with those alone, the engine itself has no range
        by_thread &= ~(host.is_runtime & (host.forest.parent == NONE))
    phase[by_thread] = Phase.BACKWARD
    silent = np.flatnonzero((phase == _SILENT) & _without_ranges(trace, host))
    phase[silent] = _said_in_process(trace, host, said, word, silent)

    is_evident = phase < _CONTRADICTED
    return Phases(np.where(is_evident, phase, Phase.OTHER).astype(np.uint8), is_evident)


def _said(host: HostView) -> Ints:
    """The phase that each range's own name says."""
    said = np.full(len(host.name), _SILENT, dtype=np.uint8)
    readers: dict[HostKind, Callable[[str], Phase | None]] = {
        HostKind.OP: phase_words.of_operator,
        HostKind.ANNOTATION: phase_words.of_range,
    }
    for kind, read in readers.items():
        rows = np.flatnonzero(host.kind == kind)
        table = np.full(len(host.names), _SILENT, dtype=np.uint8)
        for index in present(host.name[rows]):
            own = host.own_names.get(index)
            phase = read(host.names[index]) if own is None else _of_own(own)
            table[index] = _SILENT if phase is None else phase
        said[rows] = table[host.name[rows]]
    return said


def _of_own(name: range_names.RangeName) -> Phase | None:
    if name.kind == "update":
        return Phase.OPTIMIZER
    return _OF_OWN_PHASES.get(name.label, Phase.OTHER) if name.kind == "phase" else None


def _is_call(host: HostView) -> Bools:
    """A module's own call: perfkit's range of one, or its Python frame."""
    frames = host.matching(lambda name: name.startswith("nn.Module: ")) & (host.kind == HostKind.PYTHON)
    return frames | host.own("module")


def _is_optimizers_own(host: HostView) -> Bools:
    mine = [index for index, own in host.own_names.items() if _of_own(own) == Phase.OPTIMIZER]
    return host.matching(phase_words.is_optimizers_own) | np.isin(host.name, mine)


def _in_forward(host: HostView, links: Links, operation: Ints, optimizer: Ints) -> Bools:
    """Rows in a forward operation outside every node.

    In the optimizer's own range one counts only if it is a closure's.
    """
    numbered = (operation != NONE) & links.is_forward_op[operation]
    counts: Bools = (links.node == NONE) & numbered & ((optimizer == NONE) | in_closure(host, links, optimizer))
    return counts


def _made_no_node(host: HostView, links: Links, asked: Bools) -> Bools:
    """Rows whose operations all made no node: others of the thread took the same numbers after they had ended.

    Where gradients are enabled, an operation that needs none has the number of the next node, as a transform of the
    data has. It is no sign of forward against words.
    """
    if not asked.any():
        return asked
    operations = np.flatnonzero(links.is_forward_op)
    numbers = pair_keys(host.thread[operations], host.sequence[operations])
    last = np.zeros(int(numbers.max()) + 1, dtype=ROW)
    np.maximum.at(last, numbers, operations.astype(ROW))
    made = np.zeros(len(asked), dtype=bool)
    made[operations] = host.start[last[numbers]] < host.end[operations]
    return nearest(host.forest.parent, made) == NONE


def _backward_only_thread(host: HostView, links: Links, call: Ints) -> Bools:
    """Threads with nodes and no forward outside them. Where only perfkit's ranges mark nodes, calls mark forward."""

    def threads(rows: Bools) -> Bools:
        """All rows of threads that have one of these."""
        return np.isin(host.thread, host.thread[rows])

    outside = links.node == NONE
    told = links.is_node & ~links.is_hooked
    only = (threads(told) | ~threads(outside & (call != NONE))) & ~threads(links.is_forward_op & outside)
    return threads(links.is_node) & only


def _without_ranges(trace: Trace, host: HostView) -> Bools:
    """Rows of threads that have calls into the driver, and no ranges but those that libraries opened."""
    own = ~host.is_runtime & (host.kind != HostKind.LIBRARY) & ~host.matching(is_of_library)
    has_own = np.zeros(len(trace.threads), dtype=bool)
    has_own[host.thread[own]] = True
    return ~has_own[host.thread] if len(host.thread) else own


def _said_in_process(trace: Trace, host: HostView, said: Ints, word: Ints, rows: Ints) -> Ints:
    """For rows of threads without ranges: the phase that is open elsewhere in their process when they start.

    On each thread the innermost open range with a word counts; where threads differ, none does.
    """
    process = np.array([thread.pid for thread in trace.threads], dtype=np.int64)
    outer = strictly_above(host.forest.parent, word)
    result = np.full(len(rows), _SILENT, dtype=np.uint8)
    worded = np.flatnonzero(said != _SILENT)
    for thread in present(host.thread[worded]) if len(rows) else ():
        here = worded[host.thread[worded] == thread]  # in the order of their starts
        asked = np.flatnonzero(process[host.thread[rows]] == process[thread])
        time = host.start[rows[asked]]
        place = np.searchsorted(host.start[here], time, side="right") - 1
        current = np.where(place < 0, NONE, here[place])
        while len(late := np.flatnonzero((current != NONE) & (at(host.end, current, absent=0) <= time))):
            current[late] = outer[current[late]]
        found = at(said, current, absent=_SILENT)
        known = result[asked]
        differs = (known != _SILENT) & (found != _SILENT) & (known != found)
        result[asked] = np.where(differs, _CONTRADICTED, np.where(known == _SILENT, found, known))
    return result
