"""Counters of the interpreter and the kernel, read from files that stand in for the kernel's."""

from __future__ import annotations

import itertools
import mmap
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from perfkit.measure import counters
from perfkit.measure.counters import GcTimer, KernelFiles, Threads


def test_a_collection_is_timed_from_its_start_to_its_end(monkeypatch):
    # GIVEN a clock by hand
    now = iter([100, 350, 1000, 1007])
    monkeypatch.setattr(counters, "time", SimpleNamespace(thread_time_ns=lambda: next(now)))
    timer = GcTimer()

    # WHEN it is installed inside of a collection, of which it sees the end only, and two follow
    timer("stop", {})
    assert (timer.ns, timer.count) == (0, 0)
    for phase in ("start", "stop", "start", "stop"):
        timer(phase, {})

    # THEN
    assert (timer.ns, timer.count) == (250 + 7, 2)


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of /proc/self/task; the main thread is number 10."""
    monkeypatch.setattr(counters, "_TASKS", str(tmp_path))
    monkeypatch.setattr(counters.threading, "get_native_id", lambda: 10)
    return tmp_path


def thread(tasks: Path, number: int, used: int, waited: int) -> Path:
    (tasks / str(number)).mkdir(exist_ok=True)
    file = tasks / str(number) / "schedstat"
    file.write_text(f"{used} {waited} 3\n")
    return file


def test_each_threads_wait_is_read_and_the_main_one_is_zero(tasks):
    # GIVEN
    thread(tasks, 10, used=5, waited=70)
    moving = thread(tasks, 11, used=9, waited=80)
    (tasks / "12").mkdir()  # the kernel keeps no counters of it

    # WHEN
    threads = Threads()
    assert threads.delays() == {}
    threads.refresh()

    # THEN they are read anew each time, and a thread that came is seen after the next look
    assert threads.delays() == {0: 70, 11: 80}
    moving.write_text("9 95 3\n")
    thread(tasks, 13, used=1, waited=2)
    assert threads.delays() == {0: 70, 11: 95}
    threads.refresh()
    assert threads.delays() == {0: 70, 11: 95, 13: 2}
    threads.close()
    assert threads.delays() == {}


def test_of_many_threads_the_busiest_are_read_and_the_main_one_always(tasks, monkeypatch):
    # GIVEN
    monkeypatch.setattr(counters, "_MAX_THREADS", 3)
    thread(tasks, 10, used=0, waited=1)
    for number, used in ((11, 5), (12, 500), (13, 50), (14, 5000)):
        thread(tasks, number, used=used, waited=number)
    before = len(list(Path("/proc/self/fd").iterdir()))

    # WHEN
    threads = Threads()
    threads.refresh()
    threads.refresh()

    # THEN no other file stays open
    assert threads.delays() == {0: 1, 14: 14, 12: 12}
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 3
    threads.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_thread_that_has_ended_is_left_out(tasks, monkeypatch):
    # GIVEN a kernel that says "no such process" of thread 11
    thread(tasks, 10, used=5, waited=70)
    thread(tasks, 11, used=9, waited=80)
    threads = Threads()
    threads.refresh()
    read = os.pread

    def gone(file: int, size: int, at: int) -> bytes:
        if file == threads._files[11]:
            raise ProcessLookupError
        return read(file, size, at)

    # THEN it has used nothing, and waited for nothing that is known
    monkeypatch.setattr(counters.os, "pread", gone)
    assert threads.delays() == {0: 70}
    assert Threads._used(threads._files[11]) == 0
    assert Threads._used(threads._files[10]) == 5
    threads.close()


class Kernel:
    """Files that stand in for those of the kernel; those that are not there are None."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **texts: str) -> None:
        paths = {"/proc/stat": "stat", "/proc/pressure/cpu": "pressure"}
        for name, text in texts.items():
            (folder / name).write_text(text)
        own = counters._open
        monkeypatch.setattr(counters, "_open", lambda path: own(folder / paths.get(str(path), str(path))))
        monkeypatch.setattr(counters, "_cheap", lambda file: file)
        monkeypatch.setattr(counters.cgroups, "cpu_quotas", lambda: [Path(n) for n in texts if n.startswith("quota")])
        monkeypatch.setattr(counters.os, "sysconf", {"SC_CLK_TCK": 100}.__getitem__)


STAT = "cpu  1 2 3 4 5 6 7 250 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n"
PRESSURE = "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"


def test_the_kernels_counters_are_in_seconds(tmp_path, monkeypatch):
    # GIVEN 250 ticks of 10 ms, 1.5 s under pressure, and two groups that were throttled for 1 s and 2 s
    texts = {"quota1": "throttled_usec 1000000\n", "quota2": "throttled_time 2000000000\n"}
    Kernel(tmp_path, monkeypatch, stat=STAT, pressure=PRESSURE, **texts)

    # WHEN
    files = KernelFiles()
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
def test_what_there_is_no_file_of_is_left_out(tmp_path, monkeypatch, there, found):
    Kernel(tmp_path, monkeypatch, **there)
    files = KernelFiles()
    assert set(files.read()) == found
    files.close()


def test_a_file_that_is_there_and_refuses_to_be_read_is_none(tmp_path, monkeypatch):
    # GIVEN
    (tmp_path / "pressure").write_text(PRESSURE)
    before = len(list(Path("/proc/self/fd").iterdir()))

    def refuse(*_: object) -> bytes:
        raise OSError(95, "Operation not supported")  # a kernel booted with psi=0

    monkeypatch.setattr(counters.os, "pread", refuse)

    # THEN
    assert counters._open(tmp_path / "pressure") is None
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("reads_us", "kept"),
    [((50, 50, 50, 50, 50), True), ((51, 51, 51, 51, 51), False), ((10, 10, 10, 900, 900), True),
     ((10, 10, 900, 900, 900), False)],
)  # fmt: skip
def test_the_typical_of_five_reads_decides_whether_a_file_is_cheap(tmp_path, monkeypatch, reads_us, kept):
    # GIVEN a clock by hand, in units that a float holds exactly
    unit = 2.0**-20
    stamps = iter(itertools.accumulate((us * unit for us in reads_us), initial=0.0))
    monkeypatch.setattr(counters, "_DEAREST_READ_S", 50 * unit)
    monkeypatch.setattr(counters, "time", SimpleNamespace(perf_counter=lambda: next(stamps)))
    (tmp_path / "stat").write_text(STAT)
    file = os.open(tmp_path / "stat", os.O_RDONLY)

    # THEN a file that is not kept is closed
    assert counters._cheap(file) == (file if kept else None)
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
def test_a_fault_costs_what_fresh_pages_take_longer_than_used_ones(monkeypatch, stamps, faults, cost):
    # GIVEN a clock and a count of faults by hand
    now, counted = iter(stamps), iter([7, 7 + faults])
    monkeypatch.setattr(counters, "time", SimpleNamespace(thread_time_ns=lambda: next(now)))
    monkeypatch.setattr(
        counters,
        "resource",
        SimpleNamespace(getrusage=lambda _: SimpleNamespace(ru_minflt=next(counted)), RUSAGE_THREAD=1),
    )

    # THEN
    assert counters.seconds_per_fault(pages=8) == (None if cost is None else pytest.approx(cost))


def test_each_page_is_touched_once_a_pass(monkeypatch):
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

    monkeypatch.setattr(counters.mmap, "mmap", lambda _, size, **__: Memory())

    # WHEN
    counters.seconds_per_fault(pages=3)

    # THEN
    assert touched == [0, mmap.PAGESIZE, 2 * mmap.PAGESIZE] * 2
