"""What a trace's file says of its rows beyond their times, as columns: read only when asked for (`trace.details`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from perfkit.errors import UsageError
from perfkit.trace.columns import MISSING, Int32s, Int64s

Float64s: TypeAlias = npt.NDArray[np.float64]

Sizes: TypeAlias = tuple[int, ...]
"""Of one tensor: a number for each dimension; empty for scalars, and for what is no tensor."""
Operand: TypeAlias = Sizes | tuple[Sizes, ...]
"""What is said of one argument: of a list of tensors, of each of them."""


@dataclass(frozen=True, slots=True)
class Operands:
    """What operators were called with: one row for each row of Trace.host.

    Calls repeat, so each column has, for each row, an index into the different things said; MISSING where the file
    says nothing (record_shapes was off, the range is no operator), or nothing that can be read.
    """

    shapes: Int32s
    """Index into all_shapes."""
    dtypes: Int32s
    """Index into all_dtypes."""
    strides: Int32s
    """Index into all_strides."""
    values: Int32s
    """Index into all_values."""
    all_shapes: tuple[tuple[Operand, ...], ...]
    """For each argument its shape."""
    all_dtypes: tuple[tuple[str, ...], ...]
    """For each argument its type, in the file's words: float, c10::BFloat16, Scalar; empty where it has none."""
    all_strides: tuple[tuple[Operand, ...], ...]
    """For each argument its strides, in elements."""
    all_values: tuple[tuple[str, ...], ...]
    """For each argument its value as text, where it is a number or a list of numbers; empty where it is none."""

    def __len__(self) -> int:
        return len(self.shapes)


@dataclass(frozen=True, slots=True)
class LaunchGeometry:
    """How kernels were launched: one row for each row of Trace.device. MISSING where the file says nothing."""

    grid: Int32s
    """Blocks in x, y, z: [rows, 3]. In files of AMD devices, as these write it."""
    block: Int32s
    """Threads of a block in x, y, z: [rows, 3]."""
    registers: Int32s
    """For each thread."""
    shared_memory: Int32s
    """Bytes for each block, static and dynamic together."""
    static_shared_memory: Int32s
    """Bytes; Kineto gives the sum only."""
    dynamic_shared_memory: Int32s
    """Bytes; Kineto gives the sum only."""
    occupancy: Int32s
    """Percent of a multiprocessor's warps that are in use, as Kineto estimates it from the launch; nsys does not."""

    def __len__(self) -> int:
        return len(self.registers)


@dataclass(frozen=True, slots=True)
class Counters:
    """Values over time (ph C), one row for each value, in the order of the file."""

    name: Int32s
    """The counter: index into names."""
    series: Int32s
    """Which of its values: index into names."""
    time: Int64s
    """ns."""
    value: Float64s
    """In whatever unit the writer has."""
    process: Int64s
    """What the file has for a process: often the number of a device."""
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True, slots=True)
class MemoryEvents:
    """Allocations and frees by torch's allocators, one row each, in the order of the file (with profile_memory)."""

    thread: Int32s
    """Index into Trace.threads; MISSING for a thread that has no ranges."""
    time: Int64s
    """ns."""
    device_type: Int32s
    """c10::DeviceType: 0 for the CPU, 1 for CUDA and HIP."""
    device: Int32s
    """MISSING for the CPU."""
    bytes: Int64s
    """Negative where they were freed."""
    address: Int64s
    """MISSING in files before 2022."""
    allocated: Int64s
    """Bytes in use on the device after it; MISSING where the file does not say."""
    reserved: Int64s
    """Bytes that the allocator holds after it; MISSING where the file does not say."""

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True, slots=True)
class Details:
    """All that is read on demand."""

    operands: Operands
    geometry: LaunchGeometry
    counters: Counters
    memory: MemoryEvents


def no_operands(rows: int) -> Operands:
    """Of a file that says nothing of them."""
    nothing = np.full(rows, MISSING, np.int32)
    return Operands(nothing, nothing, nothing, nothing, (), (), (), ())


def no_counters() -> Counters:
    """No rows."""
    codes, numbers = np.empty(0, np.int32), np.empty(0, np.int64)
    return Counters(name=codes, series=codes, time=numbers, value=np.empty(0, np.float64), process=numbers)


def no_memory_events() -> MemoryEvents:
    """No rows."""
    codes, numbers = np.empty(0, np.int32), np.empty(0, np.int64)
    return MemoryEvents(
        thread=codes,
        time=numbers,
        device_type=codes,
        device=codes,
        bytes=numbers,
        address=numbers,
        allocated=numbers,
        reserved=numbers,
    )


def changed(source: str) -> UsageError:
    """For details of a file that is not the one that the trace was read from any more."""
    return UsageError(f"{source} has changed since it was read: analyze it again when no program writes to it")


def small(values: Int64s) -> Int32s:
    """As int32, in which every size and count of a launch fits; MISSING for what is negative or beyond."""
    return np.where((values >= 0) & (values < 1 << 31), values, MISSING).astype(np.int32)
