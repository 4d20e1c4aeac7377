"""A workload of one's own, from runner.run to the tables that analyze and compare show of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from perfkit import Measurement, Own, RunConfig, RunRecord, Step, annotate, cli
from perfkit.commands import observers
from perfkit.errors import UsageError
from perfkit.measure import runner
from perfkit.schema import module_tree, record
from perfkit.workload.annotate import Annotation
from tests.runs import quick

TRANSFORMERS_OWN = ("shape", "parameters", "context_length", "batch_size", "pass_type", "precision", "tokens_per_s")
"""Columns of a run's table that say what a Transformer is, or count its tokens."""


class TwoLayers:
    """What a user would write: any module, and a step that says which phase it is in."""

    def __init__(self) -> None:
        self.model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        self.inputs = torch.ones(2, 8)

    def annotate(self, *, gradients: bool, backward: bool) -> Annotation:
        return annotate(self.model, gradients=gradients, backward=backward)

    def step(self, on_phase: Callable[[str], None]) -> None:
        on_phase("forward")
        loss = self.model(self.inputs).sum()
        on_phase("backward")
        loss.backward()


def own(name: str = "two layers", profiler: Any = "none", **step: Any) -> RunConfig:
    return RunConfig(
        workload=Own(name=name),
        step=Step(device="cpu", **step),
        measurement=Measurement(warmup_steps=2, measure_steps=4, profiler=profiler),
    )


def run(config: RunConfig, folder: Path) -> RunRecord:
    folder.mkdir(exist_ok=True)
    resolved = runner.resolve(config)
    return runner.run(resolved, folder, observers.usual(), workload=TwoLayers())


def tables(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert cli.main([*arguments, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)["tables"]


def test_its_record_is_saved_and_shown_by_its_name(tmp_path, capsys):
    """GIVEN a workload of one's own WHEN it is measured THEN its record loads, and analyze shows it under its name"""
    # WHEN
    made = run(own(), tmp_path)
    assert cli.main(["analyze", str(tmp_path)]) == 0

    # THEN
    assert (made.status, len(made.warmup), len(made.steps)) == ("ok", 2, 4)
    assert list(made.steps[0].phases_s) == ["forward", "backward"]
    assert record.load(tmp_path) == made
    assert re.search(r"^two layers .* ok$", capsys.readouterr().out, re.MULTILINE)


def test_no_number_of_a_transformer_is_made_up_for_it(tmp_path, capsys):
    run(own(), tmp_path)
    [row] = tables(capsys, "analyze", str(tmp_path))["runs"]["rows"]
    assert (row["size"], row["steps"], row["status"]) == ("two layers", 4, "ok")
    assert row["forward_s"] > 0
    assert {name: row[name] for name in TRANSFORMERS_OWN} == dict.fromkeys(TRANSFORMERS_OWN)


def test_its_modules_are_in_the_tables_of_a_profile(tmp_path, capsys):
    run(own(profiler="torch"), tmp_path)
    found = tables(capsys, "analyze", str(tmp_path), "--by", "module")
    assert "2" in {row["scope"] for row in found["groups"]["rows"]}  # nn.Sequential names its children by number


def test_a_root_is_in_the_tree_of_a_profile_too(tmp_path):
    # GIVEN
    class Rooted(TwoLayers):
        def annotate(self, *, gradients: bool, backward: bool) -> Annotation:
            return annotate(self.model, root="net", gradients=gradients, backward=backward)

    # WHEN
    runner.run(runner.resolve(own(profiler="torch")), tmp_path, workload=Rooted())

    # THEN
    assert list(module_tree.load(tmp_path / module_tree.FILE)) == ["net", "net.0", "net.1", "net.2"]


def test_two_runs_are_compared_by_what_the_caller_says_of_them(tmp_path, capsys):
    """GIVEN two runs that were told another batch size WHEN compared THEN that is what differs between them"""
    for name, batch in (("a", 2), ("b", 4)):
        run(own(batch_size=batch), tmp_path / name)
    found = tables(capsys, "compare", str(tmp_path / "a"), str(tmp_path / "b"))
    assert {"what": "--batch-size", "a": "2", "b": "4", "role": "work"} in found["differences"]["rows"]


def test_another_workload_is_other_work(tmp_path, capsys):
    for name in ("a", "b"):
        run(own(name), tmp_path / name)
    found = tables(capsys, "compare", str(tmp_path / "a"), str(tmp_path / "b"))
    assert {"what": "workload", "a": "a", "b": "b", "role": "work"} in found["differences"]["rows"]


def test_threads_are_set_for_it_too(tmp_path):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert run(own(num_threads=1), tmp_path).environment.num_threads == torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)


def test_an_own_workload_has_to_be_passed(tmp_path):
    with pytest.raises(
        UsageError, match=r"^two layers: the configuration names your own workload: pass it as run\(\.\.\., workload="
    ):
        runner.run(own(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_workload_beside_a_transformers_configuration_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"use RunConfig\(workload=Own\(name=\.\.\.\)\)$"):
        runner.run(quick(), tmp_path, workload=TwoLayers())
    assert list(tmp_path.iterdir()) == []


def test_running_out_of_memory_has_no_advice_of_the_transformers_formula(tmp_path):
    # GIVEN
    class TooLarge(TwoLayers):
        def step(self, on_phase: Callable[[str], None]) -> None:
            on_phase("forward")
            raise MemoryError

    resolved = runner.resolve(own())

    # WHEN
    made = runner.run(resolved, tmp_path, observers.usual(), workload=TooLarge())

    # THEN
    assert made.failure is not None
    assert (made.status, made.failure.phase, made.failure.suggestions) == ("oom", "warm-up step 1, forward", ())
