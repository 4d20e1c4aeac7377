"""`perfkit doctor` in one process: what it prints of what it finds."""

from __future__ import annotations

from perfkit import cli
from perfkit.measure.doctor import Ability
from perfkit.schema.finding import Finding, Rule


def test_what_is_lacking_comes_first_then_everything(capsys):
    """GIVEN a machine without a GPU WHEN examined THEN a line says what that means, and the table has every ability"""
    lacking = Ability("gpu", "no", "no driver", Finding(Rule.NO_GPU, "gpu: everything runs on the CPU"))
    assert cli.main(["doctor"], examine=lambda: [Ability("python", "yes", "3.11"), lacking]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["gpu: everything runs on the CPU", "", "What this machine can measure"]
    assert [line.split() for line in lines[-2:]] == [["python", "yes", "3.11"], ["gpu", "no", "no", "driver"]]
