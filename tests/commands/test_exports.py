"""`perfkit analyze --export-perfetto` as a user meets it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from perfkit import cli
from perfkit.analysis.reports.page import pictures
from perfkit.schema import record, sweep
from tests.builders import TraceBuilder
from tests.commands.test_analyze import EVENTS
from tests.export.perfetto.reading import timeline
from tests.export.tensorboard.reading import Events
from tests.export.tensorboard.test_events import PNG
from tests.nsys_export import as_nsys
from tests.runs import QUICK_FLAGS, quick, saved
from tests.sweeps import row


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    file = tmp_path / "one.pt.trace.json"
    file.write_text(json.dumps({"traceEvents": EVENTS}))
    return file


def _analyze(capsys, *arguments: str | Path) -> tuple[int, str, str]:
    code = cli.main(["analyze", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_tables_are_shown_and_the_file_is_written(trace, tmp_path, capsys):
    """GIVEN a trace WHEN analysed with --export-perfetto THEN tables as ever, findings and the recording in the file"""
    code, out, _ = _analyze(capsys, trace, "--export-perfetto", tmp_path / "out")
    found = timeline((tmp_path / "out").read_bytes())
    assert code == 0
    assert "gemm" in out
    assert [(s.name, s.start, s.end) for s in found.of("kernel")] == [("gemm", 10250, 30750)]
    assert found.of("perfkit.finding")
    assert list(tmp_path.glob(".*")) == []


def test_nsys_recordings_too(tmp_path, capsys):
    b = TraceBuilder().step(0, 0, 90).module("net", 0, 80).launched("gemm", 10, 100, 110).launched("gemm", 12, 110, 130)
    export = as_nsys(b.build()).write(tmp_path / "r.sqlite")
    code, *_ = _analyze(capsys, export, "--export-perfetto", tmp_path / "out")
    found = timeline((tmp_path / "out").read_bytes())
    assert code == 0
    assert [(s.name, s.start, s.end) for s in found.of("kernel")] == [("gemm", 100, 110), ("gemm", 110, 130)]
    assert [(s.name, s.start, s.end) for s in found.of("perfkit.module")] == [("net", 100, 130)]


def test_what_is_read_is_not_replaced(trace, tmp_path, capsys):
    """GIVEN a trace, a link to it, a tree of modules, a run's record WHEN one is to be written THEN it is refused"""
    link, modules, folder = tmp_path / "link.json", tmp_path / "modules.json", tmp_path / "run"
    link.symlink_to(trace)
    modules.write_text('{"net": "Net"}')
    folder.mkdir()
    record.save(saved(), folder)
    for read, written in (
        ((trace,), trace),
        ((trace,), link),
        ((trace, "--modules", modules), modules),
        ((folder,), folder / "record.json"),
    ):
        before = written.read_bytes()
        code, _, err = _analyze(capsys, *read, "--export-perfetto", written)
        assert (code, written.read_bytes()) == (2, before)
        assert f"{written}: is one of the files that are read: name another file" in err


@pytest.mark.parametrize("where", ["no such folder/out", "."])
def test_a_place_that_cannot_be_written_is_refused_first(where, tmp_path, capsys):
    """GIVEN such a place, and no trace WHEN analysed THEN the place is refused, before the trace is looked for"""
    code, _, err = _analyze(capsys, tmp_path / "missing", "--export-perfetto", tmp_path / where)
    assert code == 2
    assert "missing" not in err
    assert len(err.splitlines()) == 1


def test_a_file_in_place_of_tensorboards_folder_is_refused_first(trace, tmp_path, capsys):
    """GIVEN a file, and no trace WHEN analysed THEN the file is refused, before the trace is looked for"""
    code, _, err = _analyze(capsys, tmp_path / "missing", "--export-tensorboard", trace)
    assert code == 2
    assert f"--export-tensorboard {trace}: is a file: name a folder" in err


def test_several_traces_are_refused(trace, tmp_path, capsys):
    shutil.copy(trace, tmp_path / "two.pt.trace.json")
    for paths in ([trace, tmp_path / "two.pt.trace.json"], [tmp_path]):
        code, _, err = _analyze(capsys, *paths, "--export-perfetto", tmp_path / "out")
        assert code == 2
        assert "--export-perfetto writes one trace" in err
        assert not (tmp_path / "out").exists()


def test_a_trace_for_tensorboard(trace, tmp_path, capsys):
    """GIVEN a trace WHEN exported THEN its findings and tables are texts in a folder that is made for it"""
    code, *_ = _analyze(capsys, trace, "--export-tensorboard", tmp_path / "new" / "tb")
    found = Events(tmp_path / "new" / "tb")
    assert code == 0
    assert {"findings", "tables/kernels"} <= found.tags("text")
    assert "gemm" in found.text("tables/kernels")


def test_a_run_and_its_record_for_tensorboard(tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    record.save(saved(), folder)
    for number, path in enumerate((folder, folder / "record.json")):
        code, *_ = _analyze(capsys, path, "--export-tensorboard", tmp_path / str(number))
        found = Events(tmp_path / str(number))
        assert code == 0
        assert found.scalars("step_ms/total") == pytest.approx({0: 20.0, 1: 40.0})
        assert found.tags("images") == {"figures/steps"}


def test_a_second_export_takes_the_place_of_the_first(trace, tmp_path, capsys):
    """GIVEN a trace, and a run by its folder and by its record WHEN exported twice each THEN one file of each"""
    folder = tmp_path / "run"
    folder.mkdir()
    record.save(saved(), folder)
    for path in (trace, trace, folder, folder / "record.json"):
        assert _analyze(capsys, path, "--export-tensorboard", tmp_path / "tb")[0] == 0
    assert len(list((tmp_path / "tb").iterdir())) == 2


def test_tensorboards_figures_are_those_of_plot(tmp_path, capsys, monkeypatch):
    """GIVEN a run WHEN exported THEN its steps are drawn as --plot draws them: step by step, warm-up shaded"""
    shown = []

    def draw(picture, _):
        shown.append(picture)
        return PNG

    monkeypatch.setattr("perfkit.render.charts.draw", draw)
    record.save(saved(), tmp_path)
    assert _analyze(capsys, tmp_path, "--export-tensorboard", tmp_path / "tb")[0] == 0
    [picture] = shown
    assert picture == pictures.OF_RUNS[0].build(record.load(tmp_path))
    [[panel]] = picture.figure.rows
    assert (panel.x_title, panel.x_ticks) == ("measured step, in the order they ran", ((1.0, "1"), (2.0, "2")))


def test_a_sweep_for_tensorboard(tmp_path, capsys):
    rows = [row(quick(batch_size=size), 0.25 * size) for size in (1, 2)]
    path = tmp_path / "r.csv"
    path.write_text(sweep.header_line() + "".join(map(sweep.to_line, rows)))
    code, *_ = _analyze(capsys, path, "--export-tensorboard", tmp_path / "tb")
    assert code == 0
    assert [Events(tmp_path / "tb" / f"{one.key}_1").scalars("result/median_ms")[0] for one in rows] == [250.0, 500.0]


def test_a_folder_that_cannot_be_made_is_said_in_one_line(trace, capsys):
    code, _, err = _analyze(capsys, trace, "--export-tensorboard", trace / "below a file")
    assert code == 2
    assert "cannot be written: " in err
    assert len(err.splitlines()) == 1


def test_tensorboard_takes_one_path(trace, tmp_path, capsys):
    shutil.copy(trace, tmp_path / "two.pt.trace.json")
    code, _, err = _analyze(capsys, trace, tmp_path / "two.pt.trace.json", "--export-tensorboard", tmp_path / "tb")
    assert code == 2
    assert "--export-tensorboard writes one run, trace or sweep" in err


def test_a_run_writes_its_events(tmp_path, capsys):
    """GIVEN a profiled run WHEN it is over THEN its events have the record's numbers, tables and figures"""
    flags = [*QUICK_FLAGS, "--device", "cpu", "--warmup-steps", "1", "--measure-steps", "2", "--overhead", "off"]
    assert cli.main(["run", *flags, "--profiler", "torch", "--folder", str(tmp_path / "run")]) == 0
    done, found = record.load(tmp_path / "run"), Events(tmp_path / "run")
    assert (tmp_path / "run" / done.artifacts["tensorboard"]).is_file()
    for tag, samples in {"step_ms": done.steps, "warm-up_ms": done.warmup}.items():
        expected = {index: sample.wall_s * 1e3 for index, sample in enumerate(samples)}
        assert found.scalars(f"{tag}/total") == pytest.approx(expected, rel=1e-6)
    assert {"findings", "tables/phases", "tables/kernels", "tables/run"} <= found.tags("text")
    assert found.tags("images") == {"figures/steps", "figures/roofline"}
    assert found.status() == 1


def test_a_run_can_do_without_events(tmp_path, capsys):
    flags = [*QUICK_FLAGS, "--device", "cpu", "--warmup-steps", "0", "--measure-steps", "1", "--tensorboard", "off"]
    assert cli.main(["run", *flags, "--folder", str(tmp_path / "run")]) == 0
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["record.json"]


def test_any_other_value_is_refused(capsys):
    assert cli.main(["run", "--tensorboard", "live"]) == 2
    assert "tensorboard" in capsys.readouterr().err
