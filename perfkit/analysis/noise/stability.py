"""Why a run's times vary: RunRecord -> findings. Pure functions; the rules are in docs/measurement.md.

Their sentences are made in `noise_texts`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from perfkit.analysis.noise import advice, cause_texts, gpu_causes, variance
from perfkit.analysis.noise import texts as noise_texts
from perfkit.analysis.noise.advice import Situation
from perfkit.analysis.noise.causes import PATTERNS, Cause, CauseTimes, times_by_cause, window_by_cause
from perfkit.analysis.noise.disturbances import EXPLAINED, FEWEST, Disturbance, Kind, find_disturbances
from perfkit.analysis.noise.variance import Share
from perfkit.analysis.statistics import stats, trend
from perfkit.analysis.statistics.stats import Floats
from perfkit.schema import units
from perfkit.schema.finding import NO_COST, Cost, Evidence, Finding, Rule, Sure
from perfkit.schema.record import RunRecord

QUIET_CV = 0.02
"""Below this spread the variance is not attributed to causes: there is little to gain."""
MAIN_SHARE = 0.20
"""A cause with less of the variance than this is in the account, but is not what the spread is owed to."""
LOST_SHARE = 0.10
"""What every step loses does not show in the variance: it is named from 10% of the typical (median) step's time."""
HIGH_LAG1 = 0.5
"""Above this autocorrelation (if significant) too few steps are independent for an interval."""
_LAG1_SIGMAS = 2.58
"""Of the estimate on independent samples, 1 / sqrt(n): one in a hundred passes by chance."""
_STARVED = 0.3
"""Threads that wait for a CPU for this share of the typical step are too many, or have neighbours."""
FEWEST_PERIODS = 5
"""The mean of whole periods has an interval from five of them on: fewer are too small a sample."""
_TAKING = (Cause.PREEMPTED.value, Cause.THROTTLED.value, Cause.STEAL.value)
"""Causes that are not the program's own: the same program takes less time where they are not."""
_EVERY_STEP = (Cause.PREEMPTED, Cause.THROTTLED, Cause.STEAL, Cause.GC, Cause.COMPILE, Cause.FAULTS)

WARMUP_UNFINISHED = Rule("warmup-unfinished", "noise", "the first measured steps still warm up")
LEVEL_SHIFT = Rule("level-shift", "noise", "from some step on, all steps take more, or less, time")
SLOW_STEPS = Rule("slow-steps", "noise", "single steps take longer than the others")
FAST_STEPS = Rule("fast-steps", "noise", "single steps take less time than the others")
PERIODIC_STEPS = Rule("periodic-steps", "noise", "every k-th step takes more, or less, time than the others")
TWO_SPEEDS = Rule("two-speeds", "noise", "the steps run at two or three speeds")


_RULES: dict[Kind, Rule] = {
    "warm-up": WARMUP_UNFINISHED, "level": LEVEL_SHIFT, "step": SLOW_STEPS,
    "fast step": FAST_STEPS, "period": PERIODIC_STEPS, "mode": TWO_SPEEDS,
}  # fmt: skip


class _Judged(NamedTuple):
    """A finding, and what it means for the others."""

    finding: Finding
    cause: str | None = None
    """None: unexplained, or nothing that has a cause."""
    doubt: str = ""
    """Why the mean's interval cannot be relied on because of it; empty where it can."""


@dataclass(frozen=True, slots=True)
class Stability:
    """What is known about a run's noise."""

    cv: float
    shares: tuple[Share, ...]
    """Of the variance, largest first, unexplained last; empty for a quiet run, or one without counters."""
    cv_without: float
    """CV of the steps not attributed to a cause; nan where none is, or where fewer than half or five are left."""
    attributed: int
    """Steps attributed to a cause."""
    disturbances: tuple[Disturbance, ...]
    findings: tuple[Finding, ...]
    """What matters most first."""
    causes: tuple[str, ...] = ()
    """Causes that findings name, in their order."""
    doubts: tuple[str, ...] = ()
    """Why the mean's interval is not reliable, each once; made with the findings, so that the two cannot disagree."""

    @property
    def interval_reliable(self) -> bool:
        """False where a finding makes the mean's interval too narrow, or where the steps have no single speed."""
        return not self.doubts

    @property
    def period(self) -> int:
        """Steps from one slow step to the next, where every k-th is slower; 1 where none is."""
        return max((disturbance.period for disturbance in self.disturbances), default=0) or 1

    @property
    def first_cause(self) -> str | None:
        """The cause named first."""
        return next(iter(self.causes), None)


def examine(record: RunRecord) -> Stability | None:
    """What is known about the noise of a run's measured steps; None where there are fewer than two."""
    if len(record.steps) < 2:
        return None
    times = times_by_cause(record)
    gpu_causes.add(times, record)
    whole = window_by_cause(record)
    disturbances = find_disturbances(times)
    cv = stats.summarize(times.wall).cv
    shares = variance.shares(times, disturbances) if _is_worth_it(cv, times) else ()
    attributed = sorted({step for disturbance in disturbances if disturbance.cause for step in disturbance.steps})
    rest = np.delete(times.wall, attributed)
    is_rest = attributed and len(rest) >= max(FEWEST, len(attributed))
    cv_without = stats.summarize(rest).cv if is_rest else math.nan
    judged = [
        *_variance(cv, shares, cv_without, len(attributed), record),
        *_disturbed(disturbances, times, record),
        *_every_step(whole or times, record),
        *_threads(whole or times, record),
        *_drift(times.wall, disturbances, record),
        *_autocorrelation(times.wall, disturbances, record),
        *_spill(record),
    ]
    judged.sort(key=lambda each: _place(each.finding, cv, warmed=times.warmed))
    return Stability(
        cv=cv,
        shares=shares,
        cv_without=cv_without,
        attributed=len(attributed),
        disturbances=disturbances,
        findings=tuple(each.finding for each in judged),
        causes=tuple(each.cause for each in judged if each.cause),
        doubts=tuple(dict.fromkeys(each.doubt for each in judged if each.doubt)),
    )


def taken(record: RunRecord) -> Finding | None:
    """The finding that other programs, or a limit on the CPUs, took time from the steps; None where none did.

    Threads that are more than the CPUs wait for each other; where they are as many or fewer, they wait for others.
    """
    if not record.steps:
        return None
    times = window_by_cause(record) or times_by_cause(record)
    crowded = record.environment.num_threads > record.environment.cpu_count
    of_others = [each for each in _every_step(times, record) if each.cause in _TAKING]
    return next((each.finding for each in (*of_others, *([] if crowded else _threads(times, record)))), None)


MEMORY_SPILL = Rule("memory-spill", "noise", "GPU memory spilled into system memory")
LOST_EVERY_STEP = Rule("lost-every-step", "noise", "every step loses time to the same cause")


def _place(finding: Finding, cv: float, *, warmed: bool) -> int:
    """Findings that make all other numbers wrong come first, then losses that are larger than the spread.

    Unfinished warm-up is one of the former where there were too few warm-up steps; the others keep their order.
    """
    if finding.rule is MEMORY_SPILL or (finding.rule is WARMUP_UNFINISHED and not warmed):
        return 0
    return 1 if finding.rule is LOST_EVERY_STEP and (finding.cost.share or 0.0) > cv else 2


def _is_worth_it(cv: float, times: CauseTimes) -> bool:
    return cv >= QUIET_CV and times.has_probes and len(times.wall) >= FEWEST


VARIANCE = Rule("variance", "noise", "how far the steps spread, and what causes it")


def _variance(
    cv: float, shares: tuple[Share, ...], cv_without: float, attributed: int, record: RunRecord
) -> list[_Judged]:
    if not shares:
        return []
    first = shares[0].cause if shares[0].share >= MAIN_SHARE else None
    hint = advice.against(first, Situation(record)) if first and first not in PATTERNS else ""
    text = noise_texts.variance(cv, shares, cv_without, attributed)
    evidence = tuple(Evidence("noise", {"cause": share.name}) for share in shares)
    finding = Finding(VARIANCE, text, evidence=evidence, advice=hint, sure="derived")
    return [_Judged(finding, first.value if first else None)]


def _disturbed(disturbances: Sequence[Disturbance], times: CauseTimes, record: RunRecord) -> list[_Judged]:
    """One finding for each level, pattern and warm-up; one for all single steps of a cause."""
    groups: dict[tuple[str, object], list[Disturbance]] = {}
    for disturbance in disturbances:
        single = disturbance.kind in ("step", "fast step")
        groups.setdefault((disturbance.kind, disturbance.cause if single else disturbance.steps), []).append(
            disturbance
        )
    ordered = sorted(
        groups.values(),
        key=lambda group: -sum(abs(disturbance.excess_s) * len(disturbance.steps) for disturbance in group),
    )
    return [_group(group, times, record) for group in ordered]


def _group(group: list[Disturbance], times: CauseTimes, record: RunRecord) -> _Judged:
    disturbance = max(group, key=lambda each: abs(each.excess_s))
    if disturbance.cause is None:
        counters = f"no counter explains as much as {units.percent(EXPLAINED)} of the difference"
        if times.has_probes and (own := cause_texts.own_time(disturbance, times)):
            counters += f" ({own})"
    elif disturbance.cause in PATTERNS:
        counters = cause_texts.own_time(disturbance, times) if disturbance.kind != "warm-up" else ""
    else:
        share = units.percent(min(disturbance.explained, 1.0))
        counters = f"{share} of the difference ({cause_texts.counter(disturbance, times)})"
    situation = Situation(record, slow=disturbance.last + 1, period=disturbance.period)
    key = (
        Cause.FAST
        if disturbance.cause is Cause.PERIODIC and disturbance.excess_s < 0
        else disturbance.cause or "unexplained step"
    )
    hint = advice.against(key, situation) if disturbance.cause or times.has_probes else ""
    steps = tuple(step + 1 for each in group for step in each.steps)
    return _Judged(
        Finding(
            _RULES[disturbance.kind],
            noise_texts.disturbed(disturbance, steps, counters),
            _cost(sum(each.excess_s * len(each.steps) for each in group), times),
            tuple(Evidence("steps", {"kind": "measured", "step": step}) for step in steps),
            advice=hint,
            sure="derived" if disturbance.cause else "measured",
            where=noise_texts.numbers(steps),
        ),
        disturbance.cause.value if disturbance.cause else None,
        _doubt(disturbance, len(times.wall)),
    )


def _cost(seconds: float, times: CauseTimes) -> Cost:
    """The excess of all these steps together, spread over every measured step; no cost where they are faster."""
    if seconds <= 0:
        return NO_COST
    return Cost(round(seconds / len(times.wall) * 1e9), seconds / float(times.wall.sum()))


def _doubt(disturbance: Disturbance, n: int) -> str:
    """Why a disturbance makes the mean's interval unreliable; empty where it does not."""
    match disturbance.kind:
        case "warm-up":
            return "warm-up is not finished"
        case "level":
            return "the level shifts"
        case "mode":
            return noise_texts.several_speeds(disturbance)
        case "period" if n // disturbance.period < FEWEST_PERIODS:
            return f"the run holds only {n // disturbance.period} whole periods of {disturbance.period} steps"
        case _:
            return ""


def _every_step(times: CauseTimes, record: RunRecord) -> list[_Judged]:
    """What all steps lose to a cause: it shows in the mean, but not in the variance.

    `times` are of the steps, or of one that stands for all together.
    """
    judged = []
    in_mean = record.window is not None
    step_s = float(np.mean([sample.wall_s for sample in record.steps]) if in_mean else np.median(times.wall))
    for cause in _EVERY_STEP:
        seconds = times.seconds.get(cause)
        if seconds is None:
            continue
        share = float(np.median(seconds)) / float(np.median(times.wall))
        lost_s = share * step_s
        if share >= LOST_SHARE:
            finding = Finding(
                LOST_EVERY_STEP,
                noise_texts.lost(cause.value, share, lost_s, in_mean=in_mean),
                Cost(round(lost_s * 1e9), share),
                advice=advice.against(cause, Situation(record)),
                sure="derived",
            )
            judged.append(_Judged(finding, cause.value))
    return sorted(judged, key=lambda each: -(each.finding.cost.share or 0.0))


TOO_MANY_THREADS = Rule("too-many-threads", "noise", "there are more threads than free CPUs")


def _threads(times: CauseTimes, record: RunRecord) -> list[_Judged]:
    """More threads than CPUs, or CPUs that others use too: threads then wait for each other at every operation."""
    environment = record.environment
    if environment.num_threads == 1 or record.config.step.device != "cpu":
        return []
    starved = float(np.median(times.delay) / np.median(times.wall)) if times.has_probes else 0.0
    if environment.num_threads <= environment.cpu_count and starved < _STARVED:
        return []
    waiting = starved if starved >= _STARVED else 0.0
    in_mean = record.window is not None
    text = noise_texts.too_many_threads(environment.num_threads, environment.cpu_count, waiting, in_mean=in_mean)
    hint = advice.against("too many threads", Situation(record))
    return [_Judged(Finding(TOO_MANY_THREADS, text, advice=hint, sure="derived"))]


def _usual(wall: Floats, disturbances: Sequence[Disturbance]) -> Floats:
    """Times in which single steps that stand out, and warm-up, have the usual time.

    They have findings of their own, and must not count as a drift or as autocorrelation too.
    """
    usual = wall.copy()
    for disturbance in disturbances:
        if disturbance.kind in ("step", "fast step", "warm-up"):
            usual[disturbance.index] = disturbance.quiet_s
    return usual


DRIFT = Rule("drift", "noise", "the steps get slower or faster from the first to the last")


def _drift(wall: Floats, disturbances: Sequence[Disturbance], record: RunRecord) -> list[_Judged]:
    """A trend, unless levels or warm-up describe it better."""
    if any(disturbance.kind in ("level", "warm-up") for disturbance in disturbances) or len(wall) < FEWEST:
        return []
    drift = trend.drift(_usual(wall, disturbances))
    if not drift.is_clear:
        return []
    hint = advice.against("drift", Situation(record))
    return [_Judged(Finding(DRIFT, noise_texts.drift(drift), advice=hint, sure="derived"), doubt="the steps drift")]


AUTOCORRELATION = Rule("autocorrelation", "noise", "neighbouring steps are alike")


def _autocorrelation(wall: Floats, disturbances: Sequence[Disturbance], record: RunRecord) -> list[_Judged]:
    r = stats.lag1(_usual(wall, disturbances))
    n = len(wall)
    if n < FEWEST or not r > max(HIGH_LAG1, _LAG1_SIGMAS / math.sqrt(n)):
        return []
    text = noise_texts.autocorrelation(r, n, stats.effective_n(n, r))
    hint = advice.against("autocorrelation", Situation(record))
    finding = Finding(AUTOCORRELATION, text, advice=hint, sure="derived")
    return [_Judged(finding, doubt="neighbouring steps depend on each other")]


def _spill(record: RunRecord) -> list[_Judged]:
    why = gpu_causes.spill(record)
    if why is None:
        return []
    cause, hint = "GPU memory spilled into system memory", advice.against("spill", Situation(record))
    sure: Sure = "measured" if gpu_causes.is_beyond_memory(record) else "guessed"
    return [_Judged(Finding(MEMORY_SPILL, f"{cause}: {why}", advice=hint, sure=sure), cause)]
