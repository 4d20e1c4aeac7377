"""Stability -> lines for people and tables for scripts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import pandas as pd

from perfkit.analysis.stability import Finding, Stability
from perfkit.analysis.variance import Share
from perfkit.schema import units
from perfkit.schema.record import RunRecord
from perfkit.schema.table import Column, Table

_MOST_STEPS = 8
"""Step numbers named in one line; of more only how many there are."""
_ALIAS = "--target-cv"


def lines(noise: Stability | None) -> list[str]:
    """One line a finding; an advice is given once."""
    if noise is None:
        return []
    given: set[str] = set()
    written = []
    for finding in noise.findings:
        hint = f"; try: {finding.advice}" if finding.advice and finding.advice not in given else ""
        given.add(finding.advice)
        written.append(_line(finding, noise) + hint)
    return written


def _line(finding: Finding, noise: Stability) -> str:
    number, cause = units.percent(finding.number), finding.cause or "unexplained"
    match finding.kind:
        case "variance":
            return variance_line(noise)
        case "step":
            return f"{_steps(finding)} out of line by {number}, {cause}: {finding.evidence}"
        case "level" | "warm-up":
            return f"{_steps(finding)} slower by {number}, {cause}: {finding.evidence}"
        case "every step":
            return f"{number} of all steps' time is {cause}: {finding.evidence}"
        case "drift":
            return f"drift: {units.percent(abs(finding.number))} {finding.measure}, {finding.evidence}"
        case "autocorrelation":
            return f"autocorrelation {finding.number:.2f}: {finding.evidence}"
        case "spill":
            return f"{cause}: {finding.evidence}"
        case "too many threads":
            return f"too many threads: {finding.evidence}"


def variance_line(noise: Stability) -> str:
    """`CV 5.8%: 71% of the variance from X, 16% from Y, 13% unexplained; without ...`."""
    first, *others = noise.shares
    parts = [_part(first, " of the variance"), *map(_part, others)]
    text = f"CV {units.percent(noise.cv)}: {', '.join(parts)}"
    if not math.isnan(noise.cv_without):
        steps = "step" if noise.attributed == 1 else f"{noise.attributed} steps"
        text += f"; without the attributed {steps} CV is {units.percent(noise.cv_without)}"
    return text


def _part(share: Share, of: str = "") -> str:
    return f"{units.percent(share.share)}{of} {f'from {share.cause}' if share.cause else 'unexplained'}"


def _steps(finding: Finding) -> str:
    """`step 6`, `steps 2, 5 to 9`, or `12 steps`."""
    runs = []
    for _, group in groupby(enumerate(finding.steps), lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in group]
        runs.append(f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}")
    if len(runs) > _MOST_STEPS:
        return f"{len(finding.steps)} steps"
    return ("step " if len(finding.steps) == 1 else "steps ") + ", ".join(runs)


def unreliable(noise: Stability) -> str:
    """What makes the mean's interval unreliable, in a word or two."""
    words = {"drift": "drift", "autocorrelation": "steps depend on each other", "level": "the level shifts",
             "warm-up": "warm-up not finished"}  # fmt: skip
    return ", ".join(dict.fromkeys(words[one.kind] for one in noise.findings if one.kind in words))


def ended(record: RunRecord) -> str:
    """`, ended by ...`, for runs that a target was set for."""
    target = record.config.target_ci
    if target is None or record.ended_by is None:
        return ""
    rule = {
        "target-ci": f"ended by --target-ci {units.percent(target)}",
        "max-time": f"ended by --max-time {units.significant(record.config.time_limit_s)} s, short of the target",
        "max-steps": f"ended by --max-steps {record.config.most_steps}, short of the target",
    }.get(record.ended_by, "")
    if any(argument.split("=")[0] == _ALIAS for argument in record.environment.argv):
        rule += f" ({_ALIAS} is --target-ci: more steps narrow the mean's interval, no number of them lowers CV)"
    return f", {rule}"


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
