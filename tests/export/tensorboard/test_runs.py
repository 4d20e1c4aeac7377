"""What TensorBoard shows of a run has the record's numbers."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pandas as pd
import pytest
from tensorboard.plugin_util import markdown_to_safe_html

from perfkit.analysis.reports import run as run_report
from perfkit.export.tensorboard import runs
from perfkit.export.tensorboard.runs import LIVE_S, RunEvents
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table
from tests.export.tensorboard.reading import Events
from tests.export.tensorboard.test_events import PNG
from tests.runs import quick, sample, saved
from tests.sweeps import row


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_record_is_read_back(tmp_path):
    """GIVEN a record of two steps WHEN written THEN steps, results and hyperparameters are its own, in ms"""
    record = saved()
    RunEvents(tmp_path).finish(record, [run_report.report(record)], {"steps": PNG})

    found = Events(tmp_path)
    assert found.scalars("step_ms/total") == pytest.approx({0: 20.0, 1: 40.0})
    assert found.scalars("step_ms/backward") == pytest.approx({0: 10.0, 1: 20.0})
    assert found.scalars("warm-up_ms/total") == pytest.approx({0: 500.0})
    assert found.scalars("result/mean_ms") == pytest.approx({0: 30.0, 1: 30.0})
    assert found.scalars("result/tokens_per_s") == pytest.approx(dict.fromkeys((0, 1), 32 / 0.03))  # 2 x 16 tokens
    histograms = found.histograms("steps_ms/total")
    assert list(histograms) == [0, 1], "DISTRIBUTIONS draws a band between steps"
    for histogram in histograms.values():
        assert (histogram[0, 0], histogram[-1, 1], histogram[:, 2].sum()) == pytest.approx((20.0, 40.0, 2))
    trial = found.trial()
    assert (trial.group_name, trial.hparams["batch_size"].number_value) == ("", 2)
    assert found.tags("images") == {"figures/steps"}
    assert {"findings", "tables/run", "tables/time"} <= found.tags("text")


def test_steps_are_written_while_the_run_goes_on(tmp_path):
    """GIVEN a run of hours WHEN 10 s have passed THEN its steps can be read; before that there is no file at all"""
    clock = Clock()
    events = RunEvents(tmp_path, now=clock, unix=lambda: 1000.0 + clock.now)
    events.step("measured", 0, sample(0.5))
    assert events.name is None
    assert list(tmp_path.iterdir()) == []

    clock.now = LIVE_S
    events.step("measured", 1, sample(0.25))
    assert Events(tmp_path).scalars("step_ms/total") == {0: 500.0, 1: 250.0}
    assert [path.name for path in tmp_path.iterdir()] == [events.name]

    events.step("measured", 2, sample(0.125))
    assert len(Events(tmp_path).scalars("step_ms/total")) == 2

    events.finish(saved(steps=(sample(0.5), sample(0.25), sample(0.125))), [], {})
    assert Events(tmp_path).scalars("step_ms/total") == {0: 500.0, 1: 250.0, 2: 125.0}


def test_a_run_that_measured_nothing_has_no_steps_and_failed(tmp_path):
    record = saved(status="oom", steps=(), warmup=())
    RunEvents(tmp_path).finish(record, [], {})
    found = Events(tmp_path)
    assert found.status() == 2
    assert not {tag for tag in found.tags("scalars") if tag.startswith("step_ms")}


def test_markdown_is_that_of_tensorboard(tmp_path):
    """GIVEN names and sentences with what GitHub's Markdown needs escaped WHEN shown THEN no backslash is seen"""
    frame = pd.DataFrame({"name": ["<unattributed>", "<script>alert(1)</script>"]})
    report = Report("r", {}, [Table("t", "A <b> & ~c~ for $1", (Column("name"),), frame)])
    runs.write_trace(tmp_path, [report], {})
    html = markdown_to_safe_html(Events(tmp_path).text("tables/t"))
    assert "<h3>A &lt;b&gt; &amp; ~c~ for $1</h3>" in html
    assert "<code>&lt;unattributed&gt;</code>" in html
    assert "<script>" not in html


def test_code_is_shown_as_it_is(tmp_path):
    """GIVEN names with bars, backticks, and a backslash before a $ WHEN shown THEN each is itself, in one cell"""
    names = ["a|b", "x`y|z<", "``|``", r"c\$d|e", "`"]
    report = Report("r", {}, [Table("t", "T | U", (Column("name"),), pd.DataFrame({"name": names}))])
    runs.write_trace(tmp_path, [report], {})
    shown = markdown_to_safe_html(Events(tmp_path).text("tables/t"))
    assert re.findall("<td>(.*?)</td>", shown) == [f"<code>{html.escape(name)}</code>" for name in names]
    assert "<h3>T | U</h3>" in shown


def test_what_was_written_of_the_same_before_is_replaced(tmp_path):
    """GIVEN exports of a run, of the same again, and of another WHEN read THEN the first is gone, the other is there,
    and so is a file of somebody else; in the run's own folder the file that the record names is replaced"""
    RunEvents(tmp_path).finish(saved(), [], {})
    [recorded] = tmp_path.iterdir()
    for wall, origin in ((0.5, "a"), (0.25, "b"), (0.125, "a")):
        RunEvents(tmp_path, origin).finish(saved(steps=(sample(wall),)), [], {})
    assert len(list(tmp_path.iterdir())) == 3
    once = tmp_path / "once"
    once.mkdir()
    recorded.rename(once / recorded.name)
    for _ in range(2):
        RunEvents(once, "a", recorded.name).finish(saved(), [], {})
    assert [path.name for path in once.iterdir()] == [recorded.name]
    assert Events(once).scalars("step_ms/total") == pytest.approx({0: 20.0, 1: 40.0})


@pytest.mark.parametrize("instead", ["../precious", "precious", "events.out.tfevents./../../precious"])
def test_a_record_cannot_have_another_file_replaced(tmp_path, instead):
    """GIVEN a record of somebody else that names another file as its events WHEN exported THEN that file stays"""
    folder = tmp_path / "tb"
    folder.mkdir()
    for path in (tmp_path / "precious", folder / "precious"):
        path.write_text("mine")
    RunEvents(folder, "a", instead).finish(saved(), [], {})
    assert {(tmp_path / "precious").read_text(), (folder / "precious").read_text()} == {"mine"}


def test_each_run_of_a_sweep_is_a_trial(tmp_path):
    """GIVEN a sweep WHEN written THEN each run has a folder with its values and results, a failed one what there is"""
    config = quick(batch_size=2)
    done, failed = row(config, 0.25, peak_memory_bytes=2**20), row(config, repeat=2)
    runs.write_sweep(tmp_path, [done, failed], Report("sweep", {}), {"sweep": PNG})

    first, second = (Events(tmp_path / f"{done.key}_{repeat}") for repeat in (1, 2))
    assert first.scalars("result/median_ms") == {0: 250.0, 1: 250.0}
    assert first.scalars("result/peak_memory_MiB") == {0: 1.0, 1: 1.0}
    assert first.trial().hparams["batch_size"].number_value == 2
    assert "result/median_ms" not in second.tags("scalars")
    assert (first.status(), second.status()) == (1, 2)  # STATUS_SUCCESS, STATUS_FAILURE
    assert Events(tmp_path).tags("images") == {"figures/sweep"}


def test_names_of_a_sweep_stay_in_the_folder(tmp_path):
    """GIVEN rows of a file with keys that lead elsewhere, are 300 letters long, or alike WHEN written THEN each has a
    folder of its own, all in the one that was asked for"""
    keys = ("../../out", str(tmp_path / "absolute"), "x" * 300, "a/b", "a-b", "..")
    runs.write_sweep(tmp_path / "tb", [replace(row(quick(), 0.25), key=key) for key in keys], Report("sweep", {}), {})
    folders = [path.parent for path in tmp_path.rglob("events.out.tfevents.*")]
    assert len({*folders}) == len(folders) == 1 + len(keys)
    assert {path.parent for path in folders if path != tmp_path / "tb"} == {tmp_path / "tb"}
