"""`perfkit analyze` as a user or a script meets it."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from perfkit import cli
from perfkit.analysis.reports.trace import TABLES
from perfkit.analysis.time.trace_table import everyone
from perfkit.commands.analyze import AnalyzeOptions
from perfkit.schema import record
from tests import runs
from tests.corpus import corpus_file
from tests.docs.pages import flags

EVENTS = [
    {"ph": "X", "cat": "user_annotation", "name": "ProfilerStep#1", "pid": 1, "tid": 1, "ts": 0, "dur": 100},
    {"ph": "X", "cat": "cpu_op", "name": "perfkit::Model", "pid": 1, "tid": 1, "ts": 1, "dur": 90, "args": {}},
    {"ph": "X", "cat": "cpu_op", "name": "aten::mm", "pid": 1, "tid": 1, "ts": 2, "dur": 50, "args": {}},
    {"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": 1, "tid": 1, "ts": 3.5, "dur": 1,
     "args": {"correlation": 9}},
    {"ph": "X", "cat": "kernel", "name": "gemm", "pid": 0, "tid": 7, "ts": 10.25, "dur": 20.5,
     "args": {"device": 0, "stream": 7, "correlation": 9}},
]  # fmt: skip


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    file = tmp_path / "host_1.2.pt.trace.json.gz"
    file.write_bytes(gzip.compress(json.dumps({"traceEvents": EVENTS}).encode()))
    return file


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["analyze", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_json_is_the_documented_document(trace, capsys):
    """GIVEN a trace WHEN analysed as JSON THEN stdout is one document of the documented shape, sentences on stderr"""
    code, out, err = run(capsys, str(trace), "--format", "json")
    document = json.loads(out)
    assert code == 0
    assert document["summary"]["kernels"] == 1
    assert document["summary"]["kernel_time_ns"] == document["summary"]["busy_ns"] == 20500
    assert document["tables"]["kernels"]["rows"][0]["name"] == "gemm"
    assert document["tables"]["kernels"]["rows"][0]["total_ns"] == 20500
    row = document["tables"]["layers"]["rows"][0]
    assert (row["scope"], row["phase"], row["count"]) == ("Model", "forward", 1)
    assert (row["total_ns"], row["exclusive_ns"]) == (20500, 20500)
    assert {"name", "unit"} <= set(document["tables"]["layers"]["columns"][0])
    phases = [row["phase"] for row in document["tables"]["phases"]["rows"]]
    assert phases == ["forward", "recompute", "backward", "optimizer", "communication", "other", "unlaunched"]
    assert list(document) == ["summary", "tables", "findings"]
    assert not {"findings", "integrity"} & set(document["tables"])
    assert [one["rule"] for one in document["findings"]] == ["trace-totals", "clean", "unchecked"]
    assert err.startswith("100.0 us a step (1 step)   busy 20.5%")
    assert document["findings"][0]["what"] == err.splitlines()[0]


SECRET = "root:x:0:0:the content of a file that is nobody's to see"


@pytest.mark.parametrize("kind", ["trace", "plain"])
@pytest.mark.parametrize("name", ["absolute", "../secret.txt", "link"])
def test_a_record_that_names_a_file_elsewhere_is_refused_and_nothing_of_it_shown(tmp_path, capsys, kind, name):
    """GIVEN a run's folder by somebody else WHEN its record names a file outside it THEN one line, without its content

    By its whole path, upwards, or by a link that lies in the folder as a file of the run's own.
    """
    # GIVEN
    (tmp_path / "run").mkdir()
    (tmp_path / "secret.txt").write_text(SECRET)
    (tmp_path / "run" / "link").symlink_to("../secret.txt")
    name = str(tmp_path / "secret.txt") if name == "absolute" else name
    record.save(runs.saved(artifacts={kind: name}), tmp_path / "run")

    # WHEN
    code, out, err = run(capsys, str(tmp_path / "run"))

    # THEN
    assert (code, out) == (2, "")
    assert f"artifacts.{kind} names '{name[:40]}" in err
    assert len(err.splitlines()) == 1
    assert "root:" not in err


def test_a_record_with_files_in_its_folder_is_shown_with_them(trace, capsys):
    """GIVEN a trace and a plain run in the run's own folder WHEN analysed THEN both are there"""
    (trace.parent / "plain").mkdir()
    record.save(runs.saved(), trace.parent / "plain")
    record.save(runs.saved(artifacts={"trace": trace.name, "plain": "plain/record.json"}), trace.parent)
    code, out, _ = run(capsys, str(trace.parent), "--format", "json")
    assert code == 0
    assert {"overhead", "kernels", "runs"} <= set(json.loads(out)["tables"])


def test_a_file_that_is_no_trace_is_not_quoted(tmp_path, capsys):
    (tmp_path / "x.pt.trace.json").write_text(SECRET)
    code, out, err = run(capsys, str(tmp_path))
    assert (code, out) == (2, "")
    assert "is not a trace: it does not begin with { or [" in err
    assert "root:" not in err


@pytest.mark.parametrize("form", ["table", "json", "csv", "md"])
def test_names_in_remarks_do_not_reach_the_terminal_raw(tmp_path, capsys, form):
    """GIVEN an unknown kernel with an escape and a newline in its name WHEN analysed THEN its remark is plain"""
    event = EVENTS[-1] | {"name": "\x1b[31mred\nline", "args": {"device": 0, "stream": 7}}
    file = tmp_path / "t.json"
    file.write_text(json.dumps({"traceEvents": [*EVENTS[:-1], event]}))
    _, out, err = run(capsys, str(file), "--format", form)
    (line,) = (line for line in (err if form in ("json", "csv") else out).splitlines() if "unknown kernels" in line)
    assert r"x1b\[31mred" in line if form == "md" else r"\x1b[31mred\nline" in line


@pytest.mark.parametrize("form", ["table", "json", "csv", "md"])
def test_no_format_sends_a_terminal_what_it_obeys(tmp_path, capsys, monkeypatch, form):
    """GIVEN a kernel whose name has an escape, a C1 control and a mark of direction WHEN shown THEN spelled out"""
    name = "=\x1b]0;title\x07 \x9b31m \u202egnp \x7f é"
    event = EVENTS[-1] | {"name": name, "args": {"device": 0, "stream": 7}}
    (tmp_path / "x.pt.trace.json").write_text(json.dumps({"traceEvents": [event]}))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")  # no styles of our own
    code, out, err = run(capsys, str(tmp_path), "--format", form, "--table", "kernels")
    assert code == 0
    assert all(line.isprintable() for line in (out + err).split("\n"))
    assert r"\u202egnp" in out
    assert "é" in out
    if form == "csv":
        monkeypatch.undo()
        _, out, _ = run(capsys, str(tmp_path), "--format", "csv", "--table", "kernels")
        assert pd.read_csv(io.StringIO(out))["name"].tolist() == ["'" + name]


def test_an_error_sends_a_terminal_nothing_that_it_obeys(trace, tmp_path, capsys):
    code, out, err = run(capsys, str(tmp_path / "a\x1b[31m\u202eb\nc.json"))
    assert (code, out) == (2, "")
    assert err.endswith("does not exist: check the path\n")
    assert r"a\x1b[31m\u202eb\nc.json" in err
    assert len(err.splitlines()) == 1
    code, out, err = run(capsys, str(trace), "--table", "\x1b[31m\n")
    assert (code, out) == (2, "")
    assert err.startswith(r"perfkit: --table \x1b[31m\n: there is no table of that name here")


def test_csv_is_one_table_and_says_where_the_others_are(trace, capsys):
    code, out, err = run(capsys, str(trace), "--format", "csv")
    assert code == 0
    assert pd.read_csv(io.StringIO(out))["total_ns"].tolist() == [20500]
    assert "--table chooses another" in err
    _, out, _ = run(capsys, str(trace), "--format", "csv", "--table", "layers")
    assert pd.read_csv(io.StringIO(out))["scope"].tolist() == ["Model"]


def test_findings_come_before_the_tables(trace, capsys):
    """GIVEN a trace WHEN shown to people THEN what to know comes first, a line each, then an empty line"""
    _, out, _ = run(capsys, str(trace), "--table", "phases")
    lines = out.splitlines()
    assert lines[0].startswith("100.0 us a step (1 step)   busy 20.5%")
    assert lines[lines.index("Phases, 1 step") - 1] == ""


def test_people_read_the_mean_of_a_step_unless_they_ask_for_totals(tmp_path, capsys):
    """GIVEN 20.5 us of a kernel in each of 2 steps WHEN shown THEN so; in total, as in JSON, 41"""
    again = json.loads(json.dumps(EVENTS).replace("Step#1", "Step#2").replace('"correlation": 9', '"correlation": 10'))
    again = [event | {"ts": event["ts"] + 100} for event in again]
    path = tmp_path / "two.json"
    path.write_text(json.dumps({"traceEvents": [*EVENTS, *again]}))
    for options, title, total in (([], "mean of 2 steps", "20.5"), (["--total"], "total of 2 steps", "41.0")):
        _, out, _ = run(capsys, str(path), "--table", "phases", *options)
        assert f"Phases, {title}" in out
        assert total in out
    _, out, _ = run(capsys, str(path), "--table", "phases", "--format", "json")
    assert sum(row["total_ns"] for row in json.loads(out)["tables"]["phases"]["rows"]) == 41_000


@pytest.mark.parametrize("name", ["findings", "integrity"])
def test_findings_are_a_table_for_who_asks(trace, capsys, name):
    """GIVEN a trace WHEN asked for the table THEN CSV has it, people read sentences, JSON has its own place"""
    for form in ("table", "md"):
        _, out, err = run(capsys, str(trace), "--table", name, "--format", form)
        assert "100.0 us a step" in out
        assert "integrity: clean" in out
        assert ("no rule found anything" in out) == ("not checked" in out) == (name == "findings")
        assert (name.capitalize() in out, err) == (False, "")
    _, out, _ = run(capsys, str(trace), "--table", name, "--format", "csv")
    assert list(pd.read_csv(io.StringIO(out)).columns) == [
        "rule", "what", "cost_ns", "share", "advice", "sure", "where",
    ]  # fmt: skip
    _, out, _ = run(capsys, str(trace), "--table", name, "--format", "json")
    document = json.loads(out)
    assert document["tables"] == {}
    assert document["findings"]
    assert document["summary"]["kernels"] == 1


def test_table_and_markdown_show_the_same_rows(trace, capsys):
    for form in ("table", "md"):
        code, out, err = run(capsys, str(trace), "--format", form)
        assert code == 0
        assert "gemm" in out
        assert "Model" in out
        assert "integrity: clean" in out
        assert err == ""


def test_wide_shows_full_names_of_kernels(tmp_path, capsys):
    """GIVEN a kernel with a signature WHEN shown THEN by its short name, with --wide by its own, in JSON by both"""
    name = "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, A<char*, 3ul> >(int)"
    events = [{"ph": "X", "cat": "kernel", "name": name, "ts": 1, "dur": 5, "pid": 0, "tid": 7}]
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"traceEvents": events}))
    for table in ("kernels", "kernel_summary"):
        assert cli.main(["analyze", str(path), "--table", table]) == 0
        shown = capsys.readouterr().out
        assert "add · float · vectorized x4" in shown
        assert name not in shown
        assert cli.main(["analyze", str(path), "--table", table, "--wide"]) == 0
        assert name in capsys.readouterr().out
        assert cli.main(["analyze", str(path), "--table", table, "--format", "json"]) == 0
        (row,) = json.loads(capsys.readouterr().out)["tables"][table]["rows"]
        assert (row["name"], row["short_name"]) == (name, "add · float · vectorized x4")


def test_wide_leaves_no_column_out(trace, capsys, monkeypatch):
    """GIVEN a narrow terminal WHEN shown THEN columns are left out, which is said; with --wide all are there"""
    monkeypatch.setenv("COLUMNS", "50")
    narrow = run(capsys, str(trace), "--table", "kernels")[1]
    wide = run(capsys, str(trace), "--table", "kernels", "--wide")[1]
    assert "no room in 50 columns for: " in narrow
    assert "no room" not in wide
    headings = wide[wide.index("Kernels") :].partition("──")[0].split()
    assert {"mean", "min", "max"} <= {*headings}
    assert "max" not in narrow[narrow.index("Kernels") :].partition("──")[0].split()


def test_kernel_summary_reads_kernels_alone(trace, capsys):
    """GIVEN a trace WHEN asked for the summary THEN every kernel of the file is in it, and nothing else was read"""
    code, out, _ = run(capsys, str(trace), "--table", "kernel_summary", "--format", "json")
    document = json.loads(out)
    assert code == 0
    assert list(document["tables"]) == ["kernel_summary"]
    assert [(row["name"], row["count"], row["total_ns"]) for row in document["tables"]["kernel_summary"]["rows"]] == [
        ("gemm", 1, 20500)
    ]
    assert document["summary"]["kernels"] == 1


@pytest.fixture
def two(trace, tmp_path) -> tuple[str, str]:
    """A trace of one kernel, and the folder of a run that left no trace."""
    folder = tmp_path / "run"
    folder.mkdir()
    record.save(runs.saved(), folder)
    return str(trace), str(folder)


def test_several_paths_are_apart_in_json(two, capsys):
    """GIVEN a trace and a run, which have no table in common WHEN analysed together THEN each is what it is alone"""
    code, out, err = run(capsys, *two, "--format", "json")
    document = json.loads(out)
    assert code == 0
    assert list(document) == ["summary", "tables", "findings"]
    for path in two:
        alone = json.loads(run(capsys, path, "--format", "json")[1])
        assert document["summary"][path] == alone["summary"]
        assert document["tables"][path] == alone["tables"]
        of_it = [one["what"] for one in document["findings"] if one["where"].startswith(path)]
        assert of_it == [one["what"] for one in alone["findings"]]
    assert f"{two[0]}: 100.0 us a step (1 step)   busy 20.5%" in err


def test_several_paths_are_shown_one_after_the_other(two, capsys):
    """GIVEN two paths WHEN shown to people THEN each under its name, as it is alone"""
    _, out, _ = run(capsys, *two)
    alone = [run(capsys, path)[1] for path in two]
    assert out == f"{two[0]}\n{alone[0]}\n{two[1]}\n{alone[1]}"
    _, out, _ = run(capsys, *two, "--format", "md")
    assert [line for line in out.splitlines() if line.startswith("## ")] == [f"## {path}" for path in two]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{trace}", "{run}", "--format", "csv"], "--format csv can hold only one table"),
        (["{trace}", "{run}", "--table", "kernels"], "nothing in {run} is for it; choose from "),
        (["{trace}", "{run}/", "{run}"], "{run} is named twice"),
        (["{run}", "{run}/../{name}"], "is named twice"),
        (["{trace}", "nowhere"], "nowhere does not exist: check the path"),
        (["{trace}", "--fromat", "json"], "did you mean --format?"),
    ],
)
def test_several_paths_that_cannot_be(two, capsys, arguments, says):
    """GIVEN a request that cannot be WHEN made THEN one sentence refuses it, a wrong path before a trace is read"""
    trace, folder = two
    if "kernels" not in arguments:
        Path(trace).write_text("no trace, as who reads it would say")
    code, out, err = run(capsys, *(one.format(trace=trace, run=folder, name=Path(folder).name) for one in arguments))
    assert (code, out) == (2, "")
    assert says.format(trace=trace, run=folder) in " ".join(err.split())


def test_standard_input(trace, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(trace.read_bytes())))
    code, out, _ = run(capsys, "-", "--format", "json")
    assert code == 0
    assert json.loads(out)["summary"]["kernels"] == 1


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.json", None, "missing.json"),
        ("empty.json", b"", "empty"),
        ("text.json", b"hello there", "text.json"),
        ("list.json", b"{}", "traceEvents"),
        ("cut.json.gz", gzip.compress(b'{"traceEvents": [' + b" " * 5000, mtime=0)[:40], "cut.json.gz"),
        ("not.gz", b"\x1f\x8bnonsense", "not.gz"),
        ("record.json", b'{"kind": "something"}', "record"),
    ],
)
def test_bad_files_are_one_line_and_exit_code_2(tmp_path, capsys, name, content, says):
    """GIVEN a file that is no trace WHEN analysed THEN one line says what was found, and there is no traceback"""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    code, out, err = run(capsys, str(tmp_path / name))
    assert code == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert err.startswith("perfkit: ")
    assert says in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--by", "nothing"], "layer"),
        (["--phase", "sideways"], "recompute"),
        (["--steps", "x"], "choose auto, all, or a step's number"),
        (["--steps", "7"], "this trace has 1 step,"),
        (["--depth", "0"], "must be at least 1"),
        (["--top", "-1"], "must be 0 or more"),
        (["--table", "nothing"], "choose from categories"),
        (["--format", "xml"], "json"),
        (["--table", "kernel_summary", "kernels"], "cannot be combined with other tables"),
        (["--table", "kernel_summary", "--capture", "x"], "drop --capture"),
        (["--table", "kernel_summary", "--phase", "forward"], "drop --phase, --steps and --by-device"),
        (["--table", "kernel_summary", "--by-device"], "drop --phase, --steps and --by-device"),
    ],
)
def test_bad_flags_name_the_choices(trace, capsys, arguments, says):
    code, out, err = run(capsys, str(trace), *arguments)
    assert code == 2
    assert out == ""
    assert says in " ".join(err.split())


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(Exception, match=r"gone\.json"):
        cli.main(["analyze", str(tmp_path / "gone.json"), "--debug"])


def test_by_depth_and_phase_reach_the_analysis(trace, capsys):
    _, out, _ = run(capsys, str(trace), "--by", "op", "--phase", "forward", "--format", "json")
    document = json.loads(out)
    assert document["tables"]["groups"]["rows"][0]["scope"] == "aten::mm"
    _, out, _ = run(capsys, str(trace), "--phase", "forward", "--format", "json")
    assert json.loads(out)["summary"]["total_ns"] == 20500


def test_a_phase_that_is_not_there_is_refused_with_those_that_are(trace, capsys):
    """GIVEN inference WHEN asked for backward THEN one line, exit code 2, and the phases that the file has"""
    code, out, err = run(capsys, str(trace), "--phase", "backward")
    assert (code, out) == (2, "")
    assert err == f"perfkit: --phase backward: {trace} has only forward: choose one of these\n"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("collectives", "nothing here is for it; choose from categories, "),
        ("kernel", "there is no table of that name here (did you mean kernels?); choose from categories, "),
        ("Phases", "(did you mean phases?); choose from"),
        ("kernel_sumary", "(did you mean kernel_summary?); choose from"),
        ("finding", "(did you mean findings?); choose from"),
        ("total_ns", "there is no table of that name here, but such a column: --table phases has it\n"),
        ("kernels,phases", "put spaces between names, no commas: --table kernels phases"),
        ("nothing", "there is no table of that name here; choose from categories, categories_by_phase, copies, "
                    "critical, devices, findings, gaps, groups, integrity, kernel_summary, kernels, launches, layers, "
                    "phases, queue, ranges, replay, steps, syncs, unlaunched, wall, wall_time\n"),
    ],
)  # fmt: skip
def test_a_table_that_is_not_there_is_refused_with_those_that_are(trace, capsys, asked, says):
    """GIVEN a trace of one thread with a device WHEN asked for a table by a wrong name THEN the file's own are named"""
    code, out, err = run(capsys, str(trace), "--table", asked)
    assert (code, out) == (2, "")
    assert err.startswith(f"perfkit: --table {asked}: ")
    assert says in err
    assert len(err.splitlines()) == 1


def test_help_names_only_tables_that_every_trace_has():
    """GIVEN the help of --table WHEN read THEN each table that it names is there for a trace of any kind"""
    [text] = [flag.text for flag in flags(AnalyzeOptions) if flag.name == "--table"]
    named = text.partition("Show only these tables: ")[2].partition(", ...")[0].split(", ")
    everywhere = {table.name for table in TABLES if table.audience is everyone}
    assert set(named) <= everywhere | {"kernels", "findings"}  # kernels: for scripts where there are ranges only
    assert len(named) > 1


# --- captures of CUDA graphs --------------------------------------------------------------------------------------


def captured(folder: Path) -> Path:
    """The trace of a capture of two kernels, each in a module, as AMD's profiler writes it."""

    def call(name: str, at: int, **args: object) -> dict[str, object]:
        return {"ph": "X", "cat": "cuda_runtime", "name": name, "pid": 1, "tid": 1, "ts": at, "dur": 1, "args": args}

    def module(name: str, at: int) -> dict[str, object]:
        return {
            "ph": "X",
            "cat": "cpu_op",
            "name": f"perfkit::{name}",
            "pid": 1,
            "tid": 1,
            "ts": at,
            "dur": 8,
            "args": {},
        }

    events = [
        call("hipStreamBeginCapture", 5), call("hipStreamEndCapture", 40),
        module("layers.0", 10), call("hipLaunchKernel", 12, kernel="gemm", correlation=1),
        module("layers.1", 20), call("hipModuleLaunchKernel", 22, kernel="gelu", correlation=2),
    ]  # fmt: skip
    file = folder / "capture.json"
    file.write_text(json.dumps({"traceEvents": events}))
    return file


def replayed(folder: Path, *kernels: str) -> Path:
    launch = {"ph": "X", "cat": "cuda_runtime", "name": "hipGraphLaunch", "pid": 1, "tid": 1, "ts": 5, "dur": 1}
    events = [launch | {"args": {"correlation": 9}}]
    for place, kernel in enumerate(kernels):
        times = {"ts": 10 + 10 * place, "dur": 5.5}
        args = {"device": 0, "stream": 7, "correlation": 9}
        events.append({"ph": "X", "cat": "kernel", "name": kernel, "pid": 0, "tid": 7, "args": args} | times)
    file = folder / "replay.json"
    file.write_text(json.dumps({"traceEvents": events}))
    return file


def test_a_capture_gives_the_replay_its_modules(tmp_path, capsys):
    arguments = str(replayed(tmp_path, "gemm", "gelu")), "--capture", str(captured(tmp_path)), "--format", "json"
    code, out, _ = run(capsys, *arguments)
    document = json.loads(out)
    assert code == 0
    rows = document["tables"]["layers"]["rows"]
    assert {row["scope"]: row["total_ns"] for row in rows} == {"layers.0": 5500, "layers.1": 5500}
    assert document["summary"]["unattributed_ns"] == 0
    assert "graph-without-scope" not in [one["rule"] for one in document["findings"]]
    _, out, _ = run(capsys, *arguments, "--by", "layer")
    assert [row["scope"] for row in json.loads(out)["tables"]["groups"]["rows"]] == ["layers.*"]


@pytest.mark.parametrize(
    ("kernels", "capture", "says"),
    [
        (["gemm", "relu"], "capture.json", "kernel 1 (counted from 0) is 'relu' in the replay (2 in all) and 'gelu'"),
        (["gemm", "gelu"], "replay.json", "captures no graph"),
        (["gemm", "gelu"], "gone.json", "gone.json does not exist"),
        ([], "capture.json", "has no launch of a graph"),
    ],
)
def test_a_capture_that_does_not_fit_is_one_line(tmp_path, capsys, kernels, capture, says):
    replay = replayed(tmp_path, *kernels)
    captured(tmp_path)
    code, out, err = run(capsys, str(replay), "--capture", str(tmp_path / capture))
    assert (code, out) == (2, "")
    assert says in err
    assert "--capture" in err
    assert err.count("\n") == 1


@pytest.mark.corpus
def test_no_torch_and_no_scipy_on_a_real_trace():
    """GIVEN a real trace WHEN analysed in a fresh process THEN torch and scipy are never imported"""
    file = corpus_file("kineto/h100_bert_small_inference.json.gz")
    code = (
        "import sys; from perfkit import cli; code = cli.main(['analyze', sys.argv[1], '--format', 'json']);"
        "bad = {'torch', 'scipy'} & set(sys.modules); print(bad, file=sys.stderr); sys.exit(code or len(bad))"
    )
    answer = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["summary"]["kernel_time_ns"] == 307197


def test_ranks_are_a_row_each(trace, tmp_path, capsys):
    """GIVEN a trace of two ranks, in a folder or named THEN a row each; --table shows those of each file"""
    folder = tmp_path / "job"
    folder.mkdir()
    paths = [folder / f"rank{rank}.json" for rank in (0, 1)]
    for path in paths:
        path.write_bytes(trace.read_bytes())
    for arguments in ([str(folder)], [str(path) for path in paths]):
        code, out, _ = run(capsys, *arguments, "--format", "json")
        rows = json.loads(out)["tables"]["recordings"]["rows"]
        assert code == 0
        assert [(Path(row["recording"]).name, row["rank"], row["kernels"]) for row in rows] == [
            ("rank0.json", 0, 1), ("rank1.json", 1, 1),
        ]  # fmt: skip
        assert run(capsys, *arguments, "--format", "csv")[1].startswith("recording,rank,cycle")
    _, out, _ = run(capsys, str(folder), "--table", "phases", "--format", "json")
    assert set(json.loads(out)["tables"]) == {str(path) for path in paths}
    assert "can hold only one table" in run(capsys, str(folder), "--table", "phases", "--format", "csv")[2]


def test_a_rank_that_cannot_be_read_is_left_out(trace, tmp_path, capsys):
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "rank0.json").write_bytes(trace.read_bytes())
    (folder / "rank1.json").write_text('{"traceEvents": []}')
    code, out, _ = run(capsys, str(folder))
    assert code == 0
    assert "left out: " in out
    (folder / "rank0.json").write_text('{"traceEvents": []}')
    code, _, err = run(capsys, str(folder))
    assert code == 2
    assert "holds no events" in err


def test_a_roofline_is_drawn_where_it_is_asked_for(tmp_path, trace, capsys):
    """GIVEN a trace with shapes THEN --plot writes a picture beside the tables; without shapes, of several traces, or
    into a file of another kind it is refused"""
    sizes = {"Input Dims": [[10, 10], [10, 10]], "Input type": ["float", "float"]}
    events = [{**event, "args": sizes} if event["name"] == "aten::mm" else event for event in EVENTS]
    shapes, picture = tmp_path / "shapes.json", tmp_path / "roofline.svg"
    shapes.write_text(json.dumps({"traceEvents": events}))
    code, out, _ = run(capsys, str(shapes), "--plot", str(picture), "--table", "roofline")
    assert (code, "Roofline by operator" in out) == (0, True)
    assert picture.read_text().startswith("<?xml")
    for arguments, why in (
        ([str(trace), "--plot", str(picture)], "a roofline needs shapes"),
        ([str(shapes), "--plot", "roofline.txt"], "use .png, .svg, .pdf"),
        ([str(shapes), str(trace), "--plot", str(picture)], "one trace, run or sweep"),
        ([str(shapes), "--table", "kernel_summary", "--plot", str(picture)], "one trace, run or sweep"),
    ):
        code, _, err = run(capsys, *arguments)
        assert (code, why in err) == (2, True), err


def test_ranks_have_no_roofline(trace, tmp_path, capsys):
    for rank in (0, 1):
        (tmp_path / f"rank{rank}.json.gz").write_bytes(trace.read_bytes())
    trace.unlink()
    code, _, err = run(capsys, str(tmp_path), "--plot", str(tmp_path / "roofline.svg"))
    assert (code, "one trace, run or sweep" in err) == (2, True)


def test_a_path_may_follow_the_tables(trace, capsys):
    """GIVEN --table, which takes all that follows WHEN the trace does THEN it is the path; what is none is missing"""
    for arguments in (["--table", "phases", str(trace)], ["--table", "phases", "--table", "layers", str(trace)]):
        code, out, _ = run(capsys, *arguments)
        assert (code, "Phases" in out) == (0, True)
    assert run(capsys, "--table", "phases", "gone.json") == (
        2,
        "",
        "perfkit: gone.json does not exist: check the path\n",
    )
    code, _, err = run(capsys, "--table", "phases")
    assert (code, err) == (2, "perfkit: name a trace, the folder of a run or of several, a record, or a sweep's results"
                              " (.csv)\n")  # fmt: skip


def test_a_folder_of_runs_is_listed(tmp_path, capsys):
    """GIVEN runs of two configurations in a folder WHEN analysed THEN a row each"""
    for name, changes in (("one", {}), ("two", {"batch_size": 4})):
        (tmp_path / name).mkdir()
        record.save(runs.saved(config=runs.quick(**changes)), tmp_path / name)
    code, out, _ = run(capsys, str(tmp_path))
    assert code == 0
    assert out.startswith("2 runs, a row each: name one of them to see more\n\nRuns\n")
    assert [line.split()[0] for line in out.splitlines()[5:]] == ["one", "two"]


def test_a_pattern_is_read_as_its_files(tmp_path, trace, capsys):
    (tmp_path / "other.json").write_text(json.dumps({"traceEvents": EVENTS}))
    code, out, _ = run(capsys, str(tmp_path / "*.json*"), "--table", "phases")
    assert (code, out.count("Phases, 1 step")) == (0, 2)
