"""traces/samples: small, loadable, and silent about the machine they were made on."""

from __future__ import annotations

import gzip
import platform
from pathlib import Path

import pytest

from perfkit.analysis.reports import trace as trace_report
from perfkit.schema import record
from perfkit.trace.load import load
from scripts import samples


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_a_sample_is_small_and_complete(name: str) -> None:
    folder = samples.FOLDER / name
    saved = record.load(folder)
    assert saved.status == "ok"
    assert len(saved.steps) == saved.config.measurement.measure_steps
    assert all(path.stat().st_size <= samples.LIMIT for path in folder.iterdir())
    summary = trace_report.report(load(folder / saved.artifacts["trace"])).summary
    assert summary["steps"] == saved.config.measurement.measure_steps
    assert summary["backward_nodes_linked"] == summary["backward_nodes"] > 0


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_a_sample_does_not_say_where_it_was_made(name: str) -> None:
    saved = record.load(samples.FOLDER / name)
    assert saved.environment.hostname == "sample"
    assert saved.environment.variables == {}
    assert not any("/" in word for word in saved.environment.argv)
    assert {file.name for file in (samples.FOLDER / name).iterdir()} == {"record.json", samples.TRACE_NAME}
    text = gzip.decompress((samples.FOLDER / name / samples.TRACE_NAME).read_bytes())
    assert b'"host_name": "sample"' in text
    assert b'"traceName": "sample"' in text


def test_stripping_touches_nothing_else() -> None:
    text = b'{"host_name": "vm7",\n "traceEvents": [{"ts": 4581614519649.403}],"traceName": "/tmp/x.json" }'
    assert samples.stripped_trace(text) == (
        b'{"host_name": "sample",\n "traceEvents": [{"ts": 4581614519649.403}],"traceName": "sample" }'
    )


def test_options_that_name_files_are_left_out() -> None:
    argv = ("--model-size", "tiny", "--traces-dir", "/home/me/x", "--seed", "1", "--output", "/y.csv")
    assert samples._without_paths(argv) == ("--model-size", "tiny", "--seed", "1")


def test_a_telling_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(f'{{"hostname": "{platform.node()}"}}')
    with pytest.raises(samples.SampleError, match=r"record\.json still holds"):
        samples.check(tmp_path)
