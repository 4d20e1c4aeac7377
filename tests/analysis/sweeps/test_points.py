"""What the repeats of one configuration say together, from rows by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest

from perfkit.analysis.sweeps.points import points_of
from perfkit.schema.config import RunConfig
from tests import runs, sweeps

CONFIG = RunConfig.of(**dict(runs.QUICK, device="cpu", model_size="tiny"))


def row(*seconds: float, **changes):
    return sweeps.row(CONFIG, *seconds, **changes)


def test_points_are_in_the_order_in_which_their_keys_first_appear():
    rows = [row(0.1, key="b"), row(0.2, key="a"), row(0.4, key="b", repeat=2)]
    assert [(point.processes, point.median_s) for point in points_of(rows)] == [
        (2, pytest.approx(0.2)), (1, pytest.approx(0.2))]  # fmt: skip


def test_a_point_counts_what_was_measured_and_what_failed():
    # GIVEN
    rows = [row(repeat=1), row(0.1, 0.1, repeat=2, outcome="spilled"), row(0.4, 0.4, repeat=3)]

    # WHEN
    [point] = points_of(rows)

    # THEN what spilled was measured, and the first that is not ok names the point
    assert (point.processes, point.failed, point.outcome) == (2, 1, "oom")
    assert point.median_s == pytest.approx(0.2)
    assert points_of(rows[1:])[0].outcome == "spilled"
    assert points_of(rows[2:])[0].outcome == "ok"


def test_a_run_without_a_median_was_not_measured():
    [point] = points_of([dataclasses.replace(row(0.1), median_s=None)])
    assert (point.processes, point.failed) == (0, 1)
    assert math.isnan(point.median_s)


def test_the_configuration_is_that_of_a_run_that_was_measured():
    """GIVEN a first repeat that ended before its device was known WHEN joined THEN the second one's stands"""
    failed = dataclasses.replace(row(), config=CONFIG, parameters=None)
    [point] = points_of([failed, row(0.1, repeat=2)])
    assert (point.config, point.parameters) == (CONFIG.resolved("cpu"), CONFIG.resolved("cpu").transformer.parameters)
    [point] = points_of([failed])
    assert (point.config, point.parameters) == (CONFIG, None)


def test_speed_is_that_of_the_joined_median_and_memory_the_largest():
    """GIVEN batches of 2 x 16 tokens WHEN two processes take 0.1 and 0.4 s THEN 32 / 0.2 tokens a second"""
    # GIVEN
    rows = [
        dataclasses.replace(row(0.1), peak_memory_bytes=5),
        dataclasses.replace(row(0.4, repeat=2), peak_memory_bytes=7),
        dataclasses.replace(row(0.2, repeat=3), peak_memory_bytes=None),
    ]

    # WHEN
    [point] = points_of(rows)

    # THEN
    assert point.tokens_per_s == pytest.approx(160)
    assert point.peak_memory_bytes == 7
    assert points_of([rows[2]])[0].peak_memory_bytes is None


def test_the_spread_within_is_the_median_of_the_processes():
    rows = [dataclasses.replace(row(0.1, repeat=n), cv=cv) for n, cv in ((1, 0.5), (2, 0.01), (3, 0.02))]
    [point] = points_of(rows)
    assert point.within_cv == 0.02
    assert point.between_cv == pytest.approx(0)


def test_without_a_context_there_is_no_speed():
    [point] = points_of([dataclasses.replace(row(0.1), config=RunConfig.of(model_size="tiny"))])
    assert math.isnan(point.tokens_per_s)
