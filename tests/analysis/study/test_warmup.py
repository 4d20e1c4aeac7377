"""Q2: the first steps beyond the pace, cause by cause, on counters by hand."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.analysis.noise.causes import Cause
from perfkit.analysis.study.question import UnansweredError
from perfkit.analysis.study.warmup import COUNTS, WARMUP, examine
from perfkit.schema.probes import GpuSample, Probing, StepProbes
from perfkit.schema.record import StepSample
from tests.analysis.study.cases import SCOPE, results, rows, step, taken


def counted(forward: float, backward: float, faults: int = 0, compile_ms: float = 0.0) -> StepSample:
    """A step whose thread runs all the time; counters beside it."""
    probes = StepProbes(
        main_cpu_s=(forward + backward) / 1e3, main_delay_s=0.0, switches=0, minor_faults=faults, major_faults=0,
        compile_s=compile_ms / 1e3, compilations=int(compile_ms > 0), gc_s=0.0, collections=0,
    )  # fmt: skip
    return step(forward, backward, probes=probes)


FIRST, SECOND, LATER = counted(36, 14, faults=10_000), counted(6, 9, faults=5_000), counted(6, 4)
SERIES = (FIRST, SECOND, *[LATER] * 13)
"""Steps of 50, 15 and then 10 ms; a fault takes 1 us: 10 of the 40 ms and 5 of the 5 ms beyond the pace."""


def run(count: int):
    config = next(config for config in WARMUP.needs(SCOPE) if config.measurement.warmup_steps == count)
    return taken(
        config, SERIES[count : count + 10], warmup=SERIES[:count],
        probing=Probing(seconds_per_step=1e-4, seconds_per_fault=1e-6),
    )  # fmt: skip


RUNS = [run(count) for count in COUNTS]


def test_each_of_the_first_steps_is_explained():
    # WHEN
    found = examine([one.record for one in RUNS])

    # THEN
    assert found.steady_s == pytest.approx(0.010)
    one, two, three, *_ = found.first
    assert (one.number, one.processes, one.excess_s) == (1, 4, pytest.approx(0.040))
    assert one.causes[Cause.FAULTS] == pytest.approx(0.010)
    assert one.causes[Cause.CPU_TIME] == pytest.approx(0.030)
    assert one.unexplained_s == pytest.approx(0.0, abs=1e-9)
    assert one.phases == {"forward": pytest.approx(0.030), "backward": pytest.approx(0.010)}
    assert (one.faults, one.fault_s) == (10_000, pytest.approx(0.010))
    assert (two.excess_s, two.causes[Cause.FAULTS]) == (pytest.approx(0.005), pytest.approx(0.005))
    assert three.excess_s == pytest.approx(0.0)
    assert found.needed == 2


def test_the_sentence_has_milliseconds_causes_and_how_many_are_enough():
    """GIVEN the mean of 10 steps without warm-up is (50 + 15 + 8 x 10) / 10 = 14.5 ms, 45% above the pace"""
    # WHEN
    answer = WARMUP.answer(SCOPE, results(*RUNS))

    # THEN
    assert answer.sentence.startswith(
        "tiny: step 1 takes 50.00 ms, 40.00 ms beyond the pace of 10.00 ms (30.00 ms CPU time of first calls; 10.00 ms"
        " page faults (10,000 more); by phase most in forward, 30.00 ms); without warm-up the mean of 10 steps is 45.0%"
        " above the pace; step 2 still 5.000 ms (5.000 ms page faults (5,000 more); by phase most in backward, 5.000"
        " ms), most likely because the optimizer's state, made at the end of step 1, has taken memory"
    )
    assert answer.sentence.endswith("2 warm-up steps are enough here")
    assert answer.advice.startswith("--warmup-steps 2 ")
    assert [row["bias"] for row in rows(answer.tables[0])] == [pytest.approx(x) for x in (0.45, 0.05, 0.0, 0.0)]
    assert answer.picture is not None


def test_a_second_step_within_the_spread_is_told_and_is_no_warm_up():
    """GIVEN a second step of 10.5 ms, 5% above a pace whose steps vary by 1 ms: three deviations are 4.45 ms"""
    config = next(config for config in WARMUP.needs(SCOPE) if config.measurement.warmup_steps == 0)
    steps = [step(ms) for ms in (50, 10.5, 10, 10, 10, 8, 9, 10, 11, 12)]
    sentence = WARMUP.answer(SCOPE, results(taken(config, tuple(steps)))).sentence
    assert "; step 2 still 500.0 us" in sentence
    assert sentence.endswith("1 warm-up step is enough here, since steady steps vary as much as what is left")


def test_a_size_without_a_step_is_a_row_beside_the_others():
    """GIVEN tiny's runs, and none of small THEN tiny is answered, and small's rows say why, whatever the width"""
    answer = WARMUP.answer(dataclasses.replace(SCOPE, sizes=("small", "tiny")), results(*RUNS))
    assert answer.sentence.startswith("tiny: step 1 takes 50.00 ms")
    assert [row["outcome"] for row in rows(answer.tables[0])] == ["not run"] * 4 + ["ok"] * 4
    assert not answer.tables[0].columns[-1].spare
    with pytest.raises(UnansweredError):
        WARMUP.answer(SCOPE, results())


def test_compilation_is_a_cause_of_its_own():
    """GIVEN a first step of 1,010 ms, of which 900 ms compile"""
    first = counted(1_006, 4, compile_ms=900)
    record = taken(SCOPE.config("tiny", warmup_steps=0), (first, *[LATER] * 9)).record
    [one, *_] = examine([record]).first
    assert (one.causes[Cause.COMPILE], one.causes[Cause.CPU_TIME]) == (pytest.approx(0.9), pytest.approx(0.1))
    assert one.graphs == 1


def test_faults_on_a_busy_machine_bring_a_wait_of_their_own():
    """GIVEN a thread that waits for a CPU as long as it runs, and a first step of 40 ms in which 10,000 faults of 1 us
    run: 10 ms of CPU and as much waiting are theirs"""

    def busy(ms: float, faults: int = 0) -> StepSample:
        half = ms / 2e3
        probes = StepProbes(main_cpu_s=half, main_delay_s=half, switches=0, minor_faults=faults, major_faults=0)
        return step(ms, probes=probes)

    config = next(config for config in WARMUP.needs(SCOPE) if config.measurement.warmup_steps == 0)
    run = taken(
        config, (busy(40, 10_000), *[busy(20)] * 9), probing=Probing(seconds_per_step=1e-4, seconds_per_fault=1e-6)
    )
    [one, *_] = examine([run.record]).first
    assert (one.causes[Cause.FAULTS], one.fault_s) == (pytest.approx(0.020), pytest.approx(0.010))
    assert "20.00 ms page faults (10,000 more, with the wait for a CPU that they brought)" in (
        WARMUP.answer(SCOPE, results(run)).sentence
    )


def test_what_is_named_and_all_else_add_up():
    """GIVEN steady steps of 10 ms, 6 of them asleep, and a first one of 50 ms that never sleeps, with 45,000 faults of
    1 us: 40 ms beyond the pace are 45 ms of faults, 1 ms of other work, which is not named, and 6 ms less sleep"""

    def counted(ms: float, cpu_ms: float, faults: int = 0) -> StepSample:
        probes = StepProbes(
            main_cpu_s=cpu_ms / 1e3, main_delay_s=0.0, switches=0, minor_faults=faults, major_faults=0
        )  # fmt: skip
        return step(ms, probes=probes)

    config = next(config for config in WARMUP.needs(SCOPE) if config.measurement.warmup_steps == 0)
    steps = (counted(50, 50, 45_000), *[counted(10, 4)] * 9)
    run = taken(config, steps, probing=Probing(seconds_per_step=1e-4, seconds_per_fault=1e-6))
    assert (
        "40.00 ms beyond the pace of 10.00 ms (45.00 ms page faults (45,000 more); less 5.000 ms all else, of which"
        " steady steps have more; by phase most in forward, 40.00 ms)"
    ) in WARMUP.answer(SCOPE, results(run)).sentence


def test_a_machine_without_counters_still_says_how_much():
    record = taken(SCOPE.config("tiny", warmup_steps=0), (step(50), *[step(10)] * 9)).record
    found = examine([record])
    assert (found.first[0].excess_s, found.first[0].causes, found.needed) == (pytest.approx(0.04), {}, 1)


def test_a_pace_that_varies_is_not_taken_for_warm_up():
    """GIVEN steady steps of 8, 9, 10, 11 and 12 ms: their median absolute deviation is 1 ms, and three standard
    deviations 4.45 ms THEN a first step of 14 ms is one of them, and one of 15 ms is not"""
    steady = [step(ms) for ms in (8, 9, 10, 11, 12)]
    for first, needed in ((14, 0), (15, 1)):
        record = taken(SCOPE.config("tiny", warmup_steps=0), (step(first), *[step(10)] * 4, *steady)).record
        assert examine([record]).needed == needed


def test_steps_that_never_settle_say_so():
    """GIVEN six first steps that are all slow"""
    config = next(config for config in WARMUP.needs(SCOPE) if config.measurement.warmup_steps == 5)
    slow = taken(config, (*[step(50)] * 4, *[step(10)] * 6), warmup=(step(50),) * 5)
    assert "6 steps are not enough" in WARMUP.answer(SCOPE, results(slow)).sentence


def test_a_gpus_calls_and_clock_stand_beside():
    """GIVEN a first step with 7 calls of cudaMalloc at 300 MHz, and later ones at 1,500 MHz without"""
    steps = [
        step(10, probes=StepProbes(began_s=float(at), device_allocs=7 if at == 0 else 0)) for at in range(8)
    ]  # fmt: skip
    gpu = tuple(GpuSample(at_s=at + 0.005, sm_mhz=300 if at == 0 else 1500) for at in range(8))
    record = taken(SCOPE.config("tiny", warmup_steps=0), tuple(steps), gpu=gpu).record
    [one, *_] = examine([record]).first
    assert (one.mallocs, one.clock_mhz) == (7, -1200)
