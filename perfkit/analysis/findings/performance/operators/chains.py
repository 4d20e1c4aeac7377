"""Elementwise operations one after the other, each of which reads and writes all of its elements."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Ints
from perfkit.analysis.findings.performance.case import Case, names_of
from perfkit.analysis.findings.performance.evidence import kernel_rows
from perfkit.analysis.findings.performance.units import SHORTEST_CHAIN
from perfkit.schema.finding import Finding, Rule

_LEAST = 0.02
"""Share of the step at stake from which the finding is made."""

ELEMENTWISE_CHAINS = Rule(
    "elementwise-chains",
    "performance",
    "three or more elementwise operations in a row (norms, rope, activations written out) that one kernel could do",
)


def elementwise_chains(case: Case) -> Finding | None:
    """Stretches of elementwise operations and reductions, in forward, recomputation, or work of no phase.

    At stake: their time, with that of the backward nodes that they made, less the longest operation of each stretch in
    each direction, since a fused kernel still reads what comes in and writes what goes out.
    """
    chain = case.chains
    inside = chain != NONE
    if not inside.any():
        return None
    forward, backward = case.rows_of(inside, backward=False), case.rows_of(inside)
    time = _saved(case, chain, case.unit, forward) + _saved(case, chain, case.made_by, backward & ~forward)
    if not case.is_worth(time, _LEAST):
        return None
    count, members = len(np.unique(chain[inside])), _costliest(case, chain)
    text = (
        f"{SHORTEST_CHAIN} or more elementwise operations in a row, {case.times_a_step(count)}, such as"
        f" {names_of(case, members)}:{case.with_backward} {case.each(case.time(backward))}, and each operation reads"
        " and writes all elements again"
    )
    advice = (
        "torch.compile (perfkit run: --compile block), or one operation that does it all: nn.RMSNorm, F.layer_norm,"
        " F.gelu, F.silu"
    )
    return Finding(ELEMENTWISE_CHAINS, text, case.cost(time), kernel_rows(case, backward), advice, "derived")


def _saved(case: Case, chain: Ints, unit: Ints, rows: np.ndarray) -> int:
    """The time of some rows of chains, less the longest unit of each chain. `unit` is that of each row."""
    times = case.times(rows)
    chosen = np.flatnonzero((times > 0) & (unit != NONE))
    per_unit = np.bincount(unit[chosen], weights=times[chosen], minlength=len(chain))
    inside = np.flatnonzero((chain != NONE) & (per_unit > 0))
    longest = np.zeros(len(chain) + 1)
    np.maximum.at(longest, chain[inside], per_unit[inside])
    return int(per_unit[inside].sum() - longest.sum())


def _costliest(case: Case, chain: Ints) -> Ints:
    """The units of the chain that takes most time."""
    inside = np.flatnonzero(chain != NONE)
    time = np.bincount(chain[inside], weights=case.unit_time[inside])
    return inside[chain[inside] == np.argmax(time)]
