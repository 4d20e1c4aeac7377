"""`perfkit run` as a user meets it, in this process: tables, files, exit codes, refusals."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from perfkit import cli
from perfkit.analysis.reports import run as run_report
from perfkit.commands import run as run_command
from perfkit.commands.inputs.flags import RunFlags
from perfkit.commands.run import Doing, RunOptions
from perfkit.errors import PerfkitError
from perfkit.measure import runner
from perfkit.schema import record
from perfkit.schema.campaign import Finished
from perfkit.schema.config import RunConfig
from perfkit.schema.record import RunRecord
from tests import runs
from tests.runs import CPU_OOM, QUICK_FLAGS, FakeWorkload

FEW = ["--warmup-steps", "1", "--measure-steps", "2"]


class Result(NamedTuple):
    code: int
    out: str
    err: str
    folder: Path
    """Where the only run of the test is, or the test's own folder where there is none."""

    @property
    def record(self) -> RunRecord:
        return record.load(self.folder)

    @property
    def says(self) -> str:
        """The last line on stderr."""
        return self.err.strip().splitlines()[-1]


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """Runs `perfkit run` with a quick model in tmp_path."""
    monkeypatch.chdir(tmp_path)

    def go(*arguments: str, **doing: Any) -> Result:
        device = [] if "--device" in arguments else ["--device", "cpu"]
        overhead = [] if "--overhead" in arguments else ["--overhead", "off"]  # spares a process
        seams = {"doing": Doing(**doing)} if doing else {}
        code = cli.main(["run", *QUICK_FLAGS, *device, *overhead, *arguments], **seams)
        out, err = capsys.readouterr()
        folders = list(tmp_path.glob("traces/*"))
        return Result(code, out, err, folders[0] if len(folders) == 1 else tmp_path)

    return go


def test_a_run_says_what_a_step_takes_and_what_is_next(run):
    # WHEN
    result = run(*FEW, "--pass-type", "train")

    # THEN the line, perhaps notes on noise, and the end; no table, no cost, no interval
    lines = result.out.splitlines()
    assert re.fullmatch(
        r"\S+ [mu]?s ± \S+ \(2 steps, 1 warm-up\)   .*   \S+ tokens/s   peak \S+ [MG]iB",
        lines[0],
    )
    assert lines[-4:-2] == ["", f"saved in traces/{result.folder.name}"]
    assert re.fullmatch(r"next: perfkit run .*--pass-type train .*--profiler torch +time by layer.*", lines[-2])
    assert re.fullmatch(rf"      perfkit analyze traces/{result.folder.name} +every table of this run", lines[-1])
    for text in ("median", "warm-up, 1 step", "the mean is known to", "counters: ", "─"):
        assert text not in result.out


def test_a_verbose_run_shows_its_tables_and_saves_its_record(run):
    # WHEN
    result = run(*FEW, "--pass-type", "train", "-v")

    # THEN
    assert result.code == 0
    assert re.fullmatch(r"\d{8}-\d{6}_tiny_train", result.folder.name)
    assert f"saved in traces/{result.folder.name}" in result.out
    for text in ("tiny  32/64/1/2", "median (ms)", "optimizer", "warm-up, 1 step:", "n = 2: the mean is known to"):
        assert text in result.out
    assert result.err.splitlines()[0].startswith("tiny: ")
    assert result.err.splitlines()[1:] == ["building the model", "warm-up steps, 1", "measured steps, 2"]
    saved = result.record
    assert (saved.status, len(saved.warmup), len(saved.steps)) == ("ok", 1, 2)
    assert list(saved.steps[0].phases_s) == ["zero_grad", "forward", "loss", "backward", "optimizer"]
    assert saved.memory.headline is not None
    assert saved.environment.num_threads == 1


def test_every_number_in_the_table_comes_from_the_record(run):
    # WHEN
    result = run(*FEW, "--output", "r.json")

    # THEN
    (row,) = json.loads(Path("r.json").read_text())["tables"]["runs"]["rows"]
    steps = [step.wall_s for step in result.record.steps]
    assert row["parameters"] == RunConfig.of(**_quick_shape(), model_size="tiny").transformer.parameters == 16_736
    assert (row["steps"], row["context_length"], row["batch_size"]) == (2, 16, 2)
    assert row["mean_s"] == pytest.approx(sum(steps) / 2)
    assert row["tokens_per_s"] == pytest.approx(2 * 16 / row["mean_s"])
    assert row["peak_memory_bytes"] == result.record.memory.resident


def test_a_full_disk_does_not_hide_what_was_measured(run):
    # GIVEN a disk that the record does not fit on
    def full(config: RunConfig, folder: Path, observers: Any) -> RunRecord:
        saved = runs.saved(config=config)
        raise record.UnsavedError(f"{folder.name}: cannot be saved: No space left on device", saved)

    # WHEN
    result = run(*FEW, "--output", "r.json", run=full)

    # THEN
    assert result.code == 2
    assert "n = 2: the mean is known to" in result.out
    assert "saved in" not in result.out
    assert result.says.endswith("cannot be saved: No space left on device")
    assert len(json.loads(Path("r.json").read_text())["tables"]["runs"]["rows"]) == 1
    assert not list(Path("traces").iterdir())


def _quick_shape() -> dict[str, Any]:
    return {"num_layers": 1, "d_model": 32, "num_heads": 2, "d_ff": 64, "vocab_size": 100}


def test_a_run_that_records_memory_says_its_peak_and_what_is_next(run):
    """GIVEN no number of steps THEN two are recorded, the peak is in the first lines, and `perfkit memory` is next"""
    result = run("--profiler", "memory", "--warmup-steps", "1")
    assert result.code == 0
    saved = result.record
    assert (len(saved.steps), set(saved.artifacts) >= {"memory", "trace"}) == (2, True)
    assert result.out.splitlines()[1].startswith(
        f"memory: at its peak {saved.memory.tensors / 2**10:.1f} KiB in tensors"
    )
    assert f"next: perfkit memory traces/{result.folder.name} " in result.out
    assert result.err.splitlines()[1:] == [
        "building the model", "warm-up steps, 1", "measured steps, 2", "writing the trace",
    ]  # fmt: skip


def test_a_profiled_run_shows_layers_and_operators(run):
    # WHEN
    result = run(*FEW, "--profiler", "torch", "--verbose", "--top", "1000")

    # THEN no row is left out: which rows take the most time is up to the machine
    assert result.code == 0
    where = f"traces/{result.folder.name}"
    assert f"next: perfkit analyze {where} --table groups --by layer " in result.out
    assert f"      perfkit report {where} --open " in result.out
    for text in ("layers.*.attn", "aten::mm", "ranges: "):
        assert text in result.out
    assert "more rows" not in result.out
    assert result.err.splitlines()[-1] == "writing the trace"


def test_a_profiled_run_shows_what_the_profiler_costs(run):
    """A real second process: `perfkit run` of the same configuration without the profiler."""
    # WHEN
    result = run(*FEW, "--profiler", "torch", "--overhead", "on", "--verbose")

    # THEN
    assert result.code == 0
    assert "Overhead of --profiler torch" in result.out
    plain = record.load(result.folder / result.record.artifacts["plain"])
    assert (plain.config.measurement.profiler, len(plain.steps), plain.annotation) == ("none", 2, None)
    assert {path.name for path in result.folder.iterdir()} >= {"plain", "record.json"}
    assert not list(result.folder.glob("*.log"))


@pytest.mark.parametrize(("outcome", "exit_code"), [("oom", 3), ("error", 2)])
def test_a_profiled_run_goes_on_without_its_plain_steps(run, outcome, exit_code):
    # GIVEN a process that finds no memory, or refuses what works here
    def fails(config: RunConfig, folder: Path) -> Finished:
        assert config.measurement.profiler == "none"
        folder.mkdir()
        return Finished(
            outcome=outcome, exit_code=exit_code, signal=None, wall_s=1.0, stderr_tail="perfkit: full", record=None
        )

    # WHEN
    result = run(*FEW, "--profiler", "torch", "--overhead", "on", run_child=fails)

    # THEN
    assert result.code == 0
    assert result.err.count(f"the profiler's overhead will not be known: {outcome}: full") == 1
    assert list(result.record.artifacts) == ["trace", "tensorboard"]
    assert not (result.folder / "plain").exists()


def never(*_: object) -> Any:
    raise AssertionError("it began")


def test_plain_steps_are_measured_with_a_profiler_only(run):
    assert run(*FEW, "--overhead", "on", run_child=never).code == 0


def test_a_run_goes_into_the_folder_that_is_named(run):
    # WHEN
    result = run(*FEW, "--folder", "here/it")

    # THEN
    assert result.code == 0
    assert record.load(Path("here/it")).status == "ok"
    assert not Path("traces").exists()


@pytest.mark.parametrize(
    ("name", "start"),
    [("r.csv", "size,shape,parameters,"), ("r.md", "| tiny "), ("r.tex", "\\begin{tabular}"), ("R.CSV", "size,shape")],
)
def test_the_result_goes_to_a_file_too(run, name, start):
    # WHEN
    result = run(*FEW, "--output", name)

    # THEN
    text = Path(name).read_text()
    assert result.code == 0
    assert start in text
    if name.endswith("csv"):
        (row,) = csv.DictReader(text.splitlines())
        assert (row["size"], row["parameters"], row["status"]) == ("tiny", "16736", "ok")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "r.xls"], "r.xls: the extension chooses the format: use .json, "),
        (["--output", "r"], "the extension chooses the format"),
        (["--output", "nowhere/r.csv"], "nowhere/r.csv: there is no directory nowhere: create it first"),
        (["--output", "folder.csv"], "folder.csv: is a directory"),
        (["--traces-dir", "file"], "choose another --traces-dir"),
        (["--traces-dir", "file/inside"], "choose another --traces-dir"),
        (["--traces-dir", "dangling"], "choose another --traces-dir"),
        (["--traces-dir", "/proc/nowhere"], "choose another --traces-dir"),
        (["--folder", "full"], "full is not empty; choose another --folder"),
        (["--folder", "file"], "choose another --folder"),
        (["--top", "-1"], "--top -1: must be 0 or more"),
        (["--measure-steps", "0"], "--measure-steps 0: must be at least 1"),
        (["--precision", "tf32", "--device", "cpu"], "--precision tf32 exists on NVIDIA GPUs only"),
        (["--device", "gpu"], "--device gpu: choose auto, cpu, cuda or cuda:N"),
        (["--seed", "-1"], "--seed -1: must be 0 or more"),
        (["--profile-stack"], "--profile-stack needs --profiler torch"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(run, tmp_path, arguments, message):
    # GIVEN
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "full" / "run").mkdir(parents=True)
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")

    # WHEN
    result = run(*arguments, run=never)

    # THEN one line
    assert result.code == 2
    assert result.says.startswith("perfkit: ")
    assert message in result.says
    assert result.err.count("\n") == 1
    assert (result.out, list(tmp_path.glob("traces/*"))) == ("", [])


def test_without_nsys_a_run_under_it_is_refused_before_anything_runs(run, tmp_path, monkeypatch):
    # GIVEN
    monkeypatch.setenv("PATH", str(tmp_path))

    # WHEN
    result = run(*FEW, "--profiler", "nsys")

    # THEN
    assert (result.code, result.out, list(tmp_path.iterdir())) == (2, "", [])
    assert result.err == (
        "perfkit: --profiler nsys: nsys is not on PATH;"
        " install Nsight Systems (scripts/install-nsys; Debian: nsight-systems in non-free)\n"
    )


def test_a_directory_that_cannot_be_written_is_refused_before_anything_runs(run, tmp_path, monkeypatch):
    # GIVEN (root may write everywhere, so that permissions alone would not do)
    (tmp_path / "closed").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed")

    # THEN
    result = run(*FEW, "--output", "closed/r.csv")
    assert (result.code, list(tmp_path.glob("traces/*"))) == (2, [])


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["--model-size", "huge"], ["--model-size huge: choose from", "tiny", "2.7B", "10B"]),
        (["--pass-type", "back"], ["forward-backward", "train"]),
        (["--no-such-flag", "1"], ["--no-such-flag"]),
        (["--measure-step", "1"], ["--measure-step", "--measure-steps"]),
        (["--seed", "x"], ["--seed x", "whole number"]),
        (["small"], ["small"]),
    ],
)
def test_the_command_line_says_what_it_did_not_understand(capsys, arguments, messages):
    # WHEN
    code = cli.main(["run", *arguments])

    # THEN
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    for message in messages:
        assert message in err
    assert "Traceback" not in err


def failing(error: BaseException) -> Any:
    """A run whose first forward raises an error."""

    def measure(config: RunConfig, folder: Path, observers: Any) -> RunRecord:
        return runner.run(config, folder, observers, build=lambda config: FakeWorkload(config, {(0, "forward"): error}))

    return measure


def test_memory_that_plain_steps_did_not_find_either_is_said_once(run):
    def fails(_: RunConfig, folder: Path) -> Finished:
        folder.mkdir()
        said = "perfkit: out of memory in model"
        return Finished(outcome="oom", exit_code=3, signal=None, wall_s=1.0, stderr_tail=said, record=None)

    seams = {"run": failing(RuntimeError(CPU_OOM)), "run_child": fails}
    result = run(*FEW, "--profiler", "torch", "--overhead", "on", **seams)
    assert result.code == 3
    assert result.err.count("out of memory") == 1


def test_out_of_memory_is_a_result(run):
    # WHEN
    result = run(*FEW, "--output", "r.csv", run=failing(RuntimeError(CPU_OOM)))

    # THEN one line that says it all, a record, and a row
    assert result.code == 3
    assert result.says.startswith("perfkit: out of memory in warm-up step 1, forward: an allocation of 64.0 GiB failed")
    assert re.search(r"; this machine had [\d.]+ [KMGT]iB available when the run began; try --.+ or --", result.says)
    assert f"(record saved in traces/{result.folder.name})" in result.says
    assert "Traceback" not in result.err
    assert (result.record.status, result.record.steps) == ("oom", ())
    assert Path("r.csv").read_text().splitlines()[1].endswith(",oom")


def test_ctrl_c_is_a_result(run):
    # WHEN
    result = run(*FEW, run=failing(KeyboardInterrupt()))

    # THEN
    assert result.code == 130
    assert result.says == (
        "perfkit: interrupted by SIGINT in warm-up step 1, forward;"
        f" 0 of 2 measured steps saved in traces/{result.folder.name}"
    )
    assert result.record.status == "interrupted"


def test_a_signal_in_the_plain_steps_keeps_those_that_were_measured(run):
    """GIVEN a profiled run WHEN a signal meets the plain steps before it THEN what the child has saved stays"""

    # GIVEN
    def interrupted(config: RunConfig, folder: Path) -> None:
        folder.mkdir()
        record.save(runs.saved(status="interrupted"), folder)
        folder.with_name("plain.log").touch()
        raise KeyboardInterrupt

    # WHEN
    result = run(*FEW, "--profiler", "torch", "--overhead", "on", run_child=interrupted)

    # THEN
    assert result.code == 130
    assert result.says == f"perfkit: interrupted by SIGINT; what was measured is saved in traces/{result.folder.name}"
    assert [path.name for path in result.folder.iterdir()] == ["plain"]
    assert len(record.load(result.folder / "plain").steps) == 2


@pytest.mark.parametrize("warmed_up", [False, True])
def test_a_signal_before_anything_is_measured_leaves_nothing(run, warmed_up):
    def interrupted(config: RunConfig, folder: Path) -> None:
        folder.mkdir()
        if warmed_up:
            record.save(runs.saved(status="interrupted", steps=()), folder)
        raise KeyboardInterrupt

    result = run(*FEW, "--profiler", "torch", "--overhead", "on", run_child=interrupted)
    assert (result.code, result.says) == (130, "perfkit: interrupted by SIGINT; nothing was measured")
    assert list(Path("traces").iterdir()) == []


def raising(error: BaseException) -> Any:
    def show(*_: object, **__: Any) -> None:
        raise error

    return show


def test_a_signal_while_the_tables_are_shown_says_where_all_is(run):
    result = run(*FEW, show=raising(KeyboardInterrupt()))
    assert result.code == 130
    assert result.says == f"perfkit: interrupted by SIGINT; what was measured is saved in traces/{result.folder.name}"
    assert (result.record.status, len(result.record.steps)) == ("ok", 2)


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), BrokenPipeError(), OSError(errno.EIO, "no terminal"), PerfkitError("no operator")]
)
def test_what_ended_a_run_is_told_also_where_its_tables_cannot_be_shown(run, error):
    result = run(*FEW, run=failing(KeyboardInterrupt()), show=raising(error))
    assert result.code == 130
    assert "; 0 of 2 measured steps saved in traces/" in result.says


def test_ctrl_c_outside_a_run_is_one_line(run):
    result = run("--profiler", "nsys", prepare_nsys=raising(KeyboardInterrupt()))
    assert (result.code, result.says) == (130, "perfkit: interrupted by SIGINT")


def test_debug_shows_the_traceback(run):
    with pytest.raises(Exception, match="out of memory in warm-up step 1"):
        run(*FEW, "--debug", run=failing(RuntimeError(CPU_OOM)))


def test_an_error_that_is_ours_to_mend_is_not_hidden(run):
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(*FEW, run=failing(RuntimeError("shapes cannot be multiplied")))
    assert not list(Path("traces").iterdir())


def test_the_file_is_written_before_the_tables_are_shown(tmp_path, monkeypatch):
    """GIVEN a reader that has gone away, of which `perfkit` as a process hears (test_streams)"""
    monkeypatch.chdir(tmp_path)
    flags = RunFlags(**runs.quick(measure_steps=2).flat())
    options = RunOptions(output=Path("r.csv"), overhead="off")
    with pytest.raises(BrokenPipeError):
        run_command.execute(None, flags, options, doing=Doing(show=raising(BrokenPipeError())))
    assert Path("r.csv").read_text().startswith("size,")


def test_the_headline_says_what_is_measured():
    # GIVEN
    config = RunConfig.of(compile="block", checkpoint=True, precision="bf16").resolved("cpu")

    # THEN
    assert run_report.headline(config) == (
        "tiny: 3.6M parameters (128/512/4/4), batch 4 x context 128, forward-backward, bf16, attention eager,"
        " compile block, checkpoint, on cpu"
    )


@pytest.fixture(autouse=True)
def _threads_as_they_were():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("flag", "value"), [("--target-ci", "99%"), ("--target-cv", "0.99")])
def test_a_target_is_a_share_in_either_spelling(run, monkeypatch, flag, value):
    # GIVEN
    monkeypatch.setattr("sys.argv", ["perfkit", "run", flag, value])

    # WHEN
    found = run(flag, value, "--max-time", "600", "--max-steps", "40")

    # THEN one long stall among steps of a millisecond can take the interval past even this
    assert found.record.config.measurement.target_ci == 0.99
    assert found.record.ended_by in ("target-ci", "max-steps")
    assert 20 <= len(found.record.steps) <= 40
    assert re.search(r"^n = \d+, ended by --(target-ci 99\.0%|max-steps 40)", found.out, re.MULTILINE)
    assert ("--target-cv is another name for --target-ci" in found.out) == (flag == "--target-cv")


def test_a_target_that_is_no_number_is_refused(run):
    found = run("--target-ci", "soon")
    assert found.code == 2
    assert found.says == "perfkit: --target-ci soon: write it as 1% or 0.01"


def test_the_probes_cost_is_printed(run):
    assert re.search(
        r"^counters: reading them takes \S+ [mu]?s a step, between the steps$", run(*FEW, "-v").out, re.MULTILINE
    )


@pytest.mark.parametrize(("steps", "warned"), [(500, False), (501, True)])
def test_many_profiled_steps_are_warned_of(run, steps, warned):
    def measure(config: RunConfig, folder: Path, observers: Any) -> RunRecord:
        return runs.saved(config=config)

    result = run("--measure-steps", str(steps), "--profiler", "torch", run=measure)
    assert (f"{steps} profiled steps: writing the trace takes long" in result.err) is warned


def test_an_nsys_that_does_not_start_leaves_no_empty_folder(run, tmp_path):
    fail = raising(PerfkitError("agent launcher failed"))
    result = run(*FEW, "--profiler", "nsys", prepare_nsys=object, run_under_nsys=fail)
    assert (result.code, result.says) == (1, "perfkit: agent launcher failed")
    assert [path for path in tmp_path.rglob("*") if path.is_dir() and path.name != "traces"] == []


def test_plain_steps_are_measured_beside_a_run_under_nsys_once_that_is_done(run):
    # GIVEN an nsys that is none, and plain steps that cost nothing: the folder must be empty when nsys begins
    order = []

    def under_nsys(config, program, device, folder, beside):
        order.append(("nsys", sorted(path.name for path in folder.iterdir())))
        made = runs.saved(artifacts=beside())
        record.save(made, folder)
        return made

    def plain_steps(config, folder):
        order.append(("plain", config.measurement.profiler))
        folder.mkdir()
        record.save(runs.saved(), folder)
        return Finished(outcome="ok", exit_code=0, signal=None, wall_s=1.0, stderr_tail="", record=runs.saved())

    # WHEN
    seams = {"prepare_nsys": object, "run_under_nsys": under_nsys, "run_child": plain_steps}
    result = run(*FEW, "--profiler", "nsys", "--overhead", "on", "-v", **seams)

    # THEN
    assert order == [("nsys", []), ("plain", "none")]
    assert result.record.artifacts == {"plain": "plain/record.json"}
    assert "Overhead of --profiler" in result.out
