"""Convert Kineto's trace files (Chrome's JSON trace format) to a Trace: streaming, exact, tolerant of damage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import closing

from perfkit.errors import UsageError
from perfkit.trace.chrome.columns import ColumnBuilder
from perfkit.trace.chrome.document import CHUNK, Document
from perfkit.trace.chrome.old_ranges import OLD_CATEGORY, with_annotations
from perfkit.trace.chrome.recording import integer, recording
from perfkit.trace.chrome.window import Window
from perfkit.trace.chrome.workers import SharedColumns
from perfkit.trace.columns import AutogradFlows, Content, DeviceEvents, HostRanges, ReadFacts, Trace
from perfkit.trace.plausible import check_sums, sums


def read_chrome_json(
    pieces: Iterable[bytes],
    source: str,
    *,
    chunk: int = CHUNK,
    repairs: Counter[str] | None = None,
    content: Content = Content.ALL,
    workers: int = 0,
    size: int = 0,
    floats: bool = False,
) -> Trace:
    """Read a trace from pieces of its text. `source` names it in messages; `repairs` counts what unpacking mended.

    Content.KERNELS leaves out everything but kernels, which takes less work and memory. With `workers`, that many
    processes decode most of a large text, from the beginning where `size`, the file's bytes, says that it is one;
    DoubtfulError then says to read it again without them. Kernels alone are read by one process, which does the least
    work. With `floats`, which takes less time unless kernels alone are wanted, RoundedError says that a time has more
    than three decimals: read it again without.
    Raises UsageError where the text is not a trace or holds nothing to analyse.
    """
    columns = ColumnBuilder(content=content, floats=floats and content is Content.ALL)
    if workers and content is Content.ALL:
        columns = SharedColumns(workers, size=size, floats=floats)
    with closing(columns):
        return _read(Window(pieces, chunk), source, columns, Counter() if repairs is None else repairs, content)


def _read(window: Window, source: str, columns: ColumnBuilder, repairs: Counter[str], content: Content) -> Trace:
    document = Document(window, source, columns)
    document.read()
    columns.finish()
    if not document.has_events and document.truncated_at is None:
        raise UsageError(
            f"{source} is JSON without traceEvents: pass a trace that torch.profiler wrote (prof.export_chrome_trace)"
        )
    host, device = columns.take(HostRanges), columns.take(DeviceEvents)
    if not len(host) and not len(device) and not (content is Content.KERNELS and columns.events):
        raise UsageError(f"{source} {_nothing_found(document.truncated_at, columns.ignored)}")
    names = columns.names()
    trace = Trace(
        source=source,
        names=names,
        threads=columns.threads(),
        host=with_annotations(host, names, any_name=columns.has(OLD_CATEGORY)),
        device=device,
        flows=columns.take(AutogradFlows),
        recording=recording(document.members),
        facts=ReadFacts(
            events=columns.events,
            ignored=columns.ignored,
            unknown=columns.unknown,
            repairs=dict(document.repairs + repairs),
            truncated_at=document.truncated_at,
            resolution_ns=columns.resolution_ns,
            negative_durations=columns.negative_durations,
            overhead_ns=columns.overhead_ns,
            base_time_ns=integer(document.members.get("baseTimeNanoseconds")),
        ),
        devices=columns.identified().devices,
        arguments=columns.arguments(),
    )
    check_sums(source, sums(trace))
    return trace


def _nothing_found(truncated_at: int | None, ignored: dict[str, int]) -> str:
    if truncated_at is not None:
        return f"is cut off at byte {truncated_at:,}, before any whole event: copy or record it again"
    if not ignored:
        return "holds no events: the profiler recorded no step; call prof.step() and check its schedule"
    if "Trace" in ignored:  # torch.profiler's own mark round a recording
        return "holds nothing that was recorded: export it while a step of the profiler's schedule is active"
    others = ", ".join(f"{n} {category}" for category, n in sorted(ignored.items())[:4])
    return f"holds no operator, range, runtime call or kernel, only {others}: record with torch.profiler"
