"""What runs inside a step: the longest kernel, the mix of kinds of work, and softmax beside attention's matmuls.

On a CPU the rows are operators, since no kernel is recorded there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import pandas as pd

from perfkit.analysis.kernels.kinds import HOST, MATMUL
from perfkit.analysis.study.question import (
    OUTCOME,
    Answer,
    Question,
    Results,
    Row,
    Scope,
    UnansweredError,
    listed,
    named,
    outcome_of,
    table_of,
)
from perfkit.schema import units
from perfkit.schema.config import RunConfig
from perfkit.schema.table import Column, Table

SERVING = "category_scopes"
"""The table of kinds of work by the modules that they serve (`study.serving`)."""
_TOP = 8
_NOTICEABLE = 0.03
"""Kinds of work with less of forward are in the table, not in the sentence."""


def inference(scope: Scope, size: str) -> RunConfig:
    """A profiled forward pass without gradients."""
    return scope.config(size, pass_type="forward", profiler="torch")


def training(scope: Scope, size: str) -> RunConfig:
    """A profiled training step."""
    return scope.config(size, pass_type="train", profiler="torch")


def _both(scope: Scope) -> list[RunConfig]:
    return [config for size in scope.sizes for config in (inference(scope, size), training(scope, size))]


Run: TypeAlias = Callable[[Scope, str], RunConfig]


def _measured(scope: Scope, results: Results, *runs: Run) -> tuple[list[str], list[str]]:
    """Sizes whose runs all have results, and sentences about the others. Raises UnansweredError where no size has."""
    found, lacking = [], []
    for size in scope.sizes:
        without = [one for run in runs if (one := results[run(scope, size)]).measured is None]
        if without:
            lacking.append(f"{named(without[0].config)} has no result ({outcome_of(without[0])})")
        else:
            found.append(size)
    if not found:
        for run in runs:
            results.record(run(scope, scope.sizes[0]))
    return found, lacking


# --- Q4 -----------------------------------------------------------------------------------------------------------


def _top_kernel(scope: Scope, results: Results) -> Answer:
    what = "kernel" if scope.on_gpu else "operator"
    tables: list[Table] = []
    said = []
    sizes, lacking = _measured(scope, results, inference, training)
    for size in sizes:
        forward = results[inference(scope, size)].table("kernels", "forward")
        step = results[training(scope, size)].table("kernels")
        end = f"_{size}" if len(scope.sizes) > 1 else ""
        tables += [
            _ranking(forward, f"study_forward{end}", f"Longest in forward, {size}"),
            _ranking(step, f"study_step{end}", f"Longest in a training step, {size}"),
        ]
        one, other = _longest(forward), _longest(step)
        text = (
            f"{size}: in forward {one['name']} takes most, {units.duration(one['seconds'])} a pass"
            f" ({units.percent(one['share'])}), in {one['count']:.0f} calls"
        )
        text += (
            f"; in a training step it is the same, {units.duration(other['seconds'])}"
            if one["name"] == other["name"]
            else f"; in a training step it is {other['name']}, {units.duration(other['seconds'])}"
        )
        said.append(f"{text} ({units.percent(other['share'])}), in {other['count']:.0f} calls")
    cause = (
        f"; the count says what it serves: each of the model's linear layers calls its matmul {what} once a pass, and"
        " backward two more for each"
    )
    first = inference(scope, sizes[0])
    return Answer(
        sentence="; ".join([*said, *lacking]) + cause,
        advice=f"perfkit analyze {results[first].folder or 'RUN'} --phase forward --table kernels work_layers",
        tables=tuple(tables),
    )


def _ranking(table: Table, name: str, title: str) -> Table:
    """The longest few, for a pass each; the rest as one row, so that they add up."""
    steps = table.steps.count if table.steps else 1
    frame = table.frame
    rows: list[Row] = [
        {"name": row["short_name"], "category": row["category"], "count": row["count"] / steps,
         "seconds": row["total_ns"] * 1e-9 / steps, "share": row["share"]}
        for row in frame.head(_TOP).to_dict("records")
    ]  # fmt: skip
    rest = frame.iloc[_TOP:]
    if len(rest):
        rows.append(
            {"name": f"{len(rest)} others", "category": "", "count": rest["count"].sum() / steps,
             "seconds": rest["total_ns"].sum() * 1e-9 / steps, "share": rest["share"].sum()}
        )  # fmt: skip
    columns = (
        Column("name"), Column("category"), Column("count", "", "count", "calls a pass", summed=True),
        Column("seconds", "s", "time", "time a pass", summed=True), Column("share", "1", "share", summed=True),
    )  # fmt: skip
    return replace(table_of(name, title, columns, rows), pinned=min(1, len(rest)))


def _longest(table: Table) -> Row:
    if not len(table):
        raise UnansweredError("the trace has no work in it")
    row = table.frame.sort_values("total_ns", ascending=False, kind="stable").iloc[0]
    steps = table.steps.count if table.steps else 1
    return {"name": str(row["short_name"]), "share": float(row["share"]), "count": float(row["count"]) / steps,
            "seconds": float(row["total_ns"]) * 1e-9 / steps}  # fmt: skip


TOP_KERNEL = Question(
    number=4,
    word="kernel",
    asks="Which kernel takes most device time in forward, how often does it run, and is it the same with backward?",
    needs=_both,
    answer=_top_kernel,
    on_gpu="the rows are kernels, with names of libraries' tiles, and not the operators that a CPU ran",
)

# --- Q5 -----------------------------------------------------------------------------------------------------------


def _besides(scope: Scope, results: Results) -> Answer:
    rows: list[Row] = []
    said = []
    sizes, lacking = _measured(scope, results, inference)
    for size in sizes:
        frame = results[inference(scope, size)].table(SERVING, "forward").frame
        total = frame["total_ns"].sum()
        sums = frame.groupby("category", sort=False)["total_ns"].sum().sort_values(ascending=False)
        for category, nanoseconds in sums.items():
            rows.append(
                {"size": size, "category": category, "share": nanoseconds / total, "serves": _serves(frame, category)}
            )
        others = [row for row in rows if row["size"] == size and row["category"] not in (MATMUL, HOST)]
        large = [row for row in others if row["share"] >= _NOTICEABLE]
        beside = float(sum(row["share"] for row in others))
        each = "; ".join(f"{row['category']} {units.percent(row['share'])} ({row['serves']})" for row in large)
        host = sum(row["share"] for row in rows if row["size"] == size and row["category"] == HOST)
        said.append(
            f"{size}: {units.percent(beside)} of forward is computation other than matrix multiplies:"
            f" {each or 'nothing noticeable'}"
            + (f"; {units.percent(host)} is none, but what the host does around operators" if host else "")
        )
    columns = (
        Column("size"), Column("category"), Column("share", "1", "share", "of forward"),
        Column("serves", title="the modules it serves"),
    )  # fmt: skip
    table = table_of("study_besides", "What forward does besides matrix multiplies", columns, rows)
    cause = "; such kinds of work do few operations for each byte that they move, so that memory sets their time"
    first = inference(scope, sizes[0])
    return Answer(
        sentence=". ".join(said) + cause + "".join(f". {one}" for one in lacking),
        advice=f"perfkit analyze {results[first].folder or 'RUN'} --phase forward --table roofline",
        tables=(table,),
    )


def _serves(frame: pd.DataFrame, category: object) -> str:
    """The modules with most of a kind of work: `layers.*.mlp_norm 40%, ...`."""
    own = frame[frame["category"] == category].sort_values("total_ns", ascending=False)
    total = own["total_ns"].sum()
    shares = zip(own["scope"].head(3), own["total_ns"].head(3), strict=True)
    return ", ".join(f"{scope} {nanoseconds / total:.0%}" for scope, nanoseconds in shares)


BESIDES = Question(
    number=5,
    word="besides",
    asks="What takes a noticeable share of forward besides matrix multiplies, and for which modules?",
    needs=lambda scope: [inference(scope, size) for size in scope.sizes],
    answer=_besides,
    on_gpu="matmuls are so much faster that everything that waits for memory has a larger share",
)

# --- Q6 -----------------------------------------------------------------------------------------------------------


def _mix(scope: Scope, results: Results) -> Answer:
    rows: list[Row] = []
    said = []
    for size in scope.sizes:
        one, other = results[inference(scope, size)], results[training(scope, size)]
        if one.measured is None or other.measured is None:
            rows.append({"size": size, "outcome": outcome_of(one if one.measured is None else other)})
            continue
        before, after = _shares(one.table("categories", None)), _shares(other.table("categories", None))
        names = sorted({*before, *after}, key=lambda name: -after.get(name, 0.0))
        own: list[Row] = [
            {"size": size, "category": name, "inference": before.get(name, 0.0), "training": after.get(name, 0.0),
             "change": after.get(name, 0.0) - before.get(name, 0.0), "outcome": "ok"}
            for name in names
        ]  # fmt: skip
        rows += own
        grows = max(own, key=lambda row: row["change"])
        text = (
            f"{size}: matmuls take {units.percent(before.get(MATMUL, 0.0))} of inference and"
            f" {units.percent(after.get(MATMUL, 0.0))} of a training step"
        )
        if grows["category"] != MATMUL and grows["change"] > 0:
            text += (
                f"; {grows['category']} grows most, from {units.percent(grows['inference'])} to"
                f" {units.percent(grows['training'])}"
            )
            if (serving := other.tables(SERVING, None)) is not None:
                text += f" (in training it serves {_serves(serving.frame, grows['category'])})"
        said.append(text)
    if not said:
        results.record(inference(scope, scope.sizes[0]))
        results.record(training(scope, scope.sizes[0]))
    columns = (
        Column("size"), Column("category"), Column("inference", "1", "share"), Column("training", "1", "share"),
        Column("change", "1", "share", "difference"), OUTCOME,
    )  # fmt: skip
    notes = ("inference: forward without gradients; training: forward, backward and AdamW",)
    table = table_of("study_mix", "Shares of inference and of a training step", columns, rows, notes)
    cause = (
        "; backward does two matmuls for each of forward, and the optimizer, whose time follows the parameters and not"
        " the tokens, does none"
    )
    asked = training(scope, scope.sizes[0])
    return Answer(
        sentence="; ".join(said) + cause,
        advice=f"perfkit analyze {results[asked].folder or 'RUN'} --table categories_by_phase",
        tables=(table,),
    )


def _shares(table: Table) -> dict[str, float]:
    total = table.frame["total_ns"].sum()
    return {
        str(row["category"]): float(row["total_ns"]) / total
        for row in table.frame.to_dict("records")
        if row["total_ns"] and total
    }


MIX = Question(
    number=6,
    word="mix",
    asks="How does the share of matrix multiplies change from inference to a full training step?",
    needs=_both,
    answer=_mix,
    on_gpu="shares are of device time, in which Python and launches have no part",
)

# --- Q7 -----------------------------------------------------------------------------------------------------------

_SOFTMAX, _MATMULS = "softmax", "scores and weighted sum"


def _softmax(scope: Scope, results: Results) -> Answer:
    rows: list[Row] = []
    said = []
    for size in scope.sizes:
        taken = results[inference(scope, size)]
        if taken.measured is None:
            rows.append({"size": size, "outcome": outcome_of(taken)})
            continue
        table = taken.table("attention", "forward")
        steps = table.steps.count if table.steps else 1
        all_parts: list[Row] = table.frame.to_dict("records")  # type: ignore[assignment]
        parts = {str(row["part"]): row for row in all_parts if row["phase"] == "forward"}
        if not {_SOFTMAX, _MATMULS} <= set(parts):
            raise UnansweredError(f"{size}: attention is fused, which hides its softmax: it needs --attention eager")
        base = parts[_SOFTMAX]
        for part, row in parts.items():
            rows.append(
                {"size": size, "part": part, "seconds": row["total_ns"] * 1e-9 / steps, "flops": row["flops"] / steps,
                 "bytes": row["bytes"] / steps if row["bytes"] else None, "intensity": _intensity(row),
                 "time_ratio": row["total_ns"] / base["total_ns"], "flops_ratio": row["flops"] / base["flops"],
                 "outcome": "ok"}
            )  # fmt: skip
        matmuls = parts[_MATMULS]
        time, flops = matmuls["total_ns"] / base["total_ns"], matmuls["flops"] / base["flops"]
        text = (
            f"{size}: attention's matmuls do {units.significant(flops, 3)} times the FLOPs of softmax in"
            f" {units.significant(time, 3)} times its time"
        )
        few, many = _intensity(base), _intensity(matmuls)
        if few is not None and many is not None:
            text += (
                f": softmax does {units.significant(few, 2)} FLOP for each byte that it moves, and the matmuls"
                f" {units.significant(many, 2)}"
            )
        said.append(text)
    if not said:
        results.record(inference(scope, scope.sizes[0]))
    columns = (
        Column("size"), Column("part"), Column("seconds", "s", "time", "time a pass"),
        Column("flops", "FLOP", "flops", "FLOPs a pass"), Column("bytes", "B", "bytes", "moved"),
        Column("intensity", "", "rate", "FLOP/B"), Column("time_ratio", "", "rate", "time/softmax"),
        Column("flops_ratio", "", "rate", "FLOPs/softmax"), OUTCOME,
    )  # fmt: skip
    table = table_of("study_softmax", "Softmax beside the matmuls of attention, forward", columns, rows)
    cause = "; so memory sets the time of softmax, and arithmetic that of large matmuls"
    name = inference(scope, scope.sizes[0]).workload.name
    return Answer(
        sentence=listed(said) + cause,
        advice=f"perfkit compare --run '--model-size {name} --attention eager' '--model-size {name} --attention sdpa'",
        tables=(table,),
    )


def _intensity(row: Row) -> float | None:
    """FLOPs for each byte; None where the bytes are not known."""
    return row["flops"] / row["bytes"] if row["bytes"] else None


SOFTMAX = Question(
    number=7,
    word="softmax",
    asks="Inside attention, forward: how does softmax compare with the matmuls, in time and in FLOPs?",
    needs=lambda scope: [inference(scope, size) for size in scope.sizes],
    answer=_softmax,
    on_gpu="the gap between the two ratios widens: tensor cores speed up the matmuls, and nothing speeds up softmax",
)
