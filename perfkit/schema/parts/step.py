"""What one step does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from perfkit.errors import UsageError
from perfkit.schema.parts.checks import SIZE_LIMIT, check_choices, check_counts

PassType = Literal["forward", "forward-backward", "train"]
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
Optimizer = Literal["adamw", "adamw-foreach", "adamw-fused"]
Compiled = Literal["off", "model", "block"]
CompileMode = Literal["default", "reduce-overhead", "max-autotune"]
Parallel = Literal["off", "ddp", "fsdp", "tp"]

_CHOICES = {
    "pass_type": get_args(PassType),
    "precision": get_args(Precision),
    "optimizer": get_args(Optimizer),
    "compile": get_args(Compiled),
    "compile_mode": get_args(CompileMode),
    "parallel": get_args(Parallel),
}
_SEED_LIMIT = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step does. A workload of the caller's own reads its instructions here.

    Raises UsageError if a combination cannot work.
    """

    pass_type: PassType = "forward-backward"
    """forward (no gradients), forward-backward (cross-entropy on random tokens) or train (with an AdamW step)."""
    batch_size: int = 4
    """Sequences per step."""
    context_length: int | None = None
    """Tokens per sequence; default: 128 for tiny, else 512."""
    precision: Precision = "fp32"
    """fp32; tf32 (fp32 with TensorFloat-32 matmuls); bf16 or fp16 autocast (fp16 with a gradient scaler)."""
    optimizer: Optimizer = "adamw"
    """For --pass-type train: AdamW as PyTorch implements it by default, or its foreach or fused implementation."""
    compile: Compiled = "off"
    """What torch.compile compiles: nothing, the whole model, or each block (profiles then keep the block names)."""
    compile_mode: CompileMode = "default"
    """With --compile, the mode of torch.compile; on a GPU reduce-overhead and max-autotune replay CUDA graphs."""
    checkpoint: bool = False
    """Recompute each block's activations in backward instead of keeping them; the same as --checkpoint-every 1."""
    checkpoint_every: int = 0
    """Recompute activations in groups of this many blocks, and keep only the groups' inputs; 0 keeps all."""
    checkpoint_nested: bool = False
    """With --checkpoint-every 2 or more: recompute each block again inside its group, one block's memory at a time."""
    parallel: Parallel = "off"
    """Under torchrun, how processes share the step: ddp or fsdp (each its own batch), or tp (each layer in parts)."""
    seed: int = 0
    """Seed for the weights and the tokens."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    num_threads: int | None = None
    """Number of threads that PyTorch uses inside one CPU operation; default: PyTorch's default."""

    def __post_init__(self) -> None:
        check_choices(self, _CHOICES)
        check_counts(self, ("batch_size", "context_length", "num_threads"))
        if not 0 <= self.seed < _SEED_LIMIT:
            raise UsageError(f"--seed {self.seed}: must be 0 or more, and below 2^63")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise UsageError(f"--device {self.device}: choose auto, cpu, cuda or cuda:N")
        if self.optimizer != "adamw" and self.pass_type != "train":
            raise UsageError(
                f"--optimizer {self.optimizer} needs --pass-type train: no other pass has an optimizer step"
            )
        if self.compile_mode != "default" and self.compile == "off":
            raise UsageError(f"--compile-mode {self.compile_mode} needs --compile model or --compile block")
        self._check_checkpoint()
        self._check_parallel()
        if self.device == "cpu" and self.precision == "tf32":
            raise UsageError("--precision tf32 exists on NVIDIA GPUs only: use --precision fp32 or bf16 on a CPU")

    def _check_checkpoint(self) -> None:
        if not 0 <= self.checkpoint_every < SIZE_LIMIT:
            raise UsageError(f"--checkpoint-every {self.checkpoint_every}: must be 0 or more, and below {SIZE_LIMIT}")
        if self.checkpoint and self.checkpoint_every > 1:
            raise UsageError(
                f"--checkpoint is --checkpoint-every 1, and --checkpoint-every {self.checkpoint_every} is asked for:"
                " leave out --checkpoint"
            )
        if self.checkpoint_nested and not self.checkpoint_group:
            raise UsageError("--checkpoint-nested needs groups of blocks: add --checkpoint-every 2 or more")
        if self.checkpoint_group and self.pass_type == "forward":
            asked = "--checkpoint" if self.checkpoint else f"--checkpoint-every {self.checkpoint_every}"
            raise UsageError(f"{asked} needs a backward pass: choose --pass-type forward-backward or train")

    def _check_parallel(self) -> None:
        if self.parallel == "off":
            return
        if self.compile != "off":
            raise UsageError(f"--parallel {self.parallel} runs eagerly: leave out --compile {self.compile}")
        if self.precision == "fp16" and self.parallel != "ddp":
            raise UsageError(
                f"--parallel {self.parallel} has no scaler of gradients, which --precision fp16 needs: use bf16"
            )

    @property
    def checkpoint_group(self) -> int:
        """Blocks that are checkpointed together; 0 where nothing is recomputed."""
        return self.checkpoint_every or int(self.checkpoint)

    @property
    def tokens(self) -> int:
        """Tokens per step: batch x context. The Transformer must be resolved."""
        assert self.context_length is not None, "resolve the configuration first"
        return self.batch_size * self.context_length
