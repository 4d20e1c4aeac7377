"""Several ranks: what data parallelism and sharding ask of the link between them, and what two on this machine do.

The bytes and the bandwidth that hides them follow from one rank's measured step. Without a GPU two ranks are measured
too, over gloo.

With N parameters in fp32 a rank's gradients are 4 N bytes. A ring of n ranks moves 2 (n - 1) / n of them in and out of
each rank for an all-reduce, and (n - 1) / n for an all-gather (nccl-tests, `doc/PERFORMANCE.md`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from perfkit.analysis.runs.summary import summarize
from perfkit.analysis.study.question import OUTCOME, Answer, Question, Results, Row, Scope, outcome_of, table_of
from perfkit.analysis.study.times import train
from perfkit.schema import units
from perfkit.schema.config import RunConfig
from perfkit.schema.page.figures import BarPart, Bars
from perfkit.schema.page.pictures import Picture
from perfkit.schema.parts.step import Parallel
from perfkit.schema.parts.workloads import ModelShape
from perfkit.schema.table import Column, Table

RANKS = 2
"""Processes of a job that a study starts."""
_BUCKET, _FIRST_BUCKET = 25 * 2**20, 2**20
"""Bytes from which DistributedDataParallel reduces at once, unless it is told otherwise, and those of its first."""
_IN_TIME = 0.1
"""An all-gather was there in time where no more of it than this is exposed."""
_BARS = 8
"""Modules whose communication the picture shows."""
_TENSORS_A_BLOCK, _OTHER_TENSORS = 9, 3
"""q, k, v, output, gate, up, down and the gains of two norms; the embedding, the head and the last norm's gain."""


def job(scope: Scope, size: str, parallel: Parallel) -> RunConfig:
    """A training step that ranks share, profiled."""
    return scope.config(size, pass_type="train", profiler="torch", parallel=parallel)


def _jobs(scope: Scope, parallel: Parallel) -> list[RunConfig]:
    """Of each size. None on a GPU, for a study does not know of a second; none of a batch that two cannot share."""
    if scope.on_gpu or scope.batch_size % RANKS:
        return []
    return [job(scope, size, parallel) for size in scope.sizes]


@dataclass(frozen=True, slots=True)
class _Measured:
    """What the jobs of two ranks say, size by size."""

    said: str
    """Empty where none was measured."""
    tables: list[Table]
    """Their communication, by what it is for."""
    picture: Picture | None
    """Of the first."""


def _measured(scope: Scope, results: Results, parallel: Parallel) -> _Measured:
    said: list[str] = []
    tables: list[Table] = []
    pictures: list[Picture] = []
    for config in _jobs(scope, parallel):
        taken = results[config]
        if taken.measured is None or (exposed := taken.tables("exposed", None)) is None or not len(exposed):
            continue
        steps, size = len(taken.measured.steps), config.transformer.model_size
        seconds = exposed.frame[["total_ns", "transfer_ns", "exposed_ns", "hidden_ns"]].sum() / steps / 1e9
        total, transfer, waits, hidden = (float(value) for value in seconds)
        first = exposed.frame.iloc[0]
        said.append(
            f"{size} on {RANKS} ranks of this machine: {units.duration(total)} of communication in a step of"
            f" {units.duration(summarize(taken.measured).mean_s)}: {units.duration(transfer)} transfer and"
            f" {units.duration(total - transfer)} waiting for the other rank; {units.duration(hidden)}"
            f" ({units.percent(hidden / total)}) is hidden behind computation and {units.duration(waits)} is not; most"
            f" of that, {units.duration(float(first['exposed_ns']) / steps / 1e9)}, is {first['collective']} for"
            f" {first['scope']}{_in_time(exposed.frame)}"
        )
        tables.append(replace(exposed, title=f"{exposed.title}, {size}, {parallel}, sums of {steps} steps"))
        pictures.append(_overlap(exposed.frame, steps, f"{size}, {parallel}"))
    return _Measured("; ".join(said), tables, pictures[0] if pictures else None)


def _in_time(exposed: pd.DataFrame) -> str:
    """How many modules have their parameters when they need them; empty where nothing is gathered."""
    gathers = exposed[exposed["collective"] == "all_gather"]
    if not len(gathers):
        return ""
    in_time = int((gathers["exposed_ns"] <= _IN_TIME * gathers["total_ns"]).sum())
    return f"; {in_time} of {len(gathers)} modules have their all-gather in time (at most {_IN_TIME:.0%} of it exposed)"


def _overlap(exposed: pd.DataFrame, steps: int, what: str) -> Picture:
    """What of each module's communication computation hides, and what it does not: bars, the most exposed first."""
    shown, rest = exposed.head(_BARS), exposed.iloc[_BARS:]
    labels = [
        f"{scope or 'no module'}: {kind}" for scope, kind in shown[["scope", "collective"]].itertuples(index=False)
    ]
    if len(rest):
        labels.append(f"{len(rest)} others")
    parts = []
    for name, key in (("exposed", "exposed communication"), ("hidden", "compute")):
        values = [*shown[f"{name}_ns"], *([rest[f"{name}_ns"].sum()] if len(rest) else [])]
        parts.append(BarPart(name=name, values=tuple(float(value) / steps for value in values), key=key))
    return Picture(
        figure=Bars(labels=tuple(labels), parts=tuple(parts), stacked=True),
        title=f"Communication of a step, {what}: what computation hides, and what it does not",
        notes=("mean of the ranks, a step; exposed: the rank computes nothing meanwhile",),
    )


def _data_parallel(scope: Scope, results: Results) -> Answer:
    rows: list[Row] = []
    said = []
    for size in scope.sizes:
        taken = results[train(scope, size)]
        model = scope.resolved(train(scope, size)).transformer
        gradients = 4 * model.parameters
        moved = gradients * 2 * (RANKS - 1) // RANKS
        row: Row = {
            "size": size, "gradient_bytes": gradients, "moved_bytes": moved,
            "tensors": _TENSORS_A_BLOCK * model.shape.num_layers + _OTHER_TENSORS,
            "buckets": _buckets(model.shape, model.vocab_size), "outcome": outcome_of(taken),
        }  # fmt: skip
        rows.append(row)
        if taken.measured is None:
            continue
        found = summarize(taken.measured)
        row |= {"step_s": found.mean_s, "backward_s": found.backward_s, "needed_bytes": moved / found.backward_s}
        said.append(
            f"{size}: each of {RANKS} ranks must move {units.size(moved)} of gradients a step, in {row['tensors']}"
            f" all-reduces by parameter, {row['buckets']} by buckets (1 MiB, then 25 MiB) or 1 flat; they hide"
            f" behind backward's {units.duration(found.backward_s)} where the link carries"
            f" {units.rate(row['needed_bytes'])}B/s or more"
        )
    if not said:
        results.record(train(scope, scope.sizes[0]))
    columns = (
        Column("size"), Column("gradient_bytes", "B", "bytes", "gradients"),
        Column("moved_bytes", "B", "bytes", "moved by a rank"),
        Column("tensors", "", "count", "all-reduces by parameter"), Column("buckets", "", "count", "by bucket"),
        Column("step_s", "s", "time", "a step"), Column("backward_s", "s", "time", "backward"),
        Column("needed_bytes", "B", "bytes", "a second, to hide it"), OUTCOME,
    )  # fmt: skip
    notes = ("one rank was measured; the last bucket is reduced after backward and is never hidden",)
    table = table_of("study_parallel", f"Data parallel on {RANKS} ranks", columns, rows, notes)
    cause = (
        "; small all-reduces pay the latency of each, and a flat one begins when backward is over: buckets are between"
    )
    return _with_measured("ddp", scope, results, "; ".join(said) + cause, table)


def _buckets(shape: ModelShape, words: int) -> int:
    """Of DistributedDataParallel: gradients, the last parameter's first, are put into one until it is full."""
    width, inner = shape.d_model, shape.d_ff
    block = [*[width * inner] * 3, width, *[width * width] * 4, width]
    filled, limit, full = 0, _FIRST_BUCKET, 0
    for numbers in [width * words, width, *block * shape.num_layers, width * words]:
        filled += 4 * numbers
        if filled >= limit:
            filled, limit, full = 0, _BUCKET, full + 1
    return full + (filled > 0)


def _with_measured(parallel: Parallel, scope: Scope, results: Results, derived: str, table: Table) -> Answer:
    """What two ranks did comes first; what follows from the bytes and one rank's step stands apart."""
    found = _measured(scope, results, parallel)
    lacking = "" if found.said else f"; {_no_job(scope, results, parallel)}"
    return Answer(
        sentence=found.said or f"by one rank's measured step and the bytes, {derived}{lacking}",
        derived=f"by one rank's measured step and the bytes, {derived}" if found.said else "",
        advice=f"torchrun --nproc-per-node {RANKS} -m perfkit.run --parallel {parallel} --profiler torch on your GPUs",
        tables=(*found.tables, table),
        picture=found.picture,
        sure="measured" if found.said else "derived",
    )


def _no_job(scope: Scope, results: Results, parallel: Parallel) -> str:
    """Why nothing of several ranks was measured."""
    lacking = [one for config in _jobs(scope, parallel) if (one := results[config]).measured is None]
    if lacking:
        why = f"the run of {RANKS} ranks has no result ({lacking[0].outcome}): {lacking[0].why}"
    elif scope.on_gpu:
        why = f"{RANKS} ranks were not measured: they need a GPU each"
    elif scope.batch_size % RANKS:
        why = f"{RANKS} ranks were not measured: they cannot share a batch of {scope.batch_size} evenly"
    else:
        why = f"the traces of {RANKS} ranks have no communication"
    return why


PARALLEL = Question(
    number=18,
    word="parallel",
    asks="Data parallel on 2 ranks: how long is communication, and how much of it does backward hide?",
    needs=lambda scope: [*(train(scope, size) for size in scope.sizes), *_jobs(scope, "ddp")],
    answer=_data_parallel,
    on_gpu="two of them run NCCL, whose kernels a trace shows beside backward's",
)


def _sharded(scope: Scope, results: Results) -> Answer:
    rows: list[Row] = []
    said = []
    for size in scope.sizes:
        taken = results[train(scope, size)]
        model = scope.resolved(train(scope, size)).transformer
        layers = model.shape.num_layers
        block = 4 * (model.parameters - model.shape.d_model * (2 * model.vocab_size + 1)) // layers
        moved = block * (RANKS - 1) // RANKS
        saved = 16 * model.parameters * (RANKS - 1) // RANKS
        row: Row = {"size": size, "block_bytes": block, "moved_bytes": moved, "saved_bytes": saved,
                    "outcome": outcome_of(taken)}  # fmt: skip
        rows.append(row)
        if taken.measured is None:
            continue
        each = summarize(taken.measured).forward_s / layers
        row |= {"block_s": each, "needed_bytes": moved / each}
        said.append(
            f"{size}: the all-gather of a block brings {units.size(moved)}, and the block before it computes for"
            f" {units.duration(each)}: it is there in time where the link carries {units.rate(row['needed_bytes'])}B/s;"
            f" parameters, gradients and AdamW's moments, 16 B a parameter, shrink by {units.size(saved)} a rank"
        )
    if not said:
        results.record(train(scope, scope.sizes[0]))
    columns = (
        Column("size"), Column("block_bytes", "B", "bytes", "a block"),
        Column("moved_bytes", "B", "bytes", "gathered a block"), Column("block_s", "s", "time", "forward of a block"),
        Column("needed_bytes", "B", "bytes", "a second, to be in time"),
        Column("saved_bytes", "B", "bytes", "saved a rank"), OUTCOME,
    )  # fmt: skip
    notes = ("one rank was measured: forward divided by its blocks; on 2 ranks half of everything is elsewhere",)
    table = table_of("study_sharded", f"Sharded on {RANKS} ranks", columns, rows, notes)
    cause = "; the first block's gather has nothing to hide behind, and backward gathers again"
    return _with_measured("fsdp", scope, results, "; ".join(said) + cause, table)


SHARDED = Question(
    number=19,
    word="sharded",
    asks="Sharded parameters: does each all-gather finish before its layer needs it, and what memory is saved?",
    needs=lambda scope: [*(train(scope, size) for size in scope.sizes), *_jobs(scope, "fsdp")],
    answer=_sharded,
    on_gpu="two of them run it, and a trace shows the wait of each layer",
)
