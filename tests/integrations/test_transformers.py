"""The callback in Hugging Face's own Trainer, with a GPT-2 of two layers and random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.profiler import record_function

from perfkit.errors import UsageError
from perfkit.schema import record
from tests.integrations.seen import EVALUATION, TRAINING, hooks, in_steps, is_watched

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
integration = pytest.importorskip("perfkit.integrations.transformers")

PHASES = {"data", "forward", "backward", "optimizer"}


class Gpt(transformers.GPT2LMHeadModel):  # type: ignore[misc, name-defined]
    """With dropout; says in which batches it is, and keeps its losses."""

    def __init__(self, each: Callable[[Gpt], object] = lambda _: None) -> None:
        torch.manual_seed(0)
        super().__init__(
            transformers.GPT2Config(
                vocab_size=32, n_embd=16, n_layer=2, n_head=2, n_positions=8, bos_token_id=1, eos_token_id=2
            )
        )
        self.each = each
        self.losses: list[Tensor] = []

    def forward(self, input_ids: Any = None, labels: Any = None, **kwargs: Any) -> Any:
        if self.training:
            self.each(self)
        with record_function(TRAINING if self.training else EVALUATION):
            out = super().forward(input_ids, labels=labels, **kwargs)
        if self.training:
            self.losses.append(out.loss.detach().clone())
        return out

    @property
    def result(self) -> list[Tensor]:
        return [*self.losses, *(weight.detach() for weight in self.parameters())]


def data(rows: int) -> list[dict[str, Tensor]]:
    made = torch.Generator().manual_seed(1)
    return [{"input_ids": text, "labels": text} for text in torch.randint(3, 32, (rows, 8), generator=made)]


def trainer(model: Any, folder: Path, *callbacks: Any, **options: Any) -> Any:
    given = {"max_steps": 6, "save_strategy": "no", **options}
    return transformers.Trainer(
        model, transformers.TrainingArguments(
            str(folder / "trainer"), per_device_train_batch_size=2, report_to="none", use_cpu=True, disable_tqdm=True,
            dataloader_pin_memory=False, **given,
        ), train_dataset=data(32), eval_dataset=data(8), callbacks=[*callbacks],
    )  # fmt: skip


def profile(folder: Path, **options: Any) -> Any:
    return integration.ProfileCallback(folder / "run", **{"profiler": "none", **options})


def test_a_training_is_the_same_and_its_steps_are_the_optimizers(tmp_path):
    """GIVEN accumulated batches, evaluations, one at the start, and checkpoints WHEN profiled THEN bits are the same, a
    step has two batches with their data, and no evaluation"""
    options = {
        "gradient_accumulation_steps": 2, "eval_strategy": "steps", "eval_steps": 2, "eval_on_start": True,
        "save_strategy": "steps", "save_steps": 3, "logging_steps": 1,
    }  # fmt: skip
    plain, observed = Gpt(), Gpt()
    trainer(plain, tmp_path, **options).train()
    before = hooks(observed)
    callback = profile(tmp_path, profiler="torch", warmup=1, active=4)
    trainer(observed, tmp_path, callback, **options).train()

    assert all(torch.equal(a, b) for a, b in zip(plain.result, observed.result, strict=True))
    assert hooks(observed) == before
    assert callback.done
    assert (len(callback.record.warmup), len(callback.record.steps)) == (1, 4)
    steps = in_steps(tmp_path / "run", outside=EVALUATION)
    assert [(s[TRAINING], s[EVALUATION], s["enumerate(DataLoader)"]) for s in steps] == [(2, 0, 2)] * 4
    assert all(set(sample.phases_s) >= PHASES for sample in callback.record.steps)
    assert {"transformer.h.0.mlp.c_fc", "lm_head", "optimizer"} <= set(callback.report.table("layers").frame["scope"])


def test_hooks_are_there_on_the_schedule_alone(tmp_path):
    watched: list[bool] = []
    model = Gpt(lambda model: watched.append(is_watched(model)))
    trainer(model, tmp_path, profile(tmp_path, wait=2, warmup=1, active=2, repeat=2), max_steps=10).train()
    assert watched == [False] * 2 + [True] * 6 + [False] * 2
    assert [len(record.load(tmp_path / "run" / f"cycle_{n}").steps) for n in (1, 2)] == [2, 2]


def test_a_compiled_model_has_its_forward(tmp_path):
    torch._dynamo.reset()
    callback = profile(tmp_path, active=2)
    model = transformers.GPT2LMHeadModel(Gpt().config)
    before = hooks(model)
    trainer(model, tmp_path, callback, max_steps=4, torch_compile=True, torch_compile_backend="eager").train()
    assert all(set(sample.phases_s) >= PHASES for sample in callback.record.steps)
    assert hooks(model) == before
    torch._dynamo.reset()


class StopsAt(transformers.TrainerCallback):  # type: ignore[misc, name-defined]
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = state.global_step == 4


def test_a_training_that_ends_early_keeps_what_was_measured(tmp_path):
    callback, model = profile(tmp_path, warmup=2, active=5), Gpt()
    before = hooks(model)
    trainer(model, tmp_path, callback, StopsAt()).train()
    assert (len(callback.record.warmup), len(callback.record.steps)) == (2, 2)
    assert hooks(model) == before
    with pytest.warns(RuntimeWarning, match="the Trainer counted 2 steps, and the first to be measured is step 3"):
        trainer(model, tmp_path, profile(tmp_path, warmup=2), max_steps=2).train()
    assert not (tmp_path / "run_2").exists()


class Fails(transformers.TrainerCallback):  # type: ignore[misc, name-defined]
    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 4:
            raise KeyboardInterrupt


def test_an_exception_goes_on_and_everything_is_restored(tmp_path):
    """GIVEN another callback that raises WHEN profiled THEN hooks are gone as soon as the error is out of `train`"""
    callback, model = profile(tmp_path, warmup=1, active=6), Gpt()
    before = hooks(model)
    with pytest.raises(KeyboardInterrupt):
        trainer(model, tmp_path, callback, Fails()).train()
    assert hooks(model) == before
    assert (callback.record.status, len(callback.record.steps)) == ("interrupted", 3)


def test_each_training_has_a_profile_and_an_evaluation_none(tmp_path):
    callback = profile(tmp_path, active=2)
    made = trainer(Gpt(), tmp_path, callback, max_steps=3)
    made.evaluate()
    assert not (tmp_path / "run").exists()
    made.train()
    made.train()
    assert sorted(path.name for path in tmp_path.glob("run*")) == ["run", "run_2"]
    assert len(callback.record.steps) == 2


def test_two_callbacks_are_refused_before_the_first_batch(tmp_path):
    model = Gpt()
    before = hooks(model)
    with pytest.raises(UsageError, match="a profile is open already"):
        trainer(model, tmp_path, profile(tmp_path), profile(tmp_path)).train()
    assert not model.losses
    assert hooks(model) == before


def test_a_training_that_goes_on_from_a_checkpoint(tmp_path):
    """GIVEN a checkpoint WHEN the training goes on THEN its steps are counted from there"""
    trainer(Gpt(), tmp_path, max_steps=3, save_strategy="steps", save_steps=3).train()
    callback = profile(tmp_path, active=4)
    trainer(Gpt(), tmp_path, callback, max_steps=8).train(resume_from_checkpoint=True)
    assert (len(callback.record.warmup), len(callback.record.steps)) == (1, 4)


class Asks(transformers.TrainerCallback):  # type: ignore[misc, name-defined]
    """Evaluates by itself, of which the control says nothing."""

    trainer: Any = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % 2 == 0:
            self.trainer.evaluate()


def test_an_evaluation_that_nobody_announces_is_no_step(tmp_path):
    asks = Asks()
    asks.trainer = trainer(Gpt(), tmp_path, profile(tmp_path, profiler="torch", warmup=1, active=3), asks)
    asks.trainer.train()
    steps = in_steps(tmp_path / "run", outside=EVALUATION)
    assert [(s[TRAINING], s[EVALUATION], s["enumerate(DataLoader)"]) for s in steps] == [(1, 0, 1)] * 3
