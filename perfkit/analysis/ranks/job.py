"""What several ranks of one job say together: tables, and who makes the others wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perfkit.analysis.ranks import bubbles, clocks, tables
from perfkit.analysis.ranks.matching import matched
from perfkit.analysis.ranks.side import Side
from perfkit.analysis.ranks.stragglers import Straggler, job_of, stragglers
from perfkit.schema import units
from perfkit.schema.finding import Cost, Evidence, Finding, Rule
from perfkit.schema.table import Table

JOB = Rule("job", "trace", "how many collectives of the captured ranks match, and how well their clocks agree")
STRAGGLER = Rule(
    "straggler", "performance", "a rank that makes the others wait, and what the job would gain with their pace"
)
_LEAST = 0.02
"""Share of the job's time, below which no rank is called slow."""
_BEYOND = 3.0
"""Times what any other rank costs: where work varies by chance each rank costs something. In 1,080 simulated jobs of
equal ranks (2 to 8 ranks, 3 or 10 steps of 8 collectives, work varying by 5 to 30%) 1.5% of them named one; without
this rule nearly all of those with two ranks did."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Tables and findings of a job."""

    tables: tuple[Table, ...]
    findings: tuple[Finding, ...]


NOTHING = Judged((), ())


def judged(sides: Sequence[Side]) -> Judged:
    """What the ranks say together; of bubbles alone where no collective of theirs matches, and NOTHING where two are of
    one rank."""
    sides = sorted(sides, key=lambda side: side.rank)
    if len({side.rank for side in sides}) < max(len(sides), 2):
        return NOTHING
    waiting = _waiting(sides)
    found = matched({side.rank: side.calls for side in sides})
    if not len(found.start):
        return waiting
    found, own = clocks.aligned(found)
    begin, end = (
        np.array([int(clock.aligned(np.array([getattr(side, at)]))[0]) for side, clock in zip(sides, own, strict=True)])
        for at in ("begin", "end")
    )
    slow = None if waiting.tables else stragglers(job_of(found, begin, end))
    made = (
        tables.rank_table(sides, found, slow),
        tables.exchange_table(found),
        tables.exposed_table(found),
        *([tables.layer_table(sides)] if any(len(side.layers) for side in sides) else []),
        clocks.table(found, own),
    )
    left = np.abs(clocks.residuals(found))
    p50, p99 = np.nanpercentile(left, [50, 99]).tolist()
    several = "collectives match" if len(found.start) > 1 else "collective matches"
    lost = f", {found.unmatched} calls have no counterpart" if found.unmatched else ""
    text = (
        f"{_captured(sides)}: {len(found.start):,} {several}{lost};"
        f" aligned by their ends, clocks agree to {units.duration_ns(p50)} (median), {units.duration_ns(p99)} (p99)"
    )
    span = int(end.max() - begin.min())
    return Judged((*made, *waiting.tables), (Finding(JOB, text), *_straggler(sides, slow, span), *waiting.findings))


def _waiting(sides: Sequence[Side]) -> Judged:
    """The ranks' bubbles; NOTHING where none sends to a single rank, or receives from one."""
    known = {side.rank: side.received for side in sides if side.received is not None}
    if not known:
        return NOTHING
    world = max(side.world or 0 for side in sides)
    pipeline = bubbles.pipeline_of([side.rank for side in sides], world, list(known.values()))
    table = bubbles.bubble_table(known, pipeline)
    return Judged((table,), bubbles.bubble_finding(table, pipeline, _captured(sides)))


def _captured(sides: Sequence[Side]) -> str:
    """Whose verdict it is: `2 of 8 ranks`."""
    world = max((side.world or 0 for side in sides), default=0)
    return f"{len(sides)} of {world} ranks" if world > len(sides) else f"{len(sides)} ranks"


def _straggler(sides: Sequence[Side], slow: Sequence[Straggler] | None, span: int) -> tuple[Finding, ...]:
    others = max((one.cost for one in (slow or [])[1:]), default=0)
    if not slow or slow[0].cost < max(_LEAST * span, _BEYOND * others):
        return ()
    first, steps = slow[0], max(1, *(side.steps for side in sides))
    worst = max(first.step_costs, key=lambda name: first.step_costs[name])
    layers = tables.layer_table(sides).frame
    own = next(side for side in sides if side.rank == first.rank).layers
    excess = (own.reindex(layers["scope"]).fillna(0).to_numpy() - layers["median_ns"].to_numpy()) if len(layers) else []
    where = ""
    if len(excess) and max(excess) > 0:
        where = f", most of it in {layers['scope'].iloc[int(np.argmax(excess))]}"
    each = round(first.cost / steps)
    text = (
        f"rank {first.rank} makes the others wait{where}: with the median of their work in its place the job would be"
        f" {units.duration_ns(each)} a step shorter; {worst} loses most, {units.duration_ns(first.step_costs[worst])}"
        f" ({_captured(sides)} were looked at)"
    )
    return (
        Finding(
            STRAGGLER, text, Cost(each, min(first.cost / span, 1.0)), (Evidence(tables.RANKS, {"rank": first.rank}),),
            "batches of equal work for all ranks, and a look at its clocks and host", "derived",
            where=f"rank {first.rank}",
        ),
    )  # fmt: skip
