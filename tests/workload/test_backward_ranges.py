"""Ranges round backward nodes: each node once, balanced wherever it runs, and nothing kept alive or left behind."""

from __future__ import annotations

import contextlib
import copy
import pickle
import re
import threading
import weakref
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name the field uses
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint

from perfkit.schema.range_names import parse_trace
from perfkit.workload import backward_ranges
from perfkit.workload.annotate import annotate
from perfkit.workload.model import Transformer
from perfkit.workload.step import TransformerWorkload
from tests.runs import quick

TOKENS = torch.zeros(1, 16, dtype=torch.int64)
X = torch.ones(3, 2)


def graph_nodes(root: Tensor) -> int:
    """Nodes that a backward from `root` runs, gradient accumulations included."""
    waiting, met = [root.grad_fn], []
    while waiting:
        node = waiting.pop()
        if node is not None and node not in met:
            met.append(node)
            waiting += [behind for behind, _ in node.next_functions]
    return len(met)


def backward_counts(nvtx: Any) -> Counter[str]:
    """Backward ranges on every thread, by label. Fails where anything is not balanced."""
    innermost = [path.split(" > ")[-1] for thread in nvtx.events for path in nvtx.paths(thread)]
    return Counter(name.removeprefix("backward::") for name in innermost if name.startswith("backward::"))


def two_layers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 2)))


TWO_LAYERS = {"0": 2 + 2, "1.0": 1, "1.1": 2 + 2}
"""A linear layer has AddmmBackward0, TBackward0 and two accumulations."""


def test_the_scaling_of_the_loss_has_a_range_too(nvtx):
    # GIVEN fp16, whose loss is multiplied before backward, and its graph as backward starts from it
    nodes = []

    class Noting(TransformerWorkload):
        def _backward(self, loss: Tensor) -> None:
            nodes.append(graph_nodes(loss))
            loss.backward()

    workload = Noting(quick(num_layers=1, pass_type="forward-backward", precision="fp16"))
    annotation = workload.annotate(backward=True).install()

    # WHEN
    workload.step(lambda _: None)

    # THEN
    assert [annotation.nodes] == nodes
    assert backward_counts(nvtx)["loss"] == 5  # the scaling, nll_loss, log_softmax, its cast to fp32, flatten


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_step_has_a_range_for_each_node_of_its_graph(nvtx, checkpoint):
    # GIVEN
    torch.manual_seed(0)
    workload = TransformerWorkload(quick(num_layers=2, pass_type="forward-backward", checkpoint=checkpoint))
    logits = workload.model(workload.tokens)
    nodes = graph_nodes(F.cross_entropy(logits.flatten(0, 1), workload.targets.flatten()))

    # WHEN
    annotation = workload.annotate(backward=True).install()
    for _ in range(2):
        workload.step(lambda _: None)

    # THEN every module has them
    counts = backward_counts(nvtx)
    assert counts.total() == annotation.nodes == 2 * nodes
    silent = {"Transformer", "layers"}  # the one only passes on what the others made, the other is never called
    assert set(counts) == {*annotation.modules, "loss"} - silent
    assert counts["layers.0.mlp.up_proj"] == 2 * 5  # two views, the product, a transposition, the weight's gradient
    assert all(path.startswith("phase::backward > ") for path in nvtx.paths() if "backward::" in path)
    # and the search for them has its own, outside every module
    walks = [path for path in nvtx.paths() if path.endswith("phase::hooks")]
    again = [path for path in walks if re.fullmatch(r"phase::backward > backward::[\w.]+ > phase::hooks", path)]
    assert sorted({*walks} - {*again}) == ["phase::forward > phase::hooks"]
    assert (len(walks) - len(again), len(again)) == (2, 2 * 2 if checkpoint else 0)


def test_backward_in_a_thread_of_its_own(nvtx):
    # GIVEN
    model = two_layers()
    annotate(model, backward=True).install()
    loss = model(X).sum()

    # WHEN
    thread = threading.Thread(target=loss.backward)
    thread.start()
    thread.join()

    # THEN
    (other,) = set(nvtx.events) - {threading.get_ident()}
    assert nvtx.paths(other)[0] == "backward::1.1"
    assert backward_counts(nvtx) == TWO_LAYERS


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_backward_inside_backward_nests(nvtx):
    # GIVEN
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.inner = nn.Linear(2, 2), two_layers()

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = checkpoint(self.inner, self.first(x), use_reentrant=True)
            return result

    model = Outer()
    annotate(model, backward=True).install()
    out = model(X)
    nvtx.events.clear()

    # WHEN
    out.sum().backward()

    # THEN
    paths = nvtx.paths()
    assert paths[:3] == [
        "backward::Outer",
        "backward::Outer > recompute::inner",
        "backward::Outer > recompute::inner > recompute::inner.0",
    ]
    assert "backward::Outer > backward::inner.1.1" in paths
    # the fifth accumulates for the checkpoint's own copy of its input, which is nobody's parameter
    assert backward_counts(nvtx) == {"Outer": 1, "first": 4, "inner.0": 5, "inner.1.0": 1, "inner.1.1": 4}


def test_a_graph_run_twice_has_its_ranges_twice(nvtx):
    model = two_layers()
    annotate(model, backward=True).install()
    loss = model(X).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    assert backward_counts(nvtx) == {name: 2 * count for name, count in TWO_LAYERS.items()}


def test_backward_of_backward_is_balanced_and_right(nvtx):
    # GIVEN
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    twin = copy.deepcopy(model)
    annotate(model, backward=True).install()

    # WHEN
    for net in (model, twin):
        x = X.clone().requires_grad_()
        (slope,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
        slope.square().sum().backward()

    # THEN
    assert backward_counts(nvtx)["0"] > 0
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert one.grad is None or torch.equal(one.grad, other.grad)


def test_a_model_that_is_called_on_its_own_output_has_each_node_once(nvtx):
    model = two_layers()
    annotation = annotate(model, backward=True).install()
    loss = model(model(X)).sum()
    loss.backward()
    assert annotation.nodes == graph_nodes(model(model(X)).sum()) - 1  # all but the sum
    assert backward_counts(nvtx) == {"0": 2 * 2 + 2, "1.0": 2, "1.1": 2 * 2 + 2}


def test_calls_without_gradients_make_no_difference(nvtx):
    # GIVEN
    model = two_layers()
    annotate(model, backward=True).install()

    # WHEN
    with torch.no_grad():
        model(X)
    with torch.inference_mode():
        model(X)
    model(X).sum().backward()

    # THEN the one that has any is as ever
    assert backward_counts(nvtx) == TWO_LAYERS


def test_what_a_module_keeps_to_itself_is_found_from_the_loss(nvtx):
    # GIVEN a loss of its own that a module leaves in an attribute
    class Keeping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.router = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            self.balance = self.router(x).square().mean()
            return x * 2

    model = nn.Sequential(nn.Linear(2, 2), Keeping())
    annotation = annotate(model, backward=True).install()

    # WHEN
    out = model(X)
    with annotation.phase("loss") as made:
        loss = out.sum() + model[1].balance
        made(loss)
    loss.backward()

    # THEN
    assert backward_counts(nvtx) == {"loss": 2, "1": 1 + 2, "1.router": 4, "0": 4}


@pytest.mark.parametrize("outermost", [True, False])
def test_an_error_in_backward_leaves_nothing_open(nvtx, outermost):
    # GIVEN
    model = two_layers()
    annotation = annotate(model, backward=True).install()

    def refuse(_: Tensor) -> None:
        raise ArithmeticError

    def fail() -> None:
        hidden = model[0](X)
        hidden.register_hook(refuse)
        model[1](hidden).sum().backward()

    # WHEN
    around = contextlib.nullcontext() if outermost else annotation.phase("backward")
    with pytest.raises(ArithmeticError), around:
        fail()
    model(X).sum().backward()

    # THEN removing closes what nothing else did
    annotation.remove()
    assert nvtx.open == 0
    assert backward_counts(nvtx)["1.0"] == 2


def test_removal_silences_graphs_that_still_live_and_a_new_annotation_names_them_anew(nvtx):
    # GIVEN
    model = two_layers()
    with annotate(model, backward=True):
        loss = model(X).sum()

    # WHEN
    nvtx.events.clear()
    loss.backward(retain_graph=True)

    # THEN
    assert nvtx.events == {}

    # WHEN the parameters' own nodes live on in the first graph
    annotate(model, root="other", backward=True).install()
    model(X).sum().backward()

    # THEN
    assert backward_counts(nvtx) == {f"other.{name}": count for name, count in TWO_LAYERS.items()}


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_has_backward_ranges_too(duplicate):
    # GIVEN
    model = two_layers()
    annotate(model, backward=True).install()
    copied = duplicate(model)

    # WHEN
    out = copied(X).sum()
    with profile(activities=[ProfilerActivity.CPU]) as recording:
        out.backward()

    # THEN
    own = [parsed for event in recording.events() if (parsed := parse_trace(event.name))]
    assert Counter(name.label for name in own if name.kind == "backward") == TWO_LAYERS


def test_neither_results_nor_operations_change():
    # GIVEN
    torch.manual_seed(0)
    plain = Transformer(quick(num_layers=2))
    ranged = copy.deepcopy(plain)
    annotate(ranged, backward=True).install()

    # WHEN
    operations, peaks = [], []
    for model in (plain, ranged):
        loss = model(TOKENS).sum()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recording:
            loss.backward()
        del loss
        operations.append(Counter(event.name for event in recording.events() if not parse_trace(event.name)))
        peaks.append(peak_of(recording))

    # THEN no gradient is copied that was handed over before, and no more is alive at any time
    assert operations[0] == operations[1]
    assert peaks[1] <= peaks[0] + 64  # the first allocation may be the scalar that backward begins with
    for one, other in zip(plain.parameters(), ranged.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_the_graph_is_walked_once_however_deep_the_modules_are(nvtx, monkeypatch):
    # GIVEN
    inner: nn.Module = nn.Linear(2, 2)
    for _ in range(20):
        inner = nn.Sequential(inner, nn.ReLU())
    met = []
    pop = backward_ranges._Waiting.pop

    def noted(waiting: backward_ranges._Waiting) -> Any:
        met.append(waiting)
        return pop(waiting)

    monkeypatch.setattr(backward_ranges._Waiting, "pop", noted)

    # WHEN
    annotate(inner, backward=True).install()
    inner(X).sum().backward()

    # THEN
    assert len(met) == backward_counts(nvtx).total() == 4 + 20


class Chain(nn.Module):
    def forward(self, x: Tensor, length: int) -> Tensor:
        for _ in range(length):
            x = x * 1
        return x


def test_chains_too_long_for_pytorch_to_free_get_no_ranges_below_a_depth(nvtx):
    """GIVEN calls on each other's output, or one call WHEN they make a chain of 200,000 nodes THEN freeing it works"""
    model = Chain()
    annotation = annotate(model, backward=True).install()
    x = torch.ones((), requires_grad=True)
    y = model(x, 9_000)
    with pytest.warns(RuntimeWarning, match="deeper than 10,000 nodes"):
        y = model(y, 95_000)
    del y
    with pytest.warns(RuntimeWarning, match="deeper than 10,000 nodes"):
        model(x, 100_000).backward()
    assert annotation.nodes == 10_000
    model(x, 5_000).backward()  # the others are gone
    assert annotation.nodes == 10_000 + 5_000 + 1
    annotation.remove()


def peak_of(recording: profile) -> int:
    """Most bytes at once of what was allocated in the recording.

    By address: the allocator gives a block from before the recording the size of what an earlier recording saw there,
    and says so when it is freed.
    """
    recorded: Any = recording.profiler.kineto_results
    pending = list(recorded.experimental_event_tree())
    changes = []
    while pending:
        event = pending.pop()
        pending += event.children
        if event.tag.name == "Allocation":
            changes.append((event.start_time_ns, event.extra_fields.ptr, event.extra_fields.alloc_size))
    held: dict[int, int] = {}
    most = 0
    for _, place, size in sorted(changes):
        if size > 0:
            held[place] = size
        else:
            held.pop(place, None)
        most = max(most, sum(held.values()))
    return most


@pytest.mark.parametrize("run_backward", [False, True])
def test_no_tensor_lives_longer(nvtx, run_backward):
    # GIVEN
    kept: list[weakref.ref[Any]] = []

    class Saved(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.big = torch.zeros(1000)
            kept.extend((weakref.ref(ctx.big), weakref.ref(ctx)))
            return x * 2

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            return gradients[0] * 2

    class Saving(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Saved.apply(x)

    model = nn.Sequential(nn.Linear(2, 2), Saving(), nn.Linear(2, 2))
    annotate(model, backward=True).install()

    # WHEN
    out = model(X)
    if run_backward:
        out.sum().backward()
    assert [one() is not None for one in kept] == [True, True]
    del out

    # THEN at once, with no collection of cycles
    assert [one() for one in kept] == [None, None]
