"""An event file holds what was put into it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from perfkit.export.tensorboard import events
from perfkit.export.tensorboard.events import EventFile
from perfkit.render import charts
from perfkit.schema.chart import Chart, Panel, Series
from tests.export.tensorboard.reading import Events

PNG = charts.draw(Chart(rows=((Panel(series=(Series(label="a", x=(0.0, 1.0), y=(1.0, 2.0)),)),),)), ".png")


def test_each_kind_is_read_back(tmp_path):
    file = EventFile(tmp_path)
    file.scalars({"a": 0.5, "b": 2.0}, 3, 100.0)
    file.scalars({"a": 0.25}, 4, 101.0)
    file.histogram("h", np.array([1.0, 1.0, 4.0]), 7, 100.0)
    file.text("t", "# <title>", 100.0)
    file.picture("p", PNG, 100.0)
    file.close()

    found = Events(tmp_path)
    assert found.scalars("a") == {3: 0.5, 4: 0.25}
    assert found.scalars("b") == {3: 2.0}
    [(step, buckets)] = found.histograms("h").items()
    assert step == 7
    assert (buckets[0, 0], buckets[-1, 1]) == (1.0, 4.0)
    assert buckets[:, 2].tolist() == [2.0, *[0.0] * 28, 1.0]
    assert found.text("t") == "# <title>"
    assert min(found.picture_size("p")) > 100


def test_a_trial_has_its_values_and_how_it_ended(tmp_path):
    file = EventFile(tmp_path)
    file.experiment(["size"], {"result/ms": "ms"}, 100.0)
    file.trial({"size": "tiny", "batch": 4, "checkpoint": True}, "one", 100.0, succeeded=False)
    file.close()

    found = Events(tmp_path)
    trial = found.trial()
    assert trial.group_name == "one"
    assert trial.hparams["size"].string_value == "tiny"
    assert trial.hparams["batch"].number_value == 4
    assert trial.hparams["checkpoint"].bool_value is True
    assert found.status() == 2  # STATUS_FAILURE of tensorboard's api.proto
    assert [info.name for info in found.experiment().hparam_infos] == ["size"]
    assert [(info.name.tag, info.display_name) for info in found.experiment().metric_infos] == [("result/ms", "ms")]


def test_a_second_file_of_a_folder_is_told_from_the_first(tmp_path):
    paths = [EventFile(tmp_path) for _ in range(2)]
    for file in paths:
        file.close()
    assert len({file.path for file in paths}) == 2


def test_another_process_may_write_into_the_folder(tmp_path, monkeypatch):
    """GIVEN another process's file that appears while one is made THEN the own one is known by its process"""

    def made(folder: str, **named: str) -> EventFileWriter:
        (Path(folder) / "events.out.tfevents.1.host.1.0").touch()
        return EventFileWriter(folder, **named)

    monkeypatch.setattr(events, "EventFileWriter", made)
    file = EventFile(tmp_path)
    file.close()
    assert f".{os.getpid()}." in file.path.name


def test_neither_torch_nor_tensorflow_is_loaded(tmp_path):
    """GIVEN a machine that has TensorFlow, here one that cannot be loaded WHEN a file is written THEN nobody tries"""
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('TensorFlow was loaded')")
    program = (
        "import sys\nfrom pathlib import Path\nfrom perfkit.export.tensorboard.events import EventFile\n"
        f"EventFile(Path({str(tmp_path)!r})).close()\nassert 'torch' not in sys.modules\n"
    )
    path = [str(tmp_path), *filter(None, sys.path)]
    done = subprocess.run([sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{program}"],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
