"""Load a trace from a file of any supported format."""

from __future__ import annotations

import dataclasses
import os
import stat
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import IO

import msgspec

from perfkit.errors import UsageError
from perfkit.launch.nsys_export import REPORT_MAGIC, SQLITE_MAGIC, exported, is_fresh
from perfkit.schema import module_tree
from perfkit.schema.own_files import inside
from perfkit.schema.progress import Progress
from perfkit.trace import foreign
from perfkit.trace.byte_stream import StreamFacts, printable, unpacked
from perfkit.trace.cache import DAMAGED, NOT_OURS, Cache, still_holds
from perfkit.trace.cache_entry import DamagedError
from perfkit.trace.chrome import workers
from perfkit.trace.chrome.reader import read_chrome_json
from perfkit.trace.chrome.times import RoundedError
from perfkit.trace.chrome.workers import DoubtfulError
from perfkit.trace.columns import Content, Origin, Trace
from perfkit.trace.recording import OwnNotes

_TRACE_NAMES = ("*.pt.trace.json", "*.pt.trace.json.gz", "*.nsys-rep", "*.qdrep", "*.sqlite")
_REPORTS = (".nsys-rep", ".qdrep")
_KEPT = Cache()
_CHANGED = "the file changed while it was read: analyze it again when no program writes to it"


def load(
    path: Path | str,
    *,
    progress: Progress | None = None,
    use_cache: bool = True,
    content: Content = Content.ALL,
    cache: Cache = _KEPT,
) -> Trace:
    """Read a trace file; its content determines its format. `-` is standard input.

    A large file that was read before comes from `cache`, the user's by default, unless `use_cache` is False.
    With `Content.KERNELS` the trace holds only kernels: enough for the table kernel_summary, and the least work and
    memory; from nsys, it holds only their names and times.

    A directory stands for the one `*.pt.trace.json` (or `.json.gz`), nsys report or export in it. `progress` is
    called with the bytes read so far and the file's size (None where unknown, as with nsys). Raises UsageError where
    nothing can be read.
    """
    if path == "-":
        return _read(sys.stdin.buffer, foreign.STREAM, None, progress, content=content)
    chosen = Path(path)
    if chosen.is_dir():
        chosen = _only_trace_in(chosen)
    with opened(chosen) as file:
        try:
            origin = _origin(file, chosen, content=content)
            if (trace := _read_nsys(file, chosen, progress, content=content)) is not None:
                trace = _with_tree(trace, chosen)
            elif use_cache and cache.is_worth_it(file) and content is Content.ALL:
                trace = _through_cache(cache, file, shown(chosen), progress)
            else:
                trace = _read_file(file, shown(chosen), progress, content=content)
        except OSError as error:
            raise UsageError(f"{shown(chosen)} cannot be read: {error.strerror}") from error
    return dataclasses.replace(trace, origin=origin)


def _origin(file: IO[bytes], path: Path, *, content: Content) -> Origin | None:
    """Return the source if it can be read again; None for a pipe."""
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        return None
    return Origin(path.absolute(), status.st_size, status.st_mtime_ns, content)


def _with_tree(trace: Trace, path: Path) -> Trace:
    """Add the model's tree to perfkit's own nsys recording, which cannot hold it: the run left it in its folder."""
    if trace.recording.own is None or not path.with_name(module_tree.FILE).is_file():
        return trace
    beside = inside(path.parent, module_tree.FILE, f"the tree of modules beside {shown(path)}")
    return dataclasses.replace(
        trace, recording=dataclasses.replace(trace.recording, own=OwnNotes(module_tree.load(beside)))
    )


def _through_cache(kept: Cache, file: IO[bytes], name: str, progress: Progress | None) -> Trace:
    if not kept.is_ours():
        return _remarked(_read_file(file, name, progress), NOT_OURS)
    key = kept.key_of(file)
    damaged = False
    try:
        trace = kept.read(key.digest, name)
    except DamagedError:
        trace, damaged = None, True
    if trace is None:
        file.seek(0)
        trace = _read_file(file, name, progress)
        if still_holds(key, file):
            kept.write(key.digest, trace)
            kept.remember(key)
    else:
        kept.remember(key)
    return _remarked(trace, DAMAGED) if damaged else trace


def _read_file(file: IO[bytes], name: str, progress: Progress | None, *, content: Content = Content.ALL) -> Trace:
    """Like _read; adds a remark if the file changed meanwhile."""
    before = os.fstat(file.fileno())
    trace = _read(file, name, before.st_size or None, progress, content=content)
    after = os.fstat(file.fileno())
    if stat.S_ISREG(before.st_mode) and (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        return _remarked(trace, _CHANGED)
    return trace


def _remarked(trace: Trace, what: str) -> Trace:
    return dataclasses.replace(trace, facts=msgspec.structs.replace(trace.facts, remarks=(*trace.facts.remarks, what)))


def opened(path: Path) -> IO[bytes]:
    """Open a file to be read. Raises UsageError in one line where that fails."""
    try:
        return path.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise foreign.missing(path, shown(path)) from error
    except (OSError, ValueError) as error:  # ValueError: a path that contains a zero byte
        raise UsageError(f"{shown(path)} cannot be opened: {getattr(error, 'strerror', error)}") from error


def shown(path: Path) -> str:
    """Format a path for a message of one line."""
    return str(path) if str(path).isprintable() else ascii(str(path))[1:-1]


def _read(
    file: IO[bytes], name: str, size: int | None, progress: Progress | None, *, content: Content = Content.ALL
) -> Trace:
    def read(processes: int, *, floats: bool) -> Trace:
        facts = StreamFacts()
        pieces = unpacked(file, name, facts, size=size, progress=progress)
        return read_chrome_json(
            pieces, name, repairs=facts.repairs, content=content, workers=processes, size=size or 0, floats=floats
        )

    begin = file.tell() if file.seekable() else None  # a shell may have read the first lines of standard input
    processes, floats = (workers.number(), True) if begin is not None else (0, False)
    while True:
        try:
            return read(processes, floats=floats)
        except RoundedError:  # where times have more than three decimals, their texts tell
            floats = False
        except DoubtfulError:  # damaged: what to make of it is found out piece by piece
            processes = 0
        file.seek(begin or 0)


def _read_nsys(file: IO[bytes], path: Path, progress: Progress | None, *, content: Content) -> Trace | None:
    """Read Nsight Systems' reports and their sqlite exports; return None, with the file's position kept, for others."""
    if not file.seekable():
        return None
    magic = file.read(len(REPORT_MAGIC))
    file.seek(0)
    is_export = magic.startswith(SQLITE_MAGIC)
    if not magic or not (is_export or magic == REPORT_MAGIC or path.suffix in _REPORTS):  # reports may begin anew
        return None
    from perfkit.trace.nsys.reader import read_nsys  # noqa: PLC0415 - costs 15 ms, and most files are Chrome traces

    if is_export:
        return _with_age(read_nsys(path, shown(path), progress, content=content), path)
    with exported(path, shown(path), progress) as database:
        return read_nsys(database, shown(path), progress, content=content)


def _with_age(trace: Trace, export: Path) -> Trace:
    """Note where the report that an export was made from has been recorded again since."""
    for suffix in _REPORTS:
        report = export.with_suffix(suffix)
        if report.is_file() and not is_fresh(export, report):
            recording = dataclasses.replace(trace.recording, newer_report=printable(report.name))
            return dataclasses.replace(trace, recording=recording)
    return trace


def traces_in(directory: Path, below: str = "") -> list[Path]:
    """The files of a directory that are traces by their names; `below` is a pattern of folders in it, `*/`."""
    paths = sorted(path for pattern in _TRACE_NAMES for path in directory.glob(below + pattern))
    reports = {path.with_suffix("") for path in paths if path.suffix in _REPORTS}
    return [path for path in paths if path.suffix != ".sqlite" or path.with_suffix("") not in reports]


def _only_trace_in(directory: Path) -> Path:
    traces = traces_in(directory)
    if len(traces) == 1:
        return traces[0]
    if not traces:
        kinds = "*.pt.trace.json(.gz), .nsys-rep or .sqlite"
        there = _some(path.name + "/" * path.is_dir() for path in sorted(directory.glob("*")))
        if not there:
            raise UsageError(f"{shown(directory)} is an empty directory: name a trace file, or a folder that has one")
        raise UsageError(
            f"{shown(directory)} is a directory that contains no {kinds}, but {there}: name the trace file"
        )
    names = _some(path.name for path in traces)
    raise UsageError(f"{shown(directory)} contains {len(traces)} traces ({names}): name one of them")


def _some(names: Iterable[str]) -> str:
    """The first five names."""
    first = list(islice(names, 6))
    return ", ".join(map(printable, first[:5])) + (", ..." if len(first) > 5 else "")
