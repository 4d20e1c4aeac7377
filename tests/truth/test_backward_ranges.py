"""Ranges round backward nodes: each bears the name of the module that made the node, or there is none."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from perfkit.analysis.attribution.attribute import Attribution, Phase, attribute
from perfkit.analysis.attribution.intervals import NONE
from perfkit.schema import range_names
from perfkit.trace.columns import MISSING, HostKind, HostRanges, Trace
from perfkit.trace.recording import Tool
from tests.builders import saying
from tests.truth import models
from tests.truth.models import Block, Checkpointed, Net
from tests.truth.recording import STEPS, Recording, Training, record_training
from tests.truth.test_threads import _BackwardThread, _TwoForwardThreads
from tests.truth.verdict import assert_right, judge_hooks


@pytest.fixture
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class _Pair(NamedTuple):
    one: Tensor
    other: Tensor


@dataclasses.dataclass
class _Made:
    parts: dict[str, list[Tensor]]
    pair: _Pair


class Structured(nn.Module):
    """Its part returns tensors inside a dataclass, a dictionary, a list and a named tuple."""

    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(models.WIDTH, models.WIDTH)

        def forward(self, x: Tensor) -> _Made:
            y = self.linear(x)
            return _Made({"list": [y.sin(), y.cos()]}, _Pair(y.tanh(), x.exp()))

    def __init__(self) -> None:
        super().__init__()
        self.part = Structured.Part()

    def forward(self, x: Tensor) -> Tensor:
        made = self.part(x)
        return sum(made.parts["list"], x) * made.pair.one + made.pair.other


class Repeated(nn.Module):
    """Calls one layer three times, and once in place on what it returned."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(models.WIDTH, models.WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(self.inner(x).relu_())
        return self.inner(y).add_(x)


def _tied() -> nn.Module:
    model = Net(Block(), Block())
    model.head.weight = model.embedding.weight
    return model


def _frozen() -> nn.Module:
    model = Net(Block(), Block(), Block())
    for part in (model.embedding, model.layers[1]):
        part.requires_grad_(False)
    return model


def _checkpointed(*, reentrant: bool) -> nn.Module:
    return Net(*(Checkpointed(Block(), reentrant=reentrant) for _ in range(2)))


MODELS = {
    "eager": lambda: Net(Block(), Block()),
    "tied": _tied,
    "frozen": _frozen,
    "non-reentrant": lambda: _checkpointed(reentrant=False),
    "reentrant": lambda: _checkpointed(reentrant=True),
    "structured": lambda: Net(Structured(), Block()),
    "repeated": lambda: Net(Repeated(), Repeated()),
    "views": lambda: Net(models.Assigning(), Block(), models.Assigning()),
    "custom": lambda: Net(models.Custom(), Block(), models.Custom()),
    "hooked": lambda: Net(models.Hooked(), Block()),
}


def _assert_named(recording: Recording) -> Counter[str]:
    """Every node that a module made has its module's range; those made outside every module have none."""
    assert_right(recording)
    verdict = judge_hooks(recording)
    assert verdict.wrong == []
    assert {kind for kind in verdict.right if kind.startswith("none")} <= {"none: loss", "none: None"}
    assert verdict.right["node"] > 0
    return verdict.right


@pytest.mark.parametrize("kind", MODELS)
def test_each_node_has_the_range_of_the_module_that_made_it(kind: str, tmp_path: Path) -> None:
    """GIVEN any graph WHEN recorded with both THEN names agree with the witness, and alone they say the same"""
    model = MODELS[kind]()
    recording = record_training(model, tmp_path, backward=True)
    right = _assert_named(recording)
    if kind not in ("custom", "reentrant", "non-reentrant"):
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        assert right["accumulation"] == STEPS * len(trainable)
    _assert_as_good_alone(recording)


@pytest.mark.parametrize("training", [_TwoForwardThreads, _BackwardThread])
def test_threads(training: type[Training], tmp_path: Path) -> None:
    """GIVEN forward or backward in threads of their own WHEN recorded THEN every name is right"""
    model = models.Towers() if training is _TwoForwardThreads else Net(Block(), Block())
    recording = record_training(model, tmp_path, training=training, all_threads=True, backward=True)
    _assert_named(recording)
    _assert_as_good_alone(recording)


@pytest.mark.slow
@pytest.mark.usefixtures("_fresh_compiler")
def test_compiled_blocks(tmp_path: Path) -> None:
    """GIVEN each block compiled WHEN recorded THEN its one node is its own, and so are its parameters' gradients"""
    model = Net(Block(), Block())
    for layer in model.layers:
        layer.compile()
    recording = record_training(model, tmp_path, whole=(Block,), backward=True)
    verdict = judge_hooks(recording)
    named = Counter(own.label for own in _own_ranges(recording.trace) if own.kind == "backward")
    parameters = len(list(model.layers[0].parameters()))
    assert named["layers.0"] == named["layers.1"] == STEPS * (1 + parameters)
    assert verdict.right["accumulation"] == STEPS * len(list(model.parameters()))


def _own_ranges(trace: Trace) -> list[range_names.RangeName]:
    return [own for text in trace.host_names() if (own := range_names.parse_trace(text))]


def _assert_as_good_alone(recording: Recording) -> None:
    """Without operators and numbers, as nsys would have it, perfkit's ranges go to the same modules and phases."""
    whole = _rows(recording.attribution)
    alone = _rows(attribute(_only_own(recording.trace)))
    assert set(alone) <= set(whole)
    assert {key: said for key, said in alone.items() if whole[key] != said} == {}
    phases = Counter(phase for _, phase in alone.values())
    recomputes = any(phase == "recompute" for _, phase in recording.witness.calls)
    assert phases["backward"] > 0
    assert (phases["recompute"] > 0) == recomputes


def _rows(attribution: Attribution) -> dict[tuple[str, int, int], tuple[str | None, str]]:
    """Each of perfkit's ranges (name, start, thread) -> path and phase."""
    host = attribution.host
    rows = {}
    for row in np.flatnonzero(host.own("module", "recompute", "backward")).tolist():
        path = int(attribution.ranges.path[row])
        said = (None if path == NONE else attribution.paths[path], Phase(attribution.ranges.phase[row]).label)
        rows[host.name_of(row), int(host.start[row]), int(host.thread[row])] = said
    return rows


def _only_own(trace: Trace) -> Trace:
    """What is left of a trace under nsys."""
    ours = np.array([range_names.parse_trace(text) is not None for text in trace.names])
    keep = ours[trace.host.name]
    columns = {f.name: getattr(trace.host, f.name)[keep] for f in dataclasses.fields(HostRanges)}
    columns["kind"] = np.full_like(columns["kind"], HostKind.ANNOTATION)
    for unknown in ("sequence", "forward_thread", "external_id"):
        columns[unknown] = np.full_like(columns[unknown], MISSING)
    return dataclasses.replace(saying(trace, tool=Tool.NSYS), host=HostRanges(**columns))
