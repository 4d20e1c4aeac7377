"""Why a run's number is as noisy as it is: RunRecord -> findings. Pure functions; the rules are in docs/measurement.md.

A finding is a value: the number that triggered it, the cause, what corroborates that, and the next flag to try.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from perfkit.analysis import advice, cause_texts, causes, disturbances, gpu_causes, stats, trend, variance
from perfkit.analysis.advice import Situation
from perfkit.analysis.causes import Account, Cause
from perfkit.analysis.disturbances import Disturbance
from perfkit.analysis.stats import Floats
from perfkit.analysis.variance import Share
from perfkit.schema import units
from perfkit.schema.record import RunRecord

QUIET_CV = 0.02
"""Below this spread the variance is not taken apart: there is nothing to gain."""
MAIN_SHARE = 0.20
"""A cause with less of the variance than this is in the account, but is not what the spread is owed to."""
LOST_SHARE = 0.10
"""What every step loses shows in no variance: it is named from 10% of the typical (median) step's time on."""
HIGH_LAG1 = 0.5
"""Neighbouring steps that alike (and significantly so) leave too few independent ones for an interval."""
_LAG1_SIGMAS = 2.58
"""Of the estimate on independent samples, 1 / sqrt(n): one in a hundred passes by chance."""
_STARVED = 0.3
"""Threads that wait for a CPU for this share of the typical step are too many, or have neighbours."""
FEWEST_PERIODS = 5
"""The mean of whole periods has an interval from five of them on: fewer are no sample."""
_EVERY_STEP = (Cause.PREEMPTED, Cause.THROTTLED, Cause.STEAL, Cause.GC, Cause.COMPILE, Cause.FAULTS)

Kind = Literal[
    "variance", "warm-up", "level", "step", "fast step", "period", "mode", "every step", "drift", "autocorrelation",
    "spill", "too many threads",
]  # fmt: skip


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
    """The next flag, setting or command to try; empty where nothing is left to try."""
    steps: tuple[int, ...] = ()
    """Measured steps it is about, counted from 1; none where it is about all."""
    doubt: str = ""
    """Why the mean's interval cannot be relied on because of it; empty where it can."""
    excess_s: float = math.nan
    """Of steps: the most that one of them takes more than the quiet ones, in the mean; negative for fast steps."""
    quiet_s: float = math.nan
    """Median of the quiet steps."""
    period: int = 0
    """Of a period: steps from one slow step to the next."""


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

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the mean's interval is not reliable, each once. The findings say it: the two cannot disagree."""
        return tuple(dict.fromkeys(finding.doubt for finding in self.findings if finding.doubt))

    @property
    def interval_reliable(self) -> bool:
        """False where a finding makes the mean's interval too narrow, or the mean itself no one speed."""
        return not self.doubts

    @property
    def period(self) -> int:
        """Steps from one slow step to the next, where every k-th is slower; 1 where none is."""
        return max((one.period for one in self.disturbances), default=0) or 1

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
    attributed = sorted({step for one in found if one.cause for step in one.steps})
    rest = np.delete(account.wall, attributed)
    findings = [
        *_variance(cv, shares, record),
        *_disturbed(found, account, record),
        *_every_step(account, record),
        *_threads(account, record),
        *_drift(account.wall, found, record),
        *_autocorrelation(account.wall, record),
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


def _variance(cv: float, shares: tuple[Share, ...], record: RunRecord) -> list[Finding]:
    if not shares:
        return []
    first = shares[0].cause if shares[0].share >= MAIN_SHARE else None
    parts = [f"{units.percent(one.share)} {_name(one.cause)}" for one in shares]
    evidence = f"variance: {', '.join(parts)}"
    hint = advice.against(first, Situation(record)) if first and first not in causes.PATTERNS else ""
    return [Finding(kind="variance", number=cv, measure="CV", cause=first.value if first else None,
                    evidence=evidence, advice=hint)]  # fmt: skip


def _name(cause: Cause | None) -> str:
    return "unexplained" if cause is None else cause.value


def _disturbed(found: Sequence[Disturbance], account: Account, record: RunRecord) -> list[Finding]:
    """One finding for each level, pattern and warm-up; one for all single steps of a cause."""
    groups: dict[tuple[str, object], list[Disturbance]] = {}
    for one in found:
        single = one.kind in ("step", "fast step")
        groups.setdefault((one.kind, one.cause if single else one.steps), []).append(one)
    ordered = sorted(groups.values(), key=lambda group: -sum(abs(one.excess_s) * len(one.steps) for one in group))
    return [_group(group, account, record) for group in ordered]


def _group(group: list[Disturbance], account: Account, record: RunRecord) -> Finding:
    one = max(group, key=lambda each: abs(each.excess_s))
    if one.cause is None:
        evidence = f"no counter explains {units.percent(disturbances.EXPLAINED)} of the difference"
        if account.has_probes and (own := cause_texts.own_time(one, account)):
            evidence += f" ({own})"
    elif one.cause in causes.PATTERNS:
        evidence = cause_texts.own_time(one, account) if one.kind != "warm-up" else ""
    else:
        share = units.percent(min(one.explained, 1.0))
        evidence = f"{share} of the difference ({cause_texts.counted(one, account)})"
    situation = Situation(record, slow=one.last + 1, period=one.period)
    hint = advice.against(one.cause or "unexplained step", situation) if one.cause or account.has_probes else ""
    steps = tuple(step + 1 for each in group for step in each.steps)
    return Finding(kind=one.kind, number=one.excess_s / one.quiet_s, measure="slower",
                   cause=one.cause.value if one.cause else None, evidence=evidence, advice=hint, steps=steps,
                   doubt=_doubt(one, len(account.wall)), excess_s=one.excess_s, quiet_s=one.quiet_s,
                   period=one.period)  # fmt: skip


def _doubt(one: Disturbance, n: int) -> str:
    """What a disturbance makes of the mean's interval: nothing, or why it cannot be relied on."""
    match one.kind:
        case "warm-up":
            return "warm-up is not finished"
        case "level":
            return "the level shifts"
        case "mode":
            return "the steps run at two speeds"
        case "period" if n // one.period < FEWEST_PERIODS:
            return f"it holds only {n // one.period} whole periods of {one.period} steps"
        case _:
            return ""


def _every_step(account: Account, record: RunRecord) -> list[Finding]:
    """What all steps lose to a cause: it shows in the mean, and not in the variance."""
    found = []
    for cause in _EVERY_STEP:
        seconds = account.seconds.get(cause)
        if seconds is None:
            continue
        lost_s = float(np.median(seconds))
        share = lost_s / float(np.median(account.wall))
        if share >= LOST_SHARE:
            lost = f"{units.duration(lost_s)} of the typical step"
            found.append(Finding(kind="every step", number=share, measure="of the typical step", cause=cause.value,
                                 evidence=lost, advice=advice.against(cause, Situation(record))))  # fmt: skip
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
    ratio = environment.num_threads / environment.cpu_count
    return [Finding(kind="too many threads", number=ratio, measure="threads a CPU", cause=None, evidence=evidence,
                    advice=advice.against("too many threads", Situation(record)))]  # fmt: skip


def _drift(wall: Floats, found: Sequence[Disturbance], record: RunRecord) -> list[Finding]:
    """A trend, unless levels or warm-up are the better word for it."""
    if any(one.kind in ("level", "warm-up") for one in found) or len(wall) < disturbances.FEWEST:
        return []
    seen = trend.drift(wall)
    if not seen.is_clear:
        return []
    way = "slower" if seen.share > 0 else "faster"
    return [Finding(kind="drift", number=seen.share, measure=f"{way} from first to last step", cause=None,
                    evidence=f"Mann-Kendall p = {seen.p:.2g}", advice=advice.against("drift", Situation(record)),
                    doubt="the steps drift")]  # fmt: skip


def _autocorrelation(wall: Floats, record: RunRecord) -> list[Finding]:
    r = stats.lag1(wall)
    n = len(wall)
    if n < disturbances.FEWEST or not r > max(HIGH_LAG1, _LAG1_SIGMAS / math.sqrt(n)):
        return []
    worth = stats.effective_n(n, r)
    return [Finding(kind="autocorrelation", number=r, measure="between neighbours", cause=None,
                    evidence=f"{n} steps say as much as {worth:.1f} independent ones",
                    advice=advice.against("autocorrelation", Situation(record)),
                    doubt="neighbouring steps depend on each other")]  # fmt: skip


def _spill(record: RunRecord) -> list[Finding]:
    why = gpu_causes.spill(record)
    if why is None:
        return []
    return [Finding(kind="spill", number=1.0, measure="", cause="GPU memory spilled into system memory", evidence=why,
                    advice=advice.against("spill", Situation(record)))]  # fmt: skip
