"""Hand-built cases for performance rules: operators one after the other, with or without a device."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.findings.performance import catalogue
from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.time.account import account_for
from perfkit.analysis.time.summary import summary
from perfkit.schema.finding import Finding
from perfkit.trace.columns import MISSING, Arguments, HostKind, Trace
from perfkit.trace.detail_columns import (
    Details,
    LaunchGeometry,
    Operands,
    no_calls,
    no_counters,
    no_memory_events,
    no_operands,
)
from perfkit.trace.details import read_details
from tests.builders import TraceBuilder

US, MS = 1_000, 1_000_000


def case_of(builder: TraceBuilder | Trace, details: Details | None = None) -> Case:
    """What rules may look at; `details` are what a second pass over the file would give, if it is one made by hand."""
    trace = builder if isinstance(builder, Trace) else builder.build()
    if details is not None:
        trace = _with_arguments(trace, details.operands)
    account = account_for(trace, attribute(trace))

    def read(_: Trace) -> Details:
        assert details is not None, "no rule reads details without need"
        return details

    return Case(account, summary(account.partial), read_details if trace.origin else read)


def found(find: Callable[[Case], Finding | None], builder: TraceBuilder | Trace, details: Details | None = None) -> Any:
    """What one rule's function finds. Findings must obey the promises that all have."""
    finding = find(case_of(builder, details))
    if finding is not None:
        assert finding.rule.topic == "performance"
        assert finding.what
        assert finding.advice
        assert finding.cost.ns is None or finding.cost.ns >= 0
    return finding


def rules_of(builder: TraceBuilder | Trace) -> list[str]:
    """The rules that speak, in the order of their findings."""
    return [finding.rule.id for finding in catalogue.findings(case_of(builder))]


def operators(
    b: TraceBuilder,
    names: Sequence[str],
    begin: int,
    each: int = 10,
    *,
    sequence: int | None = None,
    on_device: bool = False,
    **columns: Any,
) -> int:
    """Add outermost operators one after the other, and kernels of the same length if wanted; where the last ends.

    `a>b` is operator b inside operator a. With `sequence` the operators count their sequence numbers from it.
    """
    for number, name in enumerate(names):
        numbered: dict[str, Any] = {} if sequence is None else {"sequence": sequence + number}
        outer, *inner = name.split(">")
        b.range(f"aten::{outer}", begin, begin + each, **numbered, **columns)
        for one in inner:
            b.range(f"aten::{one}", begin + 1, begin + each, **columns)
        if on_device:
            b.launched(f"{name}_kernel", begin + 2, 1_000_000 + begin, 1_000_000 + begin + each)
        begin += each
    return begin


def nodes(b: TraceBuilder, names: Sequence[str], begin: int, sequence: int, each: int = 10) -> int:
    """Add backward nodes of forward operators that count their numbers from `sequence`, the last first."""
    for number, name in reversed(list(enumerate(names))):
        b.node(f"{name}Backward0", begin, begin + each, sequence + number)
        b.range(f"aten::{name}_backward", begin + 1, begin + each)
        begin += each + 2
    return begin


def _with_arguments(trace: Trace, operands: Operands) -> Trace:
    """The trace with these shapes and types, as the reader keeps them."""
    if not operands.all_shapes:
        return trace
    said = zip(operands.all_shapes, operands.all_dtypes, strict=True)
    arguments = tuple(Arguments(json.dumps(shapes), json.dumps(dtypes), "", "") for shapes, dtypes in said)
    return dataclasses.replace(
        trace, host=dataclasses.replace(trace.host, arguments=operands.shapes), arguments=arguments
    )


def sibling(trace: Trace, **columns: Any) -> Trace:
    """The trace with another recording."""
    return dataclasses.replace(trace, recording=dataclasses.replace(trace.recording, **columns))


def shapes(rows: int, of: Mapping[int, tuple[tuple[Any, ...], tuple[str, ...]]]) -> Details:
    """Details of a trace with this many host ranges: row in the trace -> shapes and types of its arguments."""
    shape, dtype = np.full(rows, MISSING, np.int32), np.full(rows, MISSING, np.int32)
    for number, row in enumerate(of):
        shape[row] = dtype[row] = number
    nothing = np.full(rows, MISSING, np.int32)
    said = tuple(of.values())
    operands = Operands(
        shape, dtype, nothing, nothing, tuple(one for one, _ in said), tuple(one for _, one in said), (), ()
    )
    return _details(rows, operands, _geometry([]))


def launches(rows: int, geometry: Sequence[tuple[int, int, int, int]]) -> Details:
    """Details of a trace with this many host ranges: blocks, threads, registers and shared memory of each event."""
    return _details(rows, no_operands(rows), _geometry(geometry))


def _details(rows: int, operands: Operands, geometry: LaunchGeometry) -> Details:
    return Details(operands, no_calls(rows), geometry, no_counters(), no_memory_events())


def _geometry(of: Sequence[tuple[int, int, int, int]]) -> LaunchGeometry:
    table = np.array(of, np.int32).reshape(-1, 4)
    ones = np.ones(len(table), np.int32)
    return LaunchGeometry(
        grid=np.stack((table[:, 0], ones, ones), axis=1),
        block=np.stack((table[:, 1], ones, ones), axis=1),
        registers=table[:, 2],
        shared_memory=table[:, 3],
        static_shared_memory=table[:, 3],
        dynamic_shared_memory=table[:, 3] * 0,
        occupancy=ones,
    )


def call(b: TraceBuilder, name: str, start: int, end: int, **columns: Any) -> TraceBuilder:
    """Add a call into the driver."""
    return b.range(name, start, end, HostKind.RUNTIME, **columns)
