"""The rule that ends the measured steps."""

from __future__ import annotations

from perfkit.measure.loop import StepId
from perfkit.measure.observers.until import Until
from tests.runs import sample


def test_a_rule_is_asked_after_each_measured_step_with_all_of_them():
    # GIVEN a rule that ends with the third
    asked = []

    def rule(samples):
        asked.append([one.wall_s for one in samples])
        return "target-ci" if len(samples) == 3 else None

    until = Until(rule)

    # WHEN two warm-up steps and three measured ones
    answers = [until.after(StepId("warm-up", n), sample(9.0)) for n in range(2)]
    answers += [until.after(StepId("measured", n), sample(float(n))) for n in range(3)]

    # THEN
    assert answers == [None, None, None, None, "target-ci"]
    assert asked == [[0.0], [0.0, 1.0], [0.0, 1.0, 2.0]]
