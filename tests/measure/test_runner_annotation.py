"""Ranges and what else is switched on around the steps: for whom, and what their cost is measured by."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from perfkit.measure import runner
from perfkit.schema import module_tree
from perfkit.schema.record import AnnotationCost
from tests.runs import FakeWorkload, Journal, quick, sample

pytestmark = pytest.mark.filterwarnings("ignore:Profiler won't be using warmup")

NSYS = "NSYS_PROFILING_SESSION_ID"


@pytest.fixture(autouse=True)
def _not_under_nsys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (NSYS, "NVTX_INJECTION64_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """How many trial ranges and nodes the cost was measured by."""
    asked: list[tuple[str, int]] = []

    def trial(kind: str, seconds: float) -> Any:
        def measure(count: int) -> float:
            asked.append((kind, count))
            return seconds

        return measure

    monkeypatch.setattr(runner.annotation_cost, "seconds_per_range", trial("range", 0.25))
    monkeypatch.setattr(runner.annotation_cost, "seconds_per_node", trial("node", 0.5))
    return asked


@pytest.mark.parametrize(
    ("nsys", "backward", "asked", "per_node"),
    [
        (False, False, [("range", 20_000)], None),
        (True, False, [("range", 200)], None),
        (True, True, [("range", 200), ("node", 200)], 0.5),
    ],
)
def test_few_trial_ranges_are_opened_where_nsys_would_record_them(monkeypatch, counts, nsys, backward, asked, per_node):
    if nsys:
        monkeypatch.setenv(NSYS, "1")
    cost = runner._cost(SimpleNamespace(hooked=7), backward=backward)
    assert cost == AnnotationCost(ranges=7, seconds_per_range=0.25, seconds_per_node=per_node)
    assert counts == asked


@pytest.mark.parametrize(
    ("nodes", "warmup", "steps", "known", "per_step"),
    [(12, 1, 3, True, 3.0), (12, 0, 1, True, 12.0), (12, 1, 0, True, 12.0), (0, 1, 1, True, None),
     (12, 0, 0, True, None)],
)  # fmt: skip
def test_nodes_are_counted_by_the_step_with_warm_up(nodes, warmup, steps, known, per_step):
    measured = runner._Measured(warmup=[sample()] * warmup, steps=[sample()] * steps)
    runner._count_nodes(SimpleNamespace(nodes=nodes), measured)
    assert measured.annotation is None  # where there is no cost, there is none to complete
    measured.annotation = AnnotationCost(ranges=3, seconds_per_range=0.1)
    runner._count_nodes(SimpleNamespace(nodes=nodes), measured)
    assert measured.annotation == AnnotationCost(ranges=3, seconds_per_range=0.1, nodes=per_step)


def measure(tmp_path, monkeypatch, **fields: Any) -> list[dict[str, bool]]:
    """Run, and say with what the ranges were asked for."""
    asked: list[dict[str, bool]] = []

    class Noting(FakeWorkload):
        def annotate(self, **wanted: bool) -> Any:
            asked.append(wanted)
            return super().annotate(**wanted)

    monkeypatch.setattr(runner, "Workload", Noting)
    runner.run(quick(**{"warmup_steps": 0, "measure_steps": 1} | fields), tmp_path, Journal())
    return asked


@pytest.mark.parametrize(
    ("nsys", "fields", "asked"),
    [
        (False, {"annotate": "on"}, [{"gradients": False, "backward": False}]),
        (False, {"profiler": "torch"}, [{"gradients": True, "backward": False}]),
        (True, {}, [{"gradients": False, "backward": True}]),
        (True, {"pass_type": "train"}, [{"gradients": False, "backward": True}]),
        (True, {"pass_type": "forward"}, [{"gradients": False, "backward": False}]),
        (False, {}, []),
        (True, {"annotate": "off"}, []),
    ],
)
def test_backward_has_ranges_under_nsys_and_gradients_names_in_a_trace(
    tmp_path, monkeypatch, counts, nsys, fields, asked
):
    if nsys:
        monkeypatch.setenv(NSYS, "1")
    assert measure(tmp_path, monkeypatch, **fields) == asked


@pytest.mark.parametrize(
    ("nsys", "fields", "saved"),
    [(False, {}, False), (False, {"annotate": "on"}, False), (True, {}, True), (False, {"profiler": "torch"}, True)],
)
def test_the_models_tree_is_saved_where_a_trace_will_need_it(tmp_path, monkeypatch, counts, nsys, fields, saved):
    if nsys:
        monkeypatch.setenv(NSYS, "1")
    measure(tmp_path, monkeypatch, **fields)
    assert (tmp_path / module_tree.FILE).exists() is saved


@pytest.mark.parametrize("wanted", [False, True])
def test_autograds_own_ranges_are_there_during_the_steps_where_asked(tmp_path, monkeypatch, wanted):
    """GIVEN emit_nvtx, which needs a GPU, in name alone THEN it is entered and left once, or never"""
    seen: list[str] = []

    @contextlib.contextmanager
    def emit() -> Any:
        seen.append("on")
        yield
        seen.append("off")

    monkeypatch.setattr(torch.autograd.profiler, "emit_nvtx", emit)
    monkeypatch.setattr(runner, "Workload", FakeWorkload)
    config = quick(warmup_steps=0, measure_steps=1)
    measured = runner._Measured()
    object.__setattr__(config, "autograd_nvtx", wanted)  # a CPU has none
    runner._measure(config, tmp_path, Journal(), measured, runner._counted(config), lambda: None)
    assert seen == (["on", "off"] if wanted else [])
    assert len(measured.steps) == 1
