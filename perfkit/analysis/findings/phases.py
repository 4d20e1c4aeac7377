"""Whether the phases of a trace can be told."""

from __future__ import annotations

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.attribution.intervals import Bools
from perfkit.analysis.findings.trace import ANNOTATE
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.summary import Scalars
from perfkit.schema import units
from perfkit.schema.finding import Cost, Evidence, Finding, Rule
from perfkit.trace.columns import HostKind

NO_PHASE_EVIDENCE = Rule(
    "no-phase-evidence", "trace", "nothing in the file says which phase some work belongs to; it is in phase `other`"
)
_MUCH = 0.01
"""Share of the total time from which the finding is made."""


def no_phase_evidence(account: Account, scalars: Scalars) -> Finding | None:
    """How much work has phase `other` only because nothing says its phase."""
    is_evident = _is_evident(account)
    lacking = (account.phase == Phase.OTHER) & ~is_evident
    time, total = int(account.total[lacking].sum()), int(account.total.sum())
    if not total or time < _MUCH * total:
        return None
    known = is_evident & (account.phase != Phase.UNLAUNCHED) & (account.phase != Phase.COMMUNICATION)
    share = f"{units.duration_ns(time)} ({units.percent(time / total)})"
    text = f"{share} are in phase other: nothing in the file says which phase it is"
    if not known.any():
        text = "phases cannot be told: no range, operation or module in the file says one"
    cost = Cost(round(time / max(scalars["steps"], 1)), time / total)
    return Finding(NO_PHASE_EVIDENCE, text, cost, (Evidence("phases", {"phase": Phase.OTHER.label}),), ANNOTATE)


def _is_evident(account: Account) -> Bools:
    """Rows whose phase something says. On the host, what runs between operators and ranges needs no phase."""
    if account.on_device:
        return account.attribution.events.is_evident[account.row]
    host = account.attribution.host
    between = host.is_step | (host.kind == HostKind.PYTHON)
    evident: Bools = account.attribution.ranges.is_evident[account.row] | between[account.row]
    return evident
