"""Bubbles of a pipeline: a rank has nothing to do but wait for a message of another stage.

A rank waits for a message from the end of its own work before it (or from when it begins to receive) until the message
is there: what arrives while the rank works costs nothing, and neither does a pause between two pieces of its work.
Messages are from one rank to another (send, recv); collectives are looked at elsewhere, and are work here, so that no
time counts twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import Attribution, Phase
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at, covered, union
from perfkit.analysis.ranks.calls import ONE_TO_ONE, OUTSIDE
from perfkit.schema import units
from perfkit.schema.finding import Cost, Evidence, Finding, Rule
from perfkit.schema.table import Column, Table
from perfkit.trace.columns import HostKind, Trace
from perfkit.trace.operands import operands_of

BUBBLES = "bubbles"
PIPELINE_BUBBLES = Rule(
    "pipeline-bubbles", "performance", "ranks wait for messages of other stages of a pipeline, and do nothing meanwhile"
)
_ASKS = "c10d::recv"
_SOURCE = 2
"""The argument of c10d::recv_ that is the rank which sends."""
_LEAST = 0.02
"""Share of a step, below which no bubble is called one."""


@dataclass(frozen=True, slots=True)
class Received:
    """What a rank receives from single ranks, and how long it waits for it; times in ns."""

    steps: pd.DataFrame
    """A row a step: step, step_ns, wait_ns, first_wait_ns (until the step's first message is there), receives, and
    microbatches: receives of one shape from one rank; NONE where they differ in number, without
    steps, and where the file does not say."""
    sources: tuple[int, ...]
    """Ranks from which it receives, ascending; NONE first where a receive does not say."""


def received(trace: Trace, attribution: Attribution, calls: pd.DataFrame) -> Received | None:
    """Of a rank with `calls` (`calls_of`) on the clock of the trace; None where none is from one rank to another."""
    direct = calls["collective"].isin(ONE_TO_ONE)
    if not direct.any():
        return None
    host, events, device = attribution.host, attribution.events, trace.device
    asks = host.matching(lambda name: name.startswith(_ASKS))
    own = events.phase != Phase.COMMUNICATION
    receives, others = calls[direct & (calls["collective"] != "send")], calls[~direct]
    spans, work = [_spans(receives)], [_spans(others), (device.start[own], device.end[own])]
    if own.all():  # gloo's: the host waits, and the host works
        computes = host.matching(lambda name: name.startswith("aten::")) & (host.kind == HostKind.OP)
        spans.append((host.start[asks], host.end[asks]))
        work.append((host.start[computes], host.end[computes]))
    start, end = _joined(spans)
    waits = waits_for(start, end, *union(*_joined(work)))
    names, begin, until = _steps(attribution, calls)
    arrived = np.append(np.sort(receives["end"].to_numpy(np.int64)), np.iinfo(np.int64).max)
    first = np.clip(arrived[np.searchsorted(arrived[:-1], begin, side="right")], begin, until)
    count, microbatches, sources = _counted(trace, attribution, asks, begin, until)
    frame = pd.DataFrame(
        {
            "step": names,
            "step_ns": until - begin,
            "wait_ns": covered(begin, until, *waits),
            "first_wait_ns": covered(begin, first, *waits),
            "receives": count,
            "microbatches": microbatches if attribution.steps else NONE,
        }
    )
    return Received(frame, sources)


def waits_for(start: Ints, end: Ints, work_start: Ints, work_end: Ints) -> tuple[Ints, Ints]:
    """When a rank waits for messages that it receives from `start` to `end`: disjoint intervals, in order.

    `work_start`, `work_end`: its own work, disjoint and in order. A message that arrives during it is not waited for.
    """
    last = np.searchsorted(work_start, end, side="left") - 1
    begin = np.maximum(start, at(work_end, last, absent=np.iinfo(np.int64).min))
    waits = begin < end
    return union(begin[waits], end[waits])


def _spans(calls: pd.DataFrame) -> tuple[Ints, Ints]:
    return calls["start"].to_numpy(np.int64), calls["end"].to_numpy(np.int64)


def _joined(spans: Sequence[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    return np.concatenate([start for start, _ in spans]), np.concatenate([end for _, end in spans])


def _steps(attribution: Attribution, calls: pd.DataFrame) -> tuple[list[str], Ints, Ints]:
    """Names, starts and ends of the steps, in order; without steps one, from the first call to the last."""
    steps = sorted(attribution.steps, key=lambda step: step.start)
    spans = [(step.name, step.start, step.end) for step in steps] or [
        (OUTSIDE, int(calls["start"].min()), int(calls["end"].max()))
    ]
    names, begin, until = zip(*spans, strict=True)
    return list(names), np.array(begin, np.int64), np.array(until, np.int64)


def _counted(
    trace: Trace, attribution: Attribution, asks: Bools, begin: Ints, until: Ints
) -> tuple[Ints, Ints, tuple[int, ...]]:
    """Receives and microbatches of each step, and the ranks that send."""
    host, operands = attribution.host, operands_of(trace)
    rows = np.flatnonzero(asks)
    step = np.searchsorted(begin, host.start[rows], side="right") - 1
    inside = (step >= 0) & (host.start[rows] < until[step])
    rows, step = rows[inside], step[inside]
    of_value = np.array([*map(_source, operands.all_values), NONE], np.int64)
    source = of_value[operands.values[host.forest.order[rows]]]
    shape = operands.shapes[host.forest.order[rows]]
    known = pd.DataFrame({"step": step, "source": source, "shape": shape})[source != NONE]
    alike = known.value_counts().groupby("step").agg(["min", "max"])
    number = alike["min"].where(alike["min"] == alike["max"], NONE)
    microbatches = number.reindex(range(len(begin)), fill_value=NONE).to_numpy(np.int64)
    return np.bincount(step, minlength=len(begin)), microbatches, tuple(np.unique(source).tolist())


def _source(values: Sequence[str]) -> int:
    return int(values[_SOURCE]) if len(values) > _SOURCE and values[_SOURCE].isdigit() else NONE


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Stages, and the microbatches that each step sends through them."""

    stages: int
    microbatches: int

    @property
    def idle(self) -> tuple[int, int]:
        """The share of a step that a rank has to wait at best, without interleaving, as a fraction: Megatron-LM,
        Narayanan et al. 2021, section 2.2, as part of the whole step."""
        return self.stages - 1, self.microbatches + self.stages - 1

    @property
    def idle_text(self) -> str:
        """`3/7 = 43%`."""
        part, whole = self.idle
        return f"{part}/{whole} = {part / whole:.0%}"


def pipeline_of(ranks: Sequence[int], world: int, received: Sequence[Received]) -> Pipeline | None:
    """The pipeline that the ranks are, a stage each; None where that, or its microbatches, cannot be told.

    All ranks of the job have to be there, each to receive from the ranks beside it alone, the same number in each step.
    """
    beside = all(source >= 0 and abs(source - rank) == 1
                 for rank, one in zip(ranks, received, strict=False) for source in one.sources)  # fmt: skip
    if list(ranks) != list(range(max(world, len(ranks)))) or len(received) < len(ranks) or not beside:
        return None
    every = pd.concat([one.steps for one in received])
    counts = set(every.loc[every["receives"] > 0, "microbatches"].tolist())
    return Pipeline(len(ranks), counts.pop()) if len(counts) == 1 and NONE not in counts else None


def bubble_table(received: dict[int, Received], pipeline: Pipeline | None) -> Table:
    """One row a rank and step: its waiting for messages, and beside it what its pipeline costs at best."""
    frame = pd.concat([one.steps.assign(rank=rank) for rank, one in received.items()], ignore_index=True)
    frame["wait_share"] = frame["wait_ns"] / frame["step_ns"].where(frame["step_ns"] > 0)
    frame["ideal_share"] = pipeline.idle[0] / pipeline.idle[1] if pipeline else np.nan
    frame["microbatches"] = frame["microbatches"].where(frame["microbatches"] != NONE).astype(pd.Int64Dtype())
    columns = (
        Column("rank"),
        Column("step"),
        Column("step_ns", "ns", "time", "step", scale="time"),
        Column("wait_ns", "ns", "time", "waits", scale="time",
               note="for messages of single ranks, while it does nothing else"),
        Column("first_wait_ns", "ns", "time", "for the first", scale="time", spare=True),
        Column("wait_share", "1", "share", "of the step"),
        Column("microbatches"),
        Column("ideal_share", "1", "share", "at best", note="stages of equal work, without interleaving"),
    )  # fmt: skip
    return Table(BUBBLES, "Bubbles: waiting for other stages", columns, frame)


def bubble_finding(table: Table, pipeline: Pipeline | None, captured: str) -> tuple[Finding, ...]:
    """What the ranks of `captured` (`2 of 8 ranks`) wait in the mean; nothing where that is less than 2% of a step."""
    wait, step = float(table.frame["wait_ns"].mean()), float(table.frame["step_ns"].mean())
    if not step or wait < _LEAST * step:
        return ()
    worst = table.frame.iloc[int(table.frame["wait_ns"].to_numpy().argmax())]
    whole = "" if (table.frame["step"] == OUTSIDE).all() else "a step of "
    whose = "for other stages" if pipeline else "for messages of single ranks"
    text = (
        f"{f'pipeline of {pipeline.stages} stages: ' if pipeline else ''}ranks wait {whose} for"
        f" {units.duration_ns(wait)} of {whole}{units.duration_ns(step)} ({wait / step:.0%}, mean of {captured})"
    )
    advice = "stages of equal work, and more microbatches a step"
    if pipeline:
        more = Pipeline(pipeline.stages, 2 * pipeline.microbatches)
        text += f"; {pipeline.idle_text} is what {pipeline.microbatches} microbatches give at best without interleaving"
        advice = (
            f"more microbatches a step ({more.microbatches} give {more.idle_text} at best), stages of equal work, or"
            " an interleaved schedule"
        )
    evidence = (Evidence(BUBBLES, {"rank": int(worst["rank"]), "step": str(worst["step"])}),)
    return (Finding(PIPELINE_BUBBLES, text, Cost(round(wait), wait / step), evidence, advice),)
