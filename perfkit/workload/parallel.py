"""perfkit's Transformer shared by the processes of a job: by data (ddp, fsdp), or each layer in parts (tp).

By data each rank takes --batch-size sequences of a batch that all draw alike, so that the job's step is that of one
process with as many times the batch. In parts each rank has all sequences, and of every block some heads and some
columns of the MLP; embedding, norms and head are whole on each.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    RowwiseParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel

from perfkit.errors import UsageError
from perfkit.schema.config import RunConfig
from perfkit.workload.step import TransformerWorkload

_WHOLE = (Replicate(),)
_PARTS: dict[str, Callable[[], ParallelStyle]] = {
    "attn": partial(PrepareModuleInput, input_layouts=_WHOLE, desired_input_layouts=_WHOLE),
    "mlp": partial(PrepareModuleInput, input_layouts=_WHOLE, desired_input_layouts=_WHOLE),
    "attn.q_proj": ColwiseParallel, "attn.k_proj": ColwiseParallel, "attn.v_proj": ColwiseParallel,
    "attn.output_proj": RowwiseParallel,
    "mlp.gate_proj": ColwiseParallel, "mlp.up_proj": ColwiseParallel, "mlp.down_proj": RowwiseParallel,
}  # fmt: skip
"""How each matrix of a block is cut: by columns, then by rows, so that attention and MLP take one all-reduce each in
forward (Shoeybi et al. 2019, Megatron-LM), and one in backward, since matrices of one input share its gradient's."""


def check(config: RunConfig, ranks: int) -> None:
    """Raise UsageError where this many ranks cannot share the model. Needs a resolved configuration."""
    if config.step.parallel != "tp":
        return
    shape = config.transformer.shape
    for name, count in (("--num-heads", shape.num_heads), ("--d-ff", shape.d_ff)):
        if count % ranks:
            raise UsageError(f"--parallel tp: {name} {count} does not divide by {ranks} ranks: change one of them")


class ParallelWorkload(TransformerWorkload):
    """One rank's share of the step. Needs torch.distributed's process group, and a checked configuration.

    `model` is perfkit's own, so that its modules have the names that they have in one process.
    """

    def __init__(self, config: RunConfig) -> None:
        self._rank, self._ranks = dist.get_rank(), dist.get_world_size()
        self._called: Any = None
        super().__init__(config)

    def draw(self, sequences: int) -> tuple[Tensor, Tensor]:
        """This rank's sequences of the batch that all ranks draw alike."""
        if self.config.step.parallel == "tp":
            return super().draw(sequences)
        own = slice(self._rank * sequences, (self._rank + 1) * sequences)
        tokens, targets = super().draw(sequences * self._ranks)
        return tokens[own].clone(), targets[own].clone()

    def prepare(self) -> None:
        """Share the model among the ranks."""
        match self.config.step.parallel:
            case "ddp":
                devices = None if self.device_type == "cpu" else [torch.device(self.config.step.device)]
                self._called = DistributedDataParallel(self.model, device_ids=devices)
                return
            case "fsdp":
                for block in self.model.layers:
                    fully_shard(block, mesh=self._mesh())
                fully_shard(self.model, mesh=self._mesh())
            case _:
                for block in self.model.layers:
                    parallelize_module(block, self._mesh(), {name: cut() for name, cut in _PARTS.items()})
                    block.attn.heads //= self._ranks
        self._called = self.model

    def _mesh(self) -> Any:
        return init_device_mesh(self.device_type, (self._ranks,))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameters that are in parts, and whole ones: an optimizer's fused operations do not take both at once."""
        parts = [parameter for parameter in self.model.parameters() if isinstance(parameter, DTensor)]
        whole = [parameter for parameter in self.model.parameters() if not isinstance(parameter, DTensor)]
        return [{"params": group} for group in (parts, whole) if group]

    def forward(self) -> Tensor:
        """Logits of this rank's tokens (b, t, v)."""
        logits: Tensor = self._called(self.tokens)
        return logits
