"""Read the events of a large trace in several processes.

One process unpacks and finds where events end; it copies their text into memory that all share, and workers decode it
to columns. Whether a text decodes says whether its end was guessed right, and is known too late here: the walk assumes
that it does. Where one does not, as in a damaged file, `DoubtfulError` says that the file must be read by one process.

Linux only: workers are forks, which need 10 ms to start where a new interpreter needs 250.
"""

from __future__ import annotations

import mmap
import os
import pickle
import signal
import sys
import warnings
from collections import deque
from dataclasses import dataclass, field
from multiprocessing import Pipe, current_process
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

import msgspec

from perfkit.trace.chrome.columns import ColumnBuilder
from perfkit.trace.chrome.events import DECODE_ERRORS, Event, decode_array
from perfkit.trace.chrome.gathered import POSITIONS, Delta, Maps
from perfkit.trace.chrome.times import RoundedError

_TASKS_EACH = 2
"""Tasks that wait for or are with one worker: it never waits for the next."""
_MOST = 6
"""Workers: unpacking and joining, one process's work, keep no more busy."""


class Sizes(msgspec.Struct, frozen=True):
    """In bytes of text."""

    start: int = 48 << 20
    """Read before workers start, but where the file has more than that: less does not pay for them."""
    small: int = 128 * 1024
    """Shorter texts are decoded here: those at the end of a file, and those in which damage is looked for."""
    task: int = 4 << 20
    """What a worker gets at a time."""
    columns: int = 16 << 20
    """Of columns that shared memory has room for, for each task; more, from very short events, are sent."""


_SIZES = Sizes()
_Span: TypeAlias = tuple[int, int]


class DoubtfulError(Exception):
    """A text did not decode, or a worker ended: nothing that was read can be used."""


def number() -> int:
    """How many workers are worth it on this machine; 0 for none, as in a process that is a pool's itself."""
    if sys.platform != "linux" or current_process().daemon:
        return 0
    cores = len(os.sched_getaffinity(0))
    return 0 if cores < 2 else min(cores, _MOST)


class SharedColumns(ColumnBuilder):
    """A ColumnBuilder that has workers decode most of the text. Close it; `finish` must come before any result."""

    def __init__(self, workers: int, *, size: int = 0, sizes: Sizes = _SIZES, floats: bool = False) -> None:
        """`size`: bytes of the file, packed or not; 0 where unknown."""
        super().__init__(floats=floats)
        self._wanted, self._sizes = workers, sizes
        self._left = sizes.start if size < sizes.start else 0
        """Bytes still to be decoded here."""
        self._workers: list[_Worker] = []
        self._free: deque[_Slot] = deque()
        self._busy: deque[_Slot] = deque()
        self._filling: _Slot | None = None
        self._pending = 0
        """Lists of events that were decoded here and not added yet."""

    def decode(self, text: bytes | memoryview) -> list[Event]:
        """Decode a text, or leave it to a worker and return nothing. Raises DoubtfulError, or one of DECODE_ERRORS."""
        sizes = self._sizes
        if self._left > 0 or not sizes.small <= len(text) <= sizes.task - 2 or self._pending:
            self._left -= len(text)
            events = super().decode(text)
            self._pending += 1
            return events
        if not self._workers:
            self._fork()
        if self._filling is not None and not self._filling.has_room(len(text)):
            self._dispatch()
        if self._filling is None:
            while not self._free:
                self._collect()
            self._filling = self._free.popleft()
        self._filling.put(text)
        return []

    def add(self, events: list[Event]) -> None:
        """Append events that were decoded here; those of workers come by themselves."""
        self._pending = 0
        if events:
            self._join()
            super().add(events)

    def finish(self) -> None:
        """Wait for all workers. Raises DoubtfulError."""
        self._join()

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.close()
        self._workers, self._free, self._busy, self._filling = [], deque(), deque(), None

    def _join(self) -> None:
        """Have all that was given to workers, so that the next events come behind it."""
        if self._filling is not None:
            self._dispatch()
        while self._busy:
            self._collect()

    def _fork(self) -> None:
        slots = [
            [_Slot(self._sizes.task, self._sizes.columns) for _ in range(_TASKS_EACH)] for _ in range(self._wanted)
        ]
        for own in slots:
            self._workers.append(_Worker(own, [worker.pipe for worker in self._workers], floats=self.floats))
        self._free = deque(slot for nth in zip(*slots, strict=True) for slot in nth)

    def _dispatch(self) -> None:
        slot, self._filling = self._filling, None
        assert slot is not None
        owner = next(worker for worker in self._workers if slot in worker.slots)
        owner.send(slot)
        self._busy.append(slot)

    def _collect(self) -> None:
        """Take what the worker with the oldest task made of it."""
        slot = self._busy.popleft()
        owner = next(worker for worker in self._workers if slot in worker.slots)
        self.absorb(owner.receive(slot), owner.maps)
        slot.clear()
        self._free.append(slot)


@dataclass(slots=True, eq=False)
class _Slot:
    """Memory for one task: its text, and the columns made of it."""

    task: int
    results: int
    memory: mmap.mmap = field(init=False)
    spans: list[_Span] = field(default_factory=list)
    end: int = 0

    def __post_init__(self) -> None:
        self.memory = mmap.mmap(-1, self.task + self.results)

    @property
    def columns(self) -> memoryview:
        """The part for results."""
        return memoryview(self.memory)[self.task :]

    def has_room(self, size: int) -> bool:
        return self.end + size + 2 <= self.task

    def put(self, text: bytes | memoryview) -> None:
        """Write the text as a JSON array."""
        begin, self.end = self.end, self.end + len(text) + 2
        self.memory[begin : begin + 1] = b"["
        self.memory[begin + 1 : self.end - 1] = text
        self.memory[self.end - 1 : self.end] = b"]"
        self.spans.append((begin, self.end))

    def clear(self) -> None:
        self.spans, self.end = [], 0


class _Worker:
    """A process that decodes; seen from outside."""

    def __init__(self, slots: list[_Slot], inherited: list[Connection], *, floats: bool) -> None:
        self.slots = slots
        self.maps: Maps = {}
        self.pipe, theirs = Pipe()
        with warnings.catch_warnings():  # of other threads' locks, of which the worker takes none
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if not self._pid:
            code = 1
            try:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # the pipe's end ends it
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                for pipe in (self.pipe, *inherited):
                    pipe.close()
                _work(theirs, slots, ColumnBuilder(floats=floats))
                code = 0
            finally:
                os._exit(code)
        theirs.close()

    def send(self, slot: _Slot) -> None:
        try:
            self.pipe.send((self.slots.index(slot), slot.spans))
        except OSError as error:
            raise DoubtfulError from error

    def receive(self, slot: _Slot) -> Delta:
        try:
            answer = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise DoubtfulError from error
        if isinstance(answer, type):
            raise answer
        data, columns = answer
        view, at, buffers = slot.columns, 0, []
        for column in columns:
            buffers.append(view[at : at + column] if isinstance(column, int) else column)
            at += _aligned(len(buffers[-1]))
        delta: Delta = pickle.loads(data, buffers=buffers)
        return delta

    def close(self) -> None:
        self.pipe.close()
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def _work(pipe: Connection, slots: list[_Slot], builder: ColumnBuilder) -> None:
    """Decode what the pipe says is in a slot, until the pipe ends or a text does not decode."""
    builder.first = POSITIONS
    known: dict[Any, int] = {}
    while True:
        try:
            number, spans = pipe.recv()
        except EOFError:
            return
        text = memoryview(slots[number].memory)
        try:
            for begin, end in spans:
                builder.add(decode_array(text[begin:end], floats=builder.floats))
        except (*DECODE_ERRORS, RoundedError) as error:
            pipe.send(RoundedError if isinstance(error, RoundedError) else DoubtfulError)
            return
        buffers: list[pickle.PickleBuffer] = []
        data = pickle.dumps(builder.delta(known), protocol=5, buffer_callback=buffers.append)
        pipe.send((data, _placed([buffer.raw() for buffer in buffers], slots[number].columns)))


def _placed(columns: list[memoryview], shared: memoryview) -> list[int] | list[bytes]:
    """Put columns into shared memory and return their sizes; where they do not fit, return them."""
    if sum(_aligned(len(column)) for column in columns) > len(shared):
        return list(map(bytes, columns))
    at = 0
    for column in columns:
        shared[at : at + len(column)] = column
        at += _aligned(len(column))
    return [len(column) for column in columns]


def _aligned(size: int) -> int:
    return -(-size // 64) * 64
