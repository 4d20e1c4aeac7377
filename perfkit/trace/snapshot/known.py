"""Whether a file is a recording of memory, by its first bytes."""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from pathlib import Path

from perfkit.trace import foreign

_NAMES = re.compile(r"\.(pickle|pkl)(\.gz|\.zip)?$", re.IGNORECASE)


def is_snapshot(path: Path) -> bool:
    """Whether this is what PyTorch wrote of an allocator, packed or not: a pickle.

    What is in a pickle is for its reader to judge; a checkpoint is none.
    """
    begin = head(path)
    return not foreign.is_checkpoint(begin) and (foreign.is_pickle(begin) or _NAMES.search(path.name) is not None)


def head(path: Path) -> bytes:
    """The first bytes, unpacked; none where there are none to read."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if not name.endswith("/")]
                return archive.open(names[0]).read(foreign.HEAD) if len(names) == 1 else b""
        with gzip.open(path) if magic.startswith(b"\x1f\x8b") else path.open("rb") as stream:
            return stream.read(foreign.HEAD)
    except (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zlib.error, zipfile.BadZipFile):
        return b""
