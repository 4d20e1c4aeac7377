"""What a trace contains, as findings: each rule, and the function that looks for it.

A function takes the account and its summary, and returns one finding or None. Cautions are in `integrity`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from perfkit.analysis.attribution.attribute import UNATTRIBUTED
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.attribution.scopes import How
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.cells import REASONS
from perfkit.analysis.time.summary import Scalars
from perfkit.schema import units
from perfkit.schema.finding import Cost, Evidence, Finding, Rule
from perfkit.trace.recording import Recording

_NAMES_SHOWN = 3

UNATTRIBUTED_TIME = Rule("unattributed-time", "trace", "time has no scope, by the reasons for it")


def unattributed_time(_: Account, scalars: Scalars) -> Finding | None:
    """How much time has no scope, and why."""
    rest, total = scalars["unattributed_ns"], scalars["total_ns"]
    if not rest:
        return None
    times = scalars["unattributed_reasons_ns"]
    text = f"{UNATTRIBUTED}: {units.duration_ns(rest)} in all ({units.percent(rest / total)})"
    if len(times) == 1:
        text += f" {REASONS[next(iter(times))]}"
    else:
        text += f": {'; '.join(f'{units.duration_ns(time)} {REASONS[reason]}' for reason, time in times.items())}"
    cost = Cost(round(rest / max(scalars["steps"], 1)), rest / total)
    return Finding(UNATTRIBUTED_TIME, text, cost, (Evidence("layers", {"scope": UNATTRIBUTED}),))


ANNOTATE = "perfkit.annotate(model) while recording"
"""The advice where modules or phases cannot be told."""

NO_MODULES = Rule("no-modules", "trace", "no range names a module")


def no_modules(account: Account, _: Scalars) -> Finding | None:
    """Ranges name no module, or hold little of the time: what tables by layer go by instead."""
    if account.fallback is None or not len(account):
        return None
    by, few = account.fallback.by.noun, bool((~account.unattributed & (account.how != How.OPTIMIZER)).any())
    which = "no module is named, and ranges hold less than half of the time" if few else "no range names a module"
    rows = f"range or {by}" if few else by
    text = f"{which}: tables by layer have a row for each {rows}"
    return Finding(NO_MODULES, text, advice=ANNOTATE)


SHARED_NAMES = Rule("shared-names", "trace", "modules of several models have the same names")


def shared_names(account: Account, _: Scalars) -> Finding | None:
    """Two models were annotated without names of their own: rows of these names hold the time of both."""
    names = account.attribution.naming.roots.shared
    if not names:
        return None
    more = f" and {len(names) - _NAMES_SHOWN:,} more" if len(names) > _NAMES_SHOWN else ""
    shown = ", ".join(names[:_NAMES_SHOWN]) + more
    text = f"modules of several models share names, and the rows of these names add them up: {shown}"
    evidence = tuple(Evidence("layers", {"scope": name}) for name in names)
    advice = 'annotate(model, root="NAME"), with another name for each model'
    return Finding(SHARED_NAMES, text, evidence=evidence, advice=advice)


PROVENANCE_UNAVAILABLE = Rule(
    "provenance-unavailable", "trace", "no kernel of a compiled graph could be attributed to modules"
)
PROVENANCE = Rule("provenance", "trace", "how many kernels of compiled graphs were attributed to modules")


def provenance(account: Account, _: Scalars) -> Finding | None:
    """How many kernels of compiled graphs were attributed to modules; None where the run did not ask for it."""
    compiled = account.attribution.compiled
    if compiled is None:
        return None
    if not (compiled.path != NONE).any():
        text = f"provenance: not available: {compiled.problem or 'no kernel of a compiled graph could be mapped'}"
        return Finding(PROVENANCE_UNAVAILABLE, text)
    place = account.attribution.events.leaf[account.row] if account.on_device else account.row
    inside = compiled.graph if account.on_device else compiled.kernel
    rows = np.flatnonzero((place != NONE) & (inside[place] != NONE))
    if not len(rows):
        return None
    place, time = place[rows], account.total[rows]
    counts = np.ones(len(rows), dtype=bool) if account.on_device else compiled.kernel[place] == place
    mapped, fused = compiled.path[place] != NONE, compiled.fused[place]
    text = (
        f"provenance: {int((counts & mapped).sum()):,} of {int(counts.sum()):,} compiled kernels mapped"
        f" ({units.percent(int(time[mapped].sum()) / max(int(time.sum()), 1))} of their time),"
        f" {int((counts & fused).sum()):,} fused across modules (shown at their common ancestor)"
    )
    return Finding(PROVENANCE, f"{text}; {compiled.problem}" if compiled.problem else text)


BACKWARD_RANGES_AGREE = Rule(
    "backward-ranges-agree", "trace", "ranges round backward nodes and sequence numbers name the same modules"
)


def backward_ranges_agree(account: Account, _: Scalars) -> Finding | None:
    """Where a trace names the module of a backward node twice and the two agree; else `integrity` reports it."""
    both = account.agreement
    return Finding(BACKWARD_RANGES_AGREE, str(both)) if both is not None and both.agreeing == both.nodes else None


CAPTURED_RANKS = Rule(
    "captured-ranks", "trace", "traces of fewer ranks than the job has: what all is about", read="first"
)
ONE_RANK = Rule("one-rank", "trace", "the trace is of one rank of several, and says nothing of the others")
_RANKS_NAMED = 4
"""Ranks are named where they are at most this many, neighbours counted as one; else they are `others`."""


def captured(ranks: Collection[int], world: int | None) -> Finding | None:
    """Whose traces were read, and whose were not; None where all of a job's `world` were, or nothing says how many.

    No `ranks`: a trace that says how many there are, and not which it is.
    """
    count = max(len(ranks), 1)
    if count >= (world or 0):
        return None
    traces, pronoun = ("trace", "it says") if count == 1 else ("traces", "they say")
    own = _named(ranks)
    text = f"the {traces} of only {count:,} of {world:,} ranks {'was' if count == 1 else 'were'} read"
    text += f", {own}: " if own else ": "
    return Finding(CAPTURED_RANKS, f"{text}{pronoun} nothing of {_others(ranks, world or 0)}")


def only_rank(account: Account, _: Scalars) -> Finding | None:
    """The same of the only trace of a folder."""
    recording = account.trace.recording
    return captured([] if recording.rank is None else [recording.rank], recording.world_size)


def one_rank(account: Account, _: Scalars) -> Finding | None:
    """A remark on a trace that was named itself; None where it is of a single process, or does not say."""
    rank, world = account.trace.recording.rank, account.trace.recording.world_size or 0
    if world < 2:
        return None
    whose = "one rank" if rank is None else f"rank {rank}"
    others = "the other" if world == 2 else f"the other {world - 1:,}"
    return Finding(ONE_RANK, f"this is {whose} of a job of {world:,} ranks: nothing here is about {others}")


def one_rank_each(a: Recording, b: Recording) -> Finding | None:
    """The same of two traces; None where neither says that it is of one rank of several."""
    sides = [
        f"{name} is {'one rank' if one.rank is None else f'rank {one.rank}'} of {one.world_size:,}"
        for name, one in (("A", a), ("B", b))
        if (one.world_size or 0) > 1
    ]
    both = a.world_size == b.world_size == 2 and {a.rank, b.rank} == {0, 1}  # of one job, or of two alike
    others = "" if both else ": nothing here is about other ranks"
    return Finding(ONE_RANK, f"{' and '.join(sides)}{others}") if sides else None


def _others(ranks: Collection[int], world: int) -> str:
    missing = set(range(world)).difference(ranks)
    return (_named(missing) if ranks and len(missing) == world - len(ranks) else "") or "the others"


def _named(ranks: Collection[int]) -> str:
    """`rank 3`, `ranks 0, 1, 4-7`; empty where they are none, or more than is read."""
    parts = [*_spans(ranks)]
    return f"{'rank' if len(ranks) == 1 else 'ranks'} {', '.join(parts)}" if 0 < len(parts) <= _RANKS_NAMED else ""


def _spans(ranks: Collection[int]) -> Iterator[str]:
    """Three or more in a row as `4-7`, others each for itself."""
    every = np.array(sorted(ranks), np.int64)
    for span in np.split(every, np.flatnonzero(np.diff(every) > 1) + 1):
        yield from [f"{span[0]}-{span[-1]}"] if len(span) > 2 else map(str, span)
