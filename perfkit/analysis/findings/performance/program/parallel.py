"""Data parallelism: models replicated by one process, and gradients copied out of their buckets."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools
from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.findings.performance.evidence import kernel_rows
from perfkit.regex import Regex
from perfkit.schema.finding import Finding, Rule

DATA_PARALLEL = Rule(
    "data-parallel",
    "performance",
    "nn.DataParallel, which copies the model to each device in every step, in one process",
)
_WRAPPER = Regex(r"(?<![A-Za-z])DataParallel(\.forward|_\d+)?\b(?!ed)")
_EXCHANGE = Regex(r"^(autograd::engine::evaluate_function: )?(Broadcast|Scatter|Gather|ReduceAddCoalesced)(Backward)?$")


def data_parallel(case: Case) -> Finding | None:
    """`DataParallel` among the ranges.

    At stake: what its Broadcast, Scatter, Gather and the additions of gradients take, where the file names them.
    """
    host = case.host
    wrapper = case.ranges(lambda name: _WRAPPER.search(name) is not None)
    if not wrapper.any():
        return None
    rows = case.within(case.ranges(lambda name: _EXCHANGE.search(name) is not None))
    time = case.time(rows)
    calls = int((case.steps_at(host.start[np.flatnonzero(wrapper)]) != NONE).sum())
    text = f"nn.DataParallel runs {case.times_a_step(calls)}: one process copies the model to each device"
    text += f" and gathers results, {case.each(time)}" if time else ""
    advice = "torch.nn.parallel.DistributedDataParallel with a process for each device (torchrun)"
    return Finding(DATA_PARALLEL, text, case.cost(time), kernel_rows(case, rows), advice, "measured")


BUCKET_COPIES = Rule(
    "bucket-copies", "performance", "DistributedDataParallel copies reduced gradients out of its buckets"
)
_LEAST = 0.01
"""Share of the step from which the finding is made."""
_COPIES_BACK = "copy_bucket_to_grad"
"""PyTorch, torch/csrc/distributed/c10d/reducer.cpp: the range round each gradient's copy."""


def bucket_copies(case: Case) -> Finding | None:
    """Copies of each gradient out of the bucket in which it was reduced.

    At stake: their time, since a gradient can be a view of its bucket.
    """
    host = case.host
    copies = copies_back(case)
    if not copies.any():
        return None
    rows = case.within(copies)
    time = case.time(rows)
    if not case.is_worth(time, _LEAST):
        return None
    calls = int((case.steps_at(host.start[np.flatnonzero(copies)]) != NONE).sum())
    text = (
        f"DistributedDataParallel copies {case.count(calls)} gradients{case.a_step} out of its buckets:"
        f" {case.each(time)}"
    )
    advice = "DistributedDataParallel(model, gradient_as_bucket_view=True)"
    return Finding(BUCKET_COPIES, text, case.cost(time), kernel_rows(case, rows), advice, "derived")


def copies_back(case: Case) -> Bools:
    """Ranges that copy a gradient out of its bucket."""
    return case.ranges(lambda name: name.endswith(_COPIES_BACK))
