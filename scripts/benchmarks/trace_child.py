"""One piece of work on a trace file in a process of its own: `trace_child.py WORK FILE`; prints JSON.

bound    unpacking and JSON scanning alone: no reader of this file can be faster
load     the reader: file to columns
cached   the reader twice, through the cache of parsed traces (which the caller puts somewhere)
kernels  load, attribution, and the kernel table alone
summary  load of the kernels alone, and the table kernel_summary, which is compared with HolisticTraceAnalysis's
report   load, attribution, and every table of `perfkit analyze`

CPU seconds leave out Python's start and the imports, and have those of worker processes.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.benchmarks.measuring import BenchError

SCAN_CHUNK = 512 * 1024


def _cpu_s() -> float:
    """CPU seconds of this process and of the workers that it has waited for: those of the reader."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


class _Laps:
    """Measures CPU seconds by name."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}
        self._last = _cpu_s()

    def done(self, name: str) -> None:
        now = _cpu_s()
        self.times[name] = now - self._last
        self._last = now


def bound(path: Path) -> dict[str, Any]:
    import msgspec  # noqa: PLC0415  # each work imports only what it needs, so that its peak memory is its own
    from isal import igzip  # noqa: PLC0415

    laps = _Laps()
    opened = igzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as file:
        data: bytes = file.read()
    laps.done("unpack_s")
    msgspec.json.decode(data, type=msgspec.Raw)
    laps.done("scan_s")
    return laps.times | {"bytes": len(data)}


def load(path: Path) -> dict[str, Any]:
    from perfkit.trace import load as reader  # noqa: PLC0415

    laps = _Laps()
    trace = reader.load(path, use_cache=False)
    laps.done("load_s")
    return laps.times | {"events": trace.facts.events, "kernels": int((trace.device.kind == 0).sum())}


def cached(path: Path) -> dict[str, Any]:
    from perfkit.trace import load as reader  # noqa: PLC0415

    laps = _Laps()
    reader.load(path)
    laps.done("first_s")
    trace = reader.load(path)
    laps.done("second_s")
    return laps.times | {"events": trace.facts.events}


def kernels(path: Path) -> dict[str, Any]:
    from perfkit.analysis.attribution.attribute import attribute  # noqa: PLC0415
    from perfkit.analysis.time import breakdown  # noqa: PLC0415
    from perfkit.analysis.time.account import Selection, account_for  # noqa: PLC0415
    from perfkit.trace import load as reader  # noqa: PLC0415

    laps = _Laps()
    trace = reader.load(path, use_cache=False)
    laps.done("load_s")
    attribution = attribute(trace)
    laps.done("attribute_s")
    table = breakdown.kernel_table(account_for(trace, attribution, Selection()).partial)
    laps.done("table_s")
    return laps.times | {"total_ns": int(table.frame["total_ns"].sum()), "events": trace.facts.events}


def summary(path: Path) -> dict[str, Any]:
    from perfkit.analysis.reports import kernels as kernel_summary  # noqa: PLC0415
    from perfkit.trace import load as reader  # noqa: PLC0415
    from perfkit.trace.columns import Content  # noqa: PLC0415

    laps = _Laps()
    trace = reader.load(path, use_cache=False, content=Content.KERNELS)
    laps.done("load_s")
    table = kernel_summary.table(trace)
    laps.done("table_s")
    return laps.times | {"total_ns": int(table.frame["total_ns"].sum()), "events": trace.facts.events}


def report(path: Path) -> dict[str, Any]:
    from perfkit.analysis.reports import trace as trace_report  # noqa: PLC0415
    from perfkit.trace import load as reader  # noqa: PLC0415

    laps = _Laps()
    trace = reader.load(path, use_cache=False)
    laps.done("load_s")
    made = trace_report.report(trace)
    scalars, _, _ = made.summary, made.tables, made.findings  # computed when they are read
    laps.done("report_s")
    facts = {key: scalars[key] for key in ("kernels", "kernel_time_ns", "backward_nodes_linked")}
    return laps.times | facts | {"events": trace.facts.events, "host_rows": len(trace.host)}


WORK: dict[str, Callable[[Path], dict[str, Any]]] = {
    "bound": bound,
    "load": load,
    "cached": cached,
    "kernels": kernels,
    "summary": summary,
    "report": report,
}


def main() -> int:
    name, path = sys.argv[1:3]
    if name not in WORK:
        raise BenchError(f"{name}: choose from {', '.join(WORK)}")
    print(json.dumps(WORK[name](Path(path))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
