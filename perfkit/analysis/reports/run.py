"""RunRecord -> its report, which `run` shows at its end and `analyze` later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import pandas as pd

from perfkit.analysis.findings.capacity import over_capacity
from perfkit.analysis.noise import enough, stability
from perfkit.analysis.noise import tables as noise_report
from perfkit.analysis.reports import resident
from perfkit.analysis.runs import ranks as job_ranks
from perfkit.analysis.runs import summary as run_summary
from perfkit.analysis.runs.line import run_totals
from perfkit.analysis.statistics import stats
from perfkit.schema import units
from perfkit.schema.config import RunConfig
from perfkit.schema.finding import Cost, Evidence, Finding, Rule
from perfkit.schema.parts.workloads import Own
from perfkit.schema.record import RunRecord
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table

_COLUMNS = (
    Column("size"),
    Column("shape", title="d/ff/layers/heads", spare=True),
    Column("parameters", "params", "params", spare=True),
    Column("context_length", "", "count", "context"),
    Column("batch_size", "", "count", "batch"),
    Column("pass_type", title="pass"),
    Column("precision"),
    Column("steps", "", "count", "n"),
    Column("mean_s", "s", "time", "mean", scale="time"),
    Column("std_s", "s", "time", "std", scale="time"),
    Column("cv", "1", "share", "CV%"),
    Column("median_s", "s", "time", "median", scale="time"),
    Column("median_low_s", "s", "time", "median 95% low", scale="time"),
    Column("median_high_s", "s", "time", "median 95% high", scale="time"),
    Column("min_s", "s", "time", "min", scale="time", spare=True),
    Column("p90_s", "s", "time", "p90", scale="time", spare=True),
    Column("forward_s", "s", "time", "forward", scale="time"),
    Column("backward_s", "s", "time", "backward", scale="time"),
    Column("optimizer_s", "s", "time", "optimizer", scale="time"),
    Column("rest_s", "s", "time", "rest", scale="time"),
    Column("tokens_per_s", "/s", "rate", "tokens/s"),
    Column("peak_memory_bytes", "B", "bytes", "peak memory"),
    Column("tensor_bytes", "B", "bytes", "in tensors", audience="scripts"),
    Column("status"),
)


def headline(config: RunConfig) -> str:
    """What is measured, in one line. Needs a resolved configuration."""
    model, step = config.workload, config.step
    if config.is_watched:
        return f"{model.name}, on {step.device}"
    flags = [step.pass_type, step.precision, *([] if isinstance(model, Own) else [f"attention {model.attention}"])]
    if step.parallel != "off":
        flags.append(f"parallel {step.parallel}")
    if step.compile != "off":
        mode = f" {step.compile_mode}" if step.compile_mode != "default" else ""
        flags.append(f"compile {step.compile}{mode}")
    if step.checkpoint_group:
        every = f" every {step.checkpoint_group} blocks" if step.checkpoint_group > 1 else ""
        flags.append(f"checkpoint{every}{', nested' if step.checkpoint_nested else ''}")
    if isinstance(model, Own):
        arguments = f" ({', '.join(model.model_arg)})" if model.model_arg else ""
        return f"{model.name}{arguments}, input {model.input}, {', '.join(flags)}, on {step.device}"
    return (
        f"{model.name}: {units.parameters(model.parameters)} parameters ({model.shape}),"
        f" batch {step.batch_size} x context {step.context_length}, {', '.join(flags)}, on {step.device}"
    )


def report(record: RunRecord) -> Report:
    """Everything a record holds, as tables."""
    runs = result_table([record])
    noise = stability.examine(record)
    tables = [_part(runs, "run", "Run", _RUN)]
    if record.steps:
        tables += [_part(runs, "time", "Step time", _TIME), phase_times(record)]
    scripts = (runs, steps_table(record), *noise_report.tables(noise))
    tables = [replace(table, audience="people") for table in tables]
    tables += [replace(table, audience="scripts") for table in scripts]
    if record.ranks:
        tables.append(job_ranks.table(record))
    if record.observed:
        tables.append(observed_table(record))
    findings = (
        run_totals(record),
        job_ranks.finding(record),
        _recorded_memory(record),
        _warmup(record),
        _little_warmup(record),
        enough.finding(record, noise),
        *(noise.findings if noise is not None else ()),
        None if "trace" in record.artifacts else over_capacity(record),  # else the trace's report has it
        resident.finding(record),
        _range_cost(record),
        _probe_cost(record),
    )
    summary = {
        "status": record.status,
        "created": record.created,
        "device_name": record.environment.device_name,
        "measured_steps": len(record.steps),
        "warmup_steps": len(record.warmup),
        "artifacts": record.artifacts,
    }
    return Report(
        headline(record.config), summary, tuple(tables), findings=tuple(filter(None, findings)), main=runs.name
    )


_RUN = ("size", "shape", "parameters", "context_length", "batch_size", "pass_type", "precision", "tokens_per_s",
        "peak_memory_bytes", "status")  # fmt: skip
_TIME = ("steps", "mean_s", "std_s", "cv", "median_s", "median_low_s", "median_high_s", "min_s", "p90_s")


def _part(table: Table, name: str, title: str, columns: tuple[str, ...]) -> Table:
    """Some columns of a table that is too wide for a screen."""
    chosen = tuple(column for column in table.columns if column.name in columns)
    return Table(name, title, tuple(sorted(chosen, key=lambda c: columns.index(c.name))), table.frame, brief=True)


_OUTSIDE = "outside phases"
"""Not called rest, which elsewhere has zero_grad in it: there it is what forward, backward and optimizer leave."""


def phase_times(record: RunRecord) -> Table:
    """One row for each phase of the step and one for the rest; the means add up to the step's mean."""
    wall = run_summary.wall_times(record.steps)
    names = list(dict.fromkeys(name for sample in record.steps for name in sample.phases_s))
    series = {name: np.array([sample.phases_s.get(name, 0.0) for sample in record.steps]) for name in names}
    series[_OUTSIDE] = wall - sum(series.values(), start=np.zeros(len(wall)))
    rows = []
    for name, seconds in series.items():
        summary = stats.summarize(seconds) if len(seconds) else None
        if summary is not None:
            share = summary.mean / float(wall.mean())
            rows.append({"phase": name, "mean_s": summary.mean, "share": share, "std_s": summary.std,
                         "median_s": summary.median, "min_s": summary.minimum, "max_s": summary.maximum})  # fmt: skip
    columns = (
        Column("phase"),
        Column("mean_s", "s", "time", "mean", summed=True, scale="time"),
        Column("share", "1", "share", "share of step", summed=True),
        Column("std_s", "s", "time", "std", scale="time"),
        Column("median_s", "s", "time", "median", scale="time"),
        Column("min_s", "s", "time", "min", scale="time", spare=True),
        Column("max_s", "s", "time", "max", scale="time", spare=True),
    )
    frame = pd.DataFrame(rows, columns=[c.name for c in columns])
    notes = (f"{_OUTSIDE}: the rest of the step's wall time; on a GPU, launch latency and synchronisation",)
    title = f"Wall time by phase, mean of {units.count(len(wall))} {'step' if len(wall) == 1 else 'steps'}"
    return Table("phase_times", title, columns, frame, notes, pinned=len(frame))


RECORDED_MEMORY = Rule("recorded-memory", "run", "the peak in tensors, where memory was recorded", read="first")


def _recorded_memory(record: RunRecord) -> Finding | None:
    """The peak of a run under `--profiler memory`, beside what was held besides."""
    peak, memory = record.memory.in_tensors, record.memory
    if record.config.measurement.profiler != "memory" or peak is None:
        return None
    beside = (memory.reserved, "reserved by the allocator") if memory.reserved else (memory.resident, "resident")
    rest = f"; the process had {units.size(beside[0])} {beside[1]}" if beside[0] else ""
    return Finding(RECORDED_MEMORY, f"memory: at its peak {units.size(peak)} in tensors{rest}")


RANGE_COST = Rule("range-cost", "run", "what the module ranges cost", read="detail")


def _range_cost(record: RunRecord) -> Finding | None:
    """What the module ranges cost."""
    if record.annotation is None:
        return None
    cost = record.annotation
    per_step = cost.ranges * cost.seconds_per_range
    text = (
        f"module ranges: {cost.ranges} a step, {units.duration(cost.seconds_per_range)} each while nothing records"
        f" them, about {units.duration(per_step)} a step"
    )
    if cost.nodes is not None and cost.seconds_per_node is not None:
        in_backward = cost.nodes * cost.seconds_per_node
        per_step += in_backward
        text += (
            f"; {round(cost.nodes):,} backward nodes, {units.duration(cost.seconds_per_node)} each,"
            f" about {units.duration(in_backward)} a step"
        )
    return Finding(RANGE_COST, text, Cost(round(per_step * 1e9)), sure="derived")


PROBE_COST = Rule("probe-cost", "run", "what reading the counters costs", read="detail")


def _probe_cost(record: RunRecord) -> Finding | None:
    """What reading the counters costs, outside the steps."""
    if record.probing is None:
        return None
    seconds = record.probing.seconds_per_step
    text = f"counters: reading them takes {units.duration(seconds)} a step, between the steps"
    return Finding(PROBE_COST, text, Cost(round(seconds * 1e9)))


def result_table(records: Sequence[RunRecord]) -> Table:
    """One row a run. forward + backward + optimizer + rest = mean, exactly."""
    frame = pd.DataFrame([_row(record) for record in records], columns=[c.name for c in _COLUMNS])
    notes = (
        "forward includes the loss; rest is zero_grad, the final synchronisation and launch latency;"
        " forward + backward + optimizer + rest = mean",
    )
    return Table("runs", "Step time", _COLUMNS, frame, notes)


def _row(record: RunRecord) -> dict[str, object]:
    model, step = record.config.workload, record.config.step
    measured = asdict(run_summary.summarize(record)) | {"size": model.name, "status": record.status}
    measured["tensor_bytes"] = resident.in_tensors(record)
    if isinstance(model, Own):  # perfkit does not know what its step does
        return measured
    return measured | {
        "shape": str(model.shape),
        "parameters": model.parameters,
        "context_length": step.context_length,
        "batch_size": step.batch_size,
        "pass_type": step.pass_type,
        "precision": step.precision,
    }


def observed_table(record: RunRecord) -> Table:
    """One row for each value that an observer added by a name."""
    columns = (Column("name"), Column("value"))
    frame = pd.DataFrame(list(record.observed.items()), columns=[c.name for c in columns], dtype=object)
    return Table("observed", "Observed", columns, frame)


def steps_table(record: RunRecord) -> Table:
    """One row a step, warm-up first, with its phases."""
    kinds = [("warm-up", record.warmup), ("measured", record.steps)]
    rows = [
        {"kind": kind, "step": index + 1, "wall_s": sample.wall_s}
        | {f"{name}_s": seconds for name, seconds in sample.phases_s.items()}
        | {"rest_s": sample.wall_s - sum(sample.phases_s.values())}
        for kind, samples in kinds
        for index, sample in enumerate(samples)
    ]
    phases = list(dict.fromkeys(name for sample in (*record.warmup, *record.steps) for name in sample.phases_s))
    columns = (
        Column("kind"),
        Column("step", "", "count"),
        Column("wall_s", "s", "time", "wall", scale="time"),
        *(Column(f"{name}_s", "s", "time", name, scale="time") for name in phases),
        Column("rest_s", "s", "time", _OUTSIDE, scale="time"),
    )
    frame = pd.DataFrame(rows, columns=[c.name for c in columns])
    return Table("steps", "Every step", columns, frame)


WARMUP_TIMES = Rule("warmup-times", "run", "how long each warm-up step took", read="detail")


def _warmup(record: RunRecord) -> Finding:
    """The warm-up steps in one line, kept apart from the measured ones."""
    if not record.warmup:
        return Finding(WARMUP_TIMES, "warm-up: none")
    times = ", ".join(units.duration(sample.wall_s) for sample in record.warmup)
    steps = "1 step" if len(record.warmup) == 1 else f"{len(record.warmup)} steps"
    evidence = tuple(Evidence("steps", {"kind": "warm-up", "step": step + 1}) for step in range(len(record.warmup)))
    return Finding(WARMUP_TIMES, f"warm-up, {steps}: {times}", evidence=evidence)


LITTLE_WARMUP = Rule("little-warmup", "run", "too few warm-up steps for a steady state")


def _little_warmup(record: RunRecord) -> Finding | None:
    """Too few warm-up steps: gradients are created in step 1, the optimizer's state at its end."""
    if len(record.warmup) >= 2 or record.config.step.pass_type == "forward" or not record.steps:
        return None
    text = "fewer than 2 warm-up steps: time and peak memory of the first measured steps are not yet steady"
    return Finding(LITTLE_WARMUP, text, sure="guessed")
