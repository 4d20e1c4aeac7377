"""`perfkit sweep` as a user meets it, with fakes in place of processes; one test has real ones."""

from __future__ import annotations

import csv
import errno
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from perfkit import cli
from perfkit.analysis.sweeps.rows import Forecast
from perfkit.commands import sweep_forecast
from perfkit.commands.sweep import Outside
from perfkit.launch import journal
from perfkit.schema import record
from perfkit.schema.config import RunConfig
from perfkit.schema.sweep import SweepRow
from tests import sweeps
from tests.runs import QUICK_FLAGS

GRID = ["--batch-size", "1", "2", "--pass-type", "forward", "train"]


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[SweepRow]:
        return journal.parse(Path("r.csv"), Path("r.csv").read_bytes())

    @property
    def says(self) -> str:
        """The last line on stderr."""
        return self.err.strip().splitlines()[-1]


@pytest.fixture
def outside():
    """What stands in for other processes: a machine with 16 GiB free on each device."""
    free = partial(sweep_forecast.forecaster, find=lambda names: {name: (name, 2**34) for name in names})
    return {"forecaster": free}


@pytest.fixture
def processes(outside):
    fake = sweeps.FakeProcesses()
    outside["fresh"] = fake.within
    return fake


@pytest.fixture
def sweep(tmp_path, capsys, monkeypatch, outside):
    """Runs `perfkit sweep` in tmp_path with results in r.csv."""
    monkeypatch.chdir(tmp_path)

    def go(*arguments: str) -> Result:
        output = [] if "--output" in arguments else ["--output", "r.csv"]
        code = cli.main(
            ["sweep", "--device", "cpu", *output, *arguments], outside=Outside(check=lambda _: None, **outside)
        )
        return Result(code, *capsys.readouterr())

    return go


def test_a_sweep_measures_each_combination_and_writes_it_down(sweep, processes):
    # WHEN
    result = sweep(*GRID)

    # THEN
    assert result.code == 0
    assert len(processes.turns) == 4
    assert [row.key for row in result.rows] == [turn.point.key for turn in processes.turns]
    assert {(row.config.step.batch_size, row.config.step.pass_type) for row in result.rows} == {
        (1, "forward"), (2, "forward"), (1, "train"), (2, "train")}  # fmt: skip
    assert record.load(Path(result.rows[0].record)).config == result.rows[0].config
    assert result.out.startswith("4 results: 4 ok\n\nStep time\n")
    assert result.out.endswith("\n\nresults in r.csv, records in r.runs\n")
    lines = result.err.splitlines()
    assert lines[-1].startswith("[4/4] ")
    assert lines[0] == "reading the free memory of the devices"
    assert "about 12 s left" in lines[1]  # three more of 4 s
    with Path("r.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 4


OWN = ["--model", "m:Net", "--input", "m:batch"]


def test_a_sweep_over_arguments_of_an_own_model(sweep, processes):
    """GIVEN two axes of arguments beside one of precision WHEN swept, resumed, compared THEN cells are told apart"""
    # WHEN
    grid = [
        *OWN,
        "--model-arg",
        "hidden=64",
        "256",
        "layers=2",
        "--input-arg",
        "n=8",
        "16",
        "--precision",
        "fp32",
        "bf16",
    ]
    processes.instead[2] = sweeps.finished(outcome="error", exit_code=2, stderr_tail="perfkit: --model m:Net: no\n")
    result = sweep(*grid)

    # THEN
    assert (result.code, len(processes.turns)) == (1, 8)
    lines = result.err.splitlines()
    assert lines[0].startswith("[1/8] hidden ")  # no formula, so nobody asks for free memory
    assert [line.split()[:3] for line in result.out.splitlines() if line.startswith("hidden")] == [
        ["hidden", "n", "precision"]] * 2  # fmt: skip
    assert {row.config.value("model_arg.hidden") for row in result.rows} == {64, 256}
    assert "--model m:Net: no" in result.out

    # WHEN / THEN: what failed is repeated, and nothing else
    del processes.instead[2]
    again = sweep(*grid, "--resume", "--retry", "--columns", "hidden", "median_s")
    assert (again.code, len(processes.turns)) == (0, 9)
    assert "8 results: 8 ok" in again.out
    pair = [row.record for row in again.rows if row.config.step.precision == "fp32"][:2]
    assert cli.main(["compare", *pair, "--format", "json"]) == 0


def test_flags_of_the_transformer_are_refused_beside_a_model(sweep, processes):
    result = sweep(*OWN, "--context-length", "64", "128")
    assert result.code == 2
    assert result.says.startswith("perfkit: --context-length 64 128 is of perfkit's own Transformer: leave it out")
    assert not processes.turns


def test_repeats_run_in_rounds(sweep, processes):
    assert sweep(*GRID, "--repeats", "2", "--timeout", "60").code == 0
    assert [turn.repeat for turn in processes.turns] == [1] * 4 + [2] * 4
    assert processes.timeouts == [60.0]


def test_an_order_seed_names_an_order(sweep, processes):
    sweep(*GRID)
    sweep(*GRID, "--order-seed", "1", "--overwrite")
    first, second = processes.turns[:4], processes.turns[4:]
    assert first != second
    assert {turn.point.key for turn in first} == {turn.point.key for turn in second}


@pytest.mark.parametrize("cut", [None, 10])
def test_a_sweep_goes_on_where_it_was(sweep, processes, cut):
    # GIVEN a sweep of two points, perhaps with a line that was cut short
    first = sweep("--batch-size", "1", "2").rows
    with Path("r.csv").open("a") as stream:
        stream.write("1,tiny_for"[:cut] if cut else "")

    # WHEN
    result = sweep("--batch-size", "1", "2", "4", "--resume")

    # THEN
    assert result.code == 0
    assert len(processes.turns) == 3
    assert result.rows[:2] == first
    assert result.rows[2].config.step.batch_size == 4
    assert "2 of 3 results exist already" in result.err.splitlines()
    assert "3 results: 3 ok" in result.out


def test_a_complete_sweep_resumed_only_shows_its_tables(sweep, processes):
    sweep(*GRID)
    result = sweep(*GRID, "--resume")
    assert (result.code, len(processes.turns)) == (0, 4)
    assert "Step time" in result.out


def test_resume_starts_where_there_is_nothing_yet(sweep, processes):
    assert sweep(*GRID, "--resume").code == 0
    assert len(processes.turns) == 4


def test_results_of_other_points_stay_and_are_counted(sweep, processes):
    sweep("--batch-size", "1", "2")
    result = sweep("--batch-size", "4", "--resume")
    assert len(result.rows) == 3
    assert "2 results of other points in r.csv are not shown" in result.out


def test_what_a_killed_run_left_in_its_folder_is_cleared(sweep, processes):
    # GIVEN
    sweep("--batch-size", "1")
    [turn] = processes.turns
    Path("r.csv").unlink()
    Path(f"r.runs/{turn.name}.log").write_text("half")

    # WHEN / THEN: the fake, as perfkit run, wants an absent folder
    assert sweep("--batch-size", "1", "--resume").code == 0
    assert not Path(f"r.runs/{turn.name}.log").exists()


def test_out_of_memory_is_a_result(sweep, processes):
    processes.instead[0] = sweeps.out_of_memory(sweep_config())
    result = sweep("--batch-size", "1", "2")
    assert result.code == 0
    assert [row.outcome for row in result.rows] == ["oom", "ok"]
    for text in ("Failed (out of memory)", "warm-up step 1, backward", "--checkpoint", "1 ok, 1 out of memory"):
        assert text in result.out


def sweep_config():
    return RunConfig.of(model_size="tiny", device="cpu")


def test_what_nobody_expected_is_exit_code_1_and_can_be_tried_again(sweep, processes):
    # GIVEN
    processes.instead[1] = sweeps.finished(None, outcome="error", exit_code=1, stderr_tail="RuntimeError: no\n")

    # WHEN
    result = sweep("--batch-size", "1", "2")

    # THEN
    assert result.code == 1
    assert "RuntimeError: no" in result.out
    assert result.says.startswith("perfkit: 1 of 2 runs ended in a timeout, a kill or an error; their output is in")

    # WHEN / THEN: resume alone takes it as a result, retry does not
    assert sweep("--batch-size", "1", "2", "--resume").code == 1
    assert len(processes.turns) == 2
    again = sweep("--batch-size", "1", "2", "--resume", "--retry")
    assert (again.code, len(processes.turns)) == (0, 3)
    assert [row.outcome for row in again.rows] == ["ok", "ok"]


def test_ctrl_c_before_anything_is_done(sweep, processes):
    processes.instead[0] = KeyboardInterrupt()
    result = sweep(*GRID)
    assert (result.code, "no results yet" in result.out) == (130, True)


def test_ctrl_c_keeps_what_is_done(sweep, processes):
    # GIVEN
    processes.instead[2] = KeyboardInterrupt()

    # WHEN
    result = sweep(*GRID)

    # THEN
    assert result.code == 130
    assert result.says == "perfkit: interrupted by SIGINT; 2 of 4 results are saved in r.csv: continue with --resume"
    assert len(result.rows) == 2
    assert "Step time" in result.out
    assert sweep(*GRID, "--resume").code == 0
    assert len(result.rows) == 4


def test_what_will_not_fit_is_not_run_unless_forced(sweep, processes, outside):
    # GIVEN
    def forecast(config):
        fits = config.step.batch_size == 1
        return Forecast(peak_bytes=2**31, available_bytes=2**30, fits=fits, suggestions=("--checkpoint", "--x"))

    outside["forecaster"] = lambda *_: forecast

    # WHEN
    result = sweep("--batch-size", "1", "2")

    # THEN
    assert result.code == 0
    assert {row.config.step.batch_size: row.outcome for row in result.rows} == {1: "ok", 2: "predicted-oom"}
    assert {row.predicted_bytes for row in result.rows} == {2**31}
    assert "--checkpoint" in result.out
    assert len(processes.turns) == 1
    forced = sweep("--batch-size", "1", "2", "--resume", "--force")
    assert sorted(row.outcome for row in forced.rows) == ["ok", "ok"]


def test_points_that_the_formula_says_will_not_fit_are_not_run(sweep, processes):
    # WHEN
    result = sweep("--model-size", "tiny", "large", "--memory", "8GB")

    # THEN
    assert {row.config.transformer.model_size: row.outcome for row in result.rows} == {
        "tiny": "ok",
        "large": "predicted-oom",
    }
    (large,) = [row for row in result.rows if row.config.transformer.model_size == "large"]
    assert large.predicted_bytes > large.available_bytes == 8 * 2**30
    assert large.try_first
    assert large.try_second
    assert "Failed (out of memory)" in result.out


def test_a_compiled_point_is_run_all_the_same(sweep, processes):
    """The formula is of the step without torch.compile, which keeps more."""
    result = sweep("--model-size", "large", "--compile", "block", "--memory", "8GB")
    assert [row.outcome for row in result.rows] == ["ok"]


def test_estimates_of_a_grid_are_one_table_and_nothing_runs(sweep, processes):
    # WHEN
    result = sweep("--model-size", "tiny", "--precision", "fp32", "bf16", "--estimate", "--memory", "16GB",
                   "--tables", "e.json")  # fmt: skip

    # THEN
    assert (result.code, processes.turns) == (0, [])
    rows = json.loads(Path("e.json").read_text())["tables"]["estimates"]["rows"]
    assert [(row["size"], row["precision"], row["verdict"]) for row in rows] == [
        ("tiny", "fp32", "fits"), ("tiny", "bf16", "fits"),
    ]  # fmt: skip
    assert all(abs(row["difference"]) < 0.01 for row in rows)
    assert not Path("r.csv").exists()
    assert result.says == "nothing was run and r.csv was not written: --tables writes this table"


def test_estimates_show_what_the_grid_varies_and_a_verdict(sweep, processes, monkeypatch):
    """GIVEN a CPU whose free memory changes from look to look THEN there is a verdict, and rows can be told apart"""
    free = iter(range(2**34, 2**34 + 9))
    monkeypatch.setattr("perfkit.measure.estimate.available", lambda _: next(free))
    result = sweep(*QUICK_FLAGS, "--attention", "eager", "sdpa", "--compile", "off", "block", "--estimate",
                   "--tables", "e.json")  # fmt: skip
    rows = json.loads(Path("e.json").read_text())["tables"]["estimates"]["rows"]
    assert {(row["attention"], row["compile"], row["verdict"]) for row in rows} == {
        (one, two, "fits") for one in ("eager", "sdpa") for two in ("off", "block")}  # fmt: skip
    assert "does not cover --compile" in result.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--estimate", "--plot", "p.png"], "--estimate does not use --plot: leave it out"),
        (["--memory", "much"], "much: not a size of memory"),
        (["--batch-size", "0"], "no combination of the grid can work: --batch-size 0: must be at least 1"),
        (["--batch-size", "0", "1"], "1 of 2 combinations cannot work; --skip-invalid leaves them out"),
        (["--batch-size"], "--batch-size needs a value"),
        (["--output", "r.txt"], "--output r.txt: results are CSV"),
        (["--output", "nowhere/r.csv"], "there is no directory nowhere"),
        (["--output", "."], "is a directory"),
        (
            ["--output", "old.csv"],
            "old.csv exists: continue it with --resume, replace it with --overwrite, or name another",
        ),
        (
            ["--output", "old.csv", "--resume"],
            "old.csv: results of version 7, and this perfkit reads up to 2",
        ),
        (["--output", "link.csv"], "is not a regular file: name another"),
        (["--repeats", "0"], "--repeats 0: must be at least 1"),
        (["--timeout", "nan"], "--timeout nan: must be above 0 seconds"),
        (["--timeout", "5", "--in-process"], "drop --in-process"),
        (["--resume", "--overwrite"], "choose one"),
        (["--retry"], "--retry needs --resume"),
    ],
)
def test_what_cannot_work_is_refused_in_a_line_before_anything_runs(sweep, processes, tmp_path, arguments, says):
    (tmp_path / "old.csv").write_text("sweep_version,key\n7,k\n")
    (tmp_path / "link.csv").symlink_to("/dev/full")
    result = sweep(*arguments)
    assert (result.code, processes.turns) == (2, [])
    assert result.says.startswith("perfkit: ")
    assert says in result.says
    assert "Traceback" not in result.err


def test_overwrite_begins_anew_but_not_for_a_request_that_cannot_work(sweep, processes):
    before = sweep("--batch-size", "1").rows
    refused = sweep("--batch-size", "0", "--overwrite")
    assert (refused.code, refused.rows) == (2, before)
    assert [row.config.step.batch_size for row in sweep("--batch-size", "4", "--overwrite").rows] == [4]


def test_overwrite_leaves_a_sweep_that_is_running_alone(sweep, processes):
    before = sweep("--batch-size", "1").rows
    with journal.Journal(Path("r.csv")):
        refused = sweep("--batch-size", "4", "--overwrite")
    assert (refused.code, refused.rows) == (2, before)
    assert "another perfkit is writing to it" in refused.says


def test_a_sweep_that_got_to_no_result_needs_no_resume(sweep, processes):
    processes.instead[0] = KeyboardInterrupt()
    assert sweep("--batch-size", "1").code == 130
    assert [row.outcome for row in sweep("--batch-size", "1").rows] == ["ok"]


def test_a_full_disk_ends_a_sweep_in_one_line(sweep, processes):
    """GIVEN a record that does not fit while a line of the results file does THEN no further point is run"""
    says = f"perfkit: r.runs/x/record.json: cannot be saved: {os.strerror(errno.ENOSPC)}; choose another --traces-dir"
    processes.instead[1] = sweeps.finished(None, outcome="error", exit_code=2, stderr_tail=says)
    result = sweep("--batch-size", "1", "2", "4")
    assert (result.code, len(processes.turns), len(result.rows)) == (2, 2, 1)
    assert result.says == (
        "perfkit: r.runs: the disk is full; r.csv has 1 of the results: free some space and continue with --resume"
    )


def test_another_memory_is_another_prediction(sweep, processes):
    refused = sweep("--model-size", "large", "--memory", "8GB")
    assert [row.outcome for row in refused.rows] == ["predicted-oom"]
    assert [row.outcome for row in sweep("--model-size", "large", "--resume").rows] == ["predicted-oom"]
    assert [row.outcome for row in sweep("--model-size", "large", "--memory", "80GB", "--resume").rows] == ["ok"]


def test_an_unwritable_place_is_refused(sweep, processes, tmp_path):
    """GIVEN a read-only file system, which stops root too WHEN sweeping into it THEN a line says so"""
    place = tmp_path / "read-only"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=4k", "tmpfs", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting needs root")
    try:
        result = sweep("--output", "read-only/r.csv")
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert (result.code, processes.turns) == (2, [])
    assert result.says == "perfkit: read-only/r.csv: the directory read-only is not writable: choose another"


def test_combinations_that_cannot_work_are_listed_and_left_out(sweep, processes):
    result = sweep("--pass-type", "forward", "train", "--optimizer", "adamw", "adamw-fused", "--skip-invalid")
    assert (result.code, len(processes.turns)) == (0, 3)
    assert result.err.startswith("cannot work: --pass-type forward --optimizer adamw-fused: --optimizer adamw-fused")


def test_sizes_may_be_asked_for_in_the_plural(sweep, processes):
    assert sweep("--model-sizes", "tiny", "small").code == 0
    assert {turn.point.config.transformer.model_size for turn in processes.turns} == {"tiny", "small"}


def test_fresh_processes_for_real(sweep):
    result = sweep(*QUICK_FLAGS, "--warmup-steps", "1", "--measure-steps", "2")
    assert result.code == 0
    [row] = result.rows
    assert (row.outcome, row.isolation, row.steps) == ("ok", "fresh", 2)
    assert record.load(Path(row.record)).environment.argv  # of a perfkit run of its own


def test_one_process_for_real(sweep, monkeypatch):
    # WHEN
    flags = [*QUICK_FLAGS[: QUICK_FLAGS.index("--batch-size")], "--num-threads", "1", "--batch-size", "1", "2"]
    result = sweep(*flags, "--warmup-steps", "1", "--measure-steps", "2", "--in-process")

    # THEN
    assert result.code == 0
    assert [(row.outcome, row.isolation, row.steps) for row in result.rows] == [("ok", "shared", 2)] * 2
    assert "2 of them share a process" in result.out
    assert "perfkit.measure.in_process" in sys.modules


def test_tables_and_a_plot_are_written_beside_the_results(sweep, processes):
    # GIVEN
    processes.instead[0] = sweeps.out_of_memory(sweep_config())
    names = ["t.csv", "t.md", "t.json", "t.tex", "t.typ", "t.xlsx"]

    # WHEN
    result = sweep("--batch-size", "1", "2", "--columns", "batch", "median_s", "--tables", *names, "--plot", "p.png")

    # THEN
    assert result.code == 0
    assert Path("t.csv").read_text().startswith("batch_size,median_s\n")
    assert "Failed (out of memory)" not in Path("t.csv").read_text()
    for name in names[1:5]:
        assert "Failed (out of memory)" in Path(name).read_text()
    assert Path("t.xlsx").read_bytes().startswith(b"PK")
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")


def test_a_last_row_that_is_wrong_stops_everything_and_the_file_stays_as_it_is(sweep, processes, capsys):
    """GIVEN a whole last row with a value that cannot be WHEN resuming or analysing THEN its line is named"""
    # GIVEN
    sweep(*GRID)
    text = Path("r.csv").read_text()
    *rows, last = text.splitlines(keepends=True)
    Path("r.csv").write_text(wrong := "".join([*rows, last.replace("fresh,ok", "fresh,fine")]))
    ran = len(processes.turns)

    # WHEN / THEN
    for command in (["sweep", *GRID, "--output", "r.csv", "--resume"], ["analyze", "r.csv"], ["compare", "r.csv", "b"]):
        Path("b").mkdir(exist_ok=True)
        Path("b/note").touch()
        assert cli.main(command) == 2
        said = capsys.readouterr()
        assert said.err.startswith("perfkit: r.csv, line 5: column outcome holds 'fine': Invalid enum value 'fine'")
        assert len(said.err.splitlines()) == 1
        assert said.out == ""
    assert Path("r.csv").read_text() == wrong
    assert len(processes.turns) == ran


def test_a_torn_last_row_is_said_and_runs_again(sweep, processes, capsys):
    # GIVEN
    sweep(*GRID)
    whole = Path("r.csv").read_text()
    Path("r.csv").write_text(whole[:-9])

    # WHEN
    assert cli.main(["analyze", "r.csv"]) == 0
    said = capsys.readouterr()
    resumed = sweep(*GRID, "--resume")

    # THEN
    assert (
        said.err == "r.csv: the last line is incomplete and is left out: a sweep is still writing it, or was cut off\n"
    )
    assert "3 results: 3 ok" in said.out
    assert resumed.err.splitlines()[0] == "r.csv: the last line is incomplete and was removed; its run is repeated"
    assert Path("r.csv").read_text() == whole


def test_results_that_say_only_what_they_must_are_shown(sweep, processes, capsys):
    """GIVEN results of which most columns are missing WHEN analysed and resumed THEN nothing breaks"""
    Path("r.csv").write_text("key,repeat,isolation,outcome,mine\nk,1,fresh,ok,a\nl,1,fresh,error,b\n")
    assert cli.main(["analyze", "r.csv"]) == 0
    assert "2 results: 1 ok, 1 ended with an error" in capsys.readouterr().out
    result = sweep(*GRID, "--resume")
    assert (result.code, len(result.rows)) == (0, 6)
    assert [line.split(",")[4] for line in Path("r.csv").read_text().splitlines()] == ["mine", "a", "b", "", "", "", ""]


def test_results_are_shown_again_by_analyze(sweep, processes, capsys):
    """GIVEN results whose grid is not known any more THEN the tables are those of the sweep"""
    # GIVEN
    swept = sweep("--model-size", "tiny", "large", "--memory", "8GB", "--batch-size", "4", "8")
    printed = swept.out.split("\nresults in ")[0].strip()

    # THEN
    code = cli.main(["analyze", "r.csv"])
    shown = capsys.readouterr().out
    assert code == 0
    assert shown.splitlines()[:3] == printed.splitlines()[:3] == [
        "4 results: 2 ok, 2 predicted not to fit and not run (--force runs them)", "", "Step time",
    ]  # fmt: skip
    assert cli.main(["analyze", "r.csv", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["varied"] == ["model_size", "batch_size", "context_length"]
    assert cli.main(["analyze", "r.runs"]) == 0
    assert capsys.readouterr().out.startswith("2 runs, a row each")


def test_a_warm_up_study_is_a_table_and_a_plot(sweep, processes):
    result = sweep("--warmup-steps", "0", "1", "2", "5", "--plot", "warmup.svg")
    assert result.code == 0
    assert "Warm-up study" in result.out
    assert Path("warmup.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--columns", "speed"], "--columns speed: there is no such column (did you mean seed?); choose from"),
        (["--columns", "mean"], "--columns mean: there is no such column (did you mean mean_s?); choose from"),
        (["--columns", "mean_s", "--repeats", "2"], "--columns mean_s: there is no such column"),
        (["--tables", "t.doc"], "the extension chooses the format: use .json, "),
        (["--plot", "p.bmp"], "use .png, .svg, .pdf"),
        (["--plot", "nowhere/p.png"], "there is no directory nowhere"),
        (["--tables", "r.csv"], "name the same file twice"),
    ],
)
def test_reports_that_cannot_be_written_are_refused_before_anything_runs(sweep, processes, arguments, says):
    result = sweep(*arguments)
    assert (result.code, processes.turns) == (2, [])
    assert says in result.says
