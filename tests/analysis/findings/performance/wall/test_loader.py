"""Steps that wait for a data loader."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.wall.loader import data_loader
from perfkit.trace.columns import HostKind
from tests.analysis.findings.performance.cases import MS, US, found, operators
from tests.builders import TraceBuilder

SINGLE = "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"
WORKERS = "enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__"


def loading(*times: int, name: str = SINGLE, kind: HostKind = HostKind.ANNOTATION) -> TraceBuilder:
    """Steps of 1 ms that begin with a loader's range of these lengths, ns, without a device."""
    b = TraceBuilder()
    for number, time in enumerate(times):
        b.step(number, number * MS, (number + 1) * MS).range(name, number * MS, number * MS + time, kind)
        operators(b, ["mm"], number * MS + 900 * US, 10)
    return b


def test_a_loader_in_the_step():
    """GIVEN 100 and 300 us of two steps of 1 ms in a loader THEN a step waits for 200 us"""
    finding = found(data_loader, loading(100 * US, 300 * US))
    assert (finding.cost.ns, finding.cost.share) == (200 * US, 0.2)
    assert "the step waits for 200.0 us a step (20.0%)" in finding.what
    assert "num_workers" in finding.advice


@pytest.mark.parametrize(
    ("time", "name", "said"),
    [(50 * US, SINGLE, True), (50 * US - 1, SINGLE, False), (100 * US, WORKERS, True), (100 * US - 1, WORKERS, False)],
)
def test_the_least_share(time, name, said):
    """GIVEN one step of 1 ms THEN a loader in the same process is a finding from 5% on, one with workers from 10%"""
    assert (found(data_loader, loading(time, name=name)) is not None) == said


@pytest.mark.parametrize("first", [800 * US, 0])
def test_the_first_step_counts_as_the_others(first):
    """GIVEN a first step that starts workers, or of which nobody knows, and 100 and 300 us THEN it counts as 200"""
    assert found(data_loader, loading(first, 100 * US, 300 * US)).cost.ns == 200 * US


def test_a_loader_between_the_steps():
    """GIVEN steps of 1 ms with 0.5 ms between them, 0.4 of them in a loader THEN two steps wait for 0.2 each"""
    b = TraceBuilder()
    for number in range(2):
        at = number * 1500 * US
        b.annotation("perfkit.step", at, at + MS).step(number, at, at + MS)
        operators(b, ["mm"], at, 10)
    b.annotation("load_batch", MS + 50 * US, MS + 450 * US)
    assert found(data_loader, b).cost.ns == 200 * US


def test_frames_of_torchs_loader():
    frame = "torch/utils/data/dataloader.py(700): __next__"
    assert found(data_loader, loading(200 * US, kind=HostKind.PYTHON, name=frame)).cost.ns == 200 * US


def test_no_loader_in_the_recording():
    b = TraceBuilder().step(0, 0, MS)
    operators(b, ["mm"], 10)
    assert found(data_loader, b) is None


@pytest.mark.parametrize(("busy", "lost"), [(100 * US, 300 * US), (350 * US, 50 * US), (400 * US, None)])
def test_on_a_device_only_its_idle_time_counts(busy, lost):
    """GIVEN a loader from 0 to 400 us, and a device that is busy from 0 on for a part of that THEN the rest is lost"""
    b = TraceBuilder().launched("gemm", -10, -5, busy).step(0, 0, MS).annotation(SINGLE, 0, 400 * US)
    finding = found(data_loader, b.launched("gemm", 400 * US, 400 * US, MS))
    assert (finding and finding.cost.ns) == lost
    if finding:
        assert "the device is idle" in finding.what
        assert "pin_memory=True" in finding.advice


def test_a_range_of_the_users_round_a_loader_with_workers():
    """GIVEN a range round the call of a loader with workers THEN the advice knows of the workers"""
    b = loading(300 * US, 300 * US, name="fetch_batch")
    b.annotation(WORKERS, 10, 290 * US)
    finding = found(data_loader, b)
    assert "(fetch_batch)" in finding.what
    assert finding.advice.startswith("more workers")


@pytest.mark.parametrize("name", ["get_batch_norm", "get_batch_size", "get_data_parallel_group", "load_data_parallel"])
def test_ranges_that_merely_hold_the_words(name):
    assert found(data_loader, loading(300 * US, 300 * US, name=name)) is None
