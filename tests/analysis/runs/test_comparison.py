"""Records to verdicts: what counts as one measurement, what is set against what, what is refused, what passes."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest

from perfkit.analysis.reports import comparison as comparison_report
from perfkit.analysis.reports import overhead, repeats
from perfkit.analysis.runs.comparison import Gate, compare, gate
from perfkit.errors import UsageError
from tests.analysis.sides import SPREAD, compared, five, only, record, side, sweep
from tests.reports import lines_in
from tests.runs import sample

# --- verdicts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "between", "verdict"),
    [
        (1.1, 0.01, "slower"),
        (0.9, 0.01, "faster"),
        (1.0, 0.001, "same"),
        (1.005, 0.001, "same"),  # told apart from 1, and not worth it
        (1.02, 0.02, "inconclusive"),
        (1.0, 0.02, "inconclusive"),
    ],
)
def test_one_verdict(ratio, between, verdict):
    row = only(compared(ratio, between))
    assert row.verdict == verdict
    assert row.ratio == pytest.approx(ratio)
    low, high = row.interval
    assert low < ratio < high
    assert (low < 1 < high) or verdict in ("slower", "faster", "same")


def test_the_margin_decides_what_is_worth_a_claim():
    assert only(compared(1.005, 0.001)).verdict == "same"
    assert only(compared(1.005, 0.001, margin=0.001)).verdict == "slower"
    assert only(compared(1.005, 0.001, margin=0.0)).verdict == "slower"
    assert only(compared(1.03, 0.005, margin=0.1)).verdict == "same"


def test_a_process_counts_once_however_many_steps_it_has():
    """GIVEN processes of 4 and of 400 steps WHEN compared THEN nothing but their medians matters"""
    few = five()
    many = [dataclasses.replace(one, steps=one.steps * 100) for one in few]
    other = side("B", five(1.05, first=1))
    assert only(compare(side("A", few), other)) == only(compare(side("A", many), other))


def test_a_stall_in_one_step_does_not_move_its_process():
    """GIVEN the median of 0.99, 1, 1.01 and a stall of 1.5 THEN it is 1.005"""
    assert only(compared(1.0)).a_s == pytest.approx(0.02 * 1.005 * math.exp(0.01 * np.mean(SPREAD)))


def test_one_process_a_side_is_a_ratio_and_no_claim():
    found = compare(side("A", [record()]), side("B", [record(3.0)]))
    row = only(found)
    assert (row.verdict, row.ratio) == ("one process", pytest.approx(3.0))
    assert all(map(math.isnan, (*row.interval, row.p, row.detectable)))
    assert gate(found, 0.02) == Gate("inconclusive", ("one process",))
    lines = " ".join(lines_in(comparison_report.report(found)))
    assert "one process a side" in lines
    assert "significant" not in lines


def test_phases_have_rows_of_their_own_and_cost_the_step_nothing():
    found = compared(1.1)
    assert [row.what for row in found.phases] == ["forward", "backward", "rest"]
    assert found.phases[0].a_s == pytest.approx(only(found).a_s * 6 / 20)
    assert {row.verdict for row in found.phases} == {"slower"}
    assert only(found).p < found.phases[0].p  # adjusted for three rows, not for four
    assert found.phases[0].detectable > only(found).detectable


def test_a_phase_that_takes_no_time_has_no_ratio():
    none = [dataclasses.replace(one, steps=tuple(sample(0.01, forward=0.01) for _ in range(3))) for one in five()]
    found = compare(side("A", none), side("B", none))
    rest = found.phases[-1]
    assert (rest.what, rest.verdict) == ("rest", "-")
    assert math.isnan(rest.ratio)
    comparison_report.report(found)


def test_a_phase_of_one_side_only_has_no_ratio():
    a = [dataclasses.replace(one, steps=tuple(sample(0.02, forward=0.01) for _ in range(3))) for one in five()]
    found = compare(side("A", a), side("B", five()))
    assert {row.what: row.verdict for row in found.phases}["backward"] == "-"


# --- configurations ----------------------------------------------------------------------------------------------


def test_what_differs_throughout_is_compared_and_the_rest_makes_rows():
    found = compare(side("A", sweep()), side("B", sweep(1.1, attention="sdpa")))
    assert found.match.changed == {"attention": ("eager", "sdpa")}
    assert [row.config for row in found.steps] == [{"context_length": 16}, {"context_length": 32}]
    assert [row.ratio for row in found.steps] == pytest.approx([1.1, 1.1])
    report = comparison_report.report(found)
    assert report.main_table.frame["context_length"].tolist() == [16, 32]
    assert lines_in(report)[-1] == "2 configurations: 2 slower"


def test_rows_of_a_sweep_are_adjusted():
    found = compare(side("A", sweep()), side("B", sweep(1.1)))
    [one, _] = found.steps
    assert one.welch is not None
    assert one.p == pytest.approx(2 * one.welch.p_different(), rel=0.5)
    assert one.p > one.welch.p_different()


def test_one_configuration_with_other_numbers_of_steps_is_one():
    """GIVEN processes that measured for as long as it took, or a fixed number of steps THEN they are one group, and
    the difference is listed
    """
    lengths: list[dict[str, Any]] = [
        {"measure_steps": 3},
        {"measure_steps": 4, "warmup_steps": 9},
        {"target_ci": 0.01, "max_time": 9.0},
    ]
    b = [record(math.exp(0.001 * level), at=2 * n + 1, **lengths[n % 3]) for n, level in enumerate(SPREAD)]
    found = compare(side("A", five(between=0.001)), side("B", b))
    assert (only(found).n_b, found.match.changed, found.match.alone) == (5, {}, ())
    assert {(one.what, one.role) for one in found.differences} == {
        (flag, "noted") for flag in ("--measure-steps", "--warmup-steps", "--target-ci", "--max-time")
    }
    assert gate(found, 0.02) == Gate("pass")


def test_nothing_in_common_is_refused_by_name():
    a, b = ([*five(context_length=n), *five(context_length=2 * n)] for n in (16, 64))
    with pytest.raises(UsageError, match="no configuration in common") as caught:
        compare(side("A", a), side("B", b))
    assert "(A: context length 16 | context length 32; B: context length 64 | context length 128)" in str(caught.value)
    many = [one for n in range(1, 7) for one in five(context_length=n)]
    with pytest.raises(UsageError, match=r"A: context length 1 \| .* \| context length 3 \| 3 more; B: "):
        compare(side("A", many), side("B", b))


def test_copies_of_a_record_are_named():
    """GIVEN five runs of which three are one record WHEN compared THEN it is said that there are eight measurements"""
    copied = [*five()[:2], *[five()[2]] * 3]
    lines = lines_in(comparison_report.report(compare(side("A", copied), side("B", five(first=1)))))
    assert "copies of records: 10 runs hold 8 measurements, so the spread looks smaller than it is" in lines
    assert "copies" not in " ".join(lines_in(comparison_report.report(compared(1.0))))


def test_different_work_is_said():
    found = compare(side("A", five()), side("B", five(2.0, batch_size=4)))
    assert [(one.what, one.role) for one in found.differences] == [("--batch-size", "work")]
    assert "do different work (--batch-size)" in " ".join(lines_in(comparison_report.report(found)))


# --- conditions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"device_name": "another CPU"}, "device_name: a CPU against another CPU"),
        ({"driver": "550.1"}, "driver: none against 550.1"),
        ({"torch": "2.12.0"}, "torch: 2.13.0 against 2.12.0"),
        ({"cuda": "12.8"}, "cuda: none against 12.8"),
        ({"cpu_model": "other"}, "cpu_model: a CPU against other"),
        ({"num_threads": 4}, "num_threads: 1 against 4"),
        ({"device": "cuda:0"}, "device: cpu against cuda"),
    ],
)
def test_other_conditions_are_refused_with_both_values(environment, says):
    a, b = side("A", five()), side("B", five(environment=environment))
    with pytest.raises(UsageError, match=says) as caught:
        compare(a, b)
    assert "--force" in str(caught.value)
    forced = compare(a, b, force=True)
    assert "forced" in comparison_report.report(forced).table("differences").frame["role"].tolist()


def test_another_precision_is_refused_unless_it_was_asked_for():
    a, b = side("A", five()), side("B", five(precision="bf16"))
    with pytest.raises(UsageError, match="--precision: fp32 against bf16"):
        compare(a, b)
    assert compare(a, b, intended=frozenset({"precision"})).differences[0].role == "compared"


def test_threads_that_were_asked_for_are_not_refused():
    a, b = side("A", five()), side("B", five(num_threads=2, environment={"num_threads": 2}))
    found = compare(a, b, intended=frozenset({"num_threads"}))
    assert [(one.what, one.a, one.b, one.role) for one in found.differences] == [("num_threads", "1", "2", "compared")]


def test_a_side_that_is_mixed_in_itself_is_refused():
    mixed = [*five()[:3], *five(environment={"torch": "2.12.0"})[3:]]
    with pytest.raises(UsageError, match=r"torch: 2.12.0 or 2.13.0 against 2.12.0 or 2.13.0"):
        compare(side("A", mixed), side("B", mixed))


def test_what_rarely_matters_is_listed_only():
    changes = {"hostname": "there", "git_commit": "abc", "variables": {"OMP_PROC_BIND": "true"}}
    found = compare(side("A", five()), side("B", five(environment=changes)))
    assert {(one.what, one.role) for one in found.differences} == {
        ("hostname", "noted"), ("git_commit", "noted"), ("OMP_PROC_BIND", "noted"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("none", "nsys", "one side ran under a profiler, the other did not: the ratio includes its cost"),
        ("torch", "nsys", "the sides ran under different profilers: the ratio includes the difference of their costs"),
        (
            "nsys",
            "nsys",
            "profiled runs: the times include the profiler's cost; compare plain runs to know which side is faster",
        ),
        ("none", "none", None),
    ],
)
def test_what_profilers_do_to_the_ratio_is_said(a, b, said):
    remarks = lines_in(comparison_report.report(compare(side("A", five(profiler=a)), side("B", five(profiler=b)))))
    assert [line for line in remarks if "profile" in line] == ([said] if said else [])


# --- repeats and overhead ----------------------------------------------------------------------------------------


def test_spread_between_and_within_processes():
    # GIVEN five processes whose medians differ by 1%, with steps of known spread
    found = repeats.report(side("", five()))
    table = found.table("spread")
    assert table is not None
    row = table.frame.iloc[0]

    # THEN
    assert row["between"] == pytest.approx(0.01 * np.std(SPREAD, ddof=1))
    assert row["within"] == pytest.approx(np.std(np.log([0.99, 1.0, 1.01, 1.5]), ddof=1))
    assert row["low_s"] < row["mean_s"] < row["high_s"]
    processes = found.table("processes")
    assert processes is not None
    assert processes.frame["process"].tolist() == [f"run{index}" for index in range(5)]
    assert "5 processes differ by" in lines_in(found)[1]


def test_one_process_has_no_spread_between():
    assert "no spread between processes" in lines_in(repeats.report(side("", [record()])))[1]


def test_overhead_is_a_ratio_by_phase():
    plain, profiled = record(), record(2.0, profiler="torch")
    report = overhead.report(profiled, plain)
    frame = report.main_table.frame.set_index("phase")
    assert frame["ratio"].tolist() == pytest.approx([2.0] * 4)
    assert frame.loc["step", "added_s"] == pytest.approx(0.0201)
    assert lines_in(report) == (
        "profiled steps take 2.00 times as long as plain ones (4 against 4 steps, one process each)",
    )
    assert "not known" in lines_in(overhead.report(record(1.01, profiler="torch"), plain))[0]


def test_overhead_without_plain_steps():
    assert overhead.report(record(), dataclasses.replace(record(), steps=())).tables == ()


def test_every_pair_of_sides_is_symmetric():
    """GIVEN sides WHEN swapped THEN the ratio is turned over and so is the verdict"""
    turned = {"slower": "faster", "faster": "slower"}
    for ratio, between in itertools.product((0.9, 1.0, 1.02, 1.1), (0.001, 0.02)):
        a, b = side("A", five(between=between)), side("B", five(ratio, between))
        one, other = only(compare(a, b)), only(compare(b, a))
        assert other.ratio == pytest.approx(1 / one.ratio)
        assert other.verdict == turned.get(one.verdict, one.verdict)


def test_the_configuration_that_is_compared_is_the_one_that_is_named():
    """GIVEN a side of two configurations, of which the other side has the second WHEN compared THEN that is named"""
    a = side("A", [record(batch_size=1), record(batch_size=4)])
    found = compare(a, side("B", [record(batch_size=4, vocab_size=200)]))
    lines = lines_in(comparison_report.report(found))
    assert "batch 4 x" in lines[0]
    assert "batch 4 x" in lines[1]


def test_rows_are_in_the_order_of_their_fields():
    """GIVEN configurations in the random order of a sweep THEN rows and what is missing are sorted"""
    sizes = [(2, 16), (1, 32), (4, 8), (1, 16), (2, 8)]
    many = [record(batch_size=batch, context_length=context) for batch, context in sizes]
    found = compare(side("A", many), side("B", many[:-2]))
    assert [tuple(row.config.values()) for row in found.steps] == sorted(sizes[:-2])
    assert [tuple(config.values()) for _, config in found.match.alone] == sorted(sizes[-2:])


def test_a_finished_run_without_steps_is_left_out_for_that():
    with pytest.raises(UsageError, match="run0 \\(no measured steps\\)"):
        compare(side("A", [dataclasses.replace(record(), steps=())]), side("B", [record()]))
