"""Copies that change a type or a layout, put tensors together, or fill a tensor before it goes to the device."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools
from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.findings.performance.case import Case, amount, names_of
from perfkit.analysis.findings.performance.evidence import kernel_rows
from perfkit.analysis.findings.performance.units import Kind
from perfkit.schema.finding import Finding, Rule
from perfkit.trace.columns import MISSING, DeviceKind
from perfkit.trace.detail_columns import Operand

_LEAST = 0.02
"""Share of the step from which the findings are made."""
_FEW = 4
"""Copies a step, below which nothing repeats."""
_LARGE = 16_384
"""Elements of a tensor that a core's first cache does not hold; in smaller ones the order of reading matters less."""
_MODEL = (Phase.FORWARD, Phase.RECOMPUTE, Phase.BACKWARD, Phase.OTHER)

REPEATED_CASTS = Rule("repeated-casts", "performance", "casts from one number type to another that come in every step")
LAYOUT_COPIES = Rule(
    "layout-copies", "performance", "copies into another layout: contiguous, clone, reshape of a transposed tensor"
)
CONCATENATIONS = Rule("concatenations", "performance", "tensors that cat or stack copies together")
INDEX_PUTS = Rule(
    "index-puts", "performance", "index_put and the backward of indexing by a tensor, which sort or lock their indices"
)


def repeated_casts(case: Case) -> Finding | None:
    """Copies inside `_to_copy` that stay on their device, chains of elementwise operations aside.

    At stake: their time.
    """
    rows = cast_rows(case)
    advice = (
        "weights that are kept in the type they are used in, one cast before the loop, torch.autocast, which casts each"
        " weight once a step, or torch.compile, which casts where it reads (perfkit run: --precision bf16)"
    )
    return _of_copies(case, REPEATED_CASTS, "casts between number types", rows, ("_to_copy",), advice)


def cast_rows(case: Case) -> Bools:
    """Rows of the account that are casts."""
    return _in(case, "_to_copy") & _stays(case) & _is_of_model(case)


def layout_copies(case: Case) -> Finding | None:
    """Copies inside clone, contiguous or reshape.

    At stake: their time, with the backward nodes that are such copies themselves. On a host also the time of
    elementwise operators that read one tensor along its rows and another across: what is copied on the way back is
    there a view across, and its readers are slow instead.
    """
    rows = layout_rows(case)
    across = _across(case) & ~rows
    advice = (
        "one layout from the start (memory_format=torch.channels_last, weights stored as they are used), einsum or SDPA"
        " in place of transpose and contiguous, view in place of reshape where it does not copy"
    )
    finding = _of_copies(case, LAYOUT_COPIES, "copies into another layout", rows, ("clone",), advice)
    slow = case.time(across)
    if finding is None or not slow:
        return finding
    units = np.unique(case.unit[across & case.is_inside])
    said = f"{names_of(case, units)} on tensors of two layouts: {case.times_a_step(len(units))}, {case.each(slow)}"
    cost = case.cost(case.time(rows | across))
    return replace(finding, what=f"{finding.what}; {said}", cost=cost)


def _across(case: Case) -> Bools:
    """Rows of the account in elementwise operators whose tensors of one shape lie in memory in different orders."""
    operands = case.operands
    if case.on_device or operands is None:
        return np.zeros(len(case.account), dtype=bool)
    table = case.units
    rows = case.host.forest.order[table.row]
    pairs = np.stack((operands.shapes[rows], operands.strides[rows]), axis=1)
    pairs[table.kind != Kind.POINTWISE] = MISSING
    different, place = np.unique(pairs, axis=0, return_inverse=True)
    mixed = [
        MISSING not in pair and _mixed(operands.all_shapes[pair[0]], operands.all_strides[pair[1]])
        for pair in different.tolist()
    ]
    return (
        case.rows_of(np.array(mixed, dtype=bool)[place.ravel()], backward=False) & case.unclaimed & _is_of_model(case)
    )


def _mixed(shapes: Sequence[Operand], strides: Sequence[Operand]) -> bool:
    """Whether large tensors of one shape have their dimensions in different orders."""
    orders: dict[Operand, set[tuple[int, ...]]] = {}
    for shape, stride in zip(shapes, strides, strict=False):
        if not all(isinstance(size, int) for size in (*shape, *stride)):
            continue  # a list of tensors
        sizes, steps = np.array(shape), np.array(stride)
        if sizes.ndim != 1 or sizes.shape != steps.shape or sizes.prod() < _LARGE:
            continue
        long = np.flatnonzero(sizes > 1)
        if (steps[long] > 0).all():  # 0: the same element again and again
            orders.setdefault(shape, set()).add(tuple(np.argsort(-steps[long], kind="stable").tolist()))
    return any(len(found) > 1 for found in orders.values())


def layout_rows(case: Case) -> Bools:
    """Rows of the account that are copies into another layout."""
    return _in(case, "clone") & ~case.within(_named(case, "_to_copy")) & _is_of_model(case)


def concatenations(case: Case) -> Finding | None:
    """Tensors put together.

    At stake: the time of cat and stack, with their backward.
    """
    rows = joining_rows(case)
    advice = (
        "one tensor that is made once and written in slices, a layer that takes the parts separately, or torch.compile,"
        " which writes them where they belong (a key-value cache: index_copy_ into a buffer)"
    )
    return _of_copies(case, CONCATENATIONS, "concatenations", rows, ("cat", "stack"), advice)


def joining_rows(case: Case) -> Bools:
    """Rows of the account that put tensors together, with their backward."""
    named = case.units.named("cat", "stack", "hstack", "vstack", "concat", "concatenate")
    named &= case.unit_phase != Phase.BACKWARD  # there cat is how the gradient of a split is made
    return case.rows_of(named & (case.chains == NONE)) & _is_of_model(case)


def index_puts(case: Case) -> Finding | None:
    """index_put_ in forward or backward.

    At stake: its time, most of which gather, index_select or an embedding would not take.
    """
    rows = index_put_rows(case)
    advice = (
        "torch.index_select, gather, take_along_dim or F.embedding for what is indexed, whose backward adds without a"
        " sort, or a mask with torch.where"
    )
    return _of_copies(case, INDEX_PUTS, "writes by a tensor of indices", rows, ("_index_put_impl_",), advice)


def index_put_rows(case: Case) -> Bools:
    """Rows of the account in index_put."""
    return _in(case, "index_put_", "_index_put_impl_", "index_put") & _is_of_model(case)


def _of_copies(
    case: Case, rule: Rule, what: str, rows: Bools, operators: tuple[str, ...], advice: str
) -> Finding | None:
    time = case.time(rows)
    if not case.is_worth(time, _LEAST):
        return None
    calls = np.unique(case.unit[rows & case.is_inside & case.within(_named(case, *operators))])
    count = len(calls[calls != NONE]) / case.step_count
    if rule in (REPEATED_CASTS, CONCATENATIONS) and count < _FEW:
        return None
    text = f"{what}: {amount(count)}{case.a_step}, {case.each(time)}"
    return Finding(rule, text, case.cost(time), kernel_rows(case, rows), advice, "derived")


def _named(case: Case, *operators: str) -> Bools:
    """Ranges of operators of these names."""
    ends = tuple(f"::{operator}" for operator in operators)
    return case.ranges(lambda name: name.endswith(ends))


def _in(case: Case, *operators: str) -> Bools:
    """Rows in an operator of one of these names, attention written out and elementwise chains aside."""
    return case.within(_named(case, *operators)) & case.unclaimed


def _is_of_model(case: Case) -> Bools:
    return case.in_phase(*_MODEL)


def _stays(case: Case) -> Bools:
    """Rows that copy nothing to or from the host: kernels, and copies within a device."""
    if not case.on_device:
        return np.ones(len(case.account), dtype=bool)
    kind = case.trace.device.kind[case.account.row]
    names = case.trace.names
    crosses = np.array([re.search(r"HtoD|DtoH|H2D|D2H|HostTo|ToHost", name) is not None for name in names] or [False])
    return (kind != DeviceKind.MEMCPY) | ~crosses[case.account.name]


COPIES_BEFORE_DEVICE = Rule(
    "copies-before-device",
    "performance",
    "a tensor is filled on the host and then copied to the device, where it could be made",
)
_FILLS = (
    "ones", "zeros", "full", "fill_", "zero_", "rand", "randn", "randint", "randperm", "normal_", "uniform_", "arange",
    "eye", "linspace", "bernoulli_", "random_", "triu", "tril",
)  # fmt: skip


_FILL_SHARE = 0.1
"""A fill takes at least this share of the copy of what it made: a scalar made just before is another tensor."""


def copies_before_device(case: Case) -> Finding | None:
    """Fills on the host that are followed at once by a copy to the device.

    At stake: the time of both on the host, which is all there is if the device has to wait.
    """
    if not case.on_device or not len(case.units):
        return None
    table = case.units
    moves = table.named("to", "copy_", "_to_copy", "cuda") & _copies_to_device(case)
    fills = table.named(*_FILLS) & ~case.works
    busy = np.flatnonzero(case.works | fills)
    before = np.append(False, fills[busy][:-1] & (table.thread[busy][1:] == table.thread[busy][:-1]))
    pair = np.flatnonzero(before & moves[busy])
    moved, filled = busy[pair], busy[np.maximum(pair - 1, 0)]
    inside = case.steps_at(table.start[moved]) != NONE
    moved, filled = moved[inside], filled[inside]
    length = table.end - table.start
    real = length[filled] >= _FILL_SHARE * length[moved]
    moved, filled = moved[real], filled[real]
    time = int(length[np.append(moved, filled)].sum())
    if not len(moved) or time < _LEAST / 2 * case.step_ns * case.step_count:
        return None
    names = ", ".join(dict.fromkeys(table.names[table.name[row]] for row in filled.tolist()))
    text = (
        f"tensors that are filled on the host ({names}) and then copied to the device: {case.count(len(moved))}"
        f"{case.a_step}, {case.each_of_host(time)}"
    )
    rows = np.isin(case.unit, moved)
    advice = "device=... when the tensor is made, or making it once outside the loop"
    return Finding(COPIES_BEFORE_DEVICE, text, case.host_cost(time), kernel_rows(case, rows), advice, "derived")


def _copies_to_device(case: Case) -> Bools:
    """Units that launched a copy from the host to a device."""
    names = np.array([re.search(r"HtoD|H2D|HostToDevice", name) is not None for name in case.trace.names], dtype=bool)
    there = names[case.account.name] & (case.unit != NONE)
    moves = np.zeros(len(case.units), dtype=bool)
    moves[case.unit[there]] = True
    return moves
