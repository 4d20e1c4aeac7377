"""What a case makes of an account: costs a step, idle time between rows, the steps of one process, details."""

from __future__ import annotations

import pytest

from perfkit.analysis.time.idle.kinds import Cause, Kind
from perfkit.errors import UsageError
from perfkit.schema.finding import Cost
from perfkit.trace.columns import Trace
from perfkit.trace.detail_columns import Details
from perfkit.trace.load import load
from perfkit.trace.recording import Device
from tests.analysis.findings.performance.cases import case_of, operators, shapes, sibling
from tests.builders import TraceBuilder
from tests.nsys_export import NsysExport


def test_costs_are_of_a_step_and_a_device():
    """GIVEN two steps of 100 ns and two devices WHEN 80 ns are at stake in all THEN 20 a step and device, a fifth"""
    b = TraceBuilder().step(0, 0, 100).step(1, 100, 200).launched("k", 1, 10, 30).launched("k", 101, 110, 130)
    b.launched("k", 2, 10, 30, device=1).launched("k", 102, 110, 130, device=1)
    case = case_of(b)
    assert case.cost(80) == Cost(20, 0.2)
    assert case.host_cost(80) == Cost(40, 0.4)
    assert case.is_worth(80, 0.2)
    assert not case.is_worth(79, 0.2)
    assert not case.is_worth(0, 0.0)


def test_a_recording_without_steps_is_one():
    b = TraceBuilder().launched("k", 1, 10, 30).launched("k", 2, 60, 110)
    case = case_of(b)
    assert case.step_ns == 100  # from 10 to 110
    assert case.cost(25) == Cost(25, 0.25)


def test_idle_time_between_two_rows_of_a_set_goes_with_them():
    """GIVEN kernels a b b c with gaps of 5, 7 and 3 ns WHEN the two b are asked for THEN the 7 between them count"""
    b = TraceBuilder().step(0, 0, 100)
    for name, at, start in (("a", 1, 10), ("b", 2, 25), ("b", 3, 42), ("c", 4, 55)):
        b.launched(name, at, start, start + 10)
    case = case_of(b)
    rows = case.account.name == case.trace.names.index("b")
    assert case.time(rows) == 10 + 10 + 7


def test_work_outside_the_steps_costs_nothing():
    b = TraceBuilder().step(0, 0, 100).launched("k", 10, 10, 30).launched("k", 150, 150, 190)
    case = case_of(b)
    assert case.time(case.account.total > 0) == 20


def test_steps_are_those_of_the_main_thread():
    """GIVEN two processes whose steps overlap THEN each step is 100 ns, and there are two, not four"""
    b = TraceBuilder()
    for thread in (0, 1):
        for number in (0, 1):
            b.annotation(f"ProfilerStep#{number}", 100 * number, 100 * number + 100, thread=thread)
            b.launched("k", 100 * number + 10, 100 * number + 20, 100 * number + 30, thread=thread, device=thread)
    case = case_of(b)
    assert (case.step_count, case.step_ns, case.share_of) == (2, 100, 4)


def test_details_are_read_once_and_only_where_the_file_has_shapes():
    # GIVEN
    reads = []

    def read(trace: Trace) -> Details:
        reads.append(trace)
        return shapes(1, {})

    def case(**metadata):
        b = TraceBuilder(metadata=metadata)
        operators(b, ["mm"], 0)
        made = case_of(b)
        return type(made)(made.account, made.scalars, read)

    # THEN
    assert case().details is None
    assert reads == []
    shaped = case(record_shapes=1)
    assert shaped.details is not None
    assert shaped.details is shaped.details
    assert len(reads) == 1


def test_a_file_that_cannot_be_read_again_has_no_details():
    def read(_: Trace) -> Details:
        raise UsageError("gone")

    b = TraceBuilder(metadata={"record_shapes": 1})
    operators(b, ["mm"], 0)
    made = case_of(b)
    assert type(made)(made.account, made.scalars, read).details is None


@pytest.mark.parametrize(("time", "step"), [(-1, -1), (0, 0), (99, 0), (100, 1), (199, 1), (200, -1)])
def test_times_are_in_steps(time, step):
    b = TraceBuilder().step(0, 0, 100).step(1, 100, 200)
    operators(b, ["mm"], 10)
    case = case_of(b)
    assert case.steps_at(case.bounds[0][:1] * 0 + time).tolist() == [step]


def test_what_others_count_is_made_when_asked_for():
    """GIVEN a step of 100 ns with a kernel of 20 THEN 80 are idle, and it can be replayed"""
    b = TraceBuilder().step(0, 0, 100).launched("k", 5, 10, 30)
    made = case_of(sibling(b.build(), devices=(Device(0, "NVIDIA A100-SXM4-80GB"),)))
    assert (made.wall_ns(Kind.COMPUTE), made.wall_ns(Kind.IDLE), made.wall_ns(Cause.DEPENDENCY)) == (20, 80, 0)
    assert made.hardware is not None
    assert made.hardware.multiprocessors == 108
    assert made.replay is not None
    assert made.replay.step_ns == 100
    assert made.work is None
    assert made.record is None


def test_devices_that_are_not_alike_and_unknown_ones_have_no_hardware():
    b = TraceBuilder().step(0, 0, 100).launched("k", 5, 10, 30).launched("k", 6, 10, 30, device=1)
    two = (Device(0, "NVIDIA A100-SXM4-80GB"), Device(1, "NVIDIA L4"))
    assert case_of(sibling(b.build(), devices=two)).hardware is None
    assert case_of(b).device is None
    unknown = case_of(sibling(b.build(), devices=(Device(0, "a GPU"),)))
    assert unknown.device is not None
    assert unknown.hardware is None


def test_operators_with_shapes_are_counted():
    """GIVEN a matmul of 2 x 3 and 3 x 4 THEN it has 48 operations"""
    b = TraceBuilder().step(0, 0, 100).call("aten::mm", 5, 10, [[2, 3], [3, 4]])
    work = case_of(b).work
    assert work is not None
    assert work.flops.sum() == 48


def test_a_host_alone_and_an_export_of_nsys_are_not_replayed(tmp_path):
    b = TraceBuilder().step(0, 0, 100)
    operators(b, ["mm"], 10)
    assert case_of(b).replay is None
    export = NsysExport().kernel("k", 10, 20, correlation=1).call("cudaLaunchKernel", 1, 2, 1).write(tmp_path / "a")
    assert case_of(load(export)).replay is None
