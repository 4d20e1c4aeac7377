"""Folders for runs: the one that the user names, or a new one."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from perfkit.errors import UsageError


def given(folder: Path) -> Path:
    """Return --folder and make it if it does not exist. Raises UsageError if it is not empty or cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; choose another --folder") from error
    if occupied:
        raise UsageError(f"{folder} is not empty; choose another --folder")
    return folder


@contextmanager
def reserved(folder: Path, flag: str) -> Iterator[None]:
    """Keep others that reserve the folder out of it meanwhile; it is made where it does not exist.

    Raises UsageError where another is at work in it, and where it cannot be made; `flag` is what named it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; choose another {flag}") from error
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            said = f"{folder}: another perfkit is at work in it; wait for its end, or choose another {flag}"
            raise UsageError(said) from None
        except OSError:  # a file system without locks: nobody can tell
            pass
        yield
    finally:
        os.close(opened)


def new(traces_dir: Path, what: str, now: Callable[[], datetime] = datetime.now) -> Path:
    """Make `<timestamp>_<what>` in --traces-dir; a number is added if that folder exists already."""
    name = f"{now():%Y%m%d-%H%M%S}_{what}"
    for attempt in range(1000):
        folder = traces_dir / (f"{name}_{attempt + 1}" if attempt else name)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise UsageError(f"{traces_dir} is not a folder; choose another --traces-dir") from None
            continue
        except OSError as error:
            raise UsageError(f"{folder}: {error.strerror}; choose another --traces-dir") from error
        return folder
    raise UsageError(f"{traces_dir}: 1000 runs began in this second; try again")
