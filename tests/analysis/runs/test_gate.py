"""What may pass, and what is not judged at all: sides that did not take turns, and what one side only has."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from perfkit.analysis.reports import comparison as comparison_report
from perfkit.analysis.reports.comparison import NOT_INTERLEAVED
from perfkit.analysis.runs.comparison import Gate, compare, gate
from perfkit.analysis.statistics import welch
from perfkit.errors import UsageError
from perfkit.schema.record import RunRecord
from tests.analysis.sides import compared, five, only, record, side, sweep
from tests.reports import lines_in
from tests.runs import quick, sample, saved

# --- what one side only has --------------------------------------------------------------------------------------


def test_what_b_lacks_is_no_pass_and_what_it_has_more_is_named():
    """GIVEN two configurations and one of them WHEN compared either way THEN both compare that one and name the other;
    only a B that lacks it does not pass
    """
    both, one = side("A", sweep()), side("B", five(1.0, 0.001, context_length=32))
    lacks, more = compare(both, one, margin=3.0), compare(dataclasses.replace(one, name="A"), side("B", sweep()))
    assert lacks.match.alone == (("A", {"context_length": 16}),)
    assert more.match.alone == (("B", {"context_length": 16}),)
    assert "A only, not compared: context length 16" in lines_in(comparison_report.report(lacks))
    assert "B only, not compared: context length 16" in lines_in(comparison_report.report(more))
    assert len(lacks.steps) == len(more.steps) == 1
    assert gate(lacks, 10.0) == Gate("inconclusive", ("lacking",))
    assert gate(more, 10.0) == Gate("pass")
    assert comparison_report.gate_finding(lacks, gate(lacks, 10.0), 10.0).what == (
        "no pass: B lacks what A has (context length 16)"
    )


def test_several_configurations_of_which_some_are_on_both_sides():
    """GIVEN A with 16, 32 and 64 and B with 32, 64 and 128 THEN two rows, and one name a side"""
    of_a, of_b = ([one for n in lengths for one in five(between=0.001, context_length=n)]
                  for lengths in ((16, 32, 64), (32, 64, 128)))  # fmt: skip
    found = compare(side("A", of_a), side("B", of_b))
    assert [row.config["context_length"] for row in found.steps] == [32, 64]
    assert found.match.alone == (("A", {"context_length": 16}), ("B", {"context_length": 128}))
    assert gate(found, 0.02).reasons == ("lacking",)


FAILED = dataclasses.replace(record(), status="oom", steps=())


def test_runs_that_did_not_finish_are_left_out_and_named():
    found = compare(side("A", five()), side("B", [*five(), FAILED]))
    assert only(found).n_b == 5
    assert "B: left out because they did not finish: run5 (oom)" in lines_in(comparison_report.report(found))
    assert gate(found, 1.0) == Gate("inconclusive", ("unfinished",))  # those that finish may be the fast ones
    assert comparison_report.gate_finding(found, gate(found, 1.0), 1.0).what == (
        "no pass: runs of B did not finish (run5 (oom))"
    )
    with pytest.raises(UsageError, match=r"B \(runs/B\): no finished run to compare: run0 \(oom\)"):
        compare(side("A", five()), side("B", [FAILED]))


def test_what_only_b_has_may_fail():
    """GIVEN a configuration that A does not have, or did not finish either WHEN B's run of it fails THEN B may pass"""
    larger = dataclasses.replace(FAILED, config=quick(batch_size=512))
    for a in (five(between=0.001), [*five(between=0.001), larger]):
        found = compare(side("A", a), side("B", [*five(between=0.001), larger]))
        assert "B: left out because they did not finish: run5 (oom)" in lines_in(comparison_report.report(found))
        assert gate(found, 0.02) == Gate("pass")


def test_the_configuration_of_a_failed_run_may_be_known_in_part():
    """GIVEN a failed run whose device was never resolved and that has a flag all of B has THEN it is B's of A's"""
    unresolved = quick(attention="sdpa").changed(device="auto", context_length=None)
    failed = dataclasses.replace(FAILED, config=unresolved)
    found = compare(side("A", five(between=0.001)), side("B", [*five(0.9, 0.001, attention="sdpa"), failed]))
    assert gate(found, 0.02).reasons == ("unfinished",)


# --- turns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.8, 1.0, 1.2])
def test_sides_that_did_not_take_turns_have_no_verdict(ratio):
    """GIVEN all of A before all of B THEN there is a ratio with its interval, no claim, and no pass"""
    found = compare(side("A", five(between=0.001)), side("B", five(ratio, 0.001, first=30)))
    assert {row.verdict for row in (*found.steps, *found.phases)} == {"not comparable in time"}
    low, high = only(found).interval
    assert low < ratio < high
    lines = lines_in(comparison_report.report(found))
    [apart] = [each for each in comparison_report.report(found).findings if each.rule is NOT_INTERLEAVED]
    assert apart.what == (
        "not interleaved: in order of start the side changes 1 time (5 or more are needed), and B started later in 100%"
        " of the pairs (25% to 75%); the ratio includes any drift between them"
    )
    assert apart.advice == "compare --run, which takes turns, or --force, which judges them anyway"
    assert lines[-1].startswith(f"not comparable in time: B takes {ratio:.3f} times as long as A (95%: ")
    assert gate(found, 0.02) == Gate("inconclusive", ("not interleaved",))
    assert comparison_report.gate_finding(found, gate(found, 0.02), 0.02).what == (
        "no pass: A and B are not comparable in time"
    )
    assert "not interleaved" not in " ".join(lines_in(comparison_report.report(compared(ratio))))


@pytest.mark.parametrize(("ratio", "verdict", "outcome"), [(1.0, "same", "pass"), (1.2, "slower", "slower")])
def test_force_judges_sides_that_did_not_take_turns(ratio, verdict, outcome):
    found = compare(side("A", five(between=0.001)), side("B", five(ratio, 0.001, first=30)), force=True)
    assert only(found).verdict == verdict
    assert gate(found, 0.02) == Gate(outcome)
    [line] = [one for one in lines_in(comparison_report.report(found)) if one.startswith("not interleaved")]
    assert line.endswith("; the ratio includes any drift between them (judged anyway because of --force)")


def test_one_configuration_of_two_may_have_taken_turns():
    """GIVEN two configurations, one slower and one in blocks WHEN judged THEN each by its own order"""
    a = [*five(between=0.001, context_length=16), *five(between=0.001, context_length=32)]
    turns, block = five(1.2, 0.001, context_length=16, first=1), five(1.0, 0.001, context_length=32, first=30)
    found = compare(side("A", a), side("B", [*turns, *block]))
    assert [row.verdict for row in found.steps] == ["slower", "not comparable in time"]
    assert gate(found, 0.02) == Gate("slower")
    assert gate(found, 0.5) == Gate("inconclusive", ("not interleaved",))
    report = comparison_report.report(found)
    assert any(line.startswith("1 of 2 configurations not interleaved: ") for line in lines_in(report))
    frame = report.main_table.frame
    assert frame[["interleaved", "changes", "later"]].to_numpy().tolist() == [["yes", 9, 0.6], ["no", 1, 1.0]]


def test_processes_of_two_machines_have_no_verdict():
    found = compare(side("A", five(between=0.001)), side("B", five(1.2, 0.001, environment={"hostname": "there"})))
    assert only(found).verdict == "not comparable in time"
    assert "they ran on 2 machines, which drift independently" in " ".join(lines_in(comparison_report.report(found)))


# --- the gate ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "between", "outcome"),
    [
        (1.0, 0.002, "pass"),
        (0.5, 0.01, "pass"),
        (1.01, 0.002, "pass"),  # slower, but surely by less than the limit
        (1.1, 0.01, "slower"),
        (1.02, 0.01, "inconclusive"),
        (1.03, 0.01, "inconclusive"),  # significantly slower, but perhaps by less than the limit
        (1.0, 0.05, "inconclusive"),
    ],
)
def test_passing_means_that_the_slow_down_is_excluded(ratio, between, outcome):
    found = gate(compared(ratio, between), 0.02)
    assert (found.outcome, found.reasons) == (outcome, ("undecided",) if outcome == "inconclusive" else ())


def test_one_slow_configuration_of_many_fails():
    both = zip(sweep(), sweep(1.5), strict=True)
    slow = [one if one.config.step.context_length == 16 else other for one, other in both]
    assert gate(compare(side("A", sweep()), side("B", slow)), 0.02) == Gate("slower")
    assert gate(compare(side("A", sweep()), side("B", sweep())), 0.02) == Gate("pass")


def test_false_passes_and_failures_at_the_limit(monkeypatch):
    """GIVEN a B that is just 2% slower WHEN 400 gates judge it THEN each of the two sure answers is rare: 2.5% each"""
    monkeypatch.setattr(welch, "_detectable_errors", lambda freedom, alpha, power: freedom)  # slow, and not used here
    generator = np.random.default_rng(8)
    outcomes = []
    for _ in range(400):
        levels = np.exp(generator.normal(0, 0.01, (2, 5)))
        levels[1] *= 1.02
        a, b = (side(name, map(quick_record, own)) for name, own in zip("AB", levels, strict=True))
        outcomes.append(gate(compare(a, b), 0.02).outcome)
    assert outcomes.count("pass") <= 20
    assert outcomes.count("slower") <= 20


def quick_record(level: float) -> RunRecord:
    return saved(config=CONFIG, steps=(sample(0.02 * level, forward=0.01 * level),))


CONFIG = quick()
