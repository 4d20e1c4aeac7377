"""Peaks of memory: of this process for real, and of a GPU's allocator on paper."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfkit.measure import memory_limit
from perfkit.measure.loop import StepId
from perfkit.measure.observers.peaks import Peaks
from perfkit.schema.record import MemoryPeaks
from tests.runs import saved

FIRST = StepId("measured", 0)


@pytest.fixture
def process(tmp_path: Path) -> Path:
    """In place of /proc/self: a process whose peak is 7 KiB."""
    (tmp_path / "status").write_text("VmPeak:\t 9 kB\nVmHWM:\t 7 kB\n")
    return tmp_path


class FakeCuda:
    """An allocator on paper, and what it was asked."""

    def __init__(self) -> None:
        self.reset: list[str] = []

    def reset_peak_memory_stats(self, device: str) -> None:
        self.reset.append(device)

    def max_memory_allocated(self, device: str) -> int:
        return 5

    def max_memory_reserved(self, device: str) -> int:
        return 6


def test_the_peaks_of_a_gpu_run_are_those_of_its_allocator(process):
    # GIVEN
    cuda = FakeCuda()
    peaks = Peaks("cuda:1", cuda=cuda, process=process)

    # WHEN
    for step in (StepId("warm-up", 0), FIRST, StepId("measured", 1)):
        peaks.before(step)
    peaks.close()

    # THEN
    assert cuda.reset == ["cuda:1"]
    assert (process / "clear_refs").read_text() == "5"
    assert peaks.add_to(saved()).memory == MemoryPeaks(allocated=5, reserved=6, resident=7 * 1024)


def test_nothing_is_counted_where_no_measured_step_began(process):
    peaks = Peaks("cpu", process=process)
    peaks.before(StepId("warm-up", 0))
    peaks.close()
    assert peaks.add_to(saved()).memory == MemoryPeaks()
    assert not (process / "clear_refs").exists()


def test_a_process_that_cannot_be_reset_has_the_peak_of_its_life(process):
    (process / "clear_refs").mkdir()
    peaks = Peaks("cpu", process=process)
    peaks.before(FIRST)
    peaks.close()
    assert peaks.peaks == MemoryPeaks(resident=7 * 1024)


def test_the_peak_of_a_cpu_run_is_that_of_the_process_since_the_first_measured_step():
    # GIVEN
    if memory_limit.status_bytes("VmHWM") is None:
        pytest.skip("this system does not tell")

    def peak(size: int) -> int:
        peaks = Peaks("cpu")
        peaks.before(FIRST)
        block = bytearray(b"x") * size
        del block
        peaks.close()
        assert (peaks.peaks.allocated, peaks.peaks.reserved) == (None, None)
        assert peaks.peaks.headline is not None
        return peaks.peaks.headline

    # THEN
    small, large, small_again = peak(1), peak(64 * 2**20), peak(1)
    assert large - small > 48 * 2**20
    assert large - small_again > 48 * 2**20
