"""Attention alone: one cell of `perfkit attention`'s grid, and the names that its runs and records use."""

from __future__ import annotations

from dataclasses import dataclass

from perfkit.schema.parts.step import Precision

BUILD, INPUT = "perfkit.workload.attention:build", "perfkit.workload.attention:no_batch"
"""The callables that such a run names as its model and its input."""
EAGER, COMPILED, SDPA, FUNCTION = "eager", "compiled", "sdpa", "function"
BACKENDS = tuple(f"{SDPA}-{backend}" for backend in ("flash", "efficient", "cudnn", "math"))
IMPLEMENTATIONS = (EAGER, COMPILED, SDPA, *BACKENDS)
ON_GPUS_ONLY = ("sdpa-efficient", "sdpa-cudnn")
HALF_ONLY = ("sdpa-flash", "sdpa-cudnn")
"""Backends that a GPU has for bf16 and fp16 alone."""
ELEMENT_BYTES = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2}

HELD, DEVIATION, FIRST_CALL = "bytes held before backward", "difference from eager (share)", "first call (s)"
"""What records of such runs have in `observed`."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Cell:
    """One implementation at one shape."""

    sequence: int
    width: int
    """Of the one head; `d` in formulas."""
    implementation: str
    batch: int = 8
    precision: Precision = "fp32"
    """Of the tensors themselves: nothing is cast."""
    causal: bool = False
    function: str | None = None
    """The callable of the implementation `function`, as `package.module:callable`."""

    @property
    def name(self) -> str:
        """The implementation, as tables name it: the user's function by its own name."""
        return self.function or self.implementation

    @property
    def shape(self) -> tuple[int, int]:
        """What cells are compared at."""
        return self.sequence, self.width
