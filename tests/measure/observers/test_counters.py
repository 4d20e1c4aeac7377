"""Counters of the interpreter and the kernel, read from files that stand in for the kernel's."""

from __future__ import annotations

import itertools
import math
import mmap
import os
import threading
import time
from pathlib import Path

import pytest

from perfkit.measure.observers import counters
from perfkit.measure.observers.counters import GcTimer, KernelFiles, Threads


def test_a_collection_is_timed_from_its_start_to_its_end():
    # GIVEN a clock by hand
    now = iter([100, 350, 1000, 1007])
    timer = GcTimer(lambda: next(now))

    # WHEN it is installed inside of a collection, of which it sees the end only, and two follow
    timer("stop", {})
    assert (timer.ns, timer.count) == (0, 0)
    for phase in ("start", "stop", "start", "stop"):
        timer(phase, {})

    # THEN
    assert (timer.ns, timer.count) == (250 + 7, 2)


MAIN = 10
"""Number of the main thread."""


def thread(tasks: Path, number: int, used: int, waited: int) -> Path:
    (tasks / str(number)).mkdir(exist_ok=True)
    file = tasks / str(number) / "schedstat"
    file.write_text(f"{used} {waited} 3\n")
    return file


def test_each_threads_wait_is_read_and_the_main_one_is_zero(tmp_path):
    # GIVEN
    thread(tmp_path, 10, used=5, waited=70)
    moving = thread(tmp_path, 11, used=9, waited=80)
    (tmp_path / "12").mkdir()  # the kernel keeps no counters of it

    # WHEN
    threads = Threads(tmp_path, MAIN)
    assert threads.delays() == {}
    threads.refresh()

    # THEN they are read anew each time, and a thread that came is seen after the next look
    assert threads.delays() == {0: 70, 11: 80}
    moving.write_text("9 95 3\n")
    thread(tmp_path, 13, used=1, waited=2)
    assert threads.delays() == {0: 70, 11: 95}
    threads.refresh()
    assert threads.delays() == {0: 70, 11: 95, 13: 2}
    threads.close()
    assert threads.delays() == {}


def test_of_many_threads_the_busiest_are_read_and_the_main_one_always(tmp_path):
    # GIVEN
    thread(tmp_path, 10, used=0, waited=1)
    for number, used in ((11, 5), (12, 500), (13, 50), (14, 5000)):
        thread(tmp_path, number, used=used, waited=number)
    before = len(list(Path("/proc/self/fd").iterdir()))

    # WHEN
    threads = Threads(tmp_path, MAIN, most=3)
    threads.refresh()
    threads.refresh()

    # THEN no other file stays open
    assert threads.delays() == {0: 1, 14: 14, 12: 12}
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 3
    threads.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_thread_that_has_ended_is_left_out():
    """GIVEN a real thread whose file is open WHEN the kernel has forgotten it THEN nothing more is known of it"""
    # GIVEN
    leave = threading.Event()
    other = threading.Thread(target=leave.wait)
    other.start()
    number = other.native_id
    threads = Threads()
    threads.refresh()
    assert number in threads.delays()

    # WHEN
    leave.set()
    other.join()
    while Path(f"/proc/self/task/{number}").exists():
        time.sleep(0.001)

    # THEN
    assert number not in threads.delays()
    assert Threads._used(threads._files[number]) == 0
    assert Threads._used(threads._files[threading.get_native_id()]) > 0
    threads.close()


def kernel(folder: Path, **texts: str) -> KernelFiles:
    """Reads files that stand in for those of the kernel; those that are not there are None."""
    places = {"stat": folder / "stat", "pressure": folder / "pressure" / "cpu"}
    (folder / "pressure").mkdir()
    for name, text in texts.items():
        places.get(name, folder / name).write_text(text)
    quotas = [folder / name for name in texts if name.startswith("quota")]
    return KernelFiles(folder, quotas, ticks_per_s=100, dearest_s=math.inf)


STAT = "cpu  1 2 3 4 5 6 7 250 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n"
PRESSURE = "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"


def test_the_kernels_counters_are_in_seconds(tmp_path):
    # GIVEN 250 ticks of 10 ms, 1.5 s under pressure, and two groups that were throttled for 1 s and 2 s
    texts = {"quota1": "throttled_usec 1000000\n", "quota2": "throttled_time 2000000000\n"}
    files = kernel(tmp_path, stat=STAT, pressure=PRESSURE, **texts)

    # WHEN
    found = files.read()
    files.close()

    # THEN
    assert found == {"steal_s": 2.5, "pressure_s": 1.5, "throttled_s": pytest.approx(3.0)}
    with pytest.raises(OSError, match="Bad file descriptor"):
        files.read()


@pytest.mark.parametrize(
    ("there", "found"),
    [({}, set()), ({"stat": STAT}, {"steal_s"}), ({"pressure": PRESSURE}, {"pressure_s"}),
     ({"quota1": "throttled_usec 5\n"}, {"throttled_s"})],
)  # fmt: skip
def test_what_there_is_no_file_of_is_left_out(tmp_path, there, found):
    files = kernel(tmp_path, **there)
    assert set(files.read()) == found
    files.close()


def test_a_file_that_is_there_and_refuses_to_be_read_is_none():
    """GIVEN one that opens and cannot be read at 0, as of a kernel booted with psi=0 THEN it is closed again"""
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert counters._open(Path("/proc/self/mem")) is None
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("reads_us", "kept"),
    [((50, 50, 50, 50, 50), True), ((51, 51, 51, 51, 51), False), ((10, 10, 10, 900, 900), True),
     ((10, 10, 900, 900, 900), False)],
)  # fmt: skip
def test_the_typical_of_five_reads_decides_whether_a_file_is_cheap(tmp_path, reads_us, kept):
    # GIVEN a clock by hand, in units that a float holds exactly
    unit = 2.0**-20
    stamps = iter(itertools.accumulate((us * unit for us in reads_us), initial=0.0))
    (tmp_path / "stat").write_text(STAT)
    file = os.open(tmp_path / "stat", os.O_RDONLY)

    # THEN a file that is not kept is closed
    assert counters._cheap(file, 50 * unit, lambda: next(stamps)) == (file if kept else None)
    assert Path(f"/proc/self/fd/{file}").exists() is kept
    if kept:
        os.close(file)


@pytest.mark.parametrize(
    ("stamps", "faults", "cost"),
    [
        ((0, 5_000, 6_000), 8, 500e-9),  # (5 - 1) us over 8 faults
        ((0, 5_000, 6_000), 4, 1000e-9),  # half of the pages are enough,
        ((0, 5_000, 6_000), 3, None),  # fewer were there before
        ((0, 5_000, 10_000), 8, None),  # the second pass was disturbed for as long as the first
        ((0, 5_000, 11_000), 8, None),
    ],
)
def test_a_fault_costs_what_fresh_pages_take_longer_than_used_ones(stamps, faults, cost):
    # GIVEN a clock and a count of faults by hand
    now, counted = iter(stamps), iter([7, 7 + faults])
    found = counters.seconds_per_fault(8, lambda: next(now), lambda: next(counted))

    # THEN
    assert found == (None if cost is None else pytest.approx(cost))


def test_each_page_is_touched_once_a_pass():
    # GIVEN
    touched: list[int] = []

    class Memory:
        def __enter__(self) -> Memory:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def madvise(self, advice: int) -> None:
            assert advice == mmap.MADV_NOHUGEPAGE

        def __setitem__(self, at: int, value: int) -> None:
            touched.append(at)

    # WHEN
    counters.seconds_per_fault(pages=3, allocate=lambda _, size, **__: Memory())

    # THEN
    assert touched == [0, mmap.PAGESIZE, 2 * mmap.PAGESIZE] * 2
