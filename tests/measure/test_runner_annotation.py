"""Ranges and what else is switched on around the steps: for whom, and what their cost is measured by."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from perfkit.measure import runner
from perfkit.schema import module_tree
from perfkit.schema.range_names import STEP_PHASES
from perfkit.workload.annotate import Annotation
from tests.runs import FakeWorkload, Journal, quick

pytestmark = pytest.mark.filterwarnings("ignore:Profiler won't be using warmup")

NSYS = "NSYS_PROFILING_SESSION_ID"


@pytest.fixture(autouse=True)
def _not_under_nsys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (NSYS, "NVTX_INJECTION64_PATH"):
        monkeypatch.delenv(name, raising=False)


def measure(tmp_path: Path, **fields: Any) -> list[dict[str, bool]]:
    """Run, and say with what the ranges were asked for."""
    asked: list[dict[str, bool]] = []

    class Noting(FakeWorkload):
        def annotate(self, **wanted: bool) -> Annotation:
            asked.append(wanted)
            return super().annotate(**wanted)

    runner.run(quick(**{"warmup_steps": 0, "measure_steps": 1} | fields), tmp_path, build=Noting)
    return asked


@pytest.mark.parametrize(
    ("nsys", "fields", "asked"),
    [
        (False, {"annotate": "on"}, [{"gradients": False, "backward": False}]),
        (False, {"profiler": "torch"}, [{"gradients": True, "backward": False}]),
        (True, {}, [{"gradients": False, "backward": True}]),
        (True, {"profiler": "nsys"}, [{"gradients": False, "backward": True}]),
        (True, {"pass_type": "train"}, [{"gradients": False, "backward": True}]),
        (True, {"pass_type": "forward"}, [{"gradients": False, "backward": False}]),
        (False, {}, []),
        (True, {"annotate": "off"}, []),
    ],
)
def test_backward_has_ranges_under_nsys_and_gradients_names_in_a_trace(tmp_path, monkeypatch, nsys, fields, asked):
    if nsys:
        monkeypatch.setenv(NSYS, "1")
    assert measure(tmp_path, **fields) == asked


@pytest.mark.parametrize(
    ("nsys", "fields", "saved"),
    [(False, {}, False), (False, {"annotate": "on"}, False), (True, {}, True), (False, {"profiler": "torch"}, True)],
)
def test_the_models_tree_is_saved_where_a_trace_will_need_it(tmp_path, monkeypatch, nsys, fields, saved):
    if nsys:
        monkeypatch.setenv(NSYS, "1")
    measure(tmp_path, **fields)
    assert (tmp_path / module_tree.FILE).exists() is saved


@pytest.mark.parametrize("wanted", [False, True])
def test_autograds_own_ranges_are_there_during_the_steps_where_asked(tmp_path, monkeypatch, wanted):
    """GIVEN emit_nvtx, which needs a GPU, in name alone THEN it is entered and left once, or never"""
    seen: list[str] = []

    @contextlib.contextmanager
    def emit() -> Iterator[None]:
        seen.append("on")
        yield
        seen.append("off")

    monkeypatch.setattr(torch.autograd.profiler, "emit_nvtx", emit)
    config = quick(warmup_steps=0, measure_steps=1)
    object.__setattr__(config.measurement, "autograd_nvtx", wanted)  # a configuration for a CPU refuses it
    runner.run(config, tmp_path, [Journal(seen)], build=FakeWorkload)
    steps = ["before measured step 1", *STEP_PHASES[:4], "after measured step 1", "close"]
    assert seen == (["on", *steps[:-1], "off", "close"] if wanted else steps)
