"""What memory is made of: the largest pieces, what a block keeps for backward, and what checkpoints keep."""

from __future__ import annotations

import math
from collections.abc import Sequence

from perfkit.analysis.study.memory import predicted, recorded
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
from perfkit.schema.table import Column

_TOP = 10
_FLAT = 0.05
"""Sizes of groups whose peaks differ by less are alike."""

# --- Q12 ----------------------------------------------------------------------------------------------------------


def _largest(scope: Scope, results: Results) -> Answer:
    rows: list[Row] = []
    said = []
    for size in scope.sizes:
        taken = results[recorded(scope, size, "train")]
        if taken.measured is None:
            rows.append({"size": size, "outcome": outcome_of(taken)})
            continue
        own: list[Row] = [
            {"size": size, **{name: row[name] for name in ("bytes", "count", "kind", "scope", "phase", "why")},
             "frame": row["frame"] if isinstance(row["frame"], str) else row["operator"], "outcome": "ok"}
            for row in taken.table("largest").frame.head(_TOP).to_dict("records")
        ]  # fmt: skip
        rows += own
        if not own:
            raise UnansweredError(f"{size}: nothing lived at the peak")
        first = own[0]
        alike = sum(row["count"] for row in own if row["bytes"] == first["bytes"])
        size_of = math.floor(first["bytes"])
        said.append(
            f"{size}: the largest allocations at the peak are {units.many(int(alike), 'piece', 'pieces')} of"
            f" {units.size(size_of)}: {first['why'] or first['kind']}; the first is {first['kind']} of"
            f" {first['scope'] or 'no module'}, made by {first['frame']}"
        )
    if not said:
        results.record(recorded(scope, scope.sizes[0], "train"))
    columns = (
        Column("size"), Column("bytes", "B", "bytes"), Column("count", "", "count"), Column("kind"), Column("scope"),
        Column("phase", spare=True), Column("frame", title="made by"), Column("why", title="its size"), OUTCOME,
    )  # fmt: skip
    table = table_of("study_largest", "The largest allocations at the peak", columns, rows)
    folder = results[recorded(scope, scope.sizes[0], "train")].folder
    return Answer(
        sentence="; ".join(said),
        advice=f"perfkit memory {folder or 'RUN'} --table largest parts",
        tables=(table,),
    )


LARGEST = Question(
    number=12,
    word="largest",
    asks="Which allocations are largest, what explains their size, and where do they come from?",
    needs=lambda scope: [recorded(scope, size, "train") for size in scope.sizes],
    answer=_largest,
    on_gpu="the allocator's history has the stack of every piece, of C++ too",
)

# --- Q13 ----------------------------------------------------------------------------------------------------------


def _saved(scope: Scope, results: Results) -> Answer:
    rows: list[Row] = []
    said = []
    for size in scope.sizes:
        taken = results[recorded(scope, size, "train")]
        if taken.measured is None:
            rows.append({"size": size, "outcome": outcome_of(taken)})
            continue
        found = _one_block(size, taken)
        rows += found
        block = found[0]
        top = ", ".join(f"{row['operation']} {units.percent(row['share'])}" for row in found[1:])
        derived = _derived_gradient(scope, size)
        same = "as the shapes say" if block["gradient_bytes"] == derived else f"the shapes say {units.size(derived)}"
        agrees = (
            "the hooks of saved tensors count the same bytes"
            if block["hooks_bytes"] == block["bytes"]
            else f"the hooks of saved tensors count {units.size(block['hooks_bytes'])}"
        )
        said.append(
            f"{size}: one block keeps {units.size(block['bytes'])} for backward ({agrees}): {top}; its backward makes"
            f" {units.size(block['gradient_bytes'])} of gradients, {same}"
        )
    if not said:
        results.record(recorded(scope, scope.sizes[0], "train"))
    columns = (
        Column("size"), Column("operation"), Column("bytes", "B", "bytes", "kept"),
        Column("hooks_bytes", "B", "bytes", "by hooks"), Column("share", "1", "share", "of the block"),
        Column("gradient_bytes", "B", "bytes", "gradients"), OUTCOME,
    )  # fmt: skip
    table = table_of("study_saved", "What one block keeps for backward, its first five operations", columns, rows)
    taken = results[recorded(scope, scope.sizes[0], "train")]
    cause = (
        "; an operation keeps what its gradient needs: a product its factors, softmax its result, a matmul its inputs,"
        " of which weights are there anyway"
    )
    return Answer(
        sentence="; ".join(said) + cause,
        advice=f"perfkit memory {taken.folder or 'RUN'} --table blocks kept_operations",
        tables=(table,),
    )


def _one_block(size: str, taken: Taken) -> list[Row]:
    """The first kind of block, a row; and its five operations that keep most."""
    blocks = taken.table("blocks").frame.to_dict("records")
    block = next((row for row in blocks if row["x"] > 1), blocks[0] if blocks else None)
    if block is None:
        raise UnansweredError(f"{size}: nothing was kept for backward")
    each = block["x"] or 1
    rows: list[Row] = [
        {"size": size, "operation": f"all of {block['block']}", "bytes": block["bytes"] / each,
         "hooks_bytes": block["hooks_bytes"] / each, "gradient_bytes": block["gradient_bytes"] / each, "share": 1.0,
         "outcome": "ok"}
    ]  # fmt: skip
    operations = taken.table("kept_operations").frame
    own = operations[(operations["block"] == block["block"]) & ~operations["rest"].astype(bool)]
    own = own.sort_values("bytes", ascending=False, kind="stable")
    for row in own.head(5).to_dict("records"):
        kept = row["bytes"] / each
        rows.append(
            {"size": size, "operation": row["operation"], "bytes": kept, "share": row["share"], "outcome": "ok"}
        )
    return rows


def _derived_gradient(scope: Scope, size: str) -> int:
    """Bytes of the gradients of one block, fp32: 4 (4 d^2 + 3 d d_ff + 2 d)."""
    shape = scope.resolved(scope.config(size)).transformer.shape
    return 4 * (4 * shape.d_model**2 + 3 * shape.d_model * shape.d_ff + 2 * shape.d_model)


SAVED = Question(
    number=13,
    word="saved",
    asks="What does one block keep for backward, by which operations, and how many bytes of gradients does it make?",
    needs=LARGEST.needs,
    answer=_saved,
)

# --- Q14 ----------------------------------------------------------------------------------------------------------


def _grouped(scope: Scope, size: str, every: int, *, nested: bool = False) -> RunConfig:
    return scope.config(
        size, pass_type="train", checkpoint_every=every, checkpoint_nested=nested, warmup_steps=2, measure_steps=2
    )


def _layers(scope: Scope, size: str) -> int:
    return scope.resolved(scope.config(size)).transformer.shape.num_layers


def _predictions(scope: Scope, size: str, *, nested: bool) -> dict[int, int]:
    """Blocks in a group -> predicted peak."""
    sizes = range(2 if nested else 1, _layers(scope, size) + 1)
    return {every: predicted(scope, _grouped(scope, size, every, nested=nested)).peak_bytes for every in sizes}


def _measured_groups(scope: Scope, size: str) -> list[int]:
    """The size of groups with the lowest predicted peak, and its neighbours."""
    peaks = _predictions(scope, size, nested=False)
    best = min(peaks, key=lambda every: peaks[every])
    return [every for every in (best - 1, best, best + 1) if every in peaks]


def _checkpoints(scope: Scope, results: Results) -> Answer:
    rows: list[Row] = []
    said = []
    for size in scope.sizes:
        plain, nested = (_predictions(scope, size, nested=value) for value in (False, True))
        shown = _measured_groups(scope, size)
        own: list[Row] = []
        for every, peak in plain.items():
            row: Row = {"size": size, "blocks": every, "predicted_bytes": peak, "outcome": "predicted"}
            row["nested_bytes"] = nested.get(every)
            if every in shown:
                taken = results[_grouped(scope, size, every)]
                row["outcome"] = outcome_of(taken)
                if taken.measured is not None:
                    row["measured_bytes"] = taken.measured.memory.in_tensors
                    row["step_s"] = min(step.wall_s for step in taken.measured.steps)
            own.append(row)
        rows += own
        where = predicted(scope, _grouped(scope, size, min(plain, key=lambda every: plain[every]))).where
        said.append(_best_group(size, own, nested, _layers(scope, size)) + _flat(plain, where))
    columns = (
        Column("size"), Column("blocks", "", "count", "blocks a group"),
        Column("predicted_bytes", "B", "bytes", "predicted", scale="bytes"),
        Column("measured_bytes", "B", "bytes", "measured", scale="bytes"),
        Column("nested_bytes", "B", "bytes", "nested, predicted", scale="bytes"),
        Column("step_s", "s", "time", "a step"), OUTCOME,
    )  # fmt: skip
    table = table_of("study_checkpoints", "Peak by blocks in a checkpoint", columns, rows)
    name, groups = scope.config(scope.sizes[0]).workload.name, _measured_groups(scope, scope.sizes[0])
    return Answer(
        sentence="; ".join(said),
        advice=f"perfkit sweep --model-size {name} --pass-type train --checkpoint-every {' '.join(map(str, groups))}"
        " --checkpoint-nested off on --skip-invalid",
        tables=(table,),
    )


def _best_group(size: str, rows: Sequence[Row], nested: dict[int, int], layers: int) -> str:
    measured = [row for row in rows if row.get("measured_bytes")]
    key = "measured_bytes" if measured else "predicted_bytes"
    best = min(measured or rows, key=lambda row: row[key])
    beside = [
        f"groups of {row['blocks']} need {units.size(row[key])}"
        for row in (measured or rows)
        if abs(row["blocks"] - best["blocks"]) == 1
    ]
    how = "measured" if measured else "predicted"
    text = (
        f"{size}: groups of {best['blocks']} of {layers} blocks have the lowest peak, {units.size(best[key])} ({how};"
        f" {units.size(best['predicted_bytes'])} by the formula)"
    )
    if beside:
        text += f"; {listed(beside)}"
    text += (
        f"; k blocks a group keep {layers}/k inputs and the activations of k blocks, so that the best k grows with the"
        " root of their number"
    )
    if nested:
        least = min(nested, key=lambda every: nested[every])
        text += (
            f"; nested, one block's activations replace those of k: the lowest is {units.size(nested[least])} at k ="
            f" {least} by the formula, inputs alone grow with the root, and nesting to the end with the logarithm"
        )
    return text


def _flat(predicted_peaks: dict[int, int], where: str) -> str:
    """That the size of groups hardly matters, where it does not."""
    over = max(predicted_peaks.values()) / min(predicted_peaks.values()) - 1
    return f"; here all sizes are within {units.percent(over)}, since the peak is in {where}" if over < _FLAT else ""


CHECKPOINTS = Question(
    number=14,
    word="checkpoints",
    asks="How many blocks in one checkpoint minimise the peak, and what does nesting change?",
    needs=lambda scope: [
        _grouped(scope, size, every) for size in scope.sizes for every in _measured_groups(scope, size)
    ],
    answer=_checkpoints,
    on_gpu="the peak is the allocator's own, which rounds and fragments",
)
