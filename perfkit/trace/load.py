"""From a path to a Trace, whatever the file is."""

from __future__ import annotations

import dataclasses
import os
import stat
import sys
from pathlib import Path
from typing import IO

from perfkit.errors import UsageError
from perfkit.launch.nsys_export import REPORT_MAGIC, exported, is_fresh
from perfkit.schema import module_tree
from perfkit.schema.own_files import inside
from perfkit.schema.progress import Progress
from perfkit.trace import cache
from perfkit.trace.byte_stream import StreamFacts, printable, unpacked
from perfkit.trace.cache_entry import DamagedError
from perfkit.trace.chrome.reader import read_chrome_json
from perfkit.trace.columns import Trace
from perfkit.trace.nsys.reader import read_nsys
from perfkit.trace.nsys.tables import SQLITE_MAGIC

_TRACE_NAMES = ("*.pt.trace.json", "*.pt.trace.json.gz", "*.nsys-rep", "*.qdrep", "*.sqlite")
_REPORTS = (".nsys-rep", ".qdrep")
_CHANGED = "the file changed while it was read: read it again when nobody writes to it"


def load(
    path: Path | str, *, progress: Progress | None = None, use_cache: bool = True, kernels_only: bool = False
) -> Trace:
    """Read a trace file; its format is found from its content. `-` is standard input.

    A large file that was read before comes from the cache (perfkit.trace.cache), unless `use_cache` is False.
    With `kernels_only` the trace holds kernels and nothing else: enough for the table kernel_summary, and the least
    work and memory; of nsys, names and times alone.

    A directory stands for the one `*.pt.trace.json` (or `.json.gz`), nsys report or export in it. `progress` is
    called with the bytes read so far and the file's size (None where unknown, as of nsys). Raises UsageError where
    nothing can be read.
    """
    if path == "-":
        return _read(sys.stdin.buffer, "standard input", None, progress, kernels_only=kernels_only)
    chosen = Path(path)
    if chosen.is_dir():
        chosen = _only_trace_in(chosen)
    with _opened(chosen) as file:
        try:
            if (from_nsys := _read_nsys(file, chosen, progress, kernels_only=kernels_only)) is not None:
                return _with_tree(from_nsys, chosen)
            if use_cache and cache.is_worth_it(file) and not kernels_only:
                return _through_cache(file, _shown(chosen), progress)
            return _read_file(file, _shown(chosen), progress, kernels_only=kernels_only)
        except OSError as error:
            raise UsageError(f"{_shown(chosen)} cannot be read: {error.strerror}") from error


def _with_tree(trace: Trace, path: Path) -> Trace:
    """What nsys records of perfkit's own has no room for the model's tree: the run left it in its folder."""
    own = trace.metadata.get("perfkit")
    if own is None or not path.with_name(module_tree.FILE).is_file():
        return trace
    beside = inside(path.parent, module_tree.FILE, f"the tree of modules beside {_shown(path)}")
    own = own | {"modules": module_tree.load(beside)}
    return dataclasses.replace(trace, metadata={**trace.metadata, "perfkit": own})


def _through_cache(file: IO[bytes], name: str, progress: Progress | None) -> Trace:
    if not cache.is_ours():
        return _remarked(_read_file(file, name, progress), cache.NOT_OURS)
    key = cache.key_of(file)
    damaged = False
    try:
        trace = cache.read(key.digest, name)
    except DamagedError:
        trace, damaged = None, True
    if trace is None:
        file.seek(0)
        trace = _read_file(file, name, progress)
        if cache.still_holds(key, file):
            cache.write(key.digest, trace)
            cache.remember(key)
    else:
        cache.remember(key)
    return _remarked(trace, cache.DAMAGED) if damaged else trace


def _read_file(file: IO[bytes], name: str, progress: Progress | None, *, kernels_only: bool = False) -> Trace:
    """As _read; says so where the file changes meanwhile."""
    before = os.fstat(file.fileno())
    trace = _read(file, name, before.st_size or None, progress, kernels_only=kernels_only)
    after = os.fstat(file.fileno())
    if stat.S_ISREG(before.st_mode) and (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        return _remarked(trace, _CHANGED)
    return trace


def _remarked(trace: Trace, what: str) -> Trace:
    return dataclasses.replace(trace, facts=dataclasses.replace(trace.facts, remarks=(*trace.facts.remarks, what)))


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise UsageError(f"{_shown(path)} does not exist: check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte in it
        raise UsageError(f"{_shown(path)} cannot be opened: {getattr(error, 'strerror', error)}") from error


def _shown(path: Path) -> str:
    """A path as part of a message of one line."""
    return str(path) if str(path).isprintable() else ascii(str(path))[1:-1]


def _read(
    file: IO[bytes], name: str, size: int | None, progress: Progress | None, *, kernels_only: bool = False
) -> Trace:
    facts = StreamFacts()
    pieces = unpacked(file, name, facts, size=size, progress=progress)
    return read_chrome_json(pieces, name, repairs=facts.repairs, kernels_only=kernels_only)


def _read_nsys(file: IO[bytes], path: Path, progress: Progress | None, *, kernels_only: bool) -> Trace | None:
    """Nsight Systems' reports and their sqlite exports; None, with the file where it was, for anything else."""
    if not file.seekable():
        return None
    magic = file.read(len(REPORT_MAGIC))
    file.seek(0)
    if magic.startswith(SQLITE_MAGIC):
        return _with_age(read_nsys(path, _shown(path), progress, kernels_only=kernels_only), path)
    if magic and (magic == REPORT_MAGIC or path.suffix in _REPORTS):  # nsys may change how they begin
        with exported(path, _shown(path), progress) as database:
            return read_nsys(database, _shown(path), progress, kernels_only=kernels_only)
    return None


def _with_age(trace: Trace, export: Path) -> Trace:
    """Note where the report that an export was made of has been recorded anew since."""
    for suffix in _REPORTS:
        report = export.with_suffix(suffix)
        if report.is_file() and not is_fresh(export, report):
            about = {**trace.metadata["nsys"], "newer_report": printable(report.name)}
            return dataclasses.replace(trace, metadata={**trace.metadata, "nsys": about})
    return trace


def _only_trace_in(directory: Path) -> Path:
    paths = sorted(path for pattern in _TRACE_NAMES for path in directory.glob(pattern))
    reports = {path.with_suffix("") for path in paths if path.suffix in _REPORTS}
    found = [path for path in paths if path.suffix != ".sqlite" or path.with_suffix("") not in reports]
    if len(found) == 1:
        return found[0]
    if not found:
        kinds = "*.pt.trace.json(.gz), .nsys-rep or .sqlite"
        raise UsageError(f"{_shown(directory)} is a directory without a {kinds}: name the trace file")
    names = ", ".join(printable(path.name) for path in found[:5]) + (", ..." if len(found) > 5 else "")
    raise UsageError(f"{_shown(directory)} holds {len(found)} traces ({names}): name one of them")
