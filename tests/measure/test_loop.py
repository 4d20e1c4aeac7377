"""The loop and what observers are told: a fake clock, a fake workload, and observers of the tests' own."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from perfkit import signals
from perfkit.measure import loop
from perfkit.measure.loop import Measured, Observer, StepId
from perfkit.measure.timing import CpuClock
from perfkit.schema.record import EndedBy, StepSample
from perfkit.schema.stopping import exactly
from tests.measure.clocks import FakeTime, Timed, run
from tests.runs import Journal


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def clock(time: FakeTime) -> CpuClock:
    return CpuClock(time.perf_counter_ns, time.process_time_ns)


class Journaling:
    """A clock and a workload that write down the order of things."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    def begin(self) -> None:
        self.entries.append("clock begins")

    def phase(self, name: str) -> None:
        self.entries.append(f"clock {name}")

    def end(self) -> StepSample:
        self.entries.append("clock ends")
        return StepSample(wall_s=1.0, phases_s={})

    def step(self, on_phase: Callable[[str], None]) -> None:
        on_phase("forward")
        self.entries.append("work")


def test_observers_stand_round_the_clock_the_first_outermost():
    # GIVEN two observers, each with a name
    played = Journaling()

    class Named(Journal):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def before(self, step: StepId) -> None:
            played.entries.append(f"{self.name} before {step}")

        def phase(self, name: str) -> None:
            played.entries.append(f"{self.name} {name}")

        def after(self, step: StepId, sample: StepSample) -> None:
            played.entries.append(f"{self.name} after {step}")

        def close(self) -> None:
            played.entries.append(f"{self.name} closed")

    observers = [Named("outer"), Named("inner")]

    # WHEN
    loop.run_stage(played, played, "warm-up", exactly(1), observers, Measured())
    loop.close(observers)

    # THEN
    assert played.entries == [
        "outer before warm-up step 1", "inner before warm-up step 1",
        "clock begins", "outer forward", "inner forward", "clock forward", "work", "clock ends",
        "inner after warm-up step 1", "outer after warm-up step 1",
        "inner closed", "outer closed",
    ]  # fmt: skip


def test_what_observers_do_between_steps_is_in_no_step(time, clock):
    class Slow(Observer):
        def before(self, step: StepId) -> None:
            time.passes(300, cpu=300)

        def after(self, step: StepId, sample: StepSample) -> None:
            time.passes(1000, cpu=1000)

    samples = run(Timed(time, 0, ("forward", 10)), clock, 3, Slow(), Slow())
    assert [(s.wall_s, s.cpu_s) for s in samples] == [(0.010, 0.020)] * 3


def test_only_an_observer_of_phases_is_called_inside_the_timed_interval(time, clock):
    """GIVEN one that overrides `phase`, and one whose inherited one would be noticed THEN the first alone is called"""
    heard: list[str] = []

    class Inherited(Observer):
        def __getattribute__(self, name: str) -> object:
            heard.append(name)
            return super().__getattribute__(name)

    class Own(Observer):
        def phase(self, name: str) -> None:
            heard.append(f"own {name}")

    run(Timed(time, 0, ("forward", 1), ("loss", 1)), clock, 2, Inherited(), Own())
    assert heard == ["before", "own forward", "own loss", "after"] * 2


@pytest.mark.parametrize("count", [0, 1, 7])
def test_the_number_of_steps_is_obeyed_exactly(time, clock, count):
    journal = Journal()
    assert len(run(Timed(time, 0, ("forward", 1)), clock, count, journal)) == count
    each = [[f"before measured step {n}", "forward", f"after measured step {n}"] for n in range(1, count + 1)]
    assert journal.entries == [entry for entries in each for entry in entries]


@pytest.mark.parametrize("stage", ["warm-up", "measured"])
def test_a_rule_ends_the_steps_and_says_why(time, clock, stage):
    # GIVEN one that knows the steps of this stage so far, and ends it at the second
    asked = []

    def enough(samples) -> EndedBy | None:
        asked.append(len(samples))
        return "max-time" if len(samples) == 2 else None

    journal, measured = Journal(), Measured()

    # WHEN
    ended_by = loop.run_stage(Timed(time, 0, ("a", 1)), clock, stage, enough, [journal], measured)

    # THEN
    assert (ended_by, asked) == ("max-time", [0, 1, 2])
    assert (len(measured.warmup), len(measured.steps)) == ((2, 0) if stage == "warm-up" else (0, 2))
    assert journal.entries[-1] == f"after {stage} step 2"


def test_where_a_run_is_is_known_at_every_moment(time, clock):
    # GIVEN
    measured, seen = Measured(), []

    class Looking(Observer):
        def before(self, step: StepId) -> None:
            seen.append(measured.where)

        def phase(self, name: str) -> None:
            seen.append(measured.where)

        def after(self, step: StepId, sample: StepSample) -> None:
            seen.append(measured.where)

    # WHEN
    for stage in ("warm-up", "measured"):
        loop.run_stage(Timed(time, 0, ("forward", 1)), clock, stage, exactly(1), [Looking()], measured)

    # THEN before a step's first phase the run is where it was
    assert seen == [
        "model", "warm-up step 1, forward", "warm-up step 1, at its end",
        "warm-up step 1, at its end", "measured step 1, forward", "measured step 1, at its end",
    ]  # fmt: skip


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_samples_survive_a_step_that_fails(time, clock, error):
    # GIVEN
    measured = Measured()

    class Failing(Observer):
        def phase(self, name: str) -> None:
            if len(measured.steps) == 2:
                raise error

    # WHEN
    with pytest.raises(error):
        loop.run_stage(Timed(time, 0, ("forward", 10)), clock, "measured", exactly(5), [Failing()], measured)

    # THEN
    assert [sample.wall_s for sample in measured.steps] == [0.010, 0.010]


def test_all_observers_are_closed_also_where_some_fail_at_it():
    # GIVEN
    closed: list[str] = []

    class Failing(Journal):
        def close(self) -> None:
            super().close()
            raise OSError("full")

    # WHEN
    with pytest.raises(OSError, match="full"):
        loop.close([Journal(closed), Failing(closed), Journal(closed)])

    # THEN
    assert closed == ["close"] * 3


class Signalled(Journal):
    """A journal that is sent a signal whenever it hears of a step's beginning, or of its end."""

    def __init__(self, entries: list[str], at: str) -> None:
        super().__init__(entries)
        self._at = at

    def before(self, step: StepId) -> None:
        if self._at == "before":
            os.kill(os.getpid(), signal.SIGTERM)
        super().before(step)

    def after(self, step: StepId, sample: StepSample) -> None:
        if self._at == "after":
            os.kill(os.getpid(), signal.SIGTERM)
        super().after(step, sample)


@pytest.mark.parametrize(
    ("at", "entries", "steps"),
    [
        ("before", ["before measured step 1"] * 3, 0),
        ("after", ["before measured step 1"] * 3 + ["a"] * 3 + ["after measured step 1"] * 3, 1),
    ],
)
def test_a_signal_waits_until_all_observers_have_done_their_work(time, clock, at, entries, steps):
    # GIVEN
    measured, heard = Measured(), list[Any]()
    observers = [Journal(heard), Signalled(heard, at), Journal(heard)]

    # WHEN
    with signals.installed(), signals.raised(), pytest.raises(signals.Interrupted):
        loop.run_stage(Timed(time, 0, ("a", 1)), clock, "measured", exactly(5), observers, measured)

    # THEN no step begins that not all have heard of, and none ends
    assert (heard, len(measured.steps)) == (entries, steps)


def test_a_signal_that_something_swallows_ends_the_steps_when_all_have_heard_of_the_step(time, clock):
    # GIVEN
    measured, journal = Measured(), Journal()

    class Swallowing(Observer):
        def after(self, step: StepId, sample: StepSample) -> None:
            with contextlib.suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)

    # WHEN
    with signals.installed(), signals.raised(), pytest.raises(signals.Interrupted):
        loop.run_stage(Timed(time, 0, ("a", 1)), clock, "measured", exactly(5), [journal, Swallowing()], measured)

    # THEN
    assert (len(measured.steps), journal.entries[-1]) == (1, "after measured step 1")
