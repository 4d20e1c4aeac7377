"""`perfkit report` as a user meets it. What the pages look like in a browser: tests/browser."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from perfkit import cli
from perfkit.schema import record as records
from tests import runs
from tests.analysis.ranks.synthetic import Planted
from tests.commands.test_analyze import trace

__all__ = ["trace"]


def run(capsys, *arguments: str, **seams) -> tuple[int, str]:
    code = cli.main(["report", *arguments], **seams)
    return code, capsys.readouterr().err


def folder(path: Path, **changes) -> Path:
    path.mkdir()
    records.save(runs.saved(**changes), path)
    return path


def test_a_trace_becomes_one_file(trace, tmp_path, capsys):
    """GIVEN a trace WHEN reported THEN the file holds its sections and the command, and standard error says its size"""
    file = tmp_path / "out.html"
    code, err = run(capsys, str(trace), "-o", str(file))
    assert code == 0
    text = file.read_text("utf-8")
    assert "gemm" in text
    assert f"-o {file}" in text
    assert err.startswith(f"wrote {file} (")


def test_it_opens_the_file_when_asked(trace, tmp_path, capsys):
    """GIVEN --open THEN a browser is asked for the file; where there is none, the file is written and it is said"""
    file = tmp_path / "out.html"
    asked: list[str] = []

    def show(address: str) -> bool:
        asked.append(address)
        return True

    assert run(capsys, str(trace), "-o", str(file), "--open", show=show)[0] == 0
    assert asked == [file.as_uri()]
    code, err = run(capsys, str(trace), "-o", str(file), "--open", show=lambda _: False)
    assert code == 0
    assert err.startswith(f"wrote {file} (")
    assert err.endswith(f"no browser was found: open {file} in one\n")


def test_runs_a_folder_of_them_and_differences(tmp_path, capsys):
    """GIVEN a run, a folder of runs, two runs THEN steps; processes; a comparison before both"""
    file = tmp_path / "out.html"
    several = tmp_path / "several"
    several.mkdir()
    one, two = folder(several / "1"), folder(several / "2")
    for paths, wanted in (((one,), "no trace: measure with --profiler torch"), ((several,), "Processes"),
                          ((one / "record.json",), "Step times"), ((one, two), "B against A")):  # fmt: skip
        code, _ = run(capsys, *map(str, paths), "-o", str(file))
        assert code == 0
        assert wanted in file.read_text("utf-8")


def test_ranks_have_their_table_and_unrelated_traces_are_listed(trace, tmp_path, capsys):
    """GIVEN traces of two ranks, in a folder or named, and a folder of others THEN a row each, and who they are"""
    file, ranks, others = tmp_path / "out.html", tmp_path / "ranks", tmp_path / "others"
    for place, names in ((ranks, ("rank0.json", "rank1.json")), (others, ("a.json", "b.json"))):
        place.mkdir()
        for name in names:
            (place / name).write_bytes(trace.read_bytes())
    for paths in ([ranks], [ranks / "rank0.json", ranks / "rank1.json"]):
        assert run(capsys, *map(str, paths), "-o", str(file))[0] == 0
        assert "2 recordings (2 ranks)" in file.read_text("utf-8")
    assert run(capsys, str(others), "-o", str(file))[0] == 0
    text = file.read_text("utf-8")
    assert "2 traces, and nothing says that they are of one job" in text
    assert "2 ranks" not in text


def test_ranks_with_collectives_have_all_tables_of_the_job(tmp_path, capsys):
    """GIVEN two ranks whose collectives match"""
    file, ranks = tmp_path / "out.html", tmp_path / "ranks"
    ranks.mkdir()
    Planted(2, steps=2).write(ranks, {"layers.0": 1_000_000})
    assert run(capsys, str(ranks), "-o", str(file))[0] == 0
    for title in ("Recordings", "Ranks", "Collectives of the job", "Clocks"):
        assert title in file.read_text("utf-8")


def test_sides_that_cannot_be_compared_are_both_shown(tmp_path, capsys):
    """GIVEN two runs of other configurations THEN the reason in place of the comparison"""
    file = tmp_path / "out.html"
    one = folder(tmp_path / "one")
    other = folder(tmp_path / "other", environment=runs.ENVIRONMENT, steps=())
    code, _ = run(capsys, str(one), str(other), "-o", str(file))
    assert code == 0
    assert "not compared: " in file.read_text("utf-8")


def test_a_trace_beside_a_run_is_not_compared(trace, tmp_path, capsys):
    file = tmp_path / "out.html"
    assert run(capsys, str(trace), str(folder(tmp_path / "one")), "-o", str(file))[0] == 0
    assert "B against A" not in file.read_text("utf-8")


def test_what_is_read_is_not_replaced(trace, tmp_path, capsys):
    """GIVEN a trace whose name ends in .html, and a link to it WHEN either is the output THEN the trace stays"""
    file, link = tmp_path / "trace.html", tmp_path / "link.html"
    file.write_bytes(trace.read_bytes())
    link.symlink_to(file)
    for output in (file, link):
        code, err = run(capsys, str(file), "-o", str(output))
        assert code == 2
        assert "is one of the files that are read: name another file" in err
    assert file.read_bytes() == trace.read_bytes()


def test_traces_that_cannot_be_compared_are_both_shown(trace, tmp_path, capsys):
    """GIVEN a trace with device work and one of the host alone THEN both, and the reason in place of the comparison"""
    host, file = tmp_path / "host.pt.trace.json", tmp_path / "out.html"
    host.write_text(
        json.dumps(
            {"traceEvents": [{"ph": "X", "cat": "cpu_op", "name": "aten::mm", "pid": 1, "tid": 1, "ts": 5, "dur": 9}]}
        )
    )
    assert run(capsys, str(trace), str(host), "-o", str(file))[0] == 0
    assert "not compared: only A holds device work" in file.read_text("utf-8")


def test_a_trace_from_standard_input_is_read_once(trace, tmp_path, capsys, monkeypatch):
    """GIVEN a trace from standard input beside a file WHEN reported THEN both and their comparison"""
    other, file = tmp_path / "other.pt.trace.json", tmp_path / "out.html"
    other.write_bytes(trace.read_bytes())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(trace.read_bytes())))
    assert run(capsys, "-", str(other), "-o", str(file))[0] == 0
    assert "B against A" in file.read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("TRACE", "-o", "out.pdf"), "the extension chooses the format: use .html, .htm"),
        (("nowhere.json",), "nowhere.json"),
        (tuple(f"{number}.json" for number in range(9)), "a report holds 8 sources, not 9"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_read(arguments, said, trace, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, err = run(capsys, *(str(trace) if part == "TRACE" else part for part in arguments))
    assert code == 2
    assert said in err
    assert not list(tmp_path.glob("*.html"))
