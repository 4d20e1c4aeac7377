"""Records some steps on the CPU, and reads the recording as perfkit does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch._C._profiler import _ExperimentalConfig
from torch.profiler import ProfilerActivity, profile, schedule

from perfkit.analysis.attribution.attribute import Attribution, attribute
from perfkit.schema import range_names
from perfkit.trace.columns import Trace
from perfkit.trace.load import load
from perfkit.workload.annotate import annotate
from perfkit.workload.ranges import annotated
from tests.truth import models
from tests.truth.witness import Naming, Witness

STEPS = 2


@dataclass(frozen=True)
class Recording:
    """A trace, what perfkit makes of it, and what is known about it."""

    trace: Trace
    attribution: Attribution
    profiler: profile
    witness: Witness


def record(
    step: Callable[[], None],
    witness: Witness,
    folder: Path,
    *,
    all_threads: bool = False,
) -> Recording:
    """Run `step` once unrecorded and STEPS times recorded."""
    with profile(
        activities=[ProfilerActivity.CPU],
        schedule=schedule(wait=0, warmup=1, active=STEPS, repeat=1),
        with_stack=witness.naming == "module",
        experimental_config=_ExperimentalConfig(profile_all_threads=all_threads),
    ) as profiler:
        for number in range(1 + STEPS):
            witness.sign_thread()
            step()
            profiler.step()
            if number == 0:
                witness.calls.clear()
    file = folder / "recorded.pt.trace.json"
    profiler.export_chrome_trace(str(file))
    trace = load(file)
    return Recording(trace, attribute(trace), profiler, witness)


class Training:
    """The usual step: zero_grad, forward, loss, backward, optimizer; in perfkit's phases, or without any."""

    def __init__(self, model: nn.Module, witness: Witness) -> None:
        self.model, self.witness = model, witness
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = self.make_optimizer()
        self.batch = models.batch()

    def make_optimizer(self) -> torch.optim.Optimizer:
        """A loop over parameters, on a CPU."""
        return torch.optim.AdamW(self.parameters)

    def __call__(self) -> None:
        self.zero_grad()
        self.backward(self.loss(self.forward()))
        self.optimize()

    @contextmanager
    def phase(self, name: str, known: str | None = None) -> Iterator[None]:
        """A phase of the step; where it is a scope of its own too, `known` is what its operations are for."""
        perfkit = self.witness.naming == "perfkit"
        scope = self.witness.scope(name, known) if known and perfkit else nullcontext()
        with annotated(range_names.phase(name)) if perfkit else nullcontext(), scope:
            yield

    def zero_grad(self) -> None:
        with self.phase("zero_grad", "optimizer"):
            self.optimizer.zero_grad()

    def forward(self) -> Tensor:
        with self.phase("forward"):
            logits: Tensor = self.model(self.batch[0])
        return logits

    def loss(self, logits: Tensor) -> Tensor:
        with self.phase("loss", "forward"):
            return models.cross_entropy(logits, self.batch[1])

    def backward(self, loss: Tensor) -> None:
        with self.phase("backward"):
            loss.backward()

    def optimize(self) -> None:
        one_by_one = not any(self.optimizer.defaults.get(at_once) for at_once in ("foreach", "fused"))
        with self.phase("optimizer"), self.witness.updates(self.optimizer, one_by_one=one_by_one):
            self.optimizer.step()


def record_training(
    model: nn.Module,
    folder: Path,
    *,
    naming: Naming = "perfkit",
    witness: Witness | None = None,
    training: type[Training] = Training,
    all_threads: bool = False,
    whole: tuple[type[nn.Module], ...] = (),
    gradients: bool = False,
    backward: bool = False,
) -> Recording:
    """Some kind of training of a model, annotated where the naming is perfkit's."""
    witness = witness or Witness(naming)
    witness.watch(model, whole=whole)
    with annotate(model, gradients=gradients, backward=backward) if witness.naming == "perfkit" else nullcontext():
        return record(training(model, witness), witness, folder, all_threads=all_threads)
