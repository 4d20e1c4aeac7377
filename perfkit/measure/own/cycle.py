"""One record of steps that somebody else makes: the loop of measure/loop.py, turned inside out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from torch import nn
from torch.profiler import profile

from perfkit import signals
from perfkit.measure import runner, timing
from perfkit.measure.loop import Observer, StepClock, StepId
from perfkit.measure.nsys.program import under_nsys
from perfkit.measure.observers import ranges
from perfkit.measure.own.found_phases import OUTSIDE, FoundPhases
from perfkit.measure.recorder import Recorder
from perfkit.schema.config import RunConfig
from perfkit.schema.record import RunRecord, StepSample
from perfkit.workload.annotate import Annotation, annotate
from perfkit.workload.protocol import OnPhase

_AT_ITS_END = "at its end"
_LOSS = "loss"


class _Watched:
    """The workload that observers see: a model, and the optimizers that were seen to step."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def annotate(self, *, gradients: bool, backward: bool) -> Annotation:
        """What puts ranges round its modules."""
        return annotate(self.model, gradients=gradients, backward=backward)

    def step(self, on_phase: OnPhase) -> None:
        """Nobody but its owner makes its steps."""
        raise NotImplementedError


class Cycle:
    """Warm-up and measured steps, and what observes them, from the first step's begin to the record.

    Hooks are in place while it lasts; `end` takes them all away, and must be called. `config` is resolved. `first` and
    `between` are as of FoundPhases.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        model: nn.Module,
        more: Sequence[Observer] = (),
        *,
        first: str = "data",
        between: Callable[[], None] = lambda: None,
        make_clock: Callable[[str], StepClock] = timing.make_clock,
        make_profiler: Callable[..., Any] = profile,
    ) -> None:
        self._config, self._clock = config, make_clock(config.step.device)
        self._recorder = Recorder(config, folder, more, of_others=True)
        self._workload = _Watched(model)
        self._names: list[str] = []
        """The step's phases so far, one for each stamp of the clock."""
        self.empty = 0
        """Measured steps in which nothing was found: no batch, forward, backward, optimizer or phase of the user's."""
        self._listeners: list[Observer] = []
        self._step: StepId | None = None
        self._phases = FoundPhases(self._stamp, self._was_loss, ranged=ranges.wanted(config, under_nsys=under_nsys()),
            first=first, between=between,
        )  # fmt: skip
        self._undo: list[Callable[[], None]] = []
        try:
            with signals.held():
                runner.watch(self._workload, config, folder, self._recorder, make_profiler, repeatable=False)
            self._undo = self._phases.install(model)  # last, so that a phase's range is round its module's
            self._listeners = [o for o in self._recorder.observers if type(o).phase is not Observer.phase]
            self._begin()
        except BaseException:
            self._close()
            raise

    def phase(self, name: str) -> AbstractContextManager[None]:
        """A phase that the user names."""
        return self._phases.named(name)

    def step(self, *, go_on: bool = True) -> bool:
        """The step is over, and the next begins; False where it was the last, and `end` is to follow.

        With `go_on=False` none begins until `go_on`: what is done before it belongs to no step, and is not counted.
        """
        measured, measurement = self._recorder.measured, self._config.measurement
        if self._step is None:
            return measured.ended_by is None
        self._end_step()
        if len(measured.steps) >= measurement.measure_steps:
            measured.ended_by = "measure-steps"
            return False
        if go_on:
            self._begin()
            return True
        with signals.held():
            for observer in self._recorder.observers[::-1]:
                observer.paused()
        return True

    def go_on(self) -> None:
        """The next step begins, where none is under way."""
        if self._step is None:
            self._begin()

    def end(self, error: BaseException | None) -> RunRecord | None:
        """Take all hooks away and write the record; None, and no record, where no step was measured and none failed.

        A step that has begun is not counted. `error` is what ended the loop before its schedule did.
        """
        self._close()
        if not self._recorder.measured.steps and error is None:
            return None
        with signals.held():
            return self._recorder.write(error)

    def _close(self) -> None:
        try:
            self._phases.end_step()
            self._phases.closed = True
            while self._undo:
                self._undo.pop()()
        finally:
            with signals.held():
                self._recorder.close()

    def _begin(self) -> None:
        measured, warmup = self._recorder.measured, self._config.measurement.warmup_steps
        done = len(measured.warmup)
        self._step = StepId("warm-up", done) if done < warmup else StepId("measured", len(measured.steps))
        with signals.held():
            for observer in self._recorder.observers:
                observer.before(self._step)
        self._names.clear()
        self._clock.begin()
        self._phases.begin_step()

    def _end_step(self) -> None:
        assert self._step is not None
        step, measured = self._step, self._recorder.measured
        self._phases.end_step()
        sample = self._added_up(self._clock.end())
        self.empty += step.stage == "measured" and len(self._names) == 1  # with which a step begins
        for number, optimizer in enumerate(self._phases.optimizers):
            setattr(self._workload, f"optimizer_{number}", optimizer)
        with signals.held():
            (measured.warmup if step.stage == "warm-up" else measured.steps).append(sample)
            measured.step, measured.phase = step, _AT_ITS_END
            for observer in self._recorder.observers[::-1]:
                observer.after(step, sample)
        self._step = None

    def _stamp(self, name: str) -> None:
        if self._step is None:
            return
        measured = self._recorder.measured
        measured.step, measured.phase = self._step, name or "outside phases"
        for listener in self._listeners:
            listener.phase(name)
        self._clock.phase(str(len(self._names)))
        self._names.append(name)

    def _was_loss(self) -> None:
        for place in range(len(self._names) - 1, -1, -1):
            if self._names[place] == "forward":
                return
            if self._names[place] == OUTSIDE:
                self._names[place] = _LOSS

    def _added_up(self, sample: StepSample) -> StepSample:
        """The sample with its phases by name; a phase that came several times is the sum."""
        phases: dict[str, float] = {}
        for number, seconds in sample.phases_s.items():
            name = self._names[int(number)]
            if name != OUTSIDE:
                phases[name] = phases.get(name, 0.0) + seconds
        return dataclasses.replace(sample, phases_s=phases)
