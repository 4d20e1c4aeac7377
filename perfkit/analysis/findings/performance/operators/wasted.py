"""Arithmetic that need not be done: in double precision, on one-hot rows, on a text that was computed before."""

from __future__ import annotations

from typing import Any

import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools, Ints
from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.findings.performance.case import CALL_NS, Case, amount
from perfkit.analysis.findings.performance.evidence import kernel_rows
from perfkit.analysis.findings.performance.units import Kind
from perfkit.schema.finding import Finding, Rule
from perfkit.trace.columns import MISSING

_LEAST = 0.02
"""Share of the step at stake from which the findings are made."""

DOUBLE_PRECISION = Rule("double-precision", "performance", "operators compute in float64, where float32 would do")
_DOUBLE = ("double", "c10::complex<double>")
_SAVED = 0.5


def double_precision(case: Case) -> Finding | None:
    """Operators one of whose arguments is a tensor of float64 with several elements, by the types that were recorded.

    At stake: half of their time, since a number is half as long in float32, and vectors hold twice as many. A GPU
    without fp64 units for it saves more, a data centre's in matmuls on tensor cores about as much.
    """
    units = _with_operands(case, _is_double)
    rows = case.rows_of(units, backward=False)
    time = case.time(rows)
    if not case.is_worth(time * _SAVED, _LEAST):
        return None
    count = int((units & (case.steps_at(case.units.start) != NONE)).sum())
    text = (
        f"operators on float64: {case.count(count)}{case.a_step}, {case.each(time)}; in float32 memory and"
        " vector units do twice as much"
    )
    advice = (
        "float32 for model and data: tensor.float() or dtype=torch.float32 where NumPy's arrays or Python's numbers"
        " become tensors, no model.double() and no torch.set_default_dtype(torch.float64)"
    )
    return Finding(DOUBLE_PRECISION, text, case.cost(time * _SAVED), kernel_rows(case, rows), advice, "derived")


def _is_double(shapes: tuple[Any, ...], dtypes: tuple[str, ...]) -> bool:
    return any(dtype in _DOUBLE and _several(sizes) for sizes, dtype in zip(shapes, dtypes, strict=False))


def _several(sizes: tuple[Any, ...]) -> bool:
    """Whether a tensor of these sizes has more than one element; a list of tensors has sizes of sizes."""
    numbers = [size for size in sizes if isinstance(size, int)]
    return len(numbers) == len(sizes) and bool(numbers) and int(np.prod(numbers)) > 1


def _with_operands(case: Case, test: Any) -> Bools:
    """Units whose shapes and types pass a test; each different pair is looked at once."""
    found = np.zeros(len(case.units), dtype=bool)
    if case.operands is None:
        return found
    operands = case.operands
    rows = case.host.forest.order[case.units.row]
    shape, dtype = operands.shapes[rows], operands.dtypes[rows]
    known = np.flatnonzero((shape != MISSING) & (dtype != MISSING))
    pairs, place = np.unique(np.stack((shape[known], dtype[known])), axis=1, return_inverse=True)
    passes = [test(operands.all_shapes[one], operands.all_dtypes[other]) for one, other in pairs.T.tolist()]
    found[known] = np.array(passes, dtype=bool)[place.ravel()] if passes else False
    return found


ONE_HOT_MATMUL = Rule(
    "one-hot-matmul", "performance", "a matmul with one-hot rows picks rows of a table, which an embedding looks up"
)
_PRODUCTS = ("matmul", "mm", "linear", "addmm", "bmm", "einsum")
_BETWEEN = 2
"""Casts between the one-hot tensor and its product."""


def one_hot_matmul(case: Case) -> Finding | None:
    """one_hot, perhaps a cast, and a matmul.

    At stake: all of them, with their backward.
    """
    table = case.units
    rows = np.flatnonzero(case.works)
    starts = np.flatnonzero(table.named("one_hot")[rows])
    chosen = np.zeros(len(table), dtype=bool)
    count = 0
    for start in starts.tolist():
        after = rows[start + 1 : start + 2 + _BETWEEN]
        casts = np.cumprod(table.kind[after] == Kind.COPY).sum()
        if casts < len(after) and table.names[table.name[after[casts]]] in _PRODUCTS:
            chosen[[rows[start], *after[: casts + 1]]] = True
            count += int(case.steps_at(table.start[rows[start : start + 1]])[0] != NONE)
    flagged = case.rows_of(chosen)
    time = case.time(flagged)
    if not count or not case.is_worth(time, _LEAST):
        return None
    text = (
        f"one-hot rows are multiplied with a table {case.times_a_step(count)}, which picks some of its rows: with"
        f" backward {case.each(time)}"
    )
    advice = "F.embedding(indices, table), nn.Embedding, or table[indices], which read the rows alone"
    return Finding(ONE_HOT_MATMUL, text, case.cost(time), kernel_rows(case, flagged), advice, "derived")


NO_KV_CACHE = Rule(
    "no-kv-cache", "performance", "a text grows by one token a pass, and each pass attends to all of it anew"
)
_ATTENTION = ("scaled_dot_product_attention", "softmax", "_softmax")
_GROWTHS = 3
"""Passes that are longer by one than the one before, from which a text grows."""
_OFTEN = 1 / 3
"""Share of the passes that are: batches of any length are seldom one longer than the one before."""


def attends_without_backward(case: Case) -> bool:
    """Whether there is attention, and no backward."""
    return bool(case.units.named(*_ATTENTION).any()) and not (case.unit_phase == Phase.BACKWARD).any()


def no_kv_cache(case: Case) -> Finding | None:
    """Attention without backward, whose queries are one more from pass to pass.

    At stake: what the passes after the first of a text take, but for one token each, as if each token of a pass took
    as long; on a host, less the 5 us of a call for each of their operators.
    """
    if case.operands is None or not attends_without_backward(case):
        return None
    lengths = _passes(case)
    grown = np.append(False, np.diff(lengths) == 1) & (lengths > 1)
    if len(lengths) < 2 or grown.sum() < max(_GROWTHS, _OFTEN * len(lengths)):
        return None
    again = float((lengths[grown] - 1).sum() / lengths.sum())
    rows = case.is_inside
    time = (case.time(rows) if case.on_device else case.step_ns * case.step_count) * again
    if not case.on_device:
        calls = int((case.works & (case.steps_at(case.units.start) != NONE)).sum())
        time -= calls * float(grown.mean()) * CALL_NS
    if not case.is_worth(time, _LEAST):
        return None
    text = (
        f"a text grows by a token {amount(float(grown.sum()) / case.step_count)} times{case.a_step}, up to"
        f" {int(lengths.max()):,}, and attention runs on all of it each time: {case.each(time)} for tokens that were"
        " computed before"
    )
    advice = "a cache of keys and values (transformers: use_cache=True), so that a pass takes the new token alone"
    return Finding(NO_KV_CACHE, text, case.cost(time), kernel_rows(case, rows), advice, "derived")


def _passes(case: Case) -> Ints:
    """How many queries attend in each pass; calls in a row with as many are one pass."""
    assert case.operands is not None
    table, operands = case.units, case.operands
    rows = np.flatnonzero(table.named(*_ATTENTION) & (case.steps_at(table.start) != NONE))
    lengths: list[int] = []
    for code in operands.shapes[case.host.forest.order[table.row[rows]]].tolist():
        queries = _queries(operands.all_shapes[code]) if code != MISSING else None
        if queries is not None and lengths[-1:] != [queries]:
            lengths.append(queries)
    return np.array(lengths, dtype=np.int64)


def _queries(shapes: tuple[Any, ...]) -> int | None:
    """The last size but one of the first argument, [..., queries, width] or [..., queries, keys]."""
    return int(shapes[0][-2]) if shapes and len(shapes[0]) > 2 else None
