"""Models that a command line names: by callables of the user's own module."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from perfkit import Measurement, Own, RunConfig, Step
from perfkit.errors import UsageError
from perfkit.workload.built import BuiltWorkload, StepFailsError

X = torch.ones(2, 4)


def _out_of_memory(_: object) -> Tensor:
    raise RuntimeError("CUDA out of memory")


TARGETS = torch.arange(6.0)


def _rows(*columns: Tensor, workers: int = 0) -> DataLoader[Any]:
    return DataLoader(TensorDataset(*columns), 2, num_workers=workers)


ROWS_MADE_ON: list[str] = []


def _made_rows() -> DataLoader[Any]:
    rows = torch.ones(4, 4)
    ROWS_MADE_ON.append(rows.device.type)
    return _rows(rows)


class Broken(Dataset[Tensor]):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Tensor:
        raise ValueError(f"row {index} is broken")


class Named(Dataset[dict[str, Tensor]]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": torch.eye(4)[index]}


class Net(nn.Module):
    def __init__(self, hidden: int = 4, act: str = "relu") -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(4, hidden), nn.Linear(hidden, 4)])
        self.act = act

    def forward(self, x: Tensor, scale: float = 1.0) -> dict[str, Tensor]:
        for block in self.blocks:
            x = block(x)
        return {"out": x * scale}


MODULE = SimpleNamespace(
    Net=Net, inner=SimpleNamespace(build=Net), tensor=lambda: X, pair=lambda: (X, 2.0),
    named=lambda: {"x": X, "scale": 3.0},
    lossy=lambda: (X, lambda out: out["out"].square().sum()), text=lambda: "a model", fails=lambda: 1 / 0,
    wrong=lambda: (X, lambda out: out["out"]), with_loss=nn.Identity,
    nothing=lambda: ({"x": X}, lambda _: None), exits=lambda: sys.exit("bye"), bare=nn.ReLU,
    wide=lambda: torch.ones(2, 5), memory=lambda: (X, _out_of_memory),
    rows=lambda: _rows(torch.eye(4)), triples=lambda: _rows(torch.eye(4)[:3], torch.full((3,), 2.0)[:, None]),
    aimed=lambda: (_rows(torch.eye(6)[:, :4], TARGETS), lambda made, target: (made["out"].sum(1) - target).sum()),
    again=lambda: (_rows(torch.eye(4)), lambda made, batch: (made["out"] - batch).sum()),
    made_rows=_made_rows, named_rows=lambda: DataLoader(Named(), 2),
    broken=lambda workers=0: DataLoader(Broken(), num_workers=workers),
)  # fmt: skip


def workload(model: str = "Net", given: str = "tensor", arguments: tuple[str, ...] = (), **step: Any) -> BuiltWorkload:
    own = Own(name="mine", model=f"pkg:{model}", model_arg=arguments, input=f"pkg:{given}")
    config = RunConfig(workload=own, step=Step(device="cpu", **step), measurement=Measurement())
    return BuiltWorkload(config, find=lambda _: MODULE)


def run(made: BuiltWorkload) -> list[str]:
    phases: list[str] = []
    made.step(phases.append)
    return phases


def test_arguments_are_literals_or_texts():
    made = workload("inner.build", arguments=("hidden=7", "act=gelu"))
    assert (made.model.blocks[0].out_features, made.model.act) == (7, "gelu")


@pytest.mark.parametrize(("given", "scale"), [("tensor", 1.0), ("pair", 2.0), ("named", 3.0)])
def test_a_batch_is_one_argument_several_or_named_ones(given: str, scale: float):
    made = workload(given=given)
    assert torch.equal(made.forward()["out"], made.model(X)["out"] * scale)


def test_the_loss_is_that_of_the_input_or_a_mean():
    """GIVEN a loss beside the batch, and none WHEN a step runs THEN gradients are those of the loss"""
    for given, loss in (("lossy", lambda out: out.square().sum()), ("tensor", lambda out: out.mean())):
        made = workload(given=given)
        assert run(made) == ["zero_grad", "forward", "loss", "backward"]
        weight = made.model.blocks[1].weight
        (expected,) = torch.autograd.grad(loss(made.model(X)["out"]), weight)
        assert torch.equal(weight.grad, expected)


def test_the_models_own_loss_counts():
    made = workload()
    loss = made.model(X)["out"].sum()
    assert made.loss({"loss": loss}) is loss
    assert made.loss(SimpleNamespace(loss=loss)) is loss


def test_passes_seeds_and_modes_are_those_of_the_flags():
    assert run(workload(pass_type="forward")) == ["forward"]
    assert run(workload(pass_type="train"))[-1] == "optimizer"
    assert not workload(pass_type="forward").model.training
    one, same, other = (workload(seed=seed).model.blocks[0].weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "Nit"}, r"^--model pkg:Nit: AttributeError: .*'Nit' \(--debug shows where\)$"),
        ({"arguments": ("width=3",)}, r"^--model pkg:Net: TypeError: .*unexpected keyword argument 'width'"),
        ({"model": "exits"}, r"^--model pkg:exits: it ends the run by sys\.exit\('bye'\) \(--debug"),
        ({"model": "bare", "pass_type": "train"}, r"^--model pkg:bare has no parameters to train: use --pass-type fo"),
        ({"given": "fails"}, r"^--input pkg:fails: ZeroDivisionError: division by zero"),
        ({"model": "text"}, r"^--model pkg:text returned str, not a torch.nn.Module$"),
        ({"model": "with_loss", "compile": "block"}, r"^--compile block: the model has no list of blocks"),
    ],
)
def test_what_fails_is_one_line(arguments: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        workload(**arguments)


@pytest.mark.parametrize(
    ("given", "what"), [("wrong", "the loss has no gradient"), ("nothing", "the loss is NoneType")]
)
def test_what_is_no_loss_is_refused(given: str, what: str):
    with pytest.raises(UsageError, match=f"{what}: return a number that depends on parameters, or use --pass-type"):
        run(workload(given=given))


def test_a_step_that_fails_is_one_line():
    """GIVEN a batch that does not fit the model WHEN run THEN one line says so; out of memory stays what it is"""
    message = (
        r"^--model pkg:Net with --input pkg:wide fails in its step: RuntimeError: mat1 and mat2 .* \(--debug shows"
    )
    with pytest.raises(StepFailsError, match=message):
        run(workload(given="wide"))
    with pytest.raises(RuntimeError, match=r"^CUDA out of memory$"):
        run(workload(given="memory"))


@pytest.mark.parametrize("code", [3, 0], ids=["3", "0"])
def test_a_step_that_ends_the_run_is_one_line(code: int):
    """GIVEN a model that calls sys.exit WHEN run or read THEN one line says who did it, and its code: even 0 fails"""

    def ends(*_: object) -> None:
        sys.exit(code)

    made = workload()
    made.model.forward = ends
    said = rf"^--model pkg:Net with --input pkg:tensor fails in its step: it ends the run by sys\.exit\({code}\) \(--d"
    with pytest.raises(StepFailsError, match=said):
        run(made)


def test_each_step_computes_on_the_next_batch_of_a_loader():
    """GIVEN a loader of two batches WHEN three steps run THEN data come first, and the third has the first's batch"""
    made = workload(given="rows", pass_type="forward")
    made.keeps = True
    found = []
    for _ in range(3):
        assert run(made) == ["data", "forward"]
        found.append(made.made["out"])
    rows = torch.eye(4)
    for out, batch in zip(found, (rows[:2], rows[2:], rows[:2]), strict=True):
        assert torch.equal(out, made.model(batch)["out"])


@pytest.mark.parametrize(("given", "argument"), [("triples", torch.eye(4)[:2]), ("named_rows", torch.eye(4)[:2])])
def test_a_loaders_batch_is_several_arguments_or_named_ones(given: str, argument: Tensor):
    made = workload(given=given)
    made.load()
    scale = 2.0 if given == "triples" else 1.0
    assert torch.equal(made.forward()["out"], made.model(argument)["out"] * scale)


def test_a_loaders_loss_has_the_target_which_the_model_has_not():
    """GIVEN rows with targets and a loss of both WHEN two steps run THEN the second's loss is of its own targets"""
    made = workload(given="aimed")
    made.keeps = True
    for batch in ([0, 1], [2, 3]):
        assert run(made)[0] == "data"
        expected = (made.model(torch.eye(6)[batch, :4])["out"].sum(1) - TARGETS[batch]).sum()
        assert torch.equal(made.made, expected.detach())


def test_a_loss_without_a_target_has_the_batch():
    made = workload(given="again")
    made.keeps = True
    run(made)
    rows = torch.eye(4)[:2]
    assert torch.equal(made.made, (made.model(rows)["out"] - rows).sum().detach())


def test_what_a_loader_reads_is_on_the_host_and_its_batch_where_the_model_is():
    """GIVEN rows that the callable makes on the default device, meta WHEN read THEN the CPU had them, meta the batch"""
    own, step = Own(name="mine", model="pkg:Net", input="pkg:made_rows"), Step(device="cuda", pass_type="forward")
    object.__setattr__(step, "device", "meta")  # no flag names it
    made = BuiltWorkload(RunConfig(workload=own, step=step), find=lambda _: MODULE)
    made.load()
    assert made.batch.device.type == "meta"
    assert ROWS_MADE_ON == ["meta", "cpu"]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_that_fails_is_one_line(workers: int):
    """GIVEN rows that cannot be read WHEN read here or by a worker THEN one line has the row's own error"""
    own = Own(name="mine", model="pkg:Net", input="pkg:broken", input_arg=(f"workers={workers}",))
    made = BuiltWorkload(RunConfig(workload=own, step=Step(device="cpu")), find=lambda _: MODULE)
    try:
        with pytest.raises(StepFailsError, match=r"pkg:broken: its DataLoader fails: ValueError: row 0 is broken \(--"):
            run(made)
    finally:
        made.close()
