"""Which change is worth it: hand-made processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from perfkit.analysis.tuning import choice, equality
from perfkit.analysis.tuning.candidates import Candidate, Change
from perfkit.analysis.tuning.choice import Trial
from perfkit.schema.record import MemoryPeaks, RunRecord
from tests.analysis.tuning.computations import computed
from tests.runs import sample, saved

SAME = equality.check(computed(), computed(), computed())
OTHER = equality.check(computed(), computed((9.0, 9.0)), computed())
QUIET = (1.0, 1.01, 0.99, 1.0)
"""Processes of one configuration, relative to their mean."""


def records(ms: float, place: int = 0, memory: int = 100) -> list[RunRecord]:
    """Four processes of so many ms a step, `place` in each round; at each place other rounds are slow."""
    return [
        saved(
            steps=(sample(1e-3 * ms * part), sample(1e-3 * ms * part)),
            created=f"2026-01-02T03:{minute:02}:{place:02}+00:00",
            memory=MemoryPeaks(resident=memory),
        )
        for minute, part in enumerate(QUIET[place % 4 :] + QUIET[: place % 4])
    ]


def candidate(name: str, share: float | None = None, **fields: str) -> Candidate:
    return Candidate(name, (Change(fields or {name: "x"}),), ("a-rule",), share)


def trials(times: dict[str, float], original: float = 10.0, **equal: equality.Equality) -> dict[str, Trial]:
    tried = {name: records(ms, place) for place, (name, ms) in enumerate(times.items(), 1)}
    rows = choice.rows(records(original), tried)
    return {name: Trial(candidate(name), rows[name], equal.get(name, SAME)) for name in times}


def test_a_change_that_is_faster_and_the_same_is_worth_it():
    """GIVEN 10 ms against 8 THEN it saves 20%, within an interval that holds it"""
    one = trials({"a": 8.0})["a"]
    assert one.verdict == "faster"
    assert one.is_worth_it
    gain, low, high = one.gain
    assert gain == pytest.approx(0.2)
    assert 0.17 < low < 0.2 < high < 0.23


def test_a_change_that_is_slower_or_the_same_is_not():
    made = trials({"a": 12.0, "b": 10.0})
    assert [made["a"].verdict, made["b"].is_worth_it] == ["slower", False]
    assert choice.recommended(list(made.values())) is None


def test_a_change_of_the_result_is_refused_however_fast_it_is():
    made = trials({"a": 1.0, "b": 9.0}, a=OTHER)
    assert made["a"].verdict == "refused"
    best = choice.recommended(list(made.values()))
    assert best is not None
    assert best.candidate.name == "b"


def test_a_result_that_is_not_known_is_not_worth_it():
    one = dataclasses.replace(trials({"a": 1.0})["a"], equality=None)
    assert not one.is_worth_it


def test_all_changes_are_judged_together():
    """GIVEN a change that alone is just faster, p between 1% and 5% THEN beside four others it is not (Holm)"""
    alone = trials({"a": 9.74})["a"].row
    among = trials({"a": 9.74, "b": 10.0, "c": 10.0, "d": 10.0, "e": 10.0})["a"].row
    assert alone is not None
    assert among is not None
    assert 0.01 < alone.p < 0.05 < among.p


def test_the_best_together_leaves_out_what_sets_the_same():
    """GIVEN two ways to compile and an optimizer, all worth it THEN the better way and the optimizer"""
    made = [
        Trial(candidate("--compile model", 0.3, compile="model"), trials({"a": 6.0})["a"].row, SAME),
        Trial(candidate("--compile block", 0.3, compile="block"), trials({"a": 5.0})["a"].row, SAME),
        Trial(candidate("--optimizer x", 0.05, optimizer="x"), trials({"a": 9.0})["a"].row, SAME),
        Trial(candidate("--precision y", 0.05, precision="y"), trials({"a": 1.0})["a"].row, OTHER),
    ]
    best = choice.best_together(made)
    assert best is not None
    assert best.name == "--compile block --optimizer x"
    assert best.predicted == pytest.approx(0.35)
    assert choice.best_together(made[:2]) is None


def test_a_larger_batch_is_judged_by_the_time_for_as_many_rows():
    """GIVEN 10 ms, and 16 of twice the batch THEN as many rows take 8, within the interval that 8 would have"""
    tried = {"twice": records(16.0, 1), "plain": records(8.0, 1)}
    made = choice.rows(records(10.0), tried, times={"twice": 2})
    assert made["twice"].b_s == pytest.approx(0.008, rel=0.01)
    assert made["twice"].interval == pytest.approx(made["plain"].interval)
    assert made["twice"].verdict == "faster"


def test_a_larger_batch_is_recommended_apart():
    """GIVEN a larger batch that saves most, a smaller one, and one that computes another thing THEN the second"""
    made = [*trials({"a": 8.0}).values()]
    for name, ms, equal in (("x2", 14.0, SAME), ("x2 again", 12.0, SAME), ("wrong", 2.0, OTHER)):
        row = choice.rows(records(10.0), {name: records(ms, 1)}, times={name: 2})[name]
        made.append(Trial(dataclasses.replace(candidate(name), times=2), row, equal))
    best, larger = choice.recommended(made), choice.larger_batch(made)
    assert best is made[0]
    assert larger is made[2]
    assert choice.best_together(made) is None
    assert choice.larger_batch(made[:1]) is None


def test_together_is_recommended_only_where_it_saves_more():
    alone = list(trials({"a": 8.0, "b": 9.0}).values())
    better, worse = (Trial(candidate("ab"), trials({"ab": ms})["ab"].row, SAME) for ms in (7.0, 8.5))
    assert choice.recommended(alone, better) is better
    assert choice.recommended(alone, worse) is alone[0]


@pytest.mark.parametrize(("left", "kept"), [(100.0, ["a", "b", "c"]), (35.0, ["a", "b"]), (34.9, ["a"]), (9.0, [])])
def test_a_round_begins_with_what_there_is_time_for(left, kept):
    """GIVEN an original of 5 s, changes of 10, 20 and 30 s"""
    assert choice.affordable(["a", "b", "c"], {"a": 10.0, "b": 20.0, "c": 30.0}, 5.0, left) == kept


def test_cpu_time_is_judged_where_it_is_asked_for():
    """GIVEN twice the CPU time in the same wall time THEN by CPU time it is slower"""

    def with_cpu(given: Sequence[RunRecord], cpu_s: float) -> list[RunRecord]:
        return [
            dataclasses.replace(one, steps=tuple(dataclasses.replace(step, cpu_s=cpu_s * part) for step in one.steps))
            for one, part in zip(given, QUIET, strict=True)
        ]

    before, after = with_cpu(records(10.0), 0.004), with_cpu(records(10.0, 1), 0.008)
    assert choice.rows(before, {"a": after})["a"].verdict != "slower"
    row = choice.rows(before, {"a": after}, "cpu")["a"]
    assert row.verdict == "slower"
    assert row.ratio == pytest.approx(2.0)


def test_memory_is_the_median_of_peaks():
    assert choice.peak(records(1.0, memory=7)) == 7.0
    assert choice.peak([]) is None


def test_what_failed_or_had_no_time_says_so():
    assert Trial(candidate("a"), failed="no compiler").verdict == "failed"
    assert Trial(candidate("a"), untried="no time left").verdict == "not tried"
    row = choice.rows(records(10.0), {"a": records(8.0, 1)[:1]})["a"]
    assert Trial(candidate("a"), row, SAME).verdict == "undecided"


def test_what_slows_a_round_slows_both_of_it():
    """GIVEN rounds that take from 1 to 3 times as long, and a change that saves 10% in each THEN that is shown"""
    slow = (1.0, 3.0, 2.0, 1.5)

    def slowed(given: Sequence[RunRecord]) -> list[RunRecord]:
        return [
            dataclasses.replace(one, steps=(sample(one.steps[0].wall_s * by),) * 2)
            for one, by in zip(given, slow, strict=True)
        ]

    row = choice.rows(slowed(records(10.0)), {"a": slowed(records(9.0, 1))})["a"]
    assert row.verdict == "faster"
    low, high = row.interval
    assert 0.87 < low < 0.9 < high < 0.93


def test_only_rounds_with_both_count():
    """GIVEN an original of four rounds, and a change that did not finish the second and had no time for the last THEN
    its first is compared with the first, its third with the third"""
    change = records(8.0, 1)
    row = choice.rows(records(10.0), {"a": [change[0], None, change[2]]})["a"]
    assert (row.n_a, row.n_b) == (2, 2)
    pairs = [(8 * 1.01) / (10 * 1.0), (8 * 1.0) / (10 * 0.99)]
    assert row.ratio == pytest.approx((pairs[0] * pairs[1]) ** 0.5)
    assert choice.rows(records(10.0), {"a": [None]}) == {}
