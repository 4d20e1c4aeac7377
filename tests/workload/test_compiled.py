"""Annotation and torch.compile: one graph, no break, and a range round every compiled call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch._inductor import cudagraph_trees

from perfkit.workload.annotate import annotate
from perfkit.workload.model import Transformer
from perfkit.workload.step import TransformerWorkload
from tests.runs import quick
from tests.workload.ranges import hooks, recorded_paths

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

X = torch.ones(1, 2)
TOKENS = torch.zeros(2, 16, dtype=torch.int64)
BLOCKS = ["Transformer", "Transformer > embedding", "Transformer > layers.0", "Transformer > layers.1",
          "Transformer > norm", "Transformer > head"]  # fmt: skip


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


@pytest.fixture
def transformer() -> Transformer:
    return Transformer(quick(num_layers=2))


def one_whole_graph() -> bool:
    """True where Dynamo made a single graph, and no break in it. Its backend does not matter to that."""
    return counters["stats"]["unique_graphs"] == 1 and not counters["graph_break"]


def test_a_compiled_model_has_one_range_round_its_call():
    # GIVEN
    transformer = Transformer(quick())
    transformer.compile(backend="eager")
    compiled = transformer._compiled_call_impl

    # WHEN
    with annotate(transformer) as annotation:
        paths = recorded_paths(lambda: transformer(TOKENS))

    # THEN
    assert paths == ["Transformer"]
    assert (annotation.hooked, one_whole_graph()) == (1, True)
    assert annotation.modules["layers.0.attn.scores"] == "AttentionScores"
    assert (transformer._compiled_call_impl, hooks(transformer)) == (compiled, 0)


def test_a_wrapped_model_has_one_range_round_its_call():
    # GIVEN
    wrapped: Any = torch.compile(nn.Sequential(nn.Sequential(nn.Identity()), nn.ReLU()), backend="eager")

    # WHEN
    with annotate(wrapped) as annotation:
        paths = recorded_paths(lambda: wrapped(X))

    # THEN
    assert paths == ["Sequential"]
    assert (annotation.hooked, one_whole_graph()) == (1, True)
    assert list(annotation.modules) == ["Sequential", "0", "0.0", "1"]
    assert hooks(wrapped) == 0


def test_wrapped_children_have_a_range_each():
    # GIVEN
    child: Any = torch.compile(nn.Sequential(nn.ReLU()), backend="eager")
    model = nn.Sequential(nn.Identity(), child)

    # WHEN
    with annotate(model) as annotation:
        paths = recorded_paths(lambda: model(X))

    # THEN
    assert paths == ["Sequential", "Sequential > 0", "Sequential > 1"]
    assert (annotation.hooked, one_whole_graph()) == (3, True)
    assert list(annotation.modules) == ["Sequential", "0", "1", "1.0"]
    assert hooks(model) == 0


def test_compiled_blocks_have_a_range_each_and_share_a_graph(transformer):
    # GIVEN
    for layer in transformer.layers:
        layer.compile(backend="eager")

    # WHEN
    with annotate(transformer) as annotation:
        paths = recorded_paths(lambda: transformer(TOKENS))

    # THEN
    assert paths == BLOCKS
    assert (annotation.hooked, one_whole_graph()) == (6, True)
    assert annotation.modules["layers.1.attn.scores"] == "AttentionScores"


def test_ranges_stay_balanced_when_a_compiled_call_raises(transformer, nvtx):
    # GIVEN
    transformer.layers[1].compile(backend="eager")
    annotate(transformer).install()

    # WHEN
    with pytest.raises(IndexError):
        transformer(TOKENS + 1000)
    with pytest.raises(TypeError):
        transformer.layers[1](no_such_argument=1)

    # THEN
    assert nvtx.paths() == ["Transformer", "Transformer > embedding", "layers.1"]


@pytest.mark.parametrize("what", ["model", "block"])
@pytest.mark.parametrize(("mode", "graphs", "tunes"), [("default", False, False), ("reduce-overhead", True, False),
                                                       ("max-autotune", True, True)])  # fmt: skip
def test_the_mode_reaches_the_compiler(what, mode, graphs, tunes):
    """GIVEN a mode WHEN a model is made THEN what Inductor will compile, all or each block, is set up as it says"""
    workload = TransformerWorkload(quick(num_layers=2, compile=what, compile_mode=mode))
    compiled: list[Any] = [workload.model] if what == "model" else [*workload.blocks]
    settings = [one._compiled_call_impl.get_compiler_config() for one in compiled]
    assert [(one["triton.cudagraphs"], one["max_autotune"]) for one in settings] == [(graphs, tunes)] * len(compiled)
    assert not workload.has_graphs  # there are none on a CPU


@pytest.mark.parametrize("has_graphs", [False, True])
def test_graphs_are_told_where_a_step_begins(has_graphs):
    """GIVEN a step of two passes' worth of calls THEN it begins once, and only where there are graphs"""
    workload = TransformerWorkload(quick())
    workload.has_graphs = has_graphs
    before = cudagraph_trees.MarkStepBox.mark_step_counter
    workload.step(lambda _: None)
    workload.step(lambda _: None)
    assert before - cudagraph_trees.MarkStepBox.mark_step_counter == 2 * has_graphs  # it counts down


@pytest.mark.slow
def test_a_compiled_and_checkpointed_step_really_compiled_is_annotated_block_by_block():
    # GIVEN Inductor and a C++ compiler
    workload = TransformerWorkload(quick(num_layers=2, compile="block", checkpoint=True))
    workload.annotate(gradients=True).install()

    # WHEN
    workload.step(lambda _: None)
    paths = recorded_paths(lambda: workload.step(lambda _: None))

    # THEN
    forward = [path.removeprefix("perfkit.phase::forward > ") for path in paths if "phase::forward >" in path]
    assert forward == BLOCKS
    backward = [path.removeprefix("perfkit.phase::backward > ") for path in paths if "phase::backward >" in path]
    assert [path for path in backward if "grad" not in path] == [
        "perfkit.recompute::layers.1",
        "perfkit.recompute::layers.0",
    ]
    assert "perfkit.grad::layers.0" in backward
    assert one_whole_graph()


def test_a_model_that_is_annotated_under_its_compiled_wrapper_stays_in_one_graph():
    """GIVEN a model whose compiled wrapper is called WHEN the model itself is annotated THEN hooks break no graph"""
    # GIVEN
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)))
    compiled = torch.compile(model, backend="eager")

    # WHEN
    with annotate(model):
        out = compiled(X)

    # THEN
    assert one_whole_graph()
    assert torch.equal(out, model(X))
