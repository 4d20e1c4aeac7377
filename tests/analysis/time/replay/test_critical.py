"""The critical path: what is on it, how long, and that it adds up."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.time.replay.critical import Path, PathKind, innermost, paths
from perfkit.analysis.time.replay.graph import graph_of
from perfkit.analysis.time.replay.replay import Replayed, replay
from perfkit.trace.columns import HostKind, Trace
from perfkit.trace.load import load
from tests.analysis.time.replay.test_replay import backward, device_bound, graph, host_bound
from tests.builders import TraceBuilder
from tests.corpus import corpus_file
from tests.reference import random_traces
from tests.reference.machine import Machine, program


def parts(base: Replayed, path: Path) -> dict[tuple[str, str], int]:
    """ns by kind, and by the name of the event or of the innermost range."""
    trace, host = base.graph.trace, base.graph.attribution.host
    found: Counter[tuple[str, str]] = Counter()
    for kind, event, row, ns in zip(path.kind, path.event, path.row, path.ns.tolist(), strict=True):
        name = trace.names[trace.device.name[event]] if event >= 0 else host.name_of(int(row)) if row >= 0 else ""
        found[PathKind(kind).label, name] += ns
    return dict(found)


def assert_adds_up(base: Replayed) -> None:
    assert [int(path.ns.sum()) for path in paths(base)] == base.pace.tolist()


def test_a_step_that_the_host_paces():
    """GIVEN operators from 0 to 40 and 40 to 90 of a step of 100 ns, with a launch of 1 ns each THEN they are it"""
    base = replay(graph(host_bound()))
    [path] = paths(base)
    expected = {"aten::a": 39, "aten::b": 49, "cudaLaunchKernel": 2, "ProfilerStep#0": 10}
    assert parts(base, path) == {("host", name): ns for name, ns in expected.items()}


def test_a_step_that_the_device_paces():
    """GIVEN a kernel of 50 ns, another of 35, and a wait for them THEN the path is the launch, both, and the end"""
    base = replay(graph(device_bound()))
    [path] = paths(base)
    assert parts(base, path) == {
        ("host", "ProfilerStep#0"): 4,  # one before the launch, three after the wait
        ("host", "cudaLaunchKernel"): 1,
        ("launch latency", "long"): 8,
        ("device", "long"): 50,
        ("device", "second"): 35,
        ("return of a wait", "cudaDeviceSynchronize"): 2,
    }
    assert np.array_equal(path.end[1:], path.start[:-1])


def test_two_threads():
    """GIVEN a main thread that waits in backward THEN the path goes over to the other thread and back"""
    base = replay(graph(backward()))
    [path] = paths(base)
    found = parts(base, path)
    assert found["host", "aten::forward"] == 25
    assert found["host", "aten::gradient"] == 18
    assert found["host", "aten::adam"] == 15
    assert sum(found.values()) == 100


def test_work_from_before_the_recording():
    """GIVEN a step that waits for work without a launch THEN that is told apart"""
    b = TraceBuilder().step(0, 0, 100).event("before", 20, 60).launched("k", 5, 60, 80)
    b.launched("free", 7, 9, 10, stream=20)  # an example of a launch
    base = replay(graph(b.range("cudaDeviceSynchronize", 10, 82, HostKind.RUNTIME)))
    [path] = paths(base)
    assert parts(base, path)["before the recording", ""] == 20
    assert int(path.ns.sum()) == 100


def test_innermost_ranges():
    """GIVEN nested, touching and crossing ranges THEN each instant goes to the one that began last and is still open"""
    b = TraceBuilder().range("outer", 0, 100).range("a", 10, 30).range("b", 30, 60).range("inner", 35, 40)
    b.range("crossing", 50, 70).range("other", 0, 200, thread=1)
    trace = b.build()
    attribution = attribute(trace)
    row, ns = innermost(attribution, 0, 5, 120)
    named = [(attribution.host.name_of(int(r)) if r >= 0 else "", int(n)) for r, n in zip(row, ns, strict=True)]
    told = [("outer", 5), ("a", 20), ("b", 5), ("inner", 5), ("b", 10), ("crossing", 10), ("crossing", 10),
            ("outer", 30), ("", 20)]  # fmt: skip
    assert named[::-1] == told


@given(seed=st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_it_adds_up_on_what_a_machine_did(seed):
    machine = Machine()
    machine.run(program(random.Random(seed)))
    assert_adds_up(replay(graph(machine.trace)))


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_it_adds_up_on_random_traces(tmp_path_factory, seed):
    """GIVEN traces whose times contradict each other in many ways THEN the path still adds up to each step's pace"""
    path = tmp_path_factory.mktemp("random") / "t.json"
    random_traces.write_json(random_traces.generate(seed), path)
    trace: Trace = load(path)
    assert_adds_up(replay(graph_of(trace, attribute(trace))))


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "host", "device"),
    [
        ("v100_training", 0.01, 0.98),  # the queue is full: the device sets the pace
        ("a100_ddp_training", 1.0, 0.0),  # the device is idle 76%: the host does
        ("mi300_resnet_checkpoint_training", 0.0, 0.97),
        ("h100_qwen_0.5b_inference", 0.07, 0.89),
        ("h100_bert_small_inference", 1.0, 0.0),
        ("resnet50_torch18_workers0", 0.93, 0.07),
    ],
)
def test_what_sets_the_pace_of_real_traces(name, host, device):
    base = replay(graph(load(corpus_file(f"kineto/{name}.json.gz"))))
    assert_adds_up(base)
    total: Counter[int] = Counter()
    for path in paths(base):
        for kind, ns in zip(path.kind.tolist(), path.ns.tolist(), strict=True):
            total[kind] += ns
    whole = sum(total.values())
    assert total[PathKind.HOST] / whole == pytest.approx(host, abs=0.01)
    assert total[PathKind.DEVICE] / whole == pytest.approx(device, abs=0.01)
