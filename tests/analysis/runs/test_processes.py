"""A process's medians and phases, which configurations are a pair, and in what order: by hand."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from perfkit.analysis.runs import conditions
from perfkit.analysis.runs.conditions import Difference
from perfkit.analysis.runs.processes import LeftOut, Match, match, process_of, side_of, spelled
from tests.analysis.sides import record, side
from tests.runs import ENVIRONMENT, quick, sample, saved


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
    assert found.same(dataclasses.replace(plain, **one), dataclasses.replace(plain, **other)) == same


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


# --- conditions --------------------------------------------------------------------------------------------------


def differences(a: list[Any], b: list[Any], intended: frozenset[str] = frozenset()) -> list[Difference]:
    return conditions.differences(match(side("A", a), side("B", b)), intended)


@pytest.mark.parametrize(
    "field",
    ["device_name", "compute_capability", "driver", "cuda", "cudnn", "torch", "cpu_model", "cpu_count", "num_threads"],
)
def test_what_changes_times_by_itself_is_refused_between_sides_and_within_one(field):
    other = {field: 7 if field in ("cpu_count", "num_threads") else "other"}
    usual = str(getattr(ENVIRONMENT, field)).replace("None", "none")
    assert differences([record()], [record(environment=other)]) == [
        Difference(field, usual, str(*other.values()), "refused")
    ]
    mixed = [record(), record(environment=other)]
    [within] = differences(mixed, mixed)
    assert (within.what, within.role, within.a, within.a == within.b) == (
        field, "refused", " or ".join(sorted((usual, str(*other.values())))), True,
    )  # fmt: skip


@pytest.mark.parametrize("field", ["hostname", "os", "python", "perfkit", "git_commit"])
def test_what_rarely_matters_is_noted_between_sides_only(field):
    other = record(environment={field: "other"})
    assert [(one.what, one.b, one.role) for one in differences([record()], [other])] == [(field, "other", "noted")]
    assert differences([record(), other], [record(), other]) == []


def test_the_kind_of_device_counts_and_not_its_number():
    one, two, cpu = (record(environment={"device": device}) for device in ("cuda:0", "cuda:1", "cpu"))
    assert differences([one], [two]) == []
    assert [(c.what, c.a, c.b, c.role) for c in differences([one], [cpu])] == [("device", "cuda", "cpu", "refused")]


def test_what_follows_from_an_intended_flag_is_compared():
    a, b = [record()], [record(environment={"num_threads": 2, "torch": "other"}, num_threads=2)]
    assert {one.what: one.role for one in differences(a, b)} == {"num_threads": "refused", "torch": "refused"}
    meant = {one.what: one.role for one in differences(a, b, frozenset({"num_threads"}))}
    assert meant == {"num_threads": "compared", "torch": "refused"}


@pytest.mark.parametrize(
    ("flag", "value", "role"),
    [
        ("precision", "bf16", "refused"),
        ("batch_size", 4, "work"),
        ("gc", "on", "method"),
        ("attention", "sdpa", "compared"),
    ],
)
def test_the_roles_of_flags(flag, value, role):
    [one] = differences([record()], [record(**{flag: value})])
    assert (one.what, one.role) == ("--" + flag.replace("_", "-"), role)
    assert conditions.refusals([one]) == ([one] if role == "refused" else [])
    assert conditions._role(flag, frozenset({flag})) == ("compared" if role == "refused" else role)


def test_the_table_has_the_compared_first_and_says_forced():
    roles: Any = ("noted", "refused", "method", "work", "compared")
    table = conditions.table([Difference(role, "1", "2", role) for role in roles])
    assert table.frame["what"].tolist() == ["compared", "work", "method", "refused", "noted"]
    assert table.frame["role"].tolist() == ["compared", "work", "method", "forced", "noted"]
    assert (table.frame["a"].tolist(), table.frame["b"].tolist()) == (["1"] * 5, ["2"] * 5)
    assert [(column.name, column.title) for column in table.columns[1:3]] == [("a", "A"), ("b", "B")]
    assert (table.name, table.title, table.pinned) == ("differences", "What differs", 5)


@pytest.mark.parametrize(("value", "text"), [(None, "none"), (True, "on"), (False, "off"), (1, "1"), ("x", "x")])
def test_values_are_spelled(value, text):
    assert conditions._text(value) == text


def test_unlike_configurations_differ_in_work_or_method_that_both_name():
    plain = quick()
    other = dataclasses.replace(plain, batch_size=9, gc="on", attention="sdpa")
    assert conditions.unlike(plain, other) == [
        Difference("--batch-size", "2", "9", "work"),
        Difference("--gc", plain.gc, "on", "method"),
    ]
    assert conditions.unlike(plain, dataclasses.replace(plain, batch_size=None)) == []
