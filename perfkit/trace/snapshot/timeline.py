"""Files of torch.profiler's `export_memory_timeline`: bytes by category over time.

Two layouts, of `MemoryProfileTimeline` in torch/profiler/_memory_profiler.py (2.1 to 2.13): `[times, sizes]`, us and a
row of bytes for each time, a 0 first; and `.raw.json`, one `[time, action, bytes, category]` a change, ns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from perfkit.errors import UsageError
from perfkit.schema.progress import Progress
from perfkit.trace.byte_stream import StreamFacts, unpacked
from perfkit.trace.columns import MAX_NS, Int64s
from perfkit.trace.load import opened, shown
from perfkit.trace.snapshot import known
from perfkit.trace.snapshot.values import LARGEST, ImplausibleError

CATEGORIES = (
    "parameters",
    "optimizer state",
    "inputs",
    "temporaries",
    "activations",
    "gradients",
    "autograd detail",
    "unknown",
)
"""In PyTorch's order, which is that of the columns."""

_BEFORE = -1
"""The time of what was there before the recording began."""

_Sampled = tuple[list[int], list[list[int]]]
_Raw = list[tuple[int, int, int, int]]


@dataclass(frozen=True, slots=True)
class MemoryTimeline:
    """Live bytes of one device by category, as the profiler told them apart."""

    path: Path
    time: Int64s
    """ns, shape (moments,), never falling."""
    bytes: Int64s
    """Live from this moment on; shape (moments, len(CATEGORIES))."""


_BEGINS = re.compile(rb"\s*\[\s*\[")
_NAMES = re.compile(r"\.json(\.gz)?$", re.IGNORECASE)


def is_timeline(path: Path) -> bool:
    """Whether a file is such a timeline by its name and first bytes: lists in a list, which no trace is."""
    return _NAMES.search(path.name) is not None and _BEGINS.match(known.head(path)) is not None


def read_timeline(path: Path | str, progress: Progress | None = None) -> MemoryTimeline:
    """Read a timeline, plain, gzipped or zipped. Raises UsageError, in one line, where the file is none."""
    path = Path(path)
    name, facts = shown(path), StreamFacts()
    with opened(path) as file:
        text = b"".join(unpacked(file, name, facts, size=path.stat().st_size, progress=progress))
    try:
        time, change = _decoded(text)
        return MemoryTimeline(path, time, change)
    except (msgspec.DecodeError, ImplausibleError, OverflowError, RecursionError) as error:
        why = str(error) if isinstance(error, ImplausibleError) else "it is not JSON of that layout"
        raise UsageError(
            f"{name} is no memory timeline of torch.profiler, or is damaged: {why}; write it again with "
            "prof.export_memory_timeline (.json or .raw.json.gz)"
        ) from error


def _decoded(text: bytes) -> tuple[Int64s, Int64s]:
    try:
        times, sizes = msgspec.json.decode(text, type=_Sampled)
    except msgspec.ValidationError:
        return _from_changes(msgspec.json.decode(text, type=_Raw))
    width = len(CATEGORIES) + 1
    if len(times) != len(sizes) or any(len(row) != width for row in sizes):
        raise ImplausibleError(f"there are not {width} sizes for each of its times")
    time = _times(times) * 1000
    return _checked(time, np.array(sizes, np.int64).reshape(-1, width)[:, 1:])


def _from_changes(raw: Sequence[tuple[int, int, int, int]]) -> tuple[Int64s, Int64s]:
    """Running sums, one row for each distinct time."""
    columns = np.array(raw, np.int64).reshape(-1, 4)
    category = columns[:, 3]
    if len(raw) and not 0 <= category.min() <= category.max() < len(CATEGORIES):
        raise ImplausibleError("a category is none of PyTorch's")
    if float(np.abs(columns[:, 2].astype(np.float64)).sum()) > LARGEST:
        raise ImplausibleError("its sizes sum to more than 2^62 bytes")
    time = _times(columns[:, 0])
    order = np.argsort(time, kind="stable")
    change = np.zeros((len(raw), len(CATEGORIES)), np.int64)
    change[np.arange(len(raw)), category] = columns[:, 2]
    is_last = np.diff(time[order], append=[MAX_NS + 1]) != 0
    return _checked(time[order][is_last], np.cumsum(change[order], axis=0)[is_last])


def _times(values: Sequence[int] | Int64s) -> Int64s:
    """Times; what was there before gets the first of the others."""
    time = np.array(values, np.int64)
    if len(time) and (time.min() < _BEFORE or time.max() > MAX_NS):
        raise ImplausibleError("a time is negative, or too large")
    first = time.min(initial=MAX_NS, where=time != _BEFORE)
    return np.where(time == _BEFORE, first if first != MAX_NS else 0, time)


def _checked(time: Int64s, size: Int64s) -> tuple[Int64s, Int64s]:
    if len(time) and (time.max() > MAX_NS or (np.diff(time) < 0).any()):
        raise ImplausibleError("its times fall, or are too large")
    if len(size) and (size.min() < 0 or size.max() > LARGEST):
        raise ImplausibleError(f"a category has {int(size.min()):,} bytes")
    return time, size
