"""The optimizer's step: parameter by parameter, or all at once; and gradients filled with zeros."""

from __future__ import annotations

import re

import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools, at, nearest
from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.findings.performance.case import RECORDING_NS, Case, amount
from perfkit.analysis.findings.performance.evidence import kernel_rows
from perfkit.analysis.findings.performance.units import Kind, kind_of
from perfkit.regex import Regex
from perfkit.schema import units
from perfkit.schema.finding import Finding, Rule

_LEAST = 0.01
"""Share of the step from which the findings are made."""
_FUSED = Regex(r"fused_?(adam|adamw|sgd|adagrad|lamb|novograd)|FusedOptimizer|FusedAdam|distributed_fused", re.I)
_FOREACH = Regex(r"_foreach_|multi_tensor_apply|ForeachFunctor|TensorListMetadata")
_HAS_FUSED = ("Adam", "AdamW", "SGD")
"""Optimizers of torch.optim that have fused=True; Adagrad has it on CPUs."""
_HAS_FOREACH = ("Adagrad", "Adadelta", "Adafactor", "Adamax", "ASGD", "NAdam", "RAdam", "RMSprop", "Rprop")
"""Others that have foreach=True."""
_NAMED = Regex(r"Optimizer\.step#(\w+)\.step")
_MANY = 8
"""Operators of an optimizer's step, below which there is nothing to fuse."""

_ONE_PASS = 7 / 20
"""Memory traffic of one pass against separate operations. An unfused Adam reads and writes 20 values a parameter (lerp
3, mul 2, addcmul 3, sqrt 2, div 2, add 2, addcdiv 4, decay 2), a fused one 7 (parameter, gradient, two moments in;
parameter, two moments out)."""
_LARGE_NS, _ONE_LARGE_PASS = 30_000, 1 / 10
"""On a host, operations on tensors too large for a cache make new pages for each result besides. AdamW one by one and
fused, one thread, torch 2.13: 4 matrices of 1024 x 1024 31 and 2.4 ms, 12 of 512 x 512 (about 90 us an operation) 10.2
and 1.8, but 24 of 256 x 256 (12 us) 2.5 and 0.9."""
_PARAMETER_NS = 3_000
"""Python of a fused step for each parameter on a host: 320 small ones took 1.3 ms, a third of it arithmetic."""
_KEPT = {1: 1.0, 2: 5 / 8, 3: 5 / 8}
"""The same by the number of different operations: SGD has one (3 values), with momentum two or three (8 against 5)."""
_EACH_NS = 2_000
"""What a kernel or an operator takes at least, whatever its size: not memory traffic, and saved with the operation."""

UNFUSED_OPTIMIZER = Rule(
    "unfused-optimizer",
    "performance",
    "the optimizer updates parameter by parameter, or in several passes, where one fused kernel would do",
)


def unfused_optimizer(case: Case) -> Finding | None:
    """An optimizer's step of many operations.

    At stake: the step's time (with the idle time between its kernels, on a device; with its Python, on a host), less
    one pass over the same memory: for Adam 7 of 20 values of what its kernels or operators take beyond 2 us each. Of
    foreach kernels, which share their launches, the kernels' own time less the same. On a host, less what recording
    took, too, and 3 us of Python for each parameter.
    """
    inside = optimizer_rows(case)
    rows = inside & case.account.is_counted & case.is_inside
    if not rows.any():
        return None
    scaling = case.within(case.ranges(lambda name: "_amp_foreach" in name))  # GradScaler's
    texts = _texts(case, rows & ~scaling)
    optimizer = _optimizer(case, rows)
    if any(map(_FUSED.search, texts)) or "Fused" in optimizer:
        return None
    foreach = any(map(_FOREACH.search, texts))
    count = int(rows.sum()) / case.step_count
    own = case.account.exclusive[rows]
    kernels, whole = int(own.sum()), case.time(inside)
    passes = _passes(case, rows)
    kept = np.full(len(own), _KEPT.get(max(passes, 1), _ONE_PASS))
    if not case.on_device and passes > 1:
        kept[own >= _LARGE_NS] = _ONE_LARGE_PASS
    floor = int((np.maximum(own - _EACH_NS, 0) * kept).sum())
    if not case.on_device:
        floor += int(inside.sum()) * RECORDING_NS + _parameters(case) * _PARAMETER_NS
    time = (kernels if foreach else whole) - floor
    if count < _MANY or (passes == 1 and not case.on_device) or not case.is_worth(time, _LEAST):
        return None
    name = optimizer or "the optimizer"
    how = "in several passes (foreach)" if foreach else "one parameter after the other"
    what = "kernels" if case.on_device else "operators"
    text = (
        f"{name} updates {how}: {amount(count)} {what} and {case.each(whole)}, which one fused kernel does in one pass"
    )
    advice = _advice(optimizer, foreach=foreach, on_device=case.on_device)
    return Finding(UNFUSED_OPTIMIZER, text, case.cost(time), kernel_rows(case, rows), advice, "derived")


def _texts(case: Case, rows: Bools) -> list[str]:
    """The names of kernels and operators of these rows."""
    present = np.unique(np.append(case.account.name[rows], case.account.operator[rows]))
    return [case.trace.names[index] for index in present.tolist() if index != NONE]


def _optimizer(case: Case, rows: Bools) -> str:
    """The class of the optimizer in whose step most of these rows' time is; empty where no range names one."""
    host = case.host
    step = at(nearest(host.forest.parent, case.ranges(_NAMED.search)), case.account.place[rows], absent=NONE)
    time = np.bincount(at(host.name, step, absent=NONE) + 1, case.account.exclusive[rows], len(host.names) + 1)[1:]
    found = _NAMED.search(host.names[int(time.argmax())]) if time.any() else None
    return found[1] if found else ""


def _advice(optimizer: str, *, foreach: bool, on_device: bool) -> str:
    """What this optimizer can do; perfkit's flag where it is, or may be, that of perfkit's own model."""
    if optimizer in ("", "AdamW"):
        return "fused=True when the optimizer is made (perfkit run: --optimizer adamw-fused)"
    if optimizer in _HAS_FUSED or (optimizer == "Adagrad" and not on_device):
        return "fused=True when the optimizer is made"
    compiled = "torch.compile of optimizer.step, or an optimizer that has fused=True"
    return (
        f"foreach=True when the optimizer is made, {compiled}"
        if optimizer in _HAS_FOREACH and not foreach
        else compiled
    )


def is_unfused(case: Case) -> bool:
    """Whether there is an optimizer's step, and no kernel or operator of a fused one."""
    rows = optimizer_rows(case) & case.is_inside
    return bool(rows.any()) and not any(map(_FUSED.search, (*_texts(case, rows), _optimizer(case, rows))))


def _passes(case: Case, rows: Bools) -> int:
    """How many different operations on elements an optimizer calls; 5 where the recording has no operators.

    What is inside of an operation, such as the sums of sparse gradients that `add_` makes, is no pass of its own.
    """
    if not len(case.units):
        return 5
    table, found = case.units, np.unique(case.unit[rows])
    names = {table.names[name].rstrip("_") for name in table.name[found[found != NONE]].tolist()}
    return sum(kind_of(name) is Kind.POINTWISE for name in names)


def _parameters(case: Case) -> int:
    """Gradients that all steps accumulate."""
    host = case.host
    nodes = case.ranges(lambda name: name.endswith("AccumulateGrad"))
    outermost = nodes & ~at(nodes, host.forest.parent, absent=False)
    return int((case.steps_at(host.start[outermost]) != NONE).sum())


def _zeroes(name: str) -> bool:
    return "zero_grad" in name


def optimizer_rows(case: Case) -> Bools:
    """Rows in an optimizer's step; its zero_grad aside."""
    return case.in_phase(Phase.OPTIMIZER) & ~case.within(case.ranges(_zeroes))


ZEROED_GRADIENTS = Rule(
    "zeroed-gradients",
    "performance",
    "zero_grad fills gradients with zeros, to which backward then adds, where it could let go of them",
)
_WORTH_SAYING = 0.001


def zeroed_gradients(case: Case) -> Finding | None:
    """Fills inside zero_grad.

    At stake: the fills, and the additions of the new gradients to them, one for each fill.
    """
    host = case.host
    inside = case.within(case.ranges(_zeroes))
    operator = case.account.operator
    fills = np.zeros(len(host.names) + 1, dtype=bool)
    for index in np.unique(operator[inside]).tolist():
        fills[index] = index != NONE and re.search(r"zero_|fill_|_foreach_zero", host.names[index]) is not None
    filling = inside & fills[operator] & case.is_inside
    if not filling.any():
        return None
    adding = case.within(case.ranges(lambda name: name.endswith("AccumulateGrad")))
    time = case.time(filling) + case.time(adding)
    if not case.is_worth(time, _WORTH_SAYING):
        return None
    text = (
        f"zero_grad fills gradients with zeros, and backward adds to them:"
        f" {units.duration_ns(case.time(filling) / case.share_of)} of fills and"
        f" {units.duration_ns(case.time(adding) / case.share_of)} of additions{case.a_step}"
    )
    advice = "optimizer.zero_grad(set_to_none=True), PyTorch's default, or model.zero_grad(set_to_none=True)"
    return Finding(ZEROED_GRADIENTS, text, case.cost(time), kernel_rows(case, filling), advice, "derived")
