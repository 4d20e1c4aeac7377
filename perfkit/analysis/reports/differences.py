"""Which of two traces is faster, by how much a step, and what made the difference: sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from perfkit.analysis.time.account import Account
from perfkit.analysis.time.breakdown import REST_SCOPES
from perfkit.analysis.time.cells import CELLS
from perfkit.analysis.time.paces import StepTime, step_time
from perfkit.analysis.time.summary import device_span
from perfkit.schema import units
from perfkit.schema.finding import Evidence, Finding, Rule
from perfkit.schema.table import Table

_MOST = 3
"""Rows of a table that a sentence names."""
_LEAST = 0.02
"""A row is named if its time differs by this share of the longer side or more."""
_MANY = 3.0
"""Above this, what one side takes more is told as a multiple."""
_NAME = 60
"""Characters of a name in a sentence."""
_CALLED = {"wall_time": "wall time", "groups": "parts", "copies": "copies"}
"""What tables are called in a sentence, where that is not their title."""

FASTER = Rule("faster", "comparison", "which of two traces is faster: a step or, without steps, all", read="first")
WHAT_CHANGED = Rule("what-changed", "comparison", "the rows of two traces' tables whose times differ most")
ONE_OF_EACH = Rule("one-of-each", "comparison", "two traces are compared, which have no spread to judge them by")
NOTHING_SHARED = Rule("nothing-shared", "comparison", "two traces have no kernel or operator in common")
NEW_KERNELS = Rule("new-kernels", "comparison", "kernels that only one of two traces has, and their time")


@dataclass(frozen=True, slots=True)
class Times:
    """What is compared of two traces, ns: the time of a step or, where one has none, of all that was recorded."""

    a: float
    b: float
    text: str
    """Both, in words."""
    lacking: str = ""
    """Which side has no steps; empty where steps are compared."""

    @property
    def scalars(self) -> dict[str, object]:
        """For scripts."""
        return {
            "compared": "recording" if self.lacking else "step",
            "a_ns": self.a,
            "b_ns": self.b,
            "difference_ns": self.b - self.a,
            "difference_share": (self.b - self.a) / self.a if self.a else None,
        }


def times_of(a: Account, b: Account) -> Times:
    """The time of a step of each side; where one has no steps, how long devices were busy, or the main thread ran."""
    step_a, step_b = (step_time(side.partial) for side in (a, b))
    if step_a and step_b:
        return Times(step_a.ns, step_b.ns, _of_steps(step_a, step_b))
    lacking = f"{'B' if step_a else 'A'} has no steps" if step_a or step_b else "the traces have no steps"
    what, key = ("devices are busy", "exclusive_ns") if a.on_device else ("the main thread runs", "total_ns")
    ns_a, ns_b = (int(side.partial.of(CELLS)[key].sum()) for side in (a, b))
    text = f"{what} for {units.duration_ns(ns_a)} in A and {units.duration_ns(ns_b)} in B"
    if a.on_device:
        spans = (units.duration_ns(device_span(side.partial)) for side in (a, b))
        text += f" (of {' and '.join(spans)} recorded)"
    return Times(ns_a, ns_b, text, lacking)


def _of_steps(a: StepTime, b: StepTime) -> str:
    text = f"A takes {units.duration_ns(a.ns)} a step and B {units.duration_ns(b.ns)}"
    if a.is_pace or b.is_pace:
        on_host = f"{units.duration_ns(a.host_ns)} and {units.duration_ns(b.host_ns)}"
        text += f" until its work is done (on the host {on_host}, which a device runs behind)"
    return text


def faster(times: Times, margin: float) -> Finding:
    """`B is faster: A takes 95.59 ms a step and B 71.00 ms; B takes 24.59 ms less (25.7%)`.

    Sides that differ by no more than the margin are equally fast. Without steps nobody knows how much the sides did.
    """
    apart, share = abs(times.b - times.a), abs(times.b - times.a) / times.a if times.a else 0.0
    side, change = ("B", "less") if times.b < times.a else ("A", "more")
    ratio = units.percent(share) if share < _MANY else f"{times.b / times.a:,.1f} times as much"
    by = f"B takes {units.duration_ns(apart)} {change} ({ratio})" if apart else "no difference"
    if times.lacking:
        return Finding(FASTER, f"{times.lacking}, so that all that was recorded is compared: {times.text}; {by}")
    lead = f"{side} is faster" if share > margin else "A and B are equally fast"
    return Finding(FASTER, f"{lead}: {times.text}; {by}")


def one_of_each() -> Finding:
    """That two recordings have no spread to judge a difference by."""
    text = "each side is one recording, which does not tell a difference from chance"
    return Finding(ONE_OF_EACH, text, advice="several runs of each (perfkit compare --run 'flags of A' 'flags of B')")


def what_changed(tables: Sequence[Table], a_step: str, each: Mapping[str, float]) -> Iterator[Finding]:
    """A sentence a table: the rows whose time differs most, B less A; and the kernels of one side alone.

    each: what the times of a table are divided by to be those of a step.
    """
    for table in tables:
        frame = table.frame
        key = str(frame.columns[0]) if table.name != "kernels" else "short_name"
        per = each[table.name]
        whole = max(frame["total_ns_a"].sum(), frame["total_ns_b"].sum(), 1)
        changed = frame[frame["difference_ns"].abs() >= _LEAST * whole].head(_MOST)
        if len(changed):
            rows = zip(changed[key], changed["difference_ns"], strict=True)
            said = ", ".join(f"{_named(name)} {signed(ns / per)}" for name, ns in rows)
            evidence = tuple(_row(table, int(position)) for position in changed.index)
            called = _CALLED.get(table.name, table.title.partition(",")[0].lower())
            yield Finding(WHAT_CHANGED, f"{called}, B less A{a_step}: {said}", evidence=evidence)
        if table.name == "kernels":
            yield from _new_kernels(table, a_step, per)


def _new_kernels(table: Table, a_step: str, per: float) -> Iterator[Finding]:
    """How many kernels one side alone has, how long they take, and the longest."""
    frame = table.frame[~table.frame["name"].isin(REST_SCOPES)]
    noun = table.title.partition(",")[0].lower()
    if len(frame) and not (frame["side"] == "both").any():
        text = f"A and B share none of their {noun}: they do other work, or spell its names in other ways"
        yield Finding(NOTHING_SHARED, text)
    for flag, side, verb in (("right_only", "b", "only B has"), ("left_only", "a", "only A has")):
        rows = frame[frame["side"] == flag].sort_values(f"total_ns_{side}", ascending=False, kind="stable")
        if len(rows):
            time = units.duration_ns(rows[f"total_ns_{side}"].sum() / per)
            kernels = f"1 {noun.removesuffix('s')}" if len(rows) == 1 else f"{len(rows):,} {noun}"
            names = ", ".join(map(_named, rows["short_name"].head(_MOST)))
            more = ", ..." if len(rows) > _MOST else ""
            evidence = tuple(_row(table, int(position)) for position in rows.index[:_MOST])
            text = f"{verb} {kernels}, {time}{a_step}: {names}{more}"
            yield Finding(NEW_KERNELS, text, evidence=evidence, where=side.upper())


def _row(table: Table, position: int) -> Evidence:
    key = table.columns[0].name if table.name != "kernels" else "name"
    return Evidence(table.name, {key: str(table.frame[key].to_numpy()[position])})


def _named(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"


def signed(ns: float) -> str:
    """A difference with its sign and unit: `-31.47 ms`."""
    return f"{'+' if ns > 0 else '-'}{units.duration_ns(abs(ns))}"
