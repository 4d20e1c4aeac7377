"""`perfkit tune` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perfkit import Own, RunConfig, cli
from perfkit.analysis.tuning.candidates import Candidate, Change
from perfkit.commands import tune
from perfkit.commands.inputs.flags import config_of
from perfkit.commands.inputs.paths import RunFolder
from perfkit.schema import record
from tests.runs import quick, sample, saved

SOURCE = """
import torch
from torch import nn
from torch.nn import functional

class Wrong(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x * 2 if x.dtype == torch.float32 else x

def model():
    return Wrong().double()

def batch(rows=2):  # which it does not heed
    return torch.ones(2, 8, dtype=torch.float64), lambda out: out.square().mean()
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models_of_tune.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> int:
    return cli.main(["tune", *arguments])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a run's folder, or give the flags of one: --run '--model-size tiny --pass-type train'"),
        (("missing",), "missing"),
        (("here",), "here is no folder of one run: name one that perfkit run made"),
        (("here", "--run", "--seed 1"), "name a run's folder, or give"),
        (("--run", "--pass-type nothing"), "give only flags of perfkit run"),
        (("--run", "--seed 1", "--budget", "5"), "--budget 5: not a time; write it as 90s, 5m or 1h"),
        (("--run", "--seed 1", "--repeats", "1"), "--repeats 1: must be at least 2, for an interval"),
        (("--run", "--seed 1", "--margin", "1"), "--margin 1: not a percentage; write it as 1%"),
        (("--run", "--seed 1", "--also", "--optimizer adamw-fused"), "needs --pass-type train"),
        (("--run", "--seed 1", "--also", "--seed 1"), "--also '--seed 1': changes nothing of this run"),
        (("--run", "--seed 1", "--table", "change"), "--table change: choose from changes, not_applied"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(capsys, arguments, said):
    Path("here").mkdir()
    Path("here/note").write_text("a file\n")
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not Path("traces").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "oom"}, "run did not finish (oom): tune a run that did"),
        ({"config": RunConfig(workload=Own(name="loop"))}, "run measured a loop or a script (loop)"),
    ],
)
def test_a_run_that_cannot_be_repeated_is_refused(capsys, changes, said):
    Path("run").mkdir()
    record.save(saved(**changes), Path("run"))
    assert run("run") == 2
    assert said in capsys.readouterr().err


def test_the_command_is_the_run_with_the_change_and_without_the_profiler():
    config = RunConfig.of(model_size="tiny", pass_type="train", profiler="torch", measure_steps=3).resolved("cpu")
    change = Candidate("x", (Change({"optimizer": "adamw-fused"}, {"A": "1 2"}),))
    line = "perfkit run --model-size tiny --pass-type train --optimizer adamw-fused --device cpu"
    assert tune.command(config, change) == f"A='1 2' {line}"
    assert tune.command(quick(seed=7), None).endswith("--seed 7 --device cpu --num-threads 1")


@pytest.mark.parametrize(("clock", "phase", "expected"), [("wall", "data", {"DataLoader"}), ("cpu", "data", set()),
    ("wall", "forward", set())])  # fmt: skip
def test_a_loader_is_known_by_its_phase_where_wall_time_is_judged(clock, phase, expected):
    """GIVEN steps with a phase data, or none WHEN asked what can be changed THEN a loader, but not by CPU time"""
    run = RunFolder(Path("run"), saved(steps=(sample(0.1, **{phase: 0.05}),)))
    assert tune._modules(run, clock) == expected


def test_a_change_that_alters_the_result_is_refused(capsys):
    """GIVEN a model that computes something else in float32, profiled WHEN that is asked for THEN it is refused after
    one process; so is a batch of twice the rows that has as many as before"""
    own = "--model models_of_tune:model --input models_of_tune:batch --input-arg rows=2"
    line = f"{own} --device cpu --num-threads 1 --measure-steps 5"
    quick = "--profiler torch --overhead off --tensorboard off --folder run"
    assert cli.main(["run", *line.split(), *quick.split()]) == 0
    capsys.readouterr()
    also = ("--also", "--apply float32", "--also", "--input-arg rows=4")
    assert run("run", *also, "--repeats", "2", "--format", "json", "--budget", "10m") == 0
    said = json.loads(capsys.readouterr().out)
    [row] = [row for row in said["tables"]["changes"]["rows"] if row["change"] == "--apply float32"]
    assert row["verdict"] == "refused"
    assert "the loss of step 1 differs by" in row["said"]
    assert row["loss_difference"] > row["loss_limit"]
    [row] = [row for row in said["tables"]["changes"]["rows"] if row["change"] == "--input-arg rows=4"]
    assert (row["verdict"], row["times"]) == ("refused", 2)
    assert row["said"] == "its batch has not 2 times the rows: 2x8 in place of 2x8"
    assert said["summary"]["recommended"] is None


def test_other_arguments_of_the_input_are_kept():
    """GIVEN an own model's arguments WHEN one is given anew THEN the line that names the model leaves room for it"""
    config = config_of("--model a:b --model-arg n=1 --input a:c --input-arg batch=4 wide=True")
    assert "--input-arg" not in tune._named(config, "--input-arg batch=8")
    assert tune._named(config, "--seed 1").endswith("--input-arg batch=4 wide=True")
    assert tune._named(quick(), "--seed 1") == ""
