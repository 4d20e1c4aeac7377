"""A profile changes no bit of what is computed, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import perfkit
from tests.measure.own.models import CASES, Case, Tied, Vit, made
from tests.measure.own.state import state

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning"),
]
STEPS = 4


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def steps(case: Case, after: Callable[[], object] = lambda: None) -> list[Tensor]:
    """Losses, gradients and outputs of every step, and the weights at the end."""
    torch.manual_seed(1)
    kept: list[Tensor] = []
    for _ in range(STEPS):
        kept += case.step()
        after()
    return [*kept, *(weight.detach() for model in case.models.values() for weight in model.parameters())]


def profiled(case: Case, folder: Path, profiler: Any = "torch") -> list[Tensor]:
    with perfkit.profile(case.given, folder, profiler=profiler, warmup=1, active=2) as p:
        return steps(case, p.step)


def assert_same(one: list[Tensor], other: list[Tensor]) -> None:
    assert len(one) == len(other)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("how", ["eager", "checkpoint", "reentrant", "block"])
@pytest.mark.parametrize("case", CASES, ids=[case.__name__ for case in CASES])
def test_losses_and_gradients_are_the_same(case: Any, how: str, tmp_path: Path) -> None:
    """GIVEN a model WHEN it trains inside a profile THEN every loss, gradient and weight has the same bits, and all
    hooks, attributes and functions are as they were"""
    plain = steps(made(case, how))
    torch._dynamo.reset()
    observed = made(case, how)
    before = state(*observed.models.values())
    assert_same(plain, profiled(observed, tmp_path / "run"))
    assert state(*observed.models.values()) == before


@pytest.mark.parametrize("case", [Tied, Vit], ids=["Tied", "Vit"])
def test_a_model_that_is_compiled_as_a_whole(case: Any, tmp_path: Path) -> None:
    assert_same(steps(made(case, "whole")), profiled(made(case, "whole"), tmp_path / "run"))


def test_inductors_code(tmp_path: Path) -> None:
    assert_same(steps(made(Tied, "inductor")), profiled(made(Tied, "inductor"), tmp_path / "run"))


@pytest.mark.parametrize("profiler", ["none", "memory"])
def test_other_profilers(profiler: str, tmp_path: Path) -> None:
    observed = made(Tied, "eager")
    before = state(*observed.models.values())
    assert_same(steps(made(Tied, "eager")), profiled(observed, tmp_path / "run", profiler))
    assert state(*observed.models.values()) == before
