"""Whether a cause's share of the variance is more than chance: a permutation test."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from perfkit.analysis.statistics.patterns import Steps
from perfkit.analysis.statistics.stats import Floats

CHANCE_P = 0.02
"""A share is accepted where fewer than 2% of the permutations give any of the causes a share as large."""
_PERMUTATIONS = 1999
_EXACT = 7
"""Up to so many steps all n! <= 5040 orders are tried."""
_BLOCK = 2_000_000
"""Numbers permuted at a time: 16 MB."""
_SAME = 1e-9
"""Correlations closer than this are the same: those of equal values in another order."""


def p_values(series: Floats, time: Floats) -> Floats:
    """How often unrelated series correlate with time as closely as these; one p for each row of `series`, shape (k, n).

    Under the null hypothesis the order of the steps' times (shape (n,)) is unrelated to the counters. The times are
    permuted against all the counters at once, and each correlation is compared with the largest of all of them in the
    permuted ones: Westfall and Young's single-step maxT (1993), which bounds the probability of one or more
    false names however the counters depend on each other. p = (1 + larger ones) / (1 + permutations) (Phipson and
    Smyth 2010), or, with all n! orders enumerated, their share. Seeded: a record always gives the same result.
    """
    rows, centred = _unit(np.atleast_2d(series)), _unit(time[None, :])[0]
    products = rows @ centred
    n, larger, tried = len(time), np.zeros(len(rows)), 0
    for orders in _orders(n):
        largest = (centred[orders] @ rows.T).max(axis=1)
        larger += (largest[:, None] >= products - _SAME).sum(axis=0)
        tried += len(orders)
    return np.asarray(larger / tried if n <= _EXACT else (1 + larger) / (1 + tried), dtype=np.float64)


def _unit(rows: Floats) -> Floats:
    """Rows of mean 0 and length 1; a constant one is 0 everywhere."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    scale = np.abs(rows).max(axis=1, keepdims=True) * math.sqrt(rows.shape[1])
    return np.where(length > _SAME * scale, centred / np.where(length > 0, length, 1.0), 0.0)


def _orders(n: int) -> Iterator[Steps]:
    """Orders of n steps, some at a time, shape (orders, n)."""
    if n <= _EXACT:
        yield np.array(list(itertools.permutations(range(n))))
        return
    rng, left = np.random.default_rng(n), _PERMUTATIONS
    while left:
        rows = min(left, max(1, _BLOCK // n))
        yield rng.permuted(np.tile(np.arange(n), (rows, 1)), axis=1)
        left -= rows
