"""Memory estimates as tables: the parts of one configuration's peak, or many configurations in one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from perfkit.analysis.memory import fit as memory_fit
from perfkit.analysis.memory import model as memory_model
from perfkit.analysis.memory.fit import Prediction, Proposal
from perfkit.schema import units
from perfkit.schema.config import RunConfig
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.memory import estimate as memory_estimate
from perfkit.schema.memory.estimate import MemoryEstimate
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table

_MANY = (
    Column("size"),
    Column("parameters", "params", "params", spare=True),
    Column("context_length", "", "count", "context"),
    Column("batch_size", "", "count", "batch"),
    Column("pass_type", title="pass"),
    Column("precision"),
    Column("peak_bytes", "B", "bytes", "peak", scale="bytes"),
    Column("traced_bytes", "B", "bytes", "traced", scale="bytes"),
    Column("difference", "1", "share", spare=True),
    Column("first_step_bytes", "B", "bytes", "first step", scale="bytes", spare=True),
    Column("where"),
    Column("verdict"),
)
_LABELS = 6
"""Columns of `_MANY` that say what a row is of."""


COMPILE_NOT_COVERED = Rule(
    "compile-not-covered", "memory", "compiled steps need a different amount of memory than predicted"
)
MEMORY_NOT_COUNTED = Rule("memory-not-counted", "memory", "what the prediction leaves out")


def report(
    config: RunConfig,
    formula: MemoryEstimate,
    traced: MemoryEstimate,
    available: int | None,
    proposed: Sequence[Proposal] | None = None,
) -> Report:
    """One configuration's estimate, by both methods. `proposed` is None where no proposals were asked for."""
    prediction = memory_fit.judge(config, formula, available)
    tables = [parts_table(formula, traced)]
    if formula.beside is not None:
        tables.append(beside_table(formula, traced))
    if proposed:
        tables.append(proposals_table(proposed))
    findings = [*_peaks(formula, traced), verdict(prediction)]
    if proposed is not None:
        findings += _proposals(prediction, proposed)
    if config.step.compile != "off":
        text = (
            f"--compile {config.step.compile} is not covered: the estimate is for the step without it, which keeps more"
        )
        findings.append(Finding(COMPILE_NOT_COVERED, text))
    text = "not counted: what kernels allocate inside themselves, and what fragments leave no room for"
    findings.append(Finding(MEMORY_NOT_COUNTED, text))
    summary = {
        "peak_bytes": formula.peak,
        "traced_bytes": traced.peak,
        "first_step_bytes": formula.first_step,
        "allocated_bytes": formula.allocated,
        "reserved_bytes": traced.reserved,
        "where": formula.where,
        "memory_bytes": available,
        "verdict": prediction.verdict,
    }
    return Report("memory", summary, tuple(tables), findings=tuple(findings))


def parts_table(formula: MemoryEstimate, traced: MemoryEstimate) -> Table:
    """The parts of the peak, by both methods; each column adds up to its peak."""
    names = [part for part in memory_estimate.PARTS if formula.part(part) or traced.part(part)]
    rows = [
        {
            "part": part,
            "formula_bytes": formula.part(part),
            "traced_bytes": traced.part(part),
            "difference_bytes": formula.part(part) - traced.part(part),
            "share": formula.part(part) / formula.peak,
            "what": memory_estimate.MEANING[part],
        }
        for part in names
    ]
    columns = (
        Column("part"),
        Column("formula_bytes", "B", "bytes", "formula", summed=True, scale="bytes"),
        Column("traced_bytes", "B", "bytes", "traced", summed=True, scale="bytes"),
        Column("difference_bytes", "B", "bytes", "difference", summed=True, spare=True),
        Column("share", "1", "share", summed=True),
        Column("what"),
    )
    return Table("memory", "Memory at the peak", columns, pd.DataFrame(rows), pinned=len(rows))


def beside_table(formula: MemoryEstimate, traced: MemoryEstimate) -> Table:
    """What a GPU holds on top of what tensors ask for, and what PyTorch calls the sum so far; by both methods."""
    rows = [
        {
            "what": what,
            "formula_bytes": _amount(formula, what),
            "traced_bytes": _amount(traced, what),
            "meaning": meaning,
        }
        for what, meaning in _BESIDE.items()
    ]
    columns = (
        Column("what"),
        Column("formula_bytes", "B", "bytes", "formula", scale="bytes"),
        Column("traced_bytes", "B", "bytes", "traced", scale="bytes"),
        Column("meaning"),
    )
    frame = pd.DataFrame(rows, columns=[column.name for column in columns])
    return Table("memory_beside", "Beside the tensors, on a GPU", columns, frame, pinned=len(rows))


_BESIDE = {
    "tensors": "the total above: requested bytes",
    "rounding": "blocks of the allocator are larger than their tensors",
    "workspaces": "of cuBLAS, one a thread: forward's and backward's",
    "allocated": "tensors + rounding + workspaces (torch.cuda.memory_allocated)",
    "unused": "segments' bytes that no block takes: kept for later, or fragments",
    "reserved": "allocated + unused (torch.cuda.memory_reserved)",
    "context": "of CUDA and its libraries: assumed, not measured",
}
"""In the order in which it adds up."""


def _amount(found: MemoryEstimate, what: str) -> int | None:
    beside = found.beside
    if beside is None:
        return None
    amounts = {
        "tensors": found.peak,
        "rounding": sum(beside.rounding.values()),
        "workspaces": beside.workspaces,
        "allocated": found.allocated,
        "unused": beside.unused,
        "reserved": found.reserved,
        "context": beside.context,
    }
    return amounts[what]


PEAK_MEMORY = Rule("peak-memory", "memory", "the predicted peak, by both methods")
PEAK_PLACES = Rule("peak-places", "memory", "the two methods put the peak in different places")
FIRST_STEP_MEMORY = Rule("first-step-memory", "memory", "the first step needs less than the others")


def _peaks(formula: MemoryEstimate, traced: MemoryEstimate) -> Iterator[Finding]:
    ratio = formula.peak / traced.peak - 1
    apart = "the same" if abs(ratio) < 5e-5 else f"{units.percent(abs(ratio))} {'less' if ratio > 0 else 'more'}"
    text = (
        f"peak: {units.size(formula.peak)} in {formula.where} by the formula;"
        f" tracing on fake tensors gives {apart}, in {traced.where}"
    )
    yield Finding(PEAK_MEMORY, text, sure="derived", where=formula.where)
    if formula.where != traced.where:
        text = "memory is about equally high at the two places, so their parts differ more than their totals"
        yield Finding(PEAK_PLACES, text, sure="derived")
    if formula.first_step < formula.peak:
        text = f"first step: {units.size(formula.first_step)}; the optimizer's state is created only at its end"
        yield Finding(FIRST_STEP_MEMORY, text, sure="derived")


MEMORY_UNKNOWN = Rule("memory-unknown", "memory", "the size of the memory is not known")
MEMORY_VERDICT = Rule("memory-verdict", "memory", "whether the step fits")


def verdict(prediction: Prediction) -> Finding:
    """Whether the step fits, and by which rule."""
    if prediction.verdict is None or prediction.memory_bytes is None:
        return Finding(MEMORY_UNKNOWN, "there is no GPU here to compare with", advice="--memory 16GB for a verdict")
    extra = prediction.beside_bytes
    context = f" + {units.size(extra)} beside the tensors" if extra else ""
    text = (
        f"{prediction.verdict} in {units.size(prediction.memory_bytes)}: {units.size(prediction.peak_bytes)}{context}"
        f" is {units.percent(prediction.share or 0.0)} of it"
        f" (fits below {memory_fit.FITS_BELOW:.0%}, borderline to {memory_fit.FITS_NOT_ABOVE:.0%})"
    )
    return Finding(MEMORY_VERDICT, text, sure="derived")


NOTHING_TO_CHANGE = Rule("nothing-to-change", "memory", "the configuration fits as it is")
NOTHING_FITS = Rule("nothing-fits", "memory", "nothing that was tried fits")


def _proposals(prediction: Prediction, proposed: Sequence[Proposal]) -> list[Finding]:
    if prediction.verdict == "fits":
        return [Finding(NOTHING_TO_CHANGE, "nothing to change: the configuration fits as it is", sure="derived")]
    if proposed:
        return []
    return [Finding(NOTHING_FITS, "nothing that was tried fits: use a smaller model or more memory", sure="derived")]


def proposals_table(proposed: Sequence[Proposal]) -> Table:
    """The nearest configurations that fit; flags to add to the command line."""
    rows = [
        {
            "flags": proposal.command,
            "peak_bytes": proposal.prediction.peak_bytes,
            "of_memory": proposal.prediction.share,
            "gives_up": proposal.gives_up,
        }
        for proposal in proposed
    ]
    columns = (
        Column("flags", title="add", whole=True),
        Column("peak_bytes", "B", "bytes", "peak", scale="bytes"),
        Column("of_memory", "1", "share", "of memory"),
        Column("gives_up"),
    )
    return Table(
        "fit", "Nearest configurations that fit, least given up first", columns, pd.DataFrame(rows), pinned=len(rows)
    )


def estimate_table(
    configs: Sequence[RunConfig],
    available: int | None = None,
    traced: Sequence[MemoryEstimate | None] = (),
    varied: Sequence[str] = (),
) -> Table:
    """Many resolved configurations, a row each: the formula's peak beside the traced one, where there is one.

    `available` is the memory that all of them are to fit into. `varied` names fields that tell the rows apart: those
    that have no column anyway get one.
    """
    known = {column.name for column in _MANY} | {"model_size"}
    more = tuple(name for name in varied if name not in known)
    rows = [
        _row(config, available, traced[index] if index < len(traced) else None)
        | {name: str(config.value(name)) for name in more}
        for index, config in enumerate(configs)
    ]
    wanted = [c for c in _MANY if c.name not in ("traced_bytes", "difference") or any(traced)]
    wanted[_LABELS:_LABELS] = [Column(name, title=name.replace("_", " ")) for name in more]
    columns = tuple(c for c in wanted if c.name != "verdict" or available)
    return Table("estimates", "Memory at the peak", columns, pd.DataFrame(rows, columns=[c.name for c in columns]))


def _row(config: RunConfig, available: int | None, traced: MemoryEstimate | None) -> dict[str, object]:
    formula = memory_model.estimate(config)
    return {
        "size": config.transformer.model_size,
        "parameters": config.transformer.parameters,
        "context_length": config.step.context_length,
        "batch_size": config.step.batch_size,
        "pass_type": config.step.pass_type,
        "precision": config.step.precision,
        "peak_bytes": formula.peak,
        "traced_bytes": None if traced is None else traced.peak,
        "difference": None if traced is None else formula.peak / traced.peak - 1,
        "first_step_bytes": formula.first_step,
        "where": formula.where,
        "verdict": memory_fit.predict(config, available).verdict,
    }
