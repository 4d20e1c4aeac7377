"""Ranges in optimizers: every step has one, balanced whatever happens, and loops have one a parameter."""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from perfkit.schema import range_names
from perfkit.workload.annotate import annotate
from perfkit.workload.ranges import annotated

X = torch.ones(1, 2)
STEP = "phase::optimizer"


@pytest.fixture
def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2, bias=False)))


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, nvtx: Any) -> list[str]:
    """The ranges of one step of the optimizer."""
    model(X).sum().backward()
    nvtx.events.clear()
    optimizer.step()
    return nvtx.paths()


LOOPS: list[Callable[..., torch.optim.Optimizer]] = [
    torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad, torch.optim.Adadelta,
    torch.optim.Adamax, torch.optim.ASGD, torch.optim.NAdam, torch.optim.RAdam, torch.optim.RMSprop, torch.optim.Rprop,
]  # fmt: skip


@pytest.mark.parametrize("make", LOOPS)
def test_a_loop_over_parameters_has_a_range_for_each_with_its_modules_name(nvtx, model, make):
    optimizer = make(model.parameters(), foreach=False)
    with annotate(model):
        assert trained(model, optimizer, nvtx) == [
            STEP, f"{STEP} > update::0", f"{STEP} > update::0", f"{STEP} > update::1.0"
        ]  # fmt: skip


@pytest.mark.parametrize("fused", [False, True])
def test_what_updates_many_parameters_at_once_has_the_range_of_the_step_alone(nvtx, model, fused):
    optimizer = torch.optim.AdamW(model.parameters(), foreach=not fused, fused=fused)
    with annotate(model):
        assert trained(model, optimizer, nvtx) == [STEP]


def test_the_same_weights_come_out(model):
    # GIVEN
    twin = copy.deepcopy(model)

    # WHEN
    for net, around in ((model, annotate(model)), (twin, contextlib.nullcontext())):
        optimizer = torch.optim.AdamW(net.parameters(), foreach=False)
        with around:
            for _ in range(3):
                optimizer.zero_grad()
                net(X).square().sum().backward()
                optimizer.step()

    # THEN
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), twin.parameters(), strict=True))


def test_parameters_of_other_models_have_no_range_and_tied_ones_go_by_their_first_owner(nvtx, model):
    # GIVEN
    model[1][0].weight = model[0].weight
    other = nn.Linear(2, 2)
    optimizer = torch.optim.SGD([*other.parameters(), *model.parameters()], foreach=False)

    # WHEN
    with annotate(model):
        other(model(X)).sum().backward()
        nvtx.events.clear()
        optimizer.step()

    # THEN
    assert nvtx.paths() == [STEP, f"{STEP} > update::0", f"{STEP} > update::0"]


def test_the_phase_is_not_opened_inside_itself(nvtx, model):
    optimizer = torch.optim.SGD(model.parameters(), foreach=True)
    with annotate(model), annotated(range_names.phase("optimizer")):
        model(X).sum().backward()
        nvtx.events.clear()
        optimizer.step()
        assert nvtx.events == {}
        nvtx.note("phase::optimizer")  # as it was before the events were cleared


def test_a_forward_in_the_closure_is_inside_the_step(nvtx, model):
    # GIVEN
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=1)

    def closure() -> torch.Tensor:
        loss = model(X).sum()
        loss.backward()
        return loss

    # WHEN
    with annotate(model):
        optimizer.step(closure)

    # THEN
    assert nvtx.paths()[:3] == [STEP, f"{STEP} > Sequential", f"{STEP} > Sequential > 0"]


class _Outer(torch.optim.SGD):
    """A step in a step."""

    def step(self, closure: Any = None) -> None:
        super().step()


def test_a_step_in_a_step_has_one_range(nvtx, model):
    # GIVEN both classes' steps have hooks once an object of each was made
    torch.optim.SGD(model.parameters())
    optimizer = _Outer(model.parameters(), foreach=True)

    # THEN
    with annotate(model):
        assert trained(model, optimizer, nvtx) == [STEP]


def test_a_step_that_raised_is_closed_by_the_next_one_and_by_the_end(nvtx, model):
    # GIVEN
    def fail() -> None:
        raise ArithmeticError

    optimizer = torch.optim.SGD(model.parameters(), foreach=True)

    # WHEN
    with annotate(model):
        model(X).sum().backward()
        nvtx.events.clear()
        for closure in (fail, None, None, fail):
            with contextlib.suppress(ArithmeticError):
                optimizer.step(closure)

    # THEN the second step closes the first one's
    assert nvtx.paths() == [STEP] * 3


def test_nothing_is_left_when_the_last_annotation_ends(nvtx, model):
    # GIVEN
    adam, steps = (cast(Any, sys.modules[f"torch.optim.{name}"]) for name in ("adam", "optimizer"))
    loop, hooks = adam._single_tensor_adam, steps._global_optimizer_pre_hooks

    # WHEN
    with annotate(model):
        with annotate(nn.Linear(2, 2)):
            assert len(hooks) == 1
        assert adam._single_tensor_adam is not loop
        assert len(hooks) == 1

    # THEN
    assert adam._single_tensor_adam is loop
    assert len(hooks) == len(steps._global_optimizer_post_hooks) == 0
    assert trained(model, torch.optim.Adam(model.parameters()), nvtx) == []


def test_somebody_elses_replacement_of_a_loop_stays(model):
    adam: Any = sys.modules["torch.optim.adam"]
    loop = adam._single_tensor_adam
    try:
        with annotate(model):
            adam._single_tensor_adam = "theirs"
        assert adam._single_tensor_adam == "theirs"
    finally:
        adam._single_tensor_adam = loop


@pytest.mark.slow
def test_a_compiled_step_has_one_graph_and_no_range_in_it(nvtx, model):
    # GIVEN
    torch._dynamo.reset()
    counters.clear()
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
    step = torch.compile(optimizer.step, backend="eager")

    # WHEN
    with annotate(model):
        model(X).sum().backward()
        nvtx.events.clear()
        step()

    # THEN
    assert counters["stats"]["unique_graphs"] == 1
    assert set(nvtx.paths()) <= {STEP}
