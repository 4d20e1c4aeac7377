"""The account of what was asked for; a selection without any work is refused, with what there is instead."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.attribute import Attribution, Phase
from perfkit.analysis.time.account import Account, Selection, account_for
from perfkit.errors import UsageError
from perfkit.trace.columns import Trace


def selected(trace: Trace, attribution: Attribution, selection: Selection) -> Account:
    """The account of a selection. Raises UsageError where the step or the phase that was asked for has no work."""
    account = account_for(trace, attribution, selection)
    if len(account) or selection == Selection():
        return account
    whole = account_for(trace, attribution, Selection(steps=selection.steps))
    if isinstance(selection.steps, int) and not len(whole):
        what = "device work was launched in" if account.on_device else "time of the main thread is in"
        raise UsageError(f"--steps {selection.steps}: no {what} this step of {trace.source}: choose another")
    if selection.phase is not None:
        raise UsageError(f"--phase {selection.phase.label}: {trace.source} has {_present(whole)}")
    return account


def _present(account: Account) -> str:
    """The phases that there are, most time first."""
    times = np.bincount(account.phase, weights=account.total, minlength=len(Phase))
    there = sorted(map(Phase, np.unique(account.phase)), key=lambda phase: -times[phase])
    return f"only {', '.join(phase.label for phase in there)}: choose one of these" if there else "no work in any phase"
