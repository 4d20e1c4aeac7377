"""Whether a planted fault was found, what it was said to cost, and what was found where nothing is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from scripts.scoring.measuring import Measured, Side
from tests.docs.pages import rules

FIRST, ALARMS, ERROR, CEILING = 0.9, 0.05, 0.2, 0.05
"""What is asked: faults named first, twins with a false alarm, the median error of gains, and how far a ceiling may lie
below the gain."""
LARGE = 0.05
"""A finding that costs a healthy twin more than this share of its step is a false alarm, whatever its rule."""
EFFECT = 0.05
"""A fault that costs less than this share of its step here is not planted here, and does not count."""


@dataclass(frozen=True, slots=True)
class Found:
    """A performance finding."""

    rule: str
    what: str
    where: str
    ns: float | None
    """What it says is to be gained a step: by a replay where there is one, else what is at stake."""
    is_ceiling: bool = False
    """Whether a replay gave it, which says `at most`. What is at stake is the time that something took, without
    what it makes slower by taking caches from it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One fault."""

    measured: Measured
    accepted: frozenset[str]
    found: tuple[Found, ...]
    """In the recording with the fault, in their order."""
    alarms: tuple[Found, ...]
    """In the recording of the healthy twin: what should not be there."""

    @property
    def counts(self) -> bool:
        """Whether the fault costs anything here, and somebody has said which rules are right."""
        return bool(self.accepted) and self.has_effect

    @property
    def has_effect(self) -> bool:
        """Whether the fault costs enough here to be one."""
        return self.measured.gain_ns >= EFFECT * self.measured.fault.step_ns

    @property
    def place(self) -> int | None:
        """At which place the fault is named, from 1; None where it is not."""
        return next((place for place, one in enumerate(self.found, 1) if one.rule in self.accepted), None)

    @property
    def predicted_ns(self) -> float | None:
        """The gain by the finding that names the fault."""
        return None if self.place is None else self.found[self.place - 1].ns

    @property
    def error(self) -> float | None:
        """How far the predicted gain is from the measured one, as a share of that."""
        if self.predicted_ns is None:
            return None
        return abs(self.predicted_ns - self.measured.gain_ns) / self.measured.gain_ns

    @property
    def is_too_low(self) -> bool:
        """Whether more was gained than the finding said."""
        return self.predicted_ns is not None and self.predicted_ns < (1 - CEILING) * self.measured.gain_ns

    @property
    def ceiling_too_low(self) -> bool:
        """The same, although it said that no more could be."""
        return self.is_too_low and self.place is not None and self.found[self.place - 1].is_ceiling


@dataclass(frozen=True, slots=True)
class Score:
    """All faults that count."""

    faults: int
    first: int
    in_three: int
    alarmed: int
    twins: int
    """Healthy twins: those of faults without effect, too."""
    error: float | None
    ceilings: int
    ceilings_too_low: int
    costs_too_low: int

    @property
    def passed(self) -> bool:
        """Whether all is as it is asked for."""
        return (
            self.faults > 0
            and self.first >= FIRST * self.faults
            and self.alarmed <= ALARMS * self.twins
            and (self.error is not None and self.error <= ERROR)
            and self.ceilings_too_low == 0
        )


def analyse(trace: Path) -> dict[str, Any]:
    """What `perfkit analyze FILE --format json` says."""
    command = [sys.executable, "-m", "perfkit", "analyze", str(trace), "--format", "json"]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    if done.returncode:
        raise SystemExit(f"scoreboard: {' '.join(command)} failed: {done.stderr.strip()}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def performance(document: dict[str, Any], topics: dict[str, str]) -> tuple[Found, ...]:
    """The findings about performance, in the order in which people read them."""
    return tuple(
        Found(
            one["rule"],
            one["what"],
            one["where"],
            one["cost_ns"] if one["gain_ns"] is None else one["gain_ns"],
            one["gain_ns"] is not None,
        )
        for one in document["findings"]
        if topics.get(one["rule"]) == "performance"
    )


def topics_of_rules() -> dict[str, str]:
    """The topic of each rule of perfkit, by its id."""
    return {rule.id: rule.topic for rule in rules().values()}


def false_alarms(found: Iterable[Found], accepted: frozenset[str], healthy: Side) -> tuple[Found, ...]:
    """What a healthy twin should not show: its fault's own finding, or any other of weight."""
    large = LARGE * healthy.recorded_ns
    return tuple(one for one in found if one.rule in accepted or (one.ns is not None and one.ns > large))


def judge(measured: Measured, accepted: frozenset[str], topics: dict[str, str]) -> Judged:
    """Analyse both recordings of a fault."""
    found = performance(analyse(measured.fault.trace), topics)
    healthy = performance(analyse(measured.healthy.trace), topics)
    return Judged(measured, accepted, found, false_alarms(healthy, accepted, measured.healthy))


def score(judged: Iterable[Judged]) -> Score:
    """Count."""
    everything = list(judged)
    counted = [one for one in everything if one.counts]
    errors = [one.error for one in counted if one.error is not None]
    return Score(
        faults=len(counted),
        first=sum(one.place == 1 for one in counted),
        in_three=sum(one.place is not None and one.place <= 3 for one in counted),
        alarmed=sum(bool(one.alarms) for one in everything),
        twins=len(everything),
        error=median(errors) if errors else None,
        ceilings=sum(one.place is not None and one.found[one.place - 1].is_ceiling for one in counted),
        ceilings_too_low=sum(one.ceiling_too_low for one in counted),
        costs_too_low=sum(one.is_too_low and not one.ceiling_too_low for one in counted),
    )
