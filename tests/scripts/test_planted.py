"""Causes planted in real runs of a quick model, judged by counters that other load on the machine cannot move."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections import Counter
from pathlib import Path
from statistics import median

import msgspec
import pytest

from perfkit.analysis.noise import causes
from perfkit.analysis.noise.causes import Cause
from perfkit.schema import record
from scripts.planted import child, main
from tests.analysis.noisy import explained
from tests.runs import QUICK, sample, saved

pytestmark = pytest.mark.alone
ROOT = Path(__file__).parents[2]


def planted(tmp_path, name, steps=15):
    child.run(name, tmp_path, **QUICK, measure_steps=steps)
    return record.load(tmp_path)


def planted_in_a_process_of_its_own(tmp_path, name, steps=15):
    """The same where no objects of other tests are there for the collector to look through."""
    asked = {**QUICK, "measure_steps": steps}
    call = f"run({name!r}, Path({str(tmp_path)!r}), **{asked!r})"
    code = f"from pathlib import Path; from {child.__name__} import run; {call}"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    return record.load(tmp_path)


def undisturbed(made, sleeps=None):
    """The record as it would be if nobody else had used the machine: CPU time, and in one step the planted sleep."""
    steps = []
    for number, step in enumerate(made.steps):
        cpu = step.probes.main_cpu_s
        probes = msgspec.structs.replace(
            step.probes, main_delay_s=0.0, other_delay_s=0.0, preemptions=0, major_faults=0, steal_s=0.0,
            pressure_s=0.0, throttled_s=0.0,
        )  # fmt: skip
        slept = min(step.wall_s - cpu, child.SLEEP_S) if number == sleeps else 0.0
        steps.append(dataclasses.replace(step, wall_s=cpu + slept, probes=probes))
    return dataclasses.replace(made, steps=tuple(steps))


def test_a_step_that_sleeps_is_named(tmp_path):
    # WHEN
    made = planted(tmp_path, "sleeping-step")

    # THEN
    assert made.steps[child.SLEEPING].wall_s >= child.SLEEP_S
    assert made.steps[child.SLEEPING].probes.switches >= 1
    made = undisturbed(made, sleeps=child.SLEEPING)
    found = explained(made)
    assert found.first_cause == Cause.WAITING.value
    [slept] = [one for one in found.disturbances if one.first == child.SLEEPING]
    assert slept.cause is Cause.WAITING
    assert causes.times_by_cause(made).seconds[Cause.WAITING][child.SLEEPING] >= 0.6 * child.SLEEP_S


def test_a_storm_of_collections_is_most_of_the_cpu_time_it_costs(tmp_path):
    # WHEN
    made = planted_in_a_process_of_its_own(tmp_path, "gc-storm")

    # THEN by CPU time, in the storm whose own work was disturbed least, whatever else the machine does
    probes = [step.probes for step in made.steps]
    stormy = [one for i, one in enumerate(probes) if i % child.GARBAGE_EVERY == child.GARBAGE_EVERY - 1]
    calm = [one for one in probes if one not in stormy]
    assert all(one.collections > 100 for one in stormy)
    assert all(one.collections < 20 for one in calm)
    usual = median(one.main_cpu_s for one in calm)
    assert max(one.gc_s / (one.main_cpu_s - usual) for one in stormy) >= 0.6
    assert any(share.cause is Cause.GC for share in explained(undisturbed(made)).shares)


def test_more_work_is_more_cpu_time_and_has_a_hogs_name(tmp_path):
    # WHEN
    made = undisturbed(planted(tmp_path, "more-work", steps=child.HOG_FROM + 5))

    # THEN
    [level] = [one for one in explained(made).disturbances if one.kind == "level"]
    assert (level.first, level.cause) == (child.HOG_FROM, Cause.CPU_TIME)
    assert child.PLANTS["more-work"][2] == child.PLANTS["hog"][2] == level.cause.value


@pytest.mark.parametrize("name", [name for name, (_, _, cause) in child.PLANTS.items() if cause])
def test_planted_causes_are_spelled_as_the_report_spells_them(name):
    assert child.PLANTS[name][2] in {cause.value for cause in Cause}


def test_the_table_counts_and_judges(capsys):
    good = {"none": Counter({"-": 2}), "hog": Counter({Cause.CPU_TIME.value: 9, "-": 1})}
    assert main._report(good) == 0
    assert "hog   9 of 10 " in capsys.readouterr().out
    assert main._report({"hog": Counter({Cause.CPU_TIME.value: 8, "-": 2})}) == 1
    assert main._report({"hog": Counter({Cause.CPU_TIME.value: 8, main._NO_EFFECT: 2})}) == 0
    assert "8 of 8" in capsys.readouterr().out


@pytest.mark.parametrize(("slower", "took"), [(1.0, False), (1.04, False), (1.1, True)])
def test_a_hog_that_changes_nothing_is_not_counted(slower, took):
    steps = [sample(0.1 * (slower if i >= child.HOG_FROM else 1.0)) for i in range(child.STEPS)]
    assert main._took_effect(saved(steps=tuple(steps))) == took
