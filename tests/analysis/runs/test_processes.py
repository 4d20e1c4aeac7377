"""A process's medians and phases, which configurations are a pair, and in what order: by hand."""

from __future__ import annotations

import math

import pytest

from perfkit.analysis.runs.processes import LeftOut, Match, match, process_of, side_of, spelled
from tests.analysis.sides import record, side
from tests.runs import quick, sample, saved


def test_a_process_is_its_medians():
    """GIVEN steps of 1, 2 and 4 s with 0.5, 1 and 3 s of forward and loss THEN medians, and spreads of logarithms"""
    steps = tuple(sample(wall, forward=forward, loss=0.25) for wall, forward in ((1.0, 0.25), (2.0, 0.75), (4.0, 2.75)))
    one = process_of("run", saved(steps=steps))
    assert one.medians == {"step": 2.0, "forward": 1.0, "rest": 1.0}
    assert one.steps == 3
    # the logarithms are 0, 1 and 2 times log 2: their standard deviation is log 2
    assert one.spread["step"] == pytest.approx(math.log(2))


@pytest.mark.parametrize("walls", [(1.0,), (0.0, 1.0)])
def test_one_step_or_a_time_of_zero_has_no_spread(walls):
    assert math.isnan(process_of("run", saved(steps=tuple(map(sample, walls)))).spread["step"])


def test_runs_without_steps_or_not_finished_are_left_out_with_why():
    runs = [("a", saved()), ("b", saved(status="oom")), ("c", saved(steps=()))]
    found = side_of("A", "here", runs, [LeftOut("d (failed)", quick())])
    assert [one.name for one in found.processes] == ["a"]
    assert list(map(str, found.left_out)) == ["d (failed)", "b (oom)", "c (no measured steps)"]
    assert (found.name, found.path, found.independent) == ("A", "here", True)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({}, {}, True),
        ({"context_length": 16}, {"context_length": 32}, False),
        ({"measure_steps": 3}, {"measure_steps": 9}, True),
        ({"attention": "eager"}, {"attention": "sdpa"}, True),  # what is compared
        ({"annotate": "auto"}, {"annotate": "on"}, True),  # one does not name it
    ],
)
def test_what_is_the_same_configuration(one, other, same):
    found = Match({"attention": ("eager", "sdpa")}, (), ())
    plain = quick()
    assert found.same(plain.changed(**one), plain.changed(**other)) == same


def test_configurations_are_paired_by_what_tells_them_apart():
    a = side("A", [record(context_length=n) for n in (64, 16, 128)])
    b = side("B", [record(context_length=n) for n in (32, 16, 64)])
    found = match(a, b)
    assert [pair.config for pair in found.pairs] == [{"context_length": 16}, {"context_length": 64}]
    assert found.alone == (("A", {"context_length": 128}), ("B", {"context_length": 32}))
    assert found.changed == {}
    assert [len(pair.a) for pair in found.pairs] == [1, 1]


def test_a_configuration_is_spelled_without_underscores():
    assert spelled({"context_length": 16, "d_model": 32}) == "context length 16, d model 32"
