"""Why a run's number is as noisy as it is: RunRecord -> findings. Pure functions; the rules are in docs/measurement.md.

A finding is a value: the number that triggered it, the cause, what corroborates that, and the next flag to try.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from perfkit.analysis import cause_texts, causes, disturbances, gpu_causes, stats, trend, variance
from perfkit.analysis.causes import Account, Cause
from perfkit.analysis.disturbances import Disturbance
from perfkit.analysis.stats import Floats
from perfkit.analysis.variance import Share
from perfkit.schema import units
from perfkit.schema.config import RunConfig
from perfkit.schema.record import RunRecord

QUIET_CV = 0.02
"""Below this spread the variance is not taken apart: there is nothing to gain."""
LOST_SHARE = 0.10
"""What every step loses shows in no variance: it is named from 10% of all the steps' time on."""
HIGH_LAG1 = 0.5
"""Neighbouring steps that alike (and significantly so) leave too few independent ones for an interval."""
_LAG1_SIGMAS = 2.58
"""Of the estimate on independent samples, 1 / sqrt(n): one in a hundred passes by chance."""
_STARVED = 0.3
"""Threads that wait for a CPU for this share of the typical step are too many, or have neighbours."""
_EVERY_STEP = (Cause.PREEMPTED, Cause.THROTTLED, Cause.STEAL, Cause.GC, Cause.COMPILE, Cause.FAULTS)

Kind = Literal[
    "variance", "warm-up", "level", "step", "every step", "drift", "autocorrelation", "spill", "too many threads"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to know about a run's noise."""

    kind: Kind
    number: float
    """What triggered it, as a ratio; what of is in `measure`."""
    measure: str
    cause: str | None
    """None: unexplained, or nothing that has a cause."""
    evidence: str
    """The counters that say so, in words and numbers."""
    advice: str
    """The next flag, setting or command to try; empty where there is none."""
    steps: tuple[int, ...] = ()
    """Measured steps it is about, counted from 1; none where it is about all."""


@dataclass(frozen=True, slots=True)
class Stability:
    """All that is known about a run's noise."""

    cv: float
    shares: tuple[Share, ...]
    """Of the variance, largest first, unexplained last; empty for a quiet run, or one without counters."""
    cv_without: float
    """CV of the steps that are not attributed to a cause; nan where none is, or fewer than five are left."""
    attributed: int
    """Steps attributed to a cause."""
    disturbances: tuple[Disturbance, ...]
    findings: tuple[Finding, ...]
    """What matters most first."""
    interval_reliable: bool
    """False where drift, levels or autocorrelation make the mean's interval too narrow."""

    @property
    def first_cause(self) -> str | None:
        """The cause named first."""
        return next((finding.cause for finding in self.findings if finding.cause), None)


def examine(record: RunRecord) -> Stability | None:
    """What is known about the noise of a run's measured steps; None where there are fewer than two."""
    if len(record.steps) < 2:
        return None
    account = causes.account(record)
    gpu_causes.add(account, record)
    found = disturbances.find(account)
    cv = stats.summarize(account.wall).cv
    shares = variance.shares(account, found) if _is_worth_it(cv, account) else ()
    attributed = sorted({step for one in found if one.cause for step in range(one.first, one.last + 1)})
    rest = np.delete(account.wall, attributed)
    drift = _drift(account.wall, found)
    alike = _autocorrelation(account.wall)
    findings = [
        *_variance(cv, shares, record.config),
        *_disturbed(found, account, record.config),
        *_every_step(account, record.config),
        *_threads(account, record),
        *([drift] if drift else []),
        *([alike] if alike else []),
        *_spill(record),
    ]
    findings.sort(key=lambda finding: _place(finding, cv, warmed=account.warmed))
    return Stability(
        cv=cv,
        shares=shares,
        cv_without=stats.summarize(rest).cv if attributed and len(rest) >= disturbances.FEWEST else math.nan,
        attributed=len(attributed),
        disturbances=found,
        findings=tuple(findings),
        interval_reliable=not (drift or alike or any(one.kind in ("level", "warm-up") for one in found)),
    )


def _place(finding: Finding, cv: float, *, warmed: bool) -> int:
    """What makes all other numbers wrong comes first, then what takes more of the mean than the spread is of it.

    Warm-up is of the former where there was next to none; otherwise the order in which findings are made stands.
    """
    if finding.kind == "spill" or (finding.kind == "warm-up" and not warmed):
        return 0
    return 1 if finding.kind == "every step" and finding.number > cv else 2


def _is_worth_it(cv: float, account: Account) -> bool:
    return cv >= QUIET_CV and account.has_probes and len(account.wall) >= disturbances.FEWEST


def _variance(cv: float, shares: tuple[Share, ...], config: RunConfig) -> list[Finding]:
    if not shares:
        return []
    first = shares[0].cause
    parts = [f"{units.percent(one.share)} {_name(one.cause)}" for one in shares]
    evidence = f"variance: {', '.join(parts)}"
    hint = cause_texts.advice(first, config) if first and first is not Cause.WARMUP else ""
    return [Finding(kind="variance", number=cv, measure="CV", cause=first.value if first else None,
                    evidence=evidence, advice=hint)]  # fmt: skip


def _name(cause: Cause | None) -> str:
    return "unexplained" if cause is None else cause.value


def _disturbed(found: Sequence[Disturbance], account: Account, config: RunConfig) -> list[Finding]:
    """One finding for each level and warm-up; one for all single steps of a cause."""
    groups: dict[tuple[str, object], list[Disturbance]] = {}
    for one in found:
        groups.setdefault((one.kind, one.cause if one.kind == "step" else (one.first, one.last)), []).append(one)
    ordered = sorted(groups.values(), key=lambda group: -sum(one.excess_s * _length(one) for one in group))
    return [_group(group, account, config) for group in ordered]


def _length(one: Disturbance) -> int:
    return one.last - one.first + 1


def _group(group: list[Disturbance], account: Account, config: RunConfig) -> Finding:
    one = max(group, key=lambda each: each.excess_s)
    over = one.excess_s / one.quiet_s
    said = f"up to {units.duration(one.excess_s)} over {units.duration(one.quiet_s)}" if len(group) > 1 else (
        f"{units.duration(one.excess_s)} over {units.duration(one.quiet_s)}"
    )  # fmt: skip
    if one.cause is None:
        evidence = f"{said}; no counter explains {units.percent(disturbances.EXPLAINED)} of it"
        hint = "--profiler torch, which shows what such a step does" if account.has_probes else ""
    else:
        evidence = said
        if one.cause is not Cause.WARMUP:
            evidence += f", {units.percent(min(one.explained, 1.0))} of it {cause_texts.counted(one, account)}"
        hint = cause_texts.advice(one.cause, config, one.last + 1)
    steps = tuple(step + 1 for each in group for step in range(each.first, each.last + 1))
    return Finding(kind=one.kind, number=over, measure="slower", cause=one.cause.value if one.cause else None,
                   evidence=evidence, advice=hint, steps=steps)  # fmt: skip


def _every_step(account: Account, config: RunConfig) -> list[Finding]:
    """What all steps lose to a cause: it shows in the mean, and not in the variance."""
    found = []
    for cause in _EVERY_STEP:
        seconds = account.seconds.get(cause)
        if seconds is None:
            continue
        share = float(seconds.sum() / account.wall.sum())
        if share >= LOST_SHARE:
            lost = f"{units.duration(float(seconds.mean()))} of the mean step"
            found.append(Finding(kind="every step", number=share, measure="of all time", cause=cause.value,
                                 evidence=lost, advice=cause_texts.advice(cause, config)))  # fmt: skip
    return sorted(found, key=lambda finding: -finding.number)


def _threads(account: Account, record: RunRecord) -> list[Finding]:
    """More threads than CPUs, or CPUs that others use too: threads then wait for each other at every operation."""
    environment = record.environment
    if environment.num_threads == 1 or record.config.device != "cpu":
        return []
    starved = float(np.median(account.delay) / np.median(account.wall)) if account.has_probes else 0.0
    if environment.num_threads <= environment.cpu_count and starved < _STARVED:
        return []
    evidence = f"{environment.num_threads} threads on {environment.cpu_count} CPUs"
    if starved >= _STARVED:
        evidence += f"; in the typical step one of them waits for a CPU for {units.percent(starved)} of the time"
    fewer = max(1, min(environment.num_threads - 1, environment.cpu_count // 2))
    ratio = environment.num_threads / environment.cpu_count
    return [Finding(kind="too many threads", number=ratio, measure="threads a CPU", cause=None, evidence=evidence,
                    advice=f"--num-threads {fewer}")]  # fmt: skip


def _drift(wall: Floats, found: Sequence[Disturbance]) -> Finding | None:
    """A trend, unless levels or warm-up are the better word for it."""
    if any(one.kind in ("level", "warm-up") for one in found) or len(wall) < disturbances.FEWEST:
        return None
    seen = trend.drift(wall)
    if not seen.is_clear:
        return None
    way = "slower" if seen.share > 0 else "faster"
    return Finding(kind="drift", number=seen.share, measure=f"{way} from first to last step", cause=None,
                   evidence=f"Mann-Kendall p = {seen.p:.2g}",
                   advice="more --warmup-steps, or a cooler, quieter machine")  # fmt: skip


def _autocorrelation(wall: Floats) -> Finding | None:
    r = stats.lag1(wall)
    n = len(wall)
    if n < disturbances.FEWEST or not r > max(HIGH_LAG1, _LAG1_SIGMAS / math.sqrt(n)):
        return None
    worth = stats.effective_n(n, r)
    return Finding(kind="autocorrelation", number=r, measure="between neighbours", cause=None,
                   evidence=f"{n} steps say as much as {worth:.1f} independent ones",
                   advice="fresh processes (several runs), not more steps")  # fmt: skip


def _spill(record: RunRecord) -> list[Finding]:
    why = gpu_causes.spill(record)
    if why is None:
        return []
    return [Finding(kind="spill", number=1.0, measure="", cause="GPU memory spilled into system memory", evidence=why,
                    advice="a smaller --batch-size or --context-length, or --checkpoint")]  # fmt: skip
