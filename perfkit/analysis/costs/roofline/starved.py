"""Idle time that late launches of counted work ended: what a kernel's launch cost beyond its own time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.intervals import NONE, at
from perfkit.analysis.costs.flops.table import CALL, of_calls, owners_of_events, with_texts
from perfkit.analysis.costs.flops.work import work_of
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.idle.folds import IDLE_TIME, WALL_TIME
from perfkit.analysis.time.idle.kinds import Cause
from perfkit.analysis.time.partial import Fold, Partial, Rows


def _rows(account: Account) -> Rows:
    operands = account.operands
    work = work_of(operands, account.attribution)
    pieces, gaps, host = account.wall.pieces, account.wall.gaps, account.attribution.host
    ender = gaps.ender[pieces.gap]
    owner = at(owners_of_events(account, work), ender, absent=NONE) if account.on_device else ender
    rows = np.flatnonzero((pieces.cause == Cause.LAUNCH_STARVED) & (owner != NONE))
    return with_texts(
        {
            "name": host.name[owner[rows]].astype(np.int64),
            **of_calls(account, operands, work, owner[rows]),
            "device": gaps.device[pieces.gap[rows]],
            "phase": account.attribution.events.phase[ender[rows]].astype(np.int64),
            "idle_ns": pieces.ns[rows],
        },
        operands,
    )


STARVED = Fold(
    "starved",
    _rows,
    keys=(*CALL, "phase"),
    measures={"idle_ns": "sum"},
    texts={"name": "names", "kernel": "names", "device": "device_labels"},
)
"""Launch-starved idle time by the calls whose late launch ended it."""


def of_operators(partial: Partial) -> pd.DataFrame:
    """The same, of the phase that is accounted for."""
    rows, only = partial.of(STARVED), partial.facts.only
    return rows if only is None else rows[rows["phase"] == only]


def of_layers(partial: Partial) -> pd.DataFrame:
    """Launch-starved idle time by path and phase."""
    rows, only = partial.of(IDLE_TIME), partial.facts.only
    rows = rows[(rows["cause"] == Cause.LAUNCH_STARVED) & (only is None or rows["phase"] == only)]
    return rows.rename(columns={"total_ns": "idle_ns"})


def of_steps(partial: Partial) -> pd.DataFrame:
    """Launch-starved idle time by step and device; step NONE outside."""
    rows = partial.of(WALL_TIME)
    return rows[rows["cause"] == Cause.LAUNCH_STARVED].rename(columns={"total_ns": "idle_ns"})
