"""Ranges as an observer: what their cost is measured by, and what becomes of them at the end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from perfkit.measure.loop import StepId
from perfkit.measure.observers.ranges import Ranges, wanted
from perfkit.schema.record import AnnotationCost, RunRecord
from tests.runs import FakeWorkload, quick, sample, saved
from tests.workload.ranges import recorded_paths


def ranges(workload: Any = None, *, under_nsys: bool = False, asked: list[Any] | None = None, **fields: Any) -> Ranges:
    asked = [] if asked is None else asked

    def per_range(count: int) -> float:
        asked.append(("range", count))
        return 0.25

    def per_node(count: int) -> float:
        asked.append(("node", count))
        return 0.5

    config = quick(**fields)
    workload = workload or FakeWorkload(config)
    return Ranges(workload, config, under_nsys=under_nsys, per_range=per_range, per_node=per_node)


@pytest.mark.parametrize(
    ("nsys", "pass_type", "asked", "per_node"),
    [
        (False, "train", [("range", 20_000)], None),
        (True, "forward", [("range", 200)], None),
        (True, "train", [("range", 200), ("node", 200)], 0.5),
    ],
)
def test_few_trial_ranges_are_opened_where_nsys_would_record_them(nsys, pass_type, asked, per_node):
    counts: list[Any] = []
    observer = ranges(under_nsys=nsys, asked=counts, pass_type=pass_type)
    observer.close()
    cost = observer.add_to(saved()).annotation
    assert cost == AnnotationCost(ranges=3, seconds_per_range=0.25, seconds_per_node=per_node)
    assert counts == asked


@pytest.mark.parametrize(
    ("nodes", "warmup", "steps", "per_step"),
    [(12, 1, 3, 3.0), (12, 0, 1, 12.0), (12, 1, 0, 12.0), (0, 1, 1, None), (12, 0, 0, None)],
)
def test_nodes_are_counted_by_the_step_with_warm_up(nodes, warmup, steps, per_step):
    annotation = SimpleNamespace(hooked=3, nodes=nodes, install=lambda: None)
    observer = ranges(SimpleNamespace(annotate=lambda **_: annotation))
    record: RunRecord = saved(warmup=(sample(),) * warmup, steps=(sample(),) * steps)
    assert observer.add_to(record).annotation == AnnotationCost(ranges=3, seconds_per_range=0.25, nodes=per_step)


def test_each_step_is_a_range_and_one_that_fails_is_closed():
    # GIVEN
    observer = ranges()

    def steps() -> None:
        for step in (StepId("warm-up", 0), StepId("measured", 0)):
            observer.before(step)
            observer.after(step, sample())
        observer.before(StepId("measured", 1))
        observer.close()

    # THEN
    assert recorded_paths(steps) == ["perfkit.warmup::0", "perfkit.step::0", "perfkit.step::1"]


def test_the_model_is_left_as_it_was():
    workload = FakeWorkload(quick())
    observer = ranges(workload)
    assert workload.model._forward_hooks
    observer.close()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in workload.model.modules())


@pytest.mark.parametrize(
    ("fields", "under_nsys", "there"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"annotate": "on"}, False, True),
        ({"annotate": "off"}, True, False),
        ({"profiler": "torch"}, False, True),
        ({"profiler": "nsys"}, False, True),
        ({"profiler": "torch", "annotate": "off"}, False, False),
    ],
)
def test_ranges_are_wanted_where_something_records_them_or_where_asked(fields, under_nsys, there):
    assert wanted(quick(**fields), under_nsys=under_nsys) is there
