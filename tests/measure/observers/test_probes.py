"""Counters beside a step: real ones of this process, where they can be made to move, and files that stand in."""

from __future__ import annotations

import contextlib
import gc
import itertools
import mmap
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from perfkit.measure.loop import StepId
from perfkit.measure.observers import counters, probes
from perfkit.measure.observers.counters import Threads
from perfkit.measure.observers.probes import Probes
from perfkit.schema.probes import StepProbes
from tests.runs import sample, saved


@pytest.fixture(autouse=True)
def _no_collections_but_the_tests_own() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


FIRST = StepId("measured", 0)


@pytest.fixture
def installed():
    made = Probes("cpu")
    yield made
    made.close()


def over(installed: Probes, work) -> StepProbes:
    installed.before(FIRST)
    work()
    installed.after(FIRST, sample())
    return installed.steps[-1]


def test_nothing_moves_where_nothing_happens(installed):
    """Other load can move a counter in one such moment of microseconds, and not in each of a hundred."""
    found = [over(installed, lambda: None) for _ in range(100)]
    assert {(one.collections, one.gc_s) for one in found} == {(0, 0.0)}
    assert {(one.alloc_retries, one.device_allocs, one.device_frees) for one in found} == {(None, None, None)}
    assert (min(one.switches for one in found), min(one.major_faults for one in found)) == (0, 0)
    assert 0 <= min(one.main_cpu_s for one in found) < 0.01


def test_sleep_is_a_switch_and_no_cpu_time(installed):
    """A hypervisor may call CPU time what it took away itself: once, and not as long as each of five sleeps."""
    found = [over(installed, lambda: time.sleep(0.02)) for _ in range(5)]
    assert all(one.switches >= 1 for one in found)
    assert min(one.main_cpu_s for one in found) < 0.02


def test_collections_are_counted_and_timed_inside_the_step_only(installed):
    gc.collect()
    found = over(installed, lambda: (gc.collect(), gc.collect()))
    gc.collect()
    assert found.collections == 2
    assert 0 < found.gc_s <= found.main_cpu_s
    assert over(installed, lambda: None).collections == 0


def test_work_is_cpu_time(installed):
    def work() -> None:
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass

    before = time.thread_time()
    found = over(installed, work)
    assert 0.02 <= found.main_cpu_s <= time.thread_time() - before
    assert found.main_delay_s >= 0


def test_fresh_pages_are_faults(installed):
    def touch() -> None:
        with mmap.mmap(-1, 100 * mmap.PAGESIZE) as memory:
            memory.madvise(mmap.MADV_NOHUGEPAGE)
            for page in range(100):
                memory[page * mmap.PAGESIZE] = 1

    assert over(installed, touch).minor_faults >= 100


def test_a_thread_that_starts_or_ends_in_a_step_does_no_harm(installed):
    # GIVEN a thread that is there when the step begins, and gone when it ends
    leave, left = threading.Event(), threading.Event()

    def stay() -> None:
        leave.wait()
        left.set()

    thread = threading.Thread(target=stay)
    thread.start()

    def work() -> None:
        leave.set()
        thread.join()
        threading.Thread(target=left.wait).start()

    # WHEN
    found = over(installed, work)

    # THEN
    assert found.other_delay_s >= 0
    assert over(installed, lambda: None).other_delay_s >= 0


def test_the_thread_that_waited_longest_counts_and_the_main_one_apart():
    # GIVEN
    before = reading(delays={0: 5, 11: 100, 12: 7})
    after = reading(delays={0: 5_000_005, 11: 200, 12: 9_000_007, 13: 10**12})

    # WHEN
    found = probes._difference(before, after, {})

    # THEN a thread that appeared meanwhile has no beginning to subtract
    assert (found.main_delay_s, found.other_delay_s) == (0.005, 0.009)


def reading(delays=None, compiled=None, device=None) -> probes._Reading:
    usage: Any = SimpleNamespace(ru_nvcsw=0, ru_nivcsw=0, ru_minflt=0, ru_majflt=0)
    return probes._Reading(
        cpu=0, at=0, usage=usage, main=usage, delays=delays or {}, gc=(0, 0), compiled=compiled, device=device
    )


def test_where_the_kernel_keeps_no_schedstat_delays_are_unknown_not_zero():
    found = probes._difference(reading(), reading(), {})
    assert (found.main_delay_s, found.other_delay_s, found.steal_s, found.throttled_s) == (None, None, None, None)


def test_compilations_count_from_the_first_one_on():
    dynamo: Any = SimpleNamespace(
        counters={"stats": {"unique_graphs": 3}},
        cumulative_time_spent_ns={
            "entire_frame_compile": 2_000_000_000,
            "entire_backward_compile": 500_000_000,
            "x": 9,
        },
    )
    after = reading(compiled=probes._compiled(dynamo))
    assert probes._compiled(None) is None
    found = probes._difference(reading(), after, {})
    assert (found.compilations, found.compile_s) == (3, 2.5)
    assert probes._difference(after, after, {}).compilations == 0
    dynamo.cumulative_time_spent_ns.clear()  # as it is until the first graph is done
    assert probes._compiled(dynamo) == (3, 0.0)


def test_what_probes_read_of_dynamo_is_there():
    """GIVEN PyTorch as installed WHEN something compiled THEN the two private counters say so"""
    torch = pytest.importorskip("torch")
    import torch._dynamo.utils as dynamo  # noqa: PLC0415 - seconds

    torch._dynamo.reset()
    before = probes._compiled(dynamo)
    torch.compile(lambda x: x + 1, backend="eager")(torch.ones(2))
    after = probes._compiled(dynamo)
    assert after[0] == before[0] + 1
    assert after[1] > before[1]


def test_the_allocator_of_a_gpu_is_read_by_its_counters():
    names = ("num_alloc_retries", "num_device_alloc", "num_device_free")
    before, after = (reading(device=dict.fromkeys(names, count) | {"other": {}}) for count in (3, 5))
    found = probes._difference(before, after, {})
    assert (found.alloc_retries, found.device_allocs, found.device_frees) == (2, 2, 2)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"usage_usec 5\nnr_throttled 2\nthrottled_usec 1500000\n", 1.5),
        (b"nr_periods 9\nnr_throttled 2\nthrottled_time 1500000000\n", 1.5),
        (b"usage_usec 5\n", 0.0),
    ],
)
def test_throttling_of_both_versions_of_control_groups(tmp_path, text, seconds):
    file = tmp_path / "cpu.stat"
    file.write_bytes(text)
    with file.open("rb") as opened:
        assert counters._throttled(opened.fileno()) == seconds


def test_a_file_that_takes_too_long_to_read_is_left_alone(tmp_path):
    file = tmp_path / "stat"
    file.write_text("cpu 1")
    opened = counters._cheap(counters._open(file), 10.0)
    assert opened is not None
    assert counters._cheap(opened, 0.0) is None
    assert counters._cheap(counters._open(tmp_path / "missing"), 10.0) is None


def test_there_are_probes_on_linux_only():
    assert [probes.supported(system) for system in ("linux", "linux2", "darwin", "win32")] == [True, True, False, False]


def test_nothing_is_left_open_or_installed():
    before, callbacks = kernel_files(), list(gc.callbacks)
    made = Probes("cpu")
    over(made, lambda: None)
    assert kernel_files() - before
    assert len(gc.callbacks) == len(callbacks) + 1
    made.close()
    assert not kernel_files() - before
    assert gc.callbacks == callbacks


def kernel_files() -> Counter[str]:
    """What is open of /proc and /sys; other files are other people's, in threads that other tests have left."""
    links = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself, and what such a thread has closed
            links.append(os.readlink(path))  # noqa: PTH115
    return Counter(link for link in links if link.startswith(("/proc/", "/sys/")))


def test_each_step_of_the_record_gets_its_counters(installed):
    # GIVEN two warm-up steps and one measured one of which the probes know, and one that was cut short
    for _ in range(3):
        over(installed, lambda: None)

    # WHEN
    made = installed.add_to(saved(warmup=(sample(1.0), sample(2.0)), steps=(sample(3.0), sample(4.0))))

    # THEN
    assert [step.probes for step in (*made.warmup, *made.steps)] == [*installed.steps, None]
    assert [step.wall_s for step in (*made.warmup, *made.steps)] == [1.0, 2.0, 3.0, 4.0]
    assert made.probing == installed.cost()


def test_cost_is_that_of_the_typical_step():
    # GIVEN a clock that is 1 us further whenever it is read, and once a second further between two readings
    ticks = itertools.chain(range(0, 14_000, 1000), itertools.count(1_000_000_000, 1000))
    installed = Probes("cpu", now=lambda: next(ticks))
    assert installed.cost() is None

    # WHEN
    for _ in range(5):
        over(installed, lambda: None)
    installed.close()

    # THEN from the first reading to the last one, before the step and after it
    assert installed.cost().seconds_per_step == pytest.approx(2e-6)


def test_the_cost_of_a_fault_is_no_more_than_was_spent():
    # WHEN
    before = time.thread_time()
    cost = counters.seconds_per_fault(pages=512)
    spent = time.thread_time() - before

    # THEN it is unknown where the second pass over the pages was disturbed for as long as the first
    assert cost is None or 0 < cost * 256 <= spent


def test_threads_are_looked_for_in_the_first_16_steps_and_in_every_16th_after_them():
    looked: list[int] = []

    class Noting(Threads):
        def refresh(self) -> None:
            looked.append(len(probing.steps))

    probing = Probes("cpu", threads=Noting())
    for _ in range(40):
        over(probing, lambda: None)
    probing.close()
    assert looked == [*range(17), 32]


def test_a_step_used_what_its_counters_moved_by():
    # GIVEN
    def read(n: int) -> probes._Reading:
        usage: Any = SimpleNamespace(ru_nvcsw=0, ru_nivcsw=3 * n, ru_minflt=5 * n, ru_majflt=7 * n)
        main: Any = SimpleNamespace(ru_nvcsw=11 * n, ru_nivcsw=0, ru_minflt=0, ru_majflt=0)
        return probes._Reading(
            cpu=13 * n, at=17 * n, usage=usage, main=main, delays={}, gc=(19 * n, 23 * n), compiled=None, device=None
        )

    # WHEN all of them have moved from 10^9 times to 3 x 10^9 times
    found = probes._difference(read(10**9), read(3 * 10**9), {"steal_s": 0.1234567891})

    # THEN
    assert (found.main_cpu_s, found.began_s, found.gc_s, found.steal_s) == (26.0, 17.0, 38.0, 0.123456789)
    counts = found.preemptions, found.minor_faults, found.major_faults, found.switches, found.collections
    assert counts == tuple(2 * 10**9 * k for k in (3, 5, 7, 11, 23))
