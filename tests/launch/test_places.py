"""Asking devices for their memory without loading PyTorch here."""

from __future__ import annotations

import subprocess

import pytest

from perfkit.launch import places


def test_a_real_answer_names_the_device_and_its_free_memory():
    found = places.find(["cpu", "cuda:77"])
    assert found.pop("cuda:77", ("", None))[1] is None
    device, free = found["cpu"]
    assert device == "cpu"
    assert 2**26 < free < 2**50


@pytest.mark.parametrize("output", [b"", b"{", b'{"cpu": 3}'])
def test_no_answer_is_no_forecast(monkeypatch, output):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, stdout=output))
    assert places.find(["cpu"]) == {}


@pytest.mark.parametrize(("code", "known"), [(0, {"cpu": ("cpu", 5)}), (1, {})])
def test_an_answer_counts_only_from_a_process_that_ended_well(tmp_path, monkeypatch, code, known):
    # GIVEN
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\necho \'{{"cpu": ["cpu", 5]}}\'\nexit {code}\n')
    script.chmod(0o755)
    monkeypatch.setattr(places.sys, "executable", str(script))

    # THEN
    assert places.find(["cpu"]) == known


@pytest.mark.parametrize("error", [subprocess.TimeoutExpired("python", 120), FileNotFoundError("python")])
def test_a_process_that_does_not_answer_or_start_is_no_forecast(monkeypatch, error):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", fail)
    assert places.find(["cpu"]) == {}


def test_each_name_is_asked_for_once(monkeypatch):
    # GIVEN
    asked: list[list[str]] = []

    def answer(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, stdout=b"{}")

    monkeypatch.setattr(subprocess, "run", answer)

    # THEN
    places.find(["cuda", "cpu", "cuda"])
    assert [command[3:] for command in asked] == [["cpu", "cuda"]]
