"""Generate a snapshot of the caching allocator of any size, laid out as torch writes it, without holding it in memory.

    python -m scripts.benchmarks.make_snapshot --events 5000000 OUT.pickle[.gz]

Each event has a list of frames of its own, whose frames all events share; `--shared-lists` shares the lists too.
"""

from __future__ import annotations

import argparse
import gzip
import pickle
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

STACKS, DEPTH, FRAMES = 200, 30, 400
_BATCH = 1_000
"""Items that a pickle appends to a list at a time."""
_FRAME = 0x95
_KEYS = ("action", "addr", "size", "stream", "time_us", "compile_context", "user_metadata", "frames")
_ACTIONS = ("alloc", "free_requested", "free_completed")


def make(out: IO[bytes], events: int, *, seed: int = 0, shared_lists: bool = False) -> None:
    """Write a snapshot with so many events: allocations that live shortly or for long, each freed in two events."""
    generator = random.Random(seed)
    frames = [{"name": f"function_{n}", "filename": f"/src/module_{n % 40}.py", "line": n} for n in range(FRAMES)]
    stacks = [generator.choices(frames, k=generator.randint(DEPTH - 10, DEPTH + 10)) for _ in range(STACKS)]
    pickler = _Pieces()
    shared = [list(_KEYS), list(_ACTIONS), "", frames, stacks if shared_lists else []]
    out.write(b"\x80\x04}(" + pickler.piece("shared by all events") + pickler.piece(shared))
    out.write(pickler.piece("segments") + pickler.piece([]) + pickler.piece("device_traces") + b"]\x94(]\x94")
    pickler.keep()
    batch: list[dict[str, Any]] = []
    for event in _events(events, generator, stacks, shared_lists=shared_lists):
        batch.append(event)
        if len(batch) == _BATCH:
            out.write(pickler.batch(batch))
            batch.clear()
    out.write((pickler.batch(batch) if batch else b"") + b"eu.")


def _events(count: int, generator: random.Random, stacks: list[Any], *, shared_lists: bool) -> Iterator[dict[str, Any]]:
    live: list[tuple[int, int]] = []
    unused: list[int] = []
    time, top, made = 1_700_000_000_000_000, 0x7F00_0000_0000, 0

    def event(action: str, address: int, size: int) -> dict[str, Any]:
        stack = generator.choice(stacks)
        context = "N/".join(("", "A"))
        values = (action, address, size, 0, time, context, "", stack if shared_lists else list(stack))
        return dict(zip(_KEYS, values, strict=True))

    while made < count:
        time += generator.randint(1, 50)
        if live and (len(live) > 2_000 or generator.random() < 0.5):
            place = generator.randrange(len(live)) if generator.random() < 0.2 else -1
            address, size = live.pop(place)
            unused.append(address)
            yield event("free_requested", address, size)
            yield event("free_completed", address, size)
            made += 2
        else:
            if not unused or generator.random() < 0.1:
                top += 2**26
                unused.append(top)
            address, size = unused.pop(), 4 * generator.randint(1, 2**22)
            live.append((address, size))
            yield event("alloc", address, size)
            made += 1


class _Pieces:
    """Parts of one pickle of protocol 4, written one after the other, which share what `keep` has kept."""

    def __init__(self) -> None:
        self._out = _Sink()
        self._pickler = pickle.Pickler(self._out, 4)
        self._kept: Any = None

    def piece(self, value: object) -> bytes:
        """The opcodes that make this value."""
        self._pickler.dump(value)
        data = self._out.taken()
        opcodes, at = bytearray(), 2
        while at < len(data):
            if data[at] != _FRAME:
                opcodes += data[at:]
                break
            size = int.from_bytes(data[at + 1 : at + 9], "little")
            opcodes += data[at + 9 : at + 9 + size]
            at += 9 + size
        return bytes(opcodes[:-1])

    def keep(self) -> None:
        """What was written so far may be referred to by all that follows."""
        self._kept = self._pickler.memo.copy()

    def batch(self, items: list[dict[str, Any]]) -> bytes:
        """Opcodes that append these items to the list on the stack: all but the new list of a list's own opcodes."""
        self._pickler.memo = self._kept
        return self.piece(items)[2:]


class _Sink:
    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        self._parts.append(bytes(data))

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shared-lists", action="store_true")
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    with given.out.open("wb") as file, ExitStack() as stack:
        packed = given.out.suffix == ".gz"
        out = stack.enter_context(gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1)) if packed else file
        make(out, given.events, seed=given.seed, shared_lists=given.shared_lists)


if __name__ == "__main__":
    main()
