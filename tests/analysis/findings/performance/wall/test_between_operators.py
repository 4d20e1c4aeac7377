"""Python between operators, on a host alone and in front of a device."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.wall.between_operators import python_between_operators, stretches
from perfkit.analysis.findings.performance.wall.idle import launch_bound
from perfkit.trace.columns import HostKind
from tests.analysis.findings.performance.cases import MS, US, case_of, found, operators
from tests.builders import TraceBuilder


def paused(pause: int, length: int = 10 * MS, name: str = "") -> TraceBuilder:
    """A step of 20 operators, with a pause after the tenth, in which one range may be open."""
    b = TraceBuilder().step(0, 0, length)
    each = (length - pause) // 20
    end = operators(b, ["mm"] * 9 + ["relu"], 0, each)
    if name:
        b.annotation(name, end, end + pause)
    operators(b, ["embedding"] + ["mm"] * 8, end + pause, each)
    b.range("aten::mm", end + pause + 9 * each, length)
    return b


def test_a_pause_between_two_operators():
    """GIVEN 2 ms of 10 between two operators THEN they are the finding's, with the range that they are in"""
    finding = found(python_between_operators, paused(2 * MS, name="tokenise"))
    assert (finding.cost.ns, finding.cost.share) == (2 * MS, 0.2)
    assert "between aten::relu and aten::embedding (100.0%), in tokenise (100.0%)" in finding.what


@pytest.mark.parametrize(("pause", "said"), [(MS, True), (MS - 20, False)])
def test_the_least_share(pause, said):
    assert (found(python_between_operators, paused(pause)) is not None) == said


@pytest.mark.parametrize("pause", ["short", "few operators", "no steps"])
def test_what_is_no_pause(pause):
    b = paused(199_980, length=1_500_000) if pause == "short" else paused(2 * MS)
    if pause == "few operators":
        b = TraceBuilder().step(0, 0, 10 * MS)
        operators(b, ["mm"] * 9, 0, 100 * US)
    if pause == "no steps":
        b.host = [row for row in b.host if row["name"] != b.names["ProfilerStep#0"]]
    assert found(python_between_operators, b) is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__", HostKind.ANNOTATION),
        ("Optimizer.step#SGD.step", HostKind.ANNOTATION),
        ("cudaStreamSynchronize", HostKind.RUNTIME),
        ("CompiledFxGraph (dynamo_timed)", HostKind.ANNOTATION),
        ("autograd::engine::evaluate_function: MmBackward0", HostKind.OP),
    ],
)
def test_time_that_others_judge(name, kind):
    """GIVEN the pause inside a range of a loader, an optimizer, a compiler ... THEN it is no Python of the user's"""
    b = paused(2 * MS)
    start, end = 10 * (8 * MS // 20), 10 * (8 * MS // 20) + 2 * MS
    assert found(python_between_operators, b.range(name, start, end, kind)) is None


def test_while_autograds_thread_works_the_main_thread_waits():
    """GIVEN backward nodes on another thread, at the begin and the end of the pause THEN the main thread waits"""
    b = paused(2 * MS)
    start = 10 * (8 * MS // 20)
    b.node("MmBackward0", start, start + 10, 1, thread=1).node(
        "MmBackward0", start + 2 * MS - 12, start + 2 * MS - 2, 2, thread=1
    )
    assert found(python_between_operators, b) is None


def test_in_backward_the_main_thread_is_in_autograds_engine():
    assert found(python_between_operators, paused(2 * MS, name="## backward ##")) is None


def test_after_a_collective_the_main_thread_waits_for_other_ranks():
    b = TraceBuilder().step(0, 0, 10 * MS)
    end = operators(b, ["mm"] * 10, 0, 100 * US)
    b.range("c10d::allreduce_", end, end + US)
    operators(b, ["mm"] * 10, 9 * MS, 100 * US)
    assert found(python_between_operators, b) is None


def test_many_short_stretches():
    """GIVEN 100 operators of 50 us with 50 us between them THEN half of the step is Python, in no long stretch"""
    b = TraceBuilder().step(0, 0, 10 * MS)
    for number in range(100):
        operators(b, ["mm"], number * 100 * US, 50 * US)
    finding = found(python_between_operators, b)
    assert (finding.cost.ns, finding.cost.share) == (5 * MS, 0.5)


def test_stretches_are_cut_at_the_steps():
    """GIVEN two steps THEN each begins and ends its own stretches, and what is between them belongs to neither"""
    b = TraceBuilder().step(0, 100, 1000).step(1, 1200, 2000)
    operators(b, ["mm"] * 10, 200, 10)
    operators(b, ["mm"] * 10, 1300, 10)
    start, end = stretches(case_of(b))
    assert list(zip(start.tolist(), end.tolist(), strict=True)) == [(100, 200), (300, 1000), (1200, 1300), (1400, 2000)]


def stopped(steps: int, usual: int, last: int) -> TraceBuilder:
    """Steps of 10 operators and 10 ms, with a pause behind the last operator of each."""
    b = TraceBuilder()
    for number in range(steps):
        pause = last if number == steps - 1 else usual
        b.step(number, number * 10 * MS, (number + 1) * 10 * MS)
        operators(b, ["mm"] * 10, number * 10 * MS, (10 * MS - pause) // 10)
    return b


@pytest.mark.parametrize("steps", [1, 3])
def test_the_profilers_stop_is_no_python_of_the_users(steps):
    """GIVEN 6 ms behind the last operator of all, which no other step has THEN nothing is found"""
    assert found(python_between_operators, stopped(steps, 0, 6 * MS)) is None


def test_what_every_step_has_at_its_end():
    """GIVEN 2 ms behind each step's operators, and 6 behind the last's THEN 2 ms a step"""
    assert found(python_between_operators, stopped(3, 2 * MS, 6 * MS)).cost.ns == 2 * MS


def test_on_a_device_only_its_idle_time_counts():
    """GIVEN a pause of 4 ms, and a device that has work for the first 3 THEN 1 ms is lost, and not by slow launches"""
    b = TraceBuilder().step(0, 0, 10 * MS)
    operators(b, ["mm"] * 10, 0, 10)
    b.launched("gemm", 50, 100, 3 * MS + 100)
    operators(b, ["mm"] * 10, 4 * MS + 100, 10)
    b.launched("gemm", 4 * MS + 150, 4 * MS + 150, 10 * MS)
    finding = found(python_between_operators, b)
    assert finding.cost.ns == pytest.approx(MS, rel=0.001)
    assert "the device is idle meanwhile" in finding.what
    assert found(launch_bound, b) is None
