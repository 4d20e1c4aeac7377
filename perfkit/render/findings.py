"""Findings as lines, as a table and as JSON values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from perfkit.schema.finding import CLEAN, Finding, Rule
from perfkit.schema.table import Column, Table

FINDINGS, INTEGRITY = "findings", "integrity"
"""Names of the tables that are made of findings. A JSON document has findings in their own place."""

_COLUMNS = (
    Column("rule"),
    Column("what"),
    Column("cost_ns", "ns", "time", "cost"),
    Column("share", "1", "share"),
    Column("advice", title="try"),
    Column("sure", spare=True),
    Column("where", spare=True),
)


def lines(findings: Iterable[Finding]) -> list[str]:
    """For people: a line each; the same advice is given once."""
    given = {""}
    written = []
    for finding in findings:
        hint = "" if finding.advice in given else f"; try {finding.advice}"
        given.add(finding.advice)
        written.append(_lead(finding.rule) + finding.what + hint)
    return written


def _lead(rule: Rule) -> str:
    """`integrity, truncated file: `, so that a line can be looked up; other sentences say what they are about."""
    if rule.topic != "integrity":
        return ""
    return f"integrity, {rule.title}: " if rule.title else "integrity: "


def is_of(name: str, finding: Finding) -> bool:
    """Whether a finding is in the table of this name: `findings` has all, `integrity` the cautions of a trace."""
    return name == FINDINGS or (name == INTEGRITY and finding.rule.topic == "integrity")


def tables(findings: Sequence[Finding]) -> tuple[Table, ...]:
    """The table `findings`, and the table `integrity`, which a trace always has: without rows where it is clean."""
    integrity = [finding for finding in findings if is_of(INTEGRITY, finding)]
    caution = [finding for finding in integrity if finding.rule is not CLEAN]
    return (
        *((_table(FINDINGS, "Findings", findings),) if findings else ()),
        *((_table(INTEGRITY, "Integrity", caution),) if integrity else ()),
    )


def _table(name: str, title: str, findings: Sequence[Finding]) -> Table:
    rows = [(f.rule.id, f.what, f.cost.ns, f.cost.share, f.advice, f.sure, f.where) for f in findings]
    frame = pd.DataFrame(rows, columns=[column.name for column in _COLUMNS])
    return Table(name, title, _COLUMNS, frame.astype({"cost_ns": pd.Int64Dtype(), "share": float}))


def json_value(finding: Finding) -> dict[str, Any]:
    """`{rule, what, cost_ns, share, gain_ns, evidence, ...}`; null where cost, share or gain is not known."""
    return {
        "rule": finding.rule.id,
        "what": finding.what,
        "cost_ns": finding.cost.ns,
        "share": finding.cost.share,
        "gain_ns": finding.gain.ns,
        "evidence": [{"table": row.table, "key": dict(row.key)} for row in finding.evidence],
        "advice": finding.advice,
        "sure": finding.sure,
        "where": finding.where,
    }
