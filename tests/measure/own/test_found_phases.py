"""Which phases a step has, by what happens in it; times do not matter here."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from perfkit.measure.own.found_phases import FoundPhases
from tests.measure.own.state import state

X = torch.ones(2, 4)


class Found:
    """The phases in the order in which they began; what was between forward and backward becomes a loss."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.phases = FoundPhases(self.names.append, self.was_loss, ranged=False)

    def was_loss(self) -> None:
        last = len(self.names) - self.names[::-1].index("forward")
        self.names[last:] = [name or "loss" for name in self.names[last:]]


@contextmanager
def finding(model: nn.Module) -> Iterator[Found]:
    found = Found()
    undo = found.phases.install(model)
    try:
        found.phases.begin_step()
        yield found
        found.phases.end_step()
    finally:
        while undo:
            undo.pop()()


def phases(model: nn.Module, step: Callable[[], object]) -> list[str]:
    with finding(model) as found:
        step()
    return [name for name in found.names if name]


def net() -> Any:
    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))


def test_a_training_step() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters())

    def step() -> None:
        loss = model(X).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    with finding(model) as found:
        step()
    assert found.names == ["data", "forward", "loss", "zero_grad", "loss", "backward", "", "optimizer", ""]
    assert found.phases.optimizers == [optimizer]


def test_data_ends_where_a_loader_has_given_its_batch() -> None:
    model = net()
    batches = iter(DataLoader(TensorDataset(torch.ones(4, 4))))
    with finding(model) as found:
        model(next(batches)[0])
    assert found.names == ["data", "data", "", "forward", ""]


def test_micro_batches_have_their_phases_each() -> None:
    model = net()
    assert phases(model, lambda: [model(X).sum().backward() for _ in range(2)]) == [
        "data", "forward", "loss", "backward", "forward", "loss", "backward",
    ]  # fmt: skip


def test_a_checkpoint_runs_forward_again_in_backward() -> None:
    model = net()

    def step(*, reentrant: bool) -> None:
        x = X.clone().requires_grad_()
        checkpoint(model, x, use_reentrant=reentrant).sum().backward()

    for reentrant in (False, True):
        assert phases(model, partial(step, reentrant=reentrant)) == ["data", "forward", "loss", "backward"]


def test_a_closure_in_an_optimizer_has_phases_of_its_own() -> None:
    model = net()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=1)

    def closure() -> Tensor:
        loss = model(X).square().sum()
        loss.backward()
        return loss

    found = phases(model, lambda: optimizer.step(closure))
    assert found == ["data", "optimizer", "forward", "loss", "backward", "optimizer"]


def test_a_gradient_inside_a_forward_is_backward() -> None:
    class Energy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = x.requires_grad_()
            return torch.autograd.grad(x.square().sum(), x)[0]

    model = Energy()
    assert phases(model, lambda: model(X.clone())) == ["data", "forward", "backward", "forward"]


def test_a_module_inside_itself_ends_once() -> None:
    class Recursive(nn.Module):
        def forward(self, x: Tensor, depth: int = 2) -> Tensor:
            return self(x, depth - 1) + 1 if depth else x

    model = Recursive()
    assert phases(model, lambda: model(X)) == ["data", "forward"]


def test_a_copy_has_phases_and_keeps_nothing_alive() -> None:
    """GIVEN a model that is copied in a step WHEN the copy is called THEN it is forward; later it knows of nothing"""
    model, copies = net(), []
    with finding(model) as found:
        copies += [copy.deepcopy(model)]
        copies[0](X).sum().backward()
    assert found.names == ["data", "forward", "loss", "backward", ""]
    gone = weakref.ref(found.phases)
    del found
    gc.collect()
    assert gone() is None
    assert torch.equal(copies[0](X), model(X))


def test_a_pickle_is_silent() -> None:
    model = net()
    with finding(model) as found:
        read = pickle.loads(pickle.dumps(model))
        read(X)
    assert found.names == ["data"]


def test_a_part_that_is_called_alone_is_forward_too() -> None:
    model: Any = nn.ModuleDict({"encoder": net(), "heads": nn.ModuleList([net(), net()])})
    found = phases(model, lambda: model["heads"][1](model["encoder"](X)))
    assert found == ["data", "forward", "forward"]


def test_a_forward_that_raises_is_over() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError

    model = Fails()
    with finding(model) as found:
        with suppress(ValueError):
            model(X)
        torch.optim.SGD([nn.Parameter(X)]).step()
    assert found.names == ["data", "forward", "", "optimizer", ""]


def test_the_users_name_counts() -> None:
    model = net()
    with finding(model) as found:
        with found.phases.named("critic"):
            model(X).sum().backward()
        model(X)
    assert found.names == ["data", "critic", "", "forward", ""]


def test_other_threads_have_no_phases() -> None:
    model = net()
    with finding(model) as found:
        thread = threading.Thread(target=lambda: model(X).sum().backward())
        thread.start()
        thread.join()
    assert found.names == ["data"]


def test_all_is_as_it_was() -> None:
    model = net()
    before = state(model)
    with finding(model):
        assert state(model) != before
    assert state(model) == before
