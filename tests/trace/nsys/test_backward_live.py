"""Backward ranges recorded by the real nsys: counts, names, nesting; once for all tests here."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.reports import trace as trace_report
from perfkit.schema import range_names
from perfkit.trace.columns import Trace
from perfkit.trace.load import load
from tests.measure.nsys.installed import each_nsys, first_on_path
from tests.reports import lines_in

pytestmark = pytest.mark.slow

STEPS = 3
"""The last one with its backward in a thread, as it is on a GPU."""

PROGRAM = """
import json, threading
from pathlib import Path
import torch
from torch.nn import functional as F
from perfkit.schema import range_names
from perfkit.workload.ranges import annotated
from perfkit.workload.step import TransformerWorkload
from tests.runs import quick
from tests.workload.test_backward_ranges import graph_nodes

workload = TransformerWorkload(quick(num_layers=2, pass_type="forward-backward"))
logits = workload.model(workload.tokens)
nodes = graph_nodes(F.cross_entropy(logits.flatten(0, 1), workload.targets.flatten()))
annotation = workload.annotate(backward=True).install()
Path("expected.json").write_text(json.dumps({"nodes": nodes, "modules": annotation.modules}))

def in_a_thread(loss):
    thread = threading.Thread(target=loss.backward)
    thread.start()
    thread.join()

for index in range(3):
    if index == 2:
        workload._backward = in_a_thread
    with annotated(range_names.step(index)):
        workload.step(lambda _: None)
"""


@dataclass(frozen=True)
class Recorded:
    trace: Trace
    nodes: int
    """Of the graph of one step."""
    modules: dict[str, str]


@pytest.fixture(scope="module", params=each_nsys())
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("nsys")
    (folder / "program.py").write_text(PROGRAM)
    # Without --cpuctxsw=none nsys 2022.4 waits forever in some containers, now and then.
    flags = ["-t", "nvtx", "-s", "none", "--cpuctxsw=none", "-o", "report"]
    command = [str(request.param), "profile", *flags, sys.executable, "program.py"]
    environ = {**first_on_path(request.param, folder), "PYTHONPATH": str(Path(__file__).parents[3])}
    with (folder / "log").open("w") as log:
        nsys = subprocess.Popen(command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            nsys.wait(timeout=300)
        except subprocess.TimeoutExpired:
            _end(nsys)
            pytest.skip("this nsys hangs here, which says nothing of the ranges")
    assert (folder / "report.nsys-rep").exists(), (folder / "log").read_text()
    expected = json.loads((folder / "expected.json").read_text())
    return Recorded(load(folder / "report.nsys-rep"), expected["nodes"], expected["modules"])


def _end(nsys: subprocess.Popen[bytes]) -> None:
    """End a hanging nsys, what it started, and its agent, which is nobody's child and names it."""
    agents = [
        p
        for p in psutil.process_iter(["cmdline"])
        if any(part.startswith("--session-name=") and part.endswith(f"-{nsys.pid}") for part in p.info["cmdline"] or ())
    ]
    for process in (*psutil.Process(nsys.pid).children(recursive=True), psutil.Process(nsys.pid), *agents):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    nsys.wait()


def counts(recorded: Recorded, step: int) -> dict[str, Counter[str]]:
    """Kind -> label -> ranges that start in a step, on any thread."""
    trace = recorded.trace
    (row,) = np.flatnonzero(trace.host_names() == f"perfkit.step::{step}")
    inside = (trace.host.start >= trace.host.start[row]) & (trace.host.start < trace.host.end[row])
    found: dict[str, Counter[str]] = {}
    for text in trace.host_names(np.flatnonzero(inside)):
        name = range_names.parse_trace(str(text))
        assert name is not None
        found.setdefault(name.kind, Counter())[name.label] += 1
    return found


@pytest.mark.parametrize("step", range(STEPS))
def test_each_node_of_the_graph_has_one_range_and_each_module_has_both_kinds(recorded: Recorded, step: int) -> None:
    found = counts(recorded, step)
    assert found["backward"].total() == recorded.nodes
    called = set(recorded.modules) - {"layers"}
    assert set(found["module"]) == called
    # The root makes no node of its own, and the loss is no module.
    assert set(found["backward"]) == (called | {"loss"}) - {"Transformer"}
    assert found["backward"]["layers.1.mlp.up_proj"] == found["backward"]["layers.0.mlp.up_proj"] == 5
    assert "recompute" not in found


def test_ranges_nest_and_none_is_left_open(recorded: Recorded) -> None:
    assert recorded.trace.facts.repairs == {}
    assert not any("crossing" in line for line in lines_in(trace_report.report(recorded.trace)))
    host = attribute(recorded.trace).host
    hooks = host.own("backward")
    parents = host.forest.parent[hooks]
    own_thread = host.thread[hooks] != host.thread[np.flatnonzero(host.own("step"))[0]]
    assert (parents[own_thread] == NONE).all()
    assert own_thread.sum() == recorded.nodes
    assert {host.name_of(row) for row in parents[~own_thread].tolist()} == {"perfkit.phase::backward"}


def test_rows_add_up_and_backward_is_the_modules(recorded: Recorded) -> None:
    report = trace_report.report(recorded.trace)
    assert report.summary["steps"] == STEPS
    assert report.summary["total_ns"] == report.summary["step_wall_ns"]
    frame: Any = next(table for table in report.tables if table.name == "ranges").frame
    main = frame[frame["thread"] == "main"]
    assert main["self_ns"].sum() == report.summary["step_wall_ns"]
    by_name = frame[frame["name"].str.startswith("backward::")].groupby("thread")["count"].sum()
    assert by_name.to_dict() == {"main": 2 * recorded.nodes, "other": recorded.nodes}
    layers: Any = next(table for table in report.tables if table.name == "layers").frame
    of_block = layers[layers["scope"] == "layers.1.mlp.up_proj"]
    assert set(of_block["phase"]) == {"forward", "backward"}
