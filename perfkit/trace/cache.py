"""Parsed traces, kept as Parquet so that a second look at a file need not parse it again.

An entry is a folder named by the SHA-256 of the trace file's bytes, so a copied or renamed file is found and a
changed one is not. It appears by one rename, complete or not at all, so writers may race; it can be deleted at any
time. The least recently used entries go when all together outgrow LIMIT_BYTES.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
import platformdirs
import pyarrow as pa
import pyarrow.parquet as pq

from perfkit.trace.columns import (
    AutogradFlows,
    Device,
    DeviceEvents,
    HostRanges,
    ReadFacts,
    Thread,
    Trace,
    column_dtype,
)

VERSION = 3
"""Goes up whenever reading the same file would give other columns; entries of other versions are never read."""

LIMIT_BYTES = 4 * 2**30
SMALLEST_BYTES = 4 * 2**20
"""Files smaller than this are parsed faster than it takes to look them up."""

_PARTS: dict[str, Any] = {"host": HostRanges, "device": DeviceEvents, "flows": AutogradFlows}
_META = "meta.json"
_SEEN = "seen"
"""Folder of small files: a trace file's identity -> its key."""

_SETTLED_SECONDS = 2.0
_CHUNK = 2**20


@dataclasses.dataclass(frozen=True, slots=True)
class _Meta:
    """Everything of a Trace that is not a column."""

    format: str
    names: tuple[str, ...]
    threads: tuple[Thread, ...]
    devices: tuple[Device, ...]
    rank: int | None
    metadata: dict[str, Any]
    facts: ReadFacts


def folder() -> Path:
    """Where entries of this version lie; PERFKIT_CACHE_DIR overrides the user's cache directory."""
    base = os.environ.get("PERFKIT_CACHE_DIR") or platformdirs.user_cache_dir("perfkit", appauthor=False)
    return Path(base) / "traces" / f"v{VERSION}"


def is_worth_it(file: IO[bytes]) -> bool:
    """True for regular files large enough that looking them up beats parsing them."""
    status = os.fstat(file.fileno())
    return stat.S_ISREG(status.st_mode) and status.st_size >= SMALLEST_BYTES


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """Which entry is a file's."""

    digest: str
    """The entry's name: the SHA-256 of the file's bytes."""
    note: Path | None
    """Where to note the digest, under the file's identity (device, inode, size, times) before it was hashed; None
    for a file modified within the last seconds, which need not show its next change in its times."""


def key_of(file: IO[bytes]) -> Key:
    """The key of an open file. Reads the file to its end, unless the digest of an unchanged one was noted."""
    status = os.fstat(file.fileno())
    identity = f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
    note = folder() / _SEEN / hashlib.sha256(identity.encode()).hexdigest()
    with contextlib.suppress(OSError):
        return Key(note.read_text(encoding="ascii"), None)
    is_settled = time.time() - max(status.st_mtime, status.st_ctime) > _SETTLED_SECONDS
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return Key(digest.hexdigest(), note if is_settled else None)


def remember(key: Key) -> None:
    """Note the file's digest, once there is an entry of it: a reading that was cancelled leaves nothing."""
    if key.note is None:
        return
    with contextlib.suppress(OSError):
        key.note.parent.mkdir(parents=True, exist_ok=True)
        draft = key.note.with_name(f".{key.note.name}.{os.getpid()}")
        draft.write_text(key.digest, encoding="ascii")
        draft.replace(key.note)


def read(key: str, source: str) -> Trace | None:
    """The trace of this key, None where there is no whole, readable entry. `source` is the file's present name."""
    entry = folder() / key
    try:
        meta = msgspec.json.decode((entry / _META).read_bytes(), type=_Meta)
        columns = {part: _read_columns(entry / f"{part}.parquet", kind) for part, kind in _PARTS.items()}
        os.utime(entry)  # the entry's age is the time since its last use
    except (OSError, msgspec.DecodeError, pa.ArrowException, KeyError):
        return None
    return Trace(
        source=source,
        format=meta.format,  # type: ignore[arg-type]  # as it was written
        names=meta.names,
        threads=meta.threads,
        devices=meta.devices,
        rank=meta.rank,
        metadata=meta.metadata,
        facts=meta.facts,
        **columns,
    )


def _read_columns(path: Path, kind: Any) -> Any:
    with pq.ParquetFile(path, memory_map=True) as file:  # one piece a column, where read_table makes many
        table = file.read(use_threads=False)
    return kind(*(_numpy(table, field.name) for field in dataclasses.fields(kind)))


def _numpy(table: pa.Table, name: str) -> Any:
    column = table[name]
    values = column.chunk(0) if column.num_chunks == 1 else column
    return np.ascontiguousarray(values.to_numpy(zero_copy_only=False), dtype=column_dtype(name))


def write(key: str, trace: Trace) -> None:
    """Keep a parsed trace. A cache that cannot be written (no space, no permission) is no reason to fail."""
    with contextlib.suppress(OSError):
        root = folder()
        root.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=root))
        try:
            _write_entry(draft, trace)
            _replace(root / key, draft)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        _forget_oldest(root)


def _replace(entry: Path, draft: Path) -> None:
    """Put the new entry in its place; an old one there (damaged, or another writer's) makes way first."""
    for _ in range(2):
        with contextlib.suppress(OSError):
            draft.rename(entry)
            return
        shutil.rmtree(entry, ignore_errors=True)


def _write_entry(entry: Path, trace: Trace) -> None:
    for part in _PARTS:
        columns = getattr(trace, part)
        table = pa.table({field.name: getattr(columns, field.name) for field in dataclasses.fields(columns)})
        # Differences of neighbours, then lz4, in one row group: a tenth of the plain size, and the fastest to read.
        differences = {column.name: "DELTA_BINARY_PACKED" for column in table.schema if column.type.bit_width > 8}
        pq.write_table(
            table,
            entry / f"{part}.parquet",
            row_group_size=max(len(columns), 1),
            compression="lz4",
            use_dictionary=False,
            column_encoding=differences,
            write_statistics=False,
        )
    meta = _Meta(trace.format, trace.names, trace.threads, trace.devices, trace.rank, trace.metadata, trace.facts)
    (entry / _META).write_bytes(msgspec.json.encode(meta))


def _forget_oldest(root: Path) -> None:
    """Delete the least recently used entries until the rest fit, and what interrupted writers left an hour ago."""
    now = time.time()
    entries = []
    for entry in root.iterdir():
        with contextlib.suppress(OSError):
            size = sum(file.stat().st_size for file in entry.iterdir())
            entries.append((entry.stat().st_mtime, size, entry))
    total = 0
    for used, size, entry in sorted(entries, reverse=True):
        is_draft = entry.name.startswith(".draft-")
        total += 0 if is_draft else size
        if (is_draft and used < now - 3600) or (not is_draft and entry.name != _SEEN and total > LIMIT_BYTES):
            shutil.rmtree(entry, ignore_errors=True)
