"""The wall table against the plain reference: on random traces made for it, and on every trace of the corpus."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from perfkit.analysis.attribution.attribute import Attribution, attribute
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.time.account import Selection, account_for
from perfkit.analysis.time.idle.tables import wall_table
from perfkit.analysis.time.steps import step_table
from perfkit.trace.columns import DeviceKind, HostKind, Trace
from perfkit.trace.load import load
from tests.builders import TraceBuilder
from tests.reference import random_traces, wall_reference
from tests.reference.wall_reference import Rows, Step

CORPUS = os.environ.get("PERFKIT_TRACE_CORPUS")
FILES = sorted(Path(CORPUS).glob("*/*.json.gz")) + sorted(Path(CORPUS).glob("*/*.sqlite")) if CORPUS else []


def rows_of(trace: Trace, attribution: Attribution) -> Rows:
    frame = wall_table(account_for(trace, attribution, Selection(steps="all")).partial).frame
    keys = zip(frame["device"], frame["step"].astype(object), frame["kind"], frame["cause"], strict=True)
    clean = [(device, step if isinstance(step, int) else None, kind, cause) for device, step, kind, cause in keys]
    return dict(zip(clean, frame["total_ns"].tolist(), strict=True))


def expected(trace: Trace, attribution: Attribution) -> Rows:
    rows = attribution.host.forest.order[attribution.events.launch].tolist() if len(trace.host) else []
    launch = attribution.events.launch.tolist()
    hosts = (
        [None if call == NONE else row for call, row in zip(launch, rows, strict=True)]
        if rows
        else [None] * len(launch)
    )
    steps = [Step(n, step.start, step.end, step.thread) for n, step in enumerate(attribution.steps)]
    return wall_reference.wall(trace, hosts, steps)


def made(seed: int) -> Trace:
    """A few threads that launch, wait and load, for one or two devices, with or without steps; times often coincide."""
    rng = random.Random(seed)
    b, time = TraceBuilder(), 0
    with_steps, threads, devices = rng.random() < 0.7, rng.choice((1, 1, 2)), rng.choice((1, 1, 2))
    free = dict.fromkeys(range(3), 0)
    correlation = 0
    for step in range(rng.randint(1, 4)):
        begin = time = time + rng.choice((0, 5, 20))
        for _ in range(rng.randint(0, 12)):
            thread, length = rng.randrange(threads), rng.randint(1, 12)
            match rng.choice(("launch", "launch", "launch", "sync", "copy", "load", "wait", "work", "lost", "graph")):
                case "launch" | "graph" as what:
                    correlation += 1
                    name = "cudaGraphLaunch" if what == "graph" else "cudaLaunchKernel"
                    b.range(name, time, time + 1, HostKind.RUNTIME, thread=thread, correlation=correlation)
                    for _ in range(3 if what == "graph" else 1):
                        stream = rng.randrange(3)
                        start = max(free[stream], time + rng.choice((0, 1, 3))) + rng.choice((0, 0, 2))
                        free[stream] = start + rng.choice((0, length, length * 3))
                        work = rng.choice(("gemm", "ncclDevKernel_AllReduce", "relu"))
                        b.event(work, start, free[stream], correlation=correlation, stream=stream,
                                device=rng.randrange(devices))  # fmt: skip
                    time += 1
                case "sync":
                    end = max(time + 1, max(free.values()) + rng.choice((-2, 0, 3)))
                    b.range("cudaStreamSynchronize", time, end, HostKind.RUNTIME, thread=thread)
                    time = end if rng.random() < 0.8 else time + 1
                case "copy":
                    correlation += 1
                    start = max(free[0], time)
                    free[0] = start + length
                    end = free[0] + rng.choice((-1, 0, 2))
                    b.range("cudaMemcpyAsync", time, max(end, time), HostKind.RUNTIME, thread=thread,
                            correlation=correlation)  # fmt: skip
                    b.event("Memcpy DtoH (Device -> Pageable)", start, free[0], DeviceKind.MEMCPY, stream=0,
                            correlation=correlation)  # fmt: skip
                    time = max(end, time) + 1
                case "load":
                    b.annotation("enumerate(DataLoader)#Iter.__next__", time, time + length, thread=thread)
                    time += rng.choice((1, length))
                case "wait":
                    b.range("cudaStreamWaitEvent", time, time + 1, HostKind.RUNTIME, thread=thread)
                    time += 1
                case "work":
                    b.range("aten::mm", time, time + length, thread=thread)
                    time += length
                case "lost":
                    start = max(free[2], time)
                    free[2] = start + length
                    b.event("lost", start, free[2], stream=2)
        time += rng.choice((1, 10))
        if with_steps:
            b.step(step, begin, time)
    return b.build()


@pytest.mark.parametrize("seed", range(400))
def test_random_traces(seed: int) -> None:
    """GIVEN threads that launch, wait and load at random WHEN their wall time is told THEN as the reference tells it"""
    trace = made(seed)
    if len(trace.device):
        attribution = attribute(trace)
        assert rows_of(trace, attribution) == expected(trace, attribution)


@pytest.mark.parametrize("seed", range(25))
def test_random_recordings(tmp_path: Path, seed: int) -> None:
    random_traces.write_json(random_traces.generate(seed), tmp_path / "t.json")
    trace = load(tmp_path / "t.json")
    if len(trace.device):
        attribution = attribute(trace)
        assert rows_of(trace, attribution) == expected(trace, attribution)


@pytest.mark.corpus
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_corpus(path: Path) -> None:
    trace = load(path)
    attribution = attribute(trace)
    if not len(trace.device):
        assert len(wall_table(account_for(trace, attribution).partial)) == 0
        return
    assert rows_of(trace, attribution) == expected(trace, attribution)


def assert_closes(trace: Trace, attribution: Attribution) -> None:
    """Each step's rows add up to its wall time, for each device; the others to the rest of the device's span.

    Busy and idle time are those of the table `steps`, which is computed by another way.
    """
    rows = rows_of(trace, attribution)
    steps = step_table(account_for(trace, attribution, Selection(steps="all")).partial).frame
    for number, label, busy, idle in steps[["step", "device", "busy_ns", "idle_ns"]].itertuples(index=False):
        here = {(kind, cause): ns for (of, at, kind, cause), ns in rows.items() if (of, at) == (label, number)}
        assert sum(ns for (kind, _), ns in here.items() if kind == "idle") == idle
        assert sum(ns for (kind, _), ns in here.items() if kind != "idle") == busy
    for device in set(trace.device.device.tolist()):
        label, on = trace.device_label(device), trace.device.device == device
        total: dict[int | None, int] = dict.fromkeys((None, *range(len(attribution.steps))), 0)
        for (of, step, _, _), ns in rows.items():
            total[step] += ns if of == label else 0
        for number, profiled in enumerate(attribution.steps):
            assert total[number] == profiled.end - profiled.start
        first, last = int(trace.device.start[on].min()), int(trace.device.end[on].max())
        inside = sum(max(min(last, step.end) - max(first, step.start), 0) for step in attribution.steps)
        assert total[None] == last - first - inside


@pytest.mark.corpus
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_trace_closes_to_the_nanosecond(path: Path) -> None:
    trace = load(path)
    if len(trace.device):
        assert_closes(trace, attribute(trace))


@pytest.mark.parametrize("seed", range(400, 450))
def test_random_traces_close(seed: int) -> None:
    trace = made(seed)
    if len(trace.device):
        assert_closes(trace, attribute(trace))
