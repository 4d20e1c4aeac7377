from __future__ import annotations

from pathlib import Path

import pytest

from perfkit.commands.inputs.paths import (
    RecordFile,
    RunFolder,
    RunsFolder,
    SnapshotFile,
    SweepResults,
    TraceFile,
    expanded,
    inputs_of,
    out_of_tables,
    record_files,
    runs_in,
    shown,
    side,
    what_is,
    with_runs_of_their_own,
)
from perfkit.errors import UsageError
from perfkit.schema import record, sweep
from perfkit.schema.config import RunConfig
from tests import runs, sweeps

SAVED = runs.saved()


def saved_in(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return record.save(SAVED, folder)


def test_a_record_by_its_name_and_by_any_other(tmp_path: Path) -> None:
    file = saved_in(tmp_path / "run")
    other = file.rename(tmp_path / "before.json")
    assert what_is(other) == RecordFile(other, SAVED)
    (tmp_path / "run" / "record.json").write_bytes(other.read_bytes())
    assert what_is(tmp_path / "run" / "record.json") == RecordFile(tmp_path / "run" / "record.json", SAVED)


def test_the_folder_of_one_run_is_no_folder_of_its_plain_steps(tmp_path: Path) -> None:
    saved_in(tmp_path / "run")
    saved_in(tmp_path / "run" / "plain")
    assert what_is(tmp_path / "run") == RunFolder(tmp_path / "run", SAVED)


def test_a_folder_of_runs(tmp_path: Path) -> None:
    """GIVEN folders with a record, and one without WHEN asked what their folder is THEN those, by their names"""
    files = [saved_in(tmp_path / name) for name in ("2", "10")]
    (tmp_path / "3").mkdir()
    assert what_is(tmp_path) == runs_in(tmp_path) == RunsFolder(tmp_path, ((files[1], SAVED), (files[0], SAVED)))
    assert [one.name for one in side(runs_in(tmp_path), "A").processes] == ["10", "2"]


def test_a_folder_of_ranks_is_one_job(tmp_path: Path) -> None:
    """GIVEN the folders of two ranks, as callbacks write them THEN one run of two ranks; by another name, two runs"""
    files = [saved_in(tmp_path / name) for name in ("rank_0", "rank_1")]
    job = what_is(tmp_path)
    assert isinstance(job, RunFolder)
    assert [one.rank for one in job.record.ranks] == [1]
    assert record_files(job) == files
    (tmp_path / "rank_1").rename(tmp_path / "again")
    assert isinstance(what_is(tmp_path), RunsFolder)


@pytest.mark.parametrize("name", ["t.pt.trace.json", "t.json", "report.nsys-rep", "absent", "folder"])
def test_what_is_nothing_else_is_taken_for_a_trace(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "t.json").write_text('{"traceEvents": []}')
    assert what_is(tmp_path / name) == TraceFile(tmp_path / name)


def test_standard_input_is_a_hyphen_and_no_path_of_that_name() -> None:
    assert what_is("-") == TraceFile("-")
    assert what_is("./-") == what_is(Path("-")) == TraceFile(Path("-"))


def test_the_results_of_a_sweep(tmp_path: Path) -> None:
    """GIVEN results of which one has a record WHEN read THEN the rows alone; as a side, that record and the failure"""
    # GIVEN
    row, failed = sweeps.row(RunConfig(), 0.1, 0.2), sweeps.row(RunConfig.of(batch_size=2), repeat=2)
    row, failed = (sweeps.read_back(one) for one in (row, failed))
    file = tmp_path / "r.csv"
    file.write_text(sweep.header_line() + sweep.to_line(row) + sweep.to_line(failed))

    # WHEN
    results = what_is(file)

    # THEN
    assert results == SweepResults(file, (row, failed))
    with pytest.raises(UsageError, match="its records are missing"):
        record_files(results)
    saved_in(tmp_path / "r.runs" / "one")
    assert record_files(results) == [tmp_path / "r.runs" / "one" / "record.json"] * 2
    found = side(results, "A")
    assert (found.name, found.path, found.independent) == ("A", str(file), True)
    assert [one.name for one in found.processes] == [f"{row.key}.1", f"{failed.key}.2"]


@pytest.mark.parametrize("kind", ["record", "folder", "folders"])
def test_every_kind_of_runs_is_a_side(tmp_path: Path, kind: str) -> None:
    file = saved_in(tmp_path / "runs" / "1")
    path = {"record": file, "folder": file.parent, "folders": file.parent.parent}[kind]
    found = what_is(path)
    assert not isinstance(found, TraceFile | SnapshotFile)
    assert record_files(found) == [file]
    assert side(found, "B").path == str(path)
    assert [one.name for one in side(found, "B").processes] == ["record.json" if kind == "record" else "1"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "stats.csv",
            "Time (%),Total Time (ns),Instances\n9,9,9\n",
            "stats.csv is a table of nsys stats: pass the ",
        ),
        ("other.csv", "a,b\n1,2\n", "other.csv: not the results of a perfkit sweep"),
        ("gone.csv", None, "gone.csv does not exist: check the path"),
    ],
)
def test_a_table_that_no_sweep_wrote(tmp_path: Path, name: str, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UsageError) as caught:
        what_is(tmp_path / name)
    assert says in str(caught.value)


@pytest.mark.parametrize("name", ["https://host/t.json", "s3://host/record.json", "https://host/r.csv"])
def test_an_address_is_no_path_whatever_it_ends_with(name: str) -> None:
    """GIVEN an address, as text or as a Path, which has a slash less WHEN asked what it is THEN: download it"""
    for spelled in (name, Path(name)):
        with pytest.raises(UsageError, match=f"^{name} is an address, not a path: download the file first"):
            what_is(spelled)


def test_a_file_with_a_config_of_its_own_is_no_record(tmp_path: Path) -> None:
    """GIVEN JSON that names a configuration, but does not begin with it WHEN asked what it is THEN a trace, perhaps"""
    file = tmp_path / "model.json"
    file.write_text('{"name": "gpt", "config": {"layers": 2}}')
    assert what_is(file) == TraceFile(file)


def test_a_path_after_tables_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN files, one named as a table is WHEN they follow --table THEN they are paths, but for a table's name"""
    monkeypatch.chdir(tmp_path)
    for name in ("a.json", "kernels"):
        (tmp_path / name).touch()
    assert out_of_tables(("kernels", "phases", "a.json", "-", "b.json"), ["kernels"]) == (
        ("kernels", "phases", "b.json"),
        ("a.json", "-"),
    )


def test_a_pattern_that_reached_perfkit_is_its_files(tmp_path: Path) -> None:
    """GIVEN two files, and one whose name looks like a pattern WHEN named THEN the files that fit, or just that one"""
    for name in ("2.json", "1.json", "a[1].json"):
        (tmp_path / name).touch()
    first, second, odd, none = (str(tmp_path / name) for name in ("1.json", "2.json", "a[1].json", "*.gz"))
    assert expanded((str(tmp_path / "[12].json"), odd, none, "-")) == (first, second, odd, none, "-")


def test_folders_of_runs_beside_runs(tmp_path: Path) -> None:
    """GIVEN a run with plain steps, a folder of repeats, and one of a comparison THEN the last two hold runs"""
    for name in ("run", "run/plain", "repeats/1", "compare/A/1"):
        saved_in(tmp_path / name)
    assert with_runs_of_their_own(tmp_path) == ["compare", "repeats"]


def test_a_pattern_that_fits_a_folder_of_a_comparison_means_its_sides(tmp_path: Path) -> None:
    """GIVEN a run, and a comparison's folder with the runs of two sides WHEN a pattern fits both THEN all are named"""
    for name in ("1_run", "2_compare/A/1", "2_compare/B/1"):
        saved_in(tmp_path / name)
    fits = ("1_run", "2_compare/A", "2_compare/B")
    assert expanded((str(tmp_path / "*"),)) == tuple(str(tmp_path / name) for name in fits)
    assert [type(one) for one in inputs_of(expanded((str(tmp_path / "*"),)))] == [RunFolder, RunsFolder, RunsFolder]


def test_folders_of_runs_are_named(tmp_path: Path) -> None:
    """GIVEN a comparison's folder, whose runs are in A and B WHEN it is asked for THEN these are to be named"""
    for side_ in ("A", "B"):
        (tmp_path / side_ / "1").mkdir(parents=True)
        record.save(runs.saved(), tmp_path / side_ / "1")
    with pytest.raises(UsageError, match=r"holds folders of runs: name one of them: .*/A, .*/B"):
        what_is(tmp_path)


def test_a_folder_of_one_run_is_shown_as_that_run(tmp_path: Path) -> None:
    """GIVEN a single run's folder in one WHEN shown THEN the run; beside a trace it is of the plain steps"""
    saved_in(tmp_path / "1")
    assert shown(what_is(tmp_path)) == RunFolder(tmp_path / "1", SAVED)
    (tmp_path / "t.pt.trace.json").touch()
    assert shown(what_is(tmp_path)) == runs_in(tmp_path)
