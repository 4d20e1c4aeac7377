"""Devices and their free memory, from a process that may load PyTorch and ends before any measurement begins."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

import msgspec

Place = tuple[str, int | None]
"""A device (cpu, cuda, cuda:N) and its free bytes, or None if they are not known."""

_PATIENCE_S = 120


def find(names: Iterable[str], python: str = sys.executable, patience_s: float = _PATIENCE_S) -> dict[str, Place]:
    """The place of each device name of a configuration; names that could not be resolved are left out.

    `python` is the interpreter that runs the query, within a time limit in seconds.
    """
    command = [python, "-m", "perfkit.measure.probe", *sorted(set(names))]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=patience_s, check=True)
        return msgspec.json.decode(done.stdout, type=dict[str, Place])
    except (subprocess.SubprocessError, OSError, msgspec.DecodeError):
        return {}  # the forecast is optional; the run itself will report the error
