"""Traces that several tests of wall time look at."""

from __future__ import annotations

from dataclasses import replace

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.time.account import Account, account_for
from perfkit.trace.columns import HostKind
from tests.builders import TraceBuilder

USERS = "train.py(7): loss_of"


def account_of(b: TraceBuilder, source: str = "built by a test") -> Account:
    trace = replace(b.build(), source=source)
    return account_for(trace, attribute(trace))


def loop() -> TraceBuilder:
    """Two steps of 100 ns. In each, a kernel, a wait of `item` for it, and late launches in `fc` and the optimizer."""
    b = TraceBuilder()
    for step in range(2):
        at = 100 * step
        b.step(step, at, at + 100).launched("gemm", at + 1, at + 2, at + 20)
        b.range(USERS, at + 3, at + 30, HostKind.PYTHON).annotation("log", at + 4, at + 29)
        b.range("aten::is_nonzero", at + 5, at + 26).range("aten::item", at + 6, at + 25)
        b.range("aten::_local_scalar_dense", at + 7, at + 24)
        b.range("cudaStreamSynchronize", at + 10, at + 22, HostKind.RUNTIME)
        b.module("fc", at + 40, at + 60).range("aten::linear", at + 41, at + 59).range("aten::mm", at + 50, at + 58)
        b.launched("mm", at + 55, at + 60, at + 70)
        b.range("Optimizer.step#SGD.step", at + 71, at + 100).launched("sgd", at + 94, at + 96, at + 100)
    return b
