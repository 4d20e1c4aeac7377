"""What a step of anybody's model will hold and compute, from the step itself traced on tensors without values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from perfkit.analysis.costs.flops.call import Call
from perfkit.analysis.costs.flops.formula import Level
from perfkit.analysis.costs.flops.operators import counted, formula_of, is_in_place
from perfkit.analysis.memory import fit as memory_fit
from perfkit.analysis.reports.memory import COMPILE_NOT_COVERED, FIRST_STEP_MEMORY, MEMORY_NOT_COUNTED, PEAK_MEMORY
from perfkit.analysis.reports.memory import verdict as verdict_of
from perfkit.schema import units
from perfkit.schema.config import RunConfig, title_of
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.memory import estimate as memory_estimate
from perfkit.schema.memory.calls import TracedCall
from perfkit.schema.memory.estimate import MemoryEstimate
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table

TRACED_FLOPS = Rule("traced-flops", "memory", "operations of the traced step, by phase")
VALUES_ASSUMED = Rule("values-assumed", "memory", "the model reads values, of which a traced step has none")


def report(config: RunConfig, traced: MemoryEstimate, calls: Mapping[TracedCall, int], available: int | None) -> Report:
    """One configuration's estimate: parts of the peak, and operations by operator. `available`: bytes to fit into."""
    operations = operations_table(calls)
    findings = [*_peak(traced), *_operations(operations), verdict_of(memory_fit.judge(config, traced, available))]
    findings += _cautions(config, traced)
    summary = {
        "traced_bytes": traced.peak,
        "first_step_bytes": traced.first_step,
        "allocated_bytes": traced.allocated,
        "reserved_bytes": traced.reserved,
        "where": traced.where,
        "memory_bytes": available,
        "verdict": memory_fit.judge(config, traced, available).verdict,
        "flops": int(operations.frame["flops"].sum()),
    }
    return Report("memory", summary, (parts_table(traced), operations), findings=tuple(findings))


def parts_table(traced: MemoryEstimate) -> Table:
    """The parts of the peak; they add up to it."""
    rows = [
        {
            "part": part,
            "traced_bytes": traced.part(part),
            "share": traced.part(part) / traced.peak,
            "what": _MEANING.get(part, memory_estimate.MEANING[part]),
        }
        for part in memory_estimate.PARTS
        if traced.part(part)
    ]
    columns = (
        Column("part"),
        Column("traced_bytes", "B", "bytes", "traced", summed=True, scale="bytes"),
        Column("share", "1", "share", summed=True),
        Column("what"),
    )
    frame = pd.DataFrame(rows, columns=[column.name for column in columns])
    return Table("memory", "Memory at the peak", columns, frame, pinned=len(rows))


_MEANING = {
    memory_estimate.PARAMETERS: "the model's",
    memory_estimate.CONSTANTS: "the batch, buffers, and what the callables made",
}
"""Where an own model's parts are not those of perfkit's Transformer."""


def operations_table(calls: Mapping[TracedCall, int]) -> Table:
    """Matmuls, attention and convolutions of the step, by operator and phase; a multiply and its add are two."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for call, times in calls.items():
        formula = formula_of(call.name)
        if formula is None or formula.level is not Level.PRODUCT:
            continue
        made = counted(formula, Call(call.shapes, call.dtypes, call.strides, call.values, is_in_place(call.name)))
        row = found.setdefault((call.phase, call.name), Counter())
        row.update(calls=times, flops=times * made.flops if made else 0, unknown=0 if made else times)
    rows = [{"phase": phase, "operator": name, **row} for (phase, name), row in found.items()]
    columns = (
        Column("phase"),
        Column("operator"),
        Column("calls", "", "count", summed=True, divided=False),
        Column("flops", "FLOP", "flops", "operations", summed=True, divided=False),
        Column("unknown", "", "count", "not counted", summed=True, divided=False, audience="scripts"),
    )
    frame = pd.DataFrame(rows, columns=[column.name for column in columns])
    counts = {"calls": "int64", "flops": "int64", "unknown": "int64"}
    frame = frame.fillna(0).astype(counts).sort_values("flops", ascending=False, kind="stable", ignore_index=True)
    return Table("operations", "Operations of a step", columns, frame)


def table(
    configs: Sequence[RunConfig], traced: Sequence[MemoryEstimate], available: int | None, varied: Sequence[str] = ()
) -> Table:
    """Many resolved configurations of own models, a row each, with the fields that a grid varies."""
    names = list(dict.fromkeys((*varied, "pass_type", "precision")))
    rows = [
        {name: config.value(name) for name in names}
        | {
            "traced_bytes": one.peak,
            "first_step_bytes": one.first_step,
            "where": one.where,
            "verdict": memory_fit.judge(config, one, available).verdict,
        }
        for config, one in zip(configs, traced, strict=True)
    ]
    columns = (
        *(Column(name, title={"pass_type": "pass"}.get(name, title_of(name))) for name in names),
        Column("traced_bytes", "B", "bytes", "peak", scale="bytes"),
        Column("first_step_bytes", "B", "bytes", "first step", scale="bytes", spare=True),
        Column("where"),
        *([Column("verdict")] if available else []),
    )
    frame = pd.DataFrame(rows, columns=[column.name for column in columns])
    return Table("estimates", "Memory at the peak", columns, frame)


def _peak(traced: MemoryEstimate) -> Iterator[Finding]:
    text = f"peak: {units.size(traced.peak)} in {traced.where}, by tracing the step on tensors without values"
    yield Finding(PEAK_MEMORY, text, sure="derived", where=traced.where)
    if traced.first_step < traced.peak:
        text = f"first step: {units.size(traced.first_step)}; the optimizer's state is created only at its end"
        yield Finding(FIRST_STEP_MEMORY, text, sure="derived")


def _operations(operations: Table) -> Iterator[Finding]:
    by_phase = operations.frame.groupby("phase", sort=False)["flops"].sum()
    total = int(by_phase.sum())
    if not total:
        return
    phases = ", ".join(f"{phase} {units.percent(flops / total)}" for phase, flops in by_phase.items() if flops)
    text = f"a step has {units.rate(total)}FLOP in matmuls, attention and convolutions: {phases}"
    yield Finding(TRACED_FLOPS, text, sure="derived")


def _cautions(config: RunConfig, traced: MemoryEstimate) -> Iterator[Finding]:
    if traced.guesses:
        text = f"forward and loss read {units.many(traced.guesses, 'value', 'values')}, and 0 was taken for each"
        yield Finding(VALUES_ASSUMED, text + ": where shapes follow from them, the step is another")
    if config.step.compile != "off":
        text = f"--compile {config.step.compile} is not covered: the estimate is for the step without it"
        yield Finding(COMPILE_NOT_COVERED, text)
    text = "not counted: what kernels allocate inside themselves, and what fragments leave no room for"
    yield Finding(MEMORY_NOT_COUNTED, text)
