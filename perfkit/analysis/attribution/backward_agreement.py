"""The two sources for backward in one trace: perfkit's range round a node, and the node's sequence number."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np

from perfkit.analysis.attribution.attribute import Attribution
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.attribution.scopes import ScopeSource

_SHOWN = 3


class Agreement(msgspec.Struct, frozen=True):
    """How far the two agree."""

    nodes: int
    """Nodes that have a range of perfkit's and a number that links to a forward operation."""
    agreeing: int
    differences: tuple[tuple[str, str, str, int], ...]
    """(node, module by its range, module by its number, times), most frequent first."""

    def __str__(self) -> str:
        text = f"backward ranges agree with sequence numbers: {self.agreeing:,} of {self.nodes:,} nodes"
        shown = [
            f"{node} is of {ranged} by its range and of {numbered} by its number ({times:,}x)"
            for node, ranged, numbered, times in self.differences[:_SHOWN]
        ]
        more = [f"{len(self.differences) - _SHOWN:,} more kinds"] if len(self.differences) > _SHOWN else []
        return "; ".join([text, *shown, *more])


def agreement(attribution: Attribution) -> Agreement | None:
    """Compare the two; None where the trace does not have both."""
    if attribution.scope_source is not ScopeSource.PERFKIT:  # other scopes have other names
        return None
    host, links = attribution.host, attribution.links
    # The engine's range holds perfkit's, which holds the node: the range around perfkit's has the number, if any has.
    ranges = np.flatnonzero(links.is_hooked & ~links.is_node & (links.node != NONE))
    around = links.node[ranges]
    leading = (links.target[around] != NONE) & ~links.by_accumulation[around] & ~links.guessed[around]
    ranges, around = ranges[leading], around[leading]
    if not len(ranges):
        return None
    by_number = attribution.path_names(attribution.ranges.path[around], attribution.ranges.phase[around])
    by_range = [host.own_names[int(name)].label for name in host.name[ranges]]
    pairs = zip(around.tolist(), by_range, map(str, by_number), strict=True)
    different = Counter(
        (host.name_of(row).rpartition(" ")[2], ranged, numbered)
        for row, ranged, numbered in pairs
        if ranged != numbered
    )
    differences = tuple((*key, times) for key, times in different.most_common())
    return Agreement(len(ranges), len(ranges) - different.total(), differences)
