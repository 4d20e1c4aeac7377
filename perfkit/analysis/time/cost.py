"""What a finding costs: its time per step, and its share."""

from __future__ import annotations

from perfkit.analysis.time.account import Account
from perfkit.schema.finding import Cost


def cost(account: Account, time_ns: int, whole_ns: int) -> Cost:
    """A finding's time, per step where there are steps, and its share of `whole_ns` (no share where that is 0)."""
    return Cost(round(time_ns / max(len(account.steps), 1)), time_ns / whole_ns if whole_ns else None)


def part(account: Account, time_ns: int) -> Cost:
    """The same for time that is in the tables."""
    return cost(account, time_ns, int(account.total.sum()))
