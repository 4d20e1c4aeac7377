"""An account -> a file for Perfetto: protobuf, or Chrome's JSON. It is written piece by piece, never held."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from isal import igzip

from perfkit.analysis.time.account import Account
from perfkit.export.perfetto import bands, counters, idle, markers, recorded
from perfkit.export.perfetto.chrome import ChromeWriter
from perfkit.export.perfetto.counters import Counter
from perfkit.export.perfetto.protobuf import ProtobufWriter
from perfkit.export.perfetto.tracks import Output, Track, Writer
from perfkit.schema.finding import Finding
from perfkit.trace.columns import MISSING
from perfkit.trace.detail_columns import Details


def export(
    account: Account, findings: Sequence[Finding], details: Details | None, file: IO[bytes], name: str | Path
) -> None:
    """Write the recording and what perfkit says of it.

    The name chooses the format: JSON for `.json`, else protobuf; compressed for either with `.gz` behind it. `details`
    are the file's own counters and memory, None where they are not to be had.
    """
    is_packed = str(name).lower().endswith(".gz")
    is_json = str(name).lower().removesuffix(".gz").endswith(".json")
    with contextlib.ExitStack() as closing:
        out: Output = file
        if is_packed:  # without a time, so that equal traces give equal files
            packed = igzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0)  # type: ignore[no-untyped-call]
            out = closing.enter_context(packed)
        first, unix_ns = _first(account), account.trace.facts.base_time_ns
        writer: Writer = ChromeWriter(out, first, unix_ns) if is_json else ProtobufWriter(out, max(0, -first), unix_ns)
        write(writer, account, findings, details)
        writer.close()


def _first(account: Account) -> int:
    times = (account.trace.host.start, account.trace.device.start)
    return min((int(column.min()) for column in times if len(column)), default=0)


def write(writer: Writer, account: Account, findings: Sequence[Finding], details: Details | None) -> None:
    """All tracks: findings, each device with its bands, gaps, counters and streams, and the threads."""
    if findings:
        group = writer.group("Findings")
        for place, finding in enumerate(findings):
            marks = markers.marker(account, finding)
            writer.slices(group, markers.name_of(finding), place, marks, nests=False)
    levels = bands.Levels(account)
    values = [*(counters.derived(account) if account.on_device else ()), *_of_file(details)]
    devices = np.unique(account.trace.device.device).tolist()
    for index, number in enumerate(devices):
        _device(writer, account, levels, index, [counter for counter in values if counter.device == number])
    if others := [counter for counter in values if counter.device not in devices]:
        group = writer.group("Counters", rank=500)
        _counters(writer, group, others)
    if not account.on_device and len(account):
        group = writer.group("Layers and phases", rank=600)
        writer.slices(group, "main thread", 0, bands.on_host(account, levels), nests=True)
    recorded.host(writer, account)


def _of_file(details: Details | None) -> Iterable[Counter]:
    return () if details is None else (*counters.memory(details.memory), *counters.recorded(details.counters))


def _counters(writer: Writer, group: Track, values: Iterable[Counter]) -> None:
    for counter in values:
        name = counter.name if counter.device == MISSING else f"{counter.name}, device {counter.device}"
        writer.counter(group, name, 1, counter.unit, counter.time, counter.value)


def _device(writer: Writer, account: Account, levels: bands.Levels, index: int, values: Iterable[Counter]) -> None:
    label, events = account.device_labels[index], account.trace.device
    number = np.unique(events.device)[index]
    named = [device.name for device in account.trace.recording.devices if str(device.index) == label and device.name]
    group = writer.group(f"Device {label}" + "".join(f" ({name})" for name in named), rank=100 + index)
    writer.slices(group, "idle, by cause", 0, idle.gaps(account, index), nests=False)
    _counters(writer, group, values)
    here = events.device == number
    for place, stream in enumerate(np.unique(events.stream[here]).tolist()):
        on_stream = here & (events.stream == stream)
        counted = np.flatnonzero(on_stream[account.row])
        if len(counted):
            band = bands.on_stream(account, levels, counted)
            writer.slices(group, f"layers and phases, stream {stream}", 2 * place + 2, band, nests=True)
        work = recorded.device(account, np.flatnonzero(on_stream))
        writer.slices(group, f"stream {stream}", 2 * place + 3, work, nests=False)
