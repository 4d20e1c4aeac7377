"""Comparison -> the tables and lines that `perfkit compare` prints."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from perfkit.analysis.noise.advice import written_for
from perfkit.analysis.reports.run import headline
from perfkit.analysis.runs import conditions, gains, time_order
from perfkit.analysis.runs.comparison import NOT_IN_TIME, ONE_PROCESS, RECOMMENDED, Comparison, Gate, Row, unfinished
from perfkit.analysis.runs.processes import UNFINISHED_RUNS, Pair, spelled
from perfkit.analysis.statistics import welch
from perfkit.schema import units
from perfkit.schema.finding import NO_COST, Cost, Evidence, Finding, Rule
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table

_COLUMNS = (
    Column("processes"),
    Column("a_s", "s", "time", "A", scale="time"),
    Column("b_s", "s", "time", "B", scale="time"),
    Column("difference_s", "s", "time", "B - A", scale="time"),
    Column("ratio", "", "rate", "B/A"),
    Column("low", "", "rate", "95% low"),
    Column("high", "", "rate", "95% high", endless=100.0),
    Column("p", "", "rate", "p (Holm)", audience="scripts"),
    Column("detectable", "1", "share", "detectable", endless=10.0),
    Column("spread_a", "1", "share", "spread A", audience="scripts"),
    Column("spread_b", "1", "share", "spread B", audience="scripts"),
    Column(time_order.RULE, audience="scripts"),
    Column("changes", "", "count", audience="scripts"),
    Column("later", "1", "share", "B later", audience="scripts"),
    Column("verdict"),
)
_INTERVAL = ("low", "high", "detectable")
"""Columns shown to scripts only where no row has an interval."""


def report(compared: Comparison) -> Report:
    """Everything a comparison says."""
    steps = _table("comparison", "Step time, B against A", compared.steps, compared)
    phases = _table("phases", "By phase, B against A", compared.phases, compared)
    tables = (conditions.table(compared.differences), steps, phases, *gains.tables(compared))
    title = f"{compared.a.path} and {compared.b.path}"
    return Report(title, _summary(compared), tables, findings=tuple(_findings(compared)), main=steps.name)


def _table(name: str, title: str, rows: Sequence[Row], compared: Comparison) -> Table:
    fields = list(compared.match.pairs[0].config)
    by_phase = name == "phases"
    columns = (
        *(Column(field, "", "text", field.replace("_", " ")) for field in fields),
        *((Column("phase"),) if by_phase else ()),
        *_COLUMNS,
    )
    frame = pd.DataFrame([_cells(row) for row in rows], columns=[column.name for column in columns])
    unread = _INTERVAL if frame["low"].isna().all() else ()
    columns = tuple(replace(c, audience="scripts") if c.name in unread else c for c in columns)
    return Table(name, title, columns, frame, _notes(compared, rows, by_phase=by_phase), pinned=len(frame))


def _cells(row: Row) -> dict[str, Any]:
    low, high = row.interval
    return row.config | {
        "phase": row.what,
        "processes": str(row.n_a) if row.n_a == row.n_b else f"{row.n_a}, {row.n_b}",
        "a_s": row.a_s, "b_s": row.b_s, "difference_s": row.b_s - row.a_s,
        "ratio": row.ratio, "low": low, "high": high, "p": row.p,
        "detectable": row.detectable, "spread_a": row.spread_a, "spread_b": row.spread_b,
        time_order.RULE: "yes" if row.order.interleaved else "no",
        "changes": row.order.changes, "later": row.order.later,
        "verdict": row.verdict,
    }  # fmt: skip


def _notes(compared: Comparison, rows: Sequence[Row], *, by_phase: bool) -> tuple[str, ...]:
    tested = sum(row.welch is not None for row in rows)
    if by_phase:
        note = "medians of phases do not add up to the step's; forward includes the loss, rest zero_grad"
        return (f"{note}; verdicts adjusted for {tested} rows (Holm)",) if tested else (note,)
    if not tested:
        repeated = any(max(row.n_a, row.n_b) > 1 for row in rows)
        return (
            "A, B: geometric mean of the processes' medians" if repeated else "A, B: median of the one process's steps",
        )
    several = f", adjusted for {tested} rows (Holm)" if tested > 1 else ""
    return (
        "A, B: geometric mean of the processes' medians; the interval is of the ratio, between processes",
        f"detectable: the difference that 4 of 5 comparisons would find at this spread; same: shown to be within"
        f" +-{units.percent(compared.margin)}; verdicts at the 5% level{several}",
    )


def _summary(compared: Comparison) -> dict[str, Any]:
    return {
        "a": compared.a.path,
        "b": compared.b.path,
        "processes_a": len(compared.a.processes),
        "processes_b": len(compared.b.processes),
        "margin": compared.margin,
        "verdicts": dict(Counter(row.verdict for row in compared.steps)),
    }


COMPARED_SIDE = Rule("compared-side", "comparison", "the path and configuration of a side")
UNMATCHED_CONFIGURATION = Rule(
    "unmatched-configuration", "comparison", "one side has a configuration that the other lacks"
)


def _findings(compared: Comparison) -> Iterator[Finding]:
    pairs = compared.match.pairs
    for side, ran in ((compared.a, pairs[0].a), (compared.b, pairs[0].b)):
        what = f"{len(side.processes)} runs" if len(pairs) > 1 else headline(ran[0].config)
        yield Finding(COMPARED_SIDE, f"{side.name}: {side.path}: {what}", where=side.name)
    yield from _work(compared)
    for side in (compared.a, compared.b):
        if side.left_out:
            text = f"{side.name}: left out because they did not finish: {', '.join(map(str, side.left_out))}"
            yield Finding(UNFINISHED_RUNS, text, where=side.name)
    for name, config in compared.match.alone:
        yield Finding(UNMATCHED_CONFIGURATION, f"{name} only, not compared: {spelled(config)}", where=name)
    yield from _design(compared)
    yield _conclusion(compared)
    yield from gains.findings(compared)


DIFFERENT_WORK = Rule("different-work", "comparison", "the sides do different work")
DIFFERENT_PROFILERS = Rule("different-profilers", "comparison", "the sides ran under different profilers")
PROFILED_SIDES = Rule("profiled-sides", "comparison", "both sides ran under a profiler")


def _work(compared: Comparison) -> Iterator[Finding]:
    work = [difference.what for difference in compared.differences if difference.role == "work"]
    if work:
        text = f"A and B do different work ({', '.join(work)}): the ratio compares the times of a step, not speed"
        rows = tuple(Evidence("differences", {"what": what}) for what in work)
        yield Finding(DIFFERENT_WORK, text, evidence=rows)
    if "profiler" in compared.match.changed:
        both = "none" not in compared.match.changed["profiler"]
        which = (
            "the sides ran under different profilers" if both else "one side ran under a profiler, the other did not"
        )
        text = f"{which}: the ratio includes {'the difference of their costs' if both else 'its cost'}"
        yield Finding(DIFFERENT_PROFILERS, text, evidence=(Evidence("differences", {"what": "--profiler"}),))
    elif any(process.config.measurement.profiler != "none" for process in compared.a.processes):
        text = "profiled runs: the times include the profiler's cost; compare plain runs to know which side is faster"
        yield Finding(PROFILED_SIDES, text)


SHARED_PROCESS_SIDE = Rule("shared-process-side", "comparison", "a side's runs were all in one process")
FEW_PROCESSES = Rule("few-processes", "comparison", "a side has so few processes that its interval is wide")
NOT_INTERLEAVED = Rule("not-interleaved", "comparison", "the sides did not take turns")


def _design(compared: Comparison) -> Iterator[Finding]:
    for side in (compared.a, compared.b):
        if not side.independent:
            text = (
                f"{side.name}: all repeats ran in one process (--in-process) and count as one, so there is no interval"
            )
            yield Finding(SHARED_PROCESS_SIDE, text, where=side.name)
    fewest = min(min(row.n_a, row.n_b) for row in compared.steps)
    if 1 < fewest < RECOMMENDED:
        text = f"{fewest} processes {_on_a_side(compared)}: intervals are wide with so few"
        yield Finding(FEW_PROCESSES, text, advice=_followed(compared, f"--repeats {RECOMMENDED} or more"))
    yield from filter(None, (_copies(pair) for pair in compared.match.pairs))
    if apart := [row for row in compared.steps if row.welch is not None and not row.order.interleaved]:
        which = f"{len(apart)} of {len(compared.steps)} configurations " if len(compared.steps) > 1 else ""
        text = f"{which}not {time_order.RULE}: {apart[0].order.evidence}; the ratio includes any drift between them"
        text += " (judged anyway because of --force)" if compared.forced else ""
        advice = "" if compared.forced else "compare --run, which takes turns, or --force, which judges them anyway"
        yield Finding(NOT_INTERLEAVED, text, advice=advice, sure="derived")


COPIED_RECORDS = Rule("copied-records", "comparison", "records are copies of each other")


def _copies(pair: Pair) -> Finding | None:
    """Report records that are copies of one measurement, which makes the spread look too small."""
    processes = (*pair.a, *pair.b)
    different = len({(process.created, *process.medians.values()) for process in processes})
    if different == len(processes):
        return None
    measurements = f"{different} measurement{'s' * (different > 1)}"
    text = f"copies of records: {len(processes)} runs hold {measurements}, so the spread looks smaller than it is"
    return Finding(COPIED_RECORDS, text)


def _on_a_side(compared: Comparison) -> str:
    return "a side" if all(row.n_a == row.n_b for row in compared.steps) else "on a side"


FASTER_RUNS = Rule(
    "faster-runs", "comparison", "which side of profiled runs is faster a step, where that is shown", read="first"
)


def faster(compared: Comparison) -> Finding:
    """`B is faster: A takes 596.1 ms a step and B 491.0 ms; B takes 105.1 ms less (17.6%)`, of one configuration.

    Without a verdict nobody is called faster.
    """
    [row] = compared.steps
    lead = {"faster": "B is faster", "slower": "A is faster", "same": "A and B are equally fast"}.get(
        row.verdict, "it is not shown which side is faster"
    )
    apart = row.b_s - row.a_s
    by = f"{units.duration(abs(apart))} {'less' if apart < 0 else 'more'} ({units.percent(abs(apart) / row.a_s)})"
    text = f"{lead}: A takes {units.duration(row.a_s)} a step and B {units.duration(row.b_s)}; B takes {by}"
    return Finding(FASTER_RUNS, text, sure="derived")


VERDICT = Rule("verdict", "comparison", "whether B is slower, faster or the same, with the interval")


def _conclusion(compared: Comparison) -> Finding:
    if len(compared.steps) > 1:
        counts = Counter(row.verdict for row in compared.steps)
        text = f"{len(compared.steps)} configurations: " + ", ".join(f"{n} {word}" for word, n in counts.most_common())
        return Finding(VERDICT, text, sure="derived")
    [row] = compared.steps
    known = math.isfinite(row.ratio) and row.welch is not None  # one process a side says nothing yet
    text, advice = _verdict(row, compared.margin)
    cost = Cost(round((row.b_s - row.a_s) * 1e9), float(row.ratio) - 1) if known else NO_COST
    return Finding(VERDICT, text, cost, advice=_followed(compared, advice), sure="derived")


def _followed(compared: Comparison, advice: str) -> str:
    """The advice as the author of both sides can follow it."""
    return written_for(compared.a.processes[0].config, advice)


def _verdict(row: Row, margin: float) -> tuple[str, str]:
    """The sentence, and what would give a verdict."""
    ratio = f"B takes {row.ratio:.3f} times as long as A"
    if row.welch is None:
        if row.verdict != ONE_PROCESS:
            return "the step has no ratio: a time is zero", ""
        side = "a side" if row.n_a == row.n_b else "on a side"
        why = "processes of one configuration differ too, so this proves nothing yet"
        return f"{ratio}, by one process {side}: {why}", f"--repeats {RECOMMENDED}, which gives an interval"
    low, high = row.interval
    text = f"{row.verdict}: {ratio} (95%: {low:.3f} to {high:.3f})"
    if row.verdict == NOT_IN_TIME:
        return f"{text}; that includes any drift between A and B", ""
    if row.verdict != "inconclusive":
        return text, ""
    needed, advice = _needed(row, margin)
    return f"{text}; {needed}", advice


def _needed(row: Row, margin: float) -> tuple[str, str]:
    """How many processes would give a verdict at the observed spread, and what to try."""
    assert row.welch is not None
    limit = math.log1p(margin) if margin else abs(float(row.welch.difference))
    needed = welch.processes_needed(row.spread_a, row.spread_b, limit)
    what = f"finding a difference of {units.percent(math.expm1(limit))} at this spread"
    if needed is None:
        return (
            f"{what} takes more than 1000 processes a side",
            "to reduce the noise first: perfkit run names its causes",
        )
    count = max(needed, min(row.n_a, row.n_b) + 1)
    return f"{what} takes about {count} processes a side", f"--repeats {count}"


GATE = Rule("gate", "comparison", "whether --fail-on passes")


def gate_finding(compared: Comparison, gate: Gate, limit: float) -> Finding:
    """The outcome of --fail-on."""
    advice = "more --repeats" if "undecided" in gate.reasons else ""
    return Finding(GATE, _gate_text(compared, gate, limit), advice=advice, sure="derived")


def _gate_text(compared: Comparison, gate: Gate, limit: float) -> str:
    text = units.percent(limit)
    if gate.outcome != "inconclusive":
        return (
            f"pass: B is shown to be not more than {text} slower"
            if gate.outcome == "pass"
            else f"fail: B is shown to be more than {text} slower"
        )
    lacking = " | ".join(spelled(config) for side, config in compared.match.alone if side == compared.a.name)
    texts = {
        "lacking": f"B lacks what A has ({lacking})",
        "unfinished": f"runs of B did not finish ({', '.join(map(str, unfinished(compared)))})",
        "not interleaved": "A and B are not comparable in time",
        "one process": "a side with one process has no interval",
        "no ratio": "a time is zero",
        "undecided": f"a slow-down of {text} is neither shown nor excluded",
    }
    return f"no pass: {'; '.join(texts[reason] for reason in gate.reasons)}"
