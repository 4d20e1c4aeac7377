"""Find users' ranges among the events that files of 2021 and 2022 wrote as operators.

Since late 2022 torch.profiler gives a `record_function` range the category `user_annotation`. Before, all host events
had the category `Operator` (torch 1.8 to 1.10) or `cpu_op`, and a reader has to tell by the name.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from perfkit.regex import Regex
from perfkit.trace.columns import MISSING, HostKind, HostRanges

OLD_CATEGORY = "operator"
"""The category, in lower case, of every host event of torch 1.8 to 1.10."""

_TORCHS_OWN = Regex(r"ProfilerStep#\d+$|Optimizer\.(step|zero_grad)#|enumerate\(DataLoader\)#")
"""Names of the ranges that torch itself opens: torch/profiler/profiler.py, optim/optimizer.py, utils/data."""
_ENGINE = "autograd::engine::evaluate_function: "
_NODE = Regex(r"\w+Backward\d*$")


def with_annotations(host: HostRanges, names: tuple[str, ...], *, any_name: bool) -> HostRanges:
    """Host ranges, with those that a user or torch opened by `record_function` as annotations, not operators.

    torch's own go by their names. `any_name`: all host events have one category, so that a user's ranges are what is
    left. They have no namespace, no sequence number, and neither an operator's name (`detach_` stands inside
    `aten::detach_`) nor a backward node's.
    """
    operators = host.kind == HostKind.OP
    is_range = np.array([_TORCHS_OWN.match(name) is not None for name in names], dtype=bool)
    if any_name:
        known = set(names)
        others = np.array([_is_free(name, known) for name in names], dtype=bool)
        others[host.name[operators & (host.sequence != MISSING)]] = False
        is_range |= others
    found = operators & is_range[host.name] if len(names) else operators
    if not found.any():
        return host
    return dataclasses.replace(host, kind=np.where(found, HostKind.ANNOTATION, host.kind).astype(host.kind.dtype))


def _is_free(name: str, known: set[str]) -> bool:
    """Whether neither an operator nor a backward node has this name."""
    return "::" not in name and f"aten::{name}" not in known and _ENGINE + name not in known and not _NODE.match(name)
