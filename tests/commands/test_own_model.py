"""`perfkit run --model`: a module of the user's, from the command line to the tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perfkit import Own, RunConfig, cli
from perfkit.commands.inputs.flags import RunFlags, config_of
from perfkit.commands.run import Doing
from perfkit.errors import UsageError
from perfkit.schema import computed, record
from perfkit.schema.campaign import Finished
from perfkit.schema.record import RunRecord
from tests.runs import ENVIRONMENT, sample

SOURCE = """
import time
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

class Net(nn.Module):
    def __init__(self, hidden=4):
        super().__init__()
        self.first, self.second = nn.Linear(4, hidden), nn.Linear(hidden, 1)

    def forward(self, x):
        return self.second(self.first(x).relu())

def batch():
    return torch.ones(2, 4), lambda out: out.square().mean()

class Slow(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        time.sleep(0.01)
        return torch.full((4,), index / 6.0), torch.ones(1)

def loader():
    return DataLoader(Slow(), 2, shuffle=True), nn.functional.mse_loss
"""
NAMED = ["--model", "models_of_a_test:Net", "--input", "models_of_a_test:batch"]
QUICK = ["--warmup-steps", "1", "--measure-steps", "2", "--device", "cpu", "--tensorboard", "off", "--overhead", "off"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models_of_a_test.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def run(*flags: str) -> RunRecord:
    assert cli.main(["run", *NAMED, *QUICK, "--folder", "run", *flags]) == 0
    return record.load(Path("run"))


def test_a_run_under_the_profiler_has_its_layers(capsys):
    saved = run("--model-arg", "hidden=8", "--profiler", "torch", "--pass-type", "train")
    assert list(saved.steps[0].phases_s) == ["zero_grad", "forward", "loss", "backward", "optimizer"]
    said = capsys.readouterr()
    assert said.err.startswith("models_of_a_test.Net (hidden=8), input models_of_a_test:batch, train, fp32, on cpu\n")
    assert cli.main(["analyze", "run", "--by", "module", "--format", "json"]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["tables"]["groups"]["rows"]
    assert {"first", "second"} <= {row["scope"] for row in rows}


LOADER = [*NAMED[:2], "--input", "models_of_a_test:loader"]


def test_a_loaders_time_is_a_phase_and_a_finding(capsys):
    """GIVEN 2 rows a batch that take 10 ms each WHEN profiled THEN data take 20 ms a step and more, and are found"""
    assert cli.main(["run", *LOADER, *QUICK, "--folder", "run", "--profiler", "torch"]) == 0
    for step in record.load(Path("run")).steps:
        assert list(step.phases_s) == ["data", "zero_grad", "forward", "loss", "backward"]
        assert step.phases_s["data"] > 0.02
    assert "data loader gets the next batch (enumerate(DataLoader)#_SingleProcess" in capsys.readouterr().out


def test_workers_compute_the_same_bits():
    """GIVEN a loader that shuffles WHEN its rows are read here and by workers THEN no bit differs"""
    found = []
    flags = ["--warmup-steps", "3", *QUICK[2:], "--save-results", "on", "--pass-type", "train"]
    for name, more in (("a", []), ("b", ["--apply", "workers-2"])):
        assert cli.main(["run", *LOADER, *flags, "--folder", name, *more]) == 0
        found.append(computed.load(Path(name)))
    one, other = found
    assert one.losses.tolist() == other.losses.tolist()
    assert len({*one.losses.tolist()}) == 3
    assert one.samples.tolist() == other.samples.tolist()


def test_memory_is_recorded(capsys):
    run("--profiler", "memory")
    assert cli.main(["memory", "run"]) == 0
    assert "gradients" in capsys.readouterr().out


def test_an_estimate_runs_nothing_and_says_memory_and_operations(capsys):
    """GIVEN 2 x 4 inputs, 8 hidden, 49 parameters WHEN estimated THEN 2 x 2 x (4 x 8 + 8) forward, and backward once
    more for weights and once for the second layer's input"""
    flags = ["--model-arg", "hidden=8", "--device", "cpu", "--pass-type", "train"]
    assert cli.main(["run", *NAMED, *flags, "--estimate", "--output", "e.json"]) == 0
    said = json.loads(Path("e.json").read_text())
    parts = {row["part"]: row["traced_bytes"] for row in said["tables"]["memory"]["rows"]}
    assert (parts["parameters"], parts["optimizer state"]) == (4 * 49, 2 * 4 * 49 + 4 * 4)
    assert said["summary"]["flops"] == 160 + 160 + 32
    assert "FLOP in matmuls, attention and convolutions: " in capsys.readouterr().out
    assert not Path("traces").exists()


def test_a_sweep_of_estimates_is_one_table(capsys):
    flags = ["--model-arg", "hidden=8", "16", "--device", "cpu", "--estimate", "--tables", "e.json"]
    assert cli.main(["sweep", *NAMED, *flags]) == 0
    rows = json.loads(Path("e.json").read_text())["tables"]["estimates"]["rows"]
    assert [row["model_arg.hidden"] for row in rows] == [8, 16]
    assert rows[0]["traced_bytes"] < rows[1]["traced_bytes"]


def test_what_to_do_next_names_the_model_again(capsys):
    run()
    assert f"next: perfkit run {' '.join(NAMED)}" in capsys.readouterr().out


def test_the_flags_of_a_configuration_make_it_again():
    """GIVEN a configuration of an own model WHEN its flags are parsed THEN it is the same: as fresh processes need"""
    config = RunFlags(
        model="a.b:c", model_arg=("x=1", "y=a b"), input="a:d", precision="bf16", profiler="nsys", device="cpu"
    ).config
    assert config.flags()[:7] == ["--model", "a.b:c", "--model-arg", "x=1", "y=a b", "--input", "a:d"]
    assert (
        config_of("--model a.b:c --model-arg x=1 'y=a b' --input a:d --precision bf16 --profiler nsys --device cpu")
        == config
    )


def test_runs_of_other_arguments_are_told_apart(capsys):
    """GIVEN two runs with another argument WHEN compared THEN that is what differs between them"""
    for name, hidden in (("a", 4), ("b", 8)):
        folder = Path(name)
        folder.mkdir()
        config = config_of(f"{' '.join(NAMED)} --model-arg hidden={hidden} --device cpu")
        steps = tuple(sample(0.01 + step / 1e5, forward=0.005) for step in range(3))
        record.save(RunRecord(config=config, environment=ENVIRONMENT, created="x", status="ok", steps=steps), folder)
    assert cli.main(["compare", "a", "b", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["tables"]["differences"]["rows"]
    assert ("hidden=4", "hidden=8") in {(row["a"], row["b"]) for row in rows}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([*NAMED, "--model-size", "tiny"], "--model-size tiny is of perfkit's own Transformer: leave it out beside"),
        ([*NAMED, "--d-model", "64"], "--d-model 64 is of perfkit's own Transformer: leave it out beside --model"),
        ([*NAMED, "--batch-size", "2"], "--batch-size 2 is of perfkit's own Transformer: leave it out beside --model"),
        (NAMED[:2], "--model models_of_a_test:Net needs --input package.module:callable, which returns a batch"),
        (NAMED[2:], "--input models_of_a_test:batch needs --model package.module:callable, which returns the module"),
        (["--model", "net", *NAMED[2:]], "--model net: name a callable as package.module:callable"),
        ([*NAMED, "--model-arg", "8"], "--model-arg 8: write it as name=value"),
        ([*NAMED, "--model-arg", "a=8", "a=9"], "--model-arg a is given twice: leave one out"),
        (["--input-arg", "n=2"], "--input-arg n=2 needs --model and --input: it is an argument of theirs"),
        (
            [*NAMED, "--input-arg", "n=2"],
            "--input models_of_a_test:batch: TypeError: batch() got an unexpected keyword",
        ),
        (
            [*NAMED, "--fit"],
            "--fit proposes flags of perfkit's own Transformer, and --model has its own: use",
        ),
        (["--model", "no_such_module:x", *NAMED[2:]], "--model no_such_module:x: ModuleNotFoundError: No module named"),
    ],
)
def test_what_cannot_work_is_one_line(flags, message, capsys):
    assert cli.main(["run", *flags]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("perfkit: ")]
    assert line.startswith(f"perfkit: {message}")


def test_a_mistake_under_a_profiler_is_said_once(capsys):
    """GIVEN a model that cannot be built, here nor in the process of plain steps WHEN profiled THEN the error alone"""
    words = "--model models_of_a_test:Net: TypeError: Net.__init__() got an unexpected"

    def refuses(_: RunConfig, folder: Path) -> Finished:
        folder.mkdir()
        return Finished(
            outcome="error", exit_code=2, signal=None, wall_s=1.0, stderr_tail=f"perfkit: {words}", record=None
        )

    flags = [*NAMED, "--model-arg", "hiden=4", *QUICK[:-2], "--profiler", "torch", "--overhead", "on"]
    assert cli.main(["run", *flags], doing=Doing(run_child=refuses)) == 2
    said = capsys.readouterr().err
    assert said.count(words) == 1
    assert said.splitlines()[-1].startswith(f"perfkit: {words}")


def test_a_configuration_that_no_command_line_can_name_says_so():
    with pytest.raises(UsageError, match=r"pass it to measure.runner.run"):
        RunConfig(workload=Own(name="mine")).flags()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((*NAMED, "--model-arg", "hiden=4", "8"),
         "--model models_of_a_test:Net: got an unexpected keyword argument 'hiden'; it takes hidden"),
        ((*NAMED, "--input-arg", "n=2"),
         "--input models_of_a_test:batch: got an unexpected keyword argument 'n'; it takes no arguments"),
    ],
    ids=["model", "input"],
)  # fmt: skip
def test_a_sweep_refuses_arguments_that_no_point_takes_before_it_runs_one(flags, message, capsys):
    assert cli.main(["sweep", *flags, "--device", "cpu", "--output", "s.csv"]) == 2
    assert capsys.readouterr().err == f"perfkit: {message}\n"
    assert not Path("s.csv").exists()
