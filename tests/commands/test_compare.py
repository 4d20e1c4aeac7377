"""`perfkit compare` and `perfkit run --repeats` as a user meets them; fakes in place of processes."""

from __future__ import annotations

import csv
import dataclasses
import errno
import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perfkit import cli
from perfkit.commands.inputs.flags import config_of
from perfkit.commands.run import Doing
from perfkit.errors import UsageError
from perfkit.schema import record as records
from perfkit.schema import sweep
from perfkit.schema.campaign import Finished
from perfkit.schema.config import RunConfig
from perfkit.schema.record import RunRecord
from tests import sweeps
from tests.nsys_export import NsysExport
from tests.runs import ENVIRONMENT, QUICK_FLAGS, quick, sample, saved

LEVELS = (-1.2, -0.6, 0.1, 0.5, 1.2)


def record(level: float, **config: Any) -> RunRecord:
    return saved(
        config=quick(**config),
        steps=tuple(sample(0.02 * level, forward=0.006 * level, backward=0.012 * level) for _ in range(3)),
    )


def folder(path: Path, ratio: float = 1.0, processes: int = 5, hour: int | None = None, **config: Any) -> str:
    """A folder of runs, as --repeats leaves it; all side by side, or a minute apart from `hour` on."""
    for index, level in enumerate(LEVELS[:processes]):
        own = path / f"{config.get('batch_size', '')}{index + 1}"
        own.mkdir(parents=True)
        made = record(ratio * math.exp(0.005 * level), **config)
        if hour is not None:
            made = dataclasses.replace(made, created=f"2026-01-02T{hour:02}:{index:02}:00+00:00")
        records.save(made, own)
    return str(path)


def perfkit(capsys, *arguments: str, processes: FakeProcesses | None = None) -> tuple[int, str, str]:
    seams: dict[str, Any] = {}
    if processes is not None:
        seams = {"doing": Doing(run_child=processes)} if arguments[0] == "run" else {"run_child": processes}
    code = cli.main(list(arguments), **seams)
    return (code, *capsys.readouterr())


# --- runs --------------------------------------------------------------------------------------------------------


def test_two_folders_of_runs(tmp_path, capsys):
    a, b = folder(tmp_path / "old"), folder(tmp_path / "new", 1.1, attention="sdpa")
    code, out, err = perfkit(capsys, "compare", a, b)
    assert (code, err) == (0, "")
    for text in ("--attention  eager  sdpa  compared", "slower: B takes 1.100 times as long as A (95%: ", "backward"):
        assert text in out


def test_two_records_by_any_name(tmp_path, capsys):
    a, b = folder(tmp_path / "a", processes=1), folder(tmp_path / "b", 1.1, processes=1)
    other = tmp_path / "before.json"
    Path(a, "1", "record.json").rename(other)
    code, out, _ = perfkit(capsys, "compare", str(other), f"{b}/1")
    assert code == 0
    assert "one process a side" in out


@pytest.mark.parametrize(("ratio", "code", "says"), [(1.1, 4, "fail: "), (1.0, 0, "pass: "), (1.02, 5, "no pass: ")])
def test_exit_codes_for_ci(tmp_path, capsys, ratio, code, says):
    a, b = folder(tmp_path / "a"), folder(tmp_path / "b", ratio)
    found, out, _ = perfkit(capsys, "compare", a, b, "--fail-on", "slower:2%")
    assert found == code
    assert any(line.startswith(says) for line in out.splitlines())


def test_a_gate_judges_what_both_have(tmp_path, capsys):
    """GIVEN equal runs of which one side has one more configuration THEN only a B that lacks it ends with 5"""
    one, two = folder(tmp_path / "one", batch_size=2), folder(tmp_path / "two", batch_size=2)
    folder(tmp_path / "two", 3.0, batch_size=4)
    code, out, _ = perfkit(capsys, "compare", one, two, "--fail-on", "slower:2%")
    assert code == 0
    assert "B only, not compared: batch size 4" in out
    code, out, _ = perfkit(capsys, "compare", two, one, "--fail-on", "slower:2%")
    assert code == 5
    assert "no pass: B lacks what A has (batch size 4)" in out.splitlines()


@pytest.mark.parametrize(("ratio", "forced"), [(1.0, 0), (1.5, 4), (1.02, 5)])
def test_sides_that_did_not_take_turns_do_not_pass_unless_forced(tmp_path, capsys, ratio, forced):
    a, b = folder(tmp_path / "a", hour=3), folder(tmp_path / "b", ratio, hour=4)
    assert perfkit(capsys, "compare", a, b)[0] == 0
    code, out, _ = perfkit(capsys, "compare", a, b, "--fail-on", "slower:2%", "--format", "json")
    document = json.loads(out)
    assert code == 5
    assert document["summary"]["exit_code"] == 5
    assert document["summary"]["no_pass"] == ["not interleaved"]
    assert document["summary"]["verdicts"] == {"not comparable in time": 1}
    [row] = document["tables"]["comparison"]["rows"]
    assert {name: row[name] for name in ("verdict", "interleaved", "changes", "later")} == {
        "verdict": "not comparable in time", "interleaved": "no", "changes": 1, "later": 1.0,
    }  # fmt: skip
    assert row["low"] < ratio < row["high"]
    assert perfkit(capsys, "compare", a, b, "--fail-on", "slower:2%", "--force")[0] == forced


def test_a_gate_over_different_work_is_refused(tmp_path, capsys):
    a, b = folder(tmp_path / "a"), folder(tmp_path / "b", 0.5, batch_size=1)
    code, _, err = perfkit(capsys, "compare", a, b, "--fail-on", "slower:2%")
    assert (code, "--batch-size: 2 against 1; --force" in err) == (2, True)
    assert perfkit(capsys, "compare", a, b, "--fail-on", "slower:2%", "--force")[0] == 0


def test_json_and_csv_for_scripts(tmp_path, capsys):
    a, b = folder(tmp_path / "a"), folder(tmp_path / "b", 1.1)
    _, out, _ = perfkit(capsys, "compare", a, b, "--format", "json", "--fail-on", "slower:2%")
    document = json.loads(out)
    assert document["summary"]["verdicts"] == {"slower": 1}
    assert document["summary"]["exit_code"] == 4
    assert document["summary"]["no_pass"] == []
    [row] = document["tables"]["comparison"]["rows"]
    assert row["ratio"] == pytest.approx(1.1)
    assert row["low"] < 1.1 < row["high"]
    _, out, err = perfkit(capsys, "compare", a, b, "--format", "csv", "--table", "phases")
    assert [line["verdict"] for line in csv.DictReader(io.StringIO(out))] == ["slower"] * 3
    assert "slower: B takes" in err
    assert perfkit(capsys, "compare", a, b, "--output", str(tmp_path / "c.csv"))[0] == 0
    assert (tmp_path / "c.csv").read_text().startswith("processes,")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name two things to compare"),
        (["A"], "name two things to compare"),
        (["A", "B", "other"], "compare takes two paths, not 3: name A and B (perfkit analyze takes several)"),
        (["A", "https://host/t.json"], "https://host/t.json is an address, not a path: download the file first"),
        (["A", "A"], "is named for both sides"),
        (["A", "nothing"], "nothing does not exist: check the path"),
        (["A", "A/1"], "is on both sides"),
        (["A/1/record.json", "A"], "is on both sides"),
        (["A", "empty"], "empty is an empty folder"),
        (["A", "s.json"], "looks like a trace"),
        (["gone.json", "nothing"], "gone.json does not exist"),
        (["A", "B", "--margin", "1"], "--margin 1: not a percentage; write it as 1%"),
        (["A", "B", "--fail-on", "slower"], "as in slower:2%"),
        (["A", "B", "--fail-on", "slower:2"], "--fail-on slower:2: write how much slower B may be, as in slower:2%"),
        (["A", "B", "--repeats", "0"], "must be at least 1"),
        (["A", "B", "--table", "nothing"], "choose from comparison, differences, findings, phases"),
        (
            ["A", "B", "--table", "phase"],
            "there is no table of that name here (did you mean phases?); choose from",
        ),
        (["A", "other"], "torch: 2.13.0 against 2.12.0; --force"),
        (["A", "--run", "", "--gc on"], "--run takes the flags of A"),
        (["--run", "--no-such 1", ""], "'--no-such 1': "),
        (["--run", "'", ""], "No closing quotation"),
        (["--run", "--batch-size 0", ""], "--batch-size 0: must be at least 1"),
    ],
)
def test_refusals_are_one_line_and_exit_code_2(tmp_path, capsys, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    for name in "AB":
        folder(Path(name))
    old = dataclasses.replace(record(1.0), environment=dataclasses.replace(ENVIRONMENT, torch="2.12.0"))
    for name in ("other", "empty"):
        Path(name).mkdir()
    Path("s.json").touch()
    records.save(old, Path("other"))
    code, out, err = perfkit(capsys, "compare", *arguments)
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert says in err
    assert not Path("traces").exists()


def test_force_compares_all_the_same(tmp_path, capsys):
    a, b = folder(tmp_path / "a"), folder(tmp_path / "b", precision="bf16")
    code, out, _ = perfkit(capsys, "compare", a, b, "--force")
    assert code == 0
    assert "--precision  fp32  bf16  forced" in out


def test_compare_loads_no_torch(tmp_path):
    a, b = folder(tmp_path / "a"), folder(tmp_path / "b")
    code = "import sys; from perfkit import cli; cli.main(['compare', *sys.argv[1:]]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, a, b], capture_output=True, check=False).returncode == 0


# --- sweeps ------------------------------------------------------------------------------------------------------


def results(path: Path, ratio: float = 1.0, isolation: Any = "fresh", fails: int = 64, **config: Any) -> str:
    """A sweep's results of two context lengths, five times each, and of one that was not run."""
    lines = [sweep.header_line()]
    for length in (16, 32):
        for index, level in enumerate(LEVELS, start=1):
            own = path / "s.runs" / f"p{length}.{index}"
            own.mkdir(parents=True)
            records.save(record(ratio * length * math.exp(0.002 * level), context_length=length, **config), own)
            row = sweeps.row(quick(context_length=length, **config), 0.1, repeat=index)
            lines.append(sweep.to_line(dataclasses.replace(row, isolation=isolation, record=f"s.runs/{own.name}")))
    left_out = sweeps.row(
        quick(context_length=fails, **config),
        key=f"p{fails}", repeat=6, isolation=isolation, outcome="predicted-oom", record=None, message="a, b",
    )  # fmt: skip
    (path / "s.csv").write_text("".join([*lines, sweep.to_line(left_out)]))
    return str(path / "s.csv")


def test_two_sweeps_have_a_row_a_configuration(tmp_path, capsys):
    a, b = results(tmp_path / "a"), results(tmp_path / "b", 1.1, attention="sdpa")
    code, out, _ = perfkit(capsys, "compare", a, b, "--format", "json")
    document = json.loads(out)
    rows = document["tables"]["comparison"]["rows"]
    assert [(row["context_length"], row["verdict"]) for row in rows] == [(16, "slower"), (32, "slower")]
    assert len(document["tables"]["phases"]["rows"]) == 6
    code, out, _ = perfkit(capsys, "compare", a, b, "--fail-on", "slower:50%")
    assert "B: left out because they did not finish: p64.6 (predicted-oom)" in out
    assert code == 0  # A did not finish that either
    other = results(tmp_path / "c", fails=32, attention="sdpa")
    code, out, _ = perfkit(capsys, "compare", a, other, "--fail-on", "slower:50%")
    assert code == 5
    assert "no pass: runs of B did not finish (p32.6 (predicted-oom))" in out.splitlines()


def test_repeats_in_one_process_are_one(tmp_path, capsys):
    a, b = results(tmp_path / "a", isolation="shared"), results(tmp_path / "b", 1.5)
    code, out, _ = perfkit(capsys, "compare", a, b)
    assert code == 0
    assert "2 configurations: 2 one process" in out
    assert "A: all repeats ran in one process (--in-process)" in out


def test_results_without_their_records_say_so(tmp_path, capsys):
    a, b = results(tmp_path / "a"), results(tmp_path / "b")
    moved = Path(a).rename(tmp_path / "s.csv")
    code, _, err = perfkit(capsys, "compare", str(moved), b)
    assert (code, "its records are missing" in err) == (2, True)


def test_results_that_a_spreadsheet_saved_and_of_another_version(tmp_path, capsys):
    a, b = Path(results(tmp_path / "a")), results(tmp_path / "b")
    text = a.read_bytes()
    a.write_bytes(text.replace(b"\n", b"\r\n"))
    assert perfkit(capsys, "compare", str(a), b)[0] == 0
    a.write_bytes(text.replace(b"\n2,", b"\n9,"))
    code, _, err = perfkit(capsys, "compare", str(a), b)
    assert (code, "results of version 9" in err) == (2, True)


@pytest.mark.parametrize("name", ["../b/s.runs/p16.1", "absolute", "link"])
def test_results_whose_records_lie_elsewhere_are_refused(tmp_path, capsys, name):
    """GIVEN a results file by somebody else WHEN a row names a folder outside its own THEN it is not opened"""
    a, b = Path(results(tmp_path / "a")), results(tmp_path / "b")
    (tmp_path / "a" / "link").symlink_to("../b/s.runs/p16.1")
    name = str(tmp_path / "b" / "s.runs" / "p16.1") if name == "absolute" else name
    a.write_text(a.read_text().replace("s.runs/p16.1", name))
    code, out, err = perfkit(capsys, "compare", str(a), b)
    assert (code, out) == (2, "")
    assert "s.csv: the result " in err
    assert f"names '{name[:20]}" in err
    assert "which is not in the folder" in err
    assert len(err.splitlines()) == 1


def test_a_table_of_something_else(tmp_path, capsys):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    code, _, err = perfkit(capsys, "compare", str(tmp_path / "x.csv"), str(tmp_path / "x.csv"))
    assert code == 2
    assert "not the results of a perfkit sweep" in err


# --- traces ------------------------------------------------------------------------------------------------------


@pytest.fixture
def traces(tmp_path) -> tuple[str, str]:
    """One launch of one kernel, by Kineto and by nsys."""
    events = [
        {"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": 1, "tid": 1, "ts": 10, "dur": 1,
         "args": {"correlation": 7}},
        {"ph": "X", "cat": "kernel", "name": "gemm", "pid": 0, "tid": 7, "ts": 20, "dur": 5,
         "args": {"correlation": 7, "device": 0, "stream": 7}},
    ]  # fmt: skip
    kineto = tmp_path / "a.pt.trace.json"
    kineto.write_text(json.dumps({"traceEvents": events}))
    nsys = NsysExport().launched("gemm", 10_000, 20_000, 25_000, correlation=7).write(tmp_path / "b.sqlite")
    return str(kineto), str(nsys)


def test_two_traces_side_by_side(traces, capsys):
    code, out, err = perfkit(capsys, "compare", *traces, "--by", "layer")
    assert (code, err) == (0, "")
    for text in ("PyTorch profiler (Kineto)", "Nsight Systems", "5,000 ns", "kernels: all 1 rows agree"):
        assert text in out
    _, out, _ = perfkit(capsys, "compare", *traces, "--format", "json")
    assert json.loads(out)["summary"]["disagreements"] == {"phases": 0, "groups": 0, "kernels": 0}


def test_full_names_of_kernels_are_shown_if_asked_for(tmp_path, capsys):
    """GIVEN a kernel whose short name is another WHEN compared with --wide THEN the full one"""
    name = (
        "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, at::detail::Array>(int)"
    )
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"traceEvents": [{"ph": "X", "cat": "kernel", "name": name, "pid": 0, "tid": 7, "ts": 20,
                                                 "dur": 5, "args": {"device": 0, "stream": 7}}]}))  # fmt: skip
    _, short, _ = perfkit(capsys, "compare", str(path), str(path), "--table", "kernels")
    code, full, _ = perfkit(capsys, "compare", str(path), str(path), "--table", "kernels", "--wide")
    assert (code, name in short, name in full) == (0, False, True)


def test_paths_may_follow_the_tables(traces, capsys):
    """GIVEN --table, which takes all that follows WHEN A and B do THEN they are what is compared"""
    a, b = map(str, traces)
    shown = []
    for arguments in ([a, b, "--table", "phases"], ["--table", "phases", a, b], [a, "--table", "phases", b]):
        assert cli.main(["compare", *arguments]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] == shown[2] != ""


def test_traces_have_no_gate_and_no_runs_beside_them(traces, tmp_path, capsys):
    code, _, err = perfkit(capsys, "compare", *traces, "--fail-on", "slower:1%")
    assert (code, "two single traces give no confidence interval" in err) == (2, True)
    code, _, err = perfkit(capsys, "compare", traces[0], folder(tmp_path / "runs"))
    assert (code, "looks like a trace" in err) == (2, True)


# --- measuring both sides ----------------------------------------------------------------------------------------


class FakeProcesses:
    """Stands in for run_child: saves a record and notes who was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[RunConfig, Path]] = []
        self.outcomes: dict[int, tuple[str, int]] = {}
        """Call, counted from 0 -> outcome and exit code."""
        self.says = "perfkit: why it failed"

    def __call__(self, config: RunConfig, folder: Path, *, wrapper: Any, extra: Any) -> Finished:
        assert tuple(extra) == ("--overhead", "off")
        outcome, code = self.outcomes.get(len(self.calls), ("ok", 0))
        self.calls.append((config, folder))
        if outcome == "interrupted":
            raise KeyboardInterrupt
        found = dataclasses.replace(
            record(1.1 if config.transformer.attention == "sdpa" else 1.0), config=config.resolved("cpu")
        )
        if outcome == "ok":
            folder.mkdir(parents=True)
            records.save(found, folder)
        return Finished(
            outcome=outcome,  # type: ignore[arg-type]
            exit_code=code,
            signal=None,
            wall_s=1.0,
            stderr_tail=self.says,
            record=found if outcome == "ok" else None,
        )


@pytest.fixture
def processes(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return FakeProcesses()


def test_both_sides_are_measured_in_turns(processes, capsys):
    # WHEN
    code, out, err = perfkit(
        capsys, "compare", "--run", "", "--attention sdpa --precision bf16", "--repeats", "3", processes=processes
    )

    # THEN every round has both, and a precision that was asked for is not refused
    assert code == 0
    assert [len({config.transformer.attention for config, _ in processes.calls[i : i + 2]}) for i in (0, 2, 4)] == [
        2,
        2,
        2,
    ]
    [folder] = Path("traces").iterdir()
    assert {str(place.relative_to(folder)) for _, place in processes.calls} == {
        f"{name}/{repeat}" for name in "AB" for repeat in (1, 2, 3)
    }
    assert "--precision  fp32   bf16  compared" in out
    assert "slower: B takes 1.100 times as long" in out
    lines = err.splitlines()
    assert lines[0].startswith("process 1 of 6: ")
    assert lines[5].startswith("process 6 of 6: ")
    assert lines[5].endswith(" left")
    assert lines[6] == f"saved in {folder}; again: perfkit compare {folder}/A {folder}/B"


@pytest.mark.parametrize(
    ("outcome", "code", "says", "ends", "message"),
    [
        ("oom", 1, "OpenBLAS error: giving up.", 3, ": out of memory: OpenBLAS error: giving up."),
        ("oom", 3, "perfkit: out of memory (ulimit -v allows 9 MiB)", 3, ": out of memory (ulimit -v allows 9 MiB)"),
        ("error", 1, "It broke.", 1, ": It broke; its full output is in a .log file in "),
    ],
)
def test_a_process_that_dies_is_told_of_with_its_last_words(processes, capsys, outcome, code, says, ends, message):
    processes.outcomes[0] = (outcome, code)
    processes.says = says
    ended, _, err = perfkit(capsys, "compare", "--run", "", "--attention sdpa", "--repeats", "1", processes=processes)
    assert ended == ends
    assert message in err.splitlines()[-1]


def test_the_gate_works_on_measured_sides(processes, capsys):
    code, _, _ = perfkit(
        capsys,
        "compare",
        "--run",
        "",
        "--attention sdpa",
        "--repeats",
        "3",
        "--fail-on",
        "slower:2%",
        processes=processes,
    )
    assert code == 4


def test_a_gate_over_different_work_is_refused_before_anything_is_measured(processes, capsys):
    lines = ["--context-length 64 --measure-steps 3", "--context-length 128"]
    code, _, err = perfkit(capsys, "compare", "--run", *lines, "--fail-on", "slower:2%", processes=processes)
    assert (code, processes.calls) == (2, [])
    assert "the same work, measured in the same way: --context-length: 64 against 128; --force" in err
    code, _, _ = perfkit(
        capsys, "compare", "--run", *lines, "--fail-on", "slower:2%", "--repeats", "2", "--force", processes=processes
    )
    assert (code, len(processes.calls)) == (0, 4)


def test_repeats_of_one_configuration(processes, capsys):
    code, out, _ = perfkit(
        capsys,
        "run",
        "--model-size",
        "tiny",
        "--repeats",
        "3",
        "--folder",
        "here",
        "--output",
        "t.csv",
        processes=processes,
    )
    assert code == 0
    assert [place for _, place in processes.calls] == [Path("here", str(n)) for n in (1, 2, 3)]
    assert "Spread between and within processes" in out
    assert out.splitlines()[-1] == "saved in here"
    assert Path("t.csv").read_text().startswith("phase,processes,")
    code, again, _ = perfkit(capsys, "analyze", "here")
    assert (code, again.strip()) == (0, out.removesuffix("\nsaved in here\n").strip())


@pytest.mark.parametrize(
    ("outcome", "exit_code", "code"), [("error", 2, 2), ("oom", 3, 3), ("error", 1, 1), ("host-killed", 0, 1)]
)
def test_what_fails_in_the_first_round_ends_the_campaign(processes, capsys, outcome, exit_code, code):
    processes.outcomes[1] = (outcome, exit_code)
    found, _, err = perfkit(capsys, "compare", "--run", "", "--attention sdpa", "--repeats", "3", processes=processes)
    assert found == code
    assert len(processes.calls) == 2
    says = "why it failed" if exit_code else "the process ended: host-killed"
    assert err.splitlines()[-1].startswith("perfkit: ")
    assert says in err.splitlines()[-1]
    assert err.count("failed") <= 1


def test_what_fails_later_is_left_out(processes, capsys):
    processes.outcomes[4] = ("timeout", 1)
    code, out, err = perfkit(
        capsys,
        "compare",
        "--run",
        "",
        "--gc on",
        "--repeats",
        "3",
        "--fail-on",
        "slower:90%",
        "--force",
        processes=processes,
    )
    assert len(processes.calls) == 6
    assert "timeout: why it failed" in err
    name, repeat = processes.calls[4][1].parts[-2:]
    assert f"{name}: left out because they did not finish: {repeat} (no record)" in out
    assert code == (5 if name == "B" else 0)


def test_ctrl_c_says_what_was_saved(processes, capsys):
    processes.outcomes[3] = ("interrupted", 130)
    code, _, err = perfkit(capsys, "compare", "--run", "", "--attention sdpa", "--repeats", "3", processes=processes)
    assert code == 130
    assert "interrupted by SIGINT; 3 of 6 processes saved in traces/" in err.splitlines()[-1]


@pytest.mark.parametrize("outcome", [("interrupted", 130), ("error", 2)])
def test_a_campaign_that_saved_nothing_leaves_nothing(processes, capsys, outcome):
    processes.outcomes[0] = outcome
    code, _, err = perfkit(capsys, "run", "--repeats", "3", processes=processes)
    assert code == outcome[1]
    assert err.splitlines()[-1] in ("perfkit: interrupted by SIGINT; nothing was measured", "perfkit: why it failed")
    assert not list(Path("traces").iterdir())


def test_a_full_disk_ends_a_campaign_in_whatever_round(processes, capsys):
    processes.says = f"perfkit: x/record.json: cannot be saved: {os.strerror(errno.ENOSPC)}; choose another"
    processes.outcomes[1] = ("error", 2)
    code, _, err = perfkit(capsys, "run", "--repeats", "3", processes=processes)
    assert (code, len(processes.calls)) == (2, 2)
    assert "No space left on device" in err.splitlines()[-1]


def test_flags_in_quotes_are_those_of_run():
    assert config_of("--model-size small --checkpoint") == RunConfig.of(model_size="small", checkpoint=True)
    assert config_of("") == RunConfig()
    for line in ("--help", "--folder x", "small"):
        with pytest.raises(UsageError, match="flags of perfkit run"):
            config_of(line)


@pytest.mark.slow
def test_both_sides_in_real_processes(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = " ".join([*QUICK_FLAGS, "--device cpu --measure-steps 2 --warmup-steps 1"])
    code, out, _ = perfkit(capsys, "compare", "--run", flags, f"{flags} --attention sdpa", "--repeats", "1")
    assert code == 0
    assert "one process a side" in out
    assert [len(list(tmp_path.glob(f"traces/*/{name}/1/record.json"))) for name in "AB"] == [1, 1]
