"""Peaks that `perfkit doctor --measure-peaks` measured, as Hardware. Needs no PyTorch."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from perfkit.analysis.costs.hardware.model import Bandwidth, Hardware, Peak
from perfkit.errors import UsageError
from perfkit.schema import ceilings, units
from perfkit.schema.ceilings import Ceilings, Timing

_SAME_MEMORY = 0.02
"""Two readings of a device's memory may differ by so much of it: drivers reserve more or less."""


def folder() -> Path:
    """Where peaks are saved: PERFKIT_CACHE_DIR, or the user's cache directory. The files may be deleted at any time."""
    base = os.environ.get("PERFKIT_CACHE_DIR") or platformdirs.user_cache_dir("perfkit", appauthor=False)
    return Path(base) / "peaks"


def default_path(device_name: str, threads: int | None = None) -> Path:
    """Where the peaks of a device are saved, unless another file is asked for; `threads` of a CPU."""
    return folder() / ceilings.file_name(device_name, threads)


def measured_peaks(
    name: str,
    memory: int | None = None,
    multiprocessors: int | None = None,
    threads: int | None = None,
    path: Path | None = None,
) -> Hardware | None:
    """The peaks measured on a device of this name, or None where there are none.

    `memory` (bytes) and `multiprocessors` must agree where both sides say them, and `threads`, PyTorch's threads on a
    CPU, must be the same. `path` names the file; where it is given, a file that cannot be read raises UsageError, and
    otherwise counts as none.
    """
    try:
        measured = ceilings.load(default_path(name, threads) if path is None else path)
    except UsageError:
        if path is not None:
            raise
        return None
    same = measured.device_name == name and measured.threads == threads
    if not same or not _agrees(measured, memory, multiprocessors):
        return None
    return hardware(measured)


def hardware(measured: Ceilings) -> Hardware:
    """Measured ceilings as the type that datasheets have, too."""
    peaks = {
        precision: Peak(
            timing.per_second, _source(measured, f"matrix products of {timing.size:,} x {timing.size:,}", timing)
        )
        for precision, timing in measured.matmul.items()
    }
    copy = measured.copy
    bandwidth = Bandwidth(copy.per_second, _source(measured, f"copies of {units.size(copy.size)}", copy))
    return Hardware(measured.device_name, peaks, bandwidth, multiprocessors=measured.multiprocessors)


def _source(measured: Ceilings, what: str, timing: Timing) -> str:
    return (
        f"perfkit doctor --measure-peaks on {measured.hostname}, {measured.created}: median of "
        f"{len(timing.samples_s)} {what}, CV {units.percent(timing.cv)}"
    )


def _agrees(measured: Ceilings, memory: int | None, multiprocessors: int | None) -> bool:
    if None not in (multiprocessors, measured.multiprocessors) and multiprocessors != measured.multiprocessors:
        return False
    if memory is None or measured.device_memory is None:
        return True
    return abs(memory - measured.device_memory) <= _SAME_MEMORY * measured.device_memory
