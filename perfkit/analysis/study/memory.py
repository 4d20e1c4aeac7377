"""Memory: the peak of each stage, how it grows with the context, and the size of the residual stream."""

from __future__ import annotations

from collections.abc import Iterator

from perfkit.analysis.memory import fit as memory_fit
from perfkit.analysis.study.question import (
    OUTCOME,
    Answer,
    Question,
    Results,
    Row,
    Scope,
    listed,
    outcome_of,
    table_of,
)
from perfkit.schema import units
from perfkit.schema.config import RunConfig
from perfkit.schema.table import Column

_STAGES = ("forward", "backward", "optimizer")


def recorded(scope: Scope, size: str, pass_type: str) -> RunConfig:
    """A run with its memory recorded, and the Python stack of each allocation."""
    return scope.config(size, pass_type=pass_type, profiler="memory", profile_stack=True)


def predicted(scope: Scope, config: RunConfig) -> memory_fit.Prediction:
    """The peak by the formula."""
    return memory_fit.predict(scope.resolved(config), scope.memory)


# --- Q9 -----------------------------------------------------------------------------------------------------------


def _timeline(scope: Scope, results: Results) -> Answer:
    rows: list[Row] = []
    said = []
    for size in scope.sizes:
        peaks: dict[str, dict[str, Row]] = {}
        for pass_type in ("forward", "train"):
            taken = results[recorded(scope, size, pass_type)]
            if taken.measured is None:
                rows.append({"size": size, "pass": pass_type, "outcome": outcome_of(taken)})
                continue
            stages: list[Row] = taken.table("phases").frame.to_dict("records")  # type: ignore[assignment]
            rows += [
                {"size": size, "pass": pass_type, "stage": row["phase"], "peak_bytes": row["peak_bytes"],
                 "where": row["where"], "outcome": "ok"}
                for row in stages
            ]  # fmt: skip
            peaks[pass_type] = {str(row["phase"]): row for row in stages}
        if "train" in peaks:
            said.append(_peaks(size, peaks))
    if not said:
        results.record(recorded(scope, scope.sizes[0], "train"))
    columns = (
        Column("size"), Column("pass"), Column("stage"), Column("peak_bytes", "B", "bytes", "peak"), Column("where"),
        OUTCOME,
    )  # fmt: skip
    table = table_of("study_stages", "The peak of each stage", columns, rows, ("bytes in tensors",))
    cause = (
        "; forward keeps what backward needs, so that the peak is where all blocks' activations meet the loss or the"
        " first gradients"
    )
    taken = results[recorded(scope, scope.sizes[0], "train")]
    return Answer(
        sentence="; ".join(said) + cause,
        advice=f"perfkit memory {taken.folder or 'RUN'} --plot memory_timeline",
        tables=(table,),
        picture=taken.pictures("memory_timeline"),
    )


def _peaks(size: str, peaks: dict[str, dict[str, Row]]) -> str:
    """Of a training step by stage, beside forward alone."""
    stages = peaks["train"]
    highest = max(stages.values(), key=lambda row: row["peak_bytes"])
    each = [f"{name} {units.size(stages[name]['peak_bytes'])}" for name in _STAGES if name in stages]
    place = highest["where"] or highest["phase"]
    text = f"{size}: a training step peaks at {units.size(highest['peak_bytes'])} in {place} ({listed(each)})"
    if "forward" in peaks:
        alone = max(row["peak_bytes"] for row in peaks["forward"].values())
        text += (
            f", {highest['peak_bytes'] / alone:.1f} times the {units.size(alone)} of forward alone, which frees each"
            " block's activations"
        )
    return text


TIMELINE = Question(
    number=9,
    word="timeline",
    asks="How does memory go over time, forward alone and in a training step, and which stage makes which peak?",
    needs=lambda scope: [recorded(scope, size, name) for size in scope.sizes for name in ("forward", "train")],
    answer=_timeline,
    on_gpu="the allocator's own snapshot is read, with what it reserves and what fragments it",
)

# --- Q10 ----------------------------------------------------------------------------------------------------------

_CONTEXTS = (128, 2048)


def _grid(scope: Scope) -> Iterator[tuple[str, int, str, str, RunConfig]]:
    for size in scope.sizes:
        for context in scope.contexts or _CONTEXTS:
            for pass_type in ("forward", "train"):
                for precision in ("fp32", "bf16"):
                    config = scope.config(
                        size, context, pass_type=pass_type, precision=precision, warmup_steps=2, measure_steps=2
                    )
                    yield size, context, pass_type, precision, config


def _is_run(scope: Scope, context: int) -> bool:
    """Without a GPU a long context is predicted alone: it would take a CPU minutes."""
    return scope.on_gpu or bool(scope.contexts) or context <= 256


def _by_context(scope: Scope, results: Results) -> Answer:
    rows: list[Row] = []
    for size, context, pass_type, precision, config in _grid(scope):
        peak = predicted(scope, config)
        row: Row = {"size": size, "context": context, "pass": pass_type, "precision": precision}
        row |= {"predicted_bytes": peak.peak_bytes, "where": peak.where, "outcome": "predicted"}
        if _is_run(scope, context):
            taken = results[config]
            row["outcome"] = outcome_of(taken)
            if taken.measured is not None:
                row["measured_bytes"] = taken.measured.memory.in_tensors
        rows.append(row)
    columns = (
        Column("size"), Column("context", "", "count"), Column("pass"), Column("precision"),
        Column("measured_bytes", "B", "bytes", "measured", scale="bytes"),
        Column("predicted_bytes", "B", "bytes", "predicted", scale="bytes"), Column("where", title="where, predicted"),
        OUTCOME,
    )  # fmt: skip
    notes = ("peak in tensors of a steady step; predicted by the formula of docs/memory.md, without running",)
    table = table_of("study_contexts", "Peak memory by context", columns, rows, notes)
    said = []
    for size in scope.sizes:
        own = [row for row in rows if row["size"] == size and row["pass"] == "train" and row["precision"] == "fp32"]
        short, long = own[0], own[-1]
        text = f"{size}: a training step in fp32 peaks at " + listed(
            [f"{units.size(_best(row))} at context {row['context']:,} ({_how(row)})" for row in own]
        )
        if long["context"] > short["context"]:
            more, longer = _best(long) / _best(short), long["context"] / short["context"]
            text += f", {more:.1f} times for {longer:.0f} times the context"
        other = next(
            row
            for row in rows
            if row["size"] == size
            and row["pass"] == "train"
            and row["precision"] == "bf16"
            and row["context"] == long["context"]
        )
        text += f"; bf16 takes {_best(other) / _best(long):.2f} times that"
        said.append(text)
    errors = [abs(row["measured_bytes"] / row["predicted_bytes"] - 1) for row in rows if row.get("measured_bytes")]
    cause = "; attention's scores grow with the square of the context, all else in proportion to it"
    if errors:
        cause += f"; prediction and measurement differ by {units.percent(max(errors))} at most"
    name = next(_grid(scope))[-1].workload.name
    return Answer(
        sentence="; ".join(said) + cause,
        advice=f"perfkit run --model-size {name} --pass-type train --context-length 2048 --fit --memory 16GB",
        tables=(table,),
    )


def _best(row: Row) -> int:
    """What was measured, else what was predicted."""
    return int(row.get("measured_bytes") or row["predicted_bytes"])


def _how(row: Row) -> str:
    return "measured" if row.get("measured_bytes") else "predicted"


CONTEXTS = Question(
    number=10,
    word="contexts",
    asks="What is the peak by context length, for forward and a training step, in fp32 and mixed precision?",
    needs=lambda scope: [config for _, context, _, _, config in _grid(scope) if _is_run(scope, context)],
    answer=_by_context,
    on_gpu="the long context is measured too, and rows that do not fit have their prediction",
)

# --- Q11 ----------------------------------------------------------------------------------------------------------


def _residual(scope: Scope, _: Results) -> Answer:
    rows: list[Row] = []
    for size in scope.sizes:
        config = scope.resolved(scope.config(size, scope.contexts[0] if scope.contexts else None))
        width, context = config.transformer.shape.d_model, config.step.context_length or 0
        count = config.step.batch_size * context * width
        rows.append(
            {"size": size, "batch": config.step.batch_size, "context": context, "d_model": width,
             "bytes": count * 4, "half_bytes": count * 2, "blocks": config.transformer.shape.num_layers}
        )  # fmt: skip
    columns = (
        Column("size"), Column("batch", "", "count"), Column("context", "", "count"), Column("d_model", "", "count"),
        Column("bytes", "B", "bytes", "one copy, fp32"), Column("half_bytes", "B", "bytes", "in 16 bits"),
        Column("blocks", "", "count"),
    )  # fmt: skip
    table = table_of("study_residual", "The residual stream", columns, rows)
    said = [
        f"{row['size']}: the residual stream is {row['bytes'] / 2**20:,.4g} MiB: batch {row['batch']} x context"
        f" {row['context']:,} x d_model {row['d_model']:,} x 4 B"
        for row in rows
    ]
    cause = "; each of a block's two sums makes a copy that its norm keeps for backward, and autocast leaves it in fp32"
    name = scope.config(scope.sizes[0]).workload.name
    return Answer(
        sentence="; ".join(said) + cause,
        advice=f"perfkit run --model-size {name} --pass-type train --estimate (its row residual stream has all copies)",
        tables=(table,),
        sure="derived",
    )


RESIDUAL = Question(
    number=11,
    word="residual",
    asks="How large is the residual stream, in MiB?",
    needs=lambda _: [],
    answer=_residual,
)
