"""What is said of ranges that serve as steps."""

from __future__ import annotations

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.findings.steps import steps_from_ranges
from perfkit.analysis.time.account import Account, account_for
from perfkit.analysis.time.summary import summary
from perfkit.schema.finding import Evidence
from tests.builders import TraceBuilder


def account(*names: str) -> Account:
    b = TraceBuilder()
    for number, name in enumerate(names):
        b.annotation(name, 100 * number, 100 * number + 90).launched("k", 100 * number + 10, 20, 30)
    return account_for(trace := b.build(), attribute(trace))


def test_ranges_that_are_called_steps():
    found = account("step 0", "step 1", "step 2")
    finding = steps_from_ranges(found, {})
    assert finding is not None
    assert (finding.rule.id, finding.sure) == ("steps-from-ranges", "guessed")
    assert finding.evidence == (Evidence("steps", {"step": 0}),)
    assert finding.what == "3 ranges named step * serve as steps: the file has no ProfilerStep, and their name says so"
    assert summary(found.partial)["step_source"] == "named ranges"


def test_ranges_that_merely_repeat():
    finding = steps_from_ranges(account("request", "request"), {})
    assert finding is not None
    assert finding.what.endswith("no ProfilerStep, and they repeat and hold nearly all that is launched")


def test_three_names_are_shown():
    finding = steps_from_ranges(
        account(*(f"{name} {n}" for name in ("step", "epoch", "batch", "iter") for n in "01")), {}
    )
    assert finding is not None
    assert finding.what.startswith("8 ranges named step *, epoch *, batch * and 1 more serve as steps")


def test_steps_that_were_written_as_such_need_no_words():
    assert steps_from_ranges(account("ProfilerStep#0", "ProfilerStep#1"), {}) is None
    assert steps_from_ranges(account("layer 0", "layer 1"), {}) is None
