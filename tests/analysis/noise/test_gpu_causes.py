"""What NVML's samples explain, by replayed counters: no GPU has run this yet."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from perfkit.analysis.noise import gpu_causes
from perfkit.analysis.noise.causes import Cause, CauseTimes
from perfkit.schema.finding import Rule
from perfkit.schema.probes import GpuSample
from perfkit.schema.record import MemoryPeaks, RunRecord, StepSample
from tests.analysis.noisy import explained, longer, quiet_steps, record
from tests.runs import ENVIRONMENT

GIB = 2**30
SLOW_FROM, SLOW_TO = 20, 39
"""Steps 21 to 40 of 60 take 30% longer: three seconds."""


def on_gpu(steps, samples=(), **changes) -> RunRecord:
    """A record of a GPU run: the host has enqueued everything long before a step ends, and spins until then."""
    steps = [dataclasses.replace(step, enqueue_s=0.03, device_s=step.wall_s) for step in steps]
    plain = record(steps, gpu=tuple(samples), **changes)
    return dataclasses.replace(
        plain,
        config=plain.config.resolved("cuda"),
        environment=dataclasses.replace(ENVIRONMENT, device="cuda", device_memory=80 * GIB, num_threads=8),
    )


def slow_stretch(**counters) -> list[StepSample]:
    steps = quiet_steps(60)
    for index in range(SLOW_FROM, SLOW_TO + 1):
        steps[index] = longer(steps[index], 0.03, main_cpu_s=0.03, **counters)
    return timed(steps)


def timed(steps) -> list[StepSample]:
    """Steps that begin when the one before has ended."""
    at, found = 1000.0, []
    for step in steps:
        found.append(longer(step, 0.0, began_s=at - step.probes.began_s))
        at += step.wall_s + 0.001
    return found


def samples(steps, *, clock=lambda slow: 1980, reasons=lambda slow: 0, others=lambda slow: 0) -> list[GpuSample]:
    """Ten samples a second; `slow` says whether the slow stretch runs."""
    first, last = steps[SLOW_FROM].probes.began_s, steps[SLOW_TO + 1].probes.began_s
    end = steps[-1].probes.began_s + 1
    return [
        GpuSample(at_s=at, sm_mhz=clock(first <= at < last), reasons=reasons(first <= at < last),
                  other_processes=others(first <= at < last))
        for at in (1000 + 0.1 * i for i in range(int((end - 1000) * 10)))
    ]  # fmt: skip


def lower(slow: bool) -> int:
    return 1500 if slow else 1980


@pytest.mark.parametrize(
    ("reason", "cause"),
    [(0, Cause.CLOCK), (0x1, Cause.CLOCK), (0x4, Cause.POWER), (0x80, Cause.POWER), (0x20, Cause.THERMAL),
     (0x40, Cause.THERMAL), (0x8, Cause.THERMAL)],
)  # fmt: skip
def test_a_lower_clock_explains_a_level_and_its_reason_says_whose_it_is(reason, cause):
    steps = slow_stretch()
    found = explained(on_gpu(steps, samples(steps, clock=lower, reasons=lambda slow: reason if slow else 0)))
    assert found.first_cause == cause.value
    [level] = found.disturbances
    assert (level.kind, level.cause) == ("level", cause)
    assert abs(level.first - SLOW_FROM) <= 1
    assert abs(level.last - SLOW_TO) <= 1


def test_a_reason_without_a_lower_clock_is_no_cause():
    steps = slow_stretch()
    found = explained(on_gpu(steps, samples(steps, reasons=lambda slow: 4 if slow else 0)))
    assert found.first_cause is None


def test_a_clock_explains_no_single_short_step():
    """NVML's values are averages over up to a second: a step of 0.2 s cannot be told by them."""
    steps = quiet_steps(60)
    steps[30] = longer(steps[30], 0.1, main_cpu_s=0.1)
    steps = timed(steps)
    at = steps[30].probes.began_s
    lowered = [
        GpuSample(at_s=1000 + 0.1 * i, sm_mhz=1000 if abs(1000 + 0.1 * i - at) < 0.6 else 1980) for i in range(70)
    ]
    found = explained(on_gpu(steps, lowered))
    assert [one.cause for one in found.disturbances if one.kind == "step"] == [None]


def test_other_users_of_the_gpu_explain_what_they_coincide_with():
    steps = slow_stretch()
    found = explained(on_gpu(steps, samples(steps, others=int)))
    assert [one.cause for one in found.disturbances] == [Cause.OTHERS]
    assert found.first_cause == Cause.OTHERS.value
    steps = slow_stretch()
    always = explained(on_gpu(steps, samples(steps, others=lambda slow: 1)))
    assert [one.cause for one in always.disturbances] == [None]


@pytest.mark.parametrize("counter", ["alloc_retries", "device_allocs", "device_frees"])
def test_a_slow_step_in_which_the_allocator_went_to_the_driver(counter):
    steps = quiet_steps()
    steps[12] = longer(steps[12], 0.08, main_cpu_s=0.08, **{counter: 2})
    found = explained(on_gpu(steps))
    assert [one.cause for one in found.disturbances] == [Cause.ALLOCATION]
    assert found.shares[0].cause is Cause.ALLOCATION


def test_an_allocator_that_always_goes_to_the_driver_explains_no_single_step():
    steps = [longer(step, 0.0, device_allocs=2) for step in quiet_steps()]
    steps[12] = longer(steps[12], 0.08, main_cpu_s=0.08)
    assert [one.cause for one in explained(on_gpu(steps)).disturbances] == [None]


@pytest.mark.parametrize(("enqueue", "cause"), [(0.03, None), (0.175, Cause.CPU_TIME)], ids=["waiting", "launch-bound"])
def test_a_host_that_waits_for_the_device_is_not_a_slow_cpu(enqueue, cause):
    steps = quiet_steps()
    steps[12] = longer(steps[12], 0.08, main_cpu_s=0.08)
    made = on_gpu(steps)
    launched = [dataclasses.replace(step, enqueue_s=min(enqueue, 0.97 * step.wall_s)) for step in made.steps]
    [one] = explained(dataclasses.replace(made, steps=tuple(launched))).disturbances
    assert one.cause == cause


@pytest.mark.parametrize("gone", ["samples", "stamps", "clocks"])
def test_what_was_not_sampled_explains_nothing(gone):
    steps = slow_stretch()
    taken = samples(steps, clock=lower)
    if gone == "samples":
        taken = []
    elif gone == "clocks":
        taken = [GpuSample(at_s=one.at_s) for one in taken]
    else:
        steps = [
            dataclasses.replace(step, probes=type(step.probes)(main_cpu_s=step.probes.main_cpu_s)) for step in steps
        ]
    assert explained(on_gpu(steps, taken)).first_cause is None


FULL = GpuSample(
    at_s=1000.0, utilization=100, power_w=80.0, power_limit_w=300.0, free_bytes=GIB // 10, total_bytes=16 * GIB
)


@pytest.mark.parametrize(
    ("memory", "sample", "says"),
    [
        (MemoryPeaks(reserved=90 * GIB), None, "1.12 times the GPU's memory"),
        (MemoryPeaks(reserved=70 * GIB), FULL, "27% of its power limit"),
        (MemoryPeaks(reserved=70 * GIB), None, None),
        (MemoryPeaks(reserved=70 * GIB), {"power_w": 250.0}, None),
        (MemoryPeaks(reserved=70 * GIB), {"free_bytes": GIB}, None),
        (MemoryPeaks(reserved=70 * GIB), {"utilization": 60}, None),
    ],
)
def test_a_spill_into_system_memory(memory, sample, says):
    if isinstance(sample, dict):
        sample = GpuSample(**{name: getattr(FULL, name) for name in FULL.__struct_fields__} | sample)
    made = dataclasses.replace(on_gpu(quiet_steps(), [sample] if sample else []), memory=memory)
    why = gpu_causes.spill(made)
    if says is None:
        assert why is None
    else:
        assert says in why
        first = explained(made).findings[0]
        assert first.rule is Rule.MEMORY_SPILL
        assert first.sure == ("measured" if memory.reserved > 80 * GIB else "guessed")


def test_a_cpu_does_not_spill():
    assert gpu_causes.spill(record(quiet_steps(), memory=MemoryPeaks(reserved=2**60))) is None


@pytest.mark.parametrize(("others", "seen"), [([None], 0), ([], 0), ([0], 0), ([1], 1), ([1, 3, None], 3)])
def test_other_processes_are_the_most_that_a_sample_saw_and_none_where_nvml_does_not_say(others, seen):
    """GIVEN two steps of a second, and samples in the first THEN the second has seen nobody"""
    steps = [dataclasses.replace(step, wall_s=1.0) for step in timed(quiet_steps(2))]
    began = steps[0].probes.began_s
    made = on_gpu(steps, [GpuSample(at_s=began + 0.01 * (i + 1), other_processes=n) for i, n in enumerate(others)])
    second = dataclasses.replace(steps[1], probes=type(steps[1].probes)(began_s=began + 2))
    account = CauseTimes(np.ones(2))
    gpu_causes.add(account, dataclasses.replace(made, gpu=made.gpu or (GpuSample(at_s=0.0),), steps=(steps[0], second)))
    assert account.events[Cause.OTHERS].tolist() == [seen, 0]


@pytest.mark.parametrize(
    ("wall", "at", "seen"),
    [(0.1, 999.56, True), (0.1, 999.54, False), (0.1, 1000.54, True), (0.1, 1000.56, False), (3.0, 1000.01, True),
     (3.0, 999.99, False), (3.0, 1002.99, True), (3.0, 1003.01, False)],
)  # fmt: skip
def test_a_sample_belongs_to_a_step_within_a_second_round_its_middle_or_in_all_of_a_longer_one(wall, at, seen):
    [step] = timed(quiet_steps(1))
    step = dataclasses.replace(step, wall_s=wall)
    account = CauseTimes(np.array([wall]))
    gpu_causes.add(account, on_gpu([step], [GpuSample(at_s=at, other_processes=1)]))
    assert account.events[Cause.OTHERS].tolist() == [int(seen)]


def clocked(*clocks: float, reasons: list[list[int]] | None = None) -> CauseTimes:
    """Steps of one second at these clocks, with the reasons of each step's samples."""
    account = CauseTimes(np.ones(len(clocks)))
    windows = [[GpuSample(at_s=0.0, reasons=one) for one in each] for each in reasons or [[0]] * len(clocks)]
    gpu_causes._add_clock(account, windows, np.array(clocks))
    return account


def test_time_goes_as_one_over_the_clock():
    """GIVEN 20 steps at 2000 MHz but one at 1500 THEN that one lost a quarter, and a single high reading is no best"""
    account = clocked(*[2000.0] * 39, 1500.0)
    assert account.seconds[Cause.CLOCK].tolist() == [0.0] * 39 + [0.25]
    assert account.evidence[Cause.CLOCK].tolist() == [0.0] * 39 + [500.0]
    assert clocked(*[2000.0] * 39, 4000.0).seconds[Cause.CLOCK].max() == 0.0


@pytest.mark.parametrize(
    ("clock", "reasons", "cause"),
    [
        (1500.0, [0x4] + [0] * 19, Cause.POWER),  # 5% of the samples
        (1500.0, [0x4] + [0] * 20, Cause.CLOCK),
        (1899.0, [0x4], Cause.POWER),
        (1900.0, [0x4], Cause.CLOCK),  # 95% of the best
        (1500.0, [0x4 | 0x8], Cause.POWER),  # both: it is lost once
        (1500.0, [None], Cause.CLOCK),
    ],
)
def test_a_reason_counts_in_five_percent_of_the_samples_with_a_clock_below_95_percent(clock, reasons, cause):
    account = clocked(*[2000.0] * 39, clock, reasons=[[0]] * 39 + [reasons])
    lost = {one: account.seconds[one][-1] for one in gpu_causes.SAMPLED}
    assert lost == pytest.approx({one: (1 - clock / 2000) * (one is cause) for one in gpu_causes.SAMPLED})


@pytest.mark.parametrize(
    ("changes", "spilled"),
    [
        ({"free_bytes": 20, "total_bytes": 1000}, False),
        ({"free_bytes": 19, "total_bytes": 1000}, True),
        ({"free_bytes": 0, "total_bytes": 1000}, True),
        ({"free_bytes": 0, "total_bytes": 0}, False),
        ({"utilization": 95}, True),
        ({"utilization": 94}, False),
        ({"utilization": None}, False),
        ({"power_w": 150.0}, False),
        ({"power_w": 149.0}, True),
        ({"power_w": None}, False),
        ({"power_limit_w": None}, False),
        ({"free_bytes": None}, False),
    ],
)
def test_a_spill_is_likely_below_two_percent_free_and_half_the_power_at_95_percent_busy(changes, spilled):
    sample = GpuSample(**{name: getattr(FULL, name) for name in FULL.__struct_fields__} | changes)
    made = dataclasses.replace(on_gpu(quiet_steps(), [sample]), memory=MemoryPeaks(reserved=GIB))
    assert (gpu_causes.spill(made) is not None) == spilled


def test_all_of_the_memory_is_no_more_than_it():
    made = on_gpu(quiet_steps())
    assert gpu_causes.spill(dataclasses.replace(made, memory=MemoryPeaks(reserved=80 * GIB))) is None
    assert gpu_causes.spill(dataclasses.replace(made, memory=MemoryPeaks(reserved=80 * GIB + 1))) is not None
