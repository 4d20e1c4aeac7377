"""The callback in Lightning's own Trainer."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import record_function
from torch.utils.data import DataLoader, TensorDataset

from perfkit.errors import UsageError
from perfkit.schema import record
from tests.integrations.seen import EVALUATION, TRAINING, hooks, in_steps, is_watched

lightning = pytest.importorskip("lightning.pytorch")
integration = pytest.importorskip("perfkit.integrations.lightning")

pytestmark = pytest.mark.filterwarnings("ignore:.*(does not have many workers|LeafSpec|val_check_interval).*")
PHASES = ["data", "forward", "loss", "zero_grad", "backward", "optimizer"]


class Net(lightning.LightningModule):  # type: ignore[misc, name-defined]
    """Three layers, and what happened to them."""

    def __init__(self, each: Callable[[Net], object] = lambda _: None) -> None:
        torch.manual_seed(0)
        super().__init__()
        self.one, self.two, self.head = nn.Linear(8, 16), nn.Dropout(0.1), nn.Linear(16, 4)
        self.each = each
        self.losses: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.two(self.one(x).relu()))

    def training_step(self, batch: Any, index: int) -> Tensor:
        self.each(self)
        with record_function(TRAINING):
            loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.losses.append(loss.detach().clone())
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        with record_function(EVALUATION):
            self.log("val", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=0.01)

    @property
    def result(self) -> list[Tensor]:
        return [*self.losses, *(weight.detach() for weight in self.parameters())]


def data(rows: int = 48) -> Any:
    torch.manual_seed(1)
    return DataLoader(TensorDataset(torch.randn(rows, 8), torch.randint(4, (rows,))), batch_size=4)


def trainer(*callbacks: Any, **options: Any) -> Any:
    return lightning.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[*callbacks],
        **{"max_epochs": 1, "enable_checkpointing": False, **options},
    )  # fmt: skip


def fit(model: Any, *callbacks: Any, **options: Any) -> Any:
    made = trainer(*callbacks, **options)
    torch.manual_seed(2)
    made.fit(model, data(), data(8))
    return made


def test_a_fit_is_the_same_and_its_steps_are_the_optimizers(tmp_path):
    """GIVEN accumulated batches, a sanity check, validations WHEN profiled THEN bits are the same, a step has two
    batches with their data, and no validation"""
    plain, observed = Net(), Net()
    fit(plain, accumulate_grad_batches=2, val_check_interval=4)
    before = hooks(observed)
    callback = integration.ProfileCallback(tmp_path / "run", warmup=1, active=4)
    fit(observed, callback, accumulate_grad_batches=2, val_check_interval=4)

    assert all(torch.equal(a, b) for a, b in zip(plain.result, observed.result, strict=True))
    assert hooks(observed) == before
    assert callback.done
    assert (len(callback.record.warmup), len(callback.record.steps)) == (1, 4)
    steps = in_steps(tmp_path / "run", outside=EVALUATION)
    assert [(s[TRAINING], s[EVALUATION], s["enumerate(DataLoader)"]) for s in steps] == [(2, 0, 2)] * 4
    assert all(list(sample.phases_s) == PHASES for sample in callback.record.steps)
    assert {"one", "head", "optimizer", "zero_grad"} <= set(callback.report.table("layers").frame["scope"])


def test_a_validation_amid_accumulated_batches_is_a_phase_of_its_step(tmp_path):
    callback = integration.ProfileCallback(tmp_path / "run", profiler="none", warmup=0, active=6)
    fit(Net(), callback, accumulate_grad_batches=2, val_check_interval=3)
    assert ["validation" in s.phases_s for s in callback.record.steps] == [False, True, False, False, True, False]


def test_hooks_are_there_on_the_schedule_alone(tmp_path):
    watched: list[bool] = []
    callback = integration.ProfileCallback(tmp_path / "run", profiler="none", wait=2, warmup=1, active=3, repeat=2)
    fit(Net(lambda net: watched.append(is_watched(net))), callback)
    assert watched == [False] * 2 + [True] * 8 + [False] * 2
    assert [len(record.load(tmp_path / "run" / f"cycle_{n}").steps) for n in (1, 2)] == [3, 3]


def test_a_fit_that_ends_early_keeps_what_was_measured(tmp_path):
    callback, model = integration.ProfileCallback(tmp_path / "run", profiler="none", warmup=2, active=5), Net()
    before = hooks(model)
    fit(model, callback, max_steps=4)
    assert (len(callback.record.warmup), len(callback.record.steps), callback.done) == (2, 2, True)
    assert hooks(model) == before
    with pytest.warns(RuntimeWarning, match="Lightning counted 2 steps, and the first to be measured is step 3"):
        fit(Net(), integration.ProfileCallback(tmp_path / "none", profiler="none", warmup=2), max_steps=2)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("error", [ValueError("bad batch"), KeyboardInterrupt()], ids=["ValueError", "ctrl-C"])
def test_an_exception_goes_on_and_everything_is_restored(error, tmp_path):
    def fails(net: Net) -> None:
        if len(net.losses) == 4:
            raise error

    callback, model = integration.ProfileCallback(tmp_path / "run", profiler="none", active=6), Net(fails)
    before = hooks(model)
    with pytest.raises(ValueError if isinstance(error, ValueError) else SystemExit):
        fit(model, callback)
    assert hooks(model) == before
    assert (callback.record.status, len(callback.record.steps)) == ("interrupted", 3)


def test_each_fit_has_a_profile_and_a_validation_none(tmp_path):
    callback = integration.ProfileCallback(tmp_path / "run", profiler="none", active=2)
    with pytest.raises(UsageError, match="Lightning has not begun to train"):
        _ = callback.report
    model = Net()
    trainer(callback).validate(model, data(8), verbose=False)
    assert not (tmp_path / "run").exists()
    fit(model, callback, max_steps=3)
    fit(model, callback, max_steps=3)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["run", "run_2"]
    assert len(callback.record.steps) == 2
    assert callback.folder == tmp_path / "run_2"


def test_two_callbacks_are_refused_before_the_first_batch(tmp_path):
    model = Net()
    before = hooks(model)
    with pytest.raises(UsageError, match="a profile is open already"):
        fit(model, *(integration.ProfileCallback(tmp_path / name, profiler="none") for name in ("a", "b")))
    assert not model.losses
    assert hooks(model) == before


def test_lightnings_own_torch_profiler_beside_it_is_refused(tmp_path):
    with pytest.raises(UsageError, match="leave one out"):
        fit(Net(), integration.ProfileCallback(tmp_path / "run"), profiler="pytorch", default_root_dir=tmp_path)
    assert not (tmp_path / "run").exists()


def test_the_loss_is_not_the_optimizers(tmp_path):
    """GIVEN no accumulation, where Lightning runs the whole step in the optimizer's closure WHEN profiled THEN what the
    loss takes is loss, and clearing gradients zero_grad"""

    class Slow(Net):
        def training_step(self, batch: Any, index: int) -> Tensor:
            loss = super().training_step(batch, index)
            time.sleep(0.02)
            return loss

    callback = integration.ProfileCallback(tmp_path / "run", profiler="none", active=3)
    fit(Slow(), callback, max_steps=5)
    for sample in callback.record.steps:
        assert set(sample.phases_s) == set(PHASES)
        assert sample.phases_s["loss"] >= 0.02


def test_a_fit_that_goes_on_from_a_checkpoint(tmp_path):
    """GIVEN a checkpoint in the midst of an epoch WHEN the fit goes on THEN its steps are counted from there"""
    first = trainer(max_steps=5, max_epochs=3)
    first.fit(Net(), data(), data(8))
    first.save_checkpoint(tmp_path / "ckpt")
    callback = integration.ProfileCallback(tmp_path / "run", profiler="none", warmup=1, active=4)
    trainer(callback, max_steps=10, max_epochs=3).fit(
        Net(), data(), data(8), ckpt_path=tmp_path / "ckpt", weights_only=False
    )
    assert (len(callback.record.warmup), len(callback.record.steps)) == (1, 4)


class TwoOptimizers(Net):
    """Steps by hand: one optimizer in each batch, the other in every second one."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, index: int) -> None:
        for optimizer in self.optimizers()[: 1 + index % 2]:
            optimizer.zero_grad()
            self.manual_backward(nn.functional.cross_entropy(self(batch[0]), batch[1]))
            optimizer.step()

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in (self.one, self.head)]


def test_a_batch_with_several_optimizers_is_one_step(tmp_path):
    callback = integration.ProfileCallback(tmp_path / "run", profiler="none", active=6)
    fit(TwoOptimizers(), callback)
    assert len(callback.record.steps) == 6
    assert all({"forward", "backward", "optimizer"} <= set(sample.phases_s) for sample in callback.record.steps)


def test_only_the_ranks_that_are_asked_for_are_profiled(tmp_path):
    """GIVEN a job of two, of which this is the second WHEN profiled THEN it has a folder of its own, or none"""

    class Second:
        global_rank, world_size, global_step, profiler = 1, 2, 0, None

    for ranks, names in ((None, ["rank_1"]), ((0,), [])):
        folder, model = tmp_path / str(ranks), Net()
        callback = integration.ProfileCallback(folder, ranks=ranks, profiler="none", warmup=0, active=1)
        callback.on_train_start(Second(), model)
        callback.on_train_epoch_start(Second(), model)
        Second.global_step += 1
        callback.on_train_batch_end(Second(), model, None, None, 0)
        callback.on_train_end(Second(), model)
        assert [path.name for path in folder.glob("*")] == names


def test_a_schedule_that_measures_nothing_is_refused_at_once(tmp_path: Path):
    with pytest.raises(UsageError, match="active=0: nothing would be measured"):
        integration.ProfileCallback(tmp_path, active=0)
