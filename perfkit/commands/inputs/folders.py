"""Folders that runs are to lie in: exactly the one that was asked for, or a new one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from perfkit.errors import UsageError


def given(folder: Path) -> Path:
    """--folder, made where there is none. Raises UsageError where it is not empty or cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; choose another --folder") from error
    if occupied:
        raise UsageError(f"{folder}: not empty; choose another --folder")
    return folder


def new(traces_dir: Path, what: str, now: Callable[[], datetime] = datetime.now) -> Path:
    """`<timestamp>_<what>` in --traces-dir, with a number after it where two begin in one second."""
    name = f"{now():%Y%m%d-%H%M%S}_{what}"
    for attempt in range(1000):
        folder = traces_dir / (f"{name}_{attempt + 1}" if attempt else name)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise UsageError(f"{traces_dir}: not a folder; choose another --traces-dir") from None
            continue
        except OSError as error:
            raise UsageError(f"{folder}: {error.strerror}; choose another --traces-dir") from error
        return folder
    raise UsageError(f"{traces_dir}: too many runs of one second")
