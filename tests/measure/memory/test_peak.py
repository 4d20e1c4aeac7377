"""Peak bytes in tensors: of events by hand, and of plain runs against a recording that saw everything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from perfkit.measure import runner
from perfkit.measure.memory.peak import held_before_backward, peak_of
from perfkit.workload.step import TransformerWorkload
from tests.measure.real_memory import step_peaks
from tests.runs import FakeWorkload, quick


def allocation(time: int, address: int, size: int) -> Any:
    """One of `kineto_results.experimental_event_tree()`; a release has a size below 0."""
    fields = SimpleNamespace(device=torch.device("cpu"), ptr=address, alloc_size=size)
    return event("[memory]", time, time, kind="Allocation", fields=fields)


def event(name: str, start: int, end: int, *inside: Any, kind: str = "TorchOp", fields: Any = None) -> Any:
    typed = (SimpleNamespace(name=kind), fields)
    return SimpleNamespace(name=name, start_time_ns=start, end_time_ns=end, typed=typed, children=list(inside))


def test_what_lies_outside_steps_does_not_count_for_the_peak():
    """GIVEN 100 bytes that lived, 50 before step 0, 7 in it, a hill of 500 between the steps THEN the peak is 157"""
    first, hill = (allocation(12, 2, 7), allocation(15, 2, -7)), (allocation(25, 3, 500), allocation(26, 3, -500))
    known = (allocation(1, 1, 50), *hill)
    steps = (
        event("perfkit.step::0", 10, 20, event("aten::mm", 11, 16, *first)),
        event("perfkit.step::1", 30, 40, allocation(31, 1, -50)),
    )
    assert peak_of([*steps, *known], 100) == 157
    assert peak_of([*known, event("other", 10, 20, *first)], 100) == 650
    assert peak_of([], 100) is None


def test_what_lives_as_backward_begins_is_told_apart_from_the_peak():
    """GIVEN 100 bytes that lived, 50 before the range of backward, of which 20 were released, and 500 in it"""
    before = (allocation(1, 1, 50), allocation(2, 2, 20), allocation(3, 2, -20))
    begins = event("perfkit.phase::backward", 5, 5)
    assert held_before_backward([*before, begins, allocation(6, 3, 500)], 100) == 150
    assert held_before_backward([*before, allocation(6, 3, 500)], 100) is None


def test_a_release_of_what_this_profile_did_not_see_does_not_count():
    """GIVEN a release with the size of an earlier profile, and one of another size than was allocated"""
    events = [allocation(1, 1, 50), allocation(2, 9, -40), allocation(3, 1, -8), allocation(4, 2, 60)]
    assert peak_of(events, 100) == 160


@pytest.mark.parametrize(
    "fields", [{"pass_type": "train"}, {"checkpoint": True, "num_layers": 3}, {"precision": "fp16"}]
)
def test_a_plain_run_counts_its_tensors_in_one_step_more(tmp_path, fields):
    """GIVEN a plain run on a CPU THEN its peak is that of a recording which began before the model was built"""
    record = runner.run(quick(warmup_steps=1, measure_steps=1, **fields), tmp_path)
    assert record.memory.tensors == record.memory.in_tensors == step_peaks(quick(**fields))[1]
    assert record.memory.headline == record.memory.resident
    assert len(record.steps) == 1


def test_an_interrupted_run_and_a_workload_of_ones_own_are_not_counted(tmp_path):
    def broken(config: Any) -> TransformerWorkload:
        made = TransformerWorkload(config)
        step, calls = made.step, []

        def failing(on_phase: Any) -> None:
            calls.append(1)
            if len(calls) > 1:
                raise KeyboardInterrupt
            step(on_phase)

        made.step = failing  # type: ignore[method-assign]
        return made

    for build in (broken, FakeWorkload):
        record = runner.run(quick(warmup_steps=1, measure_steps=1), tmp_path, build=build)
        assert record.memory.tensors is None
