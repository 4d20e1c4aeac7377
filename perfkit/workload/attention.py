"""Attention alone, without heads and projections, written out or fused: what `perfkit attention` measures.

`build` and `no_batch` are the two callables that its runs name, as `perfkit run --model ... --input ...` does for any
model: so attention has no loop, no record and no process of its own. Letters as in model.py: b batch, t and s sequence
positions, e head width.
"""

from __future__ import annotations

import importlib
import inspect
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name the field uses
from torch import Tensor, nn
from torch.nn.attention import sdpa_kernel

from perfkit.errors import UsageError
from perfkit.workload.model import SDPA

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Attention: three (b, t, e) -> (b, t, e)."""
Find = Callable[[str], Any]
"""Imports a module by its name."""

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TOLERANCES = {"fp32": 0.005, "tf32": 0.005, "bf16": 0.05, "fp16": 0.02}
"""How far a result may be from eager's in fp64, as a share of its largest value. fp32 allows for products in TF32,
which Triton uses unless told otherwise; a forgotten scale, mask or gradient is off by tens of percent."""
_ROWS = 16
"""Queries whose results are compared, of all that there are: their scores fit into memory where those of all do not."""


def eager(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention as separate operations; the scores (b, t, s) are written out. `mask`: True where a query must not see.

    Scores, scaled scores and weights are three tensors, of which backward keeps the weights.
    """
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(mask, -math.inf)
    return scores.softmax(-1) @ v


def _fused(backend: str, causal: bool, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """PyTorch's own, of one head: its fused kernels want tensors of four dimensions."""
    q, k, v = q.unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1)
    with nullcontext() if backend == "auto" else sdpa_kernel(SDPA[backend]):
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal).squeeze(1)


class AttentionAlone(nn.Module):
    """q, k and v, of which attention is computed, and the gradient that its result has. Random, by PyTorch's seed."""

    out_gradient: Tensor

    def __init__(self, shape: tuple[int, int, int], dtype: torch.dtype, attend: Attend) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Parameter(torch.randn(shape, dtype=dtype)) for _ in range(3))
        self.register_buffer("out_gradient", torch.randn(shape, dtype=dtype))
        self.attend = attend
        self.deviation = math.nan
        """Largest difference from eager's result in fp64, as a share of the latter's largest value."""
        self.first_call_s = math.nan
        """What the first forward and backward took: a compiler works in it."""

    def forward(self) -> tuple[Tensor, Tensor]:
        """The result, and the gradient that it is to have."""
        return self.attend(self.q, self.k, self.v), self.out_gradient


class _Given(torch.autograd.Function):
    """A number whose gradient is a given tensor: backward then begins with it, and no operation of a loss is timed."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return out.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Any) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient, None


def no_batch() -> tuple[tuple[()], Callable[[tuple[Tensor, Tensor]], Tensor]]:
    """No arguments, since q, k and v are the model's own; and the loss."""

    def loss(made: tuple[Tensor, Tensor]) -> Tensor:
        return _Given.apply(*made)  # type: ignore[no-untyped-call]

    return (), loss


def build(
    implementation: str,
    batch: int,
    sequence: int,
    width: int,
    precision: str,
    causal: bool = False,
    function: str | None = None,
    find: Find = importlib.import_module,
) -> AttentionAlone:
    """One cell of the grid, whose first forward and backward have been compared with eager's.

    `implementation`: eager, compiled, sdpa, sdpa-BACKEND, or function, which is the callable that `function` names as
    `package.module:callable`. Raises UsageError where it cannot be called, or where its result is another one.
    """
    written = implementation in ("eager", "compiled")
    mask = torch.ones(sequence, sequence, dtype=torch.bool).triu(1) if causal and written else None
    attend = _implementation(implementation, mask, causal, function, find)
    model = AttentionAlone((batch, sequence, width), DTYPES[precision], attend)
    model.register_buffer("mask", mask)  # so that it counts as the model's memory
    name = function or implementation
    model.deviation, model.first_call_s = _compared(model, name, causal)
    if not model.deviation <= TOLERANCES[precision]:
        raise UsageError(
            f"{name}: its result or a gradient differs from eager's by {model.deviation:.3g} of the largest value"
            f" (allowed: {TOLERANCES[precision]:g} in {precision}): make it the same computation"
        )
    return model


def _implementation(name: str, mask: Tensor | None, causal: bool, function: str | None, find: Find) -> Attend:
    if name == "eager":
        return partial(eager, mask=mask)
    if name == "compiled":
        return torch.compile(partial(eager, mask=mask), dynamic=False)
    if name == "function":
        assert function is not None
        return _given_by_the_user(function, causal, find)
    _, _, backend = name.partition("-")
    return partial(_fused, backend or "auto", causal)


def _given_by_the_user(spec: str, causal: bool, find: Find) -> Attend:
    module, _, path = spec.partition(":")
    try:
        function = find(module)
        for part in path.split("."):
            function = getattr(function, part)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"--function {spec}: {error}") from error
    if not callable(function):
        raise UsageError(f"--function {spec}: is {type(function).__name__}, which cannot be called")
    if not causal:
        return function
    try:
        taken = set(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # one that is written in C says nothing of its arguments
        taken = set()
    word = next((word for word in ("is_causal", "causal") if word in taken), None)
    return function if word is None else partial(function, **{word: True})


def _compared(model: AttentionAlone, name: str, causal: bool) -> tuple[float, float]:
    """How far forward and backward are from eager's in fp64, and what this first call took in seconds.

    Only a few queries have a gradient: all that the result's gradients depend on is then in the rows of their scores.
    """
    length = model.q.shape[1]
    rows = torch.linspace(0, length - 1, min(_ROWS, length)).long()
    wanted = torch.zeros_like(model.out_gradient)
    wanted[:, rows] = model.out_gradient[:, rows]
    before = [x.detach().clone() for x in (model.q, model.k, model.v)]
    began = time.perf_counter()
    made = _called(model, name)
    _check(made, model, name)
    made.backward(wanted)  # type: ignore[no-untyped-call]
    if made.is_cuda:
        torch.cuda.synchronize(made.device)
    took = time.perf_counter() - began
    if not all(torch.equal(a, b) for a, b in zip(before, (model.q, model.k, model.v), strict=True)):
        raise UsageError(f"{name}: it changes q, k or v in place: let it work on tensors of its own")
    exact = [x.double().requires_grad_() for x in before]
    mask = torch.arange(length)[None, :] > rows[:, None] if causal else None
    expected = eager(exact[0][:, rows], exact[1], exact[2], mask)
    expected.backward(wanted[:, rows].double())  # type: ignore[no-untyped-call]
    pairs = [(made[:, rows], expected)]
    for one, (what, parameter) in zip(exact, (("q", model.q), ("k", model.k), ("v", model.v)), strict=True):
        if parameter.grad is None:
            raise UsageError(f"{name}: {what} gets no gradient: backward cannot be timed")
        assert one.grad is not None
        pairs.append((parameter.grad, one.grad))
    deviation = max(_share(mine.detach().double(), exactly.detach()) for mine, exactly in pairs)
    model.zero_grad(set_to_none=True)
    return deviation, took


def _called(model: AttentionAlone, name: str) -> Tensor:
    """The result. Raises UsageError, in one line, for what the function raises, but for want of memory."""
    try:
        return model()[0]
    except (MemoryError, UsageError):
        raise
    except Exception as error:
        if isinstance(error, RuntimeError) and "memory" in str(error):
            raise
        first = next(iter(str(error).splitlines()), "")
        raise UsageError(f"{name}: {type(error).__name__}: {first}") from error


def _check(made: Any, model: AttentionAlone, name: str) -> None:
    if not isinstance(made, Tensor):
        raise UsageError(f"{name}: it returned {type(made).__name__}, not a tensor")
    wanted = model.q
    if made.shape != wanted.shape or made.dtype != wanted.dtype:
        got, expected = (f"{tuple(x.shape)} {str(x.dtype).removeprefix('torch.')}" for x in (made, wanted))
        raise UsageError(f"{name}: its result is {got}, and must be {expected} (batch, sequence, head width)")
    if not made.requires_grad:
        raise UsageError(f"{name}: its result has no gradient: backward cannot be timed")


def _share(mine: Tensor, exactly: Tensor) -> float:
    """The largest difference, as a share of the largest value; infinite where there is a nan."""
    largest = float(exactly.abs().max())
    apart = float((mine - exactly).abs().max())
    return math.inf if math.isnan(apart) else apart / largest if largest else apart
