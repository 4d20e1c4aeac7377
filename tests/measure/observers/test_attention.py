"""What is held before backward on a GPU, read in warm-up alone; and what the record keeps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from perfkit.measure.loop import StepId
from perfkit.measure.observers.attention import AttentionFacts
from perfkit.schema.parts.attention import DEVIATION, FIRST_CALL, HELD
from tests.runs import saved


def observed(device: str, *stages: str) -> dict[str, Any]:
    """What is kept of steps of these stages, where each reading of the GPU finds 100 bytes more."""
    readings = iter(range(100, 1000, 100))
    cuda = SimpleNamespace(memory_allocated=lambda _: next(readings))
    model: Any = SimpleNamespace(deviation=0.001, first_call_s=float("nan"))
    observer = AttentionFacts(model, device, cuda=cuda)
    for stage in stages:
        step: Any = StepId(stage, 0)  # type: ignore[arg-type]
        observer.before(step)
        observer.phase("forward")
        observer.phase("backward")
    return observer.add_to(saved(observed={"other": 1})).observed


def test_only_the_beginning_of_backward_in_warm_up_is_read():
    """GIVEN two warm-up steps and a measured one THEN the second reading is kept, and no other was made"""
    assert observed("cuda", "warm-up", "warm-up", "measured") == {"other": 1, HELD: 200, DEVIATION: 0.001}


def test_a_cpu_is_not_asked():
    found = observed("cpu", "warm-up")
    assert HELD not in found
    assert FIRST_CALL not in found
