"""Memory that the allocator has and nobody uses."""

from __future__ import annotations

from perfkit.analysis.findings.memory import alive
from perfkit.analysis.memory.recorded import allocator
from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.schema import units
from perfkit.schema.finding import Evidence, Finding, Rule

_LEAST = 0.1
"""Share of what is reserved from which the finding is made."""
_LARGE = 2**26
"""Bytes: less than three segments of 20 MiB is nothing to mend."""

FRAGMENTATION = Rule("fragmentation", "memory", "the allocator has much memory that nobody uses at the peak")


def fragmentation(account: MemoryAccount) -> Finding | None:
    """What is reserved and not allocated at the peak.

    At stake: all of it.
    """
    snapshot = account.snapshot
    if snapshot is None:
        return None
    reserved = allocator.reserved(snapshot, account.at)
    used = account.at.bytes + allocator.rounding(snapshot, account.lives, account.at).bytes
    free = reserved - used
    if free < max(_LEAST * reserved, _LARGE):
        return None
    text = (
        f"{units.size(free)} of the {units.size(reserved)} that the allocator has from the driver at the peak"
        f" ({units.percent(free / reserved)}) are in pieces between blocks, or in segments that are free"
    )
    is_set = bool(snapshot.settings.get("expandable_segments"))
    advice = (
        "fewer different sizes: batches padded to a few lengths"
        if is_set
        else ("PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True")
    )
    return Finding(FRAGMENTATION, text, alive.cost(account, free), (Evidence("allocator", {}),), advice, "derived")
