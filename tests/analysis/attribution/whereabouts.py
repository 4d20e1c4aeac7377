"""Where the ranges of a small trace belong, by name: for tests of scopes, paths and trees."""

from __future__ import annotations

from perfkit.analysis.attribution.attribute import Attribution, attribute
from perfkit.analysis.attribution.scopes import How
from perfkit.trace.columns import HostKind
from tests.builders import TraceBuilder


def attributed(b: TraceBuilder, **options) -> Attribution:
    return attribute(b.build(), **options)


def where(found: Attribution) -> dict[str, str]:
    """Host range -> scope; of ranges that come again, the last."""
    names = found.path_names(found.ranges.path, found.ranges.phase)
    return {found.host.name_of(row): str(name) for row, name in enumerate(names)}


def how(found: Attribution) -> dict[str, str]:
    return {found.host.name_of(row): How(value).name for row, value in enumerate(found.ranges.how)}


def node(b: TraceBuilder, name: str, start: int, end: int, sequence: int) -> TraceBuilder:
    return b.range(name, start, end, sequence=sequence, forward_thread=1)


def frames(*names: str) -> TraceBuilder:
    b = TraceBuilder()
    for level, name in enumerate(names):
        b.range(f"nn.Module: {name}", level, 100 - level, HostKind.PYTHON)
    return b.range("work", 50, 51)
