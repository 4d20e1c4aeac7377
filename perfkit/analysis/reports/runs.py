"""The runs of a folder, a row each: to choose one, or to see how they went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from perfkit.analysis.reports.run import result_table
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.record import RunRecord
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table

NAME = "runs"
RUNS = Rule("runs", "run", "a folder holds runs of several configurations, a row each", read="first")
_READ = ("size", "context_length", "batch_size", "pass_type", "precision", "steps", "mean_s", "cv", "tokens_per_s",
         "peak_memory_bytes", "status")  # fmt: skip
"""Columns for people too; scripts get all that a table of runs has."""
_SPARE = ("context_length", "batch_size", "precision", "peak_memory_bytes")


def report(title: str, runs: Sequence[tuple[str, RunRecord]], with_several: Sequence[str] = ()) -> Report:
    """A row for each (folder, record), in their order. `with_several`: folders beside them with runs of their own."""
    table = result_table([record for _, record in runs])
    frame = table.frame.assign(run=[name for name, _ in runs])
    frame["profiler"] = [record.config.measurement.profiler for _, record in runs]
    measured = tuple(
        replace(column, spare=column.name in _SPARE) if column.name in _READ else replace(column, audience="scripts")
        for column in table.columns
    )
    columns = (Column("run", whole=True), *measured[:-1], Column("profiler"), measured[-1])
    text = f"{len(runs)} runs, a row each: name one of them to see more"
    if with_several:
        text += f", or a folder with runs of its own: {', '.join(with_several)}"
    return Report(title, {"runs": len(runs)}, (Table(NAME, "Runs", columns, frame),), findings=[Finding(RUNS, text)])
