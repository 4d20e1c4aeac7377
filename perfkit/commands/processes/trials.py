"""Trials of changes within a time budget: fresh processes that take turns with the original's, round by round.

A process of the original whose weights are nudged says first what rounding does. In the first round each change runs
once: what cannot run, or computes something else, is not run again. Each round begins only where there is time for it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from perfkit import signals
from perfkit.analysis.tuning import choice, equality
from perfkit.analysis.tuning.candidates import Candidate
from perfkit.analysis.tuning.choice import Clock, Trial
from perfkit.analysis.tuning.equality import Equality
from perfkit.commands.console.campaigns import CampaignProgress
from perfkit.commands.processes import fresh
from perfkit.errors import InterruptedRunError
from perfkit.launch import campaign
from perfkit.schema import computed
from perfkit.schema.campaign import Finished, Point, Turn
from perfkit.schema.computed import Computed
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.workloads import Own
from perfkit.schema.record import RunRecord

ORIGINAL, NUDGED = "original", "nudged"
_EXTRA = ("--tensorboard", "off", "--save-results")
_OF_ALL = 0.7
"""Share of the time for changes one at a time, where several could be had together; the rest is for those."""


class Budget:
    """So many seconds, from now on."""

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._now, self._began = now, now()

    @property
    def left(self) -> float:
        """Seconds left; below 0 where it is used up."""
        return self.seconds - (self._now() - self._began)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured, and how it is judged."""

    budget: Budget
    repeats: int
    """Processes of the original and of each change."""
    clock: Clock
    margin: float
    """Times within 1 +- this are the same."""


class Trials:
    """The processes of a tuning, in a folder of their own."""

    def __init__(
        self, config: RunConfig, environment: dict[str, str], folder: Path, plan: Plan,
        run_child: Callable[..., Finished],
    ) -> None:  # fmt: skip
        """`config`: what is timed, resolved. `environment`: variables that all processes need."""
        self._config, self._environment, self._folder = config, environment, folder
        self._execute = campaign.in_fresh_processes(run_child=run_child)
        self._plan, self.budget, self._repeats = plan, plan.budget, plan.repeats
        self._finished: dict[str, list[RunRecord | None]] = {}
        """Of each round one; None where it did not finish."""
        self._seconds: dict[str, float] = {}
        self._equal: dict[str, Equality] = {}
        self._failed: dict[str, str] = {}
        self._untried: dict[str, str] = {}
        self._nudged: Computed | None = None
        self._original: Computed | None = None
        self.ending: InterruptedRunError | None = None
        """The signal that ended them, after the original had run."""
        self.needed_s = 0.0
        """What all processes of changes one at a time would take, with what is kept for the best together."""

    @property
    def original(self) -> Sequence[RunRecord | None]:
        """The original's finished runs so far."""
        return self._finished.get(ORIGINAL, [])

    def one_at_a_time(self, candidates: Sequence[Candidate]) -> list[Trial]:
        """Try each change by itself."""
        of_all = _OF_ALL if len(candidates) > 1 else 1.0
        self._measure(candidates, self.budget.left * (1 - of_all), "change", nudge=True)
        processes = (1 + len(candidates)) * self._repeats + 1
        used = self.budget.seconds - self.budget.left - sum(self._seconds.values())
        self.needed_s = max(used, 0.0) + processes * max(self._seconds.values()) / of_all
        return self._trials(candidates)

    def together(self, candidate: Candidate) -> Trial | None:
        """Try several changes at once, against processes of the original that are new, too.

        None where a signal came before there was anything to compare.
        """
        self._finished.pop(ORIGINAL, None)
        self._measure([candidate], 0.0, "together", nudge=False)
        if not self.original:
            return None
        [trial] = self._trials([candidate])
        return trial

    def _measure(self, candidates: Sequence[Candidate], spare: float, key: str, *, nudge: bool) -> None:
        names = {f"{key}-{place}": one for place, one in enumerate(candidates, 1)}
        first = f"{ORIGINAL}-{key}"
        points = {
            first: self._point(first, self._config, {}),
            **({NUDGED: self._point(NUDGED, self._config, {}, "nudged")} if nudge else {}),
            **{name: self._of(name, one) for name, one in names.items()},
        }
        turns = [Turn(points[first], 1), *([Turn(points[NUDGED], 1)] if nudge else [])]
        turns += [Turn(points[name], 1) for name in names]
        planned = [*turns, *(Turn(points[name], n) for n in range(2, self._repeats + 1) for name in (first, *names))]
        with CampaignProgress(planned) as progress:

            def on_finish(turn: Turn, finished: Finished) -> None:
                progress.finish(turn, finished)
                self._note(turn, finished, names.get(turn.point.key))

            try:
                order = self._rounds(turns, names, points, first, spare)
                campaign.run(order, self._folder, self._execute, on_start=progress.start, on_finish=on_finish)
            except KeyboardInterrupt as error:
                self.ending = InterruptedRunError(signals.by(error), f"; what was measured is in {self._folder}")
                if not self._finished:  # nothing to show
                    raise self.ending from error

    def _of(self, key: str, candidate: Candidate) -> Point:
        """A change's; a larger batch of perfkit's own model is given the original's, repeated, to be compared."""
        config = candidate.of(self._config)
        point = self._point(key, config, candidate.environment)
        if candidate.times == 1 or isinstance(config.workload, Own):
            return point
        return replace(point, extra=(*point.extra, "--results-batch", str(self._config.step.batch_size)))

    def _point(self, key: str, config: RunConfig, environment: dict[str, str], results: str = "on") -> Point:
        variables = tuple((self._environment | environment).items())
        return Point(key=key, config=config, extra=(*_EXTRA, results), environment=variables)

    def _rounds(
        self, turns: Sequence[Turn], names: dict[str, Candidate], points: dict[str, Point], first: str, spare: float
    ) -> Iterator[Turn]:
        """The first round in the order given, then rounds in random order, while there is time."""
        longest = 0.0
        for turn in turns:
            candidate = names.get(turn.point.key)
            if turn is not turns[0] and self.budget.left - spare < 2 * longest:
                if candidate is not None:
                    self._untried[candidate.name] = "no time left"
                continue
            yield turn
            longest = max(longest, self._seconds[turn.point.key])
        kept = [name for name, one in names.items() if self._goes_on(one)]
        for repeat in range(2, self._repeats + 1):
            left = self.budget.left - (spare if repeat > 2 else 0)
            still = choice.affordable(kept, self._seconds, self._seconds[first], left)
            for name in kept[len(still) :]:
                self._untried[names[name].name] = f"{repeat - 1} of {self._repeats} runs"
            kept = still
            if not kept:
                return
            seed = random.randrange(2**32)
            for turn in campaign.order([points[first], *(points[name] for name in kept)], 1, seed):
                yield Turn(turn.point, repeat)

    def _goes_on(self, candidate: Candidate) -> bool:
        name = candidate.name
        return name not in self._failed and name not in self._untried and self._equal[name].same

    def _note(self, turn: Turn, finished: Finished, candidate: Candidate | None) -> None:
        """Keep what a process measured; after the first of a change, say whether it computes the same."""
        name = ORIGINAL if candidate is None else candidate.name
        self._seconds[turn.point.key] = finished.wall_s
        if finished.outcome != "ok" or finished.record is None:
            if candidate is None or finished.disk_full:
                raise fresh.failure(f"{turn.name}: ", finished, self._folder)
            if turn.repeat == 1:
                self._failed[name] = finished.last_words
            else:
                self._finished[name].append(None)
            return
        folder = self._folder / turn.name
        if turn.point.key == NUDGED:
            self._nudged = computed.load(folder)
            return
        self._finished.setdefault(name, []).append(finished.record)
        if turn.repeat > 1:
            return
        found = computed.load(folder)
        if candidate is None:
            self._original = found
        elif self._original is not None and candidate.times > 1 and isinstance(self._config.workload, Own):
            self._equal[name] = equality.check_batch(self._original, found, candidate.times)
        elif self._original is not None and self._nudged is not None:
            self._equal[name] = equality.check(self._original, found, self._nudged)

    def _trials(self, candidates: Sequence[Candidate]) -> list[Trial]:
        measured = {one.name: self._finished[one.name] for one in candidates if one.name in self._finished}
        before = self._finished[ORIGINAL]  # the first process of all: where it fails, there are no trials
        times = {one.name: one.times for one in candidates}
        rows = choice.rows(before, measured, self._plan.clock, self._plan.margin, times)
        base = choice.peak(before)
        trials = []
        for one in candidates:
            trial = Trial(
                one,
                rows.get(one.name),
                self._equal.get(one.name),
                failed=self._failed.get(one.name, ""),
                untried=self._untried.get(one.name, ""),
            )
            peak = choice.peak(measured.get(one.name, ()))
            if peak is not None and base is not None:
                trial = replace(trial, memory_bytes=round(peak - base), memory_share=peak / base - 1)
            trials.append(trial)
        return trials
