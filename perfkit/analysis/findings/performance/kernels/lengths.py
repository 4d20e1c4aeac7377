"""Kernels too short to be worth a launch, and one that takes most of the time though it should not."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.intervals import Bools
from perfkit.analysis.findings.performance.case import Case, amount
from perfkit.analysis.findings.performance.evidence import kernel_rows
from perfkit.analysis.findings.performance.program.compiling import is_compiling
from perfkit.analysis.findings.performance.units import is_view
from perfkit.analysis.kernels import kinds
from perfkit.analysis.kernels.short_names.unique import short_names
from perfkit.analysis.time.cells import CELLS, Work, categories
from perfkit.analysis.time.graphs import in_graph
from perfkit.schema import units
from perfkit.schema.finding import Evidence, Finding, Rule

TINY_KERNELS = Rule(
    "tiny-kernels", "performance", "most kernels are shorter than a launch takes, and their sum is a part of the step"
)
_SHORT_NS = 10_000
"""A launch takes 5 to 10 us of the host (NVIDIA, "Getting Started with CUDA Graphs"); nsys-ai's limit is the same."""
_KERNELS = 100
"""A step, below which a few short kernels are the end of something."""
_LEAST = 0.1
"""Share of the step that short kernels, with the idle time between them, must have."""


def tiny_kernels(case: Case) -> Finding | None:
    """Kernels under 10 us, where they are at least half of all kernels.

    At stake: their time, and the idle time between two of them in a row.
    """
    if not case.on_device:
        return None
    account = case.account
    kernels, short = case.is_kernel[account.row] & case.is_inside, short_kernels(case)
    count, of = int(short.sum()), int(kernels.sum())
    time = case.time(short)
    if count < _KERNELS * case.share_of or 2 * count < of or not case.is_worth(time, _LEAST):
        return None
    text = (
        f"{amount(count / case.share_of)} of {amount(of / case.share_of)} kernels{case.a_step} are shorter than 10 us;"
        f" with the idle time between them they take {case.each(time)}"
    )
    how = 'torch.compile(mode="reduce-overhead"), which fuses kernels and replays them as a CUDA graph'
    if 2 * int((short & in_graph(account)).sum()) > count:
        how = "torch.compile, which fuses kernels (they run in CUDA graphs already)"
    advice = f"{how}, or a larger batch (perfkit run: --compile model, --batch-size)"
    return Finding(TINY_KERNELS, text, case.cost(time), kernel_rows(case, short), advice, "derived")


def short_kernels(case: Case) -> Bools:
    """Rows of the account that are such kernels, in the steps."""
    return case.is_kernel[case.account.row] & case.is_inside & (case.account.total < _SHORT_NS)


HOT_SPOT = Rule(
    "hot-spot",
    "performance",
    "one kernel or operator that is no matmul, convolution or attention takes half of the time",
)
_HALF = 0.5
_LEAST_HOT = 0.05
"""Share of the step, below which the device is busy for too little time to have a hot spot."""
_EXPECTED = (
    kinds.MATMUL, kinds.CONVOLUTION, kinds.ATTENTION, kinds.COMMUNICATION, kinds.OPTIMIZER, kinds.HOST, kinds.WAIT,
    kinds.PROGRAM, kinds.HOST_TO_DEVICE, kinds.DEVICE_TO_HOST,
)  # fmt: skip
"""Kinds of work that may well take half of a step, or that other findings are about."""


def hot_spot(case: Case) -> Finding | None:
    """The kernel or operator with most time.

    Where operators were recorded, casts and copies, chains and attention have rules of their own, which know more.

    At stake: its time.
    """
    cells = case.account.partial.of(CELLS)
    cells = cells[cells["work"] != Work.BETWEEN]
    total = int(cells["total_ns"].sum())
    if not total:
        return None
    by_name = cells.groupby("name")["total_ns"].sum()
    index = int(by_name.index[int(by_name.to_numpy().argmax())])
    largest = cells[cells["name"] == index]
    kind = kinds.ALL[int(categories(case.account.partial, largest)[int(np.argmax(largest["total_ns"]))])]
    rows = case.account.name == index
    share = by_name[index] / total
    name = case.trace.names[index]
    if share < _HALF or kind in _EXPECTED or is_compiling(name) or is_view(name):
        return None
    if len(case.units) and (kind == kinds.CAST or 2 * case.time(rows & ~case.unclaimed) > case.time(rows)):
        return None
    time = int(case.account.exclusive[rows & case.is_inside].sum())  # its own: not what is idle between two of it
    if not case.is_worth(time, _LEAST_HOT):
        return None
    said = short_names(case.account.partial.facts.device_names).get(name, name[:80])
    whose = "what the device does" if case.on_device else "the time"
    text = f"{said} ({kind}) alone takes {units.percent(share)} of {whose}, {case.each(time)}"
    cost = case.cost(time)
    advice = "--table layers, which says where it is called, and another algorithm or a fused kernel for it"
    return Finding(HOT_SPOT, text, cost, (Evidence("kernels", {"name": name}),), advice, "measured")
