"""Asking devices for their memory without loading PyTorch here."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfkit.launch import places


def test_a_real_answer_names_the_device_and_its_free_memory():
    found = places.find(["cpu", "cuda:77"])
    assert found.pop("cuda:77", ("", None))[1] is None
    device, free = found["cpu"]
    assert device == "cpu"
    assert 2**26 < free < 2**50


def python(tmp_path: Path, script: str) -> str:
    """An interpreter that is none: what it is told is in the folder's file `asked`, a line each."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > '{tmp_path}/asked'\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("output", ["", "{", '{"cpu": 3}'])
def test_no_answer_is_no_forecast(tmp_path, output):
    assert places.find(["cpu"], python(tmp_path, f"echo '{output}'")) == {}


@pytest.mark.parametrize(("code", "known"), [(0, {"cpu": ("cpu", 5)}), (1, {})])
def test_an_answer_counts_only_from_a_process_that_ended_well(tmp_path, code, known):
    script = f"""echo '{{"cpu": ["cpu", 5]}}'; exit {code}"""
    assert places.find(["cpu"], python(tmp_path, script)) == known


def test_a_process_that_does_not_answer_or_start_is_no_forecast(tmp_path):
    assert places.find(["cpu"], python(tmp_path, "exec sleep 300"), patience_s=0.01) == {}
    assert places.find(["cpu"], str(tmp_path / "none")) == {}


def test_each_name_is_asked_for_once(tmp_path):
    assert places.find(["cuda", "cpu", "cuda"], python(tmp_path, "echo '{}'")) == {}
    assert (tmp_path / "asked").read_text().split() == ["-m", "perfkit.measure.probe", "cpu", "cuda"]
