"""The sentences of findings about noise, each made of its values. Nothing is judged here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise

from perfkit.analysis.noise import causes
from perfkit.analysis.noise.disturbances import Disturbance
from perfkit.analysis.noise.variance import Share
from perfkit.analysis.statistics.trend import Drift
from perfkit.schema import units

_MOST_STEPS = 8
"""Step numbers named in one line; beyond that, only their count."""
_FIRST_STEPS = 3
"""Steps of a pattern that are named: the others follow from them, or are in the evidence."""


def disturbed(disturbance: Disturbance, steps: Sequence[int], counters: str) -> str:
    """Steps that stand out. `disturbance` is the largest; `steps` are all, from 1; `counters`: what counters say."""
    longer, why = _longer(disturbance, steps), _why(disturbance, counters)
    match disturbance.kind:
        case "mode":
            return _speeds(disturbance, steps) + why
        case "period":
            return f"every {ordinal(disturbance.period)} step ({_some(steps)}) takes {longer}{why}"
        case _:
            return f"{numbers(steps)} took {longer}{why}"


def _longer(disturbance: Disturbance, steps: Sequence[int]) -> str:
    """`29.85 ms (44.5%) more than the others, whose median is 67.12 ms`."""
    most = "up to " if disturbance.kind in ("step", "fast step") and len(steps) > 1 else ""
    way = "more" if disturbance.excess_s > 0 else "less"
    excess, share = abs(disturbance.excess_s), abs(disturbance.excess_s / disturbance.quiet_s)
    return (
        f"{most}{units.duration(excess)} ({units.percent(share)}) {way}"
        f" than the others, whose median is {units.duration(disturbance.quiet_s)}"
    )


def _why(disturbance: Disturbance, counters: str) -> str:
    """The cause, where there is one beside the pattern itself, and what counters say; with the colon before it."""
    if disturbance.kind == "warm-up":
        return ": warm-up is not finished"
    if disturbance.cause is not None and disturbance.cause not in causes.PATTERNS:
        verb = "explain" if disturbance.cause in (causes.Cause.FAULTS, causes.Cause.OTHERS) else "explains"
        return f": {disturbance.cause.value} {verb} {counters}"
    return f": {counters}" if counters else ""


def several_speeds(disturbance: Disturbance) -> str:
    """`the steps run at two speeds`."""
    return f"the steps run at {'two' if disturbance.speeds == 2 else 'three'} speeds"


def _speeds(disturbance: Disturbance, steps: Sequence[int]) -> str:
    """`the steps run at two speeds: 14 (steps 2, 5, 6, ...) take 150.0 ms in the mean, and the others 100.0 ms`."""
    slow = units.duration(disturbance.quiet_s + disturbance.excess_s)
    gaps = {b - a for a, b in pairwise(steps)}
    apart = f", {gaps.pop()} apart" if len(gaps) == 1 else ""
    return (
        f"{several_speeds(disturbance)}: {len(steps)} ({_some(steps)}{apart}) take {slow} in the mean, and the"
        f" {'others' if disturbance.speeds == 2 else 'fastest'} {units.duration(disturbance.quiet_s)}"
    )


def numbers(steps: Sequence[int]) -> str:
    """`step 6`, `steps 2, 5 to 9`, or `12 steps`."""
    runs = []
    for _, group in groupby(enumerate(steps), lambda pair: pair[1] - pair[0]):
        members = [number for _, number in group]
        runs.append(f"{members[0]}" if len(members) == 1 else f"{members[0]} to {members[-1]}")
    if len(runs) > _MOST_STEPS:
        return f"{len(steps)} steps"
    return ("step " if len(steps) == 1 else "steps ") + ", ".join(runs)


def _some(steps: Sequence[int]) -> str:
    """`steps 1, 9, 17, ...`: the first of a pattern."""
    first = ", ".join(str(step) for step in steps[:_FIRST_STEPS])
    return f"steps {first}{', ...' if len(steps) > _FIRST_STEPS else ''}"


def ordinal(number: int) -> str:
    """`2nd`, `3rd`, `8th`, `11th`, `21st`."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def variance(cv: float, shares: Sequence[Share], cv_without: float, attributed: int) -> str:
    """`CV 5.8%: 71% of the variance comes from X, 16% from Y; 13% is unexplained; without ...`."""
    *named, rest = shares
    head = f"CV {units.percent(cv)}"
    if not named:
        return f"{head}: no cause is named, because no counter explains more of the variance than chance would"
    parts = [f"{units.percent(share.share)} from {share.cause}" for share in named[1:]]
    parts = [f"{units.percent(named[0].share)} of the variance comes from {named[0].cause}", *parts]
    text = f"{head}: {', '.join(parts)}; {units.percent(rest.share)} is unexplained"
    if not math.isnan(cv_without):
        without = "step" if attributed == 1 else f"{attributed} steps"
        text += f"; excluding the {without} explained below, CV is {units.percent(cv_without)}"
    return text


def lost(cause: str, share: float, seconds: float, *, in_mean: bool = False) -> str:
    """What every step loses to a cause; `in_mean`: what is known of them together."""
    who, whole = ("the steps lose", "a step in the mean") if in_mean else ("every step loses", "the typical step")
    return f"{who} time to {cause}: {units.percent(share)}, {units.duration(seconds)} of {whole}"


def too_many_threads(threads: int, cpus: int, waiting: float, *, in_mean: bool = False) -> str:
    """`waiting`: share of the typical step, or of all, in which one waits for a CPU; 0 where that is negligible."""
    text = f"too many threads: {threads} threads on {cpus} CPUs"
    if not waiting:
        return text
    when = "the mean" if in_mean else "the typical step"
    return f"{text}; in {when} one of them waits for a CPU for {units.percent(waiting)} of the time"


def drift(drift: Drift) -> str:
    """A trend, with its p."""
    way = "slower" if drift.share > 0 else "faster"
    return (
        f"the steps drift: from the first to the last they get {way} by {units.percent(abs(drift.share))} of the median"
        f" (Mann-Kendall p = {drift.p:.2g})"
    )


def autocorrelation(r: float, n: int, worth: float) -> str:
    """Autocorrelation, and how many independent steps n steps are worth."""
    return (
        f"neighbouring steps are alike (autocorrelation {r:.2f}): {n} steps say as much as {worth:.1f} independent ones"
    )
