"""Finding: one fact to know, its cost and what to try. Rule: what finds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

Sure = Literal["measured", "derived", "guessed"]
"""measured: read off the recording; derived: computed from it by a rule or a model; guessed: likely, not certain."""
Topic = Literal[
    "integrity", "trace", "run", "noise", "processes", "comparison", "sweep", "memory", "machine", "performance"
]

_PLACES: Mapping[Topic, int] = {"performance": 2, "integrity": 3, "trace": 4, "run": 4, "noise": 4}
_VERDICT = 1
"""The place of other topics, which are the answer of a command: a comparison's verdict, an estimate's peak."""
_ENDS = {"first": 0, "last": 5}


class Rule(msgspec.Struct, frozen=True):
    """A kind of finding. Each is defined beside the only function that uses it, which makes its findings."""

    id: str
    """The name in documents, in kebab-case, and a promise: scripts look for it. No two rules share one."""
    topic: Topic
    doc: str
    """What it finds, for the documents."""
    name: str | None = None
    """For people, where that differs from `id`."""
    read: Literal["first", "by topic", "detail", "last"] = "by topic"
    """first: what the whole is about; last: that nothing was found, or not looked for. detail: in its topic's place,
    but a brief report leaves it out, as it does what is last."""
    costs_more: bool = False
    """What its findings have at stake is the least of it: a recording does not show the rest."""

    @property
    def asks_for_change(self) -> bool:
        """Whether its findings are something to change in the program, and so ranked by the time at stake."""
        return self.topic == "performance" and self.read == "by topic"

    @property
    def title(self) -> str:
        """The name for people: `truncated file`."""
        return self.id.replace("-", " ") if self.name is None else self.name


APART = "   "
"""Between the parts of a first line, which is no sentence but numbers; within a part they stand between dots."""
CLEAN = Rule("clean", "integrity", "nothing in the trace asks for caution", "", "last")
TRACE_TOTALS = Rule(
    "trace-totals", "trace", "how long a step takes, how busy the device is in it, and why it is idle", read="first"
)
"""A trace that has it was judged by the rules about performance."""
OVER_CAPACITY = Rule(
    "over-capacity",
    "performance",
    "the step needs more memory than the GPU has, and runs nevertheless: it spills into the system's memory",
)
"""Of a run by its record, and of its trace by the same."""


class Evidence(msgspec.Struct, frozen=True):
    """A row of the report's tables: the table, and the values by which the row is found in it."""

    table: str
    key: Mapping[str, str | int]


class Cost(msgspec.Struct, frozen=True):
    """Time at stake, and its share of the whole; None where it is not known, or where the finding is not about time."""

    ns: int | None = None
    """Per step; for a recording without steps, in all of it."""
    share: float | None = None


NO_COST = Cost()


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact to know. The sentence is complete in itself; the other fields are for scripts and for ranking."""

    rule: Rule
    what: str
    """The sentence, with its numbers."""
    cost: Cost = NO_COST
    evidence: tuple[Evidence, ...] = ()
    """Where in the report's tables it can be seen."""
    advice: str = ""
    """What to try next: a flag, a setting, a command, fit to follow the word `try`; empty where there is nothing."""
    sure: Sure = "measured"
    where: str = ""
    """The scope, step, side or rank it is about; empty where it is about all."""
    gain: Cost = NO_COST
    """What a replay of the trace without it gains at most, per step; without one where none could be made."""

    @property
    def at_stake(self) -> Cost:
        """The gain where there is one, else the cost: findings are ranked by it."""
        return self.cost if self.gain.ns is None else self.gain


def in_reading_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """What the whole is about, verdicts, what to change (the dearest first), cautions, notes, what was not found."""
    return tuple(sorted(findings, key=lambda finding: (_place(finding.rule), -_at_stake(finding))))


def _place(rule: Rule) -> int:
    return _ENDS[rule.read] if rule.read in _ENDS else _PLACES.get(rule.topic, _VERDICT)


def _at_stake(finding: Finding) -> int:
    return (finding.at_stake.ns or 0) if finding.rule.asks_for_change else 0
