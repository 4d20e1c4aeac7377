"""A profile whose steps a framework counts: what the callbacks share.

    the framework counts a step      it is over, but what follows (a progress bar, a log) is still its own
    something is found after it      a batch, a forward: there the step ends, and the next begins
    ... while the model is in eval   there the step ends, and none begins: an evaluation is no step
    the framework saves, or its      there the step ends, and the next begins with what is found next
    epoch is over

Until the first step is to be observed, and after the last, there are no hooks, and steps are only counted.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Unpack

from torch import nn

from perfkit.errors import UsageError
from perfkit.measure.own.cycle import Cycle
from perfkit.measure.own.found_phases import OUTSIDE
from perfkit.measure.own.profile import Kind, Profile, Report, profile
from perfkit.measure.own.schedule import Schedule, Steps
from perfkit.schema.record import RunRecord


class Options(Steps, total=False):
    """The keywords of `perfkit.profile`, which callbacks take as well."""

    profiler: Kind | None
    name: str | None
    enabled: bool


class Session:
    """A profile for each training, begun by `_start`; the last one's `report`, `record` and `folder`.

    `folder` and `options` are as of `perfkit.profile`. In a job of several processes each has a folder of its own in
    it, `rank_N`; `ranks` says which of them are profiled, by default all. Raises UsageError where nothing would be
    measured.
    """

    _counted_by = "the loop"
    """Who counts the steps."""
    _begins_at_once = False
    """Whether a cycle's first step begins where the step before it is counted, for want of a better place."""

    def __init__(
        self,
        folder: str | os.PathLike[str] = "traces/profile",
        *,
        ranks: Collection[int] | None = None,
        **options: Unpack[Options],
    ) -> None:
        Schedule(**{name: options[name] for name in Steps.__annotations__ if name in options})  # type: ignore[literal-required]
        self._where, self._ranks, self._options = Path(folder), ranks, options
        self._profile: Profile | None = None
        self._model: nn.Module | None = None
        self._is_open = self._has_begun = False
        self._due = False
        """A step is over, but has not ended."""
        self._trained = False
        """The mode that the model was in when a step was over last."""

    @property
    def profile(self) -> Profile:
        """The profile of the last training. Raises UsageError before the first."""
        if self._profile is None:
            raise UsageError(f"there is no profile yet: {self._counted_by} has not begun to train")
        return self._profile

    @property
    def report(self) -> Report:
        """What there is to say, as `perfkit.report` of the folder. Raises UsageError where nothing was measured."""
        return self.profile.report

    @property
    def record(self) -> RunRecord:
        """The record of the first cycle. Raises UsageError where no step was measured."""
        return self.profile.record

    @property
    def folder(self) -> Path:
        """Where record and recording of the last training are."""
        return self.profile.folder

    @property
    def done(self) -> bool:
        """Whether all that the schedule asks for is measured."""
        return self._profile is not None and self._profile.done

    def _start(self, model: nn.Module, rank: int, ranks: int) -> None:
        """A training begins, in process `rank` of `ranks`; its first step with the first `_go_on`."""
        self._close()
        options = self._options.copy()
        options["enabled"] = options.get("enabled", True) and (self._ranks is None or rank in self._ranks)
        make = functools.partial(Cycle, first=OUTSIDE, between=self._something_begins)
        own = rank if ranks > 1 else None
        self._profile, self._model = profile(model, self._where, make=make, rank=own, **options), model
        self._profile.counted_by = self._counted_by
        self._is_open, self._has_begun, self._due, self._trained = True, False, False, False

    def _go_on(self) -> None:
        """A step begins, unless it has; one that is over ends first."""
        if self._profile is None or not self._is_open:
            return
        if not self._has_begun:
            self._has_begun = True
            self._profile.__enter__()
        elif self._due:
            self._due = False
            self._profile.step()
        else:
            self._profile.go_on()

    def _over(self) -> None:
        """The framework has counted a step."""
        if self._profile is None or self._model is None or not self._is_open:
            return
        self._trained = self._model.training
        if self._profile.is_watching:
            self._due = True
        else:
            self._profile.step(go_on=self._begins_at_once)

    def _pause(self) -> None:
        """What follows is no step."""
        if self._due and self._profile is not None:
            self._due = False
            self._profile.step(go_on=False)

    def _phase(self, name: str) -> AbstractContextManager[None]:
        """The body is a phase of this name, where a step is under way."""
        return self._profile.phase(name) if self._profile is not None else nullcontext()

    def _evaluated(self) -> None:
        """An evaluation is over: the model may still be in its mode."""
        self._trained = False

    def _close(self, error: BaseException | None = None) -> None:
        """The training is over, by `error` or as it should; more than once, this does nothing."""
        if self._profile is None or not self._is_open:
            return
        if not self._has_begun and error is None:
            self._go_on()  # so that it says why there is nothing
        self._is_open = False
        if self._has_begun:
            self._pause()
            self._profile.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)
        self._model = None

    def _something_begins(self) -> None:
        """Something is found that is in no other: a step begins, unless it is an evaluation's."""
        if self._model is not None and self._trained and not self._model.training:
            self._pause()
        else:
            self._go_on()
