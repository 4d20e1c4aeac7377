"""What the dearest findings would gain, by a replay of the trace without what they are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.findings.performance.look import Look
from perfkit.analysis.time.replay.replay import gain
from perfkit.schema import units
from perfkit.schema.finding import Cost, Finding

MOST = 5
"""Replays of edited graphs, at most: each takes some milliseconds for a thousand launches."""

_NOTHING = 0.001
"""Share of the step, below which a gain is none: replays miss their recordings by as much."""


def with_gains(case: Case, findings: Sequence[Finding], looks: Mapping[str, Look]) -> list[Finding]:
    """The findings with the gains of those at the top, the one with most at stake first.

    A gain may be far less than the cost, so that another finding comes to the top: then that one is replayed, up to
    five in all. Where the trace cannot be replayed, what a cost promises is a guess. Without a finding that costs
    anything nothing is replayed.
    """
    ranked = _ranked(findings)
    if not any(finding.cost.ns for finding in ranked):
        return ranked
    if case.replay is None:
        return [replace(finding, sure="guessed") if finding.cost.ns else finding for finding in ranked]
    tried: set[str] = set()
    while len(tried) < MOST:
        place = next((at for at, finding in enumerate(ranked[:MOST]) if _is_open(finding, looks, tried)), None)
        if place is None:
            break
        tried.add(ranked[place].rule.id)
        ranked[place] = _with_gain(case, ranked[place], looks[ranked[place].rule.id])
        ranked = _ranked(ranked)
    return ranked


def _ranked(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: (-(finding.at_stake.ns or 0), -(finding.cost.ns or 0)))


def _is_open(finding: Finding, looks: Mapping[str, Look], tried: set[str]) -> bool:
    return bool(finding.cost.ns) and finding.rule.id not in tried and looks[finding.rule.id].edit is not None


def _with_gain(case: Case, finding: Finding, look: Look) -> Finding:
    """The finding with what its edit gains; as it was where the edit changes nothing that was replayed."""
    edit = look.edit(case, finding) if look.edit else None
    if edit is None or case.replay is None:
        return finding
    found = gain(case.replay.graph, edit, case.replay)
    if found is None:
        return finding
    ns = max(found.ns_per_step, 0)
    if look.is_idle:
        ns = min(ns, finding.cost.ns or 0)
    step = case.replay.step_ns
    whole, share = units.duration_ns(step) + case.a_step, ns / max(step, 1)
    said = f"at most {units.duration_ns(ns)} of {whole} to gain, by a replay without it"
    if share < _NOTHING:
        said = f"a replay without it gains nothing, since something else sets the pace of {whole}"
    return replace(finding, what=f"{finding.what}; {said}", gain=Cost(ns, share))
