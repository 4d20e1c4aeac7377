"""Bands over each stream: step, phase and layer of what ran there, one inside the other.

Consecutive events of a stream that are of the same step, phase and module make one band, from the start of the first
to the end of the last. `busy_ns` is the busy time of its events alone, as in perfkit's tables, with which the innermost
bands add up to the account's time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.attribution.intervals import NONE, Ints, at
from perfkit.analysis.time.account import Account, in_account
from perfkit.analysis.time.grouping import names_of
from perfkit.export.perfetto.tracks import Arg, Slices

CATEGORIES = ("perfkit.step", "perfkit.phase", "perfkit.module")
_DEEPEST = 12
"""Levels of modules that have bands of their own; what is deeper is in the last one."""


class Levels:
    """What bands of an account are called, outermost first: step, phase, and the module path's fronts."""

    def __init__(self, account: Account) -> None:
        self._steps = tuple(f"step {number}" for number in range(len(account.attribution.steps)))
        self._phases = tuple(phase.label for phase in sorted(Phase))
        spelled = names_of(account.partial)
        fronts = [[*_shown(spelled.fronts(path))[: _DEEPEST - 1], path] for path in account.paths]
        unique = [list(dict.fromkeys(chain)) for chain in fronts]
        modules = tuple(dict.fromkeys(front for chain in unique for front in chain))
        number = {text: row for row, text in enumerate(modules)}
        depth = max(map(len, unique), default=0)
        self._front = np.array(
            [[number[front] for front in chain] + [NONE] * (depth - len(chain)) for chain in unique], dtype=np.int64
        ).reshape(len(unique), depth)
        self.names = (*self._steps, *self._phases, *modules)

    def of(self, step: Ints, phase: Ints, path: Ints) -> Iterator[Ints]:
        """The name of each level, row by row; NONE where a row has no such level."""
        yield step
        yield phase + len(self._steps)
        offset = len(self._steps) + len(self._phases)
        for front in self._front.T:
            code = at(front, path, absent=NONE)
            yield np.where(code == NONE, NONE, code + offset)


def _shown(fronts: list[str]) -> list[str]:
    """Without those that only hold numbered modules: `layers` of `layers.3`."""
    return [
        front for front, inner in zip(fronts, [*fronts[1:], ""], strict=True) if not inner[len(front) + 1 :].isdecimal()
    ]


def on_stream(account: Account, levels: Levels, rows: Ints) -> Slices:
    """The bands over some rows of an account, device events of one stream."""
    events = account.trace.device
    rows = rows[np.argsort(events.start[account.row[rows]], kind="stable")]
    start, end = events.start[account.row[rows]], events.end[account.row[rows]]
    changes = np.arange(len(rows)) == 0
    parts = []
    for depth, name in enumerate(levels.of(account.step[rows], account.phase[rows], account.path_or_label[rows])):
        changes = changes | (np.diff(name, prepend=NONE) != 0)
        first = np.flatnonzero(changes)
        band = {
            "start": start[first],
            "end": (last := np.maximum.reduceat(end, first)),
            "length": start[first] - last,
            "name": name[first],
            "busy_ns": np.add.reduceat(account.exclusive[rows], first),
            "events": np.diff(first, append=len(rows)),
            "depth": np.full(len(first), depth),
        }
        parts.append({key: column[band["name"] != NONE] for key, column in band.items()})
    return _in_order(levels, parts, "length", "start")


def _in_order(levels: Levels, parts: list[dict[str, Ints]], *order_by: str) -> Slices:
    """The bands of all levels as slices, by these columns, the last first, and then the outer one first."""
    band = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.lexsort((band["depth"], *(band[name] for name in order_by)))
    band = {name: column[order] for name, column in band.items()}
    category = np.minimum(band["depth"], len(CATEGORIES) - 1)
    args = tuple(Arg(name, band[name]) for name in ("busy_ns", "events") if name in band)
    return Slices(band["start"], band["end"], band["name"], levels.names, category, CATEGORIES, args)


def on_host(account: Account, levels: Levels) -> Slices:
    """Of an account without a device: the ranges of the main thread that begin another step, phase or module."""
    host, ranges = account.attribution.host, account.attribution.ranges
    counted = in_account(account.attribution)
    parent = np.where(at(counted, host.forest.parent, absent=False), host.forest.parent, NONE)
    no_step = np.full(len(host.name), NONE, dtype=np.int64)
    changes = np.zeros(len(host.name), dtype=bool)
    parts = []
    for depth, name in enumerate(levels.of(no_step, ranges.phase.astype(np.int64), ranges.path.astype(np.int64))):
        changes = changes | (name != at(name, parent, absent=NONE))
        rows = np.flatnonzero(counted & changes & (name != NONE))
        times = {"start": host.start[rows], "end": host.end[rows]}
        parts.append({**times, "name": name[rows], "row": rows, "depth": np.full(len(rows), depth)})
    return _in_order(levels, parts, "row")
