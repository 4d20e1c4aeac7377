"""Results of attention alone as a report: what they say first, then times and memory, then the roofline."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from perfkit.analysis.attention import costs
from perfkit.analysis.attention.costs import Part
from perfkit.analysis.attention.results import OUT_OF_MEMORY, Result, against_eager
from perfkit.analysis.costs.hardware.lookup import hardware_of
from perfkit.analysis.costs.hardware.measured import measured_peaks
from perfkit.analysis.costs.hardware.model import SLACK, Hardware
from perfkit.schema import units
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.parts.attention import COMPILED, EAGER, FUNCTION, IMPLEMENTATIONS, SDPA, Cell
from perfkit.schema.record import Environment
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table

_NAMED = 3
"""Cells without times that a sentence names."""
_SAME = 0.02
"""Cells whose times differ by less are not called faster or slower."""

_CELL = (
    Column("name", title="attention"),
    Column("width", "", "count", "head width"),
    Column("sequence", "", "count", "sequence"),
)
_RESULTS = (
    *_CELL,
    Column("outcome"),
    Column("passes", "", "count", spare=True),
    Column("forward_s", "s", "time", "forward", scale="time"),
    Column("backward_s", "s", "time", "backward", scale="time"),
    Column("spread", "1", "share", "CV", spare=True, note="standard deviation over mean of forward + backward"),
    Column("total_s", "s", "time", "all passes", audience="scripts"),
    Column("times_eager", "", "count", "x eager", note="how many times as fast as eager, forward + backward"),
    Column("compile_s", "s", "time", "compiling", spare=True,
           note="the first call beyond a measured one; in no other column"),
    Column("held_bytes", "B", "bytes", "before backward", scale="bytes"),
    Column("peak_bytes", "B", "bytes", "peak", scale="bytes"),
    Column("predicted_bytes", "B", "bytes", "predicted", spare=True,
           note="peak by the formula; known of what PyTorch alone computes"),
    Column("available_bytes", "B", "bytes", "available", audience="scripts"),
    Column("predicted_held_bytes", "B", "bytes", audience="scripts"),
    Column("deviation", "1", "share", audience="scripts"),
    Column("message", audience="scripts"),
)  # fmt: skip
_ROOFLINE = (
    *_CELL,
    Column("flops", "FLOP", "flops", "FLOPs"),
    Column("bytes", "B", "bytes", "least bytes"),
    Column("intensity", "", "count", "FLOP/B"),
    Column("forward_flops_per_s", "/s", "rate", "forward FLOP/s", spare=True),
    Column("forward_of_roof", "1", "share", "forward of roof"),
    Column("backward_flops_per_s", "/s", "rate", "backward FLOP/s", spare=True),
    Column("backward_of_roof", "1", "share", "backward of roof"),
    Column("bound", title="bound by"),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it ran."""

    name: str = ""
    hardware: Hardware | None = None


def machine_of(environment: Environment) -> Machine:
    """By the datasheet of a GPU, else as `perfkit doctor --measure-peaks` measured it."""
    if environment.device == "cpu":
        found = measured_peaks(environment.cpu_model, threads=environment.num_threads)
        return Machine(f"{environment.cpu_model}, {environment.num_threads} threads", found)
    name, memory = environment.device_name, environment.device_memory
    return Machine(name, hardware_of(name, memory) or measured_peaks(name, memory))


def report(results: Sequence[Result], machine: Machine, title: str = "attention") -> Report:
    """The sentences, and both tables, in the order of shapes."""
    ordered = sorted(results, key=lambda one: (one.cell.width, one.cell.sequence, _rank(one.cell)))
    counts: dict[str, int] = {}
    for one in ordered:
        counts[one.outcome] = counts.get(one.outcome, 0) + 1
    summary = {"device": machine.name, "cells": len(ordered), "outcomes": counts}
    tables = (_results_table(ordered), _roofline_table(ordered, machine))
    return Report(title, summary, tables, findings=tuple(findings(ordered, machine)))


def _rank(cell: Cell) -> int:
    return (
        IMPLEMENTATIONS.index(cell.implementation) if cell.implementation in IMPLEMENTATIONS else len(IMPLEMENTATIONS)
    )


def _named(cell: Cell) -> dict[str, object]:
    return {"name": cell.name, "width": cell.width, "sequence": cell.sequence}


def _results_table(results: Sequence[Result]) -> Table:
    faster = against_eager(results)
    rows = [
        _named(one.cell)
        | {
            "outcome": one.outcome,
            "passes": one.passes or None,
            "forward_s": one.forward_s,
            "backward_s": one.backward_s,
            "spread": one.spread,
            "total_s": one.total_s,
            "times_eager": faster.get(one.cell),
            "compile_s": one.compile_s,
            "held_bytes": one.held_bytes,
            "peak_bytes": one.peak_bytes,
            "predicted_bytes": costs.peak(one.cell),
            "available_bytes": one.available_bytes,
            "predicted_held_bytes": costs.held(one.cell),
            "deviation": one.deviation,
            "message": one.message,
        }
        for one in results
    ]
    frame = pd.DataFrame(rows, columns=[column.name for column in _RESULTS])
    first = results[0].cell
    mask = ", causal" if first.causal else ""
    title = f"Attention alone: batch {first.batch}, no heads, {first.precision}{mask}; medians of the passes"
    notes = tuple(f"{one.cell.name} at {_shape(one.cell)}: {one.message}" for one in results if one.message)
    return Table("attention", title, _RESULTS, frame, notes=(*notes, "memory: bytes in tensors"))


def _roofline_table(results: Sequence[Result], machine: Machine) -> Table:
    rows = [_roofline_row(one, machine.hardware) for one in results if one.outcome == "ok"]
    frame = pd.DataFrame(rows, columns=[column.name for column in _ROOFLINE])
    notes = [costs.FLOPS_FORMULA, costs.BYTES_FORMULA]
    if machine.hardware is None:
        notes.append("no roof: the device's peaks are not known; perfkit doctor --measure-peaks measures them")
    return Table("roofline", "Work and roofline position", _ROOFLINE, frame, notes=tuple(notes))


def _roofline_row(one: Result, hardware: Hardware | None) -> dict[str, object]:
    ahead, back = costs.forward(one.cell), costs.backward(one.cell)
    whole = ahead + back
    assert one.forward_s is not None
    assert one.backward_s is not None
    roof_ahead, roof_back = (_roof(part, one.cell, hardware) for part in (ahead, back))
    return _named(one.cell) | {
        "flops": whole.flops,
        "bytes": whole.bytes,
        "intensity": whole.intensity,
        "forward_flops_per_s": ahead.flops / one.forward_s,
        "forward_of_roof": roof_ahead / one.forward_s if roof_ahead else None,
        "backward_flops_per_s": back.flops / one.backward_s,
        "backward_of_roof": roof_back / one.backward_s if roof_back else None,
        "bound": _bound(whole, one.cell, hardware),
    }


def _speeds(cell: Cell, hardware: Hardware | None) -> tuple[float, float] | None:
    """FLOP/s and B/s; None where one is not known."""
    peak = None if hardware is None else hardware.peak(cell.precision)
    if peak is None or hardware is None or hardware.bandwidth is None:
        return None
    return peak.flops_per_s, hardware.bandwidth.bytes_per_s


def _roof(part: Part, cell: Cell, hardware: Hardware | None) -> float | None:
    """The least time, seconds (Williams et al. 2009)."""
    speeds = _speeds(cell, hardware)
    return None if speeds is None else max(part.flops / speeds[0], part.bytes / speeds[1])


def _bound(part: Part, cell: Cell, hardware: Hardware | None) -> str | None:
    speeds = _speeds(cell, hardware)
    if speeds is None:
        return None
    return "compute" if part.intensity >= speeds[0] / speeds[1] else "memory"


ATTENTION_MEMORY_ENDS = Rule(
    "attention-memory-ends", "sweep", "from which sequence on written-out attention does not fit, by the formula"
)
ATTENTION_SCORES = Rule("attention-scores", "sweep", "what the written-out score matrix costs in memory")
ATTENTION_SPEED = Rule(
    "attention-speed", "sweep", "how many times as fast as eager another attention is, and from which sequence on"
)
ATTENTION_ROOFLINE = Rule("attention-roofline", "sweep", "whether attention computes or moves bytes, and how far it is")
ATTENTION_SAME_RESULT = Rule(
    "attention-same-result", "sweep", "how far a function's result and gradients are from eager's"
)
ATTENTION_COMPILING = Rule("attention-compiling", "sweep", "what compiling took, beside the times of the passes")
ATTENTION_FAILED = Rule("attention-failed", "sweep", "cells without times for other reasons than memory")


def findings(results: Sequence[Result], machine: Machine) -> Iterator[Finding]:
    """The sentences, the most important first."""
    yield from filter(None, (_ends(results), _scores(results)))
    names = dict.fromkeys(one.cell.name for one in results if one.cell.implementation != EAGER)
    yield from filter(None, (_speed(name, results) for name in names))
    yield from filter(None, (_position(results, machine), _compiling(results), _same(results), _failed(results)))


def _of(results: Sequence[Result], implementation: str) -> list[Result]:
    return [one for one in results if one.cell.implementation == implementation]


def _largest(results: Sequence[Result]) -> Result | None:
    done = [one for one in results if one.outcome == "ok"]
    return max(done, key=lambda one: (one.cell.sequence, one.cell.width), default=None)


def _shape(cell: Cell) -> str:
    return f"{cell.sequence:,} x {cell.width}"


def _scores_text(cell: Cell) -> str:
    """`8 x 2,048^2 x 4 B = 128.0 MiB`."""
    element = costs.scores_bytes(cell) // (cell.batch * cell.sequence**2)
    return f"{cell.batch} x {cell.sequence:,}^2 x {element} B = {units.size(costs.scores_bytes(cell))}"


def _ends(results: Sequence[Result]) -> Finding | None:
    eager = _of(results, EAGER)
    lacking = [one for one in eager if one.outcome in OUT_OF_MEMORY]
    if not lacking:
        return None
    first = min(lacking, key=lambda one: (one.cell.sequence, one.cell.width))
    needed = costs.peak(first.cell)
    assert needed is not None
    there = f", and there were {units.size(first.available_bytes)}" if first.available_bytes is not None else ""
    text = (
        f"eager {'does not fit' if first.outcome == 'predicted-oom' else 'runs out of memory'} from sequence"
        f" {first.cell.sequence:,} on (head width {first.cell.width}): a pass needs {units.size(needed)}{there};"
        f" scores alone are {_scores_text(first.cell)}, of which backward needs three"
    )
    others = [one for one in results if one.outcome == "ok" and one.cell.sequence >= first.cell.sequence]
    if best := _largest([one for one in others if one.peak_bytes is not None]):
        assert best.peak_bytes is not None
        text += f"; {best.cell.name} computes {_shape(best.cell)} in {units.size(best.peak_bytes)}"
    return Finding(ATTENTION_MEMORY_ENDS, text, sure="measured" if first.outcome == "oom" else "derived")


def _scores(results: Sequence[Result]) -> Finding | None:
    largest = _largest(_of(results, EAGER))
    if largest is None or largest.held_bytes is None:
        return None
    n = costs.scores_bytes(largest.cell)
    text = (
        f"at {_shape(largest.cell)} (sequence x head width) eager holds {units.size(largest.held_bytes)} before"
        f" backward, {units.percent(n / largest.held_bytes)} of it written-out weights: {_scores_text(largest.cell)},"
        " four times as much at twice the sequence"
    )
    fused = [
        one for one in results
        if one.cell.shape == largest.cell.shape and one.held_bytes and one.held_bytes < largest.held_bytes
    ]  # fmt: skip
    if fused:
        least = min(fused, key=lambda one: one.held_bytes or 0)
        assert least.held_bytes is not None
        text += (
            f"; {least.cell.name} holds {units.size(least.held_bytes)},"
            f" {units.significant(largest.held_bytes / least.held_bytes, 3)} times less"
        )
    return Finding(ATTENTION_SCORES, text)


def _speed(name: str, results: Sequence[Result]) -> Finding | None:
    faster = {cell: ratio for cell, ratio in against_eager(results).items() if cell.name == name}
    if not faster:
        return None
    at = {one.cell: one for one in results}
    eager = {one.cell.shape: one for one in _of(results, EAGER)}
    best, most = max(faster.items(), key=lambda pair: pair[1])
    mine, theirs = at[best].both_s, eager[best.shape].both_s
    assert mine is not None
    assert theirs is not None
    least = min(faster.values())
    span = (
        units.significant(most, 3)
        if len(faster) == 1
        else f"{units.significant(least, 3)} to {units.significant(most, 3)}"
    )
    text = (
        f"{name} is {span} times as fast as eager, forward + backward: at {_shape(best)}"
        f" {units.duration(mine)} against {units.duration(theirs)}"
    )
    unsure = {cell for cell, ratio in faster.items() if _is_within(ratio, at[cell], eager[cell.shape])}
    text += f"; {_from_where(faster, unsure)}"
    if not unsure:
        return Finding(ATTENTION_SPEED, text, sure="measured", where=name)
    largest = max(one.spread or 0.0 for cell in unsure for one in (at[cell], eager[cell.shape]))
    where = f"in {len(unsure)} of {len(faster)} cells " if len(faster) > 1 else ""
    text += f"; {where}passes spread by up to {units.percent(largest)}, which does not tell the ratio from 1"
    return Finding(ATTENTION_SPEED, text, advice="more --passes", sure="measured", where=name)


def _is_within(ratio: float, one: Result, other: Result) -> bool:
    """Whether the passes spread too much to tell the ratio from 1: by two standard errors of it."""
    variance = sum((each.spread or 0.0) ** 2 / each.passes for each in (one, other) if each.passes)
    return abs(ratio - 1) <= 2 * ratio * math.sqrt(variance) and variance > 0


def _from_where(faster: dict[Cell, float], unsure: Collection[Cell]) -> str:
    """From which sequence on it is faster at every head width that was measured."""
    sequences = sorted({cell.sequence for cell in faster})
    every = " at every head width" if len({cell.width for cell in faster}) > 1 else ""
    is_won = {cell: ratio > 1 + _SAME and cell not in unsure for cell, ratio in faster.items()}
    wins = [all(won for cell, won in is_won.items() if cell.sequence == one) for one in sequences]
    if all(wins):
        return "faster in every cell" if len(faster) > 1 else "faster"
    if not wins[-1]:
        is_unsure = any(cell.sequence == sequences[-1] for cell in unsure)
        lost = "not shown to be faster" if is_unsure else "not faster"
        return lost if len(faster) == 1 else f"{lost}{every} at the longest sequence"
    first = max(place for place, win in enumerate(wins) if not win) + 1
    return f"faster{every} from sequence {sequences[first]:,} on, and not{' shown' if unsure else ''} below"


def _position(results: Sequence[Result], machine: Machine) -> Finding | None:
    """Eager's and the fused one's position, at the largest cell that both did."""
    largest = _largest(_of(results, EAGER))
    if largest is None or (speeds := _speeds(largest.cell, machine.hardware)) is None:
        return None
    said = []
    for one in results:
        if one.cell.shape != largest.cell.shape or one.cell.implementation not in (EAGER, SDPA) or not one.both_s:
            continue
        whole = costs.forward(one.cell) + costs.backward(one.cell)
        roof = max(whole.flops / speeds[0], whole.bytes / speeds[1])
        intensity, bound = units.significant(whole.intensity, 3), _bound(whole, one.cell, machine.hardware)
        said.append(
            f"{one.cell.name} has {intensity} FLOP/B, so {bound} bounds it, and runs at"
            f" {units.percent(roof / one.both_s)} of its roof{_beyond(roof / one.both_s)}"
        )
    ridge = units.significant(speeds[0] / speeds[1], 3)
    text = f"at {_shape(largest.cell)} {'; '.join(said)} (the ridge is at {ridge} FLOP/B)"
    return Finding(ATTENTION_ROOFLINE, text, sure="derived")


def _beyond(share: float) -> str:
    """What it means to be faster than the roof, for which a measured peak that is too low is the usual reason."""
    return "" if share <= SLACK else ", more than there is: measure the peaks again on a quiet machine"


def _compiling(results: Sequence[Result]) -> Finding | None:
    times = [one.compile_s for one in _of(results, COMPILED) if one.compile_s is not None]
    if not times:
        return None
    span = (
        f"{units.duration(min(times))} to {units.duration(max(times))} a cell"
        if len(times) > 1
        else units.duration(times[0])
    )
    return Finding(ATTENTION_COMPILING, f"compiling took {span}, in the first call alone: no column of times has it")


def _same(results: Sequence[Result]) -> Finding | None:
    mine = [one for one in _of(results, FUNCTION) if one.deviation is not None]
    if not mine:
        return None
    worst = max(one.deviation or 0.0 for one in mine)
    text = (
        f"{mine[0].cell.name} computes what eager computes: result and gradients differ by at most {worst:.2g} of the"
        f" largest value, in {units.many(len(mine), 'cell', 'cells')}"
    )
    return Finding(ATTENTION_SAME_RESULT, text)


def _failed(results: Sequence[Result]) -> Finding | None:
    failed = [one for one in results if one.outcome not in ("ok", *OUT_OF_MEMORY)]
    if not failed:
        return None
    named = "; ".join(f"{one.cell.name} at {_shape(one.cell)} ({one.outcome})" for one in failed[:_NAMED])
    more = f"; and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    return Finding(ATTENTION_FAILED, f"{units.many(len(failed), 'cell has', 'cells have')} no times: {named}{more}")
