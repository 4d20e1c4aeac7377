"""What differs between two sides, and what that means for their comparison."""

from __future__ import annotations

from typing import Any

import pytest

from perfkit.analysis.runs import conditions
from perfkit.analysis.runs.conditions import Difference
from perfkit.analysis.runs.processes import match
from tests.analysis.sides import record, side
from tests.runs import ENVIRONMENT, quick


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
    other = plain.changed(batch_size=9, gc="on", attention="sdpa")
    assert conditions.unlike(plain, other) == [
        Difference("--batch-size", "2", "9", "work"),
        Difference("--gc", plain.measurement.gc, "on", "method"),
    ]
    assert conditions.unlike(plain, plain.changed(context_length=None)) == []
