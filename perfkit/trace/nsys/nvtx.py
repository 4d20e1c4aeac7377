"""Convert NVTX ranges of an Nsight Systems export to host ranges."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from perfkit.schema import range_names
from perfkit.trace.columns import MISSING, Bytes, HostKind, Int32s, Int64s
from perfkit.trace.nsys.tables import UNUSABLE, Export, IntColumns, decoded, distinct

_PUSH_POP = (59, 70)
"""Event types of ranges that nest on their thread: NVTX, and NVTX read from text files."""
_START_END = (60, 71)
"""Event types of ranges that may start and end on any thread."""
_MARKS = (34, 65)
_DOMAIN_CREATE = 75
_OPEN = MISSING
_THREAD = 0xFFFFFF
"""The bits of a globalTid that hold the thread."""
ACROSS = 1 << 62
"""Set in the thread id of a range that does not stay on one thread: such ranges get a separate lane per process."""

_LIBRARY = re.compile(
    r"nccl|rccl|cccl|cub|thrust|nvshmem|cu(?:blas|dnn|sparse|solver|fft|rand|tensor)\w*", re.IGNORECASE
)
"""Names of the domains in which libraries write their own calls. TensorRT's ranges are a model's layers."""

_EMITTED = (
    r"(?s)^(?P<name>.*?)(?:, seq = (?P<seq>\d{1,18}))?(?:, op_id = (?P<op>\d{1,18}))?"
    r"(?P<rest>, (?:sizes|input_op_ids) ?= ?.*)?$"
)
"""What torch.autograd.profiler.emit_nvtx appends to an operator's name."""


@dataclass(frozen=True, slots=True)
class NvtxRanges:
    """All ranges, and the number of events that were left out."""

    name: Int32s
    """Index into names."""
    names: tuple[str, ...]
    kind: Bytes
    """OP for operators that emit_nvtx wrote, LIBRARY in the domain of a library, otherwise ANNOTATION."""
    global_tid: Int64s
    """The globalTid; with ACROSS and no thread where the range ends on another thread, or never ends."""
    start: Int64s
    end: Int64s
    """ns; MISSING for a range that is still open at the end of the file."""
    sequence: Int64s
    operation: Int64s
    """emit_nvtx's sequence number of the operation; MISSING elsewhere."""
    events: int = 0
    ignored: dict[str, int] = field(default_factory=dict)
    has_own: bool = False
    """Whether the file has ranges of perfkit's own domain."""


def read_nvtx(export: Export) -> NvtxRanges:
    """Read every range. Those of perfkit's own domain get the names that they have in a trace."""
    texts, place, numbers = _events(export)
    types = numbers["eventType"]
    own = _in_domain(texts, place, numbers, lambda name: name == range_names.NVTX_DOMAIN)
    library = _in_domain(texts, place, numbers, lambda name: _LIBRARY.fullmatch(name) is not None)
    ignored: Counter[str] = Counter()
    start_end = np.isin(types, _START_END)
    elsewhere = (numbers["endGlobalTid"] != 0) & (numbers["endGlobalTid"] != numbers["globalTid"])
    across = start_end & (elsewhere | (numbers["end"] == _OPEN))
    ignored["NVTX marks"] = int(np.isin(types, _MARKS).sum())
    keep = start_end | np.isin(types, _PUSH_POP)
    rows = np.concatenate((np.flatnonzero(keep & ~across), np.flatnonzero(across)))  # threads before lanes
    key = place[rows] * 2 + own[rows]  # a text that many rows share is parsed once, or twice
    used = np.zeros(2 * len(texts), dtype=bool)
    used[key] = True
    different = np.flatnonzero(used)
    named = _named(texts.take(pa.array(different // 2)), different % 2 == 1).rows((np.cumsum(used) - 1)[key])
    if own.any():
        # emit_nvtx repeats perfkit's ranges in its own domain; one copy is enough.
        ours = [range_names.parse_trace(name) is not None for name in named.names]
        again = np.array([*ours, False], dtype=bool)[named.name] & ~own[rows]
        ignored["ranges of perfkit that emit_nvtx repeats"] = int(again.sum())
        rows, named = rows[~again], named.rows(~again)
    return NvtxRanges(
        name=named.name,
        names=named.names,
        kind=np.where(library[rows], np.uint8(HostKind.LIBRARY), named.kind),
        global_tid=np.where(across, numbers["globalTid"] & ~_THREAD | ACROSS, numbers["globalTid"])[rows],
        start=numbers["start"][rows],
        end=numbers["end"][rows],
        sequence=named.sequence,
        operation=named.operation,
        events=int((keep | np.isin(types, _MARKS)).sum()),
        ignored={what: count for what, count in ignored.items() if count},
        has_own=bool(own.any()),
    )


def _events(export: Export) -> tuple[Any, Int64s, IntColumns]:
    """Return the texts; each event's index into them, since many events share a registered string; and numbers."""
    numbers = {"start": UNUSABLE, "end": _OPEN, "eventType": 0, "globalTid": 0, "endGlobalTid": 0, "domainId": 0}
    text, read = export.events("NVTX_EVENTS", numbers | {"textId": MISSING}, ("text",))
    count = len(text)
    place = np.arange(count)
    registered = export.string_places(read["textId"])
    by_id = (pc.binary_length(text["text"]).to_numpy() == 0) & (registered != MISSING)
    place = np.where(by_id, count + registered, place)
    return pa.chunked_array([*text["text"].chunks, *export.string_values.chunks]), place, read


def _in_domain(texts: Any, place: Int64s, numbers: IntColumns, wanted: Callable[[str], bool]) -> Any:
    """Return the rows of domains with such a name. A domain's number is valid only within its process."""
    process, domain = numbers["globalTid"] >> 24, numbers["domainId"]
    created = np.flatnonzero(numbers["eventType"] == _DOMAIN_CREATE)
    different, again = distinct(place[created])
    names = decoded(texts.take(pa.array(place[created][different])))
    ours = created[np.array([wanted(name) for name in names], dtype=bool)[again]]
    domains = set(zip(process[ours].tolist(), domain[ours].tolist(), strict=True))
    if not domains:
        return np.zeros(len(process), dtype=bool)
    first, which = distinct(process, domain)
    pairs = zip(process[first].tolist(), domain[first].tolist(), strict=True)
    return np.array([pair in domains for pair in pairs], dtype=bool)[which]


@dataclass(frozen=True, slots=True)
class _Named:
    name: Int32s
    names: tuple[str, ...]
    kind: Bytes
    sequence: Int64s
    operation: Int64s

    def rows(self, keep: Any) -> _Named:
        return _Named(self.name[keep], self.names, self.kind[keep], self.sequence[keep], self.operation[keep])


def _named(text: Any, own: Any) -> _Named:
    """Convert texts to names. Operators' numbers are removed first: with them every text is different."""
    parts = pc.extract_regex(text, _EMITTED)
    name, sequence, operation = (pc.struct_field(parts, field) for field in ("name", "seq", "op"))
    rest = _lengths(pc.struct_field(parts, "rest"))
    emitted = ((_lengths(sequence) > 0) | (_lengths(operation) > 0) | (rest > 0)) & ~own
    plain = pc.if_else(pa.array(emitted), name, text)
    coded = plain.combine_chunks().dictionary_encode() if len(text) else pa.array([], pa.binary()).dictionary_encode()
    codes = coded.indices.to_numpy().astype(np.int64)
    texts = decoded(coded.dictionary)
    names = dict.fromkeys(texts)
    translated = [range_names.parse_nvtx(name).trace_text for name in texts]
    numbers = {name: number for number, name in enumerate(dict.fromkeys([*names, *translated]))}
    tables = np.array([[numbers[n] for n in texts], [numbers[n] for n in translated]], dtype=np.int32)
    return _Named(
        name=tables[own.astype(np.int64), codes] if len(codes) else np.empty(0, np.int32),
        names=tuple(numbers),
        kind=np.where(emitted, HostKind.OP, HostKind.ANNOTATION).astype(np.uint8),
        sequence=np.where(emitted, _integers(sequence), MISSING),
        operation=np.where(emitted, _integers(operation), MISSING),
    )


def _lengths(texts: Any) -> Int64s:
    return pc.fill_null(pc.binary_length(texts), 0).to_numpy().astype(np.int64)


def _integers(texts: Any) -> Int64s:
    """Convert digits to numbers, and empty texts to MISSING."""
    filled = pc.if_else(pc.greater(pc.fill_null(pc.binary_length(texts), 0), 0), texts, str(MISSING).encode())
    return filled.cast(pa.string()).cast(pa.int64()).to_numpy()
