"""What a replay takes away for rules about operators and kernels: the work that their findings are about."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools, at, nearest
from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.findings.performance.kernels.lengths import short_kernels
from perfkit.analysis.findings.performance.kernels.precision import fp32_rows, kept
from perfkit.analysis.findings.performance.kernels.tensor_cores import matmul_rows
from perfkit.analysis.findings.performance.operators import copies
from perfkit.analysis.findings.performance.operators.attention import math_rows
from perfkit.analysis.findings.performance.operators.optimizer import optimizer_rows
from perfkit.analysis.findings.performance.program.compiling import is_compiling
from perfkit.analysis.findings.performance.program.parallel import copies_back
from perfkit.analysis.time.account import is_operator
from perfkit.analysis.time.replay.edit import Edit
from perfkit.schema.finding import Finding


def without(case: Case, rows: Bools, factor: float = 0.0) -> Edit:
    """Without these rows of the account, and without the operators that launched them and nothing else.

    Of an operator that launched other work too, the innermost one inside it goes.
    """
    account, units = case.account, case.units
    device = np.zeros(len(case.trace.device.start), dtype=bool)
    device[account.row[rows]] = True
    all_, some = (np.bincount(unit + 1, minlength=len(units) + 1)[1:] for unit in (case.unit, case.unit[rows]))
    whole = (some == all_) & (some > 0)
    host = np.zeros(len(case.host.name), dtype=bool)
    host[units.row[whole]] = True
    rest = account.place[rows & ~at(whole, case.unit, absent=False)]
    inner = at(nearest(case.host.forest.parent, is_operator(account.attribution)), rest, absent=NONE)
    host[inner[inner != NONE]] = True
    return Edit(device=device, host=host, factor=factor)


def _less(case: Case, rows: Bools, finding: Finding) -> Edit:
    """The rows and their operators, less what the finding says could be saved of them."""
    time = case.time(rows)
    return without(case, rows, max(1 - (finding.cost.ns or 0) * case.share_of / time, 0.0) if time else 0.0)


def on_tensor_cores(case: Case, _: Finding) -> Edit:
    """Multiplications in fp32 on tensor cores."""
    device = np.zeros(len(case.trace.device.start), dtype=bool)
    device[case.account.row[fp32_rows(case)]] = True
    return Edit(device=device, factor=kept(case))


def faster_matmuls(case: Case, finding: Finding) -> Edit:
    """Matmuls, all of them less what the finding says could be saved of some."""
    rows = matmul_rows(case)
    device, time = np.zeros(len(case.trace.device.start), dtype=bool), case.time(rows)
    device[case.account.row[rows]] = True
    return Edit(device=device, factor=max(1 - (finding.cost.ns or 0) * case.share_of / time, 0.0) if time else 1.0)


def without_zeroing(case: Case, _: Finding) -> Edit:
    """Gradients that are let go of: without what fills them with zeros, and without the additions to them."""
    adding = case.within(case.ranges(lambda name: name.endswith("AccumulateGrad")))
    device = np.zeros(len(case.trace.device.start), dtype=bool)
    device[case.account.row[adding]] = True
    return Edit(device=device, host=case.ranges(lambda name: "zero_grad" in name))


def without_scores(case: Case, _: Finding) -> Edit:
    """What attention written out does between its matmuls."""
    return without(case, case.attention_rows)


def without_math(case: Case, _: Finding) -> Edit:
    """What SDPA's math backend does besides its matmuls."""
    return without(case, math_rows(case))


def without_casts(case: Case, _: Finding) -> Edit:
    """Casts."""
    return without(case, copies.cast_rows(case))


def without_layouts(case: Case, _: Finding) -> Edit:
    """Copies into another layout."""
    return without(case, copies.layout_rows(case))


def without_joining(case: Case, _: Finding) -> Edit:
    """Tensors put together."""
    return without(case, copies.joining_rows(case))


def without_index_puts(case: Case, _: Finding) -> Edit:
    """Writes by a tensor of indices."""
    return without(case, copies.index_put_rows(case))


def without_tiny(case: Case, _: Finding) -> Edit:
    """Short kernels, and the operators that launch them."""
    return without(case, short_kernels(case))


def without_recomputation(case: Case, _: Finding) -> Edit:
    """What runs forward again."""
    return without(case, case.in_phase(Phase.RECOMPUTE))


def fused_chains(case: Case, finding: Finding) -> Edit:
    """Elementwise chains, as fast as one kernel each."""
    return _less(case, case.rows_of(case.chains != NONE), finding)


def fused_optimizer(case: Case, finding: Finding) -> Edit:
    """The optimizer's kernels, as fast as one pass."""
    return _less(case, optimizer_rows(case), finding)


def without_bucket_copies(case: Case, _: Finding) -> Edit:
    """Gradients that are views of their buckets."""
    return Edit(host=copies_back(case))


def without_compiling(case: Case, _: Finding) -> Edit:
    """Code that is compiled and loaded already."""
    return Edit(host=case.ranges(is_compiling))


def without_hot_spot(case: Case, finding: Finding) -> Edit:
    """The kernel that the finding names."""
    name = finding.evidence[0].key["name"]
    return without(case, case.account.name == case.trace.names.index(str(name)))
