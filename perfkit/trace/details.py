"""Read what a trace's file says beyond times, in a second pass on request.

Few analyses use launches, counters or allocations, and decoding them in the first pass would slow every read. So the
reader skips them, and cache entries do not have them either. Shapes are in the trace itself (`trace.operands`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from perfkit.errors import UsageError
from perfkit.launch.nsys_export import SQLITE_MAGIC, exported
from perfkit.schema.progress import Progress
from perfkit.trace.byte_stream import StreamFacts, unpacked
from perfkit.trace.chrome.details import read_chrome_details
from perfkit.trace.columns import Origin, Trace
from perfkit.trace.detail_columns import Details, changed, no_calls, no_counters, no_memory_events, no_operands
from perfkit.trace.recording import Tool


def read_details(trace: Trace, progress: Progress | None = None) -> Details:
    """Return operands, launches, counters and allocations of a trace: one to three times the work of reading it.

    What the file cannot tell (Recording.capabilities) is empty or MISSING. `progress` is called as by `load`. Raises
    UsageError where the file cannot be read a second time, or has changed.
    """
    if trace.origin is None:
        raise UsageError(
            f"{trace.source} can be read only once, but launches and allocations need a second pass:"
            " save it as a file and pass the file"
        )
    with _same_file(trace, trace.origin) as file:
        if trace.recording.tool is Tool.NSYS:
            return _of_nsys(file, trace, trace.origin, progress)
        pieces = unpacked(file, trace.source, StreamFacts(), size=trace.origin.size, progress=progress)
        return read_chrome_details(pieces, trace, content=trace.origin.content)


@contextmanager
def _same_file(trace: Trace, origin: Origin) -> Iterator[IO[bytes]]:
    """Open the trace's file. Raises UsageError where it is not the same file, before or after reading."""
    try:
        with origin.path.open("rb", buffering=0) as file:
            _check(file, trace, origin)
            yield file
            _check(file, trace, origin)
    except OSError as error:
        raise UsageError(f"{trace.source} cannot be read a second time: {error.strerror}") from error


def _check(file: IO[bytes], trace: Trace, origin: Origin) -> None:
    status = os.fstat(file.fileno())
    if (status.st_size, status.st_mtime_ns) != (origin.size, origin.modified_ns):
        raise changed(trace.source)


def _of_nsys(file: IO[bytes], trace: Trace, origin: Origin, progress: Progress | None) -> Details:
    from perfkit.trace.nsys.geometry import read_geometry  # noqa: PLC0415 - see load._read_nsys

    if file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC:
        geometry = read_geometry(origin.path, trace, progress)
    else:
        with exported(origin.path, trace.source, progress) as database:
            geometry = read_geometry(database, trace, progress)
    rows = len(trace.host)
    return Details(no_operands(rows), no_calls(rows), geometry, no_counters(), no_memory_events())
