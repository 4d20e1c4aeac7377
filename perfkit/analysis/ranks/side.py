"""What is kept of one rank's recording, which is small: collectives, layers' times, ends, waits for messages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.kernels import kinds
from perfkit.analysis.kernels.categories import of_operator
from perfkit.analysis.ranks.bubbles import Received, received
from perfkit.analysis.ranks.calls import ONE_TO_ONE, calls_of
from perfkit.analysis.time.account import Account


@dataclass(frozen=True, slots=True)
class Side:
    """One rank; times in ns of its own clock."""

    rank: int
    world: int | None
    """Ranks of the whole job, where the file says."""
    calls: pd.DataFrame
    """As `calls_of`, without what is from one rank to another."""
    layers: pd.Series[int]
    """ns of computing, by scope: kernels, or on a host operators."""
    begin: int
    """The first step's start; without steps the first event's."""
    end: int
    steps: int
    received: Received | None = None
    """From single ranks; None where none sends or receives so."""


def side_of(account: Account, rank: int) -> Side:
    """What is kept of a rank of the account's trace."""
    trace, attribution = account.trace, account.attribution
    base = trace.facts.base_time_ns or 0
    calls = calls_of(trace, attribution)
    messages = received(trace, attribution, calls)
    calls[["start", "end"]] += base
    spans = [(step.start, step.end) for step in attribution.steps] or [
        (int(part.start.min()), int(part.end.max())) for part in (trace.host, trace.device) if len(part)
    ]
    begin, end = min((start for start, _ in spans), default=0), max((end for _, end in spans), default=0)
    if len(calls):  # a kernel may end after the step that launched it
        begin, end = min(begin, int(calls["start"].min()) - base), max(end, int(calls["end"].max()) - base)
    collectives = calls[~calls["collective"].isin(ONE_TO_ONE)].reset_index(drop=True)
    return Side(
        rank, trace.recording.world_size, collectives, _layers(account), base + begin, base + end, len(account.steps),
        messages,
    )  # fmt: skip


def _layers(account: Account) -> pd.Series[int]:
    exchanges = np.array([of_operator(name) == kinds.COMMUNICATION for name in account.trace.names] + [False])
    computes = (account.phase != Phase.COMMUNICATION) & account.is_counted & ~exchanges[account.operator]
    own = computes & (account.path != NONE)
    names = np.array(account.attribution.paths, dtype=object)[account.path[own]]
    return pd.Series(account.total[own], dtype="int64").groupby(names).sum()
