"""What a change of precision and compilation gain: two runs of each size beside each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from perfkit.analysis.runs.summary import phase_series
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
    named,
    outcome_of,
    table_of,
)
from perfkit.analysis.study.times import train
from perfkit.schema import units
from perfkit.schema.config import RunConfig
from perfkit.schema.table import Column

# --- Q16 ----------------------------------------------------------------------------------------------------------


def _compiled(scope: Scope) -> Iterator[tuple[str, str, RunConfig, RunConfig]]:
    """Size and pass, and its runs without and with compilation."""
    for size in scope.sizes:
        for pass_type in ("forward", "train"):
            config = scope.config(size, pass_type=pass_type)
            yield size, pass_type, config, config.changed(compile="model")


def _compilation(scope: Scope, results: Results) -> Answer:
    rows: list[Row] = []
    for size, pass_type, plain, compiled in _compiled(scope):
        rows += _gains(size, pass_type, results[plain], results[compiled])
    columns = (
        Column("size"), Column("pass"), Column("phase"),
        Column("plain_s", "s", "time", "as it is", scale="time"),
        Column("compiled_s", "s", "time", "compiled", scale="time"), Column("speedup", "", "rate", "speed-up"),
        Column("compile_s", "s", "time", "compiling"), Column("repaid", "", "count", "repaid after steps"), OUTCOME,
    )  # fmt: skip
    notes = (
        "compiling: what the first step takes beyond a steady one, once for each process (with the graphs of an"
        " earlier process in the cache it is less); repaid: by a gain that the spread of the steps tells from none",
    )
    table = table_of("study_compile", "The whole model compiled", columns, rows, notes)
    steps = [row for row in rows if row.get("phase") == "step"]
    if not steps:
        results.record(next(_compiled(scope))[3])
        raise UnansweredError("no pair of runs has a result")
    said = [
        f"{row['size']} {row['pass']} {row['said']}"
        f" ({units.duration(row['plain_s'])} to {units.duration(row['compiled_s'])},"
        f" compiling {units.duration(row['compile_s'])})"
        for row in steps
    ]
    cause = "compiling joins elementwise operations into fewer passes over memory and leaves matmuls as they are"
    if not any(row["is_told"] and row["speedup"] > 1 for row in steps):
        cause += ", and what that saves is too little here to be seen"
    if not scope.on_gpu:
        cause += "; one process of each, so that the load of this machine in their minutes is in the ratio"
    name = next(_compiled(scope))[2].workload.name
    advice = (
        f"perfkit compare --run '--model-size {name} --compile off' '--model-size {name} --compile model' --repeats 5"
    )
    return Answer(sentence=f"compiled: {listed(said)}; {cause}", advice=advice, tables=(table,))


def _is_told(before: Summary, after: Summary) -> bool:
    """Whether the medians' intervals are apart, where they are known."""
    apart = before.median_low > after.median_high or after.median_low > before.median_high
    return math.isnan(before.median_low) or math.isnan(after.median_low) or apart


def _beside(before: Summary, after: Summary) -> str:
    """How much faster, or that one pair of processes cannot tell."""
    ratio = before.median / after.median if after.median else math.nan
    told = "" if _is_told(before, after) else ", which the spread of the steps does not tell from 1"
    return f"{ratio:.2f} times as fast{told}"


def _gains(size: str, pass_type: str, plain: Taken, compiled: Taken) -> Iterator[Row]:
    before, after = plain.measured, compiled.measured
    if before is None or after is None:
        lacking = plain if before is None else compiled
        yield {"size": size, "pass": pass_type, "outcome": outcome_of(lacking)}
        return
    one, other = phase_series(before.steps), phase_series(after.steps)
    for phase in one:
        if phase == "rest" or phase not in other:
            continue
        summaries = stats.summarize(one[phase]), stats.summarize(other[phase])
        old, new = (summary.median for summary in summaries)
        row: Row = {"size": size, "pass": pass_type, "phase": phase, "plain_s": old, "compiled_s": new}
        row["said"] = _beside(*summaries)
        row |= {"speedup": old / new if new else math.nan, "is_told": _is_told(*summaries), "outcome": "ok"}
        if phase == "step":
            row["compile_s"] = first = max(0.0, after.warmup[0].wall_s - new) if after.warmup else math.nan
            gains = old > new and row["is_told"] and not math.isnan(first)
            row["repaid"] = math.ceil(first / (old - new)) if gains else math.nan
        yield row


COMPILATION = Question(
    number=16,
    word="compile",
    asks="What does compiling gain: the whole model, forward, backward and with the optimizer?",
    needs=lambda scope: [config for _, _, *both in _compiled(scope) for config in both],
    answer=_compilation,
    on_gpu="kernels become fewer and fused, and small models gain most, because they wait for the host",
)

# --- Q8 -----------------------------------------------------------------------------------------------------------


def _precisions(scope: Scope) -> Iterator[tuple[str, RunConfig, RunConfig]]:
    for size in scope.sizes:
        plain = train(scope, size)
        yield size, plain, plain.changed(precision="bf16")


def _dtypes_of(scope: Scope) -> RunConfig:
    """A profiled forward under autocast: its operators say the types that they compute in."""
    return scope.config(scope.sizes[0], pass_type="forward", precision="bf16", profiler="torch")


def _precision(scope: Scope, results: Results) -> Answer:
    rows: list[Row] = []
    for size, full, half in _precisions(scope):
        rows += _ratios(size, results[full], results[half])
    columns = (
        Column("size"), Column("phase"), Column("fp32_s", "s", "time", "fp32", scale="time"),
        Column("bf16_s", "s", "time", "bf16", scale="time"), Column("speedup", "", "rate", "speed-up"),
        Column("fp32_bytes", "B", "bytes", "fp32 tensors", scale="bytes"),
        Column("bf16_bytes", "B", "bytes", "bf16 tensors", scale="bytes"),
        Column("memory_ratio", "", "rate", "memory bf16/fp32"), OUTCOME,
    )  # fmt: skip
    notes = ("medians of a training step; tensors: the peak; weights and the optimizer's state stay fp32",)
    tables = [table_of("study_precision", "bf16 autocast against fp32", columns, rows, notes)]
    dtypes = _dtypes(results[_dtypes_of(scope)])
    if dtypes:
        types = (Column("category"), Column("precision"), Column("count", "", "count", "calls a pass"),
                   Column("share", "1", "share"))  # fmt: skip
        about = ("types that operators computed in, as the profiler saw them in forward",)
        title = f"Types under autocast, {named(_dtypes_of(scope))}"
        tables.append(table_of("study_dtypes", title, types, dtypes, about))
    steps = [row for row in rows if row.get("phase") == "step"]
    if not steps:
        results.record(next(_precisions(scope))[2])
        raise UnansweredError("no pair of runs has a result")
    said = [
        f"{row['size']} takes {units.duration(row['bf16_s'])} a training step in bf16 and"
        f" {units.duration(row['fp32_s'])} in fp32, {row['said']}"
        + (f", with {row['memory_ratio']:.2f} times the memory" if row.get("memory_ratio") else "")
        for row in steps
    ]
    sentence = f"{listed(said)}; {_trend(scope, steps)}"
    return Answer(
        sentence=sentence,
        advice=f"perfkit compare --run '--model-size {next(_precisions(scope))[1].workload.name} --precision fp32'"
        f" '--model-size {next(_precisions(scope))[1].workload.name} --precision bf16' --repeats 5",
        tables=tuple(tables),
    )


def _trend(scope: Scope, steps: Sequence[Row]) -> str:
    gains = [row["speedup"] for row in steps]
    if len(gains) > 1:
        word = "grows" if gains[-1] > gains[0] else "shrinks"
        return f"the gain {word} with size, from {gains[0]:.2f} to {gains[-1]:.2f}: larger matmuls keep units busier"
    if gains[0] < 1:
        cause = "small matmuls gain less than the casts of weights and activations cost"
        return cause if scope.on_gpu else f"{cause}, or this CPU has no fast bf16"
    return "matmuls take 16 bits, and casts of weights and activations are the price"


def _ratios(size: str, full: Taken, half: Taken) -> Iterator[Row]:
    one, other = full.measured, half.measured
    if one is None or other is None:
        yield {"size": size, "outcome": outcome_of(full if one is None else half)}
        return
    memory = (one.memory.in_tensors, other.memory.in_tensors)
    before, after = phase_series(one.steps), phase_series(other.steps)
    for phase in ("step", "forward", "backward"):
        summaries = stats.summarize(before[phase]), stats.summarize(after[phase])
        old, new = (summary.median for summary in summaries)
        row: Row = {"size": size, "phase": phase, "fp32_s": old, "bf16_s": new, "outcome": "ok"}
        row["said"] = _beside(*summaries)
        row["speedup"] = old / new if new else math.nan
        if phase == "step" and memory[0] and memory[1]:
            row |= {"fp32_bytes": memory[0], "bf16_bytes": memory[1], "memory_ratio": memory[1] / memory[0]}
        yield row


def _dtypes(taken: Taken) -> list[Row]:
    """Category and precision of the operators of forward, with calls and share."""
    table = taken.tables("roofline", "forward")
    if table is None:
        return []
    frame = table.frame[table.frame["precision"].notna()]
    sums = frame.groupby(["category", "precision"], sort=False)[["count", "total_ns"]].sum().reset_index()
    sums = sums.sort_values("total_ns", ascending=False)
    steps, total = table.steps.count if table.steps else 1, int(table.frame["total_ns"].sum())
    rows: list[Row] = sums.to_dict("records")  # type: ignore[assignment]
    return [
        {"category": row["category"], "precision": row["precision"], "count": row["count"] / steps,
         "share": row["total_ns"] / total}
        for row in rows
    ]  # fmt: skip


PRECISION = Question(
    number=8,
    word="precision",
    asks="What does bf16 gain over fp32 for each size, in time and in memory, and which parts run in which type?",
    needs=lambda scope: [*(config for _, *both in _precisions(scope) for config in both), _dtypes_of(scope)],
    answer=_precision,
    on_gpu="tensor cores make bf16 matmuls several times as fast as fp32, and TF32 lies between the two",
)
