"""The report of `perfkit doctor --measure-peaks`: what was measured beside what the datasheet says."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd

from perfkit.analysis.costs.hardware.lookup import hardware_of
from perfkit.analysis.findings.ceilings import unsteady
from perfkit.schema.ceilings import Ceilings, Timing
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table

_ENDS = (Column("cv", "1", "share", "CV"), Column("samples", "", "count"))


def report(ceilings: Ceilings) -> Report:
    """Peaks of matrix products and of copies; beside the datasheet's, where the device is a known one."""
    known = hardware_of(ceilings.device_name, ceilings.device_memory, ceilings.multiprocessors)
    printed = {} if known is None else {precision: peak.flops_per_s for precision, peak in known.peaks.items()}
    products = [{"precision": of, **_row(timing, printed.get(of))} for of, timing in ceilings.matmul.items()]
    bandwidth = known.bandwidth if known else None
    copies = [_row(ceilings.copy, bandwidth.bytes_per_s if bandwidth else None)]
    notes = [f"{precision} was not measured: {why}" for precision, why in ceilings.skipped.items()]
    if known is None and ceilings.threads is None:
        notes.append("perfkit knows no datasheet of this device (docs/hardware.md)")
    where = f"{ceilings.device_name}, {ceilings.threads} threads" if ceilings.threads else ceilings.device_name
    first, size = Column("precision"), Column("size", "", "count", "n")
    tables = (
        _table(
            "matrix_products", f"Matrix products on {where}", (first, *_beside("FLOP/s", known), size), products, notes
        ),
        _table("copies", "Copies within its memory", (*_beside("B/s", known), Column("size", "B", "bytes")), copies),
    )
    finding = unsteady(ceilings)
    return Report(f"peaks of {where}", {}, tables, findings=() if finding is None else (finding,))


def _beside(unit: str, known: object) -> tuple[Column, ...]:
    """Columns of a rate, and of the datasheet's where there is one."""
    measured = Column("measured_per_s", "/s", "rate", f"measured {unit}")
    datasheet = Column("datasheet_per_s", "/s", "rate", f"datasheet {unit}")
    return (measured,) if known is None else (measured, datasheet, Column("share", "1", "share", "of datasheet"))


def _row(timing: Timing, printed: float | None) -> dict[str, object]:
    rate, datasheet = timing.per_second, math.nan if printed is None else printed
    return {
        "measured_per_s": rate, "datasheet_per_s": datasheet, "share": rate / datasheet, "size": timing.size,
        "cv": timing.cv, "samples": len(timing.samples_s),
    }  # fmt: skip


def _table(
    name: str, title: str, columns: tuple[Column, ...], rows: list[dict[str, object]], notes: Iterable[str] = ()
) -> Table:
    every = (*columns, *_ENDS)
    frame = pd.DataFrame(rows, columns=[column.name for column in every])
    return Table(name, title, every, frame, tuple(notes), pinned=len(frame))
