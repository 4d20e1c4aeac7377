"""Encode and decode one cache entry. Its bytes show whether they are complete and which file they belong to.

    SHA-256 of everything below, in hexadecimal             one line
    everything but the columns, and the size of each part   one line of JSON
    host ranges, device events, autograd flows              Parquet, one after the other

The decoder trusts nothing in an entry. An entry is damaged if it disagrees with its checksum, with the requested
key, or with itself, or if it has a value that reading a file cannot give.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from perfkit.trace.columns import (
    MISSING,
    Arguments,
    AutogradFlows,
    DeviceEvents,
    DeviceKind,
    HostKind,
    HostRanges,
    ReadFacts,
    Thread,
    Trace,
    TraceDevice,
    column_dtype,
)
from perfkit.trace.plausible import LARGEST_SUM, are_usable, sums
from perfkit.trace.recording import Recording, Tool

_PARTS: dict[str, Any] = {"host": HostRanges, "device": DeviceEvents, "flows": AutogradFlows}
_DIGEST = 64
"""Characters of a SHA-256 in hexadecimal."""


class DamagedError(Exception):
    """These bytes are not a complete entry of this key."""


class _Part(msgspec.Struct, frozen=True):
    rows: int
    bytes: int


class _Head(msgspec.Struct, frozen=True):
    """Everything in a Trace except the columns, the key of the entry, and the sizes of the parts that follow."""

    key: str
    parts: dict[str, _Part]
    names: tuple[str, ...]
    threads: tuple[Thread, ...]
    recording: Recording
    facts: ReadFacts
    devices: tuple[TraceDevice, ...]
    arguments: tuple[Arguments, ...]


def encode(key: str, trace: Trace) -> list[Any]:
    """Encode a trace as an entry, in pieces of bytes. Raises ValueError for names that UTF-8 cannot encode."""
    blocks = [_parquet(getattr(trace, part)) for part in _PARTS]
    head = _Head(
        key=key,
        parts={part: _Part(len(getattr(trace, part)), len(block)) for part, block in zip(_PARTS, blocks, strict=True)},
        names=trace.names,
        threads=trace.threads,
        recording=trace.recording,
        facts=trace.facts,
        devices=trace.devices,
        arguments=trace.arguments,
    )
    pieces = [msgspec.json.encode(head), b"\n", *blocks]
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return [digest.hexdigest().encode(), b"\n", *pieces]


def _parquet(columns: Any) -> bytes:
    import pyarrow as pa  # noqa: PLC0415 - costs 0.1 s, and small files have no entry
    import pyarrow.parquet as pq  # noqa: PLC0415

    table = pa.table({field.name: getattr(columns, field.name) for field in dataclasses.fields(columns)})
    # Delta encoding, then lz4, in one row group: this takes a tenth of the plain size and is the fastest to read.
    differences = {column.name: "DELTA_BINARY_PACKED" for column in table.schema if column.type.bit_width > 8}
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=max(len(columns), 1),
        compression="lz4",
        use_dictionary=False,
        column_encoding=differences,
        write_statistics=False,
    )
    return bytes(sink.getvalue())


def decode(data: bytes, key: str, source: str) -> Trace:
    """Decode the trace from an entry's bytes. `source` is the file's present name. Raises DamagedError."""
    from pyarrow import ArrowException  # noqa: PLC0415 - as in _parquet

    whole = memoryview(data)
    if data[:_DIGEST] != hashlib.sha256(whole[_DIGEST + 1 :]).hexdigest().encode():
        raise DamagedError("the checksum does not match")
    end = data.find(b"\n", _DIGEST + 1)
    try:
        head = msgspec.json.decode(whole[_DIGEST + 1 : max(end, 0)], type=_Head)
        columns = _columns(head, whole[end + 1 :])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ArrowException, OSError, KeyError) as error:
        raise DamagedError(str(error)) from error
    if head.key != key:
        raise DamagedError("it is another file's")
    trace = Trace(
        source=source,
        names=head.names,
        threads=head.threads,
        recording=head.recording,
        facts=head.facts,
        devices=head.devices,
        arguments=head.arguments,
        **columns,
    )
    if not (_is_sound(trace) and _has_times(trace) and _says_what_it_can(trace)):
        raise DamagedError("it has values that no trace can have")
    return trace


def _columns(head: _Head, blocks: memoryview) -> dict[str, Any]:
    if sum(part.bytes for part in head.parts.values()) != len(blocks) or head.parts.keys() != _PARTS.keys():
        raise DamagedError("parts are missing")
    columns, at = {}, 0
    for name, kind in _PARTS.items():
        part = head.parts[name]
        columns[name] = _read(blocks[at : at + part.bytes], kind, part.rows)
        at += part.bytes
    return columns


def _read(block: memoryview, kind: Any, rows: int) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - as in _parquet
    import pyarrow.parquet as pq  # noqa: PLC0415

    wanted = pa.schema(
        [(field.name, pa.from_numpy_dtype(column_dtype(field.name))) for field in dataclasses.fields(kind)]
    )
    with pq.ParquetFile(
        pa.BufferReader(pa.py_buffer(block))
    ) as file:  # one piece per column, where read_table makes many
        if file.metadata.num_rows != rows or not file.schema_arrow.equals(wanted):
            raise DamagedError("rows or columns are missing")
        table = file.read(use_threads=False)
    if any(column.null_count for column in table.columns):
        raise DamagedError("values are missing")
    return kind(*(_numpy(table[field.name]) for field in dataclasses.fields(kind)))


def _numpy(column: Any) -> npt.NDArray[Any]:
    values = column.chunk(0) if column.num_chunks == 1 else column
    return np.ascontiguousarray(values.to_numpy(zero_copy_only=False))


def _is_sound(trace: Trace) -> bool:
    """Whether every index refers to an existing item, and every number with a limited range lies in that range."""
    host, device, names, threads = trace.host, trace.device, len(trace.names), len(trace.threads)
    within = (
        (host.name, 0, names),
        (host.kind, 0, len(HostKind)),
        (host.thread, 0, threads),
        (host.frame, MISSING, names),
        (host.arguments, MISSING, len(trace.arguments)),
        (device.name, 0, names),
        (device.kind, 0, len(DeviceKind)),
        (device.annotation, MISSING, names),
        (device.device, MISSING, 1 << 31),
        (host.sequence, MISSING, 1 << 63),
        (host.forward_thread, MISSING, 1 << 63),
        (trace.flows.thread, 0, threads),
    )
    return all(_is_within(*column) for column in within)


def _has_times(trace: Trace) -> bool:
    """Whether times are usable, nothing ends before it starts, and sums fit into int64."""
    parts = (trace.host, trace.device)
    return (
        all(bool((are_usable(part.start, part.end) & (part.end >= part.start)).all()) for part in parts)
        and bool(are_usable(trace.flows.time, trace.flows.time).all())
        and all(total <= LARGEST_SUM for total in sums(trace).values())
    )


def _says_what_it_can(trace: Trace) -> bool:
    """Whether the other members have values that reading a file gives: valid counts, and no remarks yet."""
    facts, recording = trace.facts, trace.recording
    counted = {**facts.ignored, **facts.repairs}
    counts = [facts.events, facts.negative_durations, facts.overhead_ns, facts.truncated_at or 0, *counted.values()]
    counts += [number for unknown in facts.unknown.values() for number in unknown]
    numbers = [recording.rank, recording.world_size, facts.base_time_ns]
    numbers += [number for thread in trace.threads for number in (thread.pid, thread.tid)]
    numbers += [number for device in trace.devices for number in (device.number, device.index)]
    for device in recording.devices:
        numbers += [device.index, device.memory, device.multiprocessors, device.compute_major, device.compute_minor]
        numbers += [device.clock_hz, device.bytes_per_s]
    return (
        all(0 <= count <= LARGEST_SUM for count in counts)
        and all(number is None or -(1 << 63) <= number < 1 << 63 for number in numbers)
        and all(what.isprintable() for what in (*counted, *facts.unknown))
        and len({device.label for device in trace.devices}) == len(trace.devices)
        and facts.resolution_ns in (1, 1000)
        and not facts.remarks
        and recording.tool is Tool.KINETO  # nsys exports are not cached
        and recording.whole_graphs is None
        and not recording.newer_report
    )


def _is_within(column: npt.NDArray[Any], low: int, beyond: int) -> bool:
    return not len(column) or (int(column.min()) >= low and int(column.max()) < beyond)
