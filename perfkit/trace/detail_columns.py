"""Columns of what a trace's file says of its rows beyond their times; read only on request (`trace.details`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from perfkit.errors import UsageError
from perfkit.trace.columns import MISSING, Int32s, Int64s

Float64s: TypeAlias = npt.NDArray[np.float64]

Sizes: TypeAlias = tuple[int, ...]
"""Of one tensor: one number per dimension; empty for scalars, and for arguments that are not tensors."""
Operand: TypeAlias = Sizes | tuple[Sizes, ...]
"""The entry of one argument; for a list of tensors, the entries of all its tensors."""


class Operands(msgspec.Struct, frozen=True):
    """The arguments of operators: one row for each row of Trace.host.

    Calls repeat, so each column has, for each row, an index into the distinct values; MISSING where the file has no
    value (record_shapes was off, the range is not an operator), or none that can be read.
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
    """The shape of each argument."""
    all_dtypes: tuple[tuple[str, ...], ...]
    """The type of each argument as in the file: float, c10::BFloat16, Scalar; empty where it has none."""
    all_strides: tuple[tuple[Operand, ...], ...]
    """The strides of each argument, in elements."""
    all_values: tuple[tuple[str, ...], ...]
    """The value of each argument as text, where it is a number or a list of numbers; otherwise empty."""

    def __len__(self) -> int:
        return len(self.shapes)


class Calls(msgspec.Struct, frozen=True):
    """What calls into the driver say of their work: one row for each row of Trace.host."""

    kernel: Int32s
    """Index into all_kernels; MISSING where the file does not say (only AMD's profilers do), and on other ranges."""
    all_kernels: tuple[str, ...]
    """The names of the kernels that are launched."""

    def __len__(self) -> int:
        return len(self.kernel)


class LaunchGeometry(msgspec.Struct, frozen=True):
    """Launch parameters of kernels: one row for each row of Trace.device. MISSING where the file has no value."""

    grid: Int32s
    """Blocks in x, y, z: [rows, 3]. For AMD devices, the values as their files have them."""
    block: Int32s
    """Threads of a block in x, y, z: [rows, 3]."""
    registers: Int32s
    """Registers per thread."""
    shared_memory: Int32s
    """Bytes per block, static and dynamic together."""
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
    """Counter values over time (ph C), one row for each value, in the order of the file."""

    name: Int32s
    """The counter: index into names."""
    series: Int32s
    """The series within the counter: index into names."""
    time: Int64s
    """ns."""
    value: Float64s
    """In the unit that the writer used."""
    process: Int64s
    """The file's process id, which is often a device number."""
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
    """Bytes; negative for frees."""
    address: Int64s
    """MISSING in files before 2022."""
    allocated: Int64s
    """Bytes in use on the device after the event; MISSING where the file does not say."""
    reserved: Int64s
    """Bytes that the allocator holds after the event; MISSING where the file does not say."""

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True, slots=True)
class Details:
    """All details that are read on request."""

    operands: Operands
    calls: Calls
    geometry: LaunchGeometry
    counters: Counters
    memory: MemoryEvents


def no_operands(rows: int) -> Operands:
    """The details of a file that has none."""
    nothing = np.full(rows, MISSING, np.int32)
    return Operands(nothing, nothing, nothing, nothing, (), (), (), ())


def no_calls(rows: int) -> Calls:
    """The details of a file that has none."""
    return Calls(np.full(rows, MISSING, np.int32), ())


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
    """The error for a file that is no longer the one that the trace was read from."""
    return UsageError(f"{source} has changed since it was read: analyze it again when no program writes to it")


def small(values: Int64s) -> Int32s:
    """Convert to int32, which holds every size and count of a launch; negative or larger values become MISSING."""
    return np.where((values >= 0) & (values < 1 << 31), values, MISSING).astype(np.int32)
