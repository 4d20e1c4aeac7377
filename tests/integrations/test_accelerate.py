"""The helper in a loop with Accelerate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import record_function
from torch.utils.data import DataLoader, TensorDataset

from tests.integrations.seen import EVALUATION, TRAINING, hooks, in_steps, is_watched

accelerate = pytest.importorskip("accelerate")
integration = pytest.importorskip("perfkit.integrations.accelerate")

PHASES = ["data", "forward", "loss", "backward", "optimizer", "zero_grad"]


class Loop:
    """A training loop: accumulates two batches, and evaluates after every fourth."""

    def __init__(self, accumulated: int = 2, *, fails_at: int = -1) -> None:
        torch.manual_seed(0)
        self.accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=accumulated)
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 4))
        rows = DataLoader(TensorDataset(torch.randn(48, 8), torch.randint(4, (48,))), batch_size=4)
        test = DataLoader(TensorDataset(torch.randn(8, 8)), batch_size=4)
        optimizer = torch.optim.AdamW(model.parameters())
        self.model, self.optimizer, self.rows, self.test = self.accelerator.prepare(model, optimizer, rows, test)
        self.fails_at = fails_at
        self.watched: list[bool] = []

    def run(self, p: Any = None) -> list[Tensor]:
        torch.manual_seed(1)
        losses = []
        for number, (x, y) in enumerate(self.rows, 1):
            self.watched.append(is_watched(self.model))
            with self.accelerator.accumulate(self.model), record_function(TRAINING):
                loss = nn.functional.cross_entropy(self.model(x), y)
                self.accelerator.backward(loss)
                self.optimizer.step()
                self.optimizer.zero_grad()
            losses.append(loss.detach().clone())
            if number == self.fails_at:
                raise ValueError("bad batch")
            if p is not None:
                p.step()
            if number % 4 == 0:
                self.evaluate()
        return [*losses, *(weight.detach() for weight in self.model.parameters())]

    def evaluate(self) -> None:
        self.model.eval()
        for (x,) in self.test:
            with torch.no_grad(), record_function(EVALUATION):
                self.model(x)
        self.model.train()

    def profile(self, folder: Path, **options: Any) -> Any:
        return integration.profile(self.accelerator, self.model, folder, **options)


def test_a_loop_is_the_same_and_its_steps_are_the_optimizers(tmp_path):
    """GIVEN accumulated batches and evaluations WHEN profiled THEN bits are the same, a step has two batches with their
    data, and no evaluation"""
    plain, loop = Loop().run(), Loop()
    before = hooks(loop.model)
    with loop.profile(tmp_path / "run", warmup=1, active=4) as p:
        observed = loop.run(p)

    assert all(torch.equal(a, b) for a, b in zip(plain, observed, strict=True))
    assert hooks(loop.model) == before
    assert (len(p.record.warmup), len(p.record.steps), p.done) == (1, 4, True)
    steps = in_steps(tmp_path / "run", outside=EVALUATION)
    assert [(s[TRAINING], s[EVALUATION], s["enumerate(DataLoader)"]) for s in steps] == [(2, 0, 2)] * 4
    assert all(list(sample.phases_s) == PHASES for sample in p.record.steps)
    assert {"0", "3", "optimizer"} <= set(p.report.table("layers").frame["scope"])


def test_hooks_are_there_on_the_schedule_alone(tmp_path):
    loop = Loop(accumulated=1)
    with loop.profile(tmp_path / "run", profiler="none", wait=3, warmup=1, active=4) as p:
        loop.run(p)
    assert loop.watched == [False] * 3 + [True] * 5 + [False] * 4
    assert (len(p.record.warmup), len(p.record.steps)) == (1, 4)


def test_an_exception_goes_on_and_everything_is_restored(tmp_path):
    loop = Loop(accumulated=1, fails_at=4)
    before = hooks(loop.model)
    with pytest.raises(ValueError, match="bad batch"), loop.profile(tmp_path / "run", profiler="none") as p:
        loop.run(p)
    assert hooks(loop.model) == before
    assert (p.record.status, len(p.record.steps)) == ("interrupted", 2)


def test_a_model_in_eval_mode_all_the_time_trains_too(tmp_path):
    loop = Loop(accumulated=1)
    loop.model.train = lambda mode=True: loop.model
    loop.model.training = False
    with loop.profile(tmp_path / "run", profiler="none", active=3) as p:
        loop.run(p)
    assert len(p.record.steps) == 3


def test_off_nothing_happens(tmp_path, capsys):
    loop = Loop()
    with loop.profile(tmp_path / "run", enabled=False) as p:
        loop.run(p)
        with p.phase("anything"):
            p.report.show()
    assert not any(loop.watched)
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr() == ("", "")


def test_phases_have_the_names_that_the_user_gives(tmp_path):
    loop = Loop(accumulated=1)
    with loop.profile(tmp_path / "run", profiler="none", warmup=0, active=1) as p:
        with p.phase("mixing"):
            loop.model(torch.ones(2, 8))
        p.step()
    assert list(p.record.steps[0].phases_s) == ["mixing"]
