"""Stability -> lines for people and tables for scripts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise

import pandas as pd

from perfkit.analysis import causes
from perfkit.analysis.stability import Finding, Stability
from perfkit.schema import units
from perfkit.schema.record import RunRecord
from perfkit.schema.table import Column, Table

_MOST_STEPS = 8
"""Step numbers named in one line; of more only how many there are."""
_FIRST_STEPS = 3
"""Steps named of a pattern: the rest follows from them, or is in the table of findings."""
_PATTERNS = {cause.value for cause in causes.PATTERNS}


def lines(noise: Stability | None) -> list[str]:
    """One line a finding; an advice is given once."""
    if noise is None:
        return []
    given: set[str] = set()
    written = []
    for finding in noise.findings:
        hint = f"; try {finding.advice}" if finding.advice and finding.advice not in given else ""
        given.add(finding.advice)
        written.append(_line(finding, noise) + hint)
    return written


def _line(finding: Finding, noise: Stability) -> str:
    number, cause = units.percent(abs(finding.number)), finding.cause or "unexplained"
    match finding.kind:
        case "variance":
            return variance_line(noise)
        case "step" | "fast step" | "level" | "warm-up":
            return f"{_steps(finding)} took {_longer(finding)}{_why(finding)}"
        case "period":
            return f"every {ordinal(finding.period)} step ({_some(finding)}) takes {_longer(finding)}{_why(finding)}"
        case "mode":
            return _modes_line(finding)
        case "every step":
            return f"every step loses time to {cause}: {number}, {finding.evidence}"
        case "drift":
            way = "slower" if finding.number > 0 else "faster"
            return f"the steps drift: they get {number} {way} from the first to the last ({finding.evidence})"
        case "autocorrelation":
            return f"neighbouring steps are alike (autocorrelation {finding.number:.2f}): {finding.evidence}"
        case "spill":
            return f"{cause}: {finding.evidence}"
        case "too many threads":
            return f"too many threads: {finding.evidence}"


def _longer(finding: Finding) -> str:
    """`29.85 ms (44.5%) more than the others, whose median is 67.12 ms`."""
    most = "up to " if finding.kind in ("step", "fast step") and len(finding.steps) > 1 else ""
    way = "more" if finding.excess_s > 0 else "less"
    return (
        f"{most}{units.duration(abs(finding.excess_s))} ({units.percent(abs(finding.number))}) {way}"
        f" than the others, whose median is {units.duration(finding.quiet_s)}"
    )


def _why(finding: Finding) -> str:
    """The cause, where there is one beside the pattern itself, and what counters say; with the colon before it."""
    if finding.kind == "warm-up":
        return ": warm-up is not finished"
    if finding.cause and finding.cause not in _PATTERNS:
        return f": {finding.cause} explains {finding.evidence}"
    return f": {finding.evidence}" if finding.evidence else ""


def _modes_line(finding: Finding) -> str:
    """`the steps run at two speeds: 14 (steps 2, 5 to 9, ...) take 150.0 ms, the others 100.0 ms`."""
    slow = units.duration(finding.quiet_s + finding.excess_s)
    gaps = {b - a for a, b in pairwise(finding.steps)}
    apart = f", {gaps.pop()} apart" if len(gaps) == 1 else ""
    return (
        f"the steps run at two speeds: {len(finding.steps)} ({_some(finding)}{apart}) take {slow} in the mean, and the"
        f" others {units.duration(finding.quiet_s)}{_why(finding)}"
    )


def ordinal(number: int) -> str:
    """`2nd`, `3rd`, `8th`, `11th`, `21st`."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def variance_line(noise: Stability) -> str:
    """`CV 5.8%: 71% of the variance comes from X, 16% from Y; 13% is unexplained; without ...`."""
    *named, rest = noise.shares
    head = f"CV {units.percent(noise.cv)}"
    if not named:
        return f"{head}: no cause is named, because no counter explains more of the variance than chance would"
    parts = [f"{units.percent(share.share)} from {share.cause}" for share in named[1:]]
    parts = [f"{units.percent(named[0].share)} of the variance comes from {named[0].cause}", *parts]
    text = f"{head}: {', '.join(parts)}; {units.percent(rest.share)} is unexplained"
    if not math.isnan(noise.cv_without):
        without = "step" if noise.attributed == 1 else f"{noise.attributed} steps"
        text += f"; without the {without} explained below CV is {units.percent(noise.cv_without)}"
    return text


def _steps(finding: Finding) -> str:
    """`step 6`, `steps 2, 5 to 9`, or `12 steps`."""
    runs = []
    for _, group in groupby(enumerate(finding.steps), lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in group]
        runs.append(f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}")
    if len(runs) > _MOST_STEPS:
        return f"{len(finding.steps)} steps"
    return ("step " if len(finding.steps) == 1 else "steps ") + ", ".join(runs)


def _some(finding: Finding) -> str:
    """`steps 1, 9, 17, ...`: the first of a pattern."""
    first = ", ".join(str(step) for step in finding.steps[:_FIRST_STEPS])
    return f"steps {first}{', ...' if len(finding.steps) > _FIRST_STEPS else ''}"


def probes_line(record: RunRecord) -> str | None:
    """What the probes cost."""
    if record.probing is None:
        return None
    return f"probes: {units.duration(record.probing.seconds_per_step)} a step, between the steps"


def tables(noise: Stability | None) -> Sequence[Table]:
    """For scripts: `noise`, the variance by cause, and `findings`, one row each."""
    return () if noise is None else (_noise_table(noise), _findings_table(noise))


def _noise_table(noise: Stability) -> Table:
    columns = (Column("cause"), Column("share", "1", "share", "share of variance", summed=True),
               Column("mean_s", "s", "time", "in the mean step", scale="time"))  # fmt: skip
    rows = [(str(one.cause or "unexplained"), one.share, one.mean_s) for one in noise.shares]
    frame = pd.DataFrame(rows, columns=[column.name for column in columns])
    return Table("noise", "Variance by cause", columns, frame, pinned=len(frame))


def _findings_table(noise: Stability) -> Table:
    columns = (Column("kind"), Column("number", "1", "share"), Column("measure"), Column("cause"), Column("evidence"),
               Column("advice", title="try"), Column("first_step", "", "count"), Column("last_step", "", "count"),
               Column("steps", "", "count"))  # fmt: skip
    rows = [
        (one.kind, one.number, one.measure, one.cause, one.evidence, one.advice, min(one.steps, default=0),
         max(one.steps, default=0), len(one.steps))
        for one in noise.findings
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=[column.name for column in columns])
    return Table("findings", "Findings", columns, frame)
