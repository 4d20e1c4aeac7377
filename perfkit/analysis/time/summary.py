"""The scalars of a trace, for scripts and for headlines; times in ns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.kernels.kinds import ALL, OTHER
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.cells import CELLS, Work, categories, unattributed
from perfkit.analysis.time.paces import step_time
from perfkit.analysis.time.partial import Fold, Partial, Rows

Scalars: TypeAlias = Mapping[str, Any]
"""As `summary` gives them."""


def _spans(account: Account) -> Rows:
    events = account.trace.device
    row = account.row if account.on_device else account.row[:0]
    return {"device": account.device[: len(row)], "first": events.start[row], "last": events.end[row]}


SPANS = Fold(
    "spans",
    _spans,
    keys=("device",),
    measures={"first": "min", "last": "max"},
    texts={"device": "device_labels"},
    is_counted=True,
)
"""From when to when each device has work, ns."""


def _nodes(account: Account) -> Rows:
    links = account.attribution.links
    numbered = links.numbered
    is_linked = links.target[numbered] != NONE
    counts = {"nodes": numbered, "linked": is_linked, "ranges": links.is_hooked}
    source = np.array([account.trace.source], dtype=object)
    return {"source": source, **{name: np.array([int(rows.sum())]) for name, rows in counts.items()}}


NODES = Fold("nodes", _nodes, keys=("source",), measures={"nodes": "max", "linked": "max", "ranges": "max"})
"""Backward nodes of a file, those that link to their forward operation, and perfkit's ranges round nodes."""


def summary(partial: Partial) -> dict[str, Any]:
    """The scalars of a trace."""
    facts, cells = partial.facts, partial.of(CELLS)
    on_device = cells if facts.on_device else cells[:0]
    kernels = on_device[on_device["work"] == Work.KERNEL]
    used = {facts.device_labels[number] for number in partial.of(SPANS)["device"]}
    nodes, step = partial.of(NODES), step_time(partial)
    return {
        "source": ", ".join(facts.sources),
        "format": ", ".join(facts.tools),
        "devices": [device.name for label, device in facts.devices if label in used],
        "kernels": int(kernels["count"].sum()),
        "kernel_time_ns": int(kernels["total_ns"].sum()),
        "gpu_events": int(on_device["count"].sum()),
        "gpu_time_ns": int(on_device["total_ns"].sum()),
        "busy_ns": int(on_device["exclusive_ns"].sum()),
        "steps": len(facts.steps),
        "step_wall_ns": facts.step_wall,
        "step_ns": step.ns if step else None,
        "step_until_done": step.is_pace if step else None,
        "step_source": facts.step_source.value,
        "total_ns": int(cells["total_ns"].sum()),
        "unattributed_ns": int(cells["total_ns"][cells["reason"] != NONE].sum()),
        "unattributed_reasons_ns": unattributed(partial),
        "other_category_ns": int(cells["total_ns"][categories(partial, cells) == ALL.index(OTHER)].sum()),
        "scoped_ns": int(cells["scoped_ns"].sum()),
        "scope_source": facts.scope_source.value,
        "layers_by": facts.layers_by.value,
        "backward_nodes": int(nodes["nodes"].sum()),
        "backward_nodes_linked": int(nodes["linked"].sum()),
        "backward_ranges": int(nodes["ranges"].sum()),
    }


def device_span(partial: Partial) -> int:
    """From the first event's start to the last one's end, added up over devices, ns."""
    spans = partial.of(SPANS)
    return int((spans["last"] - spans["first"]).sum())
