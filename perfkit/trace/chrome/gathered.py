"""What was gathered of a trace's events so far: columns in pieces, what their codes stand for, and counts.

Chunks that other processes read come as a `Delta`. Taken in the order of the file, they leave the same as if one
process had read all: codes are in order of first appearance.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields, replace
from itertools import chain, islice
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from perfkit.trace.chrome.devices import Identified, Lane, identify
from perfkit.trace.chrome.events import Number, integers, thread_number, thread_numbers
from perfkit.trace.chrome.routing import Codes, Columns, Dictionary, Pieces, Router
from perfkit.trace.columns import (
    LONGEST_NAME,
    MISSING,
    NO_TIME,
    Arguments,
    AutogradFlows,
    DeviceEvents,
    HostRanges,
    Int64s,
    Thread,
    column_dtype,
    empty,
)

POSITIONS = 1 << 60
"""From here on count the positions of events in a process that does not know how many are before its own."""

SEPARATOR = b"\0"
"""Stands in no JSON text, which has control characters as escapes only."""
NO_ARGUMENTS = SEPARATOR * 3
_NAMES = ((HostRanges, "name"), (HostRanges, "frame"), (DeviceEvents, "name"), (DeviceEvents, "annotation"))
"""The columns whose codes stand for names, in the order in which `names` has theirs."""
_THREADS = ((HostRanges, "thread"), (AutogradFlows, "thread"))

_Key: TypeAlias = tuple[type[Any], str]
Maps: TypeAlias = dict[_Key, list[int]]
"""For each coded column, by the codes of another process: the codes here."""


class _ArgumentTexts(Dictionary):
    """Texts of arguments and their codes; one that is longer than any name has the code of what is left of it."""

    def __missing__(self, text: bytes) -> int:
        kept = text if len(text) <= LONGEST_NAME else _shortened(text)
        return super().__missing__(text) if kept == text else self[kept]


class Delta(msgspec.Struct, frozen=True):
    """What a process gathered since it was asked last."""

    keys: dict[_Key, list[Any]]
    """The values that its codes stand for, those that are new, in order."""
    routes: tuple[tuple[str, str], ...]
    """The phase and category of each of its routes."""
    counts: dict[int, int]
    columns: dict[type[Any], Columns]
    seen: int
    untimed: Counter[str]
    pid_texts: dict[int, str]
    labels: dict[tuple[str, int, int], str]
    unknown: dict[str, tuple[int, int]]
    all_whole_us: bool
    negative_durations: int
    overhead_ns: int


@dataclass(slots=True)
class Gathered:
    """See the module."""

    router: Router = field(default_factory=Router)
    counts: Counter[int] = field(default_factory=Counter)
    """Events by route."""
    untimed: Counter[str] = field(default_factory=Counter)
    coded: dict[_Key, Dictionary] = field(default_factory=lambda: {key: Dictionary() for key in (*_NAMES, *_THREADS)})
    """The names or threads of each such column, in the order of the file, however it was cut into chunks."""
    lanes: Dictionary = field(default_factory=Dictionary)
    pid_texts: dict[int, str] = field(default_factory=dict)
    labels: dict[tuple[str, int, int], str] = field(default_factory=dict)
    texts: Dictionary = field(default_factory=lambda: _ArgumentTexts({NO_ARGUMENTS: 0}))
    """Of operators' arguments."""
    pieces: dict[type[Any], Pieces] = field(default_factory=dict)
    first: int = 0
    """The position of the first event."""
    seen: int = 0
    """Events so far."""
    all_whole_us: bool = True
    negative_durations: int = 0
    overhead_ns: int = 0
    unknown: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def position(self) -> int:
        """Of the next event in the file's list; from `first` on."""
        return self.first + self.seen

    def append(self, table: type[Any], columns: Columns, valid: npt.NDArray[np.bool_], codes: Codes) -> None:
        """Add the rows of one chunk but for those without a usable time, which are counted by their route."""
        if not valid.all():
            for code in codes[~valid].tolist():
                self.untimed[f"{self.router.routes[code].label}{NO_TIME}"] += 1
            columns = {name: column[valid] for name, column in columns.items()}
        if self.all_whole_us:
            times = [column for name, column in columns.items() if name in ("start", "end", "time")]
            self.all_whole_us = not any((column % 1000).any() for column in times)
        self.pieces.setdefault(table, Pieces()).append(columns)

    def keep_texts(self, pids: Int64s, given: list[Number]) -> None:
        """Keep the pids that are texts, for the labels of devices."""
        for row in np.flatnonzero(pids < MISSING).tolist():
            if isinstance(given[row], str):
                self.pid_texts[int(pids[row])] = str(given[row])

    def label(self, what: str, pid: Number, tid: Number, label: Number) -> None:
        """Name a process or a thread."""
        if label not in (None, ""):
            tid = MISSING if what == "process_name" else tid
            self.labels[what, thread_number(pid), thread_number(tid)] = str(label)

    def count_unknown(self, label: str, count: int, total: int) -> None:
        """Events with a duration whose category says too little, and their ns."""
        before = self.unknown.get(label, (0, 0))
        self.unknown[label] = before[0] + count, before[1] + total

    # Between processes

    def _dictionaries(self) -> dict[_Key, Dictionary]:
        return {**self.coded, (DeviceEvents, "device"): self.lanes, (HostRanges, "arguments"): self.texts}

    def delta(self, known: dict[_Key, int]) -> Delta:
        """Return what came since the last time and forget it, but for what codes stand for: `known` counts that."""
        keys = {}
        for key, dictionary in self._dictionaries().items():
            keys[key] = list(islice(dictionary, known.get(key, 0), None))
            known[key] = len(dictionary)
        columns = {table: {name: pieces.column(name) for name in pieces.names} for table, pieces in self.pieces.items()}
        delta = Delta(
            keys, self.router.keys, dict(self.counts), columns, self.seen, self.untimed, self.pid_texts, self.labels,
            self.unknown, self.all_whole_us, self.negative_durations, self.overhead_ns,
        )  # fmt: skip
        self.counts, self.untimed, self.pid_texts, self.labels = Counter(), Counter(), {}, {}
        self.pieces, self.unknown = {}, {}
        self.seen = self.negative_durations = self.overhead_ns = 0
        self.all_whole_us = True
        return delta

    def absorb(self, delta: Delta, maps: Maps) -> None:
        """Add what another process gathered. `maps`, empty at first, is kept for its next delta."""
        for key, dictionary in self._dictionaries().items():
            maps.setdefault(key, []).extend(map(dictionary.__getitem__, delta.keys[key]))
        routes = [self.router.code(*key) for key in delta.routes]
        for code, count in delta.counts.items():
            self.counts[routes[code]] += count
        for table, columns in delta.columns.items():
            self.pieces.setdefault(table, Pieces()).append(
                {name: self._here(column, maps.get((table, name)), name) for name, column in columns.items()}
            )
        self.seen += delta.seen
        self.untimed += delta.untimed
        self.pid_texts |= delta.pid_texts
        self.labels |= delta.labels
        for label, (count, total) in delta.unknown.items():
            self.count_unknown(label, count, total)
        self.all_whole_us &= delta.all_whole_us
        self.negative_durations += delta.negative_durations
        self.overhead_ns += delta.overhead_ns

    def _here(self, column: npt.NDArray[Any], codes: list[int] | None, name: str) -> npt.NDArray[Any]:
        """A column of another process, with the codes and positions of this one."""
        if name == "order":
            return np.where(column >= POSITIONS, column - POSITIONS + self.position, column)
        if codes is None:
            return column
        if name == "arguments":
            return np.array(codes, np.int32)[column + 1] - 1
        return np.array([*codes, MISSING], np.int32)[column]

    # At the end

    def take(self, table: type[Any]) -> Any:
        """Return the finished columns of one kind. They are not kept: call this once for each kind.

        Columns that were not gathered are MISSING.
        """
        pieces = self.pieces.pop(table, None)
        if not pieces:
            return empty(table)
        taken = {name: self._column(pieces, table, name) for name in pieces.names}
        rows = len(next(iter(taken.values())))
        others = {f.name for f in fields(table)} - taken.keys()
        columns = table(**taken, **{name: _nothing(name, rows) for name in others})
        if not isinstance(columns, DeviceEvents) or not self.lanes:
            return columns
        found, lane = self.identified(), columns.device
        number, process = np.array(found.numbers, np.int32)[lane], np.array(found.processes, np.int64)[lane]
        return replace(columns, device=number, process=process)

    def _column(self, pieces: Pieces, table: type[Any], name: str) -> Any:
        """One whole column; the codes of its own names or threads become those of all, and MISSING stays."""
        column = pieces.column(name)
        if (table, name) not in self.coded:
            return column
        among = self._joined(_NAMES if (table, name) in _NAMES else _THREADS)
        return np.array([*map(among.__getitem__, self.coded[table, name]), MISSING], np.int32)[column]

    def _joined(self, columns: tuple[_Key, ...]) -> Dictionary:
        """What some columns have codes for, each once."""
        joined = Dictionary()
        joined.encode(chain.from_iterable(self.coded[column] for column in columns))
        return joined

    def identified(self) -> Identified:
        """Which device the events of each lane ran on, once all events are there."""
        lanes = [Lane(_device_index(index), thread_number(pid)) for index, pid in self.lanes]
        self.keep_texts(thread_numbers(given := [pid for _, pid in self.lanes]), given)
        hosts = list(dict.fromkeys(pid for pid, _ in self._joined(_THREADS)))
        return identify(lanes, self.pid_texts, hosts, lambda pid: self.labels.get(("process_name", pid, MISSING), ""))

    def arguments(self) -> tuple[Arguments, ...]:
        """The different arguments of operators, in the order of the codes."""
        return tuple(map(_arguments, islice(self.texts, 1, None)))

    def names(self) -> tuple[str, ...]:
        """Every name, in the order of the codes."""
        return tuple(self._joined(_NAMES))

    def threads(self) -> tuple[Thread, ...]:
        """Every thread that has a host range or a flow, in the order of the codes."""
        return tuple(Thread(pid, tid, self._thread_name(pid, tid)) for pid, tid in self._joined(_THREADS))

    def _thread_name(self, pid: int, tid: int) -> str:
        """The file's name for the thread, else for its process, else the text that its number stands for."""
        for where in (("thread_name", pid, tid), ("process_name", pid, MISSING), ("text", pid, tid)):
            if where in self.labels:
                return self.labels[where]
        return ""

    def has(self, category: str) -> bool:
        """Whether the file has events of a category, which is in lower case."""
        return any(route.label.lower() == category for route in self.router.routes)

    @property
    def events(self) -> int:
        """Complete events taken, of all categories."""
        return sum(self.counts[code] for code, route in enumerate(self.router.routes) if route.complete)

    @property
    def ignored(self) -> dict[str, int]:
        """Events that are in no column: category -> count."""
        counts = Counter(self.untimed)
        for code, route in enumerate(self.router.routes):
            if not route.target.is_used:
                counts[route.label] += self.counts[code]
        return dict(counts)

    @property
    def resolution_ns(self) -> int:
        """1000 if every time taken is a whole microsecond, else 1."""
        return 1000 if self.all_whole_us and self.events else 1


def _nothing(name: str, rows: int) -> npt.NDArray[Any]:
    return np.broadcast_to(np.array(MISSING, column_dtype(name)), rows)


def _device_index(value: Number) -> int:
    index = int(integers([value])[0])
    return index if 0 <= index < 1 << 31 else MISSING


def _shortened(text: bytes) -> bytes:
    """Leave out what is longer than any name."""
    return SEPARATOR.join(part if len(part) <= LONGEST_NAME else b"" for part in text.split(SEPARATOR))


def _arguments(text: bytes) -> Arguments:
    parts = text.split(SEPARATOR)
    message = b"[" + b",".join(part or b"null" for part in parts[4:]) + b"]" if parts[4:] else b""
    return Arguments(*(part.decode("utf-8", "replace") for part in (*parts[:4], message)))
