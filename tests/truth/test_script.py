"""An unedited training script under `perfkit run`: by the witness that the script itself keeps."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import perfkit
from perfkit.schema import range_names, record

SCRIPT = Path(__file__).parent / "scripts" / "train.py"
EPOCHS, BATCHES, WARMUP, MEASURED = 2, 4, 2, 3
FIRST = 1 + WARMUP
"""The first measured step: the first of all shows the modules."""


@dataclass
class Profiled:
    folder: Path
    printed: str
    calls: list[Counter[str]]
    seconds: list[dict[str, float]]
    """Of the measured steps, by the script."""
    weights: Any


@pytest.fixture(scope="module", params=["torch", "none"])
def profiled(request, tmp_path_factory) -> Profiled:
    place = tmp_path_factory.mktemp(request.param)
    own = ["--epochs", str(EPOCHS), "--witness", str(place / "witness.json"), "--checkpoint", str(place / "model.pt")]
    flags = ["--warmup-steps", str(WARMUP), "--measure-steps", str(MEASURED), "--profiler", request.param]
    command = [sys.executable, "-m", "perfkit", "run", *flags, "--folder", str(place / "run"), str(SCRIPT), "--", *own]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=place)
    assert done.returncode == 0, done.stderr
    said = json.loads((place / "witness.json").read_text())
    assert said["steps"] == EPOCHS * BATCHES
    steps = [str(step) for step in range(FIRST, FIRST + MEASURED)]
    return Profiled(
        place / "run", done.stdout, [Counter(said["calls"][step]) for step in steps],
        [said["seconds"][step] for step in steps], torch.load(place / "model.pt"),
    )  # fmt: skip


def test_phases_are_as_long_as_the_script_itself_says(profiled):
    """GIVEN the script's own clock round each call WHEN compared THEN perfkit's phases are inside those times"""
    saved = record.load(profiled.folder)
    assert (saved.status, len(saved.warmup), len(saved.steps)) == ("ok", WARMUP, MEASURED)
    for sample, said in zip(saved.steps, profiled.seconds, strict=True):
        phases = sample.phases_s
        assert set(phases) == {"data", "zero_grad", "forward", "loss", "backward", "optimizer"}
        for name, seconds in said.items():
            assert 0 < phases[name] <= seconds
        assert phases["data"] > 0.02  # two images, each asleep for 10 ms
    evaluated = saved.steps[1]  # between the epochs, and so in the step after the fourth
    assert evaluated.phases_s["data"] > 0.08


def test_results_are_those_of_the_script_alone(profiled, tmp_path):
    """GIVEN the script without perfkit WHEN run THEN it prints the same digits and saves the same bits"""
    own = ["--epochs", str(EPOCHS), "--witness", str(tmp_path / "w"), "--checkpoint", str(tmp_path / "model.pt")]
    alone = subprocess.run([sys.executable, str(SCRIPT), *own], capture_output=True, text=True, check=True)
    assert profiled.printed.startswith(alone.stdout)
    for name, weight in torch.load(tmp_path / "model.pt")["model"].items():
        assert torch.equal(weight, profiled.weights["model"][name])


def test_each_call_of_each_module_is_in_the_trace(profiled):
    """GIVEN the script's count of calls, evaluation included WHEN the trace is read THEN it has as many ranges"""
    if record.load(profiled.folder).config.measurement.profiler == "none":
        pytest.skip("plain steps have no trace")
    [path] = profiled.folder.glob("*.pt.trace.json.gz")
    trace = perfkit.load(path)
    names = Counter(np.array(trace.names)[trace.host.name].tolist())
    expected: Counter[str] = sum(profiled.calls, Counter())
    assert expected["head"] == MEASURED + 1  # one evaluation, of one batch
    assert {name: names[range_names.module(name or "Net").trace_text] for name in expected} == dict(expected)
    steps = [name for name in names if (own := range_names.parse_trace(name)) and own.kind == "step"]
    assert len(steps) == MEASURED


def test_layers_phases_and_findings(profiled):
    """GIVEN a loader that sleeps WHEN reported THEN layers have the script's names, and the loader is a finding"""
    if record.load(profiled.folder).config.measurement.profiler == "none":
        pytest.skip("plain steps have no trace")
    report = perfkit.report(profiled.folder)
    layers = report.table("layers").frame
    assert {"features.0", "features.2", "head"} <= set(layers["scope"])
    has = set(map(tuple, layers.query("total_ns > 0")[["scope", "phase"]].to_numpy().tolist()))
    assert {(name, phase) for name in ("features.0", "head") for phase in ("forward", "backward", "optimizer")} <= has
    assert "data-loader" in {finding.rule.id for finding in report.findings}
    assert report.table("phases").frame.set_index("phase")["total_ns"]["optimizer"] > 0
