"""Measure what ranges cost on this machine right now, outside the steps."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn

from perfkit.workload.annotate import annotate


def seconds_per_range(count: int = 20_000, now: Callable[[], float] = time.perf_counter) -> float:
    """Cost of one range's open and close on this machine right now, hook calls included."""
    target = nn.Identity()
    times = []
    for annotated_now in (False, True):
        annotation = annotate(target).install() if annotated_now else None
        begin = now()
        for _ in range(count):
            target(None)
        times.append(now() - begin)
        if annotation:
            annotation.remove()
    return max(0.0, (times[1] - times[0]) / count)


class _Chain(nn.Module):
    """Runs a given number of operations one after the other."""

    def forward(self, x: torch.Tensor, count: int) -> torch.Tensor:
        for _ in range(count):
            x = x * 1.0
        return x


def seconds_per_node(count: int = 5_000, now: Callable[[], float] = time.perf_counter) -> float:
    """Cost of one backward node's range on this machine right now: finding the node, two hooks, open and close."""
    target, x = _Chain(), torch.ones((), requires_grad=True)
    times = []
    for backward in (False, True):
        with annotate(target, backward=backward):
            begin = now()
            target(x, count).backward()
            times.append(now() - begin)
    return max(0.0, (times[1] - times[0]) / count)
