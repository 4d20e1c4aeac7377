"""Every operator that is counted, and how: a new one is a line in the file of its kind."""

from __future__ import annotations

from perfkit.analysis.costs.flops import attentions, convolutions, matmuls, optimizers, tensors
from perfkit.analysis.costs.flops.call import Call, NotToldError
from perfkit.analysis.costs.flops.formula import Counted, Formula

_FORMULAS = {
    **tensors.FORMULAS,
    **optimizers.FORMULAS,
    **matmuls.FORMULAS,
    **attentions.FORMULAS,
    **convolutions.FORMULAS,
}
_MOST = 1 << 53
"""More operations or bytes than any one call can have: a damaged file's sizes. Sums of fewer are exact in a float."""


def formula_of(name: str) -> Formula | None:
    """How an operator is counted; None for one that is not."""
    return _FORMULAS.get(name) or _FORMULAS.get(name.rstrip("_"))


def is_in_place(name: str) -> bool:
    """Whether an operator writes into its first argument, by PyTorch's naming."""
    return name.endswith("_") and not name.endswith("__")


def counted(formula: Formula, call: Call) -> Counted | None:
    """Operations and bytes of a call; None where its arguments do not tell them."""
    try:
        found = formula.count(call)
    except (NotToldError, IndexError, ValueError):  # missing arguments, or others than the schema's
        return None
    if not 0 <= found.flops < _MOST or (found.bytes is not None and found.bytes >= _MOST):
        return None
    return found
