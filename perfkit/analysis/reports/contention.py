"""Doubt about what a trace says of milliseconds, where other programs took CPU time while it was recorded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from perfkit.schema.finding import CLEAN, Finding, Rule

if TYPE_CHECKING:
    from perfkit.schema.record import RunRecord

BUSY_MACHINE = Rule(
    "busy-machine",
    "integrity",
    "other programs, or a limit on the CPUs, took time from the steps of a run while they were recorded",
    read="first",
)


def doubted(findings: Iterable[Finding], record: RunRecord | None) -> tuple[Finding, ...]:
    """The findings of a run's trace. Where others took time from its steps, that comes first, and costs are guessed."""
    if record is None:
        return tuple(findings)
    from perfkit.analysis.noise import stability  # noqa: PLC0415 - costs 10 ms, and most traces have no record

    if (taken := stability.taken(record)) is None:
        return tuple(findings)
    text = f"{taken.what}; so times are longer than on a quiet machine, and what findings have at stake is guessed"
    less_sure = (
        replace(one, sure="guessed") if one.rule.asks_for_change and one.cost.ns else one
        for one in findings
        if one.rule is not CLEAN
    )
    return (*less_sure, Finding(BUSY_MACHINE, text, taken.cost, sure=taken.sure))
