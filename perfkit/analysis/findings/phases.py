"""Whether the phases of a trace can be told."""

from __future__ import annotations

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.attribution.intervals import NONE, Bools, at
from perfkit.analysis.attribution.scopes import ScopeSource
from perfkit.analysis.findings.trace import ANNOTATE
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.summary import Scalars
from perfkit.schema import units
from perfkit.schema.finding import Cost, Evidence, Finding, Rule
from perfkit.trace.columns import HostKind
from perfkit.trace.recording import Tool

NO_PHASE_EVIDENCE = Rule(
    "no-phase-evidence", "trace", "nothing in the file says which phase some work belongs to; it is in phase `other`"
)
_MUCH = 0.01
"""Share of the total time from which the finding is made."""
_NAME_THEM = "ranges named forward, backward and optimizer round these parts"


def no_phase_evidence(account: Account, scalars: Scalars) -> Finding | None:
    """How much work has phase `other` only because nothing says its phase."""
    is_evident = _is_evident(account)
    lacking = (account.phase == Phase.OTHER) & ~is_evident
    time, total = int(account.total[lacking].sum()), int(account.total.sum())
    if not total or time < _MUCH * total:
        return None
    known = is_evident & (account.phase != Phase.UNLAUNCHED) & (account.phase != Phase.COMMUNICATION)
    share = f"{units.duration_ns(time)} in all ({units.percent(time / total)})"
    place = _where_most_is(account, lacking)
    most = f", most of it in {place}" if place else ""
    text = f"{share} are in phase other{most}: nothing in the file says which phase it is"
    if not known.any():
        text = "phases cannot be told: no range, operation or module in the file says one"
    cost = Cost(round(time / max(scalars["steps"], 1)), time / total)
    annotated = account.attribution.scope_source is ScopeSource.PERFKIT
    advice = _NAME_THEM if annotated else ANNOTATE
    return Finding(NO_PHASE_EVIDENCE, text, cost, (Evidence("phases", {"phase": Phase.OTHER.label}),), advice)


def _where_most_is(account: Account, rows: Bools) -> str:
    """The scope or the operator that has most of the time of these rows; empty where none has half of it."""
    attribution, total = account.attribution, account.total[rows]
    names = attribution.path_names(account.path[rows], account.phase[rows])
    operators = at(np.array(attribution.host.names, dtype=object), account.operator[rows], absent="")
    names = np.where(account.path[rows] == NONE, operators, names)
    times = pd.Series(total).groupby(names).sum().drop("", errors="ignore")
    return str(times.idxmax()) if len(times) and 2 * times.max() >= total.sum() else ""


BACKWARD_UNMARKED = Rule("backward-unmarked", "trace", "modules are annotated, but nothing in the file marks backward")


def backward_unmarked(account: Account, _: Scalars) -> Finding | None:
    """A recording of training under nsys with perfkit's ranges of modules, and none of backward."""
    attribution = account.attribution
    annotated = attribution.scope_source is ScopeSource.PERFKIT and account.trace.recording.tool is Tool.NSYS
    trains = bool((account.phase == Phase.OPTIMIZER).any())
    if not annotated or not trains or attribution.links.is_node.any() or (account.phase == Phase.BACKWARD).any():
        return None
    text = "modules have ranges, but nothing marks backward, which Nsight Systems does not record by itself"
    return Finding(BACKWARD_UNMARKED, text, advice="annotate(model, backward=True) while recording")


def _is_evident(account: Account) -> Bools:
    """Rows whose phase something says. On the host, what runs between operators and ranges needs no phase."""
    if account.on_device:
        return account.attribution.events.is_evident[account.row]
    host = account.attribution.host
    between = host.is_step | (host.kind == HostKind.PYTHON)
    evident: Bools = account.attribution.ranges.is_evident[account.row] | between[account.row]
    return evident
