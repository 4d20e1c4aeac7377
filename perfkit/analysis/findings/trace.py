"""What a trace contains, as findings: each rule, and the function that looks for it.

A function takes the account and its summary, and returns one finding or None. Cautions are in `integrity`.
"""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.attribute import UNATTRIBUTED
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.attribution.scopes import How
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.breakdown import without_device
from perfkit.analysis.time.cells import REASONS
from perfkit.analysis.time.devices import device_table
from perfkit.analysis.time.summary import Scalars, device_span
from perfkit.schema import units
from perfkit.schema.finding import Cost, Evidence, Finding, Rule

_NAMES_SHOWN = 3
_MOST_DEVICES = 8
"""Devices that a sentence names; the table has all."""

TRACE_TOTALS = Rule("trace-totals", "trace", "how many steps, how much time, and how busy the device was")


def trace_totals(account: Account, scalars: Scalars) -> Finding:
    """Steps, time and device use, in one line."""
    steps, total = scalars["steps"], units.duration_ns(scalars["total_ns"])
    text = f"{steps} steps" if steps != 1 else "1 step"
    if not account.on_device:
        facts = account.partial.facts
        what = without_device(facts) if facts.has_operators or facts.has_launches else "no GPU work was captured"
        return Finding(TRACE_TOTALS, f"{text}, {total} on the main thread; {what}")
    busy, span = scalars["busy_ns"], device_span(account.partial)
    text += f"; {scalars['gpu_events']:,} device events, {total} in sum, {units.duration_ns(busy)} busy"
    if span:
        text += f" ({_shares(account) or units.percent(busy / span)} of the time from first to last)"
    return Finding(TRACE_TOTALS, text)


def _shares(account: Account) -> str:
    """The busy share of each of a few devices; empty where there is one, or many."""
    devices = device_table(account.partial).frame
    if not 1 < len(devices) <= _MOST_DEVICES or devices["busy_share"].isna().any():
        return ""
    shares = zip(devices["device"], devices["busy_share"], strict=True)
    return ", ".join(f"device {label}: {units.percent(share)}" for label, share in shares)


UNATTRIBUTED_TIME = Rule("unattributed-time", "trace", "time has no scope, by the reasons for it")


def unattributed_time(_: Account, scalars: Scalars) -> Finding | None:
    """How much time has no scope, and why."""
    rest, total = scalars["unattributed_ns"], scalars["total_ns"]
    if not rest:
        return None
    times = scalars["unattributed_reasons_ns"].items()
    reasons = [f"{units.duration_ns(time)} {REASONS[reason]}" for reason, time in times]
    text = f"{UNATTRIBUTED}: {units.duration_ns(rest)} ({units.percent(rest / total)}): {'; '.join(reasons)}"
    cost = Cost(round(rest / max(scalars["steps"], 1)), rest / total)
    return Finding(UNATTRIBUTED_TIME, text, cost, (Evidence("layers", {"scope": UNATTRIBUTED}),))


NO_MODULES = Rule("no-modules", "trace", "no range names a module")


def no_modules(account: Account, _: Scalars) -> Finding | None:
    """Ranges name no module, or hold little of the time: what tables by layer go by instead."""
    if account.fallback is None or not len(account):
        return None
    by, few = account.fallback.by.noun, bool((~account.unattributed & (account.how != How.OPTIMIZER)).any())
    which = "no module is named, and ranges hold less than half of the time" if few else "no range names a module"
    rows = f"range or {by}" if few else by
    text = f"{which}: tables by layer have a row for each {rows}"
    return Finding(NO_MODULES, text, advice="perfkit.annotate(model) while recording")


SHARED_NAMES = Rule("shared-names", "trace", "modules of several models have the same names")


def shared_names(account: Account, _: Scalars) -> Finding | None:
    """Two models were annotated without names of their own: rows of these names hold the time of both."""
    names = account.attribution.naming.roots.shared
    if not names:
        return None
    more = f" and {len(names) - _NAMES_SHOWN:,} more" if len(names) > _NAMES_SHOWN else ""
    shown = ", ".join(names[:_NAMES_SHOWN]) + more
    text = f"modules of several models share names, and the rows of these names add them up: {shown}"
    evidence = tuple(Evidence("layers", {"scope": name}) for name in names)
    advice = 'annotate(model, root="NAME"), with another name for each model'
    return Finding(SHARED_NAMES, text, evidence=evidence, advice=advice)


PROVENANCE_UNAVAILABLE = Rule(
    "provenance-unavailable", "trace", "no kernel of a compiled graph could be attributed to modules"
)
PROVENANCE = Rule("provenance", "trace", "how many kernels of compiled graphs were attributed to modules")


def provenance(account: Account, _: Scalars) -> Finding | None:
    """How many kernels of compiled graphs were attributed to modules; None where the run did not ask for it."""
    compiled = account.attribution.compiled
    if compiled is None:
        return None
    if not (compiled.path != NONE).any():
        text = f"provenance: not available: {compiled.problem or 'no kernel of a compiled graph could be mapped'}"
        return Finding(PROVENANCE_UNAVAILABLE, text)
    place = account.attribution.events.leaf[account.row] if account.on_device else account.row
    inside = compiled.graph if account.on_device else compiled.kernel
    rows = np.flatnonzero((place != NONE) & (inside[place] != NONE))
    if not len(rows):
        return None
    place, time = place[rows], account.total[rows]
    counts = np.ones(len(rows), dtype=bool) if account.on_device else compiled.kernel[place] == place
    mapped, fused = compiled.path[place] != NONE, compiled.fused[place]
    text = (
        f"provenance: {int((counts & mapped).sum()):,} of {int(counts.sum()):,} compiled kernels mapped"
        f" ({units.percent(int(time[mapped].sum()) / max(int(time.sum()), 1))} of their time),"
        f" {int((counts & fused).sum()):,} fused across modules (shown at their common ancestor)"
    )
    return Finding(PROVENANCE, f"{text}; {compiled.problem}" if compiled.problem else text)


BACKWARD_RANGES_AGREE = Rule(
    "backward-ranges-agree", "trace", "ranges round backward nodes and sequence numbers name the same modules"
)


def backward_ranges_agree(account: Account, _: Scalars) -> Finding | None:
    """Where a trace names the module of a backward node twice and the two agree; else `integrity` reports it."""
    both = account.agreement
    return Finding(BACKWARD_RANGES_AGREE, str(both)) if both is not None and both.agreeing == both.nodes else None
