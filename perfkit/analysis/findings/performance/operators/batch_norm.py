"""Batch norm across ranks, and convolutions whose bias it takes away again."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Ints, at, nearest
from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.findings.performance.case import Case, amount
from perfkit.analysis.findings.performance.evidence import kernel_rows
from perfkit.analysis.findings.performance.units import base
from perfkit.regex import Regex
from perfkit.schema.finding import Finding, Rule

SYNC_BATCH_NORM = Rule(
    "sync-batch-norm", "performance", "batch norm exchanges its statistics between ranks more than 20 times a step"
)
_MANY = 20
"""Synchronised norms a step, in forward (msprof's advisor)."""
_SYNCHRONISED = Regex(r"SyncBatchNorm|batch_norm_gather_stats|batch_norm_backward_reduce|batch_norm_stats")


def sync_batch_norm(case: Case) -> Finding | None:
    """Norms that gather statistics.

    At stake: the collectives that their functions launch, as far as nothing runs beside them, and the kernels that put
    the statistics together.
    """
    host = case.host
    gathers = np.flatnonzero(case.ranges(lambda name: base(name).startswith("batch_norm_gather_stats")))
    count = int((case.steps_at(host.start[gathers]) != NONE).sum()) / case.step_count
    if count <= _MANY:
        return None
    inside = nearest(host.forest.parent, case.ranges(lambda name: _SYNCHRONISED.search(name) is not None))
    elementwise = case.ranges(lambda name: base(name) in ("batch_norm_elemt", "batch_norm_backward_elemt"))
    rows = at(inside, case.account.place, absent=NONE) != NONE
    rows &= ~case.within(elementwise)
    time = case.time(rows)
    text = (
        f"batch norms that gather their statistics from all ranks: {amount(count)}{case.a_step}, and the exchange takes"
        f" {case.each(time)}"
    )
    advice = "plain BatchNorm where each rank's batch is large enough, GroupNorm, or statistics frozen after warm-up"
    return Finding(SYNC_BATCH_NORM, text, case.cost(time), kernel_rows(case, rows), advice, "derived")


BIAS_BEFORE_BATCH_NORM = Rule(
    "bias-before-batch-norm", "performance", "a convolution adds a bias that the batch norm after it takes away again"
)
_BIAS = 2
"""Argument of aten::conv2d and its like."""

_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "convolution", "_convolution")
_NORMS = ("batch_norm", "_batch_norm_impl_index", "native_batch_norm", "cudnn_batch_norm")


def has_both(case: Case) -> bool:
    """Whether there are convolutions and batch norms."""
    return bool(case.units.named(*_CONVOLUTIONS).any() and case.units.named(*_NORMS).any())


def bias_before_batch_norm(case: Case) -> Finding | None:
    """Convolutions with a bias followed by a batch norm, by the shapes that the file recorded.

    At stake: the additions inside these convolutions and the sums of the bias's gradient; 0 where the library adds it
    inside its own kernel.
    """
    table = case.units
    if not has_both(case) or case.operands is None:
        return None
    convolutions, norms = table.named(*_CONVOLUTIONS), table.named(*_NORMS)
    rows = np.flatnonzero(case.works & ~table.named("add_"))  # the norm's count of batches, before it
    follows = np.append(norms[rows][1:] & (table.thread[rows][1:] == table.thread[rows][:-1]), False)
    found = rows[follows & convolutions[rows]]
    biased = found[_has_bias(case, found)]
    biased = biased[case.steps_at(table.start[biased]) != NONE]
    if not len(biased):
        return None
    flags = np.zeros(len(table), dtype=bool)
    flags[biased] = True
    adds = case.ranges(lambda name: base(name) in ("add_", "sum", "add"))
    counted = case.rows_of(flags) & case.within(adds)
    time = case.time(counted)
    text = (
        f"convolutions that add a bias which the batch norm after them takes away again:"
        f" {case.count(len(biased))}{case.a_step}{f', {case.each(time)}' if time else ''}"
    )
    advice = "bias=False in these convolutions; the norm has a shift of its own"
    if not bool((case.account.phase == Phase.BACKWARD).any()):  # a trained model needs its bias until it is folded
        advice = "torch.nn.utils.fusion.fuse_conv_bn_eval, which folds norm and bias into the convolution's weights"
    return Finding(BIAS_BEFORE_BATCH_NORM, text, case.cost(time), kernel_rows(case, counted), advice, "derived")


def _has_bias(case: Case, found: Ints) -> np.ndarray:
    """Which convolutions have a third argument with a size."""
    operands = case.operands
    assert operands is not None
    code = operands.shapes[case.host.forest.order[case.units.row[found]]]
    has = [len(sizes) > _BIAS and len(sizes[_BIAS]) > 0 for sizes in operands.all_shapes]
    return at(np.array(has, dtype=bool), code, absent=False)
