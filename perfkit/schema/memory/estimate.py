"""MemoryEstimate: the predicted peak of one step, by part. Both methods of estimating return one.

Every byte of the peak is in exactly one part, so that the parts add up to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Method = Literal["formula", "traced"]
"""formula: analysis.memory_model, arithmetic alone; traced: measure.estimate, the step itself on fake tensors."""

PARAMETERS = "parameters"
GRADIENTS = "gradients"
OPTIMIZER = "optimizer state"
CONSTANTS = "batch and constants"
EMBEDDING = "embedding"
RESIDUAL = "residual stream"
NORMS = "norms"
PROJECTIONS = "q, k, v"
ROPE = "rope"
ATTENTION = "attention"
MIXED = "attention output"
MLP = "mlp"
WEIGHT_COPIES = "weight copies"
LOGITS = "logits and loss"
ACTIVATIONS = "activations"
WORKING = "working buffers"

PARTS = (
    PARAMETERS, GRADIENTS, OPTIMIZER, CONSTANTS, EMBEDDING, RESIDUAL, NORMS, PROJECTIONS, ROPE, ATTENTION, MIXED, MLP,
    LOGITS, ACTIVATIONS, WEIGHT_COPIES, WORKING,
)  # fmt: skip
"""In the order they are shown: what stays, then activations in the order of the model, then what comes and goes."""

MEANING = {
    PARAMETERS: "fp32 master weights",
    GRADIENTS: "those that exist at the peak",
    OPTIMIZER: "Adam's two moments and step counts",
    CONSTANTS: "tokens, targets, causal mask, rotary tables",
    EMBEDDING: "output, the first block's input",
    RESIDUAL: "inputs of the norms",
    NORMS: "normalised input, its scale, output",
    PROJECTIONS: "projections of q, k, v",
    ROPE: "rotated q and k",
    ATTENTION: "softmax and values, or the fused output",
    MIXED: "input of output_proj, its output",
    MLP: "gate, its silu, up, their product",
    LOGITS: "logits, log-softmax",
    ACTIVATIONS: "what forward and loss made and backward has not freed",
    WEIGHT_COPIES: "autocast's 16-bit copies of the weights",
    WORKING: "what backward or the optimizer is computing",
}
"""What each part holds."""

_BY_MODULE = {
    "embedding": EMBEDDING,
    "attn_norm": NORMS,
    "mlp_norm": NORMS,
    "norm": NORMS,
    "q_proj": PROJECTIONS,
    "k_proj": PROJECTIONS,
    "v_proj": PROJECTIONS,
    "rope": ROPE,
    "scores": ATTENTION,
    "softmax": ATTENTION,
    "weighted_sum": ATTENTION,
    "sdpa": ATTENTION,
    "attn": MIXED,
    "output_proj": MIXED,
    "mlp": MLP,
    "gate_proj": MLP,
    "up_proj": MLP,
    "down_proj": MLP,
    "head": LOGITS,
    "loss": LOGITS,
}


def part_of(scope: str) -> str:
    """The part that a forward tensor made in a module belongs to; a block's own operations are its two sums."""
    return _BY_MODULE.get(scope.rpartition(".")[2], RESIDUAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What a GPU holds on top of the bytes that tensors asked for, at the same moment."""

    rounding: dict[str, int]
    """Part -> bytes by which the allocator's blocks are larger than what its tensors asked for."""
    workspaces: int
    """Bytes of cuBLAS's workspaces: the allocator counts them as allocated."""
    context: int
    """Bytes of the CUDA context and libraries, which the allocator does not know of."""
    unused: int | None = None
    """Bytes of the allocator's segments that no block takes: reserved, and not allocated. None where it is not known:
    that takes the order of all allocations."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Every allocation and release of a traced step and of what came before it, in order."""

    changes: Sequence[tuple[int, int]]
    """Number of the storage, and its bytes: negative where it is freed."""
    step: int
    """Place in `changes` where the step begins."""
    peak: int
    """Place of the peak: just after this change."""
    parts: Mapping[int, str]
    """Part of each storage that is there at the peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """The peak of a steady step (the second and later ones, in which the optimizer's state exists)."""

    method: Method
    parts: dict[str, int]
    """Part (see PARTS) -> bytes held at the peak."""
    phase: str
    """Where the peak is: a phase of the step (range_names.STEP_PHASES)."""
    module: str
    """Where the peak is: the module whose forward or backward it falls in; empty for the optimizer."""
    first_step: int
    """Peak of the first step, in bytes, in which the optimizer's state is only made at the end."""
    beside: Beside | None = None
    """What a GPU holds on top; None on a CPU."""
    guesses: int = 0
    """Values that forward and loss read, such as whether a mask is all ones; a traced step has none, and took 0."""

    @property
    def peak(self) -> int:
        """Bytes in tensors at the peak."""
        return sum(self.parts.values())

    @property
    def where(self) -> str:
        """The place of the peak in words: `backward of layers.11.mlp`, `optimizer`."""
        if self.module in ("", self.phase):
            return self.phase
        return f"{self.phase} of {self.module}"

    @property
    def allocated(self) -> int:
        """Bytes of the allocator's blocks at the peak (`torch.cuda.memory_allocated`); on a CPU, of the tensors."""
        return self.peak + (0 if self.beside is None else sum(self.beside.rounding.values()) + self.beside.workspaces)

    @property
    def reserved(self) -> int | None:
        """Bytes of the allocator's segments (`torch.cuda.max_memory_reserved`); None where that is not known."""
        return None if self.beside is None or self.beside.unused is None else self.allocated + self.beside.unused

    def part(self, name: str) -> int:
        """Bytes of one part; 0 where there are none."""
        return self.parts.get(name, 0)
