"""Models really compiled here: what Inductor says of its kernels, against scopes and against the shapes of matmuls."""

from __future__ import annotations

import gzip
import json
import shutil
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from perfkit.analysis.attribution.attribute import Attribution, Phase, attribute
from perfkit.analysis.attribution.scopes import How
from perfkit.analysis.reports.trace import findings_of
from perfkit.analysis.time.account import account_for
from perfkit.analysis.time.breakdown import layer_table
from perfkit.measure import loop, runner
from perfkit.measure.loop import StepId
from perfkit.measure.observers.provenance import CompiledKernels
from perfkit.measure.observers.torch_profiler import TorchProfiler
from perfkit.render import findings
from perfkit.schema.config import RunConfig
from perfkit.trace.columns import Trace
from perfkit.trace.load import load
from perfkit.trace.recording import OwnNotes
from perfkit.workload.annotate import annotate, module_tree
from tests.builders import saying

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="Inductor needs a C++ compiler"),
]

STEPS = 2
TINY: dict[str, Any] = {
    "model_size": "tiny", "num_layers": 2, "d_model": 32, "d_ff": 64, "num_heads": 2, "vocab_size": 96,
    "context_length": 16, "batch_size": 2, "device": "cpu",
    "warmup_steps": 1, "measure_steps": STEPS, "profiler": "torch",
}  # fmt: skip


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def run(folder: Path, **options) -> tuple[Trace, Attribution]:
    """A run's trace and what perfkit makes of it."""
    record = runner.run(runner.resolve(RunConfig.of(**TINY | options)), folder)
    trace = load(folder / record.artifacts["trace"])
    return trace, attribute(trace)


def assert_one_graph():
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]


def self_times(trace: Trace, attribution: Attribution) -> dict[tuple[str, str], int]:
    """(scope, phase) -> ns."""
    frame = layer_table(account_for(trace, attribution).partial).frame
    assert frame["total_ns"].sum() == sum(step.end - step.start for step in attribution.steps)
    pairs = zip(frame["scope"], frame["phase"], strict=True)
    return defaultdict(int, zip(pairs, frame["total_ns"], strict=True))


def share_mapped(attribution: Attribution) -> float:
    """Of the calls of compiled kernels: of their time, one that was preempted might be most."""
    kernels = np.flatnonzero(attribution.compiled.kernel == np.arange(len(attribution.compiled.kernel)))
    assert len(kernels)
    return float((attribution.ranges.how[kernels] == How.PROVENANCE).mean())


def test_a_whole_model(tmp_path):
    """GIVEN a Transformer compiled as a whole WHEN run with provenance THEN its layers have forward and backward"""
    trace, attribution = run(tmp_path, compile="model", experimental_provenance=True)
    assert_one_graph()
    assert share_mapped(attribution) >= 0.95
    assert attribution.compiled.fused.any()
    times = self_times(trace, attribution)
    linear = [f"layers.{layer}.{part}" for layer in (0, 1) for part in
              ("attn.q_proj", "attn.output_proj", "mlp.gate_proj", "mlp.down_proj", "attn.scores")]  # fmt: skip
    for scope in (*linear, "head"):
        for phase in ("forward", "backward"):
            assert times[scope, phase] > 0, (scope, phase)
    known = set(trace.recording.own.modules) | {"loss", "optimizer", "zero_grad", "<unattributed>"}
    assert {scope for scope, _ in times} <= known
    assert any(line.startswith("provenance: ") for line in findings.lines(findings_of(account_for(trace, attribution))))

    plain = attribute(_without_provenance(trace))
    assert np.array_equal(attribution.ranges.phase, plain.ranges.phase)
    moved = attribution.ranges.how == How.PROVENANCE
    assert {plain.paths[path] for path in plain.ranges.path[moved]} == {"Transformer"}


def _without_provenance(trace: Trace) -> Trace:
    return saying(trace, own=OwnNotes(trace.recording.own.modules))


@pytest.mark.parametrize("with_provenance", [False, True])
def test_block_by_block(tmp_path, with_provenance):
    """GIVEN blocks compiled one by one WHEN run THEN one graph serves both, and each keeps its own scope"""
    trace, attribution = run(tmp_path, compile="block", experimental_provenance=with_provenance)
    assert_one_graph()
    times = self_times(trace, attribution)
    for layer in ("layers.0", "layers.1"):
        for phase in ("forward", "backward"):
            assert times[layer, phase] > 0
            assert (times[f"{layer}.mlp.up_proj", phase] > 0) == with_provenance
    if with_provenance:
        assert share_mapped(attribution) >= 0.95
    else:
        assert attribution.compiled is None


class Widths(nn.Module):
    """Matrices of which no two have the same shape: a matmul's sizes tell which one it is of."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        pairs = pairwise(widths)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(a), nn.Linear(a, b, bias=False), nn.GELU()) for a, b in pairs
        )

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = stage(x).square()
        return x


class Broken(Widths):
    """Stages of one shape, compiled one by one: to a cache the last two, whose inputs need gradients, are the same."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages[0](x)
        torch._dynamo.graph_break()
        x = self.stages[1](x)
        torch._dynamo.graph_break()
        return self.stages[2](x)


def record(model: nn.Module, batch: Tensor, folder: Path) -> Path:
    """Compile a model, and record STEPS of its forward and backward."""
    config = RunConfig.of(**TINY | {"compile": "model", "experimental_provenance": True}).resolved("cpu")
    compiled = CompiledKernels()
    model.compile()
    metadata = {"modules": module_tree(model), "provenance": compiled.provenance}
    profiler = TorchProfiler(config, folder, metadata)
    with annotate(model):
        for step in (StepId("warm-up", 0), *(StepId("measured", number) for number in range(STEPS))):
            profiler.before(step)
            model(batch).sum().backward()
        loop.close([profiler, compiled])
    return profiler.trace


def test_equal_graphs_of_two_modules(tmp_path):
    """GIVEN a model in graphs of one shape WHEN recorded THEN each graph's kernels are its own module's"""
    trace = load(record(Broken(16, 16, 16, 16), torch.randn(8, 16), tmp_path))
    attribution = attribute(trace)
    assert counters["stats"]["unique_graphs"] == 3
    assert len(trace.recording.own.provenance.graphs) == 6
    assert share_mapped(attribution) >= 0.95
    mm = np.flatnonzero(attribution.host.matching(lambda name: name == "aten::mm"))
    stages = [attribution.paths[path] for path in attribution.ranges.path[mm]]
    assert stages == [f"stages.{stage}.1" for stage in (0, 1, 2, 2, 2, 1, 1, 0, 0)] * STEPS


def test_matmuls_by_their_shapes(tmp_path):
    """GIVEN a compiled model of unique shapes WHEN recorded THEN every matmul is the module's whose shape it has"""
    widths, rows = (8, 24, 40, 56, 72), 16
    file = record(Widths(*widths), torch.randn(rows, widths[0]), tmp_path)
    trace = load(file)
    attribution = attribute(trace)
    module_of = {frozenset((rows, *pair)): f"stages.{index}.1"
                 for index, pair in enumerate(pairwise(widths))}  # fmt: skip
    with gzip.open(file) as opened:
        events = [event for event in json.load(opened)["traceEvents"] if event.get("name") == "aten::mm"]
    events.sort(key=lambda event: event["ts"])
    expected = [module_of[frozenset(size for shape in event["args"]["Input Dims"] for size in shape)]
                for event in events]  # fmt: skip
    mm = np.flatnonzero(attribution.host.matching(lambda name: name == "aten::mm"))
    mm = mm[np.argsort(attribution.host.start[mm])]
    assert [attribution.paths[path] for path in attribution.ranges.path[mm]] == expected
    assert len(expected) == STEPS * 3 * (len(widths) - 1)  # forward, the weight's gradient, the input's gradient
    assert set(attribution.ranges.phase[mm]) == {Phase.FORWARD, Phase.BACKWARD}
    assert share_mapped(attribution) >= 0.95
