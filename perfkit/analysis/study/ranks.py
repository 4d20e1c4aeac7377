"""Several ranks: what data parallelism and sharding ask of the link between them, and what two on this machine do.

The bytes and the bandwidth that hides them follow from one rank's measured step. Without a GPU two ranks are measured
too, over gloo.

With N parameters in fp32 a rank's gradients are 4 N bytes. A ring of n ranks moves 2 (n - 1) / n of them in and out of
each rank for an all-reduce, and (n - 1) / n for an all-gather (nccl-tests, `doc/PERFORMANCE.md`).
"""

from __future__ import annotations

import math
from dataclasses import replace

from perfkit.analysis.runs.summary import summarize
from perfkit.analysis.study.question import OUTCOME, Answer, Question, Results, Row, Scope, outcome_of, table_of
from perfkit.analysis.study.times import train
from perfkit.schema import units
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.step import Parallel
from perfkit.schema.table import Column, Table

RANKS = 2
"""Processes of a job that a study starts."""
_BUCKET = 25 * 2**20
"""Bytes that DistributedDataParallel reduces at once, unless it is told otherwise."""
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


def _measured(scope: Scope, results: Results, parallel: Parallel) -> tuple[str, list[Table]]:
    """What the jobs say, size by size, and their tables of communication; empty where none was measured."""
    said, tables = [], []
    for config in _jobs(scope, parallel):
        taken = results[config]
        if taken.measured is None or (exposed := taken.tables("exposed", None)) is None:
            continue
        steps, frame = len(taken.measured.steps), exposed.frame
        total, waits = (float(frame[name].sum()) / steps / 1e9 for name in ("total_ns", "exposed_ns"))
        first = frame.iloc[0]
        whole, hidden = summarize(taken.measured).mean_s, 1 - waits / total if total else 0.0
        said.append(
            f"{config.transformer.model_size} on {RANKS} ranks of this machine: {units.duration(total)} of"
            f" communication in a step of {units.duration(whole)}, of which {units.percent(hidden)} is"
            f" hidden; most of what is not, {units.duration(float(first['exposed_ns']) / steps / 1e9)}, is"
            f" {first['collective']} for {first['scope']}"
        )
        tables.append(replace(exposed, title=f"{exposed.title}, {config.transformer.model_size}, {parallel}"))
    return "; ".join(said), tables


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
            "buckets": math.ceil(gradients / _BUCKET), "outcome": outcome_of(taken),
        }  # fmt: skip
        rows.append(row)
        if taken.measured is None:
            continue
        found = summarize(taken.measured)
        row |= {"step_s": found.mean_s, "backward_s": found.backward_s, "needed_bytes": moved / found.backward_s}
        said.append(
            f"{size}: each of {RANKS} ranks must move {units.size(moved)} of gradients a step, in {row['tensors']}"
            f" all-reduces by parameter, {row['buckets']} by buckets of 25 MiB or 1 flat; they hide behind backward's"
            f" {units.duration(found.backward_s)} where the link carries {units.rate(row['needed_bytes'])}B/s or more"
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
        "; small all-reduces pay the latency of each, and a flat one begins when backward is over: buckets are between."
        " Transfer, waiting, exposed and hidden time come from traces of both ranks"
    )
    return _with_measured("ddp", _measured(scope, results, "ddp"), "; ".join(said) + cause, table)


def _with_measured(parallel: Parallel, measured: tuple[str, list[Table]], derived: str, table: Table) -> Answer:
    """What was measured comes first, then what follows from one rank."""
    said, tables = measured
    advice = f"torchrun --nproc-per-node {RANKS} -m perfkit.run --parallel {parallel} --profiler torch on your GPUs"
    return Answer(
        sentence=f"{said}; {derived}" if said else derived,
        advice=advice,
        tables=(*tables, table),
        sure="measured" if said else "derived",
    )


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
    cause = (
        "; the first block's gather has nothing to hide behind, and backward gathers again. Whether each arrived in"
        " time is in traces of both ranks"
    )
    return _with_measured("fsdp", _measured(scope, results, "fsdp"), "; ".join(said) + cause, table)


SHARDED = Question(
    number=19,
    word="sharded",
    asks="Sharded parameters: does each all-gather finish before its layer needs it, and what memory is saved?",
    needs=lambda scope: [*(train(scope, size) for size in scope.sizes), *_jobs(scope, "fsdp")],
    answer=_sharded,
    on_gpu="two of them run it, and a trace shows the wait of each layer",
)
