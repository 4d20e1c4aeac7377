"""Comparison -> the tables and lines that `perfkit compare` prints."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from perfkit.analysis import conditions, time_order, welch
from perfkit.analysis.comparison import NOT_IN_TIME, ONE_PROCESS, RECOMMENDED, Comparison, Gate, Row, unfinished
from perfkit.analysis.processes import Pair, spelled
from perfkit.analysis.report import Report
from perfkit.analysis.run_report import headline
from perfkit.schema import units
from perfkit.schema.table import Column, Table

_COLUMNS = (
    Column("processes"),
    Column("a_s", "s", "time", "A", scale="time"),
    Column("b_s", "s", "time", "B", scale="time"),
    Column("difference_s", "s", "time", "B - A", scale="time"),
    Column("ratio", "", "rate", "B/A"),
    Column("low", "", "rate", "95% low"),
    Column("high", "", "rate", "95% high"),
    Column("p", "", "rate", "p (Holm)"),
    Column("detectable", "1", "share", "detectable"),
    Column("spread_a", "1", "share", "spread A"),
    Column("spread_b", "1", "share", "spread B"),
    Column(time_order.RULE),
    Column("changes", "", "count"),
    Column("later", "1", "share", "B later"),
    Column("verdict"),
)
_ENDLESS = {"high": 100.0, "detectable": 10.0}
"""Above these, people read "no bound": two processes a side can give an interval up to 10^20."""
_FOR_SCRIPTS = {"p", "spread_a", "spread_b", time_order.RULE, "changes", "later"}


def report(compared: Comparison) -> Report:
    """Everything a comparison says."""
    steps = _table("comparison", "Step time, B against A", compared.steps, compared)
    phases = _table("phases", "By phase, B against A", compared.phases, compared)
    differences = conditions.table(compared.contrasts)
    tables = (steps, phases, differences)
    display = (*((differences,) if len(differences) else ()), _for_people(steps), _for_people(phases))
    return Report(_summary(compared), tables, display, tuple(_remarks(compared)))


def _table(name: str, title: str, rows: Sequence[Row], compared: Comparison) -> Table:
    fields = list(compared.match.pairs[0].config)
    by_phase = name == "phases"
    columns = (
        *(Column(field, "", "text", field.replace("_", " ")) for field in fields),
        *((Column("phase"),) if by_phase else ()),
        *_COLUMNS,
    )
    frame = pd.DataFrame([_cells(row) for row in rows], columns=[column.name for column in columns])
    return Table(name, title, columns, frame, _notes(compared, rows, by_phase=by_phase))


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
    tested = sum(row.found is not None for row in rows)
    if by_phase:
        note = "medians of phases do not add up to the step's; forward includes the loss"
        return (f"{note}; verdicts adjusted for {tested} rows (Holm)",) if tested else (note,)
    if not tested:
        repeated = any(max(row.n_a, row.n_b) > 1 for row in rows)
        return (
            "A, B: geometric mean of the processes' medians" if repeated else "A, B: median of the one process's steps",
        )
    several = f", adjusted for {tested} rows (Holm)" if tested > 1 else ""
    return (
        "A, B: geometric mean of the processes' medians; the interval is of the ratio, between processes",
        f"detectable: what would be found 4 times in 5 at this spread; same: surely within"
        f" +-{units.percent(compared.margin)}; verdicts at 5%{several}",
    )


def _for_people(table: Table) -> Table:
    hidden = set(_FOR_SCRIPTS)
    if table.frame["low"].isna().all():
        hidden |= {"low", "high", "detectable"}
    columns = tuple(column for column in table.columns if column.name not in hidden)
    frame = table.frame.assign(
        **{name: table.frame[name].where(~(table.frame[name] > most), math.inf) for name, most in _ENDLESS.items()}
    )
    return Table(table.name, table.title, columns, frame, table.notes, pinned=len(table))


def _summary(compared: Comparison) -> dict[str, Any]:
    return {
        "a": compared.a.path,
        "b": compared.b.path,
        "processes_a": len(compared.a.processes),
        "processes_b": len(compared.b.processes),
        "margin": compared.margin,
        "verdicts": dict(Counter(row.verdict for row in compared.steps)),
    }


def _remarks(compared: Comparison) -> Iterator[str]:
    pairs = compared.match.pairs
    for side, ran in ((compared.a, pairs[0].a), (compared.b, pairs[0].b)):
        what = f"{len(side.processes)} runs" if len(pairs) > 1 else headline(ran[0].config)
        yield f"{side.name}: {side.path}: {what}"
    yield from _work_lines(compared)
    for side in (compared.a, compared.b):
        if side.left_out:
            yield f"{side.name}: left out, as not finished: {', '.join(map(str, side.left_out))}"
    for name, config in compared.match.alone:
        yield f"{name} only, not compared: {spelled(config)}"
    yield from _design_lines(compared)
    yield _conclusion(compared)


def _work_lines(compared: Comparison) -> Iterator[str]:
    work = [one.what for one in compared.contrasts if one.role == "work"]
    if work:
        yield f"A and B do different work ({', '.join(work)}): the ratio is of the times of a step, not of speed"
    if "profiler" in compared.match.changed:
        both = "none" not in compared.match.changed["profiler"]
        which = (
            "the sides ran under different profilers" if both else "one side ran under a profiler, the other did not"
        )
        yield f"{which}: the ratio holds {'the difference of their costs' if both else 'its cost'}"
    elif any(one.config.profiler != "none" for one in compared.a.processes):
        yield "profiled runs: the times hold the profiler's cost; compare plain ones to know which is faster"


def _design_lines(compared: Comparison) -> Iterator[str]:
    for side in (compared.a, compared.b):
        if not side.independent:
            yield f"{side.name}: all in one process (--in-process): its repeats count as one, so there is no interval"
    fewest = min(min(row.n_a, row.n_b) for row in compared.steps)
    if 1 < fewest < RECOMMENDED:
        yield (
            f"{fewest} processes {_on_a_side(compared)}: intervals are wide with so few;"
            f" --repeats {RECOMMENDED} or more is recommended"
        )
    yield from filter(None, (_copies(pair) for pair in compared.match.pairs))
    if apart := [row for row in compared.steps if row.found is not None and not row.order.interleaved]:
        which = f"{len(apart)} of {len(compared.steps)} configurations " if len(compared.steps) > 1 else ""
        todo = (
            "judged all the same by --force" if compared.forced else "compare --run takes turns; --force judges as is"
        )
        yield f"{which}not {time_order.RULE}: {apart[0].order.evidence}; what drifted is in the ratio ({todo})"


def _copies(pair: Pair) -> str:
    """Names what was measured once and is there several times, which makes the spread look small."""
    processes = (*pair.a, *pair.b)
    different = len({(one.created, *one.medians.values()) for one in processes})
    if different == len(processes):
        return ""
    measurements = f"{different} measurement{'s' * (different > 1)}"
    return f"copies of records: {len(processes)} runs hold {measurements}, so the spread looks smaller than it is"


def _on_a_side(compared: Comparison) -> str:
    return "a side" if all(row.n_a == row.n_b for row in compared.steps) else "on a side"


def _conclusion(compared: Comparison) -> str:
    if len(compared.steps) > 1:
        counts = Counter(row.verdict for row in compared.steps)
        return f"{len(compared.steps)} configurations: " + ", ".join(f"{n} {word}" for word, n in counts.most_common())
    [row] = compared.steps
    ratio = f"B takes {row.ratio:.3f} times as long as A"
    if row.found is None:
        return (
            f"{ratio}, by one process{' a side' if row.n_a == row.n_b else ' on a side'}: processes of one"
            f" configuration differ too, so this says nothing yet; --repeats {RECOMMENDED} gives an interval"
            if row.verdict == ONE_PROCESS
            else "the step has no ratio: a time is zero"
        )
    low, high = row.interval
    text = f"{row.verdict}: {ratio} (95%: {low:.3f} to {high:.3f})"
    if row.verdict == NOT_IN_TIME:
        return f"{text}, and what drifted between A and B is in that"
    return text + _advice(row, compared.margin) if row.verdict == "inconclusive" else text


def _advice(row: Row, margin: float) -> str:
    """How many processes would settle it, by the spread seen."""
    assert row.found is not None
    limit = math.log1p(margin) if margin else abs(float(row.found.difference))
    needed = welch.processes_needed(row.spread_a, row.spread_b, limit)
    what = f"a difference of {units.percent(math.expm1(limit))}"
    if needed is None:
        return f"; {what} would need more than 1000 processes a side at this spread: find the noise first"
    count = max(needed, min(row.n_a, row.n_b) + 1)
    return f"; finding {what} at this spread needs about {count} processes a side (--repeats {count})"


def gate_line(compared: Comparison, found: Gate, limit: float) -> str:
    """The outcome of --fail-on in a line."""
    text = units.percent(limit)
    if found.outcome != "inconclusive":
        return (
            f"pass: B is surely not more than {text} slower"
            if found.outcome == "pass"
            else f"fail: B is surely more than {text} slower"
        )
    lacking = " | ".join(spelled(config) for side, config in compared.match.alone if side == compared.a.name)
    texts = {
        "lacking": f"B lacks what A has ({lacking})",
        "unfinished": f"B did not finish what A did ({', '.join(map(str, unfinished(compared)))})",
        "not interleaved": "A and B are not comparable in time",
        "one process": "one process on a side says nothing of the others",
        "no ratio": "a time is zero",
        "undecided": f"a slow-down of {text} is neither shown nor excluded, and more --repeats would tell",
    }
    return f"no pass: {'; '.join(texts[reason] for reason in found.reasons)}"
