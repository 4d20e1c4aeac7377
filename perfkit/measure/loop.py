"""The loop: it runs and times each step, and tells the observers of the step and its phases.

    are there enough steps?         the stop rule returns what ended the steps
    before(step), outermost observer first
        clock: begin
            phase(name), ...        the only call inside the timed interval; observers without one are not called
        clock: end
    after(step, sample), innermost observer first

A signal interrupts only steps. It waits while observers work, because a profiler that is interrupted as it starts or
stops may crash.

The first observer is the outermost, as with nested `with` statements: an observer that reads counters comes last, next
to the clock. Warm-up and measured steps are observed alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from perfkit import signals
from perfkit.schema.record import EndedBy, RunRecord, StepSample
from perfkit.schema.stopping import StopRule

Stage = Literal["warm-up", "measured"]

BUILDING = "model"
_AT_ITS_END = "at its end"

Now = Callable[[], int]
"""Reads a clock, in nanoseconds."""


@dataclass(frozen=True, slots=True)
class StepId:
    """Identifies a step of a run."""

    stage: Stage
    index: int
    """Counted from 0 within its stage."""

    def __str__(self) -> str:
        return f"{self.stage} step {self.index + 1}"


class Observer:
    """Observes the steps of a run. Override the methods that are needed; the others do nothing and cost nothing.

    An exception in an observer ends the run, like one in a step.
    """

    def built(self, workload: Any) -> None:
        """The workload is built, and no step has begun."""

    def before(self, step: StepId) -> None:
        """A step is about to begin; its clock has not started."""

    def phase(self, name: str) -> None:
        """A phase begins. Called inside the timed interval: it must cost next to nothing."""

    def after(self, step: StepId, sample: StepSample) -> None:
        """A step is over and its clock has stopped."""

    def paused(self) -> None:
        """After `after`: something follows that is no step, an evaluation; steps may go on after it."""

    def close(self) -> None:
        """No step follows. Called once, however the run ended, even if the model could not be built."""

    def add_to(self, record: RunRecord) -> RunRecord:
        """Return the record with this observer's results so far; called whenever the record is written.

        A number or a text needs no field of its own: `observed` stores it under a name, and the run's report shows it.
        """
        return record


class StepClock(Protocol):
    """Stamps the phases of one step and turns the stamps into a sample."""

    def begin(self) -> None:
        """The device is idle: start the step's clock."""

    def phase(self, name: str) -> None:
        """A phase begins."""

    def end(self) -> StepSample:
        """Stamp the end, wait for the device, and return the step's times."""


class Stepper(Protocol):
    """The interface that the loop needs from a workload."""

    def step(self, on_phase: Callable[[str], None], /) -> None:
        """Run one step, calling on_phase(name) as each phase begins."""


@dataclass(slots=True)
class Measured:
    """The results of a run so far; consistent at every moment an exception could end it."""

    warmup: list[StepSample] = field(default_factory=list)
    steps: list[StepSample] = field(default_factory=list)
    ended_by: EndedBy | None = None
    """The rule that ended the measured steps."""
    step: StepId | None = None
    """The last step that began."""
    phase: str = BUILDING
    """The phase of that step; without a step, the phase of the run."""

    @property
    def where(self) -> str:
        """The position in words: `model`, `warm-up step 2, backward`, `measured step 3, at its end`."""
        return f"{self.step}, {self.phase}" if self.step else self.phase


def run_stage(
    workload: Stepper,
    clock: StepClock,
    stage: Stage,
    enough: StopRule,
    observers: Sequence[Observer],
    measured: Measured,
) -> EndedBy:
    """Run steps until the stop rule ends them, adding each to `measured`; return the rule that ended them."""
    samples = measured.warmup if stage == "warm-up" else measured.steps
    listeners = [observer.phase for observer in observers if type(observer).phase is not Observer.phase]
    inside_out = observers[::-1]
    step = StepId(stage, 0)

    def on_phase(name: str) -> None:
        measured.step, measured.phase = step, name
        for listener in listeners:
            listener(name)
        clock.phase(name)

    while (ended_by := enough(samples)) is None:
        step = StepId(stage, len(samples))
        with signals.held():
            for observer in observers:
                observer.before(step)
        clock.begin()
        workload.step(on_phase)
        sample = clock.end()
        with signals.held():
            samples.append(sample)
            measured.step, measured.phase = step, _AT_ITS_END
            for observer in inside_out:
                observer.after(step, sample)
        signals.check()  # the workload may have swallowed the exception
    return ended_by


def close(observers: Sequence[Observer]) -> None:
    """Close all observers, the innermost first, even if some of them raise."""
    with ExitStack() as stack:
        for observer in observers:
            stack.callback(observer.close)
