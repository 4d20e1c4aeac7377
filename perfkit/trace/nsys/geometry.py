"""Launch geometry of the kernels in an Nsight Systems export, read in a second pass when asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from perfkit.schema.progress import Progress
from perfkit.trace.columns import MISSING, DeviceKind, Int32s, Int64s, Trace
from perfkit.trace.detail_columns import LaunchGeometry, changed, small
from perfkit.trace.nsys.reader import KERNELS, TIMES
from perfkit.trace.nsys.tables import opened

_GRID, _BLOCK = ("gridX", "gridY", "gridZ"), ("blockX", "blockY", "blockZ")
_REGISTERS = "registersPerThread"
_STATIC, _DYNAMIC = "staticSharedMemory", "dynamicSharedMemory"
_COLUMNS = dict.fromkeys((*_GRID, *_BLOCK, _REGISTERS, _STATIC, _DYNAMIC), MISSING)


def read_geometry(path: Path, trace: Trace, progress: Progress | None = None) -> LaunchGeometry:
    """Return one row for each of the trace's device events, kernels first. Raises UsageError for another file."""
    with opened(path, trace.source, progress) as export:
        kernels = export.events(KERNELS, TIMES | _COLUMNS)[1]
    rows = len(trace.device)
    if not np.array_equal(kernels["start"], trace.device.start[trace.device.kind == DeviceKind.KERNEL]):
        raise changed(trace.source)
    static, dynamic = kernels[_STATIC], kernels[_DYNAMIC]
    return LaunchGeometry(
        grid=_rows(np.stack([kernels[size] for size in _GRID], axis=1), rows),
        block=_rows(np.stack([kernels[size] for size in _BLOCK], axis=1), rows),
        registers=_rows(kernels[_REGISTERS], rows),
        shared_memory=_rows(np.where((static >= 0) & (dynamic >= 0), static + dynamic, MISSING), rows),
        static_shared_memory=_rows(static, rows),
        dynamic_shared_memory=_rows(dynamic, rows),
        occupancy=np.full(rows, MISSING, np.int32),
    )


def _rows(values: Int64s, rows: int) -> Int32s:
    """Return the kernels' values, followed by MISSING for the other events."""
    behind: list[Any] = [(0, rows - len(values)), *[(0, 0)] * (values.ndim - 1)]
    return np.pad(small(values), behind, constant_values=MISSING)
