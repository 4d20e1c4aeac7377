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
