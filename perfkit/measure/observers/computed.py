"""Keeps what the first warm-up steps compute: losses, and of each gradient its norm and some of its numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from perfkit.errors import UsageError
from perfkit.measure.loop import Observer, StepId
from perfkit.schema import computed
from perfkit.schema.computed import Arithmetic, Computed
from perfkit.schema.record import RunRecord, StepSample
from perfkit.workload.step import TransformerWorkload

STEPS = 3
"""Warm-up steps of which it is kept."""
_NUMBERS = 65_536
"""Numbers kept of all gradients of a step, at most about as many."""
_FEWEST = 16
"""Numbers kept of a gradient that has as many."""


class Results(Observer):
    """What the first three warm-up steps computed, saved in the run's folder.

    nudged: before the first step each weight is moved by one rounding error of its type, up or down by chance, so that
    what then differs is what rounding does to this computation. batch: in these steps the Transformer is given the
    batch of a run with so many sequences, repeated until its own is full, whose mean loss and gradients are the same.
    Outside warm-up nothing is kept, and nothing costs. But in all steps what a loader's rows draw by chance does not
    depend on its workers, which takes 0.1 ms a batch.
    """

    def __init__(self, folder: Path, *, nudged: bool = False, batch: int | None = None) -> None:
        self._folder, self._nudged, self._batch = folder, nudged, batch
        self._workload: Any = None
        self._losses: list[float] = []
        self._norms: list[list[float]] = []
        self._samples: list[np.ndarray] = []
        self._sizes: list[int] = []
        self._names: list[str] = []
        self._shapes: tuple[tuple[int, ...], ...] = ()

    def built(self, workload: Any) -> None:
        """Nudge the weights, and ask for what steps make."""
        self._workload = workload
        workload.keeps = True
        workload.draw_alike()
        if self._nudged:
            nudge(workload.model)
        if self._batch is not None:
            if not isinstance(workload, TransformerWorkload):
                raise UsageError(f"--results-batch {self._batch} is of perfkit's own Transformer: leave it out")
            workload.repeat(self._batch)

    def after(self, step: StepId, sample: StepSample) -> None:
        """Keep what the step made."""
        if step.stage != "warm-up" or step.index >= STEPS:
            return
        self._keep(self._workload)
        if step.index == STEPS - 1:
            self._workload.keeps, self._workload.made = False, None
            if self._batch is not None:
                self._workload.repeat(self._workload.config.step.batch_size)

    def add_to(self, record: RunRecord) -> RunRecord:
        """The record with the file among its artifacts."""
        if not self._losses:
            return record
        found = Computed(
            np.array(self._losses),
            np.array(self._norms),
            np.stack(self._samples),
            np.array(self._sizes, dtype=np.int64),
            tuple(self._names),
            _precision(self._workload),
            self._shapes,
        )
        computed.save(found, self._folder)
        return dataclasses.replace(record, artifacts=record.artifacts | {computed.KIND: computed.FILE})

    def _keep(self, workload: Any) -> None:
        has_loss = workload.config.step.pass_type != "forward"
        self._shapes = tuple(tuple(one.shape) for one in tree_leaves(workload.inputs) if isinstance(one, Tensor))
        named = [*_gradients(workload)] if has_loss else [*_outputs(workload.made, self._batch)]
        most = max(_FEWEST, _NUMBERS // max(len(named), 1))
        numbers = [_some(tensor, most) / workload.scale for _, tensor in named]
        self._losses.append(float(workload.made) if has_loss else float("nan"))
        self._norms.append([float(tensor.double().norm()) / workload.scale for _, tensor in named])
        self._samples.append(np.concatenate([np.empty(0), *numbers]))
        self._sizes, self._names = [len(part) for part in numbers], [name for name, _ in named]


_OF_WEIGHTS: dict[torch.dtype, Arithmetic] = {
    torch.float64: "fp64",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
}


def _precision(workload: Any) -> Arithmetic:
    """What a workload computes in: weights of fp16 are no more exact for autocast in another type."""
    asked: Arithmetic = workload.config.step.precision
    first = next((one.dtype for one in workload.model.parameters() if one.is_floating_point()), torch.float32)
    return _OF_WEIGHTS.get(first, asked) if asked == "fp32" else asked


def _gradients(workload: Any) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in workload.model.named_parameters():
        if parameter.grad is not None:
            yield name, parameter.grad


def _outputs(made: Any, rows: int | None) -> Iterator[tuple[str, Tensor]]:
    """What a forward pass returned; of a batch that repeats itself the first of so many rows."""
    for place, leaf in enumerate(tree_leaves(made)):
        if isinstance(leaf, Tensor) and leaf.is_floating_point():
            yield f"output {place}", leaf if rows is None else leaf[:rows]


def _some(tensor: Tensor, most: int) -> np.ndarray:
    """At most so many of its numbers, evenly spaced."""
    flat = (tensor.coalesce().values() if tensor.is_sparse else tensor).detach().reshape(-1)
    chosen = flat[:: max(1, -(-flat.numel() // most))]
    found: np.ndarray = chosen.double().cpu().numpy()
    return found


@torch.no_grad()
def nudge(model: Any) -> None:
    """Move each weight by one rounding error of its type, up or down by chance; no other random number changes."""
    chance = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.is_floating_point():
            sign = torch.randint(0, 2, parameter.shape, generator=chance).to(parameter) * 2 - 1
            parameter.mul_(1 + sign * torch.finfo(parameter.dtype).eps)
