"""Times of a step: how long its phases are and how much they vary; what the profiler costs."""

from __future__ import annotations

import math

from perfkit.analysis.noise import stability
from perfkit.analysis.runs.summary import phase_series, summarize
from perfkit.analysis.statistics import stats
from perfkit.analysis.statistics.stats import Summary
from perfkit.analysis.study.question import (
    OUTCOME,
    Answer,
    Question,
    Results,
    Row,
    Scope,
    Taken,
    UnansweredError,
    listed,
    outcome_of,
    table_of,
)
from perfkit.schema import units
from perfkit.schema.config import RunConfig
from perfkit.schema.record import RunRecord
from perfkit.schema.table import Column

_MATTERS = 0.05
"""A spread from which single differences of 5% say nothing without several runs."""


def train(scope: Scope, size: str) -> RunConfig:
    """A plain training step, the usual warm-up and steps."""
    return scope.config(size, pass_type="train")


# --- Q1 -----------------------------------------------------------------------------------------------------------


def _phases(scope: Scope, results: Results) -> Answer:
    rows: list[Row] = []
    for size in scope.sizes:
        taken = results[train(scope, size)]
        record = taken.measured
        if record is None:
            rows.append({"size": size, "outcome": outcome_of(taken)})
            continue
        for phase, seconds in phase_series(record.steps).items():
            summary = stats.summarize(seconds)
            rows.append(
                {"size": size, "phase": phase, "n": summary.n, "mean_s": summary.mean, "std_s": summary.std,
                 "cv": summary.cv, "min_s": summary.minimum, "max_s": summary.maximum, "outcome": "ok"}
            )  # fmt: skip
    columns = (
        Column("size"), Column("phase"), Column("n", "", "count"),
        *(Column(f"{name}_s", "s", "time", name, scale="time") for name in ("mean", "std")),
        Column("cv", "1", "share", "CV"),
        *(Column(f"{name}_s", "s", "time", name, scale="time", spare=True) for name in ("min", "max")), OUTCOME,
    )  # fmt: skip
    notes = ("forward includes the loss; rest: zero_grad, the final synchronisation and launch latency",)
    table = table_of("study_phases", "Time of each phase", columns, rows, notes)
    measured = [(size, record) for size in scope.sizes if (record := results[train(scope, size)].measured)]
    if not measured:
        results.record(train(scope, scope.sizes[0]))  # says why
    sentence = "; ".join(_phase_sentence(size, record) for size, record in measured)
    size, noisiest = max(measured, key=lambda pair: summarize(pair[1]).cv)
    sentence += f". {_spread(noisiest)}"
    words = f"perfkit run --model-size {noisiest.config.workload.name} --pass-type train --target-ci 1%"
    return Answer(sentence=sentence, advice=words, tables=(table,))


def _phase_sentence(size: str, record: RunRecord) -> str:
    found = summarize(record)
    parts = [
        f"{name} {units.duration(seconds)}"
        for name, seconds in (("forward", found.forward_s), ("backward", found.backward_s))
        if not math.isnan(seconds)
    ]
    if not math.isnan(found.optimizer_s):
        parts.append(f"the optimizer {units.duration(found.optimizer_s)}")
    return f"{size}: {listed(parts)} of a step of {units.duration(found.mean_s)} (CV {units.percent(found.cv)})"


def _spread(record: RunRecord) -> str:
    """Whether the spread matters, and what it comes from."""
    found = summarize(record)
    if found.steps < 2:
        return "One step has no spread"
    half = stats.t_quantile(found.steps) * found.cv / math.sqrt(found.steps)
    text = (
        f"{found.steps} steps know the mean of {record.config.workload.name} to +-{units.percent(half)}, so two such"
        f" runs must differ by more than {units.percent(math.sqrt(2) * half)} to say anything"
    )
    noise = stability.examine(record)
    if found.cv >= _MATTERS and noise is not None and noise.findings:
        text += f"; the spread matters: {noise.findings[0].what}"
    elif found.cv < _MATTERS:
        text += "; the spread does not matter for differences larger than that"
    return text


PHASES = Question(
    number=1,
    word="phases",
    asks="How long are forward, backward and the optimizer, and how much do they vary?",
    needs=lambda scope: [train(scope, size) for size in scope.sizes],
    answer=_phases,
    on_gpu="phases are timed by CUDA events, every size is worth measuring, and the clock explains the spread",
)

# --- Q3 -----------------------------------------------------------------------------------------------------------

_CONTEXTS = (128, 256, 512)
_ON_CPU = (64, 128)


def _shapes(scope: Scope) -> list[tuple[str, int]]:
    contexts = scope.contexts or (_CONTEXTS if scope.on_gpu else _ON_CPU)
    return [(size, context) for size in scope.sizes[:2] for context in contexts]


def _pair(scope: Scope, size: str, context: int) -> tuple[RunConfig, RunConfig]:
    """A plain and a profiled forward pass."""
    plain, traced = (scope.config(size, context, pass_type="forward", profiler=name) for name in ("none", "torch"))
    return plain, traced


def _agreement(scope: Scope, results: Results) -> Answer:
    rows: list[Row] = []
    for size, context in _shapes(scope):
        plain, traced = (results[config] for config in _pair(scope, size, context))
        row: Row = {"size": size, "context": context, "outcome": "ok"}
        if plain.measured is None or traced.measured is None:
            rows.append(row | {"outcome": outcome_of(plain if plain.measured is None else traced)})
            continue
        one, other = _forward(plain.measured), _forward(traced.measured)
        row |= {"plain_s": one.mean, "profiled_s": other.mean, "trace_s": _in_trace(traced)}
        row |= {"added_s": other.mean - one.mean, "ratio": other.mean / one.mean}
        rows.append(row)
    what = "kernels" if scope.on_gpu else "operators"
    columns = (
        Column("size"), Column("context", "", "count"),
        Column("plain_s", "s", "time", "plain", scale="time"),
        Column("profiled_s", "s", "time", "under the profiler", scale="time"),
        Column("trace_s", "s", "time", f"{what} in the trace", scale="time"),
        Column("added_s", "s", "time", "added", scale="time"), Column("ratio", "", "rate", "profiled/plain"), OUTCOME,
    )  # fmt: skip
    notes = (
        "means of the measured steps, after warm-up, of one process each; the trace: its total, divided by its steps",
    )
    table = table_of("study_agreement", "Forward by plain timing and by the profiler", columns, rows, notes)
    found = [row for row in rows if "ratio" in row]
    if not found:
        results.record(_pair(scope, *_shapes(scope)[0])[0])
        raise UnansweredError("no profiled run has a result")
    shown = max(found, key=lambda row: (row["context"], row["plain_s"]))
    ratio = shown["ratio"]
    times = [units.duration(shown[f"{name}_s"]) for name in ("plain", "profiled", "trace")]
    agrees = abs(ratio - 1) < _MATTERS
    ratios = [row["ratio"] for row in found]
    over = f" (over all shapes {min(ratios):.2f} to {max(ratios):.2f} times)" if len(ratios) > 1 else ""
    sentence = (
        f"forward of {shown['size']} at context {shown['context']}: {times[0]} by plain timing, {times[1]} under the"
        f" profiler, {times[2]} of {what} in its trace: "
        + ("they agree" if agrees else f"under it forward takes {units.significant(ratio, 3)} times as long")
        + f"{over}, steady steps all; "
    )
    if min(ratios) < 1 - _MATTERS:
        sentence += (
            "no profiler makes a step faster: other programs, or the clock, took more from a plain process than from"
            " the profiled one, so that ratios of single processes say little here; otherwise "
        )
    sentence += "the profiler adds its work on the host for every operator, " + (
        "and the device's own times stay right" if scope.on_gpu else "which on a CPU is part of what it times"
    )
    asked, _ = _pair(scope, *_shapes(scope)[0])
    return Answer(
        sentence=sentence,
        advice=f"perfkit run --model-size {asked.workload.name} --profiler torch (its table overhead has each phase)",
        tables=(table,),
    )


def _forward(record: RunRecord) -> Summary:
    return stats.summarize(phase_series(record.steps)["forward"])


def _in_trace(traced: Taken) -> float:
    """Seconds of work of a forward pass in the trace."""
    table = traced.table("phases")
    total = table.frame.loc[table.frame["phase"] == "forward", "total_ns"].sum()
    return float(total) * 1e-9 / (table.steps.count if table.steps else 1)


AGREEMENT = Question(
    number=3,
    word="agreement",
    asks="Does the profiler's forward time agree with plain timing?",
    needs=lambda scope: [config for shape in _shapes(scope) for config in _pair(scope, *shape)],
    answer=_agreement,
    on_gpu="kernels are timed by the device, which the profiler does not slow down: their sum is compared",
)
