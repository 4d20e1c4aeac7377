"""From a path to a Trace, whatever the file is."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

from perfkit.errors import UsageError
from perfkit.trace.byte_stream import Progress, StreamFacts, unpacked
from perfkit.trace.chrome_json import read_chrome_json
from perfkit.trace.columns import Trace

_TRACE_NAMES = ("*.pt.trace.json", "*.pt.trace.json.gz")


def load(path: Path | str, *, progress: Progress | None = None) -> Trace:
    """Read a trace file; its format is found from its content. `-` is standard input.

    A directory stands for the one `*.pt.trace.json` (or `.json.gz`) in it. `progress` is called with the
    bytes read so far and the file's size (None where unknown). Raises UsageError where nothing can be read.
    """
    if str(path) == "-":
        return _read(sys.stdin.buffer, "standard input", None, progress)
    chosen = Path(path)
    try:
        if chosen.is_dir():
            chosen = _only_trace_in(chosen)
        with chosen.open("rb", buffering=0) as file:
            return _read(file, str(chosen), os.fstat(file.fileno()).st_size, progress)
    except FileNotFoundError as error:
        raise UsageError(f"{chosen} does not exist: check the path") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{chosen} cannot be read: {error}") from error


def _read(file: IO[bytes], name: str, size: int | None, progress: Progress | None) -> Trace:
    facts = StreamFacts()
    pieces = unpacked(file, name, facts, size=size, progress=progress)
    return read_chrome_json(pieces, name, repairs=facts.repairs)


def _only_trace_in(directory: Path) -> Path:
    found = sorted(path for pattern in _TRACE_NAMES for path in directory.glob(pattern))
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"{directory} is a directory without a *.pt.trace.json(.gz): name the trace file")
    names = ", ".join(path.name for path in found[:5]) + (", ..." if len(found) > 5 else "")
    raise UsageError(f"{directory} holds {len(found)} traces ({names}): name one of them")
