"""Backward nodes whose link to a forward operation is a guess (rule 7 of docs/attribution.md)."""

from __future__ import annotations

from perfkit.analysis.attribution.scopes import How
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.cost import part
from perfkit.schema import units
from perfkit.schema.finding import Finding, Rule

GUESSED_LINKS = Rule(
    "guessed-links",
    "integrity",
    "backward nodes whose own number tells nothing: they link by the numbers next to theirs (CopySlices, TorchScript)",
)


def guessed_links(account: Account) -> Finding | None:
    """How many nodes link by a guess, and how much time has its scope by one."""
    links = account.attribution.links
    guessed, nodes = int((links.guessed & links.numbered).sum()), int(links.numbered.sum())
    if not guessed:
        return None
    time, whole = int(account.total[account.how == How.GUESSED].sum()), int(account.total.sum())
    text = (
        f"{guessed:,} of {nodes:,} backward nodes link to their forward operation by a guess, from the numbers next to"
        f" theirs (views that were written to, TorchScript): {units.duration_ns(time)}"
        f" ({units.percent(time / max(whole, 1))}) ran in them"
    )
    return Finding(GUESSED_LINKS, text, part(account, time), sure="guessed")
