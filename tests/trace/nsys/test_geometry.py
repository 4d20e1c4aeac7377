"""How the kernels of an export were launched: beside what sqlite itself says of the same file."""

from __future__ import annotations

import dataclasses
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfkit.errors import UsageError
from perfkit.trace.columns import MISSING, Content, DeviceKind
from perfkit.trace.details import read_details
from perfkit.trace.load import load
from tests.corpus import corpus_file
from tests.nsys_export import NsysExport

KERNELS = "CUPTI_ACTIVITY_KIND_KERNEL"
COLUMNS = ("gridX", "gridY", "gridZ", "blockX", "blockY", "blockZ", "registersPerThread", "staticSharedMemory",
           "dynamicSharedMemory")  # fmt: skip
LAUNCH: dict[str, Any] = dict(zip(COLUMNS, (5, 4, 3, 128, 2, 1, 40, 1024, 256), strict=True))


def export(path: Path, *launches: dict[str, Any]) -> Path:
    """An export of kernels that were launched so, 10 ns apart, and of a copy."""
    made = NsysExport().range("r", 0, 100)
    for index, launch in enumerate(launches):
        made.kernel("k", 10 * index, 10 * index + 5, index + 1, **launch)
    return made.add("CUPTI_ACTIVITY_KIND_MEMCPY", start=50, end=60, bytes=4).write(path)


def test_a_launch(tmp_path: Path) -> None:
    """GIVEN a kernel and a copy WHEN asked THEN the kernel's launch, and nothing of the copy"""
    details = read_details(load(export(tmp_path / "x.sqlite", LAUNCH)))
    geometry = details.geometry
    assert geometry.grid.tolist() == [[5, 4, 3], [MISSING] * 3]
    assert geometry.block.tolist() == [[128, 2, 1], [MISSING] * 3]
    assert geometry.registers.tolist() == [40, MISSING]
    assert geometry.static_shared_memory.tolist() == [1024, MISSING]
    assert geometry.dynamic_shared_memory.tolist() == [256, MISSING]
    assert geometry.shared_memory.tolist() == [1280, MISSING]
    assert geometry.occupancy.tolist() == [MISSING, MISSING]
    assert (len(geometry), geometry.grid.dtype, geometry.occupancy.dtype) == (2, np.int32, np.int32)
    assert details.operands.shapes.tolist() == [MISSING]
    assert (len(details.counters), len(details.memory)) == (0, 0)


@pytest.mark.parametrize("value", [None, "many", -1, 1 << 31, 1.5])
def test_a_size_that_is_none(tmp_path: Path, value: Any) -> None:
    launch = LAUNCH | {"gridY": value, "staticSharedMemory": value}
    geometry = read_details(load(export(tmp_path / "x.sqlite", launch))).geometry
    assert geometry.grid[0].tolist() == [5, MISSING, 3]
    assert (geometry.static_shared_memory[0], geometry.dynamic_shared_memory[0]) == (MISSING, 256)
    assert geometry.shared_memory[0] == MISSING


def test_an_export_without_the_columns(tmp_path: Path) -> None:
    trace = load(NsysExport().kernel("k", 0, 9, 1).write(tmp_path / "x.sqlite"))
    assert read_details(trace).geometry.grid.tolist() == [[MISSING] * 3]


def test_kernels_without_a_time_have_no_row(tmp_path: Path) -> None:
    """GIVEN two kernels, the first without an end WHEN asked THEN the second one's launch has the one row"""
    made = NsysExport().kernel("k", 0, "never", 1, gridX=5).kernel("k", 10, 15, 2, gridX=77)  # type: ignore[arg-type]
    path = made.add("CUPTI_ACTIVITY_KIND_MEMCPY", start=50, end=60).write(tmp_path / "x.sqlite")
    trace = load(path)
    assert trace.device.kind.tolist() == [DeviceKind.KERNEL, DeviceKind.MEMCPY]
    assert read_details(trace).geometry.grid[:, 0].tolist() == [77, MISSING]


def test_kernels_alone(tmp_path: Path) -> None:
    trace = load(export(tmp_path / "x.sqlite", LAUNCH), content=Content.KERNELS)
    assert read_details(trace).geometry.registers.tolist() == [40]


def test_other_kernels_are_of_another_file(tmp_path: Path) -> None:
    """GIVEN a trace and a file with a kernel more, of which its size and time do not tell WHEN asked THEN refused"""
    trace = load(export(tmp_path / "a.sqlite", LAUNCH))
    origin = load(export(tmp_path / "b.sqlite", LAUNCH, LAUNCH)).origin
    with pytest.raises(UsageError, match=r"a\.sqlite has changed since it was read"):
        read_details(dataclasses.replace(trace, origin=origin))


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["h100_2gpu_1s", "rtx3080_tiny", "rtx3090_2023_schema"])
def test_every_row_is_what_sql_says(name: str) -> None:
    """GIVEN a real export WHEN asked THEN each kernel's launch is what a plain query gives, in the table's order"""
    path = corpus_file(f"nsys/{name}.sqlite")
    trace = load(path)
    geometry = read_details(trace).geometry
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as database:
        rows = database.execute(f"SELECT {', '.join(COLUMNS)} FROM {KERNELS} ORDER BY rowid").fetchall()
    expected = np.array(rows)
    count = len(rows)
    assert np.array_equal(geometry.grid[:count], expected[:, :3])
    assert np.array_equal(geometry.block[:count], expected[:, 3:6])
    assert np.array_equal(geometry.registers[:count], expected[:, 6])
    assert np.array_equal(geometry.static_shared_memory[:count], expected[:, 7])
    assert np.array_equal(geometry.dynamic_shared_memory[:count], expected[:, 8])
    assert np.array_equal(geometry.shared_memory[:count], expected[:, 7] + expected[:, 8])
    assert len(geometry) == len(trace.device)
    assert (geometry.grid[count:] == MISSING).all()
