"""Users' ranges in files of 2021 and 2022, which call all that a host does operators."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perfkit.trace.chrome.reader import read_chrome_json
from perfkit.trace.columns import HostKind


def users_ranges(category: str, *named: tuple[str, dict[str, Any]]) -> list[str]:
    """Names of the events of one category that the reader takes for a user's ranges."""
    events = [
        {"ph": "X", "cat": category, "name": name, "pid": 1, "tid": 1, "ts": 10 * at, "dur": 5, "args": args}
        for at, (name, args) in enumerate(named)
    ]
    trace = read_chrome_json([json.dumps({"traceEvents": events}).encode()], "t.json")
    return [str(name) for name in trace.host_names(trace.host.kind == HostKind.ANNOTATION)]


TORCHS_OWN = [
    "ProfilerStep#0", "Optimizer.step#SGD.step", "Optimizer.zero_grad#SGD.zero_grad",
    "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__",
]  # fmt: skip


@pytest.mark.parametrize("category", ["Operator", "operator", "cpu_op"])
def test_torchs_own_ranges_go_by_their_names(category):
    assert users_ranges(category, *((name, {}) for name in TORCHS_OWN), ("aten::mm", {})) == TORCHS_OWN


def test_where_all_host_events_have_one_category_a_users_are_what_is_left():
    """GIVEN operators, inner names of operators, backward nodes with and without numbers, and ranges"""
    found = users_ranges(
        "Operator",
        ("aten::detach", {}), ("detach", {}), ("my range", {}), ("autograd::engine::evaluate_function: MyNode", {}),
        ("MyNode", {}), ("MulBackward0", {}), ("CopySlices", {"Sequence number": 3, "Fwd thread id": 1}),
        ("## forward ##", {}),
    )  # fmt: skip
    assert found == ["my range", "## forward ##"]


def test_operators_of_their_own_category_stay_what_they_are():
    assert users_ranges("cpu_op", ("my range", {}), ("ProfilerStep#x", {})) == []
